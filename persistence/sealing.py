"""Bytes that nobody can read or move: what is stored of secrets and of people is sealed.

Knows keys and the shape of a sealed value; not what is inside or where it is stored. A sealed value
is bound to the identity of the row that it belongs to, so that it opens nowhere else. The errors::

    SealingError
    ├── SealBroken      the value was altered, is another row's, or was sealed with an unknown key
    └── KeysUnusable    the file of keys cannot be read, is open to others, or is malformed

A sealed value is a format (1 byte), the version of its key (2), a nonce (12), and the AES-256-GCM
ciphertext with its tag (16); format and version are authenticated with the identity.

No nonce may come twice under a key, whoever seals with it. Each process counts its nonces from a
place of its own among 2**95, drawn at random when it starts, and anew in a child that was forked.
So in a process none repeats, and two processes meet only if one begins where the other comes by:
with N starts and V values under a key, on any nodes, the chance of that is below N * V / 2**95. A
million starts may seal 2**42 values before it is 2**-32; with nonces that are all drawn at random
it is so after 2**32 values, which a busy node seals in a week. A machine that is copied while it
runs counts on from one place in both copies, and one that is put back to an earlier moment counts
again: only one copy may go on, and what was put back is to be started anew.
"""

import base64
import binascii
import contextlib
import itertools
import json
import os
import stat
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT = 1
KEY_BYTES = 32
KEY_VERSION_MAX = 2**16 - 1
NONCE_BYTES = 12
TAG_BYTES = 16

HEADER = struct.Struct(">BH")
SEALED_BYTES_MIN = HEADER.size + NONCE_BYTES + TAG_BYTES

KEY_FILE_FORMAT = 1
KEY_FILE_BYTES_MAX = 64 * 1024


class SealingError(Exception):
    """A value cannot be opened, or the keys cannot be had."""


class SealBroken(SealingError):
    """The value was altered, is another row's, or was sealed with an unknown key."""


class KeysUnusable(SealingError):
    """The file of keys cannot be read, is open to others, or is malformed."""


class _Nonces:
    """The nonces of this process, for all of its keys. Threads may take them at once."""

    def __init__(self) -> None:
        self.begin()
        os.register_at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        """Count from a place of its own; the way from there to the last nonce has no end."""
        self._count = itertools.count(int.from_bytes(os.urandom(NONCE_BYTES), "big") >> 1)

    def take(self) -> bytes:
        """Return one that was not there before."""
        return next(self._count).to_bytes(NONCE_BYTES, "big")


_nonces = _Nonces()


class Sealer:
    """Seals with one key and opens with any of them."""

    def __init__(self, keys: Mapping[int, bytes], current: int) -> None:
        check_keys(keys, current)
        self._ciphers = {version: AESGCM(key) for version, key in keys.items()}
        self._cipher = self._ciphers[current]
        self._header = HEADER.pack(FORMAT, current)

    def seal(self, plain: bytes, identity: bytes) -> bytes:
        """Return `plain` sealed for the row `identity`."""
        nonce = _nonces.take()
        sealed = self._cipher.encrypt(nonce, plain, self._header + identity)
        return self._header + nonce + sealed

    def open(self, sealed: bytes, identity: bytes) -> bytes:
        """Return what was sealed for the row `identity`, or raise `SealBroken`."""
        if len(sealed) < SEALED_BYTES_MIN:
            raise SealBroken(f"a sealed value has at least {SEALED_BYTES_MIN} bytes")
        header = sealed[: HEADER.size]
        format_number, version = HEADER.unpack(header)
        if format_number != FORMAT:
            raise SealBroken(f"a sealed value of unknown format {format_number}")
        cipher = self._ciphers.get(version)
        if cipher is None:
            raise SealBroken(f"a value sealed with key {version}, which is not among the keys")
        nonce = sealed[HEADER.size : HEADER.size + NONCE_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[HEADER.size + NONCE_BYTES :], header + identity)
        except InvalidTag:
            raise SealBroken("a sealed value was altered, or belongs to another row") from None


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The secrets of an installation. They are never shown, logged or sent."""

    sealing: Mapping[int, bytes] = field(repr=False)  # By version; old ones still open old values.
    current: int  # The version that seals.
    signing: Ed25519PrivateKey = field(repr=False)  # Signs the tokens of players.

    def sealer(self) -> Sealer:
        """Return a sealer with these keys."""
        return Sealer(self.sealing, self.current)


def check_keys(keys: Mapping[int, bytes], current: int) -> None:
    """Raise `ValueError` unless these keys can seal."""
    if current not in keys:
        raise ValueError(f"key {current} is to seal, but is not among the keys")
    for version, key in keys.items():
        if not 1 <= version <= KEY_VERSION_MAX:
            raise ValueError(f"key version {version} is not between 1 and {KEY_VERSION_MAX}")
        if len(key) != KEY_BYTES:
            raise ValueError(f"key {version} has {len(key)} bytes and not {KEY_BYTES}")


def load_or_create_keys(path: Path) -> KeyRing:
    """Return the keys in the file `path`, which is made with new ones if it is not there."""
    try:
        if not path.exists():
            create_keys(path)
        return load_keys(path)
    except OSError as error:
        raise KeysUnusable(f"cannot use the key file {path}: {error.strerror}") from error


def load_keys(path: Path) -> KeyRing:
    """Return the keys in the file `path`."""
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise KeysUnusable(
                f"the key file {path} is open to others (mode {mode:04o}): chmod 600 {path}"
            )
        text = file.read(KEY_FILE_BYTES_MAX + 1)
    try:
        if len(text) > KEY_FILE_BYTES_MAX:
            raise ValueError(f"it has more than {KEY_FILE_BYTES_MAX} bytes")
        return parsed_keys(json.loads(text))
    except (ValueError, RecursionError) as error:
        # The text of an error of ours never holds a key; a decoder's might.
        known = type(error) is ValueError
        reason = str(error) if known else "it is not JSON"
        raise KeysUnusable(f"the key file {path} is malformed: {reason}") from None


def parsed_keys(document: object) -> KeyRing:
    """Return the keys in a parsed key file, or raise `ValueError` that says what is wrong."""
    match document:
        case {"format": int(number), **_unread} if number != KEY_FILE_FORMAT:
            raise ValueError(f"format {number} is unknown")
        case {
            "format": int(),
            "sealing": {"current": int(current), "keys": dict(texts)},
            "signing": {"ed25519": str(seed)},
        }:
            keys: dict[int, bytes] = {}
            for version, text in texts.items():
                if not version.isascii() or not version.isdigit():
                    raise ValueError("the version of a key is not a number")
                keys[int(version)] = decoded_key(text, f"key {version}")
            check_keys(keys, current)
            signing = Ed25519PrivateKey.from_private_bytes(decoded_key(seed, "the signing key"))
            return KeyRing(keys, current, signing)
    raise ValueError("it needs format, sealing.current, sealing.keys and signing.ed25519")


def decoded_key(text: object, name: str) -> bytes:
    """Return the key that is written as base64 in a key file."""
    try:
        key = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"{name} is not {KEY_BYTES} bytes in base64")
    return key


def create_keys(path: Path) -> None:
    """Make the file `path` with new keys, unless another process makes it first."""
    document = {
        "format": KEY_FILE_FORMAT,
        "sealing": {"current": 1, "keys": {"1": encoded_key(os.urandom(KEY_BYTES))}},
        "signing": {"ed25519": encoded_key(Ed25519PrivateKey.generate().private_bytes_raw())},
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, written = tempfile.mkstemp(prefix=".keys-", dir=path.parent)  # With mode 600.
    try:
        with open(handle, "w") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, because it fails where a rename would replace the other process's keys.
        with contextlib.suppress(FileExistsError):
            os.link(written, path)
    finally:
        os.unlink(written)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def encoded_key(key: bytes) -> str:
    """Return a key as it is written in a key file."""
    return base64.b64encode(key).decode()

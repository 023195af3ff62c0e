"""The key that signs tokens: one Ed25519 key in the data directory, made when first needed."""

import contextlib
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "token-key.pem"


class KeyUnusable(Exception):
    """The file is there, but it is no key that we can use. The message is one line."""


def signing_key(data_dir: Path) -> Ed25519PrivateKey:
    """Return the key of this data directory; raise KeyUnusable or OSError."""
    path = data_dir / KEY_FILE
    with contextlib.suppress(FileExistsError):
        _create(path)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise KeyUnusable(f"{path}: is not a private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path}: is not an Ed25519 key")
    return key


def _create(path: Path) -> None:
    if path.exists():
        raise FileExistsError(path)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # Written whole under another name first: a crash must not leave half a key.
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # Fails where another process was faster; then its key stands.
    finally:
        draft.unlink()

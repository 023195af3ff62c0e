"""Sealed values open for their row and key alone; key files are private or refused."""

import base64
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from persistence.sealing import (
    SEALED_BYTES_MIN,
    KeyRing,
    KeysUnusable,
    SealBroken,
    Sealer,
    load_or_create_keys,
)

OLD_KEY = bytes(range(32))
NEW_KEY = bytes(range(32, 64))
ROW = b"entry 7 of room 12"


@pytest.fixture
def sealer() -> Sealer:
    return Sealer({1: OLD_KEY, 2: NEW_KEY}, current=2)


@given(plain=st.binary(max_size=300), identity=st.binary(max_size=50))
def test_what_was_sealed_opens_for_its_row(plain: bytes, identity: bytes) -> None:
    sealer = Sealer({1: OLD_KEY}, current=1)
    sealed = sealer.seal(plain, identity)
    assert sealer.open(sealed, identity) == plain
    assert len(sealed) == len(plain) + SEALED_BYTES_MIN


def test_a_sealed_value_has_the_documented_form(sealer: Sealer) -> None:
    sealed = sealer.seal(b"secret", ROW)
    header, nonce, rest = sealed[:3], sealed[3:15], sealed[15:]
    assert header == b"\x01\x00\x02"
    assert AESGCM(NEW_KEY).decrypt(nonce, rest, header + ROW) == b"secret"


def test_a_value_never_seals_to_the_same_bytes_twice(sealer: Sealer) -> None:
    assert len({sealer.seal(b"secret", ROW) for _ in range(100)}) == 100


def test_a_forked_child_does_not_go_on_with_its_parents_nonces() -> None:
    script = (
        "import os; from persistence.sealing import Sealer\n"
        "sealer = Sealer({1: bytes(32)}, 1)\n"
        "child = os.fork()\n"
        "os.write(1, b''.join(sealer.seal(b'', b'') for _ in range(20)))\n"
        "child and os.waitpid(child, 0)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    nonces = {said[at + 3 : at + 15] for at in range(0, len(said), SEALED_BYTES_MIN)}
    assert len(nonces) == 40


def test_every_altered_byte_is_noticed(sealer: Sealer) -> None:
    sealed = sealer.seal(b"secret", ROW)
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(SealBroken):
            sealer.open(bytes(altered), ROW)


def test_every_truncation_is_noticed(sealer: Sealer) -> None:
    sealed = sealer.seal(b"secret", ROW)
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            sealer.open(sealed[:length], ROW)


def test_a_value_does_not_open_for_another_row(sealer: Sealer) -> None:
    with pytest.raises(SealBroken, match="another row"):
        sealer.open(sealer.seal(b"secret", ROW), b"entry 8 of room 12")


def test_an_old_key_still_opens_what_it_sealed(sealer: Sealer) -> None:
    old = Sealer({1: OLD_KEY}, current=1).seal(b"secret", ROW)
    assert sealer.open(old, ROW) == b"secret"


def test_a_value_under_an_unknown_key_is_refused_by_its_version(sealer: Sealer) -> None:
    later = Sealer({3: bytes(32)}, current=3).seal(b"secret", ROW)
    with pytest.raises(SealBroken, match="key 3"):
        sealer.open(later, ROW)


def test_a_value_of_a_later_format_is_refused_by_its_number(sealer: Sealer) -> None:
    with pytest.raises(SealBroken, match="format 9"):
        sealer.open(b"\x09" + sealer.seal(b"secret", ROW)[1:], ROW)


@given(st.binary(max_size=80))
def test_no_bytes_open_by_chance(noise: bytes) -> None:
    with pytest.raises(SealBroken):
        Sealer({1: OLD_KEY}, current=1).open(noise, ROW)


@pytest.mark.parametrize(
    ("keys", "current"),
    [({}, 1), ({1: OLD_KEY}, 2), ({1: OLD_KEY[:16]}, 1), ({0: OLD_KEY}, 0), ({70_000: OLD_KEY}, 1)],
)
def test_keys_that_cannot_seal_are_refused(keys: dict[int, bytes], current: int) -> None:
    with pytest.raises(ValueError, match="key"):
        Sealer(keys, current)


# --- The key file.


def same(one: KeyRing, other: KeyRing) -> bool:
    return (one.sealing, one.current, one.signing.private_bytes_raw()) == (
        other.sealing,
        other.current,
        other.signing.private_bytes_raw(),
    )


def test_keys_are_made_once_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    made = load_or_create_keys(path)
    assert same(made, load_or_create_keys(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["keys.json"]
    assert made.sealer().open(made.sealer().seal(b"secret", ROW), ROW) == b"secret"
    made.signing.public_key().verify(made.signing.sign(b"token"), b"token")


def test_two_installations_have_different_keys(tmp_path: Path) -> None:
    assert not same(load_or_create_keys(tmp_path / "a"), load_or_create_keys(tmp_path / "b"))


def test_whoever_makes_the_keys_at_the_same_time_gets_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        rings = list(threads.map(load_or_create_keys, [tmp_path / "keys.json"] * 8))
    assert all(same(rings[0], ring) for ring in rings)


def test_keys_do_not_show_in_messages(tmp_path: Path) -> None:
    ring = load_or_create_keys(tmp_path / "keys.json")
    assert repr(ring) == "KeyRing(current=1)"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    load_or_create_keys(path)
    path.chmod(mode)
    with pytest.raises(KeysUnusable, match=f"chmod 600 {path}"):
        load_or_create_keys(path)


def document(path: Path) -> dict[str, dict[str, object]]:
    load_or_create_keys(path)
    loaded: dict[str, dict[str, object]] = json.loads(path.read_text())
    path.unlink()
    return loaded


def written(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


SHORT = base64.b64encode(bytes(16)).decode()


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        ("format", 2, "format 2 is unknown"),
        ("format", None, "it needs format"),
        ("sealing", None, "it needs format"),
        ("sealing", {"current": 1}, "it needs format"),
        ("sealing", {"current": 1, "keys": {}}, "key 1 is to seal"),
        ("sealing", {"current": 1, "keys": {"1": SHORT}}, "key 1 is not 32 bytes"),
        ("sealing", {"current": 1, "keys": {"1": 7}}, "key 1 is not 32 bytes"),
        ("sealing", {"current": 1, "keys": {"1": "?"}}, "key 1 is not 32 bytes"),
        ("sealing", {"current": 1, "keys": {"one": SHORT}}, "version of a key is not a number"),
        ("signing", {"ed25519": SHORT}, "the signing key is not 32 bytes"),
        ("signing", {}, "it needs format"),
    ],
)
def test_a_malformed_key_file_is_refused_with_the_reason(
    tmp_path: Path, part: str, value: object, reason: str
) -> None:
    path = tmp_path / "keys.json"
    altered = json.dumps(document(path) | {part: value})
    with pytest.raises(KeysUnusable, match=reason) as refused:
        load_or_create_keys(written(path, altered))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ud800", "[1]" + " " * 70_000])
def test_a_key_file_that_is_no_json_document_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.touch(mode=0o600)
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(KeysUnusable, match="malformed"):
        load_or_create_keys(path)


def test_a_key_file_that_cannot_be_made_is_refused_in_one_line() -> None:
    with pytest.raises(KeysUnusable, match="cannot use the key file") as refused:
        load_or_create_keys(Path("/dev/null/keys.json"))
    assert "\n" not in str(refused.value)

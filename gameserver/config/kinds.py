"""How the value of a setting is written: numbers, sizes, durations, choices, lists.

A kind turns what a person wrote (text, or a value of a TOML file) into a value, or raises
ValueError. It does not know which setting it serves.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Never
from urllib.parse import urlsplit

SIZE_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
DURATION_UNITS_NS = {
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
_WHOLE = re.compile(r"-?[0-9][0-9_]*")
DSN_SCHEMES = ("postgresql", "postgres")
_PORT = re.compile(r"[0-9]{0,5}")
_MEASURE = re.compile(r"([0-9]+) ?([A-Za-z]*)")


@dataclass(frozen=True, slots=True)
class Kind:
    """One way of writing a value.

    ``allowed`` completes the sentence "expected …". ``read`` raises ValueError for anything else.
    ``written`` is the inverse of ``read``: text that would be read as the same value.
    """

    metavar: str
    allowed: str
    read: Callable[[object], object]
    written: Callable[[object], str] = str
    repeatable: bool = False


def whole(low: int, high: int) -> Kind:
    """Return the kind of whole numbers from ``low`` to ``high``."""

    def read(value: object) -> int:
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        return _within(value, low, high)

    return Kind("NUMBER", f"a whole number from {low} to {high}", read)


def size(low: int, high: int) -> Kind:
    """Return the kind of sizes in bytes, such as 64KiB."""

    def read(value: object) -> int:
        if isinstance(value, str):
            value = _measured(value, SIZE_UNITS)
        return _within(value, low, high)

    allowed = f"a size such as 64KiB, from {_size_written(low)} to {_size_written(high)}"
    return Kind("SIZE", allowed, read, _size_written)


def duration(low: str, high: str) -> Kind:
    """Return the kind of durations, such as 30s; their values are nanoseconds."""
    low_ns, high_ns = _measured(low, DURATION_UNITS_NS), _measured(high, DURATION_UNITS_NS)

    def read(value: object) -> int:
        if not isinstance(value, str):
            raise ValueError
        return _within(_measured(value, DURATION_UNITS_NS), low_ns, high_ns)

    allowed = f"a duration such as 500ms, 30s or 5m, from {low} to {high}"
    return Kind("DURATION", allowed, read, _duration_written)


def text(metavar: str, allowed: str = "text") -> Kind:
    """Return the kind of any text that is not empty."""
    return Kind(metavar, allowed, _text)


def name(chars_max: int) -> Kind:
    """Return the kind of names that can be kept and passed on."""

    def read(value: object) -> str:
        written = _text(value)
        written.encode()  # UnicodeEncodeError, which is a ValueError, if it never was UTF-8.
        return written if len(written) <= chars_max else _refuse()

    return Kind("NAME", f"text of at most {chars_max} characters", read)


def place() -> Kind:
    """Return the kind of a host with its port."""

    def read(value: object) -> str:
        written = _text(value)
        parts = urlsplit(f"//{written}")
        if parts.netloc != written or "@" in written or not parts.hostname or not parts.port:
            raise ValueError
        return written

    return Kind("HOST:PORT", "HOST:PORT, such as 10.0.0.5:7360 or [fd00::5]:7360", read)


def choice(*names: str) -> Kind:
    """Return the kind that allows exactly ``names``."""

    def read(value: object) -> str:
        if value not in names:
            raise ValueError
        return str(value)

    return Kind("|".join(names), "one of " + ", ".join(names), read)


def switch() -> Kind:
    """Return the kind that is on or off."""
    words = {"on": True, "true": True, "off": False, "false": False}

    def read(value: object) -> bool:
        if isinstance(value, bool):
            return value
        return words[_text(value)] if value in words else _refuse()

    return Kind("on|off", "on or off", read, lambda value: "on" if value else "off")


def path() -> Kind:
    """Return the kind of paths; a leading ~ is the home directory."""

    def read(value: object) -> Path:
        try:
            return Path(_text(value)).expanduser()
        except RuntimeError as error:  # There is no such user, or no home.
            raise ValueError from error

    return Kind("PATH", "a path", read)


def dsn() -> Kind:
    """Return the kind of PostgreSQL addresses, of one host or several."""

    def read(value: object) -> str:
        written = _text(value)
        parts = urlsplit(written)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        # What follows the last colon, if that is not within the brackets of an IPv6 address.
        ports = [host.rpartition("]")[2].rpartition(":")[2] for host in hosts if ":" in host]
        if parts.scheme not in DSN_SCHEMES or not all(map(_PORT.fullmatch, ports)):
            raise ValueError
        return written

    return Kind("DSN", "a PostgreSQL DSN such as postgresql://user:password@host/name", read)


def address(*schemes: str) -> Kind:
    """Return the kind of addresses with one of these schemes."""

    def read(value: object) -> str:
        written = _text(value)
        parts = urlsplit(written)
        if parts.scheme not in schemes or not (parts.hostname or parts.path.strip("/")):
            raise ValueError
        _ = parts.port  # ValueError if it is none.
        return written

    return Kind(
        "URL", "an address that begins with " + " or ".join(f"{one}://" for one in schemes), read
    )


def texts(metavar: str, allowed: str) -> Kind:
    """Return the kind of lists of text: a flag that is repeated, or values with commas between."""

    def read(value: object) -> tuple[str, ...]:
        values = value if isinstance(value, (list, tuple)) else (value,)
        parts = [part.strip() for one in values for part in _text(one).split(",")]
        return tuple(part for part in parts if part) or _refuse()

    def written(value: object) -> str:
        assert isinstance(value, tuple), "a list of text is kept as a tuple"
        return ",".join(value)

    return Kind(metavar, allowed, read, written, repeatable=True)


def _refuse() -> Never:
    raise ValueError


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\x00" in value:
        raise ValueError
    return value


def _within(value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError
    return value


def _measured(written: str, units: dict[str, int]) -> int:
    match = _MEASURE.fullmatch(written)
    if match is None or match[2] not in units:
        raise ValueError
    return int(match[1]) * units[match[2]]


def _size_written(value: object) -> str:
    assert isinstance(value, int), "a size is a whole number of bytes"
    for unit in ("GiB", "MiB", "KiB"):
        if value and value % SIZE_UNITS[unit] == 0:
            return f"{value // SIZE_UNITS[unit]}{unit}"
    return f"{value}B"


def _duration_written(value: object) -> str:
    assert isinstance(value, int), "a duration is a whole number of nanoseconds"
    for unit in ("h", "m", "s"):
        if value and value % DURATION_UNITS_NS[unit] == 0:
            return f"{value // DURATION_UNITS_NS[unit]}{unit}"
    return f"{value // DURATION_UNITS_NS['ms']}ms"

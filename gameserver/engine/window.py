"""The last command numbers of a seat, with what was asked and what became of it.

It is what makes repeating a command harmless, over reconnects and crashes. Part of the recorded
state: it is in every snapshot, and the entries rebuild it.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from gameserver.engine.commands import CODE_MAX, CODE_MIN

WINDOW_NUMBERS = 64

# Number; tick, and in the low 16 bits the code counted from the lowest; digest. No tick needs more
# than the 48 bits that are left: they last for 400,000 years.
_ROW = Struct("<QQI")
_CODE_BITS = 16
_CODE_MASK = (1 << _CODE_BITS) - 1
assert CODE_MAX - CODE_MIN <= _CODE_MASK

ROW_BYTES = _ROW.size
ROWS_BYTES_MAX = WINDOW_NUMBERS * ROW_BYTES

# (highest, private_tick, rows)
Stored = tuple[int, int, bytes]


def body_digest(body: bytes) -> int:
    """Return what tells one command's content from another's.

    A checksum will do: two bodies that share one deceive nobody but the player who made them.
    """
    return crc32(body)


class Known(NamedTuple):
    """What was asked under a command number, and what became of it."""

    number: int
    digest: int
    code: int
    tick: int


class Window:
    """What became of the highest 64 command numbers of one seat.

    ``private_tick`` is the last tick that had something for this seat alone.

    The numbers stand in flat bytes: thousands of seats have 64 each, and as objects they take ten
    times the space. Once there are 64, the newest is written over the lowest, in row ``_first``.
    """

    __slots__ = ("_first", "_rows", "highest", "private_tick")

    def __init__(self) -> None:
        self._rows = bytearray()
        self._first = 0
        self.highest = 0
        self.private_tick = 0

    def __iter__(self) -> Iterator[Known]:
        """Yield what is known, lowest number first."""
        for number, told, digest in _ROW.iter_unpack(self._in_order()):
            yield _known(number, told, digest)

    def find(self, number: int) -> Known | None:
        """Return what became of a number, if it is known."""
        at = self._place(number)
        return None if at < 0 else _known(*_ROW.unpack_from(self._rows, at))

    def is_too_old(self, number: int) -> bool:
        """Tell whether an unknown number is one that may have been known and dropped.

        A number below a full window is as good as dropped: it would be the first to go.
        """
        if len(self._rows) < ROWS_BYTES_MAX:
            return False
        lowest: int = _ROW.unpack_from(self._rows, self._first * ROW_BYTES)[0]
        return number < lowest

    def keep(self, number: int, digest: int, code: int, tick: int) -> None:
        """Record what became of an unknown number, dropping the lowest if there are too many."""
        told = tick << _CODE_BITS | code - CODE_MIN
        rows = self._rows
        if number < self.highest:  # Numbers hardly ever come out of order.
            self._insert(_ROW.pack(number, told, digest))
            return
        self.highest = number
        if len(rows) < ROWS_BYTES_MAX:
            rows += _ROW.pack(number, told, digest)
            if len(rows) == ROWS_BYTES_MAX:
                self._rows = rows[:]  # It grows no more, and the copy has no space to spare.
        else:
            first = self._first
            _ROW.pack_into(rows, first * ROW_BYTES, number, told, digest)
            self._first = (first + 1) % WINDOW_NUMBERS

    def rule(self, number: int, code: int) -> None:
        """Replace a pending code by the final one; the number may have been dropped since."""
        at = self._place(number)
        if at >= 0:
            _, told, digest = _ROW.unpack_from(self._rows, at)
            told = told & ~_CODE_MASK | code - CODE_MIN
            _ROW.pack_into(self._rows, at, number, told, digest)

    def dump(self) -> Stored:
        """Return the window as plain values."""
        return (self.highest, self.private_tick, self._in_order())

    @classmethod
    def load(cls, stored: Stored) -> Window:
        """Return the window that ``dump`` described; ValueError if it can be none."""
        window = cls()
        window.highest, window.private_tick, rows = stored
        window._rows = bytearray(rows)
        if len(rows) % ROW_BYTES or len(rows) > ROWS_BYTES_MAX:
            raise ValueError(f"{len(rows)} bytes of command numbers")
        numbers = [0, *(number for number, *_ in _ROW.iter_unpack(rows))]
        if numbers != sorted(set(numbers)) or numbers[-1] > window.highest:
            raise ValueError("command numbers are not in order")
        return window

    def _place(self, number: int) -> int:
        """Return where the row of a number begins, or -1."""
        if not 0 < number <= self.highest:
            return -1
        wanted = number.to_bytes(8, "little")
        at = self._rows.find(wanted)
        while at >= 0 and at % ROW_BYTES:
            at = self._rows.find(wanted, at + 1)
        return at

    def _in_order(self) -> bytes:
        rows, first = self._rows, self._first * ROW_BYTES
        return bytes(rows[first:] + rows[:first]) if first else bytes(rows)

    def _insert(self, row: bytes) -> None:
        """Put in a row whose number is not the highest."""
        rows = self._in_order() + row
        apart = [rows[at : at + ROW_BYTES] for at in range(0, len(rows), ROW_BYTES)]
        apart.sort(key=_number)
        self._rows, self._first = bytearray().join(apart[-WINDOW_NUMBERS:]), 0


def _number(row: bytes) -> int:
    return int.from_bytes(row[:8], "little")


def _known(number: int, told: int, digest: int) -> Known:
    return Known(number, digest, (told & _CODE_MASK) + CODE_MIN, told >> _CODE_BITS)

"""The last command numbers of a seat, with what was asked and what became of it.

It is what makes repeating a command harmless, over reconnects and crashes. Part of the recorded
state: it is in every snapshot, and the entries rebuild it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

WINDOW_NUMBERS = 64
DIGEST_BYTES = 8


def body_digest(body: bytes) -> bytes:
    """Return what tells one command's content from another's."""
    return blake2b(body, digest_size=DIGEST_BYTES).digest()


class Window:
    """Command numbers of one seat: number → (digest, code, tick), the newest 64.

    ``floor`` is the highest number that was dropped: whatever is not above it is too old to know.
    ``private_tick`` is the last tick that had something for this seat alone.
    """

    __slots__ = ("floor", "highest", "known", "private_tick")

    def __init__(self) -> None:
        self.known: dict[int, tuple[bytes, int, int]] = {}
        self.floor = 0
        self.highest = 0
        self.private_tick = 0

    def keep(self, number: int, digest: bytes, code: int, tick: int) -> None:
        """Record what became of a number, dropping the lowest if there are too many."""
        known = self.known
        known[number] = (digest, code, tick)
        if number > self.highest:
            self.highest = number
        if len(known) > WINDOW_NUMBERS:
            lowest = min(known)
            del known[lowest]
            self.floor = lowest

    def rule(self, number: int, code: int) -> None:
        """Replace a pending code by the final one; the number may have been dropped since."""
        held = self.known.get(number)
        if held is not None:
            self.known[number] = (held[0], code, held[2])

    def dump(self) -> list[Any]:
        """Return the window as plain values, in order of number."""
        rows = [[number, *self.known[number]] for number in sorted(self.known)]
        return [self.floor, self.highest, self.private_tick, rows]

    @classmethod
    def load(cls, dumped: list[Any]) -> Window:
        """Return the window that ``dump`` described."""
        window = cls()
        window.floor, window.highest, window.private_tick, rows = dumped
        window.known = {number: (digest, code, tick) for number, digest, code, tick in rows}
        return window

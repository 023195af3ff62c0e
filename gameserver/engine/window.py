"""The last command numbers of a seat, with what was asked and what became of it.

It is what makes repeating a command harmless, over reconnects and crashes. Part of the recorded
state: it is in every snapshot, and the entries rebuild it.
"""

from __future__ import annotations

from hashlib import blake2b

WINDOW_NUMBERS = 64
DIGEST_BYTES = 8

# (floor, highest, private_tick, [(number, digest, code, tick), ...])
Stored = tuple[int, int, int, list[tuple[int, bytes, int, int]]]


def body_digest(body: bytes) -> bytes:
    """Return what tells one command's content from another's."""
    return blake2b(body, digest_size=DIGEST_BYTES).digest()


class Window:
    """Command numbers of one seat: number → (digest, code, tick), the highest 64, lowest first.

    ``floor`` is the highest number that was dropped. ``private_tick`` is the last tick that had
    something for this seat alone.
    """

    __slots__ = ("floor", "highest", "known", "private_tick")

    def __init__(self) -> None:
        self.known: dict[int, tuple[bytes, int, int]] = {}
        self.floor = 0
        self.highest = 0
        self.private_tick = 0

    def is_too_old(self, number: int) -> bool:
        """Tell whether an unknown number is one that may have been known and dropped.

        A number below a full window is as good as dropped: it would be the first to go.
        """
        if number > self.highest:
            return False
        full = len(self.known) >= WINDOW_NUMBERS
        return number <= self.floor or (full and number < next(iter(self.known)))

    def keep(self, number: int, digest: bytes, code: int, tick: int) -> None:
        """Record what became of a number, dropping the lowest if there are too many."""
        known = self.known
        known[number] = (digest, code, tick)
        if number > self.highest:
            self.highest = number
        else:  # Numbers hardly ever come out of order.
            known = self.known = dict(sorted(known.items()))
        if len(known) > WINDOW_NUMBERS:
            self.floor = next(iter(known))
            del known[self.floor]

    def rule(self, number: int, code: int) -> None:
        """Replace a pending code by the final one; the number may have been dropped since."""
        held = self.known.get(number)
        if held is not None:
            self.known[number] = (held[0], code, held[2])

    def dump(self) -> Stored:
        """Return the window as plain values."""
        rows = [(number, *held) for number, held in self.known.items()]
        return (self.floor, self.highest, self.private_tick, rows)

    @classmethod
    def load(cls, stored: Stored) -> Window:
        """Return the window that ``dump`` described; ValueError if it can be none."""
        window = cls()
        window.floor, window.highest, window.private_tick, rows = stored
        numbers = [window.floor, *(row[0] for row in rows)]
        if numbers != sorted(set(numbers)) or len(rows) > WINDOW_NUMBERS:
            raise ValueError("command numbers are not in order, or too many")
        window.known = {number: (digest, code, tick) for number, digest, code, tick in rows}
        return window

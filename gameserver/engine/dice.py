"""Numbers that nobody can predict and everybody can compute again.

A stream is HMAC-SHA256(seed, label ‖ counter) for counter 0, 1, 2 …, read as big-endian 32-bit
words. A number below n is a word modulo n, after words that would make some remainders likelier
have been thrown away, so that every number is exactly as likely as any other.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable

from gameserver.engine.fields import Visibility, secret
from gameserver.engine.records import Record

WORD_LIMIT = 2**32
WORDS_PER_BLOCK = 8
SEED_BYTES = 32
LABEL = b"room"  # Of a room's own dice; other streams from other seeds have other labels.


def below(seed: bytes, label: bytes, position: int, n: int) -> tuple[int, int]:
    """Return a number of 0..n-1 from the words at ``position`` and on, and the position after."""
    assert 1 <= n <= WORD_LIMIT, "A die has 1 to 2**32 sides."
    while True:
        word = word_at(seed, label, position)
        position += 1
        if word < WORD_LIMIT - WORD_LIMIT % n:
            return word % n, position


def word_at(seed: bytes, label: bytes, position: int) -> int:
    """Return the ``position``-th 32-bit word of the stream."""
    return block_at(seed, label, position // WORDS_PER_BLOCK)[position % WORDS_PER_BLOCK]


def block_at(seed: bytes, label: bytes, counter: int) -> tuple[int, ...]:
    """Return the eight words of one HMAC block."""
    return struct.unpack(">8I", hmac.digest(seed, label + struct.pack(">Q", counter), "sha256"))


def numbers(seed: bytes, label: bytes) -> Callable[[int], int]:
    """Return a function that gives the stream's next number below ``n``, each equally likely."""
    position = 0

    def next_below(n: int) -> int:
        nonlocal position
        number, position = below(seed, label, position, n)
        return number

    return next_below


def drawn(seed: bytes, label: bytes, count: int, top: int) -> tuple[int, ...]:
    """Draw ``count`` different numbers of 1..``top`` in drawing order (partial Fisher-Yates)."""
    next_below = numbers(seed, label)
    balls = list(range(1, top + 1))
    for place in range(count):
        other = place + next_below(top - place)
        balls[place], balls[other] = balls[other], balls[place]
    return tuple(balls[:count])


class Dice(Record, audience=Visibility.SECRET):
    """A room's own dice. The position is recorded, so that recovery goes on where they stood."""

    seed: bytes = secret(1, default=b"")
    position: int = secret(2, default=0)

    def below(self, n: int) -> int:
        """Return a number of 0..n-1, each equally likely."""
        number, self.position = below(self.seed, LABEL, self.position, n)
        return number

    def roll(self, sides: int = 6) -> int:
        """Return 1..``sides``."""
        return self.below(sides) + 1

    def shuffled(self, items: tuple[int, ...]) -> tuple[int, ...]:
        """Return the items in an order that is as likely as any other."""
        order = list(items)
        for place in range(len(order) - 1, 0, -1):
            other = self.below(place + 1)
            order[place], order[other] = order[other], order[place]
        return tuple(order)

"""Plays the same long game in a process of its own, for comparing processes with each other.

``python -m tests.engine.replaying`` prints the hash of a room that was played, of its entries, of
all that was sent, and of the room replayed from a snapshot in the middle.
"""

from __future__ import annotations

import random
from hashlib import sha256

from tests.engine.playing import ENDINGS, NAMES, Event, run, seated
from tests.engine.toy import Then
from tests.engine.toy_steps import SEATS_MAX

TICKS = 150


def long_play(seed: int) -> list[list[Event]]:
    """Return a long play, the same for the same seed."""
    chance = random.Random(seed)
    return [[_event(chance) for _ in range(chance.randrange(5))] for _ in range(TICKS)]


def _event(chance: random.Random) -> Event:
    what = chance.choice(("act",) * 8 + ("buy", "sit", "sit", "leave", "lose"))
    if what in ("act", "buy"):
        steps = tuple(
            (chance.randrange(12), chance.randrange(15), chance.randrange(4096)) for _ in range(6)
        )
        then = chance.choice((Then.NOTHING,) * 12 + ENDINGS)
        return (what, chance.randrange(SEATS_MAX), steps, then)
    return (what, chance.randrange(len(NAMES)), (), Then.NOTHING)


def hashes() -> list[str]:
    """Return the hashes of what came of the long play."""
    play = seated()
    taken = b""
    for number, _ in enumerate(run(play, long_play(7))):
        if number == TICKS // 2:
            taken = play.snapshot()
    told = b"".join(frame for watcher in play.watchers.values() for frame in watcher.frames)
    replayed = play.replayed(taken)
    parts = (play.snapshot(), b"".join(play.journal), told, replayed.digest)
    assert replayed.digest == play.room.digest
    return [sha256(part).hexdigest() for part in parts]


if __name__ == "__main__":
    print("\n".join(hashes()))  # noqa: T201 - what it prints is its answer

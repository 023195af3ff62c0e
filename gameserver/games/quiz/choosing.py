"""What is chosen outside of rooms: the clues of one round, as bytes for the journal.

The room says in its ask which clues it has had; whoever answers needs only the ask, the room's
settings and a seed. The answer is MessagePack: for each clue the array [category, level, text,
answer, accept, wrong, mark]. A mark is eight bytes that stand for a clue.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgpack

from gameserver.engine import dice
from gameserver.engine.inputs import packed
from gameserver.games.quiz.bank import Bank, Clue
from gameserver.games.quiz.settings import Settings
from gameserver.games.quiz.state import DrawnClue

ASK = "clues:"
MARK_BYTES = 8

# As many as the bundled content has. With more to remember, an ask (16 characters a clue, in the
# journal once a round) would grow beyond 3 KiB.
ASKED_MAX = 180


def ask_without(asked: bytes) -> str:
    """Return the ask for clues, none of these if it can be helped."""
    return ASK + asked.hex()


def remembered(asked: bytes, mark: bytes) -> bytes:
    """Return the marks of the clues that were asked, now with this one; the oldest fall out."""
    return (asked + mark)[-ASKED_MAX * MARK_BYTES :]


def chosen(bank: Bank, ask: str, settings: Settings, seed: bytes) -> bytes:
    """Draw the clues of a round; the same arguments give the same bytes."""
    numbers = dice.numbers(seed, b"quiz")
    asked = frozenset(_marks(ask.removeprefix(ASK)))
    if settings.mode == "choice":
        clues = bank.draw_mixed(settings.questions, numbers, asked)
    else:
        categories = min(settings.categories, len(bank.categories))
        board = bank.draw(categories, numbers, asked)
        clues = tuple(clue for column in board for clue in column)
    return packed([_row(clue) for clue in clues])


def read(data: bytes) -> list[DrawnClue]:
    """Return the clues that ``chosen`` packed: a board column by column, or one by one."""
    return [
        DrawnClue(
            category=category,
            level=level,
            text=text,
            answer=answer,
            accept=tuple(accept),
            wrong=tuple(wrong),
            mark=mark,
        )
        for category, level, text, answer, accept, wrong, mark in msgpack.unpackb(data)
    ]


def _marks(asked_hex: str) -> Iterator[str]:
    for at in range(0, len(asked_hex), 2 * MARK_BYTES):
        yield asked_hex[at : at + 2 * MARK_BYTES]


def _row(clue: Clue) -> list[object]:
    mark = bytes.fromhex(clue.key)
    return [clue.category, clue.level, clue.clue, clue.answer, clue.accept, clue.wrong, mark]

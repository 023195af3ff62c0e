"""What tests of the quiz share: content with marks that occur nowhere else, and rooms to play in.

Knows the rules only as a player does who has read them.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from gameserver.games.quiz import Bank, QuizGame, parse_bank
from gameserver.games.quiz.commands import Buzz, Ready, Select
from gameserver.games.quiz.state import Phase, State
from tests.games.play import Play

LEVELS = (1, 2, 3, 4, 5)
NAMES = ("Alpha", "Beta", "Gamma", "Delta", "Epsilon", "Zeta", "Eta")


def mark(kind: str, category: str, level: int, place: int = 0) -> str:
    """Return a word that stands for one text of one clue and occurs nowhere else."""
    return sha256(f"{kind} {category} {level} {place}".encode()).hexdigest()[:14]


def row(category: str, level: int, place: int = 0) -> dict[str, Any]:
    """Return a clue all of whose texts are marks."""
    return {
        "category": category,
        "level": level,
        "clue": f"What is {mark('clue', category, level, place)}?",
        "answer": mark("answer", category, level, place),
        "accept": [mark("accept", category, level, place)],
        "wrong": [mark(f"wrong {one}", category, level, place) for one in range(3)],
    }


def make_bank(categories: int = 2, per_level: int = 1) -> Bank:
    """Return a bank of marked clues."""
    rows = [
        row(category, level, place)
        for category in NAMES[:categories]
        for level in LEVELS
        for place in range(per_level)
    ]
    return parse_bank({"marks.jsonl": "\n".join(map(json.dumps, rows))})


def make_room(*names: str, categories: int = 2, per_level: int = 1, **settings: Any) -> Play[State]:
    """Open a room and seat these players."""
    play: Play[State] = Play(QuizGame(make_bank(categories, per_level)), settings=settings)
    for name in names:
        play.sit(name)
    return play


def begin(*names: str, **settings: Any) -> Play[State]:
    """Open a room in which the first round has just begun."""
    play = make_room(*names, **settings)
    for name in names:
        assert play.command(play.seat(name), Ready()) is None
    play.tick()
    return play


def go_to(play: Play[State], phase: Phase) -> None:
    """Let time pass until the round stands at a phase."""
    for _ in range(200):
        if play.state.phase is phase:
            return
        if play.room.due_tick is None:
            play.tick()
        else:
            play.run_to_due()
    raise AssertionError(f"{phase.name} does not come; it is {play.state.phase.name}.")


def at_open_buzzers(*names: str, category: int = 0, level: int = 1, **settings: Any) -> Play[State]:
    """Open a room in which the buzzers have just opened for the first clue."""
    play = begin(*names, **settings)
    assert play.command(play.state.control, Select(category, level)) is None
    go_to(play, Phase.OPEN)
    return play


def at_answer(name: str, *others: str, **settings: Any) -> Play[State]:
    """Open a room in which a player has the word for the first clue."""
    play = at_open_buzzers(name, *others, **settings)
    assert play.command(play.seat(name), Buzz()) is None
    return play


def phase_of(play: Play[State]) -> Phase:
    """Return where the round stands now."""
    return play.state.phase


def is_open(play: Play[State]) -> bool:
    """Tell whether the room has not ended."""
    return play.room.is_open


def the_answer(play: Play[State]) -> str:
    """Return the answer to the present clue, which no viewer knows."""
    return play.state.clues[play.state.shown.place].answer


def score(play: Play[State], name: str) -> int:
    """Return a player's score."""
    return play.state.players[play.seat(name)].score

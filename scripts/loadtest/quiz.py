"""Bots that play the quiz: they read the bundled clues beforehand, so they are right now and then.

What they do not find there they learn when it is revealed, as people do.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgpack

from scripts.loadtest.behaviour import GameBots, Wanted
from scripts.loadtest.sight import Move, Node, Sight

CONTENT = Path(__file__).resolve().parents[2] / "gameserver" / "games" / "quiz" / "content"
RIGHT_SHARE = 0.65
EARLY_SHARE = 0.1
BAD_MOVES_SHARE = 0.15

# Phases in which the answer is nobody's business.
UNREVEALED = frozenset({"SELECTING", "READING", "OPEN", "ANSWERING", "CHOOSING"})
ABOUT_A_CLUE = frozenset({"Buzz", "Answer", "Pass", "Choose"})
BETWEEN_ROUNDS = frozenset({"LOBBY", "STANDINGS"})


@cache
def known_answers() -> dict[str, str]:
    """Return answers by clue, of the bundled content; what is learned is added."""
    answers = {}
    for path in sorted(CONTENT.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                clue = json.loads(line)
                answers[clue["clue"]] = clue["answer"]
    return answers


class Quiz:
    """One player."""

    def __init__(self, rng: Random, wanted: Wanted) -> None:
        self._rng = rng
        self._wanted = wanted

    def choose(self, sight: Sight) -> Move | None:
        """Do what the phase asks for, or now and then what it does not."""
        rng = self._rng
        move = self._bad_move() if rng.random() < BAD_MOVES_SHARE else self._good_move(sight)
        if move is None or move.command not in ABOUT_A_CLUE or move.body:
            return move
        # Which clue is meant may be said; then a move that comes late does not count for the next.
        if rng.random() < 0.5:
            return move
        return Move(move.command, {**move.fields, "clue": _shown(sight).get("number", 0)})

    def _good_move(self, sight: Sight) -> Move | None:
        game, rng = sight.game, self._rng
        phase, mine = game.enum("phase"), 1 << sight.seat
        if phase in BETWEEN_ROUNDS:
            return None if game.get("ready_seats") & mine else Move("Ready")
        if phase == "SELECTING" and game.get("control") == sight.seat:
            return self._select(sight)
        if phase == "ANSWERING" and game.get("answering") == sight.seat:
            return Move("Answer", {"text": self._text(sight)})
        if game.get("out_seats") & mine:
            return None
        if phase == "READING" and rng.random() < EARLY_SHARE:
            return Move("Buzz")
        if phase == "OPEN":
            passes = self._wanted("Pass") or rng.random() < 0.2
            return Move("Pass") if passes else Move("Buzz")
        if phase == "CHOOSING" and not game.get("chosen_seats") & mine:
            return Move("Choose", {"option": self._option(sight)})
        return None

    def _select(self, sight: Sight) -> Move | None:
        open_clues = [
            (category, level)
            for category, row in sight.game.rows("categories").items()
            for level in range(1, 6)
            if row.get("open_levels") >> (level - 1) & 1
        ]
        if not open_clues:
            return None
        category, level = self._rng.choice(open_clues)
        return Move("Select", {"category": category, "level": level})

    def _text(self, sight: Sight) -> str:
        answer = known_answers().get(_shown(sight).get("text", ""))
        if answer is not None and self._rng.random() < RIGHT_SHARE:
            return answer.upper() if self._rng.random() < 0.3 else answer
        return self._rng.choice(("Forty-two", "a small brown bear", "  ", "No idea"))

    def _option(self, sight: Sight) -> int:
        shown = _shown(sight)
        options = shown.get("options", ())
        answer = known_answers().get(shown.get("text", ""))
        if answer in options and self._rng.random() < RIGHT_SHARE:
            place: int = options.index(answer)
            return place
        return self._rng.randrange(max(len(options), 1))

    def _bad_move(self) -> Move:
        rng = self._rng
        moves = (
            Move("Ready"),
            Move("Select", {"category": 5, "level": 1}),
            Move("Answer", {"text": "Nobody asked me"}),
            Move("Choose", {"option": 3}),
            Move("Pass"),
            Move("Answer", body=msgpack.packb([4, "x" * 101])),
            Move("Choose", body=msgpack.packb([6, 4])),
        )
        return rng.choice(moves)

    def look(self, sight: Sight) -> list[str]:
        """Learn what is revealed; notice an answer that is shown too early."""
        shown, phase = _shown(sight), sight.game.enum("phase")
        answer = shown.get("answer", "")
        if phase in UNREVEALED and answer:
            return [f"the answer {answer!r} is shown in phase {phase}"]
        if phase == "REVEAL" and answer:
            known_answers()[shown.get("text")] = answer
        return []

    def is_over(self, sight: Sight) -> bool:
        """Tell whether the last round of the room was played."""
        return not sight.is_open

    def rounds(self, sight: Sight) -> int:
        """Return how many rounds were played to their standings."""
        number: int = sight.game.get("round_number", 0)
        phase = sight.game.enum("phase")
        return number - (phase not in ("LOBBY", "DRAWING", "STANDINGS"))

    def lost_minor(self, sight: Sight) -> int | None:
        """The quiz is played for points alone."""
        return None


def _shown(sight: Sight) -> Node:
    shown = sight.game.part("shown")
    assert shown is not None, "everybody sees what is shown"
    return shown


def _settings(rng: Random, number: int) -> Mapping[str, Any]:
    return {
        # One room after the other, in place and in time, so that both ways are played.
        "mode": ("board", "choice")[number % 2],
        "categories": 1,
        "questions": 5,
        "start_seconds": 2,
        "select_seconds": 3,
        "reading_chars_per_second": 200,
        "buzz_seconds": 3,
        "answer_seconds": 3,
        "reveal_seconds": 1,
        "standings_seconds": 1,
        "rounds_max": rng.choice((1, 2)),
        "empty_seconds": 20,
    }


BOTS = GameBots(
    game="quiz",
    make=Quiz,
    settings=_settings,
    players_for_all=2,
    rooms_for_all=2,
    long_enough_s=20.0,
)

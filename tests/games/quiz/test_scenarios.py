"""Stories of a quiz room, told in ``scenarios/*.txt``; ``pytest --rewrite`` tells them anew.

Besides the common steps: ``a board room`` / ``a choice room`` (first line), ``ann is ready``,
``ann selects 300 of Colours``, ``ann buzzes``, ``ann and ben buzz`` (in one tick, in that order),
``ann answers green``, ``ann passes``, ``ann chooses right`` / ``chooses wrong``, ``the clue``,
``the answers``, ``the standings``, ``the phase ends``. What is shown after a
step: the phase, who selects or answers, and the scores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gameserver.games.quiz import QuizGame, parse_bank
from gameserver.games.quiz.commands import Answer, Buzz, Choose, Pass, Ready, Select
from gameserver.games.quiz.state import NOBODY, Phase, State
from tests.games.play import Play, account_of
from tests.games.scenarios import Story, check_scenario, in_words

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
NAMES = ("ann", "ben", "cat", "dan")

# (category, level, clue, answer, further answer, wrong ones)
CLUES = (
    ("Colours", 1, "Grass has it.", "Green", "Verdant", "Red", "Blue", "Black"),
    ("Colours", 2, "Snow has it.", "White", "Snowy", "Grey", "Pink", "Brown"),
    ("Colours", 3, "A ripe lemon has it.", "Yellow", "Lemony", "Lilac", "Mauve", "Teal"),
    ("Colours", 4, "Emperors of Rome wore it.", "Purple", "Tyrian", "Orange", "Ochre", "Beige"),
    ("Colours", 5, "Cinnabar gives it.", "Vermilion", "Scarlet", "Umber", "Indigo", "Cyan"),
    ("Numbers", 1, "Legs of a cat.", "Four", "4", "Two", "Six", "Eight"),
    ("Numbers", 2, "Legs of a spider.", "Eight", "8", "Four", "Six", "Ten"),
    ("Numbers", 3, "Players of a cricket team.", "Eleven", "11", "Nine", "Ten", "Twelve"),
    ("Numbers", 4, "Squares of a chess board.", "64", "8 × 8", "49", "81", "100"),
    ("Numbers", 5, "Keys of a piano.", "88", "88 keys", "76", "84", "90"),
)


class QuizStory(Story):
    """Steps of the quiz."""

    play: Play[State]

    def __init__(self, mode: str) -> None:
        rows = [
            dict(zip(("category", "level", "clue", "answer"), clue[:4], strict=True))
            | {"accept": clue[4:5], "wrong": clue[5:]}
            for clue in CLUES
        ]
        bank = parse_bank({"stories.jsonl": "\n".join(map(json.dumps, rows))})
        super().__init__(Play(QuizGame(bank), settings={"mode": mode, "questions": 5}))

    def steps(self) -> Mapping[str, Callable[..., str]]:
        return {
            r"a (?:board|choice) room": lambda: "",
            r"(\w+) is ready": lambda name: self.command(name, Ready()),
            r"(\w+) selects (\d)00 of (\w+)": self._select,
            r"(\w+) buzzes": lambda name: self.command(name, Buzz()),
            r"(\w+) and (\w+) buzz": self._both_buzz,
            r"(\w+) answers (.+)": lambda name, text: self.command(name, Answer(text)),
            r"(\w+) passes": lambda name: self.command(name, Pass()),
            r"(\w+) chooses (right|wrong)": self._choose,
            r"the clue": self._clue,
            r"the answers": self._answers,
            r"the standings": self._standings,
            r"the phase ends": self._end_phase,
        }

    def shown(self) -> str:
        state = self.play.state
        phase = state.phase.name.lower()
        if state.phase is Phase.SELECTING:
            phase = f"{self._name(state.control)} selects"
        elif state.answering != NOBODY:
            phase = f"{self._name(state.answering)} answers"
        if state.paused_ticks:
            phase += " (paused)"
        seats = state.players.keys_in_order()
        scores = ", ".join(f"{self._name(seat)} {state.players[seat].score}" for seat in seats)
        return f"{phase:<14} | {scores}"

    def _name(self, seat: int) -> str:
        return self._named(self.play.room.account(seat))

    def _named(self, account: int) -> str:
        return next((name for name in NAMES if account_of(name) == account), "nobody")

    def _select(self, name: str, level: str, category: str) -> str:
        names = [one.name for one in self.play.state.categories]
        return self.command(name, Select(names.index(category), int(level)))

    def _both_buzz(self, one: str, other: str) -> str:
        numbers = {
            account_of(name): self.play.submit(self.play.seat(name), Buzz())
            for name in (one, other)
        }
        self.play.tick()
        return ", ".join(in_words(self.play.outcomes[key]) for key in numbers.items())

    def _choose(self, name: str, how: str) -> str:
        right = max(self.play.state.shown.right_option, 0)  # There is none before the options.
        return self.command(name, Choose(right if how == "right" else (right + 1) % 4))

    def _clue(self) -> str:
        shown = self.play.state.shown
        return f"{shown.value} of {shown.category}: {shown.text} [{shown.answer}]"

    def _answers(self) -> str:
        return "; ".join(
            f"{self._named(one.account)}: {one.text or '-'} ({'right' if one.right else 'wrong'})"
            for one in self.play.state.attempts
        )

    def _standings(self) -> str:
        return ", ".join(
            f"{one.place}. {self._named(one.account)} {one.score}"
            f"{' (gone)' if one.by_seat == NOBODY else ''}"
            for one in self.play.state.placings
        )

    def _end_phase(self) -> str:
        before = self.play.now
        if self.play.room.due_tick is None:
            self.play.tick()
        else:
            self.play.run_to_due()
        return f"{self.play.now - before} ticks"


def test_there_are_stories() -> None:
    assert SCENARIOS


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_story_goes_as_it_is_told(path: Path, rewrite: bool) -> None:
    mode = "choice" if "a choice room" in path.read_text(encoding="utf-8") else "board"
    check_scenario(path, QuizStory(mode), rewrite=rewrite)

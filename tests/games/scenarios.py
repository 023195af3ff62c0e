"""Scenario files: stories of a room, readable by someone who does not program.

A file is a list of steps, ``what is done -> what comes of it``; empty lines and lines that begin
with ``#`` are kept. A ``Story`` performs the left sides; the file is right if every right side is
what came of it. ``pytest --rewrite`` writes the right sides anew: commit the difference only when
it is understood.

    def test_scenarios(path: Path, rewrite: bool) -> None:
        check_scenario(path, KenoStory(), rewrite=rewrite)

Steps that every story knows: ``ann sits``, ``ann leaves``, ``ann is cut off``, ``ann comes back``,
``tick`` / ``10 ticks``, ``verdicts wait``, ``verdicts come``, ``the server is killed``. A game adds
its own in ``steps``, by regular expressions whose groups are the arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gameserver.engine.commands import Code, Reason
from tests.games.play import Play, Said

ARROW = "->"
COLUMN = 36
RESULT_COLUMN = 30


def check_scenario(path: Path, story: Story, *, rewrite: bool) -> None:
    """Perform a file's steps; what comes of them must be what the file says, or is written."""
    told = path.read_text(encoding="utf-8")
    done = "".join(f"{_performed(line, story)}\n" for line in told.splitlines())
    story.play.check_all()
    if rewrite:
        path.write_text(done, encoding="utf-8")
    else:
        assert done.splitlines() == told.splitlines()


def _performed(line: str, story: Story) -> str:
    if not line.strip() or line.startswith("#"):
        return line
    step = line.partition(ARROW)[0].strip()
    result = story.perform(step)
    return f"{step:<{COLUMN}} {ARROW} {result}".rstrip()


class Story:
    """Performs steps on a room. ``shown`` is what each step's result ends with."""

    def __init__(self, play: Play[Any]) -> None:
        self.play = play
        self._steps: list[tuple[re.Pattern[str], Callable[..., str]]] = [
            (re.compile(pattern), perform)
            for pattern, perform in {**_common(self), **self.steps()}.items()
        ]

    def steps(self) -> Mapping[str, Callable[..., str]]:
        """Return the game's own steps: pattern of the whole step → what performs it."""
        return {}

    def shown(self) -> str:
        """Return what is worth seeing of the room after a step; it stands behind the result."""
        return ""

    def perform(self, step: str) -> str:
        """Perform one step and return what came of it."""
        for pattern, act in self._steps:
            match = pattern.fullmatch(step)
            if match is not None:
                result, shown = act(*match.groups()), self.shown()
                return f"{result:<{RESULT_COLUMN}} | {shown}" if shown else result
        raise AssertionError(f"No such step: {step}")

    def command(self, name: str, command: Any) -> str:
        """Submit a command of a player and return its outcome in words."""
        return in_words(self.play.command(self.play.seat(name), command))


def in_words(said: Said | int) -> str:
    """Return an outcome as a scenario file has it."""
    if said is None:
        return "accepted"
    if isinstance(said, Reason):
        return f"refused: {said.name.lower().replace('_', ' ')}"
    return said.name.lower() if isinstance(said, Code) else f"seat {said}"


def _common(story: Story) -> dict[str, Callable[..., str]]:
    play = story.play

    def done(act: Callable[..., object]) -> Callable[..., str]:
        def perform(*words: str) -> str:
            act(*words)
            return ""

        return perform

    def hold_back() -> None:
        play.verdicts_held = True

    def let_come() -> None:
        play.verdicts_held = False
        play.tick()

    def kill() -> None:
        play.recover(play.snapshot())

    return {
        r"(\w+) sits": lambda name: in_words(play.try_sit(name)),
        r"(\w+) sits with (\d+)": lambda name, minor: in_words(
            play.try_sit(name, balance_minor=int(minor))
        ),
        r"(\w+) comes back": lambda name: in_words(play.try_sit(name)),
        r"(\w+) leaves": done(lambda name: play.leave(play.seat(name))),
        r"(\w+) is cut off": done(lambda name: play.lose(play.seat(name))),
        r"tick": done(play.tick),
        r"(\d+) ticks?": done(lambda count: play.ticks(int(count))),
        r"verdicts wait": done(hold_back),
        r"verdicts come": done(let_come),
        r"the server is killed": done(kill),
    }

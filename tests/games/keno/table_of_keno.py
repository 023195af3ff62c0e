"""A keno room for tests: with players, an open round, and ways to reach each phase."""

from __future__ import annotations

from typing import Any

from gameserver.games.keno import GAME
from gameserver.games.keno.state import Keno, Phase
from tests.games.play import Play


def make_play(*names: str, **settings: Any) -> Play[Keno]:
    """Return a room in which these players sit and betting is open for the first round."""
    play: Play[Keno] = Play(GAME(), settings=settings)
    for name in names:
        play.sit(name)
    if names:
        reach(play, Phase.OPEN)
    return play


def phase_of(play: Play[Keno]) -> Phase:
    """Return where the round stands; a call, because a type checker takes no field to change."""
    return play.state.phase


def reach(play: Play[Keno], phase: Phase) -> None:
    """Let time pass until the round stands there."""
    for _ in range(100):
        if play.state.phase is phase:
            return
        if play.room.due_tick is None:
            play.tick()
        else:
            play.run_to_due()
    raise AssertionError(f"{phase.name} is not reached from {play.state.phase.name}")


def finish(play: Play[Keno]) -> None:
    """Let the round under way come to its end."""
    if play.state.phase is Phase.SHOWN:
        reach(play, Phase.OPEN)
    reach(play, Phase.SHOWN)
    assert not play.state.bets
    assert not play.state.strays

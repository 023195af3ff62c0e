"""Phases and their clock: which follows which, and what happens to time when nobody is there.

Knows no clue and no score.
"""

from __future__ import annotations

from gameserver.engine.room import Room
from gameserver.games.quiz.settings import ticks_of
from gameserver.games.quiz.state import NOBODY, Phase, State, bit

# After a crash everybody is gone for a moment. Whoever is back first must not use up the time
# of the others.
RESUME_TICKS_MIN = 60

AFTER: dict[Phase, frozenset[Phase]] = {
    Phase.LOBBY: frozenset({Phase.DRAWING}),
    Phase.DRAWING: frozenset({Phase.SELECTING, Phase.READING, Phase.LOBBY}),
    Phase.SELECTING: frozenset({Phase.READING}),
    Phase.READING: frozenset({Phase.OPEN, Phase.CHOOSING}),
    Phase.OPEN: frozenset({Phase.ANSWERING, Phase.REVEAL}),
    Phase.ANSWERING: frozenset({Phase.OPEN, Phase.REVEAL}),
    Phase.CHOOSING: frozenset({Phase.REVEAL}),
    Phase.REVEAL: frozenset({Phase.SELECTING, Phase.READING, Phase.STANDINGS}),
    Phase.STANDINGS: frozenset({Phase.DRAWING, Phase.LOBBY}),
}


def enter(room: Room[State], phase: Phase, ticks: int) -> None:
    """Begin a phase that ends by itself after ``ticks``; with 0 it does not."""
    state = room.state
    assert phase in AFTER[state.phase], f"{phase.name} does not follow {state.phase.name}."
    state.phase = phase
    set_clock(room, ticks)


def set_clock(room: Room[State], ticks: int) -> None:
    """Let the present phase end after ``ticks`` of time in which somebody is present."""
    state = room.state
    running = state.present_seats != 0
    state.phase_tick = room.now + ticks if ticks and running else 0
    state.paused_ticks = 0 if running else ticks


def come(room: Room[State], seat: int) -> None:
    """Note that a player is present; the first one starts the clock again."""
    state = room.state
    if state.present_seats == 0:
        left = state.paused_ticks
        state.empty_tick = 0
        state.present_seats = bit(seat)
        set_clock(room, max(left, RESUME_TICKS_MIN) if left else 0)
    else:
        state.present_seats |= bit(seat)


def go(room: Room[State], seat: int) -> None:
    """Note that a player is not present; the last one stops the clock."""
    state = room.state
    if not state.present_seats & bit(seat):
        return
    state.present_seats &= ~bit(seat)
    if state.present_seats == 0:
        left = max(state.phase_tick - room.now, 1) if state.phase_tick else 0
        set_clock(room, left)
        wait_for_players(room)


def wait_for_players(room: Room[State]) -> None:
    """Give the room, in which nobody is present, the time to be found before it ends."""
    room.state.empty_tick = room.now + ticks_of(room.settings.empty_seconds)


def next_present(state: State, after: int) -> int:
    """Return the present seat that follows a seat, around the table; NOBODY if there is none."""
    present = state.present_seats
    following = present >> (after + 1) << (after + 1) or present
    return (following & -following).bit_length() - 1 if following else NOBODY

"""A round from the lobby to the standings, and who is in control of the board.

A round is one board, or one series of multiple-choice questions.
"""

from __future__ import annotations

from gameserver.engine.room import Room
from gameserver.games.quiz import choosing, scoring
from gameserver.games.quiz.clues import hide, show
from gameserver.games.quiz.pace import enter, next_present, set_clock
from gameserver.games.quiz.settings import ticks_of
from gameserver.games.quiz.state import (
    LEVELS_PER_CATEGORY,
    NOBODY,
    Category,
    Mode,
    Phase,
    State,
    bit,
)


def look_at_lobby(room: Room[State]) -> None:
    """Start when everybody is ready, count down when enough are there, wait when they are not."""
    state = room.state
    if not is_between_rounds(room):
        return
    if has_enough(state) and not state.present_seats & ~state.ready_seats:
        start(room)
    elif state.phase is Phase.LOBBY and not has_enough(state):
        set_clock(room, 0)
    elif state.phase is Phase.LOBBY and not state.phase_tick:
        set_clock(room, ticks_of(room.settings.start_seconds))


def is_between_rounds(room: Room[State]) -> bool:
    """Tell whether the room waits for a next round, which may begin as soon as all are ready."""
    phase = room.state.phase
    return phase is Phase.LOBBY or (phase is Phase.STANDINGS and not _was_last(room))


def has_enough(state: State) -> bool:
    """Tell whether enough players are present for a round."""
    return state.present_seats.bit_count() >= state.players_min


def start(room: Room[State]) -> None:
    """Ask for the clues of a round; it begins when they come."""
    state = room.state
    state.ready_seats = 0
    enter(room, Phase.DRAWING, 0)
    room.ask(choosing.ask_without(state.asked))


def begin(room: Room[State], data: bytes) -> None:
    """Begin a round with the clues that were drawn."""
    state = room.state
    if state.present_seats == 0:
        enter(room, Phase.LOBBY, 0)
        return
    _clear(state)
    state.round_number += 1
    for number, clue in enumerate(choosing.read(data)):
        state.clues.add(number, clue)
        if state.mode is Mode.BOARD and number % LEVELS_PER_CATEGORY == 0:
            state.categories.add(len(state.categories), Category(name=clue.category))
    state.clues_total = len(state.clues)
    if state.mode is Mode.BOARD:
        seats = [seat for seat in state.players.keys_in_order() if state.present_seats & bit(seat)]
        state.control = seats[room.dice.below(len(seats))]
    _go_on(room)


def next_clue(room: Room[State]) -> None:
    """Go on after a reveal: to the next clue, or to the standings after the last."""
    state = room.state
    hide(room)
    if state.clues_played < state.clues_total:
        _go_on(room)
        return
    scoring.finish(room)
    state.control = NOBODY
    enter(room, Phase.STANDINGS, ticks_of(room.settings.standings_seconds))


def select(room: Room[State], category: int, level: int) -> None:
    """Take a clue off the board and show it."""
    column = room.state.categories[category]
    column.open_levels &= ~bit(level - 1)
    show(room, category * LEVELS_PER_CATEGORY + level - 1)


def select_by_itself(room: Room[State]) -> None:
    """Select the leftmost of the cheapest clues, because the player in control did not."""
    columns = room.state.categories
    lowest, category = min(
        (column.open_levels & -column.open_levels, place)
        for place, column in enumerate(columns)
        if column.open_levels
    )
    select(room, category, lowest.bit_length())


def pass_control(room: Room[State]) -> None:
    """Let the next present player select, if the one in control is not there."""
    state = room.state
    if state.phase is not Phase.SELECTING or state.present_seats == 0:
        return
    if state.control == NOBODY or not state.present_seats & bit(state.control):
        state.control = next_present(state, state.control)


def after_standings(room: Room[State]) -> None:
    """Play again with those who are there, wait for more, or end the room after its last round."""
    state = room.state
    if _was_last(room):
        room.end()
    elif has_enough(state):
        start(room)
    else:
        enter(room, Phase.LOBBY, 0)


def _was_last(room: Room[State]) -> bool:
    rounds_max: int = room.settings.rounds_max
    return room.state.round_number >= rounds_max


def _go_on(room: Room[State]) -> None:
    state = room.state
    if state.mode is Mode.BOARD:
        enter(room, Phase.SELECTING, ticks_of(room.settings.select_seconds))
        pass_control(room)
    else:
        show(room, state.clues_played)


def _clear(state: State) -> None:
    state.categories.clear()
    state.placings.clear()
    state.clues.clear()
    state.gone.clear()
    state.gone_count = 0
    state.clues_played = 0
    for player in state.players:
        scoring.clear(player)

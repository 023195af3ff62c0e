"""People come, go, lose their connection and return; what that means for the round."""

from __future__ import annotations

from gameserver.engine.room import Room
from gameserver.games.quiz import clues, pace, rounds, scoring
from gameserver.games.quiz.settings import ticks_of
from gameserver.games.quiz.state import Phase, State, bit

# While a clue is played, whoever comes waits for the next one: nobody gets a second try at a
# clue by leaving and coming back.
_CLUE_PHASES = frozenset({Phase.READING, Phase.OPEN, Phase.ANSWERING, Phase.CHOOSING, Phase.REVEAL})

_BETWEEN_ROUNDS = frozenset({Phase.LOBBY, Phase.STANDINGS})


def sit(room: Room[State], seat: int) -> None:
    """Take in a new player, or one who had left during this round, with what they had."""
    state = room.state
    state.players.add(seat, scoring.take_gone(room, seat), seat=seat)
    if state.phase in _CLUE_PHASES:
        state.out_seats |= bit(seat)
    regain(room, seat)


def regain(room: Room[State], seat: int) -> None:
    """Note that a player is there."""
    room.state.players[seat].absent_tick = 0
    _note_absences(room.state)
    pace.come(room, seat)
    rounds.look_at_lobby(room)


def lose(room: Room[State], seat: int) -> None:
    """Note that a player is not there; if it was this player's time to answer, it runs on."""
    absent_ticks = ticks_of(room.settings.absent_seconds)
    room.state.players[seat].absent_tick = room.now + absent_ticks
    _note_absences(room.state)
    pace.go(room, seat)
    _go_on_without(room)


def leave(room: Room[State], seat: int) -> None:
    """Let a player go. Whoever leaves with the word has missed."""
    state = room.state
    pace.go(room, seat)
    if state.answering == seat:
        clues.time_out(room)
    scoring.keep_gone(room, seat)
    state.players.remove(seat)
    _note_absences(state)
    state.ready_seats &= ~bit(seat)
    state.out_seats &= ~bit(seat)
    state.chosen_seats &= ~bit(seat)
    if state.control == seat:
        state.control = pace.next_present(state, seat)
    _go_on_without(room)


def vacated_tick(state: State) -> int:
    """Return when a player has been absent for too long to keep the seat; 0 during a round."""
    return state.absent_tick if state.phase in _BETWEEN_ROUNDS else 0


def free_absent(room: Room[State]) -> None:
    """Free the seats of those who have been absent for too long."""
    players = room.state.players
    for seat in room.seats.keys_in_order():
        if 0 < players[seat].absent_tick <= room.now:
            room.vacate(seat)


def _note_absences(state: State) -> None:
    ticks = (player.absent_tick for player in state.players if player.absent_tick)
    state.absent_tick = min(ticks, default=0)


def _go_on_without(room: Room[State]) -> None:
    rounds.look_at_lobby(room)
    rounds.pass_control(room)
    clues.end_if_nobody_waits(room)

"""How a round begins, goes on by itself, and ends; what presence and absence mean.

The phases of a room go round: LOBBY, PLAYING, ENDED, LOBBY. Commands are not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gameserver.engine.inputs import packed
from gameserver.engine.room import Room
from gameserver.games.conquest import alliances, board
from gameserver.games.conquest.settings import ticks_of_seconds
from gameserver.games.conquest.state import (
    NOBODY,
    Ending,
    Exit,
    Phase,
    Placing,
    State,
    Status,
    territories_of,
)

NEXT_PHASES = {
    Phase.LOBBY: (Phase.PLAYING,),
    Phase.PLAYING: (Phase.ENDED,),
    Phase.ENDED: (Phase.LOBBY,),
}

RESULT_FORMAT = 1


def _turn(state: State, phase: Phase) -> None:
    assert phase in NEXT_PHASES[state.phase], f"{state.phase.name} does not turn to {phase.name}."
    state.phase = phase


# --- What passes by itself.


def pass_time(room: Room[State]) -> None:
    """Do what is due."""
    state = room.state
    if 0 < state.empty_tick <= room.now:
        if state.phase is Phase.PLAYING:
            finish(room, Ending.ABANDONED)
        room.end()
    elif state.phase is Phase.PLAYING:
        _pass_round(room)
    elif state.phase is Phase.LOBBY:
        _pass_lobby(room)
    elif state.lobby_tick <= room.now:
        _end_interval(room)


def _pass_lobby(room: Room[State]) -> None:
    state = room.state
    if 0 < state.absent_tick <= room.now:
        for seat in _absent_for_long(room, room.seats.keys_in_order()):
            room.vacate(seat)
    if 0 < state.start_tick <= room.now:
        _start(room)


def _pass_round(room: Room[State]) -> None:
    state = room.state
    alliances.end_due(room)
    if 0 < state.absent_tick <= room.now:
        _let_absent_go(room)
    if state.phase is not Phase.PLAYING:
        return
    if state.limit_tick <= room.now:
        finish(room, Ending.TIME)
    elif state.income_tick <= room.now:
        state.income_tick += ticks_of_seconds(room.settings.income_seconds)
        for seat in alliances.alive_seats(state):
            state.players[seat].reserve += board.income(state, room.settings, seat)


def due_tick(state: State) -> int | None:
    """Return when something passes by itself."""
    ticks = (
        *(state.start_tick, state.income_tick, state.limit_tick, state.lobby_tick),
        *(state.empty_tick, state.absent_tick, state.notice_tick),
    )
    return min((tick for tick in ticks if tick), default=None)


# --- The lobby.


def present_seats(room: Room[State]) -> list[int]:
    """Return who is connected, lowest seat first."""
    seats = room.seats
    return [seat for seat in seats.keys_in_order() if seats[seat].present]


def set_countdown(room: Room[State], present: Sequence[int]) -> None:
    """Begin the countdown when enough players are there, stop it when they are not.

    Once all who are there are ready, nobody waits any longer.
    """
    state, settings = room.state, room.settings
    if state.phase is not Phase.LOBBY:
        return
    if len(present) < settings.players_min:
        state.start_tick = 0
    elif all(state.players[seat].ready for seat in present):
        state.start_tick = room.now + 1
    elif not state.start_tick:
        state.start_tick = room.now + max(ticks_of_seconds(settings.start_seconds), 1)


def _start(room: Room[State]) -> None:
    """Begin a round with those who are there; the others wait for the next."""
    state, settings = room.state, room.settings
    seats = present_seats(room)
    _turn(state, Phase.PLAYING)
    state.round_number += 1
    state.round_players = len(seats)
    state.ending, state.winner = Ending.NONE, NOBODY
    state.placings.clear()
    for seat in seats:
        player = state.players[seat]
        player.status = Status.ALIVE
        player.reserve = settings.start_reserve
    _set_absent_tick(state)
    board.deal(room, seats)
    count = len(territories_of(state))
    state.victory_territories = -(-count * settings.victory_percent // 100)
    state.start_tick = 0
    state.began_tick = room.now
    state.income_tick = room.now + ticks_of_seconds(settings.income_seconds)
    state.limit_tick = room.now + ticks_of_seconds(settings.time_limit_seconds)


# --- The end of a player, and of a round.


def conquer(room: Room[State], seat: int, loser: int) -> None:
    """See what it means that a player has just taken a territory from another, or from nobody."""
    state = room.state
    if loser != NOBODY and not state.players[loser].territories:
        drop_out(room, loser, Exit.ELIMINATED)
    if (
        state.phase is Phase.PLAYING
        and state.players[seat].territories >= state.victory_territories
    ):
        finish(room, Ending.SHARE)


def drop_out(room: Room[State], seat: int, how: Exit) -> None:
    """Let a player's round end. What they owned is nobody's, with the troops on it."""
    state = room.state
    player = state.players[seat]
    _place(room, len(alliances.alive_seats(state)), seat, how)
    for index in board.owned_by(state, seat):
        board.hand_over(state, index, NOBODY)
    alliances.cut_ties(state, seat)
    player.status = Status.OUT
    player.reserve = 0
    _set_absent_tick(state)

    alive = alliances.alive_seats(state)
    if len(alive) == 1:
        finish(room, Ending.LAST_STANDING)
    else:
        alliances.lapse_if_united(state)


def finish(room: Room[State], ending: Ending) -> None:
    """End the round. What those who are left hold decides.

    That is territories, then troops on the board, then the lower seat. Whoever has just reached
    the share for victory is the first to do so, and so has more than anybody else.
    """
    state = room.state
    _turn(state, Phase.ENDED)
    alive = alliances.alive_seats(state)
    troops = _troops(state, alive)

    def rank(seat: int) -> tuple[int, int, int]:
        return -state.players[seat].territories, -troops[seat], seat

    for place, seat in enumerate(sorted(alive, key=rank), 1):
        _place(room, place, seat, Exit.STOOD, troops[seat])
        alliances.cut_ties(state, seat)
    state.ending = ending
    state.winner = state.placings[1].by_seat
    state.income_tick = state.limit_tick = state.absent_tick = state.notice_tick = 0
    state.lobby_tick = room.now + ticks_of_seconds(room.settings.rematch_seconds)
    board.show(state, range(len(territories_of(state))))
    room.result(state.round_number, _payload(room))


def _troops(state: State, seats: list[int]) -> dict[int, int]:
    troops = dict.fromkeys(seats, 0)
    for territory in territories_of(state):
        if territory.owner != NOBODY:
            troops[territory.owner] += territory.troops
    return troops


def _place(room: Room[State], place: int, seat: int, how: Exit, troops: int = 0) -> None:
    """Note a player's place and give the points: one for each player behind, twice for the first.

    Points are given at once, because the player may be gone when the round ends.
    """
    state = room.state
    points = (state.round_players - place) * (2 if place == 1 else 1)
    territories = state.players[seat].territories if how is Exit.STOOD else 0
    state.placings.add(
        place,
        Placing(
            by_seat=seat,
            account=room.account(seat),
            points=points,
            territories=territories,
            troops=troops,
            how=how,
        ),
    )
    if points:
        room.score(state.round_number, seat, points)


def _payload(room: Room[State]) -> bytes:
    """Pack the result: what was played, how it ended after how many ticks, and the placings."""
    state = room.state
    rows: list[Any] = [
        [one.key, one.by_seat, one.account, one.points, one.territories, one.troops, one.how]
        for one in state.placings
    ]
    ticks = room.now - state.began_tick
    world = [state.atlas.name, state.atlas.version]
    return packed([RESULT_FORMAT, *world, state.fog, state.ending, ticks, rows])


def _end_interval(room: Room[State]) -> None:
    """Open the lobby for the next round, or end a room that has played its rounds."""
    state = room.state
    if state.round_number >= room.settings.rounds_max:
        room.end()
        return
    _turn(state, Phase.LOBBY)
    state.lobby_tick = 0
    board.clear(state)
    for player in state.players:
        player.status = Status.WAITING
        player.ready = False
    _set_absent_tick(state)
    set_countdown(room, present_seats(room))


# --- Presence.


def come(room: Room[State], seat: int) -> None:
    """Take in a player who has sat down or is back."""
    state = room.state
    state.empty_tick = 0
    state.players[seat].absent_tick = 0
    _set_absent_tick(state)
    set_countdown(room, present_seats(room))


def go_missing(room: Room[State], seat: int) -> None:
    """Note that a player's connection is gone."""
    state = room.state
    player = state.players[seat]
    player.ready = False
    player.absent_tick = room.now + ticks_of_seconds(room.settings.absent_seconds)
    _set_absent_tick(state)
    _without(room, seat)


def go_for_good(room: Room[State], seat: int) -> None:
    """Let a player go who gives up the seat, which somebody else may have next."""
    state = room.state
    if state.phase is Phase.PLAYING and state.players[seat].status is Status.ALIVE:
        drop_out(room, seat, Exit.LEFT)
    for index in board.owned_by(state, seat):  # The final board, after the round.
        board.hand_over(state, index, NOBODY)
    board.forget_seat(state, seat)
    state.players.remove(seat)
    _set_absent_tick(state)
    _without(room, seat)


def _without(room: Room[State], seat: int) -> None:
    present = [one for one in present_seats(room) if one != seat]
    if not present and not room.state.empty_tick:
        room.state.empty_tick = room.now + ticks_of_seconds(room.settings.empty_seconds)
    set_countdown(room, present)


def _let_absent_go(room: Room[State]) -> None:
    """Count those who were away for too long as having surrendered, the longest first."""
    for seat in _absent_for_long(room, alliances.alive_seats(room.state)):
        if room.state.phase is Phase.PLAYING:
            drop_out(room, seat, Exit.ABSENT)


def _absent_for_long(room: Room[State], seats: Sequence[int]) -> list[int]:
    """Return those of the seats whose time to come back is over, the longest absent first."""
    players = room.state.players
    gone = [(players[seat].absent_tick, seat) for seat in seats]
    return [seat for tick, seat in sorted(gone) if 0 < tick <= room.now]


def _set_absent_tick(state: State) -> None:
    """Note the earliest end of an absence that matters, so that nobody has to look for it.

    In a round these are those of who takes part, in the lobby all. While the final board is shown
    none: what the absent hold is part of it.
    """
    ticks = [
        player.absent_tick
        for player in state.players
        if player.absent_tick
        and (state.phase is Phase.LOBBY or player.status is Status.ALIVE)
        and state.phase is not Phase.ENDED
    ]
    state.absent_tick = min(ticks, default=0)

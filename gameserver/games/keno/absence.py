"""Seats of players who stay away, freed between rounds, and the end of a room that nobody wants.

A player without a seat comes back like anybody else; only the last bets are forgotten. A room in
which nobody has a seat any more ends after a while: without that, whoever makes rooms and goes
would use up all that a server may have.
"""

from __future__ import annotations

from gameserver.engine.room import Room
from gameserver.games.keno.settings import TICKS_PER_SECOND
from gameserver.games.keno.state import Keno, Phase

ABSENT_TICKS = 10 * 60 * TICKS_PER_SECOND
EMPTY_TICKS = 10 * 60 * TICKS_PER_SECOND
FREED_PER_TICK_MAX = 200  # So that a tick in which many go stays short.

# No bet is out in these.
_BETWEEN_ROUNDS = frozenset({Phase.SLEEPING, Phase.WAITING, Phase.SHOWN})


def go(room: Room[Keno], seat: int) -> None:
    """Note that a player's connection is gone."""
    state = room.state
    player = state.players[seat]
    player.absent_tick = room.now + ABSENT_TICKS
    if not state.frees_tick:
        state.frees_tick = player.absent_tick


def come_back(room: Room[Keno], seat: int) -> None:
    """Note that a player is there again."""
    room.state.players[seat].absent_tick = 0


def note_empty(room: Room[Keno]) -> None:
    """Note since when nobody has a seat."""
    if not room.state.players:
        room.state.empty_tick = room.now + EMPTY_TICKS


def due(state: Keno) -> int | None:
    """Return when to look for seats to free, or to end the room; None if never."""
    ticks = (_frees_tick(state), _ends_tick(state))
    return min((tick for tick in ticks if tick), default=None)


def pass_time(room: Room[Keno]) -> None:
    """Free seats of those who were away for too long; end the room if nobody came for too long."""
    state = room.state
    if 0 < _frees_tick(state) <= room.now:
        _free(room)
    if 0 < _ends_tick(state) <= room.now:
        if room.waits_for_verdicts():  # On a bet of a round that was void meanwhile.
            state.empty_tick = room.now + EMPTY_TICKS
        else:
            room.end()


def _frees_tick(state: Keno) -> int:
    return state.frees_tick if state.phase in _BETWEEN_ROUNDS else 0


def _ends_tick(state: Keno) -> int:
    return state.empty_tick if state.phase is Phase.SLEEPING else 0


def _free(room: Room[Keno]) -> None:
    state = room.state
    players = state.players
    gone = [seat for seat in players.keys_in_order() if 0 < players[seat].absent_tick <= room.now]
    for seat in gone[:FREED_PER_TICK_MAX]:
        room.vacate(seat)
    ticks = (player.absent_tick for player in players if player.absent_tick)
    state.frees_tick = min(ticks, default=0)

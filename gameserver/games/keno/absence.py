"""Seats of players who stay away: freed between rounds, so that a room does not fill with them.

A player without a seat comes back like anybody else; only the last bets are forgotten.
"""

from __future__ import annotations

from gameserver.engine.room import Room
from gameserver.games.keno.settings import TICKS_PER_SECOND
from gameserver.games.keno.state import Keno, Phase

ABSENT_TICKS = 10 * 60 * TICKS_PER_SECOND
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


def due(state: Keno) -> int | None:
    """Return when to look for seats to free, or None."""
    return state.frees_tick or None if state.phase in _BETWEEN_ROUNDS else None


def pass_time(room: Room[Keno]) -> None:
    """Free seats of those who were away for too long, and note when to look again."""
    state = room.state
    tick = due(state)
    if tick is None or tick > room.now:
        return
    players = state.players
    gone = [seat for seat in players.keys_in_order() if 0 < players[seat].absent_tick <= room.now]
    for seat in gone[:FREED_PER_TICK_MAX]:
        room.vacate(seat)
    ticks = (player.absent_tick for player in players if player.absent_tick)
    state.frees_tick = min(ticks, default=0)

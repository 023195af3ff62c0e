"""Alliances: offered, accepted, ended with notice, and gone when nobody is left to fight.

Alliances that stand are public, offers are known to the two whom they concern. Knows nothing of
battles.
"""

from __future__ import annotations

from gameserver.engine.room import Room
from gameserver.games.conquest.board import owned_by, show
from gameserver.games.conquest.settings import ticks_of_seconds
from gameserver.games.conquest.state import Notice, Offer, State, Status, pair_key


def are_allied(state: State, seat: int, other: int) -> bool:
    """Tell whether two players are allies; those under notice still are."""
    return bool(state.players[seat].allies >> other & 1)


def allies_count(state: State, seat: int) -> int:
    """Return how many allies a player has."""
    return state.players[seat].allies.bit_count()


def has_offered(state: State, by_seat: int, to_seat: int) -> bool:
    """Tell whether one player waits for the other's answer."""
    return pair_key(by_seat, to_seat) in state.offers


def is_ending(state: State, seat: int, other: int) -> bool:
    """Tell whether either of two allies has given notice."""
    notices = state.notices
    return pair_key(seat, other) in notices or pair_key(other, seat) in notices


def would_unite_all(state: State, seat: int, other: int) -> bool:
    """Tell whether nobody could attack anybody any more if these two were allies too."""
    allies = _allies_of_the_living(state)
    allies[seat] |= 1 << other
    allies[other] |= 1 << seat
    return _are_united(allies)


def alive_seats(state: State) -> list[int]:
    """Return who is still in the round, lowest seat first."""
    players = state.players
    return [seat for seat in players.keys_in_order() if players[seat].status is Status.ALIVE]


def offer(state: State, by_seat: int, to_seat: int) -> None:
    """Offer an alliance."""
    seats = 1 << by_seat | 1 << to_seat
    state.offers.add(
        pair_key(by_seat, to_seat), Offer(by_seat=by_seat, to_seat=to_seat, seen_by=seats)
    )


def withdraw(state: State, seat: int, other: int) -> None:
    """Drop whatever offer is open between two players."""
    for key in (pair_key(seat, other), pair_key(other, seat)):
        if key in state.offers:
            state.offers.remove(key)


def ally(state: State, seat: int, other: int) -> None:
    """Make two players allies: they see each other's territories from now on."""
    withdraw(state, seat, other)
    _set_allies(state, seat, state.players[seat].allies | 1 << other)
    _set_allies(state, other, state.players[other].allies | 1 << seat)


def give_notice(room: Room[State], seat: int, other: int) -> None:
    """End an alliance; it stands until the notice has run out, and then ``end_due`` ends it."""
    state = room.state
    ends_tick = room.now + ticks_of_seconds(room.settings.notice_seconds)
    notice = Notice(by_seat=seat, to_seat=other, ends_tick=ends_tick)
    state.notices.add(pair_key(seat, other), notice)
    _set_notice_tick(state)


def end_due(room: Room[State]) -> None:
    """End the alliances whose notice has run out."""
    state = room.state
    if not 0 < state.notice_tick <= room.now:
        return
    for notice in tuple(state.notices):
        if notice.ends_tick <= room.now:
            _part(state, notice.by_seat, notice.to_seat)
    _set_notice_tick(state)


def cut_ties(state: State, seat: int) -> None:
    """End all alliances and offers of a player at once."""
    for other in tuple(state.players.keys_in_order()):
        withdraw(state, seat, other)
        if are_allied(state, seat, other):
            _part(state, seat, other)
    _set_notice_tick(state)


def lapse_if_united(state: State) -> None:
    """End all alliances if only allies are left: there is one winner."""
    allies = _allies_of_the_living(state)
    if _are_united(allies):
        for seat in allies:
            cut_ties(state, seat)


def _allies_of_the_living(state: State) -> dict[int, int]:
    return {seat: state.players[seat].allies for seat in alive_seats(state)}


def _are_united(allies: dict[int, int]) -> bool:
    everybody = sum(1 << seat for seat in allies)
    return all((friends | 1 << seat) == everybody for seat, friends in allies.items())


def _part(state: State, seat: int, other: int) -> None:
    for key in (pair_key(seat, other), pair_key(other, seat)):
        if key in state.notices:
            state.notices.remove(key)
    _set_allies(state, seat, state.players[seat].allies & ~(1 << other))
    _set_allies(state, other, state.players[other].allies & ~(1 << seat))


def _set_allies(state: State, seat: int, allies: int) -> None:
    state.players[seat].allies = allies
    if state.fog:
        show(state, owned_by(state, seat))


def _set_notice_tick(state: State) -> None:
    """Note the earliest end, so that nobody has to look for it."""
    state.notice_tick = min((notice.ends_tick for notice in state.notices), default=0)

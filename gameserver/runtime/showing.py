"""What those who come into a room are shown: taken at the end of the tick that lets them in.

Taken then, because the room may be ticks ahead when that tick is durable and its output is told.
"""

from __future__ import annotations

from gameserver.engine.commands import PENDING, Outcome, outcome
from gameserver.engine.output import TickOutput
from gameserver.runtime.work import WATCHING, Join, OpenRoom, Roster, Shown

ROSTER_SEATS_MAX = 60  # Larger rooms tell nobody all the names; whoever joins learns its own.


def shown(join: Join, output: TickOutput) -> Shown:
    """Return what a viewer is shown who waited for this tick."""
    opened = join.opened
    room = opened.room
    seat = None if join.watch else room.seat_of(join.viewer.account)
    if seat is None and not join.watch:
        refused = (output.refused or {}).get(join.viewer.account, 0)
        return Shown(join, room.entry_tick, None, refused)
    public, private = room.full(seat)
    if seat is None:
        return Shown(join, room.entry_tick, WATCHING, 0, public, private)
    opened.names[join.viewer.account] = join.viewer.name
    since_tick = room.seats[seat].since_tick
    told = _outcomes(opened, seat) if join.request is None else ()
    return Shown(join, room.entry_tick, seat, 0, public, private, since_tick, told)


def _outcomes(opened: OpenRoom, seat: int) -> tuple[Outcome, ...]:
    room = opened.room
    return tuple(
        outcome(known.number, known.tick, known.code, room.reasons)
        for known in room.windows[seat]
        if known.code != PENDING
    )


def roster(opened: OpenRoom) -> Roster | None:
    """Return who sits where, and forget the names of those who do not; None in a large room."""
    seats = opened.room.seats
    if len(opened.names) > len(seats):
        accounts = {seat.account for seat in seats}
        opened.names = {
            account: name for account, name in opened.names.items() if account in accounts
        }
    if len(seats) > ROSTER_SEATS_MAX:
        return None
    names = opened.names
    return [
        (number, seats[number].account, names.get(seats[number].account, ""))
        for number in seats.keys_in_order()
    ]

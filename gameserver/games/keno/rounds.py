"""What passes with time: a round opens, locks, is drawn and settled (or void), and is shown.

A round opens only when its seed is there and the commitment to it has been public for a tick. It
draws only when nothing is pending: a bet on which the wallet has not ruled is neither in nor out.
"""

from __future__ import annotations

from gameserver.engine.dice import SEED_BYTES
from gameserver.engine.inputs import packed
from gameserver.engine.room import Room
from gameserver.games.keno import bets, fair
from gameserver.games.keno.state import MOVES, Drawn, Keno, Phase

ASK_SEED = "seed"
RESULTS_SHOWN_MAX = 20
ENDINGS_PER_TICK_MAX = 500  # Half of what a commit takes, so that other rooms find place in it.
PENDING_TICKS_MAX = 2 * 60 * 20  # A verdict comes within a tick or two, or something is wrong.


def due(state: Keno) -> int | None:
    """Return when the round moves on by itself."""
    if state.phase is Phase.SLEEPING:
        return None
    if state.phase is Phase.WAITING:
        return state.opens_tick if state.next_seed else None
    if state.phase is Phase.OPEN:
        return state.closes_tick
    if state.phase is Phase.LOCKED:
        return state.closes_tick + (PENDING_TICKS_MAX if state.pending else 1)
    if state.phase is Phase.SHOWN:
        return state.opens_tick
    return state.closes_tick  # Money is on its way out: the very next tick.


def pass_time(room: Room[Keno]) -> None:
    """Move the round on, if it is still due: a seed of this very tick may have put it off."""
    state = room.state
    tick = due(state)
    if tick is None or tick > room.now:
        return
    if state.phase is Phase.OPEN:
        _enter(state, Phase.LOCKED)
    elif state.phase is Phase.LOCKED:
        _decide(room)
    elif state.phase in (Phase.SETTLING, Phase.VOIDING):
        _pay(room)
    else:
        _begin(room)


def take_seed(room: Room[Keno], seed: bytes) -> None:
    """Keep the seed of the round to come, and show the commitment to it."""
    assert len(seed) == SEED_BYTES, "A seed has 32 bytes."
    state = room.state
    state.next_seed = seed
    state.next_commitment = fair.commitment(room.room_id, state.round_number + 1, seed)
    # The commitment is public for a tick at least before anybody can bet.
    state.opens_tick = max(state.opens_tick, room.now + 1)


def wake(room: Room[Keno]) -> None:
    """Go on with the rounds, because somebody is here."""
    state = room.state
    if state.phase is Phase.SLEEPING:
        _enter(state, Phase.WAITING)
        state.opens_tick = max(state.opens_tick, room.now + 1)


def _begin(room: Room[Keno]) -> None:
    """Open the next round, or wait for its seed, or sleep because nobody is here."""
    state = room.state
    if not any(seat.present for seat in room.seats):
        _enter(state, Phase.SLEEPING)
    elif not state.next_seed:
        _enter(state, Phase.WAITING)
    else:
        _open(room)


def _open(room: Room[Keno]) -> None:
    state, now = room.state, room.now
    _enter(state, Phase.OPEN)
    state.round_number += 1
    state.seed, state.commitment = state.next_seed, state.next_commitment
    state.next_seed = state.next_commitment = b""
    state.closes_tick = now + state.terms.betting_ticks
    state.opens_tick = now + state.terms.round_ticks
    state.numbers = ()
    state.bets_standing = state.players_standing = 0
    state.staked_minor = state.paid_minor = 0
    room.ask(ASK_SEED)


def _decide(room: Room[Keno]) -> None:
    """Draw; or void a round that cannot be drawn, because a bet never became certain."""
    state = room.state
    if state.pending:
        _enter(state, Phase.VOIDING)
        state.paid_minor = state.staked_minor  # All that was staked goes back.
        _record(room, void=True)
    else:
        _enter(state, Phase.SETTLING)
        state.numbers = fair.draw(room.room_id, state.round_number, state.seed)
        state.paid_minor = bets.payouts_minor(state)
        if state.bets_standing:
            # Booked before the first settlement, so that the escrow covers every payout.
            room.book(state.round_number, state.staked_minor - state.paid_minor)
        _record(room, void=False)
    _pay(room)


def _pay(room: Room[Keno]) -> None:
    """End as many bets as a tick may."""
    state = room.state
    if state.phase is Phase.SETTLING:
        bets.settle(room, ENDINGS_PER_TICK_MAX)
    else:
        bets.void(room, ENDINGS_PER_TICK_MAX)
    if not state.bets and not state.strays:
        _enter(state, Phase.SHOWN)


def _record(room: Room[Keno], *, void: bool) -> None:
    """Reveal the seed with the result, and record both for ever."""
    state = room.state
    shown = Drawn(
        commitment=state.commitment,
        seed=state.seed,
        numbers=state.numbers,
        bets=state.bets_standing,
        staked_minor=state.staked_minor,
        paid_minor=state.paid_minor,
        void=void,
    )
    state.results.add(state.round_number, shown)
    if len(state.results) > RESULTS_SHOWN_MAX:
        state.results.remove(state.results.keys_in_order()[0])
    row = (
        state.round_number,
        shown.commitment,
        shown.seed,
        shown.numbers,
        shown.bets,
        shown.staked_minor,
        shown.paid_minor,
        shown.void,
    )
    room.result(state.round_number, packed(row))


def _enter(state: Keno, phase: Phase) -> None:
    assert phase in MOVES[state.phase], f"{state.phase.name} is not followed by {phase.name}."
    state.phase = phase

"""The life of a bet: placed, granted or taken back, perhaps cancelled, and settled once.

A bet lies among ``bets`` while its player has the seat, and among ``strays`` after that. Whatever
comes later for it (a verdict, the settlement) finds it by its hold's reference in either.
"""

from __future__ import annotations

from gameserver.engine.room import Room
from gameserver.games.keno.paytable import payout_minor
from gameserver.games.keno.state import VOID_HITS, Bet, Doomed, Keno, Player, Stray

LAST_BETS_MAX = 10


def place(room: Room[Keno], seat: int, spots: tuple[int, ...], stake_minor: int) -> None:
    """Put a bet down and ask the wallet for its stake; until the verdict it is pending."""
    state = room.state
    reference = room.hold(stake_minor)
    state.bets.add(reference, Bet(spots=spots, stake_minor=stake_minor), seat=seat)
    state.players[seat].references += (reference,)
    state.pending += 1


def grant(room: Room[Keno], reference: str) -> None:
    """Let a pending bet stand; if its round is void by now, put the stake back."""
    state = room.state
    if reference in state.doomed:
        state.doomed.remove(reference)
        room.release(reference)
        return
    bet = _bet(state, reference)
    state.pending -= 1
    if not _plays_already(state, bet):
        state.players_standing += 1
    bet.stands = True
    state.bets_standing += 1
    state.staked_minor += bet.stake_minor


def take_back(room: Room[Keno], reference: str) -> None:
    """Remove a bet that the wallet has refused."""
    state = room.state
    if reference in state.doomed:
        state.doomed.remove(reference)
        return
    state.pending -= 1
    _remove(state, reference)


def cancel(room: Room[Keno], reference: str) -> None:
    """Remove a standing bet of a seated player and put its stake back."""
    state = room.state
    bet = state.bets[reference]
    bet.stands = False
    if not _plays_already(state, bet):
        state.players_standing -= 1
    state.bets_standing -= 1
    state.staked_minor -= bet.stake_minor
    _remove(state, reference)
    room.release(reference)


def stakes_minor(state: Keno, seat: int) -> int:
    """Return what a player has staked in this round, pending bets included."""
    return sum(state.bets[one].stake_minor for one in state.players[seat].references)


def send_astray(state: Keno, seat: int, account: int) -> None:
    """Keep the bets of a player who leaves; nobody is shown them any more."""
    for reference in state.players[seat].references:
        bet = state.bets[reference]
        state.bets.remove(reference)
        stray = Stray(
            spots=bet.spots, stake_minor=bet.stake_minor, stands=bet.stands, account=account
        )
        state.strays.add(reference, stray)


def bring_home(state: Keno, seat: int, account: int) -> None:
    """Give a player who comes back within the round the bets that were left behind."""
    for stray in tuple(state.strays):
        if stray.account == account:
            reference = _key(stray)
            state.strays.remove(reference)
            bet = Bet(spots=stray.spots, stake_minor=stray.stake_minor, stands=stray.stands)
            state.bets.add(reference, bet, seat=seat)
            state.players[seat].references += (reference,)


def payouts_minor(state: Keno) -> int:
    """Return what the round pays for all bets together."""
    drawn = frozenset(state.numbers)
    seated = sum(_payout_minor(state, bet, _hits(bet, drawn)) for bet in state.bets)
    return seated + sum(_payout_minor(state, one, _hits(one, drawn)) for one in state.strays)


def settle(room: Room[Keno], count_max: int) -> None:
    """Pay out up to so many bets of the drawn round, or end them with nothing."""
    state = room.state
    drawn = frozenset(state.numbers)
    for reference in _first(state, count_max):
        bet = _bet(state, reference)
        hits = _hits(bet, drawn)
        paid_minor = _payout_minor(state, bet, hits)
        room.settle(reference, paid_minor)
        if isinstance(bet, Bet):
            player = state.players[bet.seat]
            player.net_minor += paid_minor - bet.stake_minor
            _keep_last(state, bet, hits, paid_minor)
        _remove(state, reference)
        if isinstance(bet, Bet):
            _score(room, bet.seat)


def void(room: Room[Keno], count_max: int) -> None:
    """Put up to so many stakes of a void round back; pending bets go back when they are granted."""
    state = room.state
    for reference in _first(state, count_max):
        bet = _bet(state, reference)
        if bet.stands:
            room.release(reference)
        else:
            state.pending -= 1
            state.doomed.add(reference, Doomed(since_tick=room.now))
        if isinstance(bet, Bet):
            _keep_last(state, bet, VOID_HITS, bet.stake_minor)
        _remove(state, reference)


def _score(room: Room[Keno], seat: int) -> None:
    """Give the round's winnings as points, with the last of the player's bets."""
    player = room.state.players[seat]
    if player.references:
        return
    if player.net_minor > 0:
        room.score(room.state.round_number, seat, player.net_minor)
    player.net_minor = 0


def _bet(state: Keno, reference: str) -> Bet | Stray:
    bet = state.bets.get(reference)
    return state.strays[reference] if bet is None else bet


def _key(bet: Bet | Stray) -> str:
    assert isinstance(bet.key, str), "Bets lie under their holds' references."
    return bet.key


def _remove(state: Keno, reference: str) -> None:
    bet = state.bets.get(reference)
    if bet is None:
        state.strays.remove(reference)
        return
    player: Player = state.players[bet.seat]
    player.references = tuple(one for one in player.references if one != reference)
    state.bets.remove(reference)


def _plays_already(state: Keno, bet: Bet | Stray) -> bool:
    """Tell whether the bet's player has a bet that stands."""
    if isinstance(bet, Bet):
        return any(state.bets[one].stands for one in state.players[bet.seat].references)
    return any(one.stands for one in state.strays if one.account == bet.account)


def _first(state: Keno, count_max: int) -> list[str]:
    seated = state.bets.keys_in_order()[:count_max]
    return seated + state.strays.keys_in_order()[: count_max - len(seated)]


def _hits(bet: Bet | Stray, drawn: frozenset[int]) -> int:
    return len(drawn.intersection(bet.spots))


def _payout_minor(state: Keno, bet: Bet | Stray, hits: int) -> int:
    terms = state.terms
    pays = terms.pays[len(bet.spots) - 1]
    return payout_minor(pays, hits, bet.stake_minor, terms.payout_max_minor)


def _keep_last(state: Keno, bet: Bet, hits: int, paid_minor: int) -> None:
    player = state.players[bet.seat]
    row = (state.round_number, bet.stake_minor, hits, paid_minor, bet.spots)
    player.last = (*player.last, row)[-LAST_BETS_MAX:]

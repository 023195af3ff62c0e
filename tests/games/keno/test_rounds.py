"""Rounds in time: they open, lock, wait for verdicts, are drawn, paid, shown; or are void."""

from itertools import pairwise

import msgpack
import pytest

from gameserver.engine.commands import Code
from gameserver.engine.effects import Booking, Release, Settle
from gameserver.games.keno import fair, rounds
from gameserver.games.keno.commands import Bet, Cancel
from gameserver.games.keno.rounds import ENDINGS_PER_TICK_MAX, PENDING_TICKS_MAX
from gameserver.games.keno.state import MOVES, VOID_HITS, Keno, Phase
from tests.games.keno.table_of_keno import finish, make_play, phase_of, reach
from tests.games.play import BALANCE_MINOR, Play, account_of

PICK = Bet(spots=(1, 2, 3, 4, 5), stake_minor=100)


def _phases(play: Play[Keno], ticks: int) -> list[tuple[int, Phase]]:
    """Let time pass; return when each phase began."""
    seen = [(play.now, play.state.phase)]
    for _ in range(ticks):
        play.tick()
        if play.state.phase is not seen[-1][1]:
            seen.append((play.now, play.state.phase))
    return seen


def test_a_round_of_five_seconds_passes_its_phases_on_time() -> None:
    play = make_play("ann", round_seconds=5)
    opened = play.now
    assert _phases(play, 101) == [
        (opened, Phase.OPEN),
        (opened + 75, Phase.LOCKED),
        (opened + 76, Phase.SHOWN),
        (opened + 100, Phase.OPEN),
    ]


@pytest.mark.parametrize("seconds", [2, 7, 60])
def test_rounds_begin_as_often_as_the_creator_chose(seconds: int) -> None:
    play = make_play("ann", round_seconds=seconds)
    seen = _phases(play, seconds * 20 * 3 + 1)
    opened = [tick for tick, phase in seen if phase is Phase.OPEN]
    assert [later - earlier for earlier, later in pairwise(opened)] == [seconds * 20] * 3


def test_every_phase_can_be_reached_and_left() -> None:
    assert set(MOVES) == set(Phase)
    assert {phase for after in MOVES.values() for phase in after} == set(Phase)


def test_a_move_that_is_not_in_the_table_sets_the_room_aside() -> None:
    play = make_play("ann")
    with pytest.raises(AssertionError, match="OPEN is not followed by SHOWN"):
        rounds._enter(play.state, Phase.SHOWN)


def test_a_room_that_nobody_has_entered_sleeps() -> None:
    play = make_play()
    play.run_to(10_000)
    assert play.room.due_tick == play.state.empty_tick
    assert phase_of(play) is Phase.SLEEPING
    assert len(play.journal) == 2  # It was opened, and got its first seed.


def test_a_room_without_players_finishes_its_round_and_sleeps_until_somebody_comes() -> None:
    play = make_play("ann", "bob")
    play.check(0, PICK, None)
    play.lose(0)
    play.leave(1)
    play.run_to(play.now + 1_000)
    assert phase_of(play) is Phase.SLEEPING
    assert play.room.due_tick == play.state.frees_tick  # All that passes is the time of the absent.
    assert (play.state.round_number, len(play.results())) == (1, 1)
    assert not play.wallet.open_holds()
    play.sit("ann")
    assert len(play.state.players[0].last) == 1
    reach(play, Phase.OPEN)
    assert play.state.round_number == 2
    assert play.now <= 1_100 + 3
    play.check_all()


def test_a_room_with_a_seat_that_is_only_lost_sleeps_and_wakes_with_a_newcomer() -> None:
    play = make_play("ann")
    play.lose(0)
    play.run_to(play.now + 500)
    assert phase_of(play) is Phase.SLEEPING
    play.sit("bob")
    reach(play, Phase.OPEN)
    assert play.state.round_number == 2


def test_a_round_waits_for_its_seed_and_no_longer() -> None:
    play = make_play("ann")
    play.asks_held = True
    finish(play)
    play.run_to(play.state.opens_tick + 500)
    assert phase_of(play) is Phase.WAITING
    assert play.room.due_tick is None
    play.asks_held = False
    play.ticks(2)
    assert phase_of(play) is Phase.OPEN


def test_who_waits_for_a_seed_and_leaves_leaves_a_sleeping_room() -> None:
    play = make_play()
    play.asks_held = True
    play.sit("ann")
    play.lose(0)
    play.give_drawn("seed")
    play.ticks(5)
    assert phase_of(play) is Phase.SLEEPING
    play.sit("ann")
    reach(play, Phase.OPEN)


def test_nothing_is_drawn_while_a_bet_is_pending() -> None:
    play = make_play("ann", "bob")
    play.verdicts_held = True
    play.command(0, PICK)
    play.run_to(play.state.closes_tick + 300)
    assert phase_of(play) is Phase.LOCKED
    assert play.state.numbers == ()
    play.give_verdicts()
    play.tick()
    assert phase_of(play) is Phase.LOCKED
    assert play.state.bets_standing == 1
    play.tick()
    assert phase_of(play) is Phase.SHOWN
    assert len(play.state.numbers) == 20
    # The next round opens at once, because its time has long come.
    play.tick()
    assert phase_of(play) is Phase.OPEN


def test_what_is_drawn_is_paid_and_the_house_has_the_rest() -> None:
    play = make_play("ann", "bob")
    numbers = fair.draw(play.room.room_id, 1, play.state.seed)
    missed = tuple(number for number in range(1, 81) if number not in numbers)
    play.check(0, Bet(spots=numbers[:3], stake_minor=100), None)  # 47 times
    play.check(0, Bet(spots=(*numbers[:2], missed[0]), stake_minor=100), None)  # twice
    play.check(0, Bet(spots=missed[:2], stake_minor=1_000), None)  # nothing
    play.check(1, Bet(spots=missed[:1], stake_minor=300), None)  # nothing
    finish(play)
    state = play.state
    assert (state.staked_minor, state.paid_minor) == (1_500, 4_900)
    assert play.wallet.balances[account_of("ann")] == BALANCE_MINOR - 1_200 + 4_900
    assert play.wallet.balances[account_of("bob")] == BALANCE_MINOR - 300
    assert play.wallet.house_minor == 1_500 - 4_900
    assert sorted(row[1:4] for row in state.players[0].last) == [
        (100, 2, 200),
        (100, 3, 4_700),
        (1_000, 0, 0),
    ]
    (score,) = play.scores()
    assert (score.account, score.points) == (account_of("ann"), 3_700)
    (result,) = play.results()
    _, _, _, drawn, bets, staked, paid, void = msgpack.unpackb(result.payload)
    assert (tuple(drawn), bets, staked, paid, void) == (numbers, 4, 1_500, 4_900, False)


def test_each_round_scores_its_own_winnings_and_no_losses() -> None:
    play = make_play("ann")
    for number in (1, 2, 3):
        numbers = fair.draw(play.room.room_id, number, play.state.seed)
        missed = next(one for one in range(1, 81) if one not in numbers)
        spots = (missed,) if number == 2 else numbers[:1]
        play.check(0, Bet(spots=spots, stake_minor=100), None)
        finish(play)
        reach(play, Phase.OPEN)
    assert [score.points for score in play.scores()] == [275, 275]
    assert len({score.reference for score in play.scores()}) == 2


def test_a_payout_is_capped_as_the_terms_say() -> None:
    play = make_play("ann", payout_max_minor=12_000)
    numbers = fair.draw(play.room.room_id, 1, play.state.seed)
    play.check(0, Bet(spots=numbers[:10], stake_minor=100), None)
    finish(play)
    assert play.state.paid_minor == play.state.terms.payout_max_minor == 12_000


def test_a_player_sees_the_last_ten_bets_and_everybody_the_last_twenty_rounds() -> None:
    play = make_play("ann", round_seconds=2)
    for _ in range(25):
        reach(play, Phase.OPEN)
        assert play.command(0, PICK) is None
        finish(play)
    assert play.state.results.keys_in_order() == list(range(6, 26))
    assert [row[0] for row in play.state.players[0].last] == list(range(16, 26))
    assert len(play.results()) == 25
    play.check_all()


def _crowd(count: int, bets_each: int) -> Play[Keno]:
    names = [f"player {number}" for number in range(count)]
    play = make_play(*names, round_seconds=60, stake_min_minor=10)
    for seat in range(count):
        for number in range(bets_each):
            spots = tuple(range(1 + seat % 70, 2 + seat % 70 + number))
            play.submit(seat, Bet(spots=spots, stake_minor=10 + seat))
    play.ticks(3)
    assert play.state.bets_standing == count * bets_each
    return play


def test_payouts_go_out_in_parts_and_bets_stay_closed_until_the_last() -> None:
    play = _crowd(130, 10)
    reach(play, Phase.SETTLING)
    counts = [len([one for one in play.last.effects if isinstance(one, Settle)])]
    assert len([one for one in play.last.effects if isinstance(one, Booking)]) == 1
    drawn = play.state.numbers
    play.leave(7)  # Some leave in the midst of it and are paid all the same.
    counts.append(len([one for one in play.last.effects if isinstance(one, Settle)]))
    while play.state.phase is Phase.SETTLING:
        play.tick()
        counts.append(len([one for one in play.last.effects if isinstance(one, Settle)]))
    assert counts == [ENDINGS_PER_TICK_MAX, ENDINGS_PER_TICK_MAX, 300]
    assert play.state.numbers == drawn
    assert not play.wallet.open_holds()
    assert len(play.effects_of(Settle)) == len({one.reference for one in play.effects_of(Settle)})
    scored = [score.account for score in play.scores()]
    assert len(scored) == len(set(scored)) > 0
    play.check_all()


def test_a_round_whose_bets_never_become_certain_is_void_and_every_stake_goes_back_once() -> None:
    play = make_play("ann", "bob", "eve")
    play.check(0, PICK, None)
    play.tick()
    play.verdicts_held = True
    play.command(1, PICK)
    play.command(1, Bet(spots=(8,), stake_minor=10_000))
    play.command(2, PICK)
    play.leave(2)
    closes_tick = play.state.closes_tick
    play.run_to(closes_tick + PENDING_TICKS_MAX - 1)
    assert phase_of(play) is Phase.LOCKED
    play.tick()
    assert phase_of(play) is Phase.SHOWN
    assert [one.reference for one in play.effects_of(Release)] == ["4242424242.1"]
    assert play.state.numbers == ()
    shown = play.state.results[1]
    assert (shown.void, shown.bets, shown.staked_minor, shown.paid_minor) == (True, 1, 100, 100)
    assert fair.commitment(play.room.room_id, 1, shown.seed) == shown.commitment
    assert play.state.players[0].last == ((1, 100, VOID_HITS, 100, PICK.spots),)
    assert not play.effects_of(Booking)
    # The next round does not wait for them, and what is granted late goes back at once.
    reach(play, Phase.OPEN)
    assert play.state.pending == 0
    assert len(play.state.doomed) == 3
    play.give_verdicts()
    play.tick()
    assert len(play.state.doomed) == 0
    assert play.state.bets_standing == 0
    assert len(play.effects_of(Release)) == 4
    assert not play.wallet.open_holds()
    assert play.wallet.balances[account_of("bob")] == BALANCE_MINOR
    play.verdicts_held = False
    finish(play)
    play.check_all()


def test_a_refused_bet_of_a_void_round_is_forgotten() -> None:
    play = make_play("ann")
    play.verdicts_held = True
    bob = play.sit("bob", balance_minor=50)
    play.command(bob, PICK)
    play.run_to(play.state.closes_tick + PENDING_TICKS_MAX)
    assert len(play.state.doomed) == 1
    play.give_verdicts()
    play.tick()
    assert len(play.state.doomed) == 0
    assert not play.effects_of(Release)


def test_a_large_void_round_goes_back_in_parts() -> None:
    play = _crowd(60, 10)
    play.verdicts_held = True
    play.sit("late")
    assert play.command(play.seat("late"), PICK) is Code.PENDING
    play.run_to(play.state.closes_tick + PENDING_TICKS_MAX)
    assert phase_of(play) is Phase.VOIDING
    assert len(play.last.effects) == ENDINGS_PER_TICK_MAX + 1  # and the result
    play.tick()
    assert phase_of(play) is Phase.SHOWN
    assert len(play.effects_of(Release)) == 600
    play.give_verdicts()
    play.tick()
    assert not play.wallet.open_holds()
    play.check_all()


def _played_until(phase: Phase) -> tuple[Play[Keno], bytes]:
    """A room with bets of every kind, at the first tick of a phase; and an older snapshot."""
    play = _crowd(60, 10)
    taken = play.snapshot()
    play.check(0, Cancel(reference=play.state.players[0].references[0]), None)
    play.leave(59)
    play.verdicts_held = True
    play.sit("poor", balance_minor=50)
    play.command(play.seat("poor"), PICK)
    play.command(1, Cancel(reference="none"))
    if phase is not Phase.OPEN:
        play.verdicts_held = phase in (Phase.LOCKED, Phase.VOIDING)
        reach(play, phase)
    return play, taken


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("how", ["entries", "old snapshot", "new snapshot"])
def test_a_room_that_was_killed_in_any_phase_ends_its_round_with_nothing_doubled_or_lost(
    phase: Phase, how: str
) -> None:
    if phase in (Phase.SLEEPING, Phase.WAITING):
        play = make_play()
        taken = play.snapshot()
        play.asks_held = True
        if phase is Phase.WAITING:
            play.sit("ann")
    else:
        play, taken = _played_until(phase)
    assert phase_of(play) is phase
    wanted = {"entries": None, "old snapshot": taken, "new snapshot": play.snapshot()}[how]
    play.recover(wanted)
    assert phase_of(play) is phase or phase_of(play) is Phase.SHOWN
    play.verdicts_held = play.asks_held = False
    play.sit("newcomer")
    reach(play, Phase.OPEN)
    reach(play, Phase.SHOWN)
    reach(play, Phase.OPEN)
    assert not play.wallet.open_holds()
    assert play.wallet.escrow_minor == 0
    assert len(play.results()) == play.state.round_number - 1
    play.check_all()


def test_an_outage_takes_nobody_s_time() -> None:
    play = make_play("ann")
    play.check(0, PICK, None)
    left = play.state.closes_tick - play.now
    play.recover(play.snapshot())
    assert play.state.closes_tick - play.now == left - 1
    assert [bet.stands for bet in play.state.bets] == [True]

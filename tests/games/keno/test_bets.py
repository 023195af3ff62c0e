"""What may be bet, what is refused and leaves no trace, and whose a bet is when seats change."""

import msgspec
import pytest

from gameserver.engine.commands import INSUFFICIENT_FUNDS, NO_WALLET, Code
from gameserver.engine.inputs import Sat
from gameserver.engine.room import decode_settings
from gameserver.games.keno import GAME, commands
from gameserver.games.keno.commands import Bet, Cancel
from gameserver.games.keno.state import Keno, Phase
from tests.games.keno.table_of_keno import finish, make_play, reach
from tests.games.play import BALANCE_MINOR, Play, account_of

PICK = (3, 14, 15, 65)


def _bet(stake_minor: int = 100, spots: tuple[int, ...] = PICK, round_number: int = 0) -> Bet:
    return Bet(spots=spots, stake_minor=stake_minor, round_number=round_number)


def _totals(play: Play[Keno]) -> tuple[int, int, int]:
    state = play.state
    return state.bets_standing, state.players_standing, state.staked_minor


def _references(play: Play[Keno]) -> list[str]:
    return list(play.state.bets.keys_in_order())


def test_bet() -> None:
    play = make_play("ann", stake_min_minor=50, stake_max_minor=200)
    ann = play.seat("ann")
    play.check(ann, _bet(spots=(1,)), None)
    play.check(ann, _bet(spots=tuple(range(71, 81))), None)
    play.check(ann, _bet(stake_minor=50), None)
    play.check(ann, _bet(stake_minor=200), None)
    play.check(ann, _bet(round_number=1), None)
    play.check(ann, _bet(round_number=2), commands.ROUND_OVER)
    play.check(ann, _bet(spots=(7, 8, 7)), commands.SPOTS_REPEATED)
    play.check(ann, _bet(stake_minor=49), commands.STAKE_TOO_LOW)
    play.check(ann, _bet(stake_minor=201), commands.STAKE_TOO_HIGH)
    reach(play, Phase.LOCKED)
    assert play.command(ann, _bet()) is commands.BETTING_CLOSED
    play.check_all()


@pytest.mark.parametrize(
    "body",
    [
        [1, [], 100],
        [1, list(range(1, 12)), 100],
        [1, [0], 100],
        [1, [81], 100],
        [1, [-1], 100],
        [1, [1.5], 100],
        [1, ["1"], 100],
        [1, 1, 100],
        [1, [1], 0],
        [1, [1], -100],
        [1, [1], 2**53],
        [1, [1], 100, -1],
        [1, [1], 100, 0, 0],
        [1, [1]],
        [2, ""],
        [2, "x" * 41],
        [2, 7],
        [3],
        [],
    ],
)
def test_what_is_no_bet_never_reaches_the_room(body: list[object]) -> None:
    with pytest.raises(msgspec.DecodeError):
        make_play().room.decode(msgspec.msgpack.encode(body))


def test_a_bet_may_leave_its_round_out() -> None:
    body = msgspec.msgpack.encode([1, [5, 4], 100])
    assert make_play().room.decode(body) == Bet(spots=(5, 4), stake_minor=100)


def test_no_bet_before_the_first_round_opens_nor_while_a_result_is_shown() -> None:
    play = make_play()
    play.asks_held = True
    ann = play.sit("ann")
    play.check(ann, _bet(), commands.BETTING_CLOSED)
    play.asks_held = False
    reach(play, Phase.SHOWN)
    play.check(ann, _bet(), commands.BETTING_CLOSED)


def test_the_tick_of_the_lock_takes_no_bet_and_the_tick_before_does() -> None:
    play = make_play("ann")
    play.run_to(play.state.closes_tick - 2)
    assert play.command(0, _bet()) is None
    assert play.now == play.state.closes_tick - 1
    assert play.command(0, _bet()) is commands.BETTING_CLOSED
    finish(play)
    assert len(play.state.players[0].last) == 1


def test_a_bet_stands_only_when_the_wallet_has_granted_it() -> None:
    play = make_play("ann")
    play.verdicts_held = True
    assert play.command(0, _bet(spots=(9, 2))) is Code.PENDING
    (bet,) = play.state.bets
    assert (bet.spots, bet.stake_minor, bet.stands) == ((2, 9), 100, False)
    assert _totals(play) == (0, 0, 0)
    play.give_verdicts()
    play.tick()
    assert bet.stands
    assert _totals(play) == (1, 1, 100)
    play.check_all()


def test_a_bet_that_the_wallet_refuses_is_taken_back_and_no_other() -> None:
    play = make_play("ann", stake_min_minor=50)
    play.verdicts_held = True
    bob = play.sit("bob", balance_minor=250)
    for stake_minor in (200, 100, 50):
        play.submit(bob, _bet(stake_minor))
    play.submit(0, _bet(100))
    play.tick()
    assert len(play.state.bets) == 4
    play.give_verdicts()
    play.tick()
    assert _totals(play) == (3, 2, 350)
    assert [bet.stake_minor for bet in play.state.bets if bet.seat == bob] == [200, 50]
    assert len(play.state.players[bob].references) == 2
    play.verdicts_held = False
    play.check(bob, _bet(), INSUFFICIENT_FUNDS)


def test_a_player_without_a_wallet_can_watch_and_sit_but_not_bet() -> None:
    play = make_play("ann")
    play.put(Sat(999))
    play.tick()
    play.check(play.seat(999), _bet(), NO_WALLET)


def test_a_player_has_so_many_bets_and_so_much_at_stake_in_a_round() -> None:
    play = make_play("ann", "bob", bets_per_round_max=3, stake_total_max_minor=10_300)
    for stake_minor in (10_000, 100, 100):
        play.check(0, _bet(stake_minor), None)
    play.check(0, _bet(), commands.TOO_MANY_BETS)
    play.check(1, _bet(10_000), None)
    play.check(1, _bet(301), commands.STAKE_TOTAL_TOO_HIGH)
    play.check(1, _bet(300), None)
    finish(play)
    reach(play, Phase.OPEN)
    play.check(0, _bet(), None)


def test_pending_bets_count_for_the_limits() -> None:
    play = make_play("ann", bets_per_round_max=2)
    play.verdicts_held = True
    assert [play.command(0, _bet()) for _ in range(3)] == [
        Code.PENDING,
        Code.PENDING,
        commands.TOO_MANY_BETS,
    ]


def test_a_round_takes_so_many_bets_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "ROUND_BETS_MAX", 3)
    play = make_play("ann", "bob")
    play.check(0, _bet(), None)
    play.check(1, _bet(), None)
    play.leave(1)  # A bet that was left behind takes its place all the same.
    play.check(0, _bet(), None)
    play.check(0, _bet(), commands.ROUND_FULL)
    play.check(0, Cancel(reference=_references(play)[0]), None)
    play.check(0, _bet(), None)


def test_cancel() -> None:
    play = make_play("ann", "bob")
    play.check(0, _bet(500), None)
    play.check(0, _bet(300), None)
    play.tick()
    first, second = _references(play)
    play.check(0, Cancel(reference="x"), commands.NO_SUCH_BET)
    play.check(1, Cancel(reference=first), commands.NO_SUCH_BET)
    play.check(0, Cancel(reference=first), None)
    assert _totals(play) == (1, 1, 300)
    assert play.wallet.balances[account_of("ann")] == BALANCE_MINOR - 300
    play.check(0, Cancel(reference=first), commands.NO_SUCH_BET)
    play.check(0, Cancel(reference=second), None)
    assert _totals(play) == (0, 0, 0)
    assert play.state.players[0].references == ()
    play.verdicts_held = True
    play.command(0, _bet())
    (pending,) = _references(play)
    play.check(0, Cancel(reference=pending), commands.BET_PENDING)
    play.verdicts_held = False
    reach(play, Phase.LOCKED)
    assert play.command(0, Cancel(reference=pending)) is commands.BETTING_CLOSED
    finish(play)
    play.check_all()


def test_a_cancelled_bet_makes_room_for_another() -> None:
    play = make_play("ann", bets_per_round_max=1)
    play.check(0, _bet(), None)
    play.check(0, _bet(), commands.TOO_MANY_BETS)
    play.check(0, Cancel(reference=_references(play)[0]), None)
    play.check(0, _bet(), None)


def test_a_command_sent_again_has_the_same_outcome_and_no_second_bet() -> None:
    play = make_play("ann")
    assert play.command(0, _bet(), number=5) is None
    assert play.command(0, _bet(), number=5) is None
    assert len(play.state.bets) == 1
    assert play.command(0, _bet(200), number=5) == play.room.reasons[4]


def test_bets_of_a_player_who_leaves_are_paid_to_the_account() -> None:
    play = make_play("ann", "bob")
    play.verdicts_held = True
    play.command(0, _bet(100, (1,)))
    play.give_verdicts()
    play.command(0, _bet(150, (1, 2)))
    play.leave(0)
    play.give_verdicts()
    play.tick()
    assert _totals(play) == (2, 1, 250)
    assert [stray.stands for stray in play.state.strays] == [True, True]
    assert play.sit("eve") == 0
    assert play.state.players[0].references == ()
    play.verdicts_held = False
    finish(play)
    assert play.state.players[0].last == ()
    (booking,) = play.wallet.booked.values()
    assert play.wallet.balances[account_of("ann")] == BALANCE_MINOR - booking
    assert play.wallet.balances[account_of("eve")] == BALANCE_MINOR
    play.check_all()


def test_a_player_who_comes_back_within_the_round_finds_the_bets_on_whatever_seat() -> None:
    play = make_play("ann", "bob")
    play.verdicts_held = True
    play.command(0, _bet(100))
    play.give_verdicts()
    number = play.submit(0, _bet(200))
    play.tick()
    play.leave(0)
    assert play.sit("eve") == 0
    seat = play.sit("ann")
    assert seat == 2
    assert [bet.stake_minor for bet in play.state.bets if bet.seat == seat] == [100, 200]
    play.give_verdicts()
    play.tick()
    assert _totals(play) == (2, 1, 300)
    play.check_all()
    # The verdict reached the command's window, though its player sits elsewhere by now.
    assert play.command(seat, _bet(200), number=number) is None
    assert len(play.state.bets) == 2
    finish(play)
    assert [row[1] for row in play.state.players[seat].last] == [100, 200]


def test_a_refused_bet_of_a_player_who_has_left_is_taken_back_too() -> None:
    play = make_play("ann")
    play.verdicts_held = True
    bob = play.sit("bob", balance_minor=50)
    play.command(bob, _bet(100))
    play.leave(bob)
    assert len(play.state.strays) == 1
    play.give_verdicts()
    play.tick()
    assert len(play.state.strays) == 0
    assert play.state.pending == 0
    assert _totals(play) == (0, 0, 0)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"round_seconds": 1}, "round_seconds"),
        ({"round_seconds": 61}, "round_seconds"),
        ({"round_seconds": "5"}, "round_seconds"),
        ({"stake_min_minor": 9}, "stake_min_minor"),
        ({"stake_max_minor": 10_000_001}, "stake_max_minor"),
        ({"bets_per_round_max": 0}, "bets_per_round_max"),
        ({"bets_per_round_max": 21}, "bets_per_round_max"),
        ({"payout_max_minor": 10**12}, "payout_max_minor"),
        ({"stake_min_minor": 200, "stake_max_minor": 100}, "stake_min_minor"),
        ({"stake_total_max_minor": 9_999}, "stake_max_minor"),
        ({"payout_max_minor": 9_999}, "payout_max_minor"),
        ({"colour": 1}, "colour"),
    ],
)
def test_settings_out_of_bounds_are_refused_by_name(
    settings: dict[str, object], named: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        decode_settings(GAME(), msgspec.msgpack.encode(settings))


@pytest.mark.parametrize("settings", [{}, {"round_seconds": 2}, {"round_seconds": 60}])
def test_settings_within_bounds_are_taken(settings: dict[str, int]) -> None:
    terms = make_play(**settings).state.terms
    assert terms.round_ticks == settings.get("round_seconds", 5) * 20
    assert 0 < terms.betting_ticks < terms.round_ticks - 2

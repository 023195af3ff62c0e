"""A bet, a seed, an account's past: each reaches only whom it is for, in all bytes ever sent."""

import msgpack

from gameserver.engine.commands import Code
from gameserver.games.keno.commands import Bet
from gameserver.games.keno.state import Phase
from tests.games.keno.table_of_keno import finish, make_play, reach
from tests.games.play import WALL_MS

NAMES = ("ann", "bob", "eve", "joe")


def _marks(seat: int) -> list[tuple[Bet, bytes, bytes]]:
    """Two bets of a seat, and the bytes by which their spots and their stakes would be known."""
    bets = []
    for number in range(2):
        first = 1 + seat * 20 + number * 10
        spots = tuple(range(first, first + 9))
        stake_minor = 70_001 + seat * 1_000 + number * 117
        bet = Bet(spots=spots, stake_minor=stake_minor)
        bets.append((bet, msgpack.packb(spots), msgpack.packb(stake_minor)))
    return bets


def test_nobody_else_ever_gets_the_spots_or_the_stake_of_a_bet() -> None:
    play = make_play(*NAMES, stake_max_minor=100_000, stake_total_max_minor=1_000_000)
    for seat in range(4):
        for bet, _, _ in _marks(seat):
            play.submit(seat, bet)
    play.ticks(5)  # All are granted in one tick, so that the public total is nobody's stake.
    assert play.state.bets_standing == 8
    play.leave(2)
    play.sit("late")  # On the seat that was left, with the bets of it still out.
    play.lose(3)
    play.sit("joe")
    finish(play)
    reach(play, Phase.OPEN)
    play.recover(play.snapshot())
    for name in ("ann", "bob", "late", "joe"):
        play.sit(name)
    watchers = {seat: play.watcher(seat) for seat in range(4)}
    for seat in range(4):
        for _, spots, stake in _marks(seat):
            for viewer, watcher in [*watchers.items(), (None, play.watch())]:
                mine = viewer == seat and seat != 2
                assert watcher.has_seen(spots) == mine
                assert watcher.has_seen(stake) == mine


def test_the_frames_of_a_round_show_a_bet_to_its_player_alone() -> None:
    play = make_play(*NAMES, stake_max_minor=100_000, stake_total_max_minor=1_000_000)
    watchers = {seat: play.watcher(seat) for seat in range(4)} | {None: play.watch()}
    for seat in range(4):
        for bet, _, _ in _marks(seat):
            play.submit(seat, bet)
    finish(play)
    for seat in range(4):
        for _, spots, stake in _marks(seat):
            for viewer, watcher in watchers.items():
                assert watcher.has_seen(spots) == (viewer == seat)
                assert watcher.has_seen(stake) == (viewer == seat)


def test_a_pending_bet_is_seen_by_its_player_and_moves_no_public_number() -> None:
    play = make_play("ann", "bob")
    play.tick()  # The next round's commitment is public by now.
    play.verdicts_held = True
    bet, spots, _ = _marks(0)[0]
    assert play.command(0, Bet(spots=bet.spots, stake_minor=9_999)) is Code.PENDING
    assert play.last.shared is None
    assert list(play.last.private) == [0]
    assert play.watcher(0).has_seen(spots)
    play.verdicts_held = False
    play.tick()
    assert play.last.shared is not None


def test_no_seed_is_sent_before_its_result_and_the_dice_never() -> None:
    play = make_play("ann", round_seconds=2)
    for _ in range(5):
        reach(play, Phase.OPEN)
        seed = play.state.seed
        play.ticks(5)
        next_seed = play.state.next_seed
        assert len(seed) == len(next_seed) == 32
        reach(play, Phase.LOCKED)
        for watcher in (play.watcher(0), play.watch()):
            assert not watcher.has_seen(seed)
        reach(play, Phase.SHOWN)
        for watcher in (play.watcher(0), play.watch()):
            assert watcher.has_seen(seed)
            assert not watcher.has_seen(next_seed)
            assert not watcher.has_seen(play.room.dice.seed)
            assert not watcher.has_seen(msgpack.packb(WALL_MS))


def test_what_left_with_a_player_is_shown_to_nobody() -> None:
    play = make_play("ann", "bob", stake_max_minor=100_000, stake_total_max_minor=1_000_000)
    bet, spots, stake = _marks(0)[0]
    for seat in range(2):
        play.submit(seat, bet if seat == 0 else _marks(1)[0][0])
    play.ticks(3)
    play.leave(0)
    newcomer = play.watcher(play.sit("new"))
    finish(play)
    for watcher in (newcomer, play.watcher(1), play.watch()):
        assert not watcher.has_seen(spots)
        assert not watcher.has_seen(stake)

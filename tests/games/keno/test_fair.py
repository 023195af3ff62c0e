"""Anybody can compute a draw again from what is public, and chance is as it should be."""

import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import msgpack
import pytest

from gameserver.games.keno import fair
from gameserver.games.keno.paytable import DRAWN
from gameserver.games.keno.state import Phase
from tests.games.keno.table_of_keno import finish, make_play, phase_of, reach
from tests.games.play import ROOM_ID

README = Path(fair.__file__).parent / "README.md"
SEED = bytes(range(32))


def test_the_program_in_the_readme_prints_what_stands_there_and_what_we_draw() -> None:
    text = README.read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```\n\nIt prints\n\n```\n(.*?)```", text, re.DOTALL)
    assert found is not None
    program, printed = found.groups()
    run = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == printed
    committed, numbers = printed.splitlines()
    assert fair.commitment(4242424242, 7, SEED).hex() == committed
    assert fair.draw(4242424242, 7, SEED) == tuple(map(int, numbers.split()))


def test_a_draw_verifies_only_with_its_own_seed_room_round_and_numbers() -> None:
    committed, numbers = fair.commitment(5, 7, SEED), fair.draw(5, 7, SEED)
    assert fair.verify(5, 7, SEED, committed, numbers)
    assert fair.verify(5, 7, SEED, committed, list(numbers))
    assert not fair.verify(6, 7, SEED, committed, numbers)
    assert not fair.verify(5, 8, SEED, committed, numbers)
    assert not fair.verify(5, 7, bytes(32), committed, numbers)
    short = SEED[:31]
    promised = fair.commitment(5, 7, short)
    assert not fair.verify(5, 7, short, promised, fair.draw(5, 7, short))
    assert not fair.verify(5, 7, SEED, bytes(32), numbers)
    assert not fair.verify(5, 7, SEED, committed, numbers[::-1])
    assert not fair.verify(5, 7, SEED, committed, numbers[:19])
    # Whoever swaps the seed for one with a better draw fails at the commitment.
    other = sha256(b"better").digest()
    assert not fair.verify(5, 7, other, committed, fair.draw(5, 7, other))


def test_each_round_of_each_room_has_a_draw_of_its_own() -> None:
    draws = {fair.draw(room, number, SEED) for room in range(10) for number in range(10)}
    assert len(draws) == 100


@pytest.fixture(scope="module")
def draws() -> list[tuple[int, ...]]:
    return [fair.draw(1, number, sha256(b"%d" % number).digest()) for number in range(4_000)]


def test_every_number_is_drawn_as_often_as_any_other(draws: list[tuple[int, ...]]) -> None:
    counts = dict.fromkeys(range(1, 81), 0)
    for drawn in draws:
        assert len(set(drawn)) == DRAWN
        for number in drawn:
            counts[number] += 1
    expected = len(draws) / 4
    # Numbers of one draw exclude each other, which makes the plain sum too small by 60/79.
    chi = sum((count - expected) ** 2 for count in counts.values()) / expected * 79 / 60
    assert 45 < chi < 124  # 79 degrees of freedom: all but one in a thousand at each end.


def test_every_place_of_the_draw_is_as_random_as_the_first(draws: list[tuple[int, ...]]) -> None:
    for place in (0, 1, 10, 19):
        counts = dict.fromkeys(range(1, 81), 0)
        for drawn in draws:
            counts[drawn[place]] += 1
        expected = len(draws) / 80
        chi = sum((count - expected) ** 2 for count in counts.values()) / expected
        assert 45 < chi < 124


def test_every_pair_of_neighbouring_places_is_in_either_order_alike(
    draws: list[tuple[int, ...]],
) -> None:
    rising = sum(drawn[at] < drawn[at + 1] for drawn in draws for at in range(0, 20, 2))
    pairs = 10 * len(draws)
    assert abs(rising - pairs / 2) < 4 * (pairs / 4) ** 0.5


def test_a_commitment_is_public_before_betting_and_its_seed_with_the_result() -> None:
    play = make_play()
    play.asks_held = True
    play.sit("ann")
    play.ticks(50)
    assert phase_of(play) is Phase.WAITING
    watcher = play.watch()
    seed = sha256(b"a seed").digest()
    play.give_drawn("seed", seed)
    play.tick()
    committed = play.state.next_commitment
    assert committed == fair.commitment(ROOM_ID, 1, seed)
    assert phase_of(play) is Phase.WAITING
    assert watcher.has_seen(committed)
    play.tick()
    assert phase_of(play) is Phase.OPEN
    assert (play.state.commitment, play.state.next_commitment) == (committed, b"")
    reach(play, Phase.LOCKED)
    assert not watcher.has_seen(seed)
    assert not play.watcher(0).has_seen(seed)
    reach(play, Phase.SHOWN)
    assert watcher.has_seen(seed)
    shown = play.state.results[1]
    assert fair.verify(ROOM_ID, 1, shown.seed, committed, shown.numbers)
    assert play.state.numbers == shown.numbers


def test_a_seed_that_comes_in_the_tick_of_the_opening_puts_it_off_by_a_tick() -> None:
    play = make_play("ann")
    play.asks_held = True
    finish(play)
    play.run_to(play.state.opens_tick - 1)
    play.give_drawn("seed")
    play.tick()
    assert play.now == play.state.opens_tick - 1
    assert phase_of(play) is Phase.SHOWN
    assert play.watch().has_seen(play.state.next_commitment)
    play.tick()
    assert phase_of(play) is Phase.OPEN


def test_the_next_round_s_seed_is_chosen_while_this_one_runs() -> None:
    play = make_play("ann")
    seen = [play.state.commitment]
    for _ in range(5):
        reach(play, Phase.LOCKED)
        seen.append(play.state.next_commitment)
        opens_tick = play.state.opens_tick
        finish(play)
        reach(play, Phase.OPEN)
        assert play.now == opens_tick
        assert play.state.commitment == seen[-1]
    assert len(set(seen)) == 6


def test_a_recorded_result_is_all_that_it_takes_to_verify() -> None:
    play = make_play("ann")
    finish(play)
    (result,) = play.results()
    number, committed, seed, numbers, *_ = msgpack.unpackb(result.payload)
    assert result.round_number == number == 1
    assert fair.verify(ROOM_ID, number, seed, committed, numbers)

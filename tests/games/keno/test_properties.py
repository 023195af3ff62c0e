"""Whatever players, wallets, crashes and late verdicts do: the money is right and nobody errs.

Each run plays a room for several rounds by random steps, legal and not, and checks the books
after each commit, views and totals after each step, and all else at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgpack
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gameserver.engine.commands import Reason
from gameserver.engine.effects import Booking, Release, Settle
from gameserver.games.keno import GAME, fair
from gameserver.games.keno.commands import Bet, Cancel
from gameserver.games.keno.rounds import PENDING_TICKS_MAX
from gameserver.games.keno.state import Keno, Phase
from tests.games.play import Play, account_of
from tests.games.wallet import GRANTED

ROOT = Path(__file__).parents[3]
NAMES = ("ann", "bob", "eve", "joe", "pat")
POOR = ("joe", "pat")

SETTINGS = {
    "round_seconds": 2,
    "stake_min_minor": 10,
    "stake_max_minor": 2_000,
    "stake_total_max_minor": 2_200,
    "bets_per_round_max": 4,
    "payout_max_minor": 20_000,
}

WEIGHTS = {
    "bet": 30,
    "pass": 10,
    "open": 10,
    "rounds": 4,
    "cancel": 6,
    "sit": 12,
    "leave": 4,
    "lose": 4,
    "verdicts": 8,
    "asks": 3,
    "kill": 4,
    "take snapshot": 2,
    "skip": 3,
    "stall": 1,
}


class Run:
    """One room played through, step by step."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.play: Play[Keno] = Play(GAME(), settings=SETTINGS)
        self.taken = self.play.snapshot()
        self.acts: dict[str, Callable[[], None]] = {
            "bet": self._bet,
            "pass": lambda: self.play.ticks(chance.randint(1, 15)),
            "open": self._open,
            "rounds": lambda: self.play.ticks(90),
            "cancel": self._cancel,
            "sit": lambda: self._sit(chance.choice(NAMES)),
            "leave": lambda: self._with(self.play.leave),
            "lose": lambda: self._with(self.play.lose),
            "verdicts": self._verdicts,
            "asks": self._asks,
            "kill": self._kill,
            "take snapshot": self._take_snapshot,
            "skip": lambda: self.skip(chance.randint(10, 60)),
            "stall": self._stall,
        }
        assert self.acts.keys() == WEIGHTS.keys()
        for name in NAMES:
            self._sit(name)

    def step(self) -> None:
        """Perform a random step; whom it needs and who is not there makes it nothing."""
        (what,) = self.chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        self.acts[what]()

    def skip(self, count: int) -> None:
        """Let ticks be skipped, as on a machine that is too busy."""
        self.play.tick_at(self.play.now + count)

    def _seat(self, name: str) -> int | None:
        return self.play.room.seat_of(account_of(name))

    def _with(self, act: Callable[[int], None]) -> None:
        seat = self._seat(self.chance.choice(NAMES))
        if seat is not None:
            act(seat)

    def _sit(self, name: str) -> None:
        if not self.play.room.system.open:
            return  # Nobody wanted it for long enough.
        self.play.sit(name, balance_minor=900 if name in POOR else 100_000)

    def _bet(self) -> None:
        chance = self.chance
        for name in chance.choices(NAMES, k=chance.randint(1, 4)):
            seat = self._seat(name)
            if seat is not None:
                self.play.submit(seat, self._any_bet())
        self.play.tick()

    def _any_bet(self) -> Bet:
        """One bet in five is likely to be illegal in one way or another."""
        chance = self.chance
        count = chance.randint(1, 10)
        if chance.random() < 0.8:
            spots, stake_minor, number = (
                chance.sample(range(1, 81), count),
                chance.randint(10, 400),
                0,
            )
        else:
            spots, stake_minor = (
                chance.choices(range(1, 81), k=count),
                chance.choice([5, 400, 1_900, 2_500]),
            )
            number = chance.choice([0, self.play.state.round_number, 1])
        return Bet(spots=tuple(spots), stake_minor=stake_minor, round_number=number)

    def _open(self) -> None:
        """Go on to the next opening, if there is one."""
        for _ in range(5):
            if self.play.state.phase is Phase.OPEN or self.play.room.due_tick is None:
                return
            self.play.run_to_due()

    def _cancel(self) -> None:
        seat = self._seat(self.chance.choice(NAMES))
        if seat is not None:
            references = [*self.play.state.bets.keys_in_order(), "none"]
            self.play.submit(seat, Cancel(reference=self.chance.choice(references)))
            self.play.tick()

    def _verdicts(self) -> None:
        self.play.verdicts_held = self.chance.random() < 0.3
        if self.chance.random() < 0.3:
            self.play.give_verdicts()

    def _asks(self) -> None:
        self.play.asks_held = self.chance.random() < 0.3

    def _kill(self) -> None:
        how = self.chance.choice([None, self.taken, self.play.snapshot()])
        self.play.recover(how)
        for name in self.chance.sample(NAMES, 3):
            self._sit(name)

    def _take_snapshot(self) -> None:
        self.taken = self.play.snapshot()

    def _stall(self) -> None:
        """Let the wallet say nothing for so long that a round is void."""
        self._open()
        self.play.verdicts_held = True
        self._bet()
        self.play.ticks(PENDING_TICKS_MAX + 100)
        self.play.verdicts_held = False

    def end(self) -> None:
        """Let everything come to its end with nobody there."""
        play = self.play
        play.verdicts_held = play.asks_held = False
        for seat in tuple(play.room.seats.keys_in_order()):
            play.lose(seat)
        play.run_to(play.now + PENDING_TICKS_MAX + 100)
        assert play.state.phase is Phase.SLEEPING


def check_state(play: Play[Keno]) -> None:
    """The totals are of the bets that stand, and each seat knows its own."""
    state = play.state
    if state.phase in (Phase.OPEN, Phase.LOCKED):
        standing = [bet for bet in [*state.bets, *state.strays] if bet.stands]
        assert state.bets_standing == len(standing)
        assert state.staked_minor == sum(bet.stake_minor for bet in standing)
        assert state.pending == len(state.bets) + len(state.strays) - len(standing)
        accounts = {play.room.account(bet.seat) for bet in state.bets if bet.stands}
        accounts |= {stray.account for stray in state.strays if stray.stands}
        assert state.players_standing == len(accounts)
    elif state.phase not in (Phase.SETTLING, Phase.VOIDING):
        assert not state.bets
        assert not state.strays
    for seat in state.players.keys_in_order():
        mine = [bet for bet in state.bets if bet.seat == seat]
        assert set(state.players[seat].references) == {bet.key for bet in mine}
        assert len(mine) <= SETTINGS["bets_per_round_max"]
        assert sum(bet.stake_minor for bet in mine) <= SETTINGS["stake_total_max_minor"]


def check_money(play: Play[Keno]) -> None:
    """Every granted bet ended exactly once, and nothing lies in the escrow."""
    wallet = play.wallet
    assert wallet.escrow_minor == 0
    ended = [one.reference for one in [*play.effects_of(Settle), *play.effects_of(Release)]]
    assert len(ended) == len(set(ended))
    assert set(ended) == {ref for ref, held in wallet.holds.items() if held.code == GRANTED}
    settled = [wallet.holds[one.reference] for one in play.effects_of(Settle)]
    assert all(held.payout_minor <= SETTINGS["payout_max_minor"] for held in settled)
    net = sum(held.amount_minor - held.payout_minor for held in settled)
    assert net == wallet.house_minor == sum(one.amount_minor for one in play.effects_of(Booking))


def check_results(play: Play[Keno]) -> None:
    """Every round has one result, drawn as it was promised, with the totals that were booked."""
    rows = [msgpack.unpackb(result.payload) for result in play.results()]
    assert [row[0] for row in rows] == list(range(1, play.state.round_number + 1))
    for number, committed, seed, numbers, count, staked_minor, paid_minor, void in rows:
        reference = f"{play.room.room_id}#{number}"
        if void:
            assert fair.commitment(play.room.room_id, number, seed) == committed
            assert (numbers, staked_minor) == ([], paid_minor)
            assert reference not in play.wallet.booked
        else:
            assert fair.verify(play.room.room_id, number, seed, committed, numbers)
            assert (reference in play.wallet.booked) == (count > 0)
            assert play.wallet.booked.get(reference, 0) == staked_minor - paid_minor


def test_random_play_keeps_money_views_and_replay_right() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=40)
    @given(st.integers(0, 2**32 - 1))
    @example(425)  # The room ends, and somebody comes.
    def play_through(seed: int) -> None:
        run = Run(Random(seed))
        for _ in range(80):
            run.step()
            check_state(run.play)
            run.play.check_views()
        run.end()
        check_money(run.play)
        check_results(run.play)
        run.play.check_all()
        run.play.check_replay(run.taken)
        _count(run.play, seen)

    play_through()
    # Random play that never gets anywhere would prove nothing.
    assert seen["rounds paid"] > 60
    assert seen["void rounds"] > 3
    assert seen["releases"] > 20
    assert seen["wins"] > 60
    assert seen.keys() >= {
        *("BETTING_CLOSED", "ROUND_OVER", "SPOTS_REPEATED", "STAKE_TOO_LOW", "STAKE_TOO_HIGH"),
        *("TOO_MANY_BETS", "STAKE_TOTAL_TOO_HIGH", "NO_SUCH_BET", "INSUFFICIENT_FUNDS"),
    }


def _count(play: Play[Keno], seen: Counter[str]) -> None:
    seen["rounds paid"] += len(play.wallet.booked)
    seen["void rounds"] += sum(msgpack.unpackb(one.payload)[-1] for one in play.results())
    seen["releases"] += len(play.effects_of(Release))
    seen["wins"] += sum(one.payout_minor > 0 for one in play.effects_of(Settle))
    seen.update(said.name for said in play.outcomes.values() if isinstance(said, Reason))


HASHED = """
from hashlib import sha256
from random import Random
from tests.games.keno.test_properties import Run
run = Run(Random(7))
for _ in range(150):
    run.step()
run.end()
print(sha256(run.play.snapshot() + b"".join(run.play.journal)).hexdigest())
"""


def test_the_same_play_gives_the_same_bytes_in_processes_that_hash_differently() -> None:
    hashes = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", HASHED],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=environment,
        )
        hashes.add(run.stdout)
    assert len(hashes) == 1
    assert len(hashes.pop()) == 65

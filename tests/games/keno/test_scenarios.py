"""Stories of a keno room, told in ``scenarios/*.txt``; ``pytest --rewrite`` tells them anew.

``ann bets 100 on 1 2 3``, ``ann cancels her 1. bet`` (of those that are out), ``the round is
locked`` / ``drawn`` / ``next``. What is shown after a step: phase, public totals, wallets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gameserver.games.keno.commands import Bet, Cancel
from gameserver.games.keno.state import Keno, Phase
from tests.games.keno.table_of_keno import make_play, reach
from tests.games.play import Play, account_of
from tests.games.scenarios import Story, check_scenario

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


class KenoStory(Story):
    """Steps of keno."""

    play: Play[Keno]

    def __init__(self) -> None:
        super().__init__(make_play(round_seconds=5))
        self.names: list[str] = []

    def steps(self) -> Mapping[str, Callable[..., str]]:
        return {
            r"(\w+) bets (\d+) on ([\d ]+)": self._bet,
            r"(\w+) cancels (?:her|his) (\d+)\. bet": self._cancel,
            r"the round is (open|locked|drawn)": self._reach,
            r"what was drawn": self._drawn,
            r"(\w+)'s last bets": self._last,
            r"the books": self._books,
        }

    def shown(self) -> str:
        state = self.play.state
        totals = f"{state.bets_standing} bets of {state.players_standing} for {state.staked_minor}"
        return f"round {state.round_number} {state.phase.name.lower():<8} {totals}"

    def _bet(self, name: str, stake_minor: str, spots: str) -> str:
        command = Bet(spots=tuple(map(int, spots.split())), stake_minor=int(stake_minor))
        return self.command(name, command)

    def _cancel(self, name: str, number: str) -> str:
        references = self.play.state.players[self.play.seat(name)].references
        return self.command(name, Cancel(reference=references[int(number) - 1]))

    def _reach(self, phase: str) -> str:
        reach(self.play, {"open": Phase.OPEN, "locked": Phase.LOCKED, "drawn": Phase.SHOWN}[phase])
        return f"tick {self.play.now}"

    def _drawn(self) -> str:
        return " ".join(map(str, sorted(self.play.state.numbers)))

    def _last(self, name: str) -> str:
        rows = self.play.state.players[self.play.seat(name)].last
        return "; ".join(
            f"{stake_minor} on {' '.join(map(str, spots))}: {hits} hits, {paid_minor}"
            for _, stake_minor, hits, paid_minor, spots in rows
        )

    def _books(self) -> str:
        wallet = self.play.wallet
        names = {account_of(name): name for name in ("ann", "bob", "eve")}
        held = [f"{names[one]} {minor}" for one, minor in wallet.balances.items()]
        return ", ".join([*held, f"escrow {wallet.escrow_minor}", f"house {wallet.house_minor}"])


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path, rewrite: bool) -> None:
    check_scenario(path, KenoStory(), rewrite=rewrite)


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 4

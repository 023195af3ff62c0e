"""The toolkit itself: it notices games that break their promises, and plays fair ones through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from gameserver.engine.commands import INSUFFICIENT_FUNDS, ROOM_FULL, Code, Command, Reason
from gameserver.engine.effects import Booking, Hold, Release, Settle
from gameserver.engine.fields import private, public, secret, table
from gameserver.engine.game import Game
from gameserver.engine.records import Record, Table
from gameserver.engine.room import Room
from gameserver.engine.ticking import ReplayDiverged
from tests.games.play import Play, account_of
from tests.games.scenarios import Story, check_scenario
from tests.games.wallet import Wallet

ODD = Reason(100, "ODD", "amount")


class Purse(Record):
    """What a player has put in."""

    amount: int = private(1, default=0)


class Pot(Record):
    """What all have put in."""

    total: int = public(1, default=0)
    chosen: bytes = secret(2, default=b"")
    purses: Table[int, Purse] = table(3)


class Put(Command, frozen=True, tag=1):
    """Put an even amount in."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        return ODD if self.amount % 2 else None

    def execute(self, room: Room[Any], seat: int) -> None:
        room.hold(self.amount)
        room.state.total += self.amount
        room.state.purses[seat].amount += self.amount

    def rollback(self, room: Room[Any], seat: int, reference: str) -> None:
        room.state.total -= self.amount
        room.state.purses[seat].amount -= self.amount


class Careless(Put, frozen=True, tag=2):
    """A command that does not take back what it did."""

    def rollback(self, room: Room[Any], seat: int, reference: str) -> None:
        pass


class Broken(Command, frozen=True, tag=3):
    """A command that fails."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        room.state.total += 1
        raise ValueError("broken")


class PotGame(Game[Pot]):
    """A pot for two."""

    name = "pot"
    title = "Pot"
    seats_max = 2
    state = Pot
    commands = (Put, Careless, Broken)
    reasons = (ODD,)
    moods = 0

    def sit(self, room: Room[Pot], seat: int) -> Reason | None:
        room.state.purses.add(seat, Purse(), seat=seat)
        room.ask("mood")
        return None

    def leave(self, room: Room[Pot], seat: int) -> None:
        room.state.purses.remove(seat)

    def drawn(self, room: Room[Pot], ask: str, data: bytes) -> None:
        room.state.chosen = data


class MoodyGame(PotGame):
    """A game that remembers something outside of its rooms' states."""

    def drawn(self, room: Room[Pot], ask: str, data: bytes) -> None:
        type(self).moods += 1
        room.state.total += type(self).moods


def test_a_game_is_played_through_and_checked() -> None:
    play = Play(PotGame())
    ann, bob = play.sit("ann"), play.sit("bob", balance_minor=5)
    assert play.try_sit("eve") is ROOM_FULL
    play.check(ann, Put(amount=4), None)
    play.check(ann, Put(amount=3), ODD)
    play.check(bob, Put(amount=6), INSUFFICIENT_FUNDS)
    play.check(ann, Broken(), Code.FAILED)
    play.tick()
    assert play.state.total == 4
    assert play.wallet.balances[account_of("bob")] == 5
    play.check_all()
    play.leave(bob)
    play.lose(ann)
    taken = play.snapshot()
    assert play.sit("ann") == ann
    play.recover(taken)
    assert not play.room.seats[ann].present
    play.sit("ann")
    assert len(play.state.chosen) == 32
    play.check_all()


def test_an_empty_rollback_is_noticed() -> None:
    play = Play(PotGame())
    bob = play.sit("bob", balance_minor=5)
    with pytest.raises(AssertionError, match="not rolled back whole"):
        play.check(bob, Careless(amount=6), INSUFFICIENT_FUNDS)


def test_an_outcome_that_was_not_expected_is_noticed() -> None:
    play = Play(PotGame())
    ann = play.sit("ann")
    with pytest.raises(AssertionError):
        play.check(ann, Put(amount=4), ODD)
    with pytest.raises(AssertionError):
        play.check(ann, Put(amount=3), None)


def test_what_is_kept_outside_of_the_state_is_noticed() -> None:
    play = Play(MoodyGame())
    play.sit("ann")
    play.tick()
    with pytest.raises(ReplayDiverged):
        play.check_all()


def test_a_view_that_went_astray_is_noticed() -> None:
    play = Play(PotGame())
    ann = play.sit("ann")
    play.watcher(ann).view.records[2][1] = 77
    with pytest.raises(AssertionError, match="went astray"):
        play.check_views()


def test_pending_commands_are_ruled_on_after_a_crash() -> None:
    play = Play(PotGame())
    ann = play.sit("ann")
    play.verdicts_held = True
    assert play.command(ann, Put(amount=4)) is Code.PENDING
    play.recover()
    assert play.room.waits_for_verdicts()
    play.verdicts_held = False
    play.tick()
    assert not play.room.waits_for_verdicts()
    assert play.state.total == 4


@pytest.mark.parametrize(
    "effects",
    [
        [Settle("a", 60), Settle("a", 60)],
        [Settle("a", 101)],
        [Release("a"), Settle("a", 0)],
        [Release("refused")],
        [Settle("a", 0)],  # The stake is left over in the escrow.
        [Booking("x", 60), Settle("a", 1)],
        [Booking("x", 1), Booking("x", 1)],
        [Hold("a", 1, 5)],
    ],
)
def test_the_wallet_notices_money_that_is_made_or_lost(effects: list[Any]) -> None:
    wallet = Wallet()
    wallet.open(1, 100)
    assert wallet.commit([Hold("a", 1, 60), Hold("refused", 1, 60)]) == [("a", 0), ("refused", 1)]
    with pytest.raises(AssertionError):
        wallet.commit(effects)


def test_the_wallet_books_before_it_pays() -> None:
    wallet = Wallet()
    wallet.open(1, 100)
    wallet.commit([Hold("a", 1, 60)])
    wallet.commit([Settle("a", 90), Booking("x", -30)])
    assert (wallet.balances[1], wallet.escrow_minor, wallet.house_minor) == (130, 0, -30)


class PotStory(Story):
    """Steps of the pot."""

    def __init__(self) -> None:
        super().__init__(Play(PotGame()))

    def steps(self) -> dict[str, Any]:
        return {
            r"(\w+) puts (\d+)": lambda name, amount: self.command(name, Put(amount=int(amount)))
        }

    def shown(self) -> str:
        return f"pot {self.play.state.total}"


STORY = """\
# A pot.
ann sits with 10 -> seat 0 | pot 0
ann puts 4 -> accepted | pot 4

ann puts 3 -> refused: odd | pot 4
"""


def test_a_scenario_is_compared_and_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "pot.txt"
    path.write_text(STORY, encoding="utf-8")
    with pytest.raises(AssertionError):  # The columns are not where they belong.
        check_scenario(path, PotStory(), rewrite=False)
    check_scenario(path, PotStory(), rewrite=True)
    check_scenario(path, PotStory(), rewrite=False)
    told = path.read_text(encoding="utf-8")
    assert " ".join(told.split()) == " ".join(STORY.split())
    path.write_text(told.replace("pot 4\n\n", "pot 5\n\n"), encoding="utf-8")
    with pytest.raises(AssertionError):
        check_scenario(path, PotStory(), rewrite=False)
    path.write_text("ann dances -> seat 0\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="No such step"):
        check_scenario(path, PotStory(), rewrite=False)

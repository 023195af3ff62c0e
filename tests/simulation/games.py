"""A game with everything that no real one has: commands that fail, rules that break, an end."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from gameserver.engine.commands import Command, Reason
from gameserver.engine.fields import private, public, table
from gameserver.engine.game import Game
from gameserver.engine.records import Record, Table
from gameserver.engine.room import Room

TOO_MUCH = Reason(100, "TOO_MUCH", "grain")
NOT_YOURS = Reason(101, "NOT_YOURS")
PENDING = Reason(102, "PENDING")
NEVER = 2**52


class Sack(Record):
    """A player's grain, what only the player knows of it, and the stake that stands."""

    grain: int = public(1, default=0)
    lucky: int = private(2, default=0)
    staked: int = public(3, default=0)


class Loan(Record):
    """A stake on which the wallet has ruled, until it is settled."""

    amount_minor: int = public(1)
    since_tick: int = public(2)


class State(Record):
    """The mill: it turns by itself, and may break."""

    total: int = public(1, default=0)
    turns: int = public(2, default=0)
    turns_tick: int = public(3, default=NEVER)
    breaks: bool = public(4, default=False)
    sacks: Table[int, Sack] = table(5)
    loans: Table[str, Loan] = table(6)


class Pour(Command, frozen=True, tag=1):
    """Pour grain into one's sack; a die says how lucky it is."""

    grain: Annotated[int, msgspec.Meta(ge=1, le=1000)]

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse too much."""
        return TOO_MUCH if self.grain > 10 else None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Add it."""
        sack = room.state.sacks[seat]
        sack.grain += self.grain
        sack.lucky = room.dice.roll(6)
        room.state.total += self.grain


class Stake(Command, frozen=True, tag=2):
    """Stake money; the mill gives it back some turns later, or with something on top."""

    amount_minor: Annotated[int, msgspec.Meta(ge=1, le=10**9)]

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Ask for the money."""
        room.hold(self.amount_minor)
        room.state.sacks[seat].staked += self.amount_minor

    def granted(self, room: Room[Any], seat: int, reference: str) -> None:
        """Keep it for a while."""
        loan = Loan(amount_minor=self.amount_minor, since_tick=room.now)
        room.state.loans.add(reference, loan)
        if room.state.turns_tick == NEVER:
            room.state.turns_tick = room.now + 10

    def rollback(self, room: Room[Any], seat: int, reference: str) -> None:
        """Take the stake back."""
        if seat in room.state.sacks:
            room.state.sacks[seat].staked -= self.amount_minor


class Turn(Command, frozen=True, tag=3):
    """Have the mill turn, or break, some ticks from now."""

    ticks: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    breaks: bool = False

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Set it going."""
        room.state.turns_tick = room.now + self.ticks
        room.state.breaks = self.breaks


class Trip(Command, frozen=True, tag=4):
    """Spill grain and fall: a command that fails half-way."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Write, draw, and raise."""
        room.state.sacks[seat].grain += room.dice.roll(6)
        room.state.total += 1
        raise RuntimeError("tripped")


class End(Command, frozen=True, tag=5):
    """End the room, if nothing is pending or staked."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse while money is out."""
        return PENDING if room.waits_for_verdicts() or len(room.state.loans) else None

    def execute(self, room: Room[Any], seat: int) -> None:
        """End it."""
        room.end()


class Mill(Game[State]):
    """Players pour grain into sacks."""

    name = "mill"
    title = "Mill"
    seats_max = 4
    state = State
    commands: ClassVar[tuple[type[Command], ...]] = (Pour, Stake, Turn, Trip, End)
    reasons = (TOO_MUCH, NOT_YOURS, PENDING)

    def sit(self, room: Room[State], seat: int) -> Reason | None:
        """Give the player a sack."""
        room.state.sacks.add(seat, Sack(), seat=seat)
        return None

    def leave(self, room: Room[State], seat: int) -> None:
        """Take the sack away; what is staked comes back all the same."""
        room.state.sacks.remove(seat)

    def due(self, room: Room[State]) -> int | None:
        """Return when the mill turns."""
        return None if room.state.turns_tick == NEVER else room.state.turns_tick

    def pass_time(self, room: Room[State]) -> None:
        """Turn: settle what is staked, every other one at a gain; or break."""
        state = room.state
        if state.breaks:
            raise RuntimeError("the mill broke")
        state.turns += 1
        state.turns_tick = NEVER
        net_minor = 0
        for loan in tuple(state.loans):
            reference = str(loan.key)
            payout_minor = room.dice.below(2) * 2 * loan.amount_minor
            net_minor += loan.amount_minor - payout_minor
            if payout_minor == loan.amount_minor:
                room.release(reference)
            else:
                room.settle(reference, payout_minor)
            state.loans.remove(reference)
        room.book(state.turns, net_minor)
        room.result(state.turns, b"turned")


GAME = Mill

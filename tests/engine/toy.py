"""A small game that does everything that a game may do, and on request what none should.

Its commands are programs: an ``Act`` carries steps, so that a property may play anything at all by
drawing numbers, and it may be told to go wrong in each of the ways in which a command can.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, ClassVar

import msgspec

from gameserver.engine.commands import Command, Reason
from gameserver.engine.game import Game
from gameserver.engine.room import Room
from tests.engine.toy_state import Mood, Purchase, Stall, Toy, mark
from tests.engine.toy_steps import SEATS_MAX, take_steps

TOLD_TO = Reason(100, "TOLD_TO", "then")
TOO_DEAR = Reason(101, "TOO_DEAR", "amount_minor")
NO_PLACE = Reason(102, "NO_PLACE")
UNLISTED = Reason(103, "UNLISTED")

Steps = Annotated[tuple[tuple[int, int, int], ...], msgspec.Meta(max_length=64)]


class Then(IntEnum):
    """What an ``Act`` does besides its steps."""

    NOTHING = 0
    RAISE = 1
    REFUSE = 2
    VALIDATE_RAISES = 3
    VALIDATE_WRITES = 4
    VALIDATE_WRITES_AND_REFUSES = 5
    VALIDATE_SETTLES = 6
    REFUSE_UNLISTED = 7
    RECURSE = 8
    HOLD_AND_RAISE = 9
    HOLD_TWICE = 10
    MUTTER = 11
    END = 12
    HOLD_NOTHING = 13
    SETTLE_LESS_THAN_NOTHING = 14


class Act(Command, frozen=True, tag=1):
    """Take steps, and then do what is said."""

    steps: Steps = ()
    then: Then = Then.NOTHING

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse if told to, or do one of the things that are forbidden here."""
        if self.then is Then.VALIDATE_RAISES:
            raise ValueError("told to")
        if self.then in (Then.VALIDATE_WRITES, Then.VALIDATE_WRITES_AND_REFUSES):
            room.state.number += room.dice.roll()
        if self.then is Then.VALIDATE_SETTLES:
            room.settle("none", 1)
        if self.then is Then.REFUSE_UNLISTED:
            return UNLISTED
        refused = (Then.REFUSE, Then.VALIDATE_WRITES_AND_REFUSES)
        return TOLD_TO if self.then in refused else None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Take the steps."""
        take_steps(room, self.steps)
        if self.then in (Then.HOLD_AND_RAISE, Then.HOLD_TWICE):
            room.hold(5)
        if self.then is Then.HOLD_TWICE:
            room.hold(6)
        if self.then is Then.HOLD_NOTHING:
            room.hold(0)
        if self.then is Then.SETTLE_LESS_THAN_NOTHING:
            room.settle("none", -1)
        if self.then is Then.END:
            room.end()
        if self.then is Then.RECURSE:
            self.execute(room, seat)
        if self.then is Then.MUTTER:
            room.state.riddle = mark(room)
        if self.then in (Then.RAISE, Then.HOLD_AND_RAISE):
            raise RuntimeError("told to")


class Buy(Command, frozen=True, tag=2):
    """Take steps and pay for them; nothing of it stays if the wallet refuses."""

    amount_minor: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    steps: Steps = ()

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check the amount."""
        return TOO_DEAR if self.amount_minor > 1_000_000_000 else None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Note the purchase, which stands when the wallet has granted it."""
        reference = room.hold(self.amount_minor)
        purchase = Purchase(price_minor=self.amount_minor)
        room.state.purchases.add(reference, purchase, seat=seat)
        room.state.spent_minor += self.amount_minor
        take_steps(room, self.steps)

    def granted(self, room: Room[Any], seat: int, reference: str) -> None:
        """Let the purchase stand."""
        room.state.purchases[reference].stands = True

    def rollback(self, room: Room[Any], seat: int, reference: str) -> None:
        """Take the purchase back. (The steps of a test that rolls back change nothing else.)"""
        room.state.spent_minor -= room.state.purchases[reference].price_minor
        room.state.purchases.remove(reference)


class CarelessBuy(Buy, frozen=True, tag=2):
    """A purchase whose author forgot the way back."""

    def rollback(self, room: Room[Any], seat: int, reference: str) -> None:
        """Do nothing, wrongly."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``breaks`` names a hook that raises once the number is 7. ``tidy``: who leaves takes all."""

    breaks: Annotated[str, msgspec.Meta(max_length=20)] = ""
    tidy: bool = True


class ToyGame(Game[Toy]):
    """The game itself."""

    name: ClassVar[str] = "toy"
    title: ClassVar[str] = "Toy"
    seats_max: ClassVar[int] = SEATS_MAX
    state = Toy
    settings: ClassVar[type[msgspec.Struct]] = Settings
    commands: ClassVar[tuple[type[Command], ...]] = (Act, Buy)
    reasons: ClassVar[tuple[Reason, ...]] = (TOLD_TO, TOO_DEAR, NO_PLACE)

    def open(self, room: Room[Toy]) -> None:
        """Put a stall there."""
        _break(room, "open")
        room.state.stalls.add(0, Stall())
        room.state.lamp.wick = mark(room)

    def sit(self, room: Room[Toy], seat: int) -> Reason | None:
        """Give a diary and a card; who sits down while the flag is up is refused after all."""
        _break(room, "sit")
        take_steps(room, ((7, seat + 1, 0), (8, seat + 1, 1 << seat)))
        if room.state.flag:
            room.dice.roll()
            room.result(1, b"")
            return NO_PLACE
        return None

    def leave(self, room: Room[Toy], seat: int) -> None:
        """Take away what the seat has, if the room is tidy."""
        _break(room, "leave")
        if not room.settings.tidy:
            return
        for diary in room.state.diaries:
            if diary.seat == seat:
                room.state.diaries.remove(str(diary.key))

    def lose(self, room: Room[Toy], seat: int) -> None:
        """Be cross."""
        _break(room, "lose")
        room.state.mood = Mood.CROSS

    def regain(self, room: Room[Toy], seat: int) -> None:
        """Be calm."""
        _break(room, "regain")
        room.state.mood = Mood.CALM

    def due(self, room: Room[Toy]) -> int | None:
        """Return when the bell rings."""
        _break(room, "due")
        if _is_broken(room, "due writes"):
            room.state.number += 1
        return room.state.bell_tick or None

    def pass_time(self, room: Room[Toy]) -> None:
        """Ring the bell, once."""
        _break(room, "pass_time")
        state = room.state
        if _is_broken(room, "idle"):
            return
        take_steps(room, ((state.bell_tick, state.number, 1),))
        room.result(room.now, b"rung")
        state.bell_tick = 0

    def drawn(self, room: Room[Toy], ask: str, data: bytes) -> None:
        """Keep what was drawn."""
        _break(room, "drawn")
        room.state.data = data[:4]


class CarelessGame(ToyGame):
    """The same with a purchase that is not rolled back."""

    commands: ClassVar[tuple[type[Command], ...]] = (Act, CarelessBuy)


def _is_broken(room: Room[Toy], hook: str) -> bool:
    """Tell whether the settings name this hook, and the room has come so far."""
    return bool(room.settings.breaks == hook and (hook == "open" or room.state.number == 7))


def _break(room: Room[Toy], hook: str) -> None:
    if _is_broken(room, hook):
        raise LookupError(f"{hook} is broken")

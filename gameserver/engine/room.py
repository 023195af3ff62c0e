"""One room, advanced one tick at a time.

A room never waits, never reads a clock and never performs I/O. Given the same snapshot and the
same inputs at the same ticks, it gives the same outputs, byte for byte.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Generic, TypeVar

import msgspec

from gameserver.engine import commands as c
from gameserver.engine import inputs as i
from gameserver.engine.changes import ChangeLog
from gameserver.engine.delta import full_private, full_public
from gameserver.engine.dice import Dice
from gameserver.engine.effects import Booking, Effect, Hold, Release, Result, Score, Settle
from gameserver.engine.few import Few, add_to
from gameserver.engine.fields import INT_MAX
from gameserver.engine.game import Game
from gameserver.engine.output import TickOutput
from gameserver.engine.records import Record, Table
from gameserver.engine.system import Ask, Pending, Seat, System
from gameserver.engine.ticking import Tick, give_up
from gameserver.engine.window import Window

S = TypeVar("S", bound=Record)


class Room(Generic[S]):
    """A game from opening to end. ``state`` is the game's, ``system`` the engine's.

    Rules use ``state``, ``now``, ``dice``, ``settings``, ``seats`` and the methods from ``account``
    to ``end``. Everything else is for whoever runs the room.
    """

    def __init__(self, game: Game[S], room_id: int) -> None:
        if game.state.audience or game.state.has_seen_by:
            raise TypeError(f"{game.state.__name__}: the root of the state is for everybody")
        # First what every tick needs: it is near each other in memory, in this order.
        self.now = self.entry_number = self.entry_tick = self.shared_tick = 0
        self.due_tick: int | None = None
        # The chain begins with whose it is, so that entries of another room lead nowhere.
        self.digest = sha256(i.packed((game.name, room_id))).digest()
        self.changes = ChangeLog()
        self.system = System()
        self.state: S = game.state()
        self.windows: dict[int, Window] = {}
        self.effects: Few[Effect] = ()
        self.vacated: Few[int] = ()  # Seats given up in the tick under way.
        self.holder: i.Commanded | None = None
        self.held = ""
        self.is_passing_time = False
        # At first perhaps. Where they are False, ticks need not look into the system's record.
        self.has_asks = self.may_be_over = True
        self.game = game
        self.room_id = room_id
        self.reasons, self._decode = _vocabulary(game.reasons, game.commands)
        self.settings: Any = None
        self.settings_bytes = b""
        self.left: dict[int, Window] = {}
        self.seat_by_account: dict[int, int] = {}
        self._full: tuple[int, bytes] | None = None

    # --- What rules use.

    @property
    def seats(self) -> Table[int, Seat]:
        """Return who sits in the room."""
        return self.system.seats

    @property
    def dice(self) -> Dice:
        """Return the room's recorded dice."""
        return self.system.dice

    @property
    def wall_ms(self) -> int:
        """Return the wall time that was last recorded; it stands still between recordings."""
        return self.system.wall_ms

    def account(self, seat: int) -> int:
        """Return the account that has a seat."""
        return self.system.seats[seat].account

    def hold(self, amount_minor: int) -> str:
        """Ask for money of the player whose command is being executed; once a command.

        The command stays pending until the verdict. Returns the hold's reference.
        """
        assert self.holder is not None, "Only a command's execute may ask for a hold."
        assert not self.held, "A command asks for one hold at most."
        _check_int(amount_minor, 1)
        seat, number, body = self.holder.seat, self.holder.number, self.holder.body
        self.system.holds += 1
        reference = f"{self.room_id}.{self.system.holds}"
        account = self.account(seat)
        self.system.pending.add(
            reference, Pending(by_seat=seat, account=account, number=number, body=body)
        )
        self.effects = add_to(self.effects, Hold(reference, account, amount_minor))
        self.held = reference
        return reference

    def settle(self, reference: str, payout_minor: int) -> None:
        """End a granted hold and pay out."""
        _check_int(payout_minor, 0)
        self.effects = add_to(self.effects, Settle(reference, payout_minor))

    def release(self, reference: str) -> None:
        """End a granted hold and put all of it back."""
        self.effects = add_to(self.effects, Release(reference))

    def book(self, round_number: int, amount_minor: int) -> None:
        """Move a round's net to the house, or from it if negative."""
        _check_int(amount_minor, -INT_MAX)
        self.effects = add_to(self.effects, Booking(f"{self.room_id}#{round_number}", amount_minor))

    def result(self, round_number: int, payload: bytes) -> None:
        """Record what a round came to, for ever."""
        _check_int(round_number, 0)
        assert type(payload) is bytes, "A result is bytes."
        self.effects = add_to(self.effects, Result(round_number, payload))

    def score(self, round_number: int, seat: int, points: int) -> None:
        """Give points on the game's board; counted once for the round and account."""
        _check_int(points, -INT_MAX)
        account = self.account(seat)
        reference = f"{self.room_id}#{round_number}@{account}"
        self.effects = add_to(self.effects, Score(reference, account, points))

    def ask(self, what: str) -> None:
        """Ask for something that must be chosen outside; it comes as ``Game.drawn``."""
        if what not in self.system.asks:
            self.system.asks.add(what, Ask(since_tick=self.now))
            self.has_asks = True

    def vacate(self, seat: int) -> None:
        """Free the seat of a player who is absent, by a rule of time. Calls ``Game.leave``.

        The account may sit down again, and what it had asked for is still known then.
        """
        assert self.is_passing_time, "Only time frees a seat: a command may be undone."
        assert not self.system.seats[seat].present, "Who is present leaves by himself."
        give_up(self, seat)

    def waits_for_verdicts(self) -> bool:
        """Tell whether any command is pending."""
        return len(self.system.pending) > 0

    def end(self) -> None:
        """End the room with this tick. Nobody could hear a verdict after it."""
        assert not self.system.pending, "A room ends when no command is pending."
        self.system.open = False
        self.may_be_over = True

    # --- What the room host uses.

    def set_up(self, settings: bytes) -> None:
        """Take the settings that the room's creator chose."""
        self.settings_bytes = settings
        self.settings = decode_settings(self.game, settings)

    @property
    def is_open(self) -> bool:
        """Tell whether the room still takes commands."""
        return self.system.open

    def seat_of(self, account: int) -> int | None:
        """Return the seat that an account has."""
        return self.seat_by_account.get(account)

    def decode(self, body: bytes) -> c.Command:
        """Return a command from its body; msgspec.ValidationError or DecodeError if it is none."""
        command: c.Command = self._decode(body)
        return command

    def pending_references(self) -> list[str]:
        """Return the holds whose verdicts the room waits for."""
        return self.system.pending.keys_in_order()

    def asks(self) -> list[str]:
        """Return what the room waits for from outside."""
        asks = self.system.asks.keys_in_order()
        self.has_asks = bool(asks)
        return asks

    def next_due(self) -> int | None:
        """Return the tick, after this one, at which something passes by itself."""
        is_over = self.may_be_over and not self.system.open
        due = None if is_over else self.game.due(self)
        assert not self.changes.items, "due writes nothing."
        if due is None or due > self.now:
            return due
        return self.now + 1

    def tick(
        self, now: int, inputs: Sequence[i.Input] = (), commands: Sequence[i.Commanded] = ()
    ) -> TickOutput:
        """Advance to tick ``now``: take in the inputs, let time pass, decide the commands.

        Raises RoomBroken if a rule of the game that is not a command fails; the room must then be
        dropped and recovered or set aside.
        """
        return Tick(self, TickOutput(self.room_id, now)).run(inputs, commands)

    def replay(self, entry: i.Entry) -> TickOutput:
        """Do again what an entry recorded; only accepted commands are executed.

        Raises ReplayDiverged if the result is not the recorded one.
        """
        return Tick(self, TickOutput(self.room_id, entry.tick)).redo(entry)

    def full(self, seat: int | None) -> tuple[bytes, bytes]:
        """Return all that a viewer may see: the packed public and private changes."""
        if self._full is None or self._full[0] != self.entry_number:
            self._full = (self.entry_number, i.packed(full_public((self.system, self.state))))
        private = [] if seat is None else full_private(self.changes, seat)
        return self._full[1], i.packed(private)

    # --- What a tick uses.

    def mark(self) -> tuple[int, int]:
        """Return the present point within the tick, for ``undo_to``."""
        return self.changes.mark(), len(self.effects)

    def undo_to(self, mark: tuple[int, int]) -> None:
        """Take back all writes and effects since ``mark``."""
        self.changes.undo_to(mark[0])
        if self.effects:
            del self.effects[mark[1] :]


@functools.cache
def _vocabulary(
    reasons: tuple[c.Reason, ...], commands: tuple[type[c.Command], ...]
) -> tuple[dict[int, c.Reason], Any]:
    """Return a game's reasons by code, and what decodes its commands by tag."""
    by_code = {reason.code: reason for reason in c.ENGINE_REASONS}
    for reason in reasons:
        if not c.GAME_CODE_MIN <= reason.code <= c.CODE_MAX or reason.code in by_code:
            bounds = f"{c.GAME_CODE_MIN}..{c.CODE_MAX}"
            raise ValueError(f"{reason}: the code is taken, or not within {bounds}")
        by_code[reason.code] = reason
    union: Any = functools.reduce(operator.or_, commands)
    return by_code, msgspec.msgpack.Decoder(union).decode


def _check_int(value: int, lowest: int) -> None:
    """An effect with a value that the database cannot take would poison a whole commit."""
    if type(value) is not int or not lowest <= value <= INT_MAX:
        raise ValueError(f"{value!r} is no int within {lowest}..{INT_MAX}")


def decode_settings(game: Game[Any], settings: bytes) -> Any:
    """Return a game's settings from their MessagePack map; empty bytes mean all defaults.

    Raises msgspec.ValidationError or DecodeError naming the setting that is wrong.
    """
    return msgspec.msgpack.decode(settings or b"\x80", type=game.settings)

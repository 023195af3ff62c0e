"""One tick of one room: inputs in, time passed, commands decided, everything told as a value.

Live and replayed ticks run through the same code; a replay executes only what was accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from gameserver.engine import commands as c
from gameserver.engine import inputs as i
from gameserver.engine.commands import ACCEPTED, FAILED, PENDING
from gameserver.engine.delta import Changes, changes_of, seats_in
from gameserver.engine.effects import Effect
from gameserver.engine.few import Few, add_to
from gameserver.engine.output import PendingOutcome, TickOutput
from gameserver.engine.system import Seat
from gameserver.engine.window import Window, body_digest
from protocol import codec

if TYPE_CHECKING:  # A room runs its ticks and a tick works on its room: only the names meet here.
    from gameserver.engine.room import Room

LEFT_WINDOWS_MAX = 256  # Windows of accounts that gave up their seats; the oldest are dropped.


class RoomBroken(Exception):
    """A rule that is no command raised, or an invariant does not hold: set the room aside."""


class ReplayDiverged(Exception):
    """Doing an entry again did not give what was recorded."""


class Tick(msgspec.Struct, gc=False):
    """A tick under way: what it has recorded, and which outcomes it has for which seats."""

    room: Room[Any]
    out: TickOutput
    recorded: list[Any] = []
    concluded: dict[int, list[c.Outcome]] = {}

    def run(self, inputs: Sequence[i.Input], commands: Sequence[i.Commanded]) -> TickOutput:
        """Run a live tick; RoomBroken if anything but a command fails."""
        try:
            self._begin()
            for one in inputs:
                kind, take = _TAKE[type(one)]
                if take(self, one):
                    self.recorded.append((kind, *one))
            self._pass_time()
            for command in commands:
                self._decide(command)
            self._close()
        except Exception as error:
            raise RoomBroken(f"{self._where()}: {error!r}") from error
        return self.out

    def redo(self, entry: i.Entry) -> TickOutput:
        """Run a recorded tick; ReplayDiverged unless it gives the recorded digest."""
        try:
            self._begin()
            self._redo(entry.inputs)
        except Exception as error:
            raise ReplayDiverged(f"{self._where()}: {error!r}") from error
        if self.room.digest != entry.digest:
            raise ReplayDiverged(f"{self._where()}: another digest")
        return self.out

    def _where(self) -> str:
        return f"room {self.out.room_id}, tick {self.out.tick}"

    def _begin(self) -> None:
        room, now = self.room, self.out.tick
        assert now > room.entry_tick or not room.entry_number, "Each entry has a later tick."
        room.now = now
        room.vacated = ()

    def _redo(self, rows: list[list[Any]]) -> None:
        first = next((at for at, row in enumerate(rows) if row[0] == i.COMMAND), len(rows))
        for row in rows[:first]:
            taken, take = _TAKE_KIND[row[0]]
            assert take(self, taken(*row[1:])), "An input that is recorded did something."
        self.recorded = rows
        self._pass_time()
        for row in rows[first:]:
            self._redo_command(row)
        self._close()

    def _pass_time(self) -> None:
        room = self.room
        if room.due_tick is None or room.due_tick > room.now:
            return
        if room.may_be_over and not room.system.open:
            return
        items = room.changes.items
        written = len(items)
        room.is_passing_time = True
        room.game.pass_time(room)
        room.is_passing_time = False
        assert len(items) > written or room.effects or self.recorded, (
            "Time was due, and nothing passed."
        )

    # --- Commands.

    def _decide(self, one: i.Commanded) -> None:
        window = self.room.windows.get(one.seat)
        if window is None:
            self._echo(one.seat, one.number, c.NOT_SEATED.code)
        elif one.number > window.highest or not self._is_answered(one, window):
            code, arrival_ms, out = self._execute(one), one.arrival_ms, self.out
            self.recorded.append((i.COMMAND, one.seat, one.number, arrival_ms, one.body, code))
            self._conclude(window, one.seat, one.number, one.digest, code)
            out.counts = add_to(out.counts, (type(one.command).__name__, code, arrival_ms))

    def _is_answered(self, one: i.Commanded, window: Window) -> bool:
        """Answer a command whose number was used before; false if it was not."""
        known = window.find(one.number)
        if known is None:
            if not window.is_too_old(one.number):
                return False
            self._echo(one.seat, one.number, c.NUMBER_TOO_OLD.code)
        elif known.digest != one.digest:
            self._echo(one.seat, one.number, c.NUMBER_REUSED.code)
        elif known.code != PENDING:  # What is pending is answered with its verdict.
            self._echo(one.seat, one.number, known.code, known.tick)
        return True

    def _execute(self, one: i.Commanded) -> int:
        room, command, seat = self.room, one.command, one.seat
        if room.may_be_over and not room.system.open:
            return c.ROOM_ENDED.code
        items = room.changes.items
        written, asked = len(items), len(room.effects)
        room.held = ""
        try:
            reason = command.validate(room, seat)
            assert len(items) == written, "validate writes nothing."
            assert len(room.effects) == asked, "validate asks for nothing."
            if reason is not None:
                assert room.reasons[reason.code] == reason, "The game lists its reasons."
                return reason.code
            room.holder = one
            command.execute(room, seat)
        except Exception:
            room.undo_to((written, asked))
            return FAILED
        finally:
            room.holder = None
        if not room.held:
            return ACCEPTED
        asked_for = PendingOutcome(room.held, seat, one.number)
        self.out.pending = add_to(self.out.pending, asked_for)
        return PENDING

    def _redo_command(self, row: list[Any]) -> None:
        _, seat, number, arrival_ms, body, code = row
        room = self.room
        digest = body_digest(body)
        if code in (ACCEPTED, PENDING):
            command = room.decode(body)
            done = self._execute(i.Commanded(seat, number, arrival_ms, body, digest, command))
            if done != code:
                raise ReplayDiverged(f"command {number} of seat {seat}: {done} instead of {code}")
        self._conclude(room.windows[seat], seat, number, digest, code)

    def _conclude(self, window: Window, seat: int, number: int, digest: int, code: int) -> None:
        room = self.room
        window.keep(number, digest, code, room.now)
        if code != PENDING:
            told = c.outcome(number, room.now, code, room.reasons)
            self.concluded.setdefault(seat, []).append(told)

    def _echo(self, seat: int, number: int, code: int, tick: int | None = None) -> None:
        room = self.room
        told = c.outcome(number, room.now if tick is None else tick, code, room.reasons)
        self.out.echoes = add_to(self.out.echoes, (seat, told))

    # --- Other inputs. Each tells whether there was anything to record. Once a room has ended there
    # never is: what came of it stays as it is.

    def _opened(self, one: i.Opened) -> bool:
        room = self.room
        assert not room.system.record_number, "A room opens once."
        room.set_up(one.settings)
        roots = (room.system, room.state)
        for root in roots:
            root.join(room.changes, None, None)
        for root in roots:
            root.join_parts(room.changes)
        room.system.dice.seed = one.seed
        room.system.wall_ms = one.wall_ms
        room.game.open(room)
        return True

    def _sat(self, one: i.Sat) -> bool:
        room = self.room
        number = room.seat_of(one.account)
        if number is None:
            reason = self._seat(one.account)
            if reason is not None:
                if self.out.refused is None:
                    self.out.refused = {}
                self.out.refused[one.account] = reason.code
            return reason is None
        self._seated(one.account, number)
        seat = room.seats[number]
        if seat.present or not room.system.open:
            return False
        seat.present = True
        room.game.regain(room, number)
        return True

    def _seat(self, account: int) -> c.Reason | None:
        room = self.room
        if not room.system.open:
            return c.ROOM_ENDED
        # Nobody gets a seat in the tick in which it is given up: whoever had it may still have
        # commands here, and is shown this tick.
        taken = sorted((*room.seats.keys_in_order(), *room.vacated))
        number = len(taken)
        if taken and taken[-1] >= number:  # There are gaps; the lowest is to be filled.
            number = next(at for at, seat in enumerate(taken) if at != seat)
        if number >= room.game.seats_max:
            return c.ROOM_FULL
        mark, earlier = room.mark(), room.changes.owned.pop(number, {})
        for _, record in sorted(room.changes.shown.items()):
            record.seen_by &= ~(1 << number)  # What an earlier player at this seat was shown.
        room.seats.add(number, Seat(account=account, since_tick=room.now), seat=number)
        reason = room.game.sit(room, number)
        if reason is not None:
            assert room.reasons[reason.code] == reason, "The game lists its reasons."
            room.undo_to(mark)
            room.changes.owned[number] = earlier
            return reason
        for record in earlier.values():
            record.disown()
        left = room.left.pop(account, None)
        room.windows[number] = Window() if left is None else left
        room.seat_by_account[account] = number
        self._seated(account, number)
        return None

    def _seated(self, account: int, number: int) -> None:
        if self.out.seated is None:
            self.out.seated = {}
        self.out.seated[account] = number

    def _left(self, one: i.Left) -> bool:
        room = self.room
        if one.seat not in room.seats or not room.system.open:
            return False
        give_up(room, one.seat)
        return True

    def _lost(self, one: i.Lost) -> bool:
        room = self.room
        seat = room.seats.get(one.seat)
        if seat is None or not seat.present or not room.system.open:
            return False
        seat.present = False
        room.game.lose(room, one.seat)
        return True

    def _ruled(self, one: i.Ruled) -> bool:
        room = self.room
        pending = room.system.pending.get(one.reference)
        if pending is None:
            return False
        assert not one.code or one.code in room.reasons, "A verdict is granted, or has a reason."
        seat = pending.by_seat
        command = room.decode(pending.body)
        seat_now = room.seat_of(pending.account)  # It may be another than that of the command.
        window = room.left.get(pending.account) if seat_now is None else room.windows[seat_now]
        if window is not None:
            window.rule(pending.number, one.code)
        room.system.pending.remove(one.reference)
        if one.code:
            command.rollback(room, seat, one.reference)
        else:
            command.granted(room, seat, one.reference)
        return True

    def _drawn(self, one: i.Drawn) -> bool:
        room = self.room
        if one.ask not in room.system.asks or not room.system.open:
            return False
        room.system.asks.remove(one.ask)
        room.game.drawn(room, one.ask, one.data)
        return True

    def _reopened(self, one: i.Reopened) -> bool:
        room = self.room
        room.system.wall_ms = one.wall_ms
        for number in tuple(room.seats.keys_in_order()):
            self._lost(i.Lost(number))
        return True

    # --- The end of the tick.

    def _close(self) -> None:
        room, out, now = self.room, self.out, self.room.now
        effects, items = room.effects, room.changes.items
        if not items and not self.recorded:
            assert not effects, "An effect without a change of state."
            return
        changes = changes_of(items)
        items.clear()
        is_plain = changes.public is changes.every
        assert is_plain or len(room.seats) == len(room.windows), "The engine alone seats players."
        tick, inputs, every = i.packed(now), i.packed(self.recorded), i.packed(changes.every)
        asked = i.packed(_named(effects)) if effects else codec.LIST_NONE
        digest = sha256(b"".join((room.digest, tick, inputs, every, asked))).digest()
        number = room.entry_number + 1
        room.digest, room.entry_number, room.entry_tick = digest, number, now
        out.entry, out.entry_number = i.entry_payload(tick, inputs, digest), number
        if changes.public:
            shared = every if is_plain else i.packed(changes.public)
            out.shared = codec.delta_tail(now, now - room.shared_tick, shared)
            room.shared_tick = now
        if changes.groups or changes.own:
            self._frames(changes)
        else:
            for seat in self.concluded:
                self._frame(seat, codec.LIST_NONE)
        if effects:
            out.effects, room.effects = effects, ()
        if room.vacated:
            out.vacated = room.vacated
        room.due_tick = room.next_due()
        if room.may_be_over:
            out.ended = room.may_be_over = not room.system.open

    def _frames(self, changes: Changes) -> None:
        """Pack each seat's own frame: of its group, with what it alone is shown and told."""
        own, told, windows = changes.own, self.concluded, self.room.windows
        single: dict[int, list[Any]] = dict.fromkeys((*own, *told), _NOTHING)
        for members, flat in changes.groups:
            packed = i.packed(flat)
            by_base: dict[int, bytes] = {}  # Whose last frames were of one tick get the same bytes.
            for seat in seats_in(members):
                if seat in single:
                    single[seat] = flat
                elif seat in windows:
                    base = windows[seat].private_tick
                    frame = by_base.get(base)
                    if frame is None:
                        by_base[base] = self._frame(seat, packed)
                    else:
                        windows[seat].private_tick = self.room.now
                        self.out.private[seat] = frame
        for seat, flat in single.items():
            if seat in windows:
                self._frame(seat, i.packed(flat + own[seat] if seat in own else flat))

    def _frame(self, seat: int, changes: bytes) -> bytes:
        room, out = self.room, self.out
        window, now = room.windows[seat], room.now
        step, window.private_tick = now - window.private_tick, now
        outcomes = self.concluded.get(seat, ())
        frame = codec.private_tail(now, step, changes, outcomes, out.shared is not None)
        out.private[seat] = frame
        return frame


_NOTHING: list[Any] = []


def give_up(room: Room[Any], seat: int) -> None:
    """Take a player out of the room. The window is kept: the player may come back, and repeat."""
    room.game.leave(room, seat)
    account = room.account(seat)
    room.left[account] = room.windows.pop(seat)
    del room.seat_by_account[account]
    if len(room.left) > LEFT_WINDOWS_MAX:
        del room.left[next(iter(room.left))]
    room.seats.remove(seat)
    room.vacated = add_to(room.vacated, seat)


def _named(effects: Few[Effect]) -> list[Any]:
    return [(type(effect).__name__, *effect) for effect in effects]


_TAKE: dict[type, tuple[int, Callable[[Tick, Any], bool]]] = {
    i.Opened: (i.OPENED, Tick._opened),
    i.Sat: (i.SAT, Tick._sat),
    i.Left: (i.LEFT, Tick._left),
    i.Lost: (i.LOST, Tick._lost),
    i.Ruled: (i.VERDICT, Tick._ruled),
    i.Drawn: (i.DRAWN, Tick._drawn),
    i.Reopened: (i.REOPENED, Tick._reopened),
}
_TAKE_KIND = {kind: (taken, take) for taken, (kind, take) in _TAKE.items()}

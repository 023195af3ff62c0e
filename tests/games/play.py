"""A toolkit for testing games: one room, with all around it that a served room has.

``Play`` stands in for the room host and the database. It ticks the room, commits what came of the
tick (journal, wallet), feeds the verdicts and the drawn content back as inputs, and shows every
frame to the viewers, whose views are kept by ``protocol.view`` from the very bytes that a client
would get. A test of rules is a few lines:

    play = Play(Keno(), settings={"round_seconds": 5})
    ann = play.sit("ann")
    play.check(ann, Bet(spots=(1, 2), stake_minor=100), None)
    play.check(ann, Bet(spots=(1, 1), stake_minor=100), SPOTS_REPEATED)   # and left no trace
    play.ticks(100)
    play.check_all()    # views, snapshot, replay: whatever has happened so far

Players are named by words or by account numbers; a word stands for ``account_of(word)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Generic, TypeVar

import msgspec

from gameserver.engine import inputs as i
from gameserver.engine import snapshot
from gameserver.engine.commands import Code, Command, Reason
from gameserver.engine.effects import Effect, Result, Score
from gameserver.engine.game import Game
from gameserver.engine.output import TickOutput
from gameserver.engine.records import Record
from gameserver.engine.room import Room
from gameserver.engine.window import body_digest
from protocol import codec
from protocol.messages import Delta, Full, Private
from protocol.view import Applied, View
from tests.games.wallet import Wallet

HANDLE = 0
ROOM_ID = 4_242_424_242
ROOM_SEED = bytes(range(32))
WALL_MS = 1_700_000_000_000
BALANCE_MINOR = 1_000_000

S = TypeVar("S", bound=Record)

# What became of a command: None is accepted, a Reason is refused, a Code is failed or pending.
Said = Reason | Code | None


def account_of(name: str | int) -> int:
    """Return the account that a name stands for in tests; numbers stand for themselves."""
    if isinstance(name, int):
        return name
    return 1_000_000 + int.from_bytes(sha256(name.encode()).digest()[:4], "big")


class Watcher:
    """Somebody who is shown the room: the view kept by frames, and all bytes ever received."""

    def __init__(self, seat: int | None) -> None:
        self.seat = seat
        self.view = View()
        self.frames: list[bytes] = []

    def receive(self, payload: bytes) -> None:
        """Take one message from the server in; a gap fails the test."""
        self.frames.append(payload)
        message = codec.decode_outbound(payload)
        assert isinstance(message, Full | Delta | Private)
        applied = self.view.apply(message)
        assert isinstance(applied, Applied), f"seat {self.seat}: {applied}"

    def has_seen(self, mark: bytes) -> bool:
        """Tell whether these bytes were ever in anything that this viewer got."""
        return any(mark in payload for payload in self.frames)


class Play(Generic[S]):
    """One room under test. ``room`` is replaced by ``recover``; all else lives on.

    ``journal`` holds every entry, ``effects`` every effect of the room's life, ``outcomes`` what
    was said of each command by (account, number). With ``verdicts_held`` the verdicts wait until
    ``give_verdicts``; with ``asks_held`` what the room asks for waits until ``give_drawn``.
    """

    def __init__(
        self,
        game: Game[S],
        *,
        settings: Mapping[str, Any] | None = None,
        room_id: int = ROOM_ID,
        wallet: Wallet | None = None,
    ) -> None:
        self.game = game
        self.room: Room[S] = Room(game, room_id)
        self.wallet = Wallet() if wallet is None else wallet
        self.now = 0
        self.journal: list[bytes] = []
        self.effects: list[Effect] = []
        self.outcomes: dict[tuple[int, int], Said] = {}
        self.watchers: dict[int | None, Watcher] = {}
        self.verdicts_held = False
        self.asks_held = False
        self.last = TickOutput(room_id, 0)
        self._inputs: list[i.Input] = []
        self._commands: list[i.Commanded] = []
        self._verdicts: list[i.Ruled] = []
        self._numbers: dict[int, int] = {}
        self._asked: set[str] = set()
        self._choices = 0
        packed = msgspec.msgpack.encode(dict(settings)) if settings else b""
        self.put(i.Opened(packed, ROOM_SEED, WALL_MS))
        self.tick()
        self.watch()

    # --- Time.

    @property
    def state(self) -> S:
        """Return the game's state."""
        return self.room.state

    def tick(self) -> TickOutput:
        """Advance by one tick; a tick without input in which nothing is due is not run."""
        return self.tick_at(self.now + 1)

    def tick_at(self, now: int) -> TickOutput:
        """Advance to tick ``now`` in one step, as if the ticks between had been skipped."""
        self.now = now
        self._give_what_is_free()
        due = self.room.due_tick
        if not (self._inputs or self._commands or (due is not None and due <= now)):
            self.last = TickOutput(self.room.room_id, now)
            return self.last
        inputs, self._inputs = self._inputs, []
        commands, self._commands = self._commands, []
        out = self.room.tick(now, inputs, commands)
        self._commit(out, commands)
        self.last = out
        return out

    def ticks(self, count: int) -> None:
        """Advance by so many ticks, stopping at each one that has something to do."""
        self.run_to(self.now + count)

    def run_to(self, tick: int) -> None:
        """Advance to a tick, stopping at each one before it that has something to do."""
        while self.now < tick:
            due = self.room.due_tick
            busy = self._inputs or self._commands or self._verdicts or self._free_asks()
            next_tick = self.now + 1 if busy else tick if due is None else max(due, self.now + 1)
            self.tick_at(min(next_tick, tick))

    def run_to_due(self) -> None:
        """Advance to the next tick at which something passes by itself."""
        due = self.room.due_tick
        assert due is not None, "Nothing is due."
        self.run_to(max(due, self.now + 1))

    # --- Players and inputs.

    def put(self, *inputs: i.Input) -> None:
        """Give inputs to the next tick."""
        self._inputs += inputs

    def sit(self, name: str | int, *, balance_minor: int = BALANCE_MINOR) -> int:
        """Seat a player, who gets a wallet if there is none, or bring one back; return the seat."""
        said = self.try_sit(name, balance_minor=balance_minor)
        assert isinstance(said, int), f"{name} is refused: {said}"
        return said

    def try_sit(self, name: str | int, *, balance_minor: int = BALANCE_MINOR) -> int | Reason:
        """Ask for a seat; return it or the reason why there is none."""
        account = account_of(name)
        self.wallet.open(account, balance_minor)
        self.put(i.Sat(account))
        out = self.tick()
        if out.refused is not None and account in out.refused:
            return self.room.reasons[out.refused[account]]
        assert out.seated is not None, "Whoever asks for a seat is answered."
        return out.seated[account]

    def seat(self, name: str | int) -> int:
        """Return the seat that a player has."""
        seat = self.room.seat_of(account_of(name))
        assert seat is not None, f"{name} has no seat"
        return seat

    def leave(self, seat: int) -> None:
        """Let a player give up the seat."""
        self.put(i.Left(seat))
        self.tick()

    def lose(self, seat: int) -> None:
        """Cut a player's connection; the seat stays, and ``sit`` brings the player back."""
        self.put(i.Lost(seat))
        self.watchers.pop(seat, None)
        self.tick()

    def watch(self) -> Watcher:
        """Return the watcher without a seat, who is there from the first tick on."""
        return self._show(None)

    def watcher(self, seat: int) -> Watcher:
        """Return the connected player of a seat as a viewer."""
        return self.watchers[seat]

    # --- Commands.

    def submit(self, seat: int, command: Command, number: int | None = None) -> int:
        """Give a command to the next tick; return its number, by default the player's next."""
        account = self.room.account(seat)
        if number is None:
            number = self._numbers.get(account, 0) + 1
        self._numbers[account] = max(number, self._numbers.get(account, 0))
        body = msgspec.msgpack.encode(command)
        self._commands.append(
            i.Commanded(seat, number, WALL_MS, body, body_digest(body), self.room.decode(body))
        )
        return number

    def command(self, seat: int, command: Command, number: int | None = None) -> Said:
        """Submit one command, tick once, and return what was said.

        A command that asks for a hold gets the wallet's answer, which the room takes in with the
        next tick; or ``Code.PENDING`` while verdicts are held.
        """
        account = self.room.account(seat)
        number = self.submit(seat, command, number)
        self.outcomes.pop((account, number), None)
        self.tick()
        return self.outcomes.get((account, number), Code.PENDING)

    def check(self, seat: int, command: Command, expected: Said) -> None:
        """Submit one command; expect ``expected``; a refusal must leave no trace."""
        due = self.room.due_tick
        assert due is None or due > self.now + 1, "Time would pass in the very tick of the check."
        if self._verdicts or self._inputs or self._free_asks():
            self.tick()
        before, money = self.snapshot_of_game(), len(self.effects)
        said = self.command(seat, command)
        assert said == expected, f"{command} of seat {seat}: {said}"
        if isinstance(expected, Reason) and not self._verdicts:
            assert self.snapshot_of_game() == before, f"{command} was refused and left a trace"
            assert len(self.effects) == money, f"{command} was refused and had effects"
            assert self.last.shared is None
        elif isinstance(expected, Reason):
            self.tick()  # A hold that was refused: now it is rolled back.
            assert self.snapshot_of_game() == before, f"{command} was not rolled back whole"

    def snapshot_of_game(self) -> Any:
        """Return the game's own state as plain values, without what the engine keeps."""
        return snapshot._alone(self.room.state)

    # --- The outside world: verdicts, drawn content, crashes.

    def give_verdicts(self) -> None:
        """Let the next tick take in the verdicts that are held."""
        self.put(*self._verdicts)
        self._verdicts = []

    def give_drawn(self, ask: str, seed: bytes | None = None) -> None:
        """Let the next tick take in what the room asked for, from these 32 bytes."""
        assert ask in self.room.asks(), f"The room did not ask for {ask}."
        self._asked.add(ask)
        data = self.game.choose(ask, self.room.settings, self._chance() if seed is None else seed)
        self.put(i.Drawn(ask, data))

    def recover(self, taken: bytes | None = None) -> None:
        """Lose the process and open the room again, from a snapshot or from the entries alone.

        What no tick had taken is lost; the wallet is asked again about all pending commands.
        """
        room = self.replayed(taken)
        assert snapshot.state_hash(room) == snapshot.state_hash(self.room)
        self.room = room
        self.watchers.clear()
        self._inputs, self._commands, self._verdicts = [], [], []
        self._asked.clear()
        self.put(i.Reopened(WALL_MS))
        for reference in room.system.pending.keys_in_order():
            self._verdicts.append(i.Ruled(reference, self.wallet.code(reference)))
        self.tick()
        self.watch()

    def replayed(self, taken: bytes | None = None) -> Room[S]:
        """Return the room as it comes out of a snapshot (or nothing) and the entries after it."""
        room: Room[S] = Room(self.game, self.room.room_id)
        if taken is not None:
            room = snapshot.load(self.game, taken)
        for payload in self.journal[room.entry_number :]:
            out = room.replay(i.read_entry(payload))
            assert out.entry == payload, "An entry done again is another entry."
        return room

    def snapshot(self) -> bytes:
        """Return the room's canonical bytes."""
        return snapshot.dump(self.room)

    # --- Checks of what must always hold.

    def check_all(self) -> None:
        """Check views, snapshot, replay and the wallet's books."""
        self.check_views()
        self.check_snapshot()
        self.check_replay()
        self.wallet.check_books()

    def check_views(self) -> None:
        """Every view that was kept by deltas is what a newcomer would be shown."""
        for seat, watcher in self.watchers.items():
            fresh = View()
            message = codec.decode_outbound(self._full(seat))
            assert isinstance(message, Full)
            fresh.apply(message)
            assert watcher.view.dump() == fresh.dump(), f"the view of seat {seat} went astray"

    def check_snapshot(self) -> None:
        """The state survives being stored."""
        taken = snapshot.dump(self.room)
        assert snapshot.dump(snapshot.load(self.game, taken)) == taken

    def check_replay(self, taken: bytes | None = None) -> None:
        """The entries give the same room again."""
        assert snapshot.dump(self.replayed(taken)) == snapshot.dump(self.room)

    def effects_of(self, kind: type[Any]) -> list[Any]:
        """Return all effects of a kind, in order."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def results(self) -> list[Result]:
        """Return the recorded results, in order."""
        return self.effects_of(Result)

    def scores(self) -> list[Score]:
        """Return the scores, in order."""
        return self.effects_of(Score)

    # --- What the room host does.

    def _give_what_is_free(self) -> None:
        if not self.verdicts_held:
            self.give_verdicts()
        for ask in self._free_asks():
            self.give_drawn(ask)

    def _free_asks(self) -> list[str]:
        if self.asks_held:
            return []
        return [ask for ask in self.room.asks() if ask not in self._asked]

    def _commit(self, out: TickOutput, commands: Iterable[i.Commanded]) -> None:
        self._asked &= set(self.room.asks())
        if out.entry is not None:
            self.journal.append(out.entry)
            assert len(self.journal) == out.entry_number
        self.effects += out.effects
        rulings = dict(self.wallet.commit(out.effects))
        self._verdicts += [i.Ruled(reference, code) for reference, code in rulings.items()]
        self._tell(out, rulings)
        for seat in (out.seated or {}).values():
            self._show(seat)
        for seat in [seat for seat in self.watchers if seat is not None]:
            if seat not in self.room.seats:
                del self.watchers[seat]

    def _tell(self, out: TickOutput, rulings: Mapping[str, int]) -> None:
        """Release frames and outcomes: the tick is durable."""
        for seat, watcher in self.watchers.items():
            if seat is not None and seat in out.private:
                watcher.receive(codec.private(HANDLE, out.private[seat]))
            if out.shared is not None:
                watcher.receive(codec.delta(HANDLE, out.shared))
        for seat, tail in out.private.items():
            message = codec.decode_outbound(codec.private(HANDLE, tail))
            assert isinstance(message, Private)
            assert message.more is (out.shared is not None)
            for told in message.outcomes:
                self._note(seat, told.number, told.kind, told.code)
        for seat, outcome in out.echoes:
            self._note(seat, outcome.number, outcome.kind, outcome.code)
        if not self.verdicts_held:
            for pending in out.pending:
                code = rulings[pending.reference]
                self._note(pending.seat, pending.number, 1 if code else 0, code)

    def _note(self, seat: int, number: int, kind: int, code: int) -> None:
        said: Said = (None, self.room.reasons.get(code), Code.FAILED)[kind]
        if seat in self.room.seats:
            self.outcomes[self.room.account(seat), number] = said

    def _show(self, seat: int | None) -> Watcher:
        """Connect a viewer, unless it is there, and show the full state."""
        if seat not in self.watchers:
            self.watchers[seat] = Watcher(seat)
            self.watchers[seat].receive(self._full(seat))
        return self.watchers[seat]

    def _full(self, seat: int | None) -> bytes:
        return codec.full(self.room.room_id, self.room.now, *self.room.full(seat))

    def _chance(self) -> bytes:
        self._choices += 1
        return sha256(b"chance %d" % self._choices).digest()

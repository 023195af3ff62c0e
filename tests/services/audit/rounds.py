"""A game with money and results, and rooms of it that are recorded without a server."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any, ClassVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gameserver.engine import inputs as i
from gameserver.engine import snapshot
from gameserver.engine.commands import Command, Reason
from gameserver.engine.fields import public, secret, table
from gameserver.engine.game import Game
from gameserver.engine.records import Record, Table
from gameserver.engine.room import Room
from gameserver.engine.window import body_digest
from gameserver.runtime.batching import batch_of, snapshot_identity
from gameserver.runtime.keeper import ShardKeeper, shard_of
from gameserver.runtime.recovery import code_of
from gameserver.runtime.ring import Ring
from gameserver.runtime.work import OpenRoom, Work
from persistence.auditing import ShardHead, SignedHead, signed_head
from persistence.interfaces import RoomRow, SnapshotRow
from persistence.ownership import DEFAULT_SHARDS
from persistence.postgres.store import PostgresStore
from persistence.sealing import Sealer

SEALER = Sealer({1: bytes(32)}, 1)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")
WALL_MS = 1_700_000_000_000


class Bet(Record):
    """A stake, and whether the money is there."""

    reference: str = secret(1, default="")
    amount_minor: int = public(2, default=0)
    granted: bool = public(3, default=False)


class State(Record):
    """The bets of a round."""

    round_number: int = public(1, default=1)
    bets: Table[str, Bet] = table(2)


class Stake(Command, frozen=True, tag=1):
    """Stake money."""

    amount_minor: Annotated[int, msgspec.Meta(ge=1)]

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Hold the money."""
        reference = room.hold(self.amount_minor)
        room.state.bets.add(reference, Bet(amount_minor=self.amount_minor))

    def granted(self, room: Room[Any], seat: int, reference: str) -> None:
        """Let the bet stand."""
        room.state.bets[reference].granted = True

    def rollback(self, room: Room[Any], seat: int, reference: str) -> None:
        """Take the bet back."""
        room.state.bets.remove(reference)


class Draw(Command, frozen=True, tag=2):
    """End the round: each other bet wins twice its stake, the last one is put back."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Refuse nothing."""
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Settle."""
        state = room.state
        bets = [(key, state.bets[key]) for key in state.bets.keys_in_order()]
        *settled, released = bets
        paid = [bet.amount_minor * 2 * (place % 2) for place, (_, bet) in enumerate(settled)]
        room.book(state.round_number, sum(bet.amount_minor for _, bet in settled) - sum(paid))
        for (reference, _), payout in zip(settled, paid, strict=True):
            room.settle(reference, payout)
        room.release(released[0])
        for reference, _ in bets:
            state.bets.remove(reference)
        room.result(state.round_number, b"round %d" % state.round_number)
        state.round_number += 1


class Rounds(Game[State]):
    """Rounds of bets."""

    name = "rounds"
    title = "Rounds"
    seats_max = 4
    state = State
    commands: ClassVar[tuple[type[Command], ...]] = (Stake, Draw)


GAMES: dict[str, Game[Any]] = {"rounds": Rounds()}


@dataclass
class Recorder:
    """Plays rooms and records them, as a node does."""

    store: PostgresStore
    keeper: ShardKeeper
    rooms: dict[int, OpenRoom] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    batch_ids: Any = field(default_factory=lambda: itertools.count(1))
    tick_now: int = 0

    async def open(self, room_id: int, *accounts: int) -> OpenRoom:
        """Open a room and let people sit down."""
        row = RoomRow(
            room_id,
            shard_of(room_id, DEFAULT_SHARDS),
            f"R{room_id:05}",
            "rounds",
            1,
            1,
            b"%d" % room_id,
            listed=True,
            settings=b"\x80",
        )
        await self.store.create_room(row)
        room = Room(GAMES["rounds"], room_id)
        opened = self.rooms[room_id] = OpenRoom(row, room, Ring(0, 600), 0)
        opened.inbox.put(i.Opened(row.settings, bytes(32), WALL_MS))
        for account in accounts:
            await self.store.create_person(account, "x", 1000)
            opened.inbox.put(i.Sat(account))
        await self.tick(room_id)
        return opened

    async def command(self, room_id: int, seat: int, command: Command) -> None:
        """Have a command decided, and its verdict taken in."""
        room = self.rooms[room_id].room
        body, number = msgspec.msgpack.encode(command), next(self.numbers)
        one = i.Commanded(seat, number, WALL_MS, body, body_digest(body), room.decode(body))
        await self.tick(room_id, one)
        if self.rooms[room_id].inbox:
            await self.tick(room_id)

    async def tick(self, *room_ids: int | i.Commanded) -> None:
        """Tick rooms and commit what they decided as one batch."""
        self.tick_now += 1
        commands = [one for one in room_ids if isinstance(one, i.Commanded)]
        works = []
        for room_id in room_ids:
            if isinstance(room_id, int):
                opened = self.rooms[room_id]
                inputs, _ = opened.inbox.take()
                works.append(Work(opened, opened.room.tick(self.tick_now, inputs, commands)))
        batch = batch_of(next(self.batch_ids), works, self.keeper, SEALER, self.tick_now)
        answer = await self.store.commit(batch)
        assert not answer.fenced | answer.regressed
        self.keeper.advance(batch.marks)
        for verdict in answer.verdicts:
            room_id = int(verdict.reference.split(".")[0])
            self.rooms[room_id].inbox.put(i.Ruled(verdict.reference, code_of(verdict)))

    async def round(self, room_id: int) -> None:
        """Play a round with three bets."""
        for seat, amount_minor in ((0, 10), (1, 20), (0, 30)):
            await self.command(room_id, seat, Stake(amount_minor))
        await self.command(room_id, 0, Draw())

    async def snapshot(self, room_id: int) -> None:
        """Store a room whole."""
        opened = self.rooms[room_id]
        room, data = opened.room, snapshot.dump(opened.room)
        identity = snapshot_identity(room_id, room.entry_number)
        owned = self.keeper.owned[opened.row.shard]
        sealed = SEALER.seal(zlib.compress(data, 1), identity)
        row = SnapshotRow(
            room_id, room.entry_number, room.entry_tick, 1, sha256(data).digest(), sealed
        )
        await self.store.save_snapshots([row], [self.keeper.mark(owned, 0, owned.head)], 10_000)

    def signed(self) -> list[SignedHead]:
        """Return the heads as they are now, signed."""
        return [
            signed_head(KEY, ShardHead(one.shard, one.epoch, one.link, one.head), WALL_MS)
            for one in self.keeper.owned.values()
            if one.link
        ]


@asynccontextmanager
async def recorder(dsn: str) -> AsyncIterator[Recorder]:
    """Give a node of sorts that owns all shards of rooms 1, 2 and 65."""
    store = PostgresStore(dsn, durable=False)
    await store.start()
    try:
        keeper = ShardKeeper(store, "n", DEFAULT_SHARDS)
        await keeper.take([1, 2], lambda: 0)
        yield Recorder(store, keeper)
    finally:
        await store.stop()

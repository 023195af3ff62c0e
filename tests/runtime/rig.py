"""Nodes on virtual time: a store with faults, viewers with views, and the beat that passes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gameserver.engine.commands import Command
from gameserver.runtime.keeper import shard_of
from gameserver.runtime.node import Node, NodeSettings
from gameserver.runtime.opening import JoinError
from gameserver.runtime.viewers import SharedFrame
from persistence.interfaces import (
    INTEGER_MAX,
    Batch,
    CommitAnswer,
    Poisoned,
    RoomRow,
    SnapshotRow,
    StorageBusy,
    StorageUnavailable,
)
from persistence.memory import MemoryStore
from persistence.ownership import DEFAULT_SHARDS
from persistence.sealing import Sealer
from protocol import codec
from protocol.messages import Delta, Full, Joined, Left, Outcome, Outcomes, Private
from protocol.view import View
from tests.runtime.pots import Pots
from tests.virtual import now_ns

WALL_MS = 1_700_000_000_000
BEAT_S = 0.05
GAMES = {"pots": Pots()}
SEALER = Sealer({1: bytes(32)}, 1)


class VirtualClock:
    """The virtual loop's time, and chance from a seed."""

    def __init__(self, seed: int = 1) -> None:
        self._chance = random.Random(seed)

    def now_ns(self) -> int:
        return now_ns()

    def wall_ms(self) -> int:
        return WALL_MS + now_ns() // 1_000_000

    def entropy(self, count: int) -> bytes:
        return self._chance.randbytes(count)


class FaultyStore(MemoryStore):
    """The memory store, with a way to say what goes wrong with which commit.

    ``before`` and ``after`` are awaited on each side of a commit; either may raise.
    """

    def __init__(self) -> None:
        super().__init__(lambda: WALL_MS + now_ns() // 1_000_000)
        self.batches: list[Batch] = []
        self.poisoned_rooms: set[int] = set()
        self.away = asyncio.Event()
        self.away.set()
        self.replies_lost = 0
        self.busy_rooms: set[int] = set()
        self.are_busy_named = True
        self.is_unable_to_set_aside = False
        self.snapshots_fail = 0

    async def set_aside(self, room_id: int, note: str) -> None:
        if self.is_unable_to_set_aside:
            raise StorageUnavailable("away")
        await super().set_aside(room_id, note)

    async def snapshots(
        self, room_id: int, until_tick: int = INTEGER_MAX
    ) -> tuple[SnapshotRow, ...]:
        if self.snapshots_fail:
            self.snapshots_fail -= 1
            raise StorageUnavailable("away")
        return await super().snapshots(room_id, until_tick)

    async def commit(self, batch: Batch) -> CommitAnswer:
        self.batches.append(batch)
        if not self.away.is_set():
            await asyncio.sleep(0.5)
            raise StorageUnavailable("away")
        for entry in batch.entries:
            if entry.room_id in self.poisoned_rooms:
                raise Poisoned("this can never be kept")
        busy = frozenset(row.room_id for row in batch.entries) & self.busy_rooms
        if busy and batch.batch_id not in self._answers:
            await asyncio.sleep(0.2)
            raise StorageBusy("somebody has a lock", busy if self.are_busy_named else frozenset())
        answer = await super().commit(batch)
        if self.replies_lost and batch.entries:
            self.replies_lost -= 1
            raise StorageUnavailable("the answer was lost")
        return answer


@dataclass(eq=False)
class Eyes:
    """A viewer that keeps all it is sent, and a view of each room."""

    account: int
    name: str = "somebody"
    messages: list[Any] = field(default_factory=list)
    views: dict[int, View] = field(default_factory=dict)
    seats: dict[int, int] = field(default_factory=dict)
    # Every room has another one, and no other connection has the same.
    handles: dict[int, int] = field(default_factory=dict)
    is_slow: bool = False
    write_at_once: None = None  # It wants to see who is told what.

    def count_at_once(self, frames: int, bytes_out: int) -> None:
        raise AssertionError("nothing can be written at once")

    def deliver(
        self,
        room_id: int,
        handle: int,
        told_tick: int,
        private: bytes | None,
        shared: SharedFrame | None,
    ) -> None:
        if self.is_slow:
            return
        assert handle == self.handles[room_id]
        if private is not None:
            self._see(codec.private(handle, private))
        if shared is not None:
            self._see(codec.delta(handle, shared.tail))

    def send(self, payload: bytes) -> None:
        self._see(payload)

    def joined(self, room_id: int) -> int:
        self.seats.setdefault(room_id, -1)
        self.views.setdefault(room_id, View())
        return self.handles.setdefault(room_id, len(self.handles))

    def left(self, room_id: int) -> None:
        del self.seats[room_id]

    def _see(self, payload: bytes) -> None:
        message = codec.decode_outbound(payload)
        self.messages.append(message)
        if isinstance(message, Joined):
            self.seats[message.room] = message.seat
        elif isinstance(message, Full):
            self.views[message.room].apply(message)
        elif isinstance(message, Delta | Private):
            (room_id,) = (one for one, handle in self.handles.items() if handle == message.handle)
            self.views[room_id].apply(message)

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    def outcomes(self) -> list[Outcome]:
        return [
            outcome
            for message in self.messages
            if isinstance(message, Private | Outcomes)
            for outcome in message.outcomes
        ]

    def closed_tick(self, room_id: int) -> int:
        tick = self.views[room_id].closed_tick
        assert tick is not None
        return tick


class Rig:
    """One node that runs, and what tests do with it."""

    def __init__(self, store: FaultyStore, node: Node) -> None:
        self.store = store
        self.node = node
        self.requests = 0

    async def beats(self, count: int = 4) -> None:
        await asyncio.sleep(count * BEAT_S)

    async def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110  Virtual time costs nothing.
                await asyncio.sleep(0.01)

    async def room(self, room_id: int = 1) -> RoomRow:
        row = await self.store.create_room(room_row(room_id))
        assert row is not None
        return row

    async def join(
        self, row: RoomRow, eyes: Eyes, *, watch: bool = False, closed_tick: int | None = None
    ) -> JoinError | None:
        self.requests += 1
        current = await self.store.room(row.room_id)
        assert current is not None
        seen = len(eyes.of(Joined))
        error = await self.node.host.join(
            current, eyes, self.requests, watch=watch, closed_tick=closed_tick
        )
        if error is None and self.store.away.is_set():
            await self.until(lambda: len(eyes.of(Joined)) > seen)
        return error

    def command(self, row: RoomRow, eyes: Eyes, number: int, command: Command) -> None:
        body = msgspec.msgpack.encode(command)
        self.node.host.command(row.room_id, eyes, number, body)

    async def done(self, row: RoomRow, eyes: Eyes, number: int, command: Command) -> Outcome:
        self.command(row, eyes, number, command)
        await self.until(lambda: any(one.number == number for one in eyes.outcomes()))
        return [one for one in eyes.outcomes() if one.number == number][-1]

    def check_views(self, row: RoomRow, *viewers: Eyes) -> None:
        """Expect each viewer's view to be what a full state would give now."""
        room = self.node.host.rooms[row.room_id].room
        for eyes in viewers:
            seat = eyes.seats[row.room_id]
            fresh = View()
            public, private = room.full(None if seat < 0 else seat)
            message = codec.decode_outbound(codec.full(row.room_id, room.now, public, private))
            assert isinstance(message, Full)
            fresh.apply(message)
            assert eyes.views[row.room_id].dump() == fresh.dump()


def room_row(room_id: int) -> RoomRow:
    return RoomRow(
        room_id=room_id,
        shard=shard_of(room_id, DEFAULT_SHARDS),
        code=f"{room_id:06d}",
        game="pots",
        rules_version=1,
        creator=1,
        create_key=room_id.to_bytes(8, "big"),
        listed=True,
        settings=b"\x80",
    )


def left_codes(eyes: Eyes) -> list[int]:
    return [message.code for message in eyes.of(Left)]


@asynccontextmanager
async def node_running(
    store: FaultyStore,
    name: str = "n1",
    *,
    snapshot_entries: int = 100,
    crash: bool = False,
    refused: tuple[int, ...] = (),
    prepare: Callable[[Node], None] = lambda node: None,
) -> AsyncIterator[Rig]:
    """Give a node that runs; at the end it is drained, or with ``crash`` just gone."""
    settings = NodeSettings(name, DEFAULT_SHARDS, 100, 600, snapshot_entries, 600)
    clock = VirtualClock(len(store.batches) + 1)
    node = Node(store, GAMES, SEALER, clock, settings)
    prepare(node)
    await node.start(refused)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(node.run())
        yield Rig(store, node)
        if crash:
            running.cancel()
        else:
            node.drain()

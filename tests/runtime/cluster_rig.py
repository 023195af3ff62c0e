"""Several nodes on virtual time: one store, one directory, and links that show who has died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from gameserver.runtime.cluster import Cluster, Identity
from gameserver.runtime.moving import Moving
from gameserver.runtime.node import Node, NodeSettings
from persistence.directory import ClusterView, DirectoryUnavailable, NodeRecord
from persistence.interfaces import StorageUnavailable, Store
from persistence.memory_directory import DirectoryWorld, MemoryDirectory
from protocol.messages import Moved
from tests.runtime.rig import GAMES, SEALER, Eyes, FaultyStore, Rig, VirtualClock
from tests.virtual import now_ns

SHARDS = 8


class FaultyDirectory(MemoryDirectory):
    """A directory that may be away for one node."""

    is_away = False

    async def beat(self, record: NodeRecord, shards: Collection[int], lease_ms: int) -> ClusterView:
        self._check()
        return await super().beat(record, shards, lease_ms)

    async def pass_leases(
        self, node: str, to: str, shards: Collection[int], lease_ms: int
    ) -> frozenset[int]:
        self._check()
        return await super().pass_leases(node, to, shards, lease_ms)

    def _check(self) -> None:
        if self.is_away:
            raise DirectoryUnavailable("away")


class Way:
    """The store as one node reaches it: when it is cut, nothing gets there, and nothing is told."""

    def __init__(self, store: FaultyStore) -> None:
        self.is_cut = False
        self._store = store

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._store, name)

        async def ask(*arguments: Any) -> Any:
            if self.is_cut:
                await asyncio.sleep(1.0)
                raise StorageUnavailable("cut off")
            return await asked(*arguments)

        return ask


class Links:
    """The links of one node, over which messages arrive a moment later."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self.on_dead: Callable[[str], None] = lambda name: None
        self.on_message: Callable[[str, list[Any]], None] = lambda name, message: None
        self.followed: dict[str, tuple[str, str]] = {}
        self.are_cut = False
        self.is_mute = False

    @property
    def are_heard(self) -> bool:
        return not self.are_cut

    def follow(self, peers: Mapping[str, tuple[str, str]]) -> None:
        self.followed = dict(peers)

    def send(self, name: str, message: list[Any]) -> bool:
        other = self._world.members.get(name)
        if self.is_mute or name not in self.followed:
            return False
        if self.are_cut or other is None or other.links.are_cut:
            return False
        asyncio.get_running_loop().call_later(
            0.001, other.links.on_message, self._name, list(message)
        )
        return True


@dataclass
class Member:
    """A node of the cluster, and what a test may do to it."""

    rig: Rig
    cluster: Cluster
    links: Links
    directory: FaultyDirectory
    way: Way
    moving: Moving
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    @property
    def owned(self) -> set[int]:
        return set(self.rig.node.keeper.owned)

    def freeze(self) -> None:
        """Run nothing of it any more, as a process that was killed."""
        for task in self.tasks:
            task.cancel()


class World:
    """All nodes."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.store = FaultyStore()
        self.shared = DirectoryWorld()
        self.members: dict[str, Member] = {}
        self._tasks = tasks
        self._starts = 0

    async def start(self, name: str, rules_version: int = 1) -> Member:
        """Start a node and let it join."""
        self._starts += 1
        clock = VirtualClock(self._starts)
        settings = NodeSettings(name, SHARDS, 100, 600, 100, 600)
        way = Way(self.store)
        node = Node(cast(Store, way), GAMES, SEALER, clock, settings)
        node.is_alone = False
        directory = FaultyDirectory(self.shared, lambda: now_ns() // 1_000_000)
        links = Links(self, name)
        instance = f"{name}-{self._starts}"
        rules = (("pots", rules_version),)
        identity = Identity(name, instance, f"ws://{name}/ws", f"{name}:1", rules)
        cluster = Cluster(node, directory, links, clock, identity)
        moving = Moving(cluster, cast(Store, way), clock)
        member = Member(Rig(self.store, node), cluster, links, directory, way, moving)
        await directory.start("cluster")
        await cluster.start()
        self.members[name] = member
        for what in (node.run, cluster.run, moving.take, moving.give):
            member.tasks.append(self._tasks.create_task(what()))
        return member

    def kill(self, name: str) -> None:
        """Kill a node; those that have a link to it see it at once."""
        member = self.members.pop(name)
        member.freeze()
        for other in self.members.values():
            if name in other.links.followed and not other.links.are_cut:
                other.links.on_dead(name)

    def stop(self) -> None:
        """End all nodes."""
        for member in self.members.values():
            member.freeze()

    def owners(self) -> dict[int, list[str]]:
        """Return who believes to own each shard."""
        return {
            shard: [name for name, member in sorted(self.members.items()) if shard in member.owned]
            for shard in range(SHARDS)
        }

    async def settled(self, seconds: float = 15.0) -> None:
        """Wait until each shard has one owner and nothing moves any more."""
        async with asyncio.timeout(seconds):
            while True:
                before = self.owners()
                await asyncio.sleep(1.5)
                if before == self.owners() and all(len(one) == 1 for one in before.values()):
                    return

    def home(self, room_id: int) -> Member:
        """Return the node that has a room."""
        (name,) = self.owners()[room_id % SHARDS]
        return self.members[name]

    async def follow(self, eyes: Eyes, room_id: int, *, watch: bool = False) -> None:
        """Bring a viewer that was told that its room has moved to where the room is now."""
        await self.home(room_id).rig.until(lambda: len(self.owners()[room_id % SHARDS]) == 1)
        member = self.home(room_id)
        row = await self.store.room(room_id)
        assert row is not None
        error = await member.rig.join(row, eyes, watch=watch, closed_tick=eyes.closed_tick(room_id))
        assert error is None


@asynccontextmanager
async def world_running() -> AsyncIterator[World]:
    """Give an empty cluster; what is left of it ends."""
    async with asyncio.TaskGroup() as tasks:
        world = World(tasks)
        yield world
        world.stop()


def moved_to(eyes: Eyes) -> list[str]:
    """Return the addresses that a viewer was sent to."""
    return [message.url for message in eyes.of(Moved)]

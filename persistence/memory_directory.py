"""The directory in plain Python, for simulation: many nodes share one world in one process.

It keeps the contract of `persistence.directory` and waits for nothing. Whoever makes a world gives
it a clock; a world that is wiped is a Redis that was restarted empty.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from persistence.directory import (
    CLAIM_MS,
    DRAIN_MS,
    LEASE_MS_MAX,
    LIFE_MS_MAX,
    ClusterView,
    DirectoryUnavailable,
    DirectoryUnusable,
    NameTaken,
    NodeRecord,
    RoomLine,
    check_ms,
)

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(slots=True)
class _Claim:
    cluster_id: str
    heard_ms: int


@dataclass(slots=True)
class DirectoryWorld:
    """What the directories of one cluster, or of several under one prefix, have in common.

    Everything but the claim comes with the moment at which it lapses.
    """

    claim: _Claim | None = None
    nodes: dict[str, tuple[NodeRecord, int]] = field(default_factory=dict)
    leases: dict[int, tuple[str, int]] = field(default_factory=dict)
    drains: dict[str, tuple[str, int]] = field(default_factory=dict)  # To the instance.
    lines: dict[int, tuple[RoomLine, int]] = field(default_factory=dict)

    def wipe(self) -> None:
        """Forget everything."""
        self.claim = None
        for kept in (self.nodes, self.leases, self.drains, self.lines):
            kept.clear()


class MemoryDirectory:
    """A `Directory` whose calls happen whole, at once."""

    def __init__(self, world: DirectoryWorld, now_ms: Callable[[], int]) -> None:
        self._world = world
        self._now_ms = now_ms
        self._cluster_id: str | None = None

    async def start(self, cluster_id: str) -> None:
        """Claim the world for this cluster."""
        if not self._claimed_by(cluster_id):
            raise DirectoryUnusable("another cluster uses this directory")
        self._cluster_id = cluster_id

    async def stop(self) -> None:
        """What was said still stands until it lapses."""
        self._cluster_id = None

    async def beat(self, record: NodeRecord, shards: Collection[int], lease_ms: int) -> ClusterView:
        """Announce this node and hold these shards; return all there is."""
        check_ms(lease_ms)
        world = self._current()
        other = world.nodes.get(record.name)
        if other is not None and other[0].instance != record.instance:
            raise NameTaken(f"another live node is named {record.name}")
        until_ms = self._now_ms() + lease_ms
        world.nodes[record.name] = (record, until_ms)
        asked = world.drains.get(record.name)
        if asked is not None and asked[0] != record.instance:
            del world.drains[record.name]
        self._take(record.name, shards, (), until_ms)
        return self._view()

    async def take_leases(
        self, node: str, shards: Collection[int], dead: Collection[str], lease_ms: int
    ) -> frozenset[int]:
        """Take leases that nobody has, or this node, or one of the ``dead``; return which."""
        check_ms(lease_ms)
        self._current()
        return self._take(node, shards, dead, self._now_ms() + lease_ms)

    async def pass_leases(
        self, node: str, to: str, shards: Collection[int], lease_ms: int
    ) -> frozenset[int]:
        """Hand over those leases that are this node's; return which are the other's now."""
        check_ms(lease_ms)
        leases = self._current().leases
        passed = frozenset(s for s in shards if s in leases and leases[s][0] in (node, to))
        leases.update(dict.fromkeys(passed, (to, self._now_ms() + lease_ms)))
        return passed

    async def leave(self, record: NodeRecord) -> None:
        """Forget this instance and free its leases; nothing if another one has the name."""
        world = self._current()
        known = world.nodes.get(record.name)
        if known is not None and known[0].instance != record.instance:
            return
        world.nodes.pop(record.name, None)
        world.drains.pop(record.name, None)
        for shard in [s for s, (owner, _) in world.leases.items() if owner == record.name]:
            del world.leases[shard]

    async def view(self) -> ClusterView:
        """Return all there is."""
        self._current()
        return self._view()

    async def ask_to_drain(self, node: str) -> bool:
        """Let everybody see that a live node is to drain; false if there is none of this name."""
        world = self._current()
        if node not in world.nodes:
            return False
        world.drains[node] = (world.nodes[node][0].instance, self._now_ms() + DRAIN_MS)
        return True

    async def publish(self, lines: Sequence[RoomLine], gone: Collection[int], life_ms: int) -> None:
        """Let rooms be found for ``life_ms``; drop those ``gone``."""
        check_ms(life_ms, LIFE_MS_MAX)
        world = self._current()
        for room_id in gone:
            world.lines.pop(room_id, None)
        until_ms = self._now_ms() + life_ms
        world.lines.update({line.room_id: (line, until_ms) for line in lines})

    async def places(self, game: str, limit: int) -> tuple[RoomLine, ...]:
        """Return a game's rooms with a free seat: most seats taken first, then the newest first."""
        lines = (line for line, _ in self._current().lines.values())
        free = [line for line in lines if line.game == game and line.seats_taken < line.seats_max]
        free.sort(key=lambda line: (-line.seats_taken, *_age(line)))
        return tuple(free[:limit])

    async def lines(self, room_ids: Sequence[int]) -> tuple[RoomLine, ...]:
        """Return the lines of those rooms that can be found, in the order asked."""
        known = self._current().lines
        return tuple(known[room_id][0] for room_id in room_ids if room_id in known)

    def _take(
        self, node: str, shards: Collection[int], dead: Collection[str], until_ms: int
    ) -> frozenset[int]:
        leases = self._world.leases
        gone = {node, *dead}
        taken = frozenset(s for s in shards if s not in leases or leases[s][0] in gone)
        leases.update(dict.fromkeys(taken, (node, until_ms)))
        return taken

    def _view(self) -> ClusterView:
        world = self._world
        nodes = tuple(world.nodes[name][0] for name in sorted(world.nodes))
        leases = {shard: world.leases[shard][0] for shard in sorted(world.leases)}
        return ClusterView(nodes, leases, frozenset(world.drains))

    def _current(self) -> DirectoryWorld:
        """Return the world without what has lapsed."""
        if self._cluster_id is None:
            raise DirectoryUnavailable("the directory was not started")
        if not self._claimed_by(self._cluster_id):
            raise DirectoryUnavailable("another cluster uses this directory")
        world, now_ms = self._world, self._now_ms()
        _sweep(world.nodes, now_ms, LEASE_MS_MAX)
        _sweep(world.leases, now_ms, LEASE_MS_MAX)
        _sweep(world.lines, now_ms, LIFE_MS_MAX)
        _sweep(world.drains, now_ms, DRAIN_MS)
        return world

    def _claimed_by(self, cluster_id: str) -> bool:
        world, now_ms = self._world, self._now_ms()
        claim = world.claim
        if claim is not None and claim.cluster_id != cluster_id:
            if now_ms - claim.heard_ms < CLAIM_MS:
                return False
            world.wipe()
        world.claim = _Claim(cluster_id, now_ms)
        return True


def _sweep(kept: dict[_Key, tuple[_Value, int]], now_ms: int, life_ms_max: int) -> None:
    for key in [k for k, (_, end) in kept.items() if not now_ms < end <= now_ms + life_ms_max]:
        del kept[key]


def _age(line: RoomLine) -> tuple[int, int]:
    return (-line.serial, -line.room_id)

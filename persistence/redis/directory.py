"""The directory that nodes share through Redis: asks, and decides nothing.

All keys of a cluster have one hash tag, so they lie on one server of a Redis cluster and one script
can use them together. Time is Redis's own, read inside the scripts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from persistence.directory import (
    LIFE_MS_MAX,
    ClusterView,
    DirectoryUnavailable,
    DirectoryUnusable,
    NodeRecord,
    RoomLine,
    check_ms,
)
from persistence.redis import packing, scripts
from persistence.redis.connection import Connections, Word
from persistence.redis.errors import NO_REDIS, TOO_OLD

OLDEST_VERSION = (6, 2)
ROOMS_PER_CALL = 200  # A script keeps everybody else waiting: a millisecond or so each.
KEYS = (
    *("cluster", "nodes", "instances", "node-ends", "leases", "lease-ends", "drains"),
    *("drain-ends", "lines", "places", "line-ends", "order"),
)


@dataclass(frozen=True, slots=True)
class _Leases:
    """All leases, as they stand for as long as the server gives this stamp."""

    stamp: bytes
    by_shard: Mapping[int, str]


class RedisDirectory:
    """A `Directory` on Redis 6.2 or newer, or Valkey."""

    def __init__(self, url: str, prefix: str) -> None:
        self._connections = Connections(url)
        self._keys = [f"{{{prefix}}}:{key}" for key in KEYS]
        self._cluster_id: str | None = None
        self._leases = _Leases(b"", {})

    async def start(self, cluster_id: str) -> None:
        """Connect, check what is there, and claim the prefix for this cluster."""
        self._connections.open()
        _check_version(await self._connections.call("INFO", "server"))
        await self._connections.run(scripts.CLAIM, self._keys, [cluster_id])
        self._cluster_id = cluster_id

    async def stop(self) -> None:
        """Let go of connections."""
        self._cluster_id = None
        await self._connections.close()

    async def beat(self, record: NodeRecord, shards: Collection[int], lease_ms: int) -> ClusterView:
        """Announce this node and hold these shards; return all there is."""
        check_ms(lease_ms)
        name, instance = record.name, record.instance
        asked = packing.packed(list(shards))
        return await self._viewed(
            scripts.BEAT, name, instance, packing.packed(record), asked, lease_ms
        )

    async def take_leases(
        self, node: str, shards: Collection[int], dead: Collection[str], lease_ms: int
    ) -> frozenset[int]:
        """Take leases that nobody has, or this node, or one of the ``dead``; return which."""
        check_ms(lease_ms)
        asked = packing.packed(list(shards))
        return packing.shards(await self._run(scripts.TAKE, node, asked, lease_ms, *dead))

    async def pass_leases(
        self, node: str, to: str, shards: Collection[int], lease_ms: int
    ) -> frozenset[int]:
        """Hand over those leases that are this node's; return which are the other's now."""
        check_ms(lease_ms)
        asked = packing.packed(list(shards))
        return packing.shards(await self._run(scripts.PASS, node, to, asked, lease_ms))

    async def leave(self, record: NodeRecord) -> None:
        """Forget this instance and free its leases; nothing if another one has the name."""
        await self._run(scripts.LEAVE, record.name, record.instance)

    async def view(self) -> ClusterView:
        """Return all there is."""
        return await self._viewed(scripts.VIEW)

    async def ask_to_drain(self, node: str) -> bool:
        """Let everybody see that a live node is to drain; false if there is none of this name."""
        return bool(await self._run(scripts.DRAIN, node))

    async def publish(self, lines: Sequence[RoomLine], gone: Collection[int], life_ms: int) -> None:
        """Let rooms be found for ``life_ms``; drop those ``gone``."""
        check_ms(life_ms, LIFE_MS_MAX)
        keys = [packing.room_key(room) for room in {*gone} - {line.room_id for line in lines}]
        # At least one call, which also removes what has lapsed.
        for first in range(0, max(len(keys), len(lines), 1), ROOMS_PER_CALL):
            rooms = keys[first : first + ROOMS_PER_CALL]
            words: list[Word] = [life_ms, len(rooms), *rooms]
            for line in lines[first : first + ROOMS_PER_CALL]:
                room = packing.room_key(line.room_id)
                words += (room, packing.packed(line), packing.place(line))
            await self._run(scripts.PUBLISH, *words)

    async def places(self, game: str, limit: int) -> tuple[RoomLine, ...]:
        """Return a game's rooms with a free seat: most seats taken first, then the newest first."""
        return await self._found(packing.places_beginning(game), limit)

    async def lines(self, room_ids: Sequence[int]) -> tuple[RoomLine, ...]:
        """Return the lines of those rooms that can be found, in the order asked."""
        found: tuple[RoomLine, ...] = ()
        for first in range(0, len(room_ids), ROOMS_PER_CALL):
            keys = map(packing.room_key, room_ids[first : first + ROOMS_PER_CALL])
            found += packing.lines(await self._run(scripts.LINES, *keys))
        return found

    async def _viewed(self, script: scripts.Script, *words: Word) -> ClusterView:
        known = self._leases
        nodes, drains, stamp, *changed = await self._run(script, *words, known.stamp)
        if changed:
            known = self._leases = _Leases(stamp, packing.leases(changed[0]))
        names = frozenset(name.decode(errors="replace") for name in drains)
        return ClusterView(packing.nodes(nodes), known.by_shard, drains=names)

    async def _found(self, beginning: str, limit: int) -> tuple[RoomLine, ...]:
        return packing.lines(await self._run(scripts.FOUND, beginning, limit))

    async def _run(self, script: scripts.Script, *words: Word) -> Any:
        if self._cluster_id is None:
            raise DirectoryUnavailable("the directory was not started")
        try:
            return await self._connections.run(script, self._keys, [self._cluster_id, *words])
        except DirectoryUnusable as error:
            # It could serve once, and may again: a replica is promoted, a password put right.
            raise DirectoryUnavailable(str(error)) from error


def _check_version(info: Any) -> None:
    # Valkey says there which Redis it is as good as.
    said = (
        re.search(rb"^redis_version:((\d+)\.(\d+)\S*)", info, re.MULTILINE)
        if isinstance(info, bytes)
        else None
    )
    if said is None:
        raise DirectoryUnusable(f"{NO_REDIS} (it has no version)")
    if (int(said[2]), int(said[3])) < OLDEST_VERSION:
        raise DirectoryUnusable(f"{TOO_OLD}: {said[1].decode(errors='replace')}")

"""What operators ask about several nodes: who is there, who has which shard; and that one goes.

Redis says who should have a shard, PostgreSQL who has it. Where the two differ something is on its
way, or in the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gameserver.app import run
from gameserver.config import Config, ConfigError
from gameserver.operating import database_beside
from persistence.directory import ClusterView, DirectoryUnavailable, NodeRecord
from persistence.ownership import ShardOwner
from persistence.postgres.store import PostgresStore
from persistence.redis.directory import RedisDirectory

T = TypeVar("T")
Told = dict[str, Any]

LOOK_INTERVAL_S = 0.5
# A directory that was wiped knows nobody for a moment.
GONE_AFTER_LOOKS = 3


def nodes(config: Config) -> list[Told]:
    """Return all live nodes by name."""

    async def told(directory: RedisDirectory) -> list[Told]:
        view = await directory.view()
        return [node_told(one, view) for one in view.nodes]

    return _with_directory(config, told)


def shards(config: Config) -> list[Told]:
    """Return all shards: who owns them, and who has their leases if a directory is given."""

    async def told() -> list[Told]:
        async with _store(config) as store:
            owners = {one.shard: one for one in await store.shard_owners()}
            if config.redis is None:
                return [shard_told(shard, one, None) for shard, one in owners.items()]
            if not owners:
                return []
            async with _directory(config, store) as directory:
                leases = (await directory.view()).leases
            return [
                shard_told(shard, owners.get(shard), leases)
                for shard in sorted(owners.keys() | leases.keys())
            ]

    return run(config, told())


def leases(config: Config) -> dict[int, str]:
    """Return who should have which shard."""

    async def told(directory: RedisDirectory) -> dict[int, str]:
        return dict((await directory.view()).leases)

    return _with_directory(config, told)


def drain(config: Config, name: str, timeout_s: float, say: Callable[[str], None]) -> str:
    """Ask a node to drain and wait until it has left; return why it has not, "" if it has."""

    async def drained(directory: RedisDirectory) -> str:
        view = await directory.view()
        if not await directory.ask_to_drain(name):
            known = ", ".join(one.name for one in view.nodes) or "none"
            return f"there is no node {name!r}; there are: {known}"
        if all(one.draining for one in view.nodes if one.name != name):
            say("there is no other node: its rooms wait until there is one")
        return await _left(directory, name, timeout_s)

    return _with_directory(config, drained)


async def _left(directory: RedisDirectory, name: str, timeout_s: float) -> str:
    """Wait until a node has left; return why it has not, "" if it has."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    instance = _instance(await directory.view(), name)
    looks_without = 0
    while True:
        try:
            view = await directory.view()
        except DirectoryUnavailable as error:
            why = f"redis: {error}"
        else:
            is_there = instance is not None and _instance(view, name) == instance
            looks_without = 0 if is_there else looks_without + 1
            if looks_without == GONE_AFTER_LOOKS:
                return ""
            held = sum(1 for holder in view.leases.values() if holder == name)
            why = f"it still has {held} shards"
        if loop.time() >= deadline_s:
            return f"{name} was asked to go and has not left within {timeout_s:g} s: {why}"
        await asyncio.sleep(LOOK_INTERVAL_S)


def _instance(view: ClusterView, name: str) -> str | None:
    return next((one.instance for one in view.nodes if one.name == name), None)


def node_told(record: NodeRecord, view: ClusterView) -> Told:
    """Return what a node says of itself, and what becomes of it."""
    state = "serving" if record.weight else "cannot commit"
    if record.name in view.drains:
        state = "asked to drain"
    if record.draining:
        state = "draining"
    return {
        "node": record.name,
        "url": record.url,
        "peer": record.peer,
        "state": state,
        "shards": sum(1 for holder in view.leases.values() if holder == record.name),
        "rooms": record.rooms,
        "connections": record.connections,
        "load_permille": record.load,
        "started_ms": record.started_ms,
        "rules": dict(record.rules),
    }


def shard_told(shard: int, owner: ShardOwner | None, leases: Mapping[int, str] | None) -> Told:
    """Return who has a shard, and who should: nobody knows that where there are no leases."""
    lease = None if leases is None else leases.get(shard, "")
    name = "" if owner is None else owner.node
    return {
        "shard": shard,
        "owner": name,
        "epoch": 0 if owner is None else owner.epoch,
        "clock_tick": 0 if owner is None else owner.clock_tick,
        "idle_ms": None if owner is None else owner.idle_ms,
        "lease": lease,
        "differs": lease is not None and lease != name,
    }


def _with_directory(config: Config, ask: Callable[[RedisDirectory], Awaitable[T]]) -> T:
    async def asked() -> T:
        async with _store(config) as store, _directory(config, store) as directory:
            return await ask(directory)

    if config.redis is None:
        raise ConfigError("redis is not given: without it there is one node and nobody to ask")
    return run(config, asked())


@asynccontextmanager
async def _store(config: Config) -> AsyncIterator[PostgresStore]:
    async with database_beside(config) as dsn:
        store = PostgresStore(dsn)
        await store.start()
        try:
            yield store
        finally:
            await store.stop()


@asynccontextmanager
async def _directory(config: Config, store: PostgresStore) -> AsyncIterator[RedisDirectory]:
    """Give the directory of the cluster that the database belongs to."""
    assert config.redis is not None, "whoever asks for it has looked"
    if not await store.shard_owners():
        # To ask for the cluster would make one.
        raise ConfigError("no node has ever served this database")
    row = await store.cluster(config.shards)
    directory = RedisDirectory(config.redis, config.redis_prefix)
    try:
        await directory.start(row.cluster_id)
        yield directory
    finally:
        await directory.stop()

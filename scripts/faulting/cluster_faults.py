"""The faults of a cluster: each breaks one thing under play, mends it, and sees what came of it.

What others take over is measured by the rooms of the node that is hit: how long until one of them
tells anybody the outcome of a command that was sent after the hit. What nobody should notice is
expected to leave every shard where it is and every client in peace.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from protocol.client import Client, Options
from scripts.faulting.cluster import ClusterWorld
from scripts.faulting.nodes import Node
from scripts.faulting.players import REQUEST_TIMEOUT_MS
from scripts.faulting.relay import Relay

STOPPED_S = 10.0
CUT_S = 8.0
CUT_MORE_S = 3.0
REDIS_FROZEN_S = 30.0
REDIS_STOPPED_S = 10.0
EMPTY_S = 3.0  # What comes of a Redis that knows nothing comes within a few beats.
LET_GO_S = 2.0  # Who wakes and is no owner any more has let go of its clients by then.
DOWN_S = (0.3, 3.0)

# Stays where it is, whatever it hears: as somebody whose packets are lost does.
STRAGGLER = Options(
    silence_ms=REQUEST_TIMEOUT_MS,
    idle_timeout_ms=REQUEST_TIMEOUT_MS,
    close_timeout_ms=100,
    program="faults",
)


@dataclass
class ClusterMeasures:
    """Milliseconds, by what had happened."""

    after_kill_ms: list[int] = field(default_factory=list)
    after_stop_ms: list[int] = field(default_factory=list)
    after_cut_ms: list[int] = field(default_factory=list)
    after_redis_ms: list[int] = field(default_factory=list)
    after_postgres_ms: list[int] = field(default_factory=list)
    let_go_ms: list[int] = field(default_factory=list)
    gaps_ms: list[int] = field(default_factory=list)  # One a client and node that went and came.
    gaps_undisturbed_ms: list[int] = field(default_factory=list)
    drain_ms: list[int] = field(default_factory=list)
    stalls_ms: list[int] = field(default_factory=list)
    nodes_killed: int = 0
    owners_changed: Counter[str] = field(default_factory=Counter)


Injure = Callable[[ClusterWorld, ClusterMeasures, Random], Awaitable[None]]


# --- Nodes that die.


async def _victim(world: ClusterWorld, chance: Random) -> tuple[Node, list[int]]:
    """Return a node that has rooms, and these."""
    by_node = [(node, await world.rooms_of(node)) for node in world.nodes]
    return chance.choice([(node, rooms) for node, rooms in by_node if rooms])


async def kill(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """Kill a node and start it again after a while."""
    node, rooms = await _victim(world, chance)
    await _killed(world, measures, node, rooms)
    await _back(world, node, chance)


async def kill_draining(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """Kill a node that gives its rooms away."""
    node, rooms = await _victim(world, chance)
    node.server.drain()
    await asyncio.sleep(chance.uniform(0.0, 0.4))
    await _killed(world, measures, node, rooms)
    await _back(world, node, chance)


async def kill_taking(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """Kill a node that has just come back and is given rooms."""
    node, rooms = await _victim(world, chance)
    await _killed(world, measures, node, rooms)
    await node.start()
    await asyncio.sleep(chance.uniform(0.0, 1.0))
    await _killed(world, measures, node, await world.rooms_of(node))
    await _back(world, node, chance)


async def kill_giving(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """Kill a node that gives rooms to one that has just come back."""
    node, rooms = await _victim(world, chance)
    await _killed(world, measures, node, rooms)
    await node.start()
    await asyncio.sleep(chance.uniform(0.0, 1.0))
    giver = chance.choice([one for one in world.nodes if one is not node])
    await _killed(world, measures, giver, await world.rooms_of(giver))
    await _back(world, giver, chance)


async def kill_and_wipe(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """Kill a node in the moment in which Redis forgets everything."""
    node, rooms = await _victim(world, chance)
    world.redis.wipe()
    await _killed(world, measures, node, rooms)
    await _back(world, node, chance)


async def kill_while_redis_is_down(
    world: ClusterWorld, measures: ClusterMeasures, chance: Random
) -> None:
    """Kill a node of which the others learn only when Redis is back."""
    node, rooms = await _victim(world, chance)
    await asyncio.to_thread(world.redis.stop)
    await node.kill()
    measures.nodes_killed += 1
    await asyncio.sleep(chance.uniform(0.5, 3.0))
    await asyncio.to_thread(world.redis.start)
    measures.after_redis_ms += (await world.news(rooms, world.now_ns())).values()
    await _back(world, node, chance)


async def _killed(
    world: ClusterWorld, measures: ClusterMeasures, node: Node, rooms: Sequence[int]
) -> None:
    killed_ns = world.now_ns()
    await node.kill()
    measures.nodes_killed += 1
    measures.after_kill_ms += (await world.news(rooms, killed_ns)).values()


async def _back(world: ClusterWorld, node: Node, chance: Random) -> None:
    await asyncio.sleep(chance.uniform(*DOWN_S))
    await node.start()
    await world.settled()


# --- Nodes that stand still, or are cut off.


async def stop(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """Stop a node's process for long; when it wakes it lets go of whoever is still there."""
    node, rooms = await _victim(world, chance)
    straggler = Client(node.url, name="straggler", options=STRAGGLER)
    async with straggler:
        room = await straggler.join(room_id=rooms[0], watch=True)
        link = room.link
        stopped_ns, stalls = world.now_ns(), len(world.machine.stalls_ms)
        node.server.is_zombie = True
        node.server.freeze()
        try:
            measures.after_stop_ms += (await world.news(rooms, stopped_ns)).values()
            await asyncio.sleep(max(0.0, STOPPED_S - (world.now_ns() - stopped_ns) / 1e9))
        finally:
            node.server.thaw()
        woken_ns = world.now_ns()
        gone = await node.server.until(lambda: room.link is not link, LET_GO_S)
        if gone:
            measures.let_go_ms.append((world.now_ns() - woken_ns) // 1_000_000)
        elif len(world.machine.stalls_ms) == stalls:
            world.faults.append(f"{node.name} woke, and kept a client of a room that it had lost")
    await world.settled()


async def cut_postgres(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """Cut a node off from PostgreSQL: another takes over, and it can write nothing any more."""
    node, rooms = await _victim(world, chance)
    node.server.has_lost_storage = node.server.is_zombie = True
    cut_ns = world.now_ns()
    async with _held(node.postgres):
        measures.after_cut_ms += (await world.news(rooms, cut_ns)).values()
        await asyncio.sleep(chance.uniform(0.0, CUT_MORE_S))
    await world.settled()


async def cut_all(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """Leave a node nothing but its players: they have to find out by themselves."""
    node, rooms = await _victim(world, chance)
    node.server.has_lost_storage = node.server.is_zombie = True
    peers = [one.peers for one in world.nodes]
    cut_ns = world.now_ns()
    async with _held(node.redis, node.postgres, *peers):
        measures.after_cut_ms += (await world.news(rooms, cut_ns)).values()
        await asyncio.sleep(chance.uniform(0.0, CUT_MORE_S))
    await world.settled()


async def cut_redis(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """Cut a node off from Redis: it keeps its rooms."""
    node, _ = await _victim(world, chance)
    async with _unnoticed(world, measures, "cut_redis"), _held(node.redis):
        await asyncio.sleep(CUT_S)


async def cut_peers(world: ClusterWorld, measures: ClusterMeasures, _: Random) -> None:
    """Cut all nodes off from each other, but not from Redis."""
    async with (
        _unnoticed(world, measures, "cut_peers"),
        _held(*(node.peers for node in world.nodes)),
    ):
        await asyncio.sleep(CUT_S)


async def cut_redis_and_peers(
    world: ClusterWorld, measures: ClusterMeasures, chance: Random
) -> None:
    """Leave a node nothing but PostgreSQL and its players."""
    node, _ = await _victim(world, chance)
    peers = [one.peers for one in world.nodes]
    async with _unnoticed(world, measures, "cut_redis_and_peers"), _held(node.redis, *peers):
        await asyncio.sleep(CUT_S)


@asynccontextmanager
async def _held(*relays: Relay) -> AsyncIterator[None]:
    """Let nothing through, and lose nothing."""
    for relay in relays:
        relay.hold()
    try:
        yield
    finally:
        for relay in relays:
            relay.let_go()


@asynccontextmanager
async def _unnoticed(
    world: ClusterWorld, measures: ClusterMeasures, what: str
) -> AsyncIterator[None]:
    """Expect that nobody notices: no shard moves, no client is troubled, play goes on."""
    holdings, troubles = await world.holdings(), world.troubles()
    stalls = len(world.machine.stalls_ms)
    yield
    await world.news(world.rooms, world.now_ns())
    await world.settled()
    after = await world.holdings()
    moved = sum(after[shard] != held for shard, held in holdings.items())
    measures.owners_changed[what] += moved
    if len(world.machine.stalls_ms) > stalls:
        return  # Whoever stands still has to be taken over from.
    if moved:
        world.faults.append(f"{what}: {moved} shards have another owner")
    if troubled := world.troubles() - troubles:
        world.faults.append(f"{what}: clients noticed: {dict(troubled)}")


# --- Redis and PostgreSQL.


async def redis_wiped(world: ClusterWorld, measures: ClusterMeasures, _: Random) -> None:
    """Let Redis forget everything."""
    async with _unnoticed(world, measures, "redis_wiped"):
        world.redis.wipe()
        await asyncio.sleep(EMPTY_S)


async def redis_killed(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """Kill Redis, and start it empty."""
    async with _unnoticed(world, measures, "redis_killed"):
        await asyncio.to_thread(world.redis.kill)
        await asyncio.sleep(chance.uniform(0.0, 3.0))
        await asyncio.to_thread(world.redis.start)
        await asyncio.sleep(EMPTY_S)


async def redis_stopped(world: ClusterWorld, measures: ClusterMeasures, _: Random) -> None:
    """End Redis in order for a while, and start it empty."""
    async with _unnoticed(world, measures, "redis_stopped"):
        await asyncio.to_thread(world.redis.stop)
        await asyncio.sleep(REDIS_STOPPED_S)
        await asyncio.to_thread(world.redis.start)
        await asyncio.sleep(EMPTY_S)


async def redis_frozen(world: ClusterWorld, measures: ClusterMeasures, _: Random) -> None:
    """Let Redis stand still for 30 s: connections to it stay, and stay silent."""
    async with _unnoticed(world, measures, "redis_frozen"):
        world.redis.freeze()
        try:
            await asyncio.sleep(REDIS_FROZEN_S)
        finally:
            world.redis.thaw()
        await asyncio.sleep(EMPTY_S)


async def postgres_stopped(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """Stop PostgreSQL at once and start it again: everybody waits, and nobody takes anything."""
    holdings = await world.holdings()
    for node in world.nodes:
        node.server.has_lost_storage = True
    await world.database.stop_now()
    await asyncio.sleep(chance.uniform(0.0, 6.0))
    await world.database.start_again()
    measures.after_postgres_ms += (await world.news(world.rooms, world.now_ns())).values()
    await world.settled()
    after = await world.holdings()
    moved = sum(after[shard] != held for shard, held in holdings.items())
    measures.owners_changed["postgres_stopped"] += moved
    if moved:
        world.faults.append(f"postgres_stopped: {moved} shards have another owner")


# --- A new release.


async def rolling(world: ClusterWorld, measures: ClusterMeasures, chance: Random) -> None:
    """End each node in order, one after the other, and start it again, as a release does."""
    for node in chance.sample(world.nodes, len(world.nodes)):
        for player in world.players:
            player.take_gap_ms()
        asked_ns = world.now_ns()
        code = await node.drain()
        measures.drain_ms.append((world.now_ns() - asked_ns) // 1_000_000)
        if code:
            world.faults.append(f"{node.name} ended with {code}: {node.server.last_words()}")
        await node.start()
        await world.settled()
        measures.gaps_ms += [player.take_gap_ms() for player in world.players]


FAULTS: dict[str, Injure] = {
    "kill": kill,
    "kill_draining": kill_draining,
    "kill_taking": kill_taking,
    "kill_giving": kill_giving,
    "kill_and_wipe": kill_and_wipe,
    "kill_while_redis_is_down": kill_while_redis_is_down,
    "stop": stop,
    "cut_postgres": cut_postgres,
    "cut_all": cut_all,
    "cut_redis": cut_redis,
    "cut_peers": cut_peers,
    "cut_redis_and_peers": cut_redis_and_peers,
    "redis_wiped": redis_wiped,
    "redis_killed": redis_killed,
    "redis_stopped": redis_stopped,
    "redis_frozen": redis_frozen,
    "postgres_stopped": postgres_stopped,
    "rolling": rolling,
}

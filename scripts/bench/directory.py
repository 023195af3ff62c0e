"""What one Redis carries: beats of many nodes that share many shards.

Counted is processor time, the server's own and that of one node's side, so that other programs on
the machine hardly matter.

    .venv/bin/python -m scripts.bench.directory [--nodes 100] [--shards 4096] [--beats 1000]
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from gameserver.runtime.assignment import Candidate, claims, desired, handovers
from persistence.directory import ClusterView, NodeRecord
from persistence.redis.connection import Connections
from persistence.redis.directory import RedisDirectory
from scripts.redis_server import Engine, RedisServer

CLUSTER_ID = "bench"
LEASE_MS = 10_000  # Nodes beat one after the other here; none must lapse before its turn.
BEATS_PER_S = 2.5


@dataclass(frozen=True)
class Cost:
    """What one beat costs, in ms of processor time, and the bytes of its answer."""

    redis_ms: float
    node_ms: float
    deciding_ms: float
    answer_bytes: float


def record(number: int) -> NodeRecord:
    """Return what a node says of itself."""
    return NodeRecord(
        name=f"node-{number}.gameserver:7352",
        instance=f"{number:016x}",
        url=f"wss://node-{number}.play.example.net/ws",
        peer=f"node-{number}.gameserver:7400",
        weight=1_000,
        load=400,
        rooms=100,
        connections=1_000,
        rules=(("conquest", 1), ("keno", 1), ("quiz", 1)),
        started_ms=1_800_000_000_000,
        draining=False,
    )


async def used(connections: Connections) -> tuple[float, float]:
    """Return the server's processor time in ms, and the bytes that it has sent."""
    text = ""
    for section in ("cpu", "stats"):
        answer = await connections.call("INFO", section)
        text += answer.decode() if isinstance(answer, bytes) else answer
    pairs = (line.partition(":")[::2] for line in text.splitlines())
    found: Mapping[str, str] = {name: value for name, value in pairs if value}
    cpu_s = float(found["used_cpu_user"]) + float(found["used_cpu_sys"])
    return 1_000 * cpu_s, float(found["total_net_output_bytes"])


def decide(view: ClusterView, me: str, shards: int) -> None:
    """Do what a node does with the answer to each of its beats."""
    nodes = [
        Candidate(one.name, one.weight, one.load, dict(one.rules), one.draining)
        for one in view.nodes
    ]
    assert claims(me, shards, nodes, view.leases) == []
    assert handovers(me, shards, nodes, view.leases, 8) == []


async def measured(url: str, nodes: int, shards: int, beats: int) -> Cost:
    """Let nodes beat in turn, all shards being owned."""
    records = [record(number) for number in range(nodes)]
    candidates = [Candidate(one.name, one.weight, 0, dict(one.rules)) for one in records]
    held: dict[str, list[int]] = {one.name: [] for one in records}
    for shard, name in desired(shards, candidates, {}).items():
        held[name].append(shard)
    directory, connections = RedisDirectory(url, "bench"), Connections(url)
    await directory.start(CLUSTER_ID)
    for one in records:
        await directory.beat(one, held[one.name], LEASE_MS)
    redis_ms, sent = await used(connections)
    node_s = deciding_s = 0.0
    for number in range(beats):
        one = records[number % nodes]
        began_s = time.process_time()
        view = await directory.beat(one, held[one.name], LEASE_MS)
        beaten_s = time.process_time()
        decide(view, one.name, shards)
        node_s += beaten_s - began_s
        deciding_s += time.process_time() - beaten_s
    redis_after_ms, sent_after = await used(connections)
    await directory.stop()
    await connections.close()
    return Cost(
        (redis_after_ms - redis_ms) / beats,
        1_000 * node_s / beats,
        1_000 * deciding_s / beats,
        (sent_after - sent) / beats,
    )


async def all_measured(sizes: Sequence[tuple[int, int]], beats: int) -> None:
    """Measure each size on a server of its own, and print."""
    print(f"{'':24} {'Redis':>9} {'of its core':>11} {'node':>9} {'deciding':>9} {'answer':>10}")
    for nodes, shards in sizes:
        with tempfile.TemporaryDirectory(prefix="gs-bench-") as folder:
            server = RedisServer(Path(folder), Engine.VALKEY)
            await asyncio.to_thread(server.start)
            try:
                cost = await measured(server.url, nodes, shards, beats)
            finally:
                await asyncio.to_thread(server.kill)
        share = cost.redis_ms * nodes * BEATS_PER_S / 10
        print(
            f"{nodes:4} nodes, {shards:5} shards  {cost.redis_ms:6.2f} ms {share:9.1f} % "
            f"{cost.node_ms:6.2f} ms {cost.deciding_ms:6.2f} ms {cost.answer_bytes / 1024:6.1f} KiB"
        )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--shards", type=int, default=4_096)
    parser.add_argument("--beats", type=int, default=1_000)
    arguments = parser.parse_args()
    print(f"command: python -m scripts.bench.directory {' '.join(sys.argv[1:])}".rstrip())
    sizes = [(3, 64), (20, 1_024), (arguments.nodes, arguments.shards)]
    uvloop.run(all_measured(sizes, arguments.beats))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What it costs to share the work: processor time per delivered frame with one node and with two.

The same bots play the same game on one node and on a cluster of two, in turns; each cluster has a
PostgreSQL and a Valkey of its own. Rooms are spread over all nodes. Counted are the processor time
of the nodes alone and the frames that they wrote. Whatever a node does in every slot costs less for
each frame the more it has to send: with ``--each`` every node has as much to do as the single one.

    .venv/bin/python -m scripts.bench.workers [--nodes 2] [--clients 200] [--rooms 20] [--rate 2]
        [--duration 20] [--runs 3] [--each]
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from persistence.embedded import EmbeddedPostgres
from scripts.bench.play import counted, cpu_s
from scripts.redis_server import RedisServer

TARGET = 1.15
ADMIN_PORT = 17_360
SETTLE_S = 6.0  # Nodes give each other their shares, four shards a beat.
FRAMES, CONNECTED = "gameserver_frames_out_total", "player_connected_count"
SAMPLE_S = 1.0


@contextmanager
def node(folder: Path, flags: Sequence[str], number: int) -> Iterator[tuple[str, str, int]]:
    """Run a node; give where to play, where to ask, and its process id."""
    command = [sys.executable, "-m", "gameserver", "serve", "--port", "0", "--log-format", "json"]
    command += ["--admin-port", str(ADMIN_PORT + number), "--node-name", f"n{number}"]
    command += ["--data-dir", str(folder / f"n{number}"), *flags]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"server_ready"' in line:
                ready = json.loads(line)
                break
        else:
            raise RuntimeError("the node did not become ready")
        try:
            yield ready["play"], ready["admin"], process.pid
        finally:
            process.terminate()


def measured(arguments: argparse.Namespace, folder: Path, nodes: int, dsn: str) -> float:
    """Play on so many nodes; return microseconds of processor time for each frame."""
    redis = RedisServer(folder / "redis")
    redis.start()
    flags = ("--postgres", dsn, "--redis", redis.url, "--keys", str(folder / "keys.json"))
    try:
        with ExitStack() as stack:
            running = [stack.enter_context(node(folder, flags, at)) for at in range(nodes)]
            time.sleep(SETTLE_S if nodes > 1 else 1.0)
            return _played(arguments, running)
    finally:
        redis.stop()


def _played(arguments: argparse.Namespace, running: Sequence[tuple[str, str, int]]) -> float:
    """Let each node be the home of its share of the bots, and take the time when all are there."""
    parts = 1 if arguments.each else len(running)
    share, rooms = arguments.clients // parts, arguments.rooms // parts
    command = [sys.executable, "-m", "scripts.loadtest"]
    common = ["--game", "keno", "--rate", str(arguments.rate), "--procs", "1", "--quiet"]
    common += ["--clients", str(share), "--rooms", str(rooms)]
    common += ["--duration", str(arguments.duration), "--verify-interval", "60"]
    playing = [subprocess.Popen([*command, play, *common]) for play, _, _ in running]
    samples: list[tuple[float, float]] = []
    while any(bots.poll() is None for bots in playing):
        time.sleep(SAMPLE_S)
        told = [counted(admin) for _, admin, _ in running]
        if sum(one[CONNECTED] for one in told) >= share * len(running):
            time_s = sum(cpu_s(pid) for _, _, pid in running)
            samples.append((time_s, sum(one[FRAMES] for one in told)))
    if any(bots.returncode for bots in playing):
        raise RuntimeError("a bot found something wrong")
    (first_s, first), (last_s, last) = samples[0], samples[-1]
    return 1e6 * (last_s - first_s) / (last - first)


async def compared(arguments: argparse.Namespace) -> dict[int, list[float]]:
    """Return the costs by the number of nodes, measured in turns."""
    costs: dict[int, list[float]] = {1: [], arguments.nodes: []}
    for _ in range(arguments.runs):
        for nodes, ones in costs.items():
            with tempfile.TemporaryDirectory(prefix="gs-bench-") as name:
                folder = Path(name)
                async with EmbeddedPostgres(folder / "postgres") as server:
                    cost = await asyncio.to_thread(measured, arguments, folder, nodes, server.dsn)
            ones.append(round(cost, 1))
    return costs


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rooms", type=int, default=20)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--duration", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--each", action="store_true", help="clients and rooms are each node's")
    arguments = parser.parse_args()
    print(f"command: python -m scripts.bench.workers {' '.join(sys.argv[1:])}".rstrip())
    costs = asyncio.run(compared(arguments))
    medians = {nodes: statistics.median(ones) for nodes, ones in costs.items()}
    for nodes, ones in costs.items():
        print(f"{nodes} node{'s' * (nodes > 1)}: {medians[nodes]:.1f} µs per frame {ones}")
    ratio = medians[arguments.nodes] / medians[1]
    print(f"ratio {ratio:.2f} (target: at most {TARGET})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

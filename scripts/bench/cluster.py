"""A hundred nodes and 4,096 shards on paper: balance, movement, and recovery when many die.

The server's own assignment decides; time is virtual, and what takes time in the world is given:
what a room's recovery costs its node and its database is printed by `scripts.bench.opening`.

    .venv/bin/python -m scripts.bench.cluster [--nodes 100] [--shards 4096] [--rooms-per-shard 25]
        [--room-cpu-ms MS] [--database-rooms-s N] [--databases N] [--load 400] [--json FILE]
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from gameserver.runtime.assignment import HOT_LOAD
from scripts.bench.cluster_model import Cluster, Speeds

SKEW = 1.1  # The tail of how busy shards are: some are ten times as busy as most.


@dataclass(frozen=True)
class Step:
    """What one change did to the cluster."""

    title: str
    nodes: int
    moved: int
    share: int
    most_over_mean: float
    seconds: float


@dataclass(frozen=True)
class Outage:
    """How long rooms were away, from the death of their nodes to their first tick elsewhere."""

    title: str
    shards: int
    rooms: int
    shards_taken_s: float
    p50_s: float
    p99_s: float
    last_s: float
    most_over_mean: float


@dataclass(frozen=True)
class Heat:
    """What moving shards for their load did."""

    moved: int
    hottest_before: int
    hottest_after: int
    hot_before: int
    hot_after: int
    mean: int
    seconds: float


class Trial:
    """A cluster, and what is done to it step by step."""

    def __init__(self, arguments: argparse.Namespace, speeds: Speeds) -> None:
        self.count: int = arguments.nodes
        self.cluster = Cluster(arguments.shards, speeds, arguments.seed)
        self.names = [f"node-{number}" for number in range(self.count)]
        self._made = self.count
        self._dice = random.Random(arguments.seed)
        per_shard = arguments.load * arguments.nodes / arguments.shards
        self.cluster.costs = dict.fromkeys(range(arguments.shards), per_shard)

    def step(self, title: str, share: int, change: Callable[[], None]) -> Step:
        """Change something, wait until nothing moves, and say what that took.

        ``share``: how many shards those have, or should get, who come or go.
        """
        cluster = self.cluster
        before = cluster.taken + cluster.handed_over
        change()
        took_ms = cluster.settle()
        moved = cluster.taken + cluster.handed_over - before
        return Step(title, len(self.names), moved, share, self.balance(), took_ms / 1000)

    def balance(self) -> float:
        """Return how many shards the node with most has, over what they have on the average."""
        held = self.cluster.held()
        return max(held) / statistics.fmean(held)

    def come(self, count: int) -> Step:
        """Start nodes."""
        new = [f"node-{self._made + number}" for number in range(count)]
        self._made += count
        self.names += new
        share = self.cluster.shards * count // len(self.names)
        return self.step(f"{count} come", share, lambda: self.cluster.start(new))

    def go(self, count: int) -> Step:
        """Drain nodes."""
        gone, share = self._some(count)
        return self.step(f"{count} go", share, lambda: self.cluster.drain(gone))

    def die(self, count: int) -> Step:
        """Kill nodes, and let the others see it."""
        gone, share = self._some(count)
        return self.step(f"{count} die", share, lambda: self.cluster.kill(gone, seen=True))

    def outage(self, title: str, count: int, seen: bool) -> Outage:
        """Kill nodes at once and say how long their rooms were away."""
        gone, shards = self._some(count)
        cluster = self.cluster
        cluster.room_open_ms.clear()
        began_ms = cluster.now_ms
        cluster.kill(gone, seen)
        cluster.settle()
        rooms_s = sorted((at_ms - began_ms) / 1000 for at_ms in cluster.room_open_ms)
        taken_s = (cluster.taken_ms - began_ms) / 1000
        over = self.balance()
        p50_s, p99_s = rooms_s[len(rooms_s) // 2], rooms_s[len(rooms_s) * 99 // 100]
        return Outage(title, shards, len(rooms_s), taken_s, p50_s, p99_s, rooms_s[-1], over)

    def heat(self) -> Heat:
        """Make some shards much busier than others and let hot nodes shed them."""
        cluster = self.cluster
        total = sum(cluster.costs.values())
        tail = {shard: min(self._dice.paretovariate(SKEW), 40) for shard in cluster.costs}
        scale = total / sum(tail.values())
        cluster.reload({shard: scale * one for shard, one in tail.items()})
        before, handed = cluster.loads(), cluster.handed_over
        took_ms = cluster.settle()
        after = cluster.loads()
        return Heat(
            moved=cluster.handed_over - handed,
            hottest_before=round(max(before)),
            hottest_after=round(max(after)),
            hot_before=sum(1 for load in before if load >= HOT_LOAD),
            hot_after=sum(1 for load in after if load >= HOT_LOAD),
            mean=round(statistics.fmean(after)),
            seconds=took_ms / 1000,
        )

    def _some(self, count: int) -> tuple[Collection[str], int]:
        gone = self._dice.sample(self.names, count)
        self.names = [name for name in self.names if name not in gone]
        return gone, sum(1 for name in self.cluster.owners.values() if name in gone)


def steps(arguments: argparse.Namespace, speeds: Speeds) -> tuple[list[Step], Heat]:
    """Start a cluster, let nodes come and go one by one and ten at a time, then heat it."""
    trial = Trial(arguments, speeds)
    tenth = max(trial.count // 10, 1)
    all_ = trial.cluster.shards
    found = [trial.step("all start", all_, lambda: trial.cluster.start(trial.names))]
    changes = (trial.go, trial.come, trial.die, trial.come)
    found += [added([change(1) for _ in range(tenth)]) for change in changes]
    found += [change(tenth) for change in changes]
    return found, trial.heat()


def added(several: Sequence[Step]) -> Step:
    """Return several steps as one line: all that moved, the worst balance, the longest time."""
    last = several[-1]
    return Step(
        title=f"{len(several)} × {last.title}",
        nodes=last.nodes,
        moved=sum(one.moved for one in several),
        share=sum(one.share for one in several),
        most_over_mean=max(one.most_over_mean for one in several),
        seconds=max(one.seconds for one in several),
    )


def outages(arguments: argparse.Namespace, speeds: Speeds) -> list[Outage]:
    """Kill a tenth of the nodes at once, seen by the others or not."""
    found = []
    tenth = max(arguments.nodes // 10, 1)
    for title, seen in (("processes killed", True), ("machines frozen or cut off", False)):
        trial = Trial(arguments, speeds)
        trial.cluster.start(trial.names)
        trial.cluster.settle()
        found.append(trial.outage(title, tenth, seen))
    return found


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--shards", type=int, default=4096)
    parser.add_argument("--load", type=int, default=400, help="per mille of a core, on average")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", type=Path)
    for one in fields(Speeds):
        flag = "--" + one.name.replace("_", "-")
        parser.add_argument(flag, type=type(one.default), default=one.default)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Simulate and print."""
    arguments = parsed(argv)
    print(f"command: python -m scripts.bench.cluster {' '.join(argv)}".rstrip())
    speeds = Speeds(**{one.name: getattr(arguments, one.name) for one in fields(Speeds)})
    began_s = time.perf_counter()
    changes, heat = steps(arguments, speeds)
    print(f"{'':22} {'nodes':>5} {'moved':>6} {'share':>6} {'max/mean':>9} {'seconds':>8}")
    for one in changes:
        print(
            f"{one.title:22} {one.nodes:5} {one.moved:6} {one.share:6} "
            f"{one.most_over_mean:9.3f} {one.seconds:8.1f}"
        )
    print(
        f"load: {heat.moved} shards moved in {heat.seconds:.0f} s; hottest {heat.hottest_before} → "
        f"{heat.hottest_after} per mille (mean {heat.mean}), hot nodes {heat.hot_before} → "
        f"{heat.hot_after}"
    )
    lost = outages(arguments, speeds)
    for outage in lost:
        print(
            f"{outage.title}: {outage.shards} shards, "
            f"all taken after {outage.shards_taken_s:.2f} s\n"
            f"  {outage.rooms} rooms back: p50 {outage.p50_s:.2f} s, p99 {outage.p99_s:.2f} s, "
            f"last {outage.last_s:.2f} s; max/mean {outage.most_over_mean:.3f}"
        )
    print(f"simulated in {time.perf_counter() - began_s:.0f} s")
    if arguments.json is not None:
        report = {
            "arguments": {name: value for name, value in vars(arguments).items() if name != "json"},
            "changes": [asdict(one) for one in changes],
            "load": asdict(heat),
            "outages": [asdict(one) for one in lost],
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

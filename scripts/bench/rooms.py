"""How many players one core carries: rooms of 10 or 50 in which something changes in every tick.

Twenty ticks a second; each player sends two commands a second, and each changes one field. The
server has a core, the load client another one, which it shares with PostgreSQL when every tick is
durable. The number of players grows until they get less than 95 % of their updates, or until the
99th percentile from a command to the update that shows it passes 150 ms.

    .venv/bin/python -m scripts.bench.rooms [--contestants ours,peers] [--size 10|50]
        [--players N] [--from 1000] [--step 1000] [--most 12000] [--runs 1] [--seconds 10]
        [--json FILE]

Contestants are memory and durable (ours), colyseus, ws, websockets, and bare, which is Python that
only writes prepared frames (peers); they take turns, ``runs`` times each. With ``--players`` that
one number is measured, which takes 20 seconds each:

    .venv/bin/python -m scripts.bench.rooms --players 3000 --seconds 8 --contestants memory
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scripts.bench.contestants import Contestant, Scene, add_flag, contestants
from scripts.bench.loading import Played
from scripts.bench.measuring import Cores, Range, Withheld, head, two_cores, write_report

RATE_MIN, P99_MS_MAX = 0.95, 150.0
TITLES = (
    f"{'':14} {'players':>7} {'rate':>6} {'p50 ms':>7} {'p99 ms':>7} {'server':>7} "
    f"{'client':>7} {'its core':>8} {'µs/update':>9} {'bytes':>6} {'bytes/s':>8}"
)


def holds(one: Played) -> bool:
    """Tell whether the players got what they should get."""
    return one.rate >= RATE_MIN and one.p99_ms <= P99_MS_MAX and not one.report["lost"]


def capacity(does_hold: Callable[[int], bool], first: int, step: int, most: int) -> int:
    """Return the greatest number of players that was held, within half a step; 0 if none was."""
    held, players = 0, first
    while players <= most:
        if not does_hold(players):
            between = held + (players - held) // 2
            return between if held and does_hold(between) else held
        held = players
        players += step
    return held


def line(name: str, players: int, one: Played) -> str:
    """Return a line of the table."""
    report, use = one.report, one.use
    doubts = f"  ({'; '.join(one.doubts)})" if one.doubts else ""
    return (
        f"{name:14} {players:7,} {one.rate:6.3f} {report['visible_ms_p50']:7.1f} "
        f"{one.p99_ms:7.1f} {use.server_share:7.1%} {report['load_cpu_share']:7.1%} "
        f"{use.load_core_share:8.1%} {one.us_per_delta:9.2f} {report['delta_bytes']:6.1f} "
        f"{report['bytes_each_s']:8,.0f}{doubts}"
    )


class Contest:
    """Measures contestants in turns, prints each run, and keeps all of it."""

    def __init__(self, arguments: argparse.Namespace, cores: Cores) -> None:
        self._arguments = arguments
        self._cores = cores
        self._everybody = contestants(arguments.contestants)
        self.runs: list[dict[str, Any]] = []
        self.withheld: dict[str, str] = {}

    def in_turns(self, measure: Callable[[str, Contestant], float]) -> dict[str, list[float]]:
        """Measure everybody once in each round; who cannot be measured is left out."""
        figures: dict[str, list[float]] = {}
        for _ in range(self._arguments.runs):
            for name, contestant in self._everybody.items():
                if name in self.withheld:
                    continue
                try:
                    figure = measure(name, contestant)
                except Withheld as why:
                    self.withheld[name] = str(why)
                    print(f"{name:14} withheld: {why}", flush=True)
                else:
                    figures.setdefault(name, []).append(figure)
        return figures

    def run(self, name: str, contestant: Contestant, players: int) -> Played:
        """Let so many play."""
        wanted = self._arguments
        scene = Scene(players, wanted.size, wanted.rate, wanted.seconds, wanted.warm)
        one = contestant(scene, self._cores)
        print(line(name, players, one), flush=True)
        self.runs.append({"contestant": name, "players": players, **one.figures()})
        return one

    def grown(self, name: str, contestant: Contestant) -> float:
        """Return how many players a contestant carries."""
        wanted = self._arguments

        def does_hold(players: int) -> bool:
            try:
                return holds(self.run(name, contestant, players))
            except Withheld as why:
                if not any(run["contestant"] == name for run in self.runs):
                    raise
                print(f"{name:14} {players:7,} do not come in: {why}", flush=True)
                return False

        return capacity(does_hold, wanted.first, wanted.step, wanted.most)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_flag(parser)
    parser.add_argument("--size", type=int, choices=(10, 50), default=10)
    parser.add_argument("--players", type=int)
    parser.add_argument("--from", dest="first", type=int, default=1000)
    parser.add_argument("--step", type=int, default=1000)
    parser.add_argument("--most", type=int, default=12_000)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warm", type=float, default=3.0)
    parser.add_argument("--json", metavar="FILE", type=Path)
    return parser.parse_args(argv)


def summary(arguments: argparse.Namespace, contest: Contest) -> dict[str, Any]:
    """Measure everybody, print what it comes to, and return it for the report."""
    found: dict[str, Any] = {}
    if arguments.players is None:
        for name, figures in contest.in_turns(contest.grown).items():
            carried = Range.of(figures)
            print(f"{name:14} carries {carried.text(0)} players")
            found[name] = {"players": carried.median, "of": figures}
        return found

    def cost(name: str, contestant: Contestant) -> float:
        return contest.run(name, contestant, arguments.players).us_per_delta

    costs = contest.in_turns(cost)
    least = min((Range.of(ones).median for ones in costs.values()), default=1.0)
    for name, ones in costs.items():
        median = Range.of(ones)
        print(
            f"{name:14} {median.text(2)} µs an update, {median.median / least:.2f} times the least"
        )
        found[name] = {"us_per_update": median.median, "of": ones}
    return found


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    arguments = parsed(argv)
    report = head("scripts.bench.rooms", argv)
    try:
        contest = Contest(arguments, two_cores())
    except Withheld as why:
        print(f"withheld: {why}")
        write_report(arguments.json, report | {"withheld": str(why)})
        return 0
    print(TITLES)
    found = summary(arguments, contest)
    print(f"(held: rate at least {RATE_MIN:.0%}, p99 at most {P99_MS_MAX:.0f} ms)")
    report |= {"summary": found, "withheld": contest.withheld, "runs": contest.runs}
    write_report(arguments.json, report)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

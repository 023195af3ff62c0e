"""What a connection costs in memory, how many come in a second, and how soon all are back.

Idle ones have said hello and see no room; those that play sit in rooms of 10 in which something
changes in every tick, send two commands a second each, and play until what is kept of their past
(30 seconds of updates, the last 64 command numbers) is as much as it gets. More than 5,000 are more
than a core serves at that pace: then something changes once a second, and they send a command
every ten. Counted is by how much the server's own memory grew; what the kernel keeps for its
sockets is not in it. PostgreSQL stores for our server, so that its memory is not that of a store.
In a storm all connections break at once and come back at once, each with its token and for what
it has missed.

    .venv/bin/python -m scripts.bench.connections [--connections 1000,5000,15000]
        [--contestants durable,peers] [--idle 5] [--playing 40] [--runs 1] [--json FILE]
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripts.bench.contestants import CALM_GAME, OURS, Scene, add_flag, contestants
from scripts.bench.loading import Played
from scripts.bench.measuring import Range, Withheld, head, two_cores, write_report

TARGET_KIB = 8
RATE, CALM_RATE = 2.0, 0.1
CALM_FROM = 5_001
Figure = tuple[str, str, int, str]  # Contestant, state, connections, and what it is of.


def line(name: str, what: str, one: Played) -> str:
    """Return a line of the table."""
    report, count = one.report, one.report["connections"]
    if what == "storm":
        told = (
            f"half back after {report['back_ms_p50'] / 1000:.2f} s, all after "
            f"{report['back_ms_max'] / 1000:.2f} s, {report['gapless'] / count:.1%} without a gap"
        )
    else:
        came_s = count / max(report["ramp_s"], 1e-9)
        told = f"{one.bytes_each / 1024:8.1f} KiB each, {came_s:7,.0f} came in a second"
    doubts = f"  ({'; '.join(one.doubts)})" if one.doubts else ""
    return f"{name:14} {what:8} {count:7,}  {told}{doubts}"


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--connections", default="1000,5000,15000")
    add_flag(parser, "durable")
    parser.add_argument("--idle", type=float, default=5.0)
    parser.add_argument("--playing", type=float, default=40.0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", type=Path)
    return parser.parse_args(argv)


def scenes(count: int, arguments: argparse.Namespace) -> dict[str, Scene]:
    """Return the ways in which so many connections are kept."""
    game, rate = (CALM_GAME, CALM_RATE) if count >= CALM_FROM else ("", RATE)
    return {
        "idle": Scene(count, 10, 0.0, arguments.idle, 0.0, plays=False),
        "playing": Scene(count, 10, rate, 1.0, arguments.playing, game=game),
        "storm": Scene(count, 10, 0.0, 2.0, 2.0, storm=True, game=game),
    }


def measured(arguments: argparse.Namespace, told: Callable[[dict[str, Any]], None]) -> None:
    """Measure everybody with every number of connections, in turns."""
    cores = two_cores()
    counts = list(map(int, arguments.connections.split(",")))
    for count in counts * arguments.runs:
        for what, scene in scenes(count, arguments).items():
            # At a peer one cannot be without being in a room.
            names = arguments.contestants
            names = names if what == "playing" else [name for name in names if name in OURS]
            for name, contestant in contestants(names).items():
                try:
                    one = contestant(scene, cores)
                except Withheld as why:
                    print(f"{name:14} {what:8} {count:7,} withheld: {why}", flush=True)
                    told({"contestant": name, "state": what, "withheld": str(why)})
                    continue
                print(line(name, what, one), flush=True)
                told({"contestant": name, "state": what, **one.figures()})


def summary(runs: Sequence[dict[str, Any]]) -> dict[Figure, Range]:
    """Return the medians of what was measured several times."""
    found: dict[Figure, list[float]] = {}
    for run in runs:
        if "withheld" in run:
            continue
        storm = {"all back after s": run["back_ms_max"] / 1000}
        came = {
            "KiB each": run["memory_bytes_each"] / 1024,
            "came in a second": run["connections"] / max(run["ramp_s"], 1e-9),
        }
        for what, figure in (storm if run["state"] == "storm" else came).items():
            key = (run["contestant"], run["state"], run["connections"], what)
            found.setdefault(key, []).append(figure)
    return {key: Range.of(figures) for key, figures in found.items()}


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    arguments = parsed(argv)
    report = head("scripts.bench.connections", argv)
    runs: list[dict[str, Any]] = []
    try:
        measured(arguments, runs.append)
    except Withheld as why:
        print(f"withheld: {why}")
        report["withheld"] = str(why)
    medians = summary(runs)
    if arguments.runs > 1:
        for (name, what, count, of), found in medians.items():
            print(f"{name:14} {what:8} {count:7,}  {found.text()} {of}")
    print(f"(target: one that plays under {TARGET_KIB} KiB)")
    told = {" ".join(map(str, key)): asdict(found) for key, found in medians.items()}
    write_report(arguments.json, report | {"summary": told, "runs": runs})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

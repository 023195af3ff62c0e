"""One room with thousands of viewers: one that changes in every tick, and one of keno.

In the room of keno a round takes five seconds, and little changes in between. The server has a
core, the load client another one. Given is how many updates a second a viewer got, how long after
the first viewer of a tick the last one had it (the 99th percentile of ticks), and the server's
processor time for each frame.

    .venv/bin/python -m scripts.bench.wide [--viewers 5000] [--contestants memory,durable]
        [--games bench10,keno] [--runs 3] [--seconds 8] [--json FILE]
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripts.bench.contestants import Scene, add_flag, contestants
from scripts.bench.loading import Played
from scripts.bench.measuring import Range, Withheld, head, two_cores, write_report

TARGET_SPREAD_MS = 40


def line(name: str, one: Played) -> str:
    """Return a line of the table."""
    report, use = one.report, one.use
    doubts = f"  ({'; '.join(one.doubts)})" if one.doubts else ""
    return (
        f"{name:22} {report['connections']:7,} viewers  {report['deltas_each_s']:5.2f} a second "
        f"(least {report['deltas_each_s_worst']:.2f})  spread {report['spread_ms_p99']:6.1f} ms  "
        f"server {use.server_share:6.1%}  {one.us_per_delta:6.2f} µs a frame{doubts}"
    )


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--viewers", type=int, default=5_000)
    add_flag(parser)
    parser.add_argument("--games", default="bench10,keno")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--json", metavar="FILE", type=Path)
    return parser.parse_args(argv)


def measured(arguments: argparse.Namespace) -> dict[str, list[Played]]:
    """Let all take turns with every game."""
    cores = two_cores()
    viewers, seconds = arguments.viewers, arguments.seconds
    runs: dict[str, list[Played]] = {}
    for _ in range(arguments.runs):
        for game in arguments.games.split(","):
            # All but one watch: nobody sends commands.
            scene = Scene(viewers, viewers, 0.0, seconds, 2.0, game=game)
            for who, contestant in contestants(arguments.contestants).items():
                name = f"{who}, {game}"
                one = contestant(scene, cores)
                print(line(name, one), flush=True)
                runs.setdefault(name, []).append(one)
    return runs


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    arguments = parsed(argv)
    report = head("scripts.bench.wide", argv)
    summary: dict[str, Any] = {}
    runs: dict[str, list[Played]] = {}
    try:
        runs = measured(arguments)
    except Withheld as why:
        print(f"withheld: {why}")
        report["withheld"] = str(why)
    for name, ones in runs.items():
        updates_s = Range.of([one.report["deltas_each_s"] for one in ones])
        spread_ms = Range.of([one.report["spread_ms_p99"] for one in ones])
        us_per_frame = Range.of([one.us_per_delta for one in ones])
        print(
            f"{name:22} {updates_s.text()} a second, spread {spread_ms.text()} ms, "
            f"{us_per_frame.text(2)} µs a frame"
        )
        summary[name] = {
            "updates_s": asdict(updates_s),
            "spread_ms": asdict(spread_ms),
            "us_per_frame": asdict(us_per_frame),
        }
    print(
        f"(target where every tick changes: 20 a second for everybody, spread p99 under "
        f"{TARGET_SPREAD_MS} ms)"
    )
    figures = {name: [one.figures() for one in ones] for name, ones in runs.items()}
    write_report(arguments.json, report | {"summary": summary, "runs": figures})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How many bytes a player is sent in a second for the same play, by our server and by the peers.

Rooms of 10 in which something changes in every tick; each player sends two commands a second, and
each changes one field. Counted are frames with their heads, and nothing of TCP. The load is small:
what is counted hardly depends on how busy the machine is.

    .venv/bin/python -m scripts.bench.wire [--contestants memory,peers] [--players 100] [--rate 2]
        [--runs 3] [--seconds 5] [--json FILE]
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

TARGET_BYTES = 17


def figures(runs: Sequence[Played]) -> dict[str, Range]:
    """Return what players were sent."""
    return {
        "bytes an update": Range.of([one.report["delta_bytes"] for one in runs]),
        "frames a second": Range.of(
            [
                one.report["frames"] / one.report["connections"] / one.report["seconds"]
                for one in runs
            ]
        ),
        "bytes a player and second": Range.of([one.report["bytes_each_s"] for one in runs]),
    }


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_flag(parser, "memory,peers")
    parser.add_argument("--players", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", metavar="FILE", type=Path)
    return parser.parse_args(argv)


def measured(arguments: argparse.Namespace, withheld: dict[str, str]) -> dict[str, list[Played]]:
    """Let everybody play in turns; who cannot be measured is left out, with the reason."""
    cores = two_cores()
    scene = Scene(arguments.players, 10, arguments.rate, arguments.seconds, 1.0)
    runs: dict[str, list[Played]] = {}
    for _ in range(arguments.runs):
        for name, contestant in contestants(arguments.contestants).items():
            if name in withheld:
                continue
            try:
                runs.setdefault(name, []).append(contestant(scene, cores))
            except Withheld as why:
                withheld[name] = str(why)
    return {name: ones for name, ones in runs.items() if name not in withheld}


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    arguments = parsed(argv)
    report = head("scripts.bench.wire", argv)
    withheld: dict[str, str] = {}
    found: dict[str, dict[str, Range]] = {}
    try:
        runs = measured(arguments, withheld)
        found = {name: figures(ones) for name, ones in runs.items()}
    except Withheld as why:
        withheld["all"] = str(why)
    least = min((one["bytes a player and second"].median for one in found.values()), default=1.0)
    for name, one in found.items():
        told = ", ".join(f"{figure.text()} {what}" for what, figure in one.items())
        ratio = one["bytes a player and second"].median / least
        print(f"{name:14} {told}, {ratio:.2f} times the least")
    for name, reason in withheld.items():
        print(f"{name:14} withheld: {reason}")
    print(f"(target: an update of one changed field in at most {TARGET_BYTES} bytes)")
    summary: dict[str, Any] = {
        name: {what: asdict(figure) for what, figure in one.items()} for name, one in found.items()
    }
    write_report(arguments.json, report | {"summary": summary, "withheld": withheld})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

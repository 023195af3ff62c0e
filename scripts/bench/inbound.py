"""What a command costs on its way in: a message of 40 bytes, from the socket to a room's inbox.

The server has a core, the load client another one. Given is the server's processor time for each
command; beside it that of a C program that reads the same bytes and throws them away.
`scripts.bench.inbound_edge` is our side.

    .venv/bin/python -m scripts.bench.inbound [--connections 2000] [--rates 20000,80000]
        [--runs 3] [--seconds 5] [--json FILE]
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.bench.loading import Played, played
from scripts.bench.measuring import (
    Cores,
    Range,
    Withheld,
    free_port,
    head,
    running,
    two_cores,
    write_report,
)
from scripts.bench.native import built

OURS, LIMIT = "edge", "C, recv()"
TARGET_US = 8.0
FULL_SHARE = 0.97  # Of its core: what a server did not get to is not in its time.


@dataclass(frozen=True)
class Taking:
    """What a command cost one who took it."""

    taker: str
    rate: int
    us_per_command: Range
    core_share: Range
    doubts: list[str]


def command_of(taker: str, connections: int, port: int) -> list[str]:
    """Return the command that starts a taker."""
    if taker == LIMIT:
        command = [str(built("fanout")), "--hz", "-1"]
    else:
        command = [sys.executable, "-m", "scripts.bench.inbound_edge"]
    return [*command, "--port", str(port), "--connections", str(connections)]


def taken(taker: str, rate: int, arguments: argparse.Namespace, cores: Cores) -> Played:
    """Let commands come for a while."""
    port, connections = free_port(), arguments.connections
    with running(command_of(taker, connections, port), cores.server, "listening") as (pid, _):
        # To the C program the bytes are told in another dialect, and are as many.
        flags = ["--dialect", "plain" if taker == LIMIT else "gs", "--play", "no"]
        flags += ["--port", str(port), "--connections", str(connections)]
        flags += ["--rate", str(rate / connections), "--warm", "1"]
        return played([*flags, "--duration", str(arguments.seconds)], pid, cores)


def compared(rate: int, arguments: argparse.Namespace) -> list[Taking]:
    """Let both take as many commands in turns."""
    cores = two_cores()
    runs: dict[str, list[Played]] = {LIMIT: [], OURS: []}
    for _ in range(arguments.runs):
        for taker, ones in runs.items():
            ones.append(taken(taker, rate, arguments, cores))
    found = []
    for taker, ones in runs.items():
        us = Range.of([1e6 * one.use.server_s / max(one.report["commands"], 1) for one in ones])
        share = Range.of([one.use.server_share for one in ones])
        doubts = sorted({doubt for one in ones for doubt in one.doubts})
        if max(one.use.server_share + one.use.others_share for one in ones) > FULL_SHARE:
            doubts.append("its core was used up")
        found.append(Taking(taker, rate, us, share, doubts))
    return found


def line(taking: Taking) -> str:
    """Return a line of the table."""
    doubts = f"  ({'; '.join(taking.doubts)})" if taking.doubts else ""
    return (
        f"{taking.rate:7,} a second  {taking.taker:9} {taking.us_per_command.text(2):>22} µs  "
        f"{taking.core_share.median:6.1%} of a core{doubts}"
    )


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--rates", default="20000,80000")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", metavar="FILE", type=Path)
    arguments = parser.parse_args(argv)
    report = head("scripts.bench.inbound", argv)
    found: list[Taking] = []
    try:
        for rate in map(int, arguments.rates.split(",")):
            for taking in compared(rate, arguments):
                print(line(taking), flush=True)
                found.append(taking)
    except Withheld as why:
        print(f"withheld: {why}")
        report["withheld"] = str(why)
    print(f"(target: under {TARGET_US:.0f} µs)")
    write_report(arguments.json, report | {"inbound": [asdict(one) for one in found]})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

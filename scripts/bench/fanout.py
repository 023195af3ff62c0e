"""What sending costs: one frame to N connections, by our edge and by a C program that only sends.

The server has a core, the load client another one. Given is the server's processor time for each
frame that arrived, at 20 frames a second for everybody and as fast as it goes, and how many times
the C program's it is. Runs of both take turns. `scripts.bench.fanout_edge` is our side.

    .venv/bin/python -m scripts.bench.fanout [--connections 500,2000,5000] [--frame-bytes 200]
        [--hz 20,0] [--runs 3] [--seconds 5] [--ways edge,write] [--json FILE]

``--hz 0`` is saturation. Loopback makes the sender pay for most of the receiving too.
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

LIMIT = "C, send()"
TARGET_RATIO, TARGET_US = 1.25, 7.2


@dataclass(frozen=True)
class Work:
    """What is sent."""

    connections: int
    frame_bytes: int
    hz: float


@dataclass(frozen=True)
class Sending:
    """How a sender did a piece of work."""

    sender: str
    work: Work
    us_per_frame: Range
    frames_s: Range
    core_share: Range
    ratio: float
    doubts: list[str]


def command_of(sender: str, work: Work, port: int) -> list[str]:
    """Return the command that starts a sender."""
    if sender == LIMIT:
        command = [str(built("fanout"))]
    else:
        command = [sys.executable, "-m", "scripts.bench.fanout_edge", "--way", sender]
    command += ["--port", str(port), "--connections", str(work.connections)]
    return [*command, "--frame-bytes", str(work.frame_bytes), "--hz", str(work.hz)]


def sent(sender: str, work: Work, cores: Cores, duration_s: float) -> Played:
    """Let a sender work for a while."""
    port = free_port()
    with running(command_of(sender, work, port), cores.server, "listening") as (pid, _):
        flags = ["--dialect", "plain" if sender == LIMIT else "gs", "--play", "no", "--rate", "0"]
        flags += ["--port", str(port), "--connections", str(work.connections)]
        flags += ["--duration", str(duration_s), "--warm", "1"]
        return played(flags, pid, cores)


def compared(work: Work, ways: Sequence[str], arguments: argparse.Namespace) -> list[Sending]:
    """Let all senders do the same work in turns."""
    cores = two_cores()
    runs: dict[str, list[Played]] = {sender: [] for sender in (LIMIT, *ways)}
    for _ in range(arguments.runs):
        for sender, ones in runs.items():
            ones.append(sent(sender, work, cores, arguments.seconds))
    limit_us = Range.of([one.us_per_delta for one in runs[LIMIT]]).median
    found = []
    for sender, ones in runs.items():
        us = Range.of([one.us_per_delta for one in ones])
        frames_s = Range.of([one.report["deltas"] / one.report["seconds"] for one in ones])
        share = Range.of([one.use.server_share for one in ones])
        doubts = sorted({doubt for one in ones for doubt in one.doubts})
        found.append(Sending(sender, work, us, frames_s, share, us.median / limit_us, doubts))
    return found


def line(sending: Sending) -> str:
    """Return a line of the table."""
    work = sending.work
    hz = f"{work.hz:g} Hz" if work.hz else "saturated"
    doubts = f"  ({'; '.join(sending.doubts)})" if sending.doubts else ""
    return (
        f"{work.connections:6} {hz:>9}  {sending.sender:9} "
        f"{sending.us_per_frame.text(2):>22} µs  {sending.frames_s.median:9,.0f} frames/s  "
        f"{100 * sending.core_share.median:5.1f} %  ratio {sending.ratio:.2f}{doubts}"
    )


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--connections", default="500,2000,5000")
    parser.add_argument("--frame-bytes", type=int, default=200)
    parser.add_argument("--hz", default="20,0")
    parser.add_argument("--ways", default="edge")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", metavar="FILE", type=Path)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    arguments = parsed(argv)
    report = head("scripts.bench.fanout", argv)
    works = [
        Work(int(connections), arguments.frame_bytes, float(hz))
        for connections in arguments.connections.split(",")
        for hz in arguments.hz.split(",")
    ]
    found: list[Sending] = []
    try:
        for work in works:
            for sending in compared(work, arguments.ways.split(","), arguments):
                print(line(sending), flush=True)
                found.append(sending)
    except Withheld as why:
        print(f"withheld: {why}")
        report["withheld"] = str(why)
    print(f"(target: 5,000 at 20 Hz under {TARGET_US} µs, {TARGET_RATIO} times C)")
    write_report(arguments.json, report | {"fanout": [asdict(one) for one in found]})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

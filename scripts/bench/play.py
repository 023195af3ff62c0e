"""A server on one core under bots on another: latency, skipped slots, and the core's load.

The server runs on core 0; the bots and PostgreSQL, which keeps what it commits, share the others.
Both sides time from the moment a command was due to be sent.

    .venv/bin/python -m scripts.bench.play [--rooms 100] [--clients 1000] [--rate 2]
        [--game keno] [--duration 30] [--store postgres|memory]
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from persistence.embedded import EmbeddedPostgres

SERVER_CORES = {0}
TARGET_MS = 120.0


@contextmanager
def served(folder: Path, flags: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """Run a server on its core; give where to play, where to ask, and its process id."""
    command = [sys.executable, "-m", "gameserver", "serve", "--data-dir", str(folder)]
    command += ["--port", "0", "--admin-port", "17352", "--log-format", "json", *flags]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        os.sched_setaffinity(process.pid, SERVER_CORES)
        assert process.stdout is not None
        for line in process.stdout:
            if '"server_ready"' in line:
                ready = json.loads(line)
                break
        else:
            raise RuntimeError("the server did not become ready")
        try:
            yield ready["play"], ready["admin"], process.pid
        finally:
            process.terminate()


def cpu_s(pid: int) -> float:
    """Return how much processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def counted(admin: str) -> dict[str, float]:
    """Return the server's counters by name."""
    with urllib.request.urlopen(f"{admin}metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def measured(arguments: argparse.Namespace, folder: Path, flags: Sequence[str]) -> dict[str, Any]:
    """Play, and return the bots' report with the server's own numbers added."""
    report = folder / "report.json"
    with served(folder / "data", flags) as (play, admin, pid):
        bots = [sys.executable, "-m", "scripts.loadtest", play, "--game", arguments.game]
        bots += ["--clients", str(arguments.clients), "--rooms", str(arguments.rooms)]
        bots += ["--rate", str(arguments.rate), "--duration", str(arguments.duration)]
        bots += ["--procs", "1", "--json", str(report), "--quiet"]
        began_s, began_cpu_s, before = time.monotonic(), cpu_s(pid), counted(admin)
        subprocess.run(bots, check=False)
        share = (cpu_s(pid) - began_cpu_s) / (time.monotonic() - began_s)
        after = counted(admin)
    result: dict[str, Any] = json.loads(report.read_text())
    result["server_share_of_core"] = share
    for name in ("slots_skipped_total", "commits_total", "entries_total"):
        result[name] = after[f"gameserver_{name}"] - before[f"gameserver_{name}"]
    return result


async def with_database(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Play on a PostgreSQL that does not share the server's core."""
    others = os.sched_getaffinity(0) - SERVER_CORES
    os.sched_setaffinity(0, others or SERVER_CORES)
    async with EmbeddedPostgres(folder / "postgres") as server:
        flags = ("--postgres", server.dsn)
        return await asyncio.to_thread(measured, arguments, folder, flags)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rooms", type=int, default=100)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--game", default="keno")
    parser.add_argument("--duration", type=float, default=30.0)
    parser.add_argument("--store", choices=("postgres", "memory"), default="postgres")
    arguments = parser.parse_args()
    print(f"command: python -m scripts.bench.play {' '.join(sys.argv[1:])}".rstrip())
    with tempfile.TemporaryDirectory(prefix="gs-bench-") as name:
        if arguments.store == "memory":
            result = measured(arguments, Path(name), ("--store", "memory"))
        else:
            result = asyncio.run(with_database(arguments, Path(name)))
    for title, key in (("outcome", "command_to_outcome_ms"), ("delta  ", "command_to_delta_ms")):
        times = result[key]
        print(f"command → {title}  p50 {times['p50']} ms, p99 {times['p99']} ms")
    print(f"(target: command → delta p99 under {TARGET_MS} ms)")
    print(f"sent {result['commands_sent']}, desyncs {result['desyncs']}, errors {result['errors']}")
    print(
        f"slots skipped {result['slots_skipped_total']:.0f}, commits {result['commits_total']:.0f}"
    )
    print(f"server {100 * result['server_share_of_core']:.0f} % of its core")
    print(
        f"bots   {100 * result['generator_cpu_share']:.0f} % of a core, lag p99 "
        f"{result['generator_lag_ms_p99']} ms"
    )
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())

"""A server on one core under bots on another: latency, skipped slots, and the core's load.

The server runs on core 0; the bots and PostgreSQL, which keeps what it commits, share the others.
Both sides time from the moment a command was due to be sent.

    .venv/bin/python -m scripts.bench.play [--rooms 100] [--clients 1000] [--rate 2]
        [--game keno] [--duration 30] [--store postgres|memory|both] [--runs 3]

With ``both`` the stores take turns, ``runs`` times each: what durability costs is the difference
of their medians.
"""

import argparse
import asyncio
import json
import os
import statistics
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
SKIPPED, SLOTS = "gameserver_slots_skipped_total", "gameserver_slots_total"
COMMITS = "gameserver_commits_total"
TARGET_MS = 120.0
PRICE_MS = 5.0
# Full states cost both sides more than play does; here the views are compared twice a run.
VERIFY_INTERVAL_S = 15
SAMPLE_S = 2.0


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
        bots += ["--verify-interval", str(VERIFY_INTERVAL_S)]
        before = counted(admin)
        samples = [(cpu_s(pid), time.monotonic(), before)]
        with subprocess.Popen(bots) as playing:
            while playing.poll() is None:
                time.sleep(SAMPLE_S)
                samples.append((cpu_s(pid), time.monotonic(), counted(admin)))
    result: dict[str, Any] = json.loads(report.read_text())
    steady = [one for one in samples if one[2]["player_connected_count"] == arguments.clients]
    (first_cpu_s, first_s, first), (last_cpu_s, last_s, last) = steady[0], steady[-1]
    result["server_share_of_core"] = (last_cpu_s - first_cpu_s) / (last_s - first_s)
    result["slots_skipped_ramp"] = first[SKIPPED] - before[SKIPPED]
    result["slots_skipped"] = last[SKIPPED] - first[SKIPPED]
    result["slots"] = last[SLOTS] - first[SLOTS]
    result["commits"] = last[COMMITS] - first[COMMITS]
    return result


async def with_database(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Play on a PostgreSQL that does not share the server's core."""
    others = os.sched_getaffinity(0) - SERVER_CORES
    os.sched_setaffinity(0, others or SERVER_CORES)
    async with EmbeddedPostgres(folder / "postgres") as server:
        flags = ("--postgres", server.dsn)
        return await asyncio.to_thread(measured, arguments, folder, flags)


def played(arguments: argparse.Namespace, store: str) -> dict[str, Any]:
    """Play once on this store and return the report."""
    with tempfile.TemporaryDirectory(prefix="gs-bench-") as name:
        if store == "memory":
            return measured(arguments, Path(name), ("--store", "memory"))
        return asyncio.run(with_database(arguments, Path(name)))


def told(result: dict[str, Any]) -> None:
    """Print what came of one run."""
    for title, key in (("outcome", "command_to_outcome_ms"), ("delta  ", "command_to_delta_ms")):
        times = result[key]
        print(f"command → {title}  p50 {times['p50']} ms, p99 {times['p99']} ms")
    print(f"(target: command → delta p99 under {TARGET_MS} ms)")
    print(f"sent {result['commands_sent']}, desyncs {result['desyncs']}, errors {result['errors']}")
    print(
        f"with all connected: {result['slots']:.0f} slots, skipped {result['slots_skipped']:.0f} "
        f"(and {result['slots_skipped_ramp']:.0f} while they joined), "
        f"{result['commits']:.0f} commits"
    )
    print(f"server {100 * result['server_share_of_core']:.0f} % of its core")
    print(
        f"bots   {100 * result['generator_cpu_share']:.0f} % of a core, lag p99 "
        f"{result['generator_lag_ms_p99']} ms"
    )


def compared(arguments: argparse.Namespace) -> bool:
    """Play on both stores in turn, and print what durability costs; false if a run was not ok."""
    results: dict[str, list[dict[str, Any]]] = {"memory": [], "postgres": []}
    for _ in range(arguments.runs):
        for store, ones in results.items():
            ones.append(played(arguments, store))
    for key in ("command_to_outcome_ms", "command_to_delta_ms"):
        for quantile in ("p50", "p99"):
            by_store = {
                store: [one[key][quantile] for one in ones] for store, ones in results.items()
            }
            without, durable = (statistics.median(times) for times in by_store.values())
            print(
                f"{key} {quantile}: memory {without:.1f} {by_store['memory']}, PostgreSQL "
                f"{durable:.1f} {by_store['postgres']}: {durable - without:+.1f} ms"
            )
    print(f"(target: command → delta p50 at most {PRICE_MS} ms more)")
    shares = {
        store: statistics.median(one["server_share_of_core"] for one in ones)
        for store, ones in results.items()
    }
    print(f"server's share of its core: {', '.join(f'{k} {v:.0%}' for k, v in shares.items())}")
    return all(one["ok"] for ones in results.values() for one in ones)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rooms", type=int, default=100)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--game", default="keno")
    parser.add_argument("--duration", type=float, default=30.0)
    parser.add_argument("--store", choices=("postgres", "memory", "both"), default="postgres")
    parser.add_argument("--runs", type=int, default=3, help="of each store, with --store both")
    arguments = parser.parse_args()
    print(f"command: python -m scripts.bench.play {' '.join(sys.argv[1:])}".rstrip())
    if arguments.store == "both":
        return 0 if compared(arguments) else 1
    result = played(arguments, arguments.store)
    told(result)
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())

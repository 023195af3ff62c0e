"""The command line of a campaign. Exit codes: 0 all held, 1 something did not, 2 a wrong option.

With ``--nodes`` it is a campaign of its own: other faults, other figures.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from scripts.faulting import cluster_campaign, cluster_report
from scripts.faulting.campaign import Plan, Say, run
from scripts.faulting.cluster import ClusterSize
from scripts.faulting.cluster_campaign import ClusterPlan
from scripts.faulting.cluster_faults import FAULTS as CLUSTER_FAULTS
from scripts.faulting.report import as_json, as_text
from scripts.faulting.world import Size

HELP = {
    "kills": "times that a server is killed, at random moments and at named points",
    "postgres_stops": "times that PostgreSQL is stopped at once and started again",
    "outages": "times that PostgreSQL is away for long",
    "zombies": "times that a frozen server wakes up after another has taken over",
    "cuts": "times that a commit or its answer is lost on the way, or comes late",
    "backends": "times that the session of a commit is ended, killed, or stalls",
    "drains": "times that the server is ended in order under play",
    "freezes": "times that the server stands still for a moment",
    "resets": "times that every player's connection is reset",
    "disks": "times that the disk is full (root only)",
    "outage_s": "seconds that an outage lasts",
    "pause_s": "seconds of undisturbed play between two faults, at most",
    "clients": "bots",
    "rooms": "rooms of the bots",
    "rate": "commands a second and bot",
    "faults_per_phase": "faults until the bots check all and others come",
    "crowd": "rooms with players in a part of its own with three kills; 0: no such part",
    "crowd_kills": "kills of that part",
    "seed": "what decides the order and the moments",
}
CLUSTER_HELP = {
    "each": "times that each fault takes place",
    "tables": "tables of two players who keep a history, spread over all nodes",
    "bots": "bots at each node",
}
NODES_MAX = 9


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(
        prog="scripts/faults",
        description="Breaks a real server and its PostgreSQL under players, and checks afterwards"
        " that nothing was lost, done twice, or paid wrongly.",
        epilog="Exit codes: 0 all held, 1 something did not, 2 usage.",
    )
    defaults = Plan()
    for one in fields(Plan):
        if one.name in HELP:
            default = getattr(defaults, one.name)
            made.add_argument(
                "--" + one.name.replace("_", "-"),
                type=_at_least_0(type(default)),
                default=default,
                help=f"{HELP[one.name]} (default {default})",
            )
    made.add_argument("--players", type=_at_least_0(int), default=8, help="who keep a history")
    many = made.add_argument_group(
        "several nodes", "With these --seed, --json, --keep and --quiet count, and no other option."
    )
    many.add_argument(
        "--nodes", type=_at_least_0(int), default=1, help="nodes of a cluster (default 1: none)"
    )
    many.add_argument(
        "--only",
        type=_names,
        default=tuple(CLUSTER_FAULTS),
        metavar="FAULT,…",
        help=f"these faults alone, of {', '.join(CLUSTER_FAULTS)}",
    )
    many.add_argument(
        "--route",
        choices=("redirect", "relay"),
        default="redirect",
        help="where players go: to each node, or to one address for all (default redirect)",
    )
    for name, default in (("each", 1), ("tables", 6), ("bots", 6)):
        many.add_argument(
            "--" + name,
            type=_at_least_0(int),
            default=default,
            help=f"{CLUSTER_HELP[name]} (default {default})",
        )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the report there")
    made.add_argument("--keep", type=Path, metavar="DIR", help="work in DIR, and leave it there")
    made.add_argument("--quiet", action="store_true", help="do not say what is being broken")
    return made


def _at_least_0(kind: type) -> "type":
    def converted(text: str) -> object:
        value = kind(text)
        if value < 0:
            raise argparse.ArgumentTypeError(f"{value} is less than 0")
        return value

    return converted  # type: ignore[return-value]  # argparse takes any function.


def main(arguments: Sequence[str]) -> int:
    """Run a campaign and return the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    if options.players < 1 or options.clients < options.rooms or not options.rooms:
        made.error("it takes a player, a room, and a bot for each room")
    if not 1 <= options.nodes <= NODES_MAX or not options.each or not options.tables:
        made.error(f"it takes 1 to {NODES_MAX} nodes, a table, and each fault once at least")
    folder = options.keep or Path(tempfile.mkdtemp(prefix="gs-faults-"))
    folder.chmod(0o711) if options.keep is None else folder.mkdir(parents=True)
    try:
        say = _silent if options.quiet else _Said()
        if options.nodes > 1:
            report, text = _of_a_cluster(options, folder, say)
        else:
            report, text = _of_one_server(options, folder, say)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(text)
    return 0 if report["ok"] else 1


def _of_one_server(
    options: argparse.Namespace, folder: Path, say: Say
) -> tuple[dict[str, Any], str]:
    given = {name: getattr(options, name) for name in HELP}
    plan = Plan(**given, size=Size(players=options.players, seed=options.seed))
    outcome = asyncio.run(run(plan, folder, say))
    return as_json(outcome), as_text(outcome)


def _of_a_cluster(
    options: argparse.Namespace, folder: Path, say: Say
) -> tuple[dict[str, Any], str]:
    size = ClusterSize(options.nodes, options.tables, seed=options.seed, route=options.route)
    plan = ClusterPlan(options.only, options.each, options.bots, seed=options.seed, size=size)
    outcome = asyncio.run(cluster_campaign.run(plan, folder, say))
    return cluster_report.as_json(outcome), cluster_report.as_text(outcome)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - CLUSTER_FAULTS.keys():
        raise argparse.ArgumentTypeError(f"no such fault: {', '.join(sorted(unknown))}")
    return names


class _Said:
    """Lines on stderr with the time since the start."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()

    def __call__(self, line: str) -> None:
        print(f"{time.monotonic() - self._started_s:7.1f} s  {line}", file=sys.stderr, flush=True)


def _silent(_: str) -> None:
    return

"""The command line of the bots.

Exit codes: 0 all was well, 1 something was wrong or nobody answered, 2 a wrong option, 98 (with
--strict) the bots were too slow to measure anything, 130 after Ctrl-C, with the report written.
"""

import argparse
import asyncio
import ipaddress
import json
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from scripts.loadtest.catalog import GAMES
from scripts.loadtest.conductor import CannotRun, Conductor, ask_server
from scripts.loadtest.plan import Plan, placed, procs_for, rooms_for
from scripts.loadtest.report import Run, as_json, as_text, faults
from scripts.loadtest.sight import Schema

URL = "ws://127.0.0.1:7350/ws"
MIX = "mix"
CLIENTS_MAX = 28_000  # More would run out of ports to one address.

EXIT_OK, EXIT_WRONG, EXIT_USAGE, EXIT_SATURATED, EXIT_INTERRUPTED = 0, 1, 2, 98, 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(
        prog="scripts/bots",
        description="Plays against a running server with real clients and checks what it says.",
        epilog="Exit codes: 0 all well, 1 something was wrong, 2 usage, 98 the bots were too slow"
        " (with --strict), 130 Ctrl-C (the report is written all the same).",
    )
    made.add_argument("url", nargs="?", default=URL, metavar="URL", help=f"default {URL}")
    made.add_argument("-n", "--clients", type=_count, default=30, help="bots (default 30)")
    made.add_argument("--rooms", type=_count, help="rooms (default clients/10)")
    made.add_argument("-g", "--game", choices=(*GAMES, MIX), default=MIX, help="default mix")
    made.add_argument(
        "--rate", type=_rate, default=2.0, help="commands a second and bot (default 2)"
    )
    made.add_argument(
        "-d", "--duration", type=_seconds, default=30.0, help="seconds of play; 0: until Ctrl-C"
    )
    made.add_argument("-p", "--procs", type=_count, help="processes (default one for 400 bots)")
    made.add_argument("--seed", type=int, help="the same seed gives the same bots")
    made.add_argument("--json", metavar="FILE", help="write the report there; - is stdout")
    made.add_argument(
        "--verify-interval",
        type=_seconds,
        default=5.0,
        help="mean seconds between two checks of a bot; 0: only at the end (default 5)",
    )
    made.add_argument("--quiet", action="store_true", help="print nothing but what is wrong")
    made.add_argument("--yes", action="store_true", help="play against another machine too")
    made.add_argument(
        "--strict", action="store_true", help="fail with 98 if the bots were too slow"
    )
    return made


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= CLIENTS_MAX:
        raise argparse.ArgumentTypeError(f"{value} is not within 1..{CLIENTS_MAX}")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0.01 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{value} is not within 0.01..1000")
    return value


def _seconds(text: str) -> float:
    value = float(text.removesuffix("s"))
    if not 0 <= value < 1e7:
        raise argparse.ArgumentTypeError(f"{value} is no number of seconds")
    return value


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def plan_of(options: argparse.Namespace) -> Plan:
    """Return the plan that the options ask for; it has no places yet."""
    games = tuple(GAMES) if options.game == MIX else (options.game,)
    clients = options.clients
    return Plan(
        url=options.url,
        games=games,
        clients=clients,
        rooms=min(options.rooms or rooms_for(clients), clients),
        rate=options.rate,
        duration_s=options.duration,
        procs=options.procs or procs_for(clients, os.cpu_count() or 1),
        seed=secrets.randbelow(2**32) if options.seed is None else options.seed,
        verify_interval_s=options.verify_interval,
    )


def main(arguments: Sequence[str]) -> int:
    """Run the bots and return the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    if urlsplit(options.url).scheme not in ("ws", "wss"):
        made.error(f"{options.url} is no URL of a WebSocket, such as {URL}")
    if not options.yes and not is_loopback(options.url):
        made.error(f"{options.url} is not on this machine; --yes says that you mean it")
    plan = plan_of(options)
    live = _Live(quiet=options.quiet)
    try:
        described = asyncio.run(ask_server(plan.url, plan.games))
    except CannotRun as error:
        print(f"bots: {error}", file=sys.stderr)
        return EXIT_WRONG
    schemas = {game: Schema(one) for game, one in described.items()}
    plan = placed(plan, {game: schema.seats_max for game, schema in schemas.items()})
    conductor = Conductor(plan, described, live.show)
    asyncio.run(conductor.run())
    live.end()
    run = Run(
        plan=plan,
        tally=conductor.tally,
        procs=conductor.procs,
        games=GAMES,
        schemas=schemas,
        command=("scripts/bots", *arguments),
        interrupted=conductor.interrupted,
    )
    return _tell(run, options)


def _tell(run: Run, options: argparse.Namespace) -> int:
    found = faults(run)
    if options.json == "-":
        print(json.dumps(as_json(run), indent=2))
    elif options.json is not None:
        Path(options.json).write_text(json.dumps(as_json(run), indent=2) + "\n", encoding="utf-8")
    if options.json != "-" and (found or not options.quiet):
        print(as_text(run))
    if run.interrupted:
        return EXIT_INTERRUPTED
    if found:
        return EXIT_WRONG
    return EXIT_SATURATED if options.strict and run.is_saturated else EXIT_OK


class _Live:
    """The line that tells how it is going, on stderr: refreshed on a terminal, else a new one."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._is_terminal = sys.stderr.isatty()
        self._width = 0

    def show(self, line: str) -> None:
        if self._quiet:
            return
        if self._is_terminal:
            line = line[: shutil.get_terminal_size().columns - 1]  # It must not wrap.
            sys.stderr.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def end(self) -> None:
        if self._is_terminal and self._width:
            sys.stderr.write("\n")

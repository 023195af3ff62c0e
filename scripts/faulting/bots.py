"""The bots of ``scripts/bots`` as a process: they play until told to stop, and then report."""

import asyncio
import contextlib
import json
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from scripts.faulting.servers import ROOT

SEATED_S = 120.0
REPORT_S = 180.0

SEATED = re.compile(r"(\d+)/(\d+) bots")
WALLET = re.compile(r"books: (bot \d+), room (\d+): (\d+) left of (\d+), but lost \d+")
# What a bot calls an error that is only long waiting: right while nothing can be committed.
OF_WAITING = frozenset({"deferred_too_long", "unanswered", "join", "AnswerTimeout"})


@dataclass(frozen=True)
class Crowd:
    """Who is to play."""

    game: str
    clients: int
    rooms: int
    rate: float
    seed: int


class Wallet(NamedTuple):
    """A bot's wallet that is not what the bot's bets came to, as the bot says."""

    name: str
    room: int
    left_minor: int
    start_minor: int


class Bots:
    """One run of the bots."""

    def __init__(self, process: Process, report: Path, crowd: Crowd) -> None:
        self.crowd = crowd
        self._process = process
        self._report = report
        self._seated = asyncio.Event()
        self._said: list[str] = []

    async def read(self) -> None:
        """Take in what they say until they end."""
        assert self._process.stderr is not None, "stderr is a pipe"
        async for line in self._process.stderr:
            text = line.decode(errors="replace").rstrip()
            self._said = [*self._said[-9:], text]
            found = SEATED.search(text)
            if found is not None and found[1] == found[2]:
                self._seated.set()
        await self._process.wait()
        self._seated.set()

    async def seated(self) -> bool:
        """Wait until all of them play; tell whether they do."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEATED_S):
                await self._seated.wait()
        return self._seated.is_set() and self._process.returncode is None

    async def stop(self) -> dict[str, Any]:
        """Let them come to an end, with all their checks, and return their report."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(REPORT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        try:
            report: dict[str, Any] = json.loads(self._report.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {"faults": [f"no report: {' | '.join(self._said)}"]}
        return report

    def kill(self) -> None:
        """End them at once."""
        if self._process.returncode is None:
            self._process.kill()


async def gathered(url: str, crowd: Crowd, report: Path) -> Bots:
    """Start bots that play until they are told to stop."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.loadtest", url, "--game", crowd.game),
        *("--clients", str(crowd.clients), "--rooms", str(crowd.rooms)),
        *("--rate", str(crowd.rate), "--seed", str(crowd.seed), "--duration", "0"),
        *("--procs", "1", "--json", str(report)),
        cwd=ROOT,
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    return Bots(process, report, crowd)


def doubted(report: dict[str, Any]) -> list[Wallet]:
    """Return the wallets that bots complain of."""
    found = [WALLET.search(str(text)) for text in report.get("texts", [])]
    return [Wallet(one[1], *map(int, one.groups()[1:])) for one in found if one is not None]


def judged(report: dict[str, Any], *, waited: bool, cleared: int = 0) -> list[str]:
    """Return what was wrong, a line each.

    ``waited`` tells of an outage of many seconds; so many complaints of wallets were ``cleared``.
    """
    found: Sequence[str] = report.get("faults", [])
    if "errors_by_kind" not in report:
        return list(found)
    errors: dict[str, int] = dict(report["errors_by_kind"])
    if waited:
        errors = {kind: count for kind, count in errors.items() if kind not in OF_WAITING}
    errors["books"] = errors.get("books", 0) - cleared
    errors = {kind: count for kind, count in errors.items() if count}
    wrong = [f"{count} × {kind}" for kind, count in sorted(errors.items())]
    if wrong:
        wrong += [str(text) for text in report.get("texts", [])]
    if report["desyncs"]:
        wrong.append(f"{report['desyncs']} desyncs")
    if report["closes_by_code"].get("4003"):
        wrong.append(f"{report['closes_by_code']['4003']} closed with INTERNAL")
    if not report["commands_sent"] or not report["verified"]:
        wrong.append("the bots did nothing, or verified nothing")
    if "keno" in report["games"] and not report["books_checked"]:
        wrong.append("no wallet was compared with what its bets came to")
    return wrong

"""Starts the processes of a run, shows how it is going, and adds up what they tell.

It asks the server what it offers before any bot comes. It plays no game itself.

    Exception
      CannotRun     there is no use in starting: nobody answers, or a game is not offered there
"""

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from protocol.client import Client, ClientError, Options
from scripts.loadtest.histogram import Histogram
from scripts.loadtest.plan import Plan, shares
from scripts.loadtest.tally import Tally

PREFLIGHT_TIMEOUT_MS = 5_000
LINE_BYTES_MAX = 16 * 1024 * 1024
# What a process may need beyond its playing time: gathering, last answers, last checks.
END_TIMEOUT_S = 240.0
LIVE_INTERVAL_S = 1.0


class CannotRun(Exception):
    """There is no use in starting; the text says why."""


@dataclass
class Progress:
    """What the processes said last, for the live line."""

    plan: Plan
    started_s: float = field(default_factory=time.monotonic)
    said: dict[int, dict[str, Any]] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)

    def line(self) -> str:
        """Return one line about the last second."""
        said = list(self.said.values())
        sums = {name: sum(one[name] for one in said) for name in SUMMED}
        waits = Histogram()
        for one in said:
            waits.merge(Histogram(((b, n) for b, n in one.pop("buckets", ())), one["max_us"]))
        played_s = min((one["played_s"] for one in said), default=0.0)
        rates = {name: max(0.0, sums[name] - self.shown.get(name, 0)) for name in RATES}
        self.shown = dict(sums)
        p50_us, p99_us = waits.quantile(0.5), waits.quantile(0.99)
        return (
            f"{'+'.join(self.plan.games)}  {sums['seated']}/{self.plan.clients} bots"
            f"  {self.plan.rooms} rooms  {_clock(played_s)}/{_clock(self.plan.duration_s)}"
            f"  sent {rates['commands']:.0f}/s  outcome p50 {_ms(p50_us)} p99 {_ms(p99_us)}"
            f"  deltas {rates['deltas']:.0f}/s  {rates['bytes'] / 1024:.0f} KiB/s"
            f"  away {self.plan.clients - sums['connected']}"
            f"  desyncs {sums['desyncs']}  errors {sums['errors']}"
        )


RATES = ("commands", "deltas", "bytes")
SUMMED = (*RATES, "seated", "connected", "desyncs", "errors")


def _ms(value_us: int | None) -> str:
    return "–" if value_us is None else f"{value_us / 1000:.0f} ms"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


async def ask_server(url: str, games: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the schemas of the games, or raise CannotRun."""
    options = Options(open_timeout_ms=PREFLIGHT_TIMEOUT_MS, program="bots")
    try:
        async with Client(url, name="bots", options=options) as client:
            offered = [name for name, *_ in await client.request("games")]
            for game in games:
                if game not in offered:
                    there = ", ".join(offered)
                    raise CannotRun(f"there is no game {game!r} at {url}; there are: {there}")
            return {game: await client.request("schema", [game]) for game in games}
    except ClientError as error:
        raise CannotRun(f"no answer from {url}: {error}; is the server running?") from error


class Conductor:
    """One run over several processes."""

    def __init__(
        self, plan: Plan, schemas: Mapping[str, Mapping[str, Any]], show: Callable[[str], None]
    ) -> None:
        self.tally = Tally()
        self.interrupted = False
        self._parts = shares(plan)
        self._schemas = schemas
        self._show = show
        self._progress = Progress(plan)
        self._processes: list[Process] = []

    @property
    def procs(self) -> int:
        """How many processes there are."""
        return len(self._parts)

    async def run(self) -> None:
        """Let the processes do their parts and add up what came of them."""
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(ending, self._interrupt)
        try:
            async with asyncio.TaskGroup() as tasks:
                live = tasks.create_task(self._show_live())
                async with asyncio.TaskGroup() as working:
                    for number, part in enumerate(self._parts):
                        working.create_task(self._work(number, part))
                live.cancel()
        finally:
            for process in self._processes:
                if process.returncode is None:
                    process.kill()

    async def _work(self, number: int, part: Plan) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scripts.loadtest.worker"),
            stdin=PIPE,
            stdout=PIPE,
            limit=LINE_BYTES_MAX,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._processes.append(process)
        assert process.stdin is not None, "stdin is a pipe"
        assert process.stdout is not None, "stdout is a pipe"
        orders = {"plan": part.to_plain(), "schemas": self._schemas}
        process.stdin.write(json.dumps(orders).encode() + b"\n")
        told = False
        try:
            async with asyncio.timeout((part.duration_s or 1e9) + END_TIMEOUT_S):
                async for line in process.stdout:
                    said = json.loads(line)
                    if "live" in said:
                        self._progress.said[number] = said["live"]
                    else:
                        self.tally.merge(Tally.from_plain(said["tally"]))
                        told = True
                await process.wait()
        except TimeoutError:
            process.kill()
        if not told:
            self.tally.error("process", f"process {number} ended without a report")

    def _interrupt(self) -> None:
        """End in order the first time, and at once the second."""
        for process in self._processes:
            if process.returncode is None:
                if self.interrupted:
                    process.kill()
                elif process.stdin is not None:
                    process.stdin.write(b"stop\n")
        self.interrupted = True

    async def _show_live(self) -> None:
        while True:
            await asyncio.sleep(LIVE_INTERVAL_S)
            if self._progress.said:
                self._show(self._progress.line())

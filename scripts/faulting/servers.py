"""A game server as a process that can be killed, frozen and watched; it knows no rooms.

Exception
  ServerFailed     it did not become ready, or did not end, in time
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60.0
STOP_S = 60.0
LINE_BYTES_MAX = 1024 * 1024
LINES_SHOWN = 20


class ServerFailed(Exception):
    """The server did not become ready, or did not end, in time; the text has its last words."""


class Server:
    """One process of ``gameserver serve``, from its start to its end."""

    def __init__(self, process: Process, log: Path) -> None:
        self.log = log
        self.port = 0
        self.events: list[dict[str, Any]] = []
        self.strays: list[str] = []  # Lines that are no events: tracebacks, warnings of Python.
        self.is_zombie = False
        self.has_run_late = False  # The machine left it no time to end in order.
        self.has_lost_storage = False
        self._process = process
        self._ready = asyncio.Event()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Tell whether the process has not ended."""
        return self._process.returncode is None

    async def read(self) -> None:
        """Take its log in until the process ends."""
        assert self._process.stdout is not None, "stdout is a pipe"
        async for line in self._process.stdout:
            with self.log.open("ab") as file:
                file.write(line)
            try:
                event = json.loads(line)
                self.events.append(event)
            except ValueError:
                self.strays.append(line.decode(errors="replace").rstrip())
                continue
            if event.get("event") == "server_ready":
                self.port = int(event["play"].rpartition(":")[2].partition("/")[0])
                self._ready.set()
        await self._process.wait()
        self._ready.set()

    async def ready(self) -> bool:
        """Wait until it serves, or has ended; tell which."""
        try:
            async with asyncio.timeout(READY_S):
                await self._ready.wait()
        except TimeoutError as error:
            self.kill()
            raise ServerFailed(f"not ready in {READY_S:.0f} s: {self.last_words()}") from error
        return self.port != 0

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self._signal(signal.SIGKILL)

    def drain(self) -> None:
        """Ask the process to end."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop the process where it is."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the process go on, unaware of the time that has passed."""
        self._signal(signal.SIGCONT)

    async def ended(self, within_s: float = STOP_S) -> int:
        """Wait for the end and return the exit code, negative for a signal."""
        try:
            async with asyncio.timeout(within_s):
                return await self._process.wait()
        except TimeoutError as error:
            raise ServerFailed(f"alive after {within_s:.0f} s: {self.last_words()}") from error

    async def stop(self) -> int:
        """Ask the process to end, and return the exit code."""
        self.drain()
        return await self.ended()

    def count(self, event: str) -> int:
        """Count the events of a name so far."""
        return sum(one.get("event") == event for one in self.events)

    async def until(self, holds: Callable[[], bool], within_s: float) -> bool:
        """Wait for something that the log will show; tell whether it came in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not holds():  # noqa: ASYNC110  The log is another process's.
                    await asyncio.sleep(0.02)
        return holds()

    def faults(self) -> list[str]:
        """Return what it said that a healthy server never says, a line each."""
        told = [one for one in self.events if one.get("level") in ("error", "critical")]
        found = [f"{one['event']}: {one}" for one in told if one["event"] not in self._expected()]
        return [*found, *(f"said: {line}" for line in self.strays[:LINES_SHOWN])]

    def last_words(self) -> str:
        """Return the end of its log."""
        said = [json.dumps(one) for one in self.events] + self.strays
        return " | ".join(said[-LINES_SHOWN:])

    def _expected(self) -> tuple[str, ...]:
        excuses = {
            "shard_fenced": self.is_zombie,
            "drain_ran_out": self.has_run_late,
            "heads_not_kept": self.has_lost_storage,  # They are signed at the next interval.
        }
        return tuple(event for event, is_right in excuses.items() if is_right)

    def _signal(self, number: signal.Signals) -> None:
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


async def launched(
    dsn: str, data_dir: Path, log: Path, failpoint: str = "", options: Sequence[str] = ()
) -> Server:
    """Start a server on a database; a ``failpoint`` is one of ``failpoints``, with its count."""
    module = ["scripts.faulting.failpoints", failpoint] if failpoint else ["gameserver"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *module, "serve", "--log-format", "json", "--port", "0"),
        *("--admin-port", "0", "--data-dir", str(data_dir), *options),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GS_POSTGRES": dsn},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        limit=LINE_BYTES_MAX,
    )
    return Server(process, log)

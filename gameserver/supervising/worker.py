"""One worker's process: started, asked how it is, started again when it ends, told to go."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import structlog

from gameserver.exits import EXIT_DATABASE, EXIT_DRAIN_RAN_OUT, EXIT_OK, EXIT_REDIS, EXIT_USAGE
from gameserver.runtime.clock import Clock
from gameserver.supervising.backoff import BackOff
from gameserver.supervising.leash import VARIABLE
from gameserver.supervising.settings_of import LOOPBACK

log = structlog.get_logger(__name__)

LOOK_INTERVAL_S = 0.5
ANSWER_TIMEOUT_S = 2.0
NO_ANSWER = "no answer"
# What ends by a signal of ours before it listens for it has nothing to hand over yet.
_ENDED_BY = {-signal.SIGTERM: EXIT_OK, -signal.SIGKILL: EXIT_DRAIN_RAN_OUT}
# Ends that a person has to mend before a worker that never served is worth another try.
HOPELESS = frozenset({EXIT_USAGE, EXIT_DATABASE, EXIT_REDIS})


@dataclass(frozen=True, slots=True)
class Start:
    """How a worker is started: its environment, the end of a pipe, where it is asked how it is."""

    environment: dict[str, str]
    leash: int
    admin_port: int


class Worker:
    """A place for a worker, and the process that is in it just now.

    ``unready`` is why it cannot serve players, "" if it can. ``on_hopeless`` is told the exit code
    of a worker that ended before it had ever served, and would end so again.
    """

    def __init__(
        self, number: int, start: Start, clock: Clock, on_hopeless: Callable[[int], None]
    ) -> None:
        self.number = number
        self.unready = "starting"
        self.restarts = 0
        self.exit_code = 0  # Of its last process.
        self._start = start
        self._backoff = BackOff(clock)
        self._on_hopeless = on_hopeless
        self._has_served = False
        self._leaving = asyncio.Event()
        self._process: Process | None = None

    async def run(self) -> None:
        """Keep a process running until the worker is told to leave and has left."""
        while not self._leaving.is_set():
            wait_s = await self._run_once()
            self.unready = "ended"
            if self._leaving.is_set():
                return
            log.warning(
                "worker_ended", worker=self.number, exit_code=self.exit_code, again_in_s=wait_s
            )
            if self.exit_code in HOPELESS and not self._has_served:
                self._on_hopeless(self.exit_code)
                return
            self.restarts += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._leaving.wait()

    async def watch(self, session: aiohttp.ClientSession) -> None:
        """Ask the worker how it is, again and again."""
        while True:
            if self._process is not None:
                self.unready = await self._asked(session)
                if not self.unready and not self._has_served:
                    self._has_served = True
                    log.info("worker_ready", worker=self.number)
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def metrics(self, session: aiohttp.ClientSession) -> str | None:
        """Return the worker's page of metrics, None if it does not answer."""
        if self._process is None:
            return None
        try:
            async with session.get(self._url("/metrics")) as response:
                page = await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return None
        return page if response.status == 200 else None

    def leave(self) -> None:
        """Tell the worker to drain and end, and start it no more."""
        self._leaving.set()
        if self._process is None:
            self.exit_code = EXIT_OK  # Whatever it ended of before, there is nothing to lose.
        else:
            with contextlib.suppress(ProcessLookupError):  # It has ended, and was not waited for.
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker at once, and start it no more."""
        self._leaving.set()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _run_once(self) -> float:
        """Run a process to its end; return the seconds to wait before the next one."""
        start = self._start
        self._backoff.started()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gameserver", "serve"),
            env={**start.environment, VARIABLE: str(start.leash)},
            stdin=DEVNULL,
            pass_fds=(start.leash,),
            # What the terminal sends is meant for the supervisor, which passes it on.
            start_new_session=True,
        )
        self.unready = "starting"
        self._process = process
        log.info("worker_started", worker=self.number, pid=process.pid)
        try:
            code = await process.wait()
        finally:
            self._process = None
            if process.returncode is None:
                process.kill()
                await process.wait()
        self.exit_code = _ENDED_BY.get(code, code) if self._leaving.is_set() else code
        return self._backoff.ended(in_order=code == EXIT_OK)

    async def _asked(self, session: aiohttp.ClientSession) -> str:
        try:
            async with session.get(self._url("/readyz")) as response:
                told = (await response.text()).strip()
        except (aiohttp.ClientError, TimeoutError):
            return NO_ANSWER if self._has_served else "starting"
        return "" if response.status == 200 else told.removeprefix("not ready: ") or NO_ANSWER

    def _url(self, path: str) -> str:
        return f"http://{LOOPBACK}:{self._start.admin_port}{path}"

"""Runs the workers of this machine, and the database that they share if they are given none.

It serves no player and knows no room. Everything that two workers have to agree on they agree on
through PostgreSQL and Redis, like nodes of different machines.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import aiohttp
import structlog

from gameserver.app import database, keys_file_of, run
from gameserver.config import Config
from gameserver.exits import EXIT_DRAIN_RAN_OUT, EXIT_FAILED, EXIT_OK
from gameserver.net.admin import Admin
from gameserver.net.listener import PortInUse, check_free, reserved_port
from gameserver.runtime.clock import SystemClock
from gameserver.supervising.page import Page
from gameserver.supervising.settings_of import LOOPBACK, own_port_of, variables, worker_config
from gameserver.supervising.worker import ANSWER_TIMEOUT_S, Start, Worker
from persistence.sealing import load_or_create_keys

# Workers of a supervisor that was killed let go of their ports when they have drained.
PORTS_FREE_S = 5.0
PORTS_RETRY_S = 0.2
# A worker that has not ended when its own deadline is over does not end by itself.
PATIENCE_S = 5.0

log = structlog.get_logger(__name__)


def supervise(config: Config) -> int:
    """Run workers until told to stop; return the exit code."""
    return run(config, _supervise(config))


def worker_count(config: Config) -> int:
    """Return how many workers there are to be."""
    if config.workers:
        return config.workers
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return len(os.sched_getaffinity(0))  # Not all that are there, but those that we may use.


async def _supervise(config: Config) -> int:
    count = worker_count(config)
    load_or_create_keys(keys_file_of(config))  # Before several workers want to make them.
    await _await_ports(config)
    async with AsyncExitStack() as stack:
        port = await _reserved(stack, config.host, config.port)
        admin_ports = [await _reserved(stack, LOOPBACK, 0) for _ in range(count)]
        leash = stack.enter_context(_leash())
        dsn = await stack.enter_async_context(database(config))
        starts = []
        for number, admin_port in enumerate(admin_ports):
            own = worker_config(config, number, dsn, port, admin_port)
            starts.append(Start(variables(own, os.environ), leash, admin_port))
        return await Supervisor(config, starts, port).run()


class Supervisor:
    """The workers, and what is told about them."""

    def __init__(self, config: Config, starts: Sequence[Start], port: int) -> None:
        self._config = config
        self._told = asyncio.Event()
        self._failure = EXIT_OK
        self._play = f"ws://{config.host}:{port}/ws"
        clock = SystemClock()
        self.workers = [
            Worker(number, start, clock, self._give_up) for number, start in enumerate(starts)
        ]

    async def run(self) -> int:
        """Run the workers until told to stop, or until one can never run."""
        self._listen_for_signals()
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            asyncio.TaskGroup() as tasks,
            self._admin(Page(self.workers, session, self._told)) as admin,
        ):
            log.info("workers_started", count=len(self.workers), play=self._play, admin=admin)
            running = [tasks.create_task(worker.run()) for worker in self.workers]
            watching = [tasks.create_task(worker.watch(session)) for worker in self.workers]
            await self._told.wait()
            await self._stop(running)
            for task in watching:
                task.cancel()
        return self._exit_code()

    async def _stop(self, running: list[asyncio.Task[None]]) -> None:
        """Let all workers drain together: there is no order in which nobody would have to move."""
        for worker in self.workers:
            worker.leave()
        timeout_s = self._config.drain_timeout_ns / 1e9 + PATIENCE_S
        _, late = await asyncio.wait(running, timeout=timeout_s)
        if late:
            log.error("workers_killed", count=len(late))
            for worker in self.workers:
                worker.kill()
            await asyncio.wait(running)

    @asynccontextmanager
    async def _admin(self, page: Page) -> AsyncIterator[str]:
        """Serve the one page for all; give its address."""
        config = self._config
        if not config.admin_port:
            yield "off"
            return
        admin = Admin(page.metrics, page.readiness)
        await admin.start(config.admin_host, config.admin_port)
        try:
            yield f"http://{config.admin_host}:{config.admin_port}/"
        finally:
            await admin.stop()

    def _give_up(self, code: int) -> None:
        self._failure = self._failure or code
        self._told.set()

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, self._hear_signal)

    def _hear_signal(self) -> None:
        if self._told.is_set():
            for worker in self.workers:
                worker.kill()
        self._told.set()

    def _exit_code(self) -> int:
        codes = {worker.exit_code for worker in self.workers} - {EXIT_OK}
        if self._failure or not codes:
            return self._failure
        return EXIT_DRAIN_RAN_OUT if EXIT_DRAIN_RAN_OUT in codes else EXIT_FAILED


@contextmanager
def _leash() -> Iterator[int]:
    """Give the end of a pipe that workers hold; it says nothing until we are gone."""
    theirs, ours = os.pipe()
    try:
        yield theirs
    finally:
        os.close(ours)
        os.close(theirs)


async def _await_ports(config: Config) -> None:
    """Raise ListenFailed if one of the ports is somebody else's for good."""
    own = [own_port_of(config, number) for number in range(worker_count(config))]
    for port in (config.port, *own):
        deadline_s = asyncio.get_running_loop().time() + PORTS_FREE_S
        while True:
            try:
                await check_free(config.host, port)
                break
            except PortInUse:
                if asyncio.get_running_loop().time() >= deadline_s:
                    raise
            await asyncio.sleep(PORTS_RETRY_S)


async def _reserved(stack: AsyncExitStack, host: str, port: int) -> int:
    """Keep a port from others for as long as the stack stands."""
    holder, bound = await reserved_port(host, port)
    stack.callback(holder.close)
    return bound

"""Both ports together, started and stopped in order.

It is given the room host, the services and the clock, and makes the rest of the edge.
"""

import asyncio
import random
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from gameserver.net.admin import Admin
from gameserver.net.dispatch import Dispatcher, Host, Services
from gameserver.net.edge import WHEEL_SLOT_NS, Edge, EdgeLimits, Settings, admission_limits
from gameserver.net.exposition import Exposition
from gameserver.net.jobs import Jobs
from gameserver.net.limits import Admission
from gameserver.net.listener import Listener, check_free
from gameserver.net.pages import Pages
from gameserver.net.relay import Relay
from gameserver.net.wheel import Wheel
from gameserver.runtime.clock import Clock
from gameserver.runtime.metrics import Metrics
from protocol import codec

# Files that are no connections of players: listening sockets, storage, logs, libraries.
OTHER_FILES = 256

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Inside:
    """What the edge leads to.

    ``unready`` returns why rooms cannot be served just now (starting, storage away), or "".
    ``whereabouts`` lets clients see rooms of other nodes without leaving this one (see `Relay`);
    without it they are redirected.
    """

    host: Host
    services: Services
    metrics: Metrics
    clock: Clock
    unready: Callable[[], str]
    whereabouts: Callable[[int], str | None] | None = None


class NetServer:
    """The edge of one process."""

    def __init__(self, settings: Settings, inside: Inside, tasks: asyncio.TaskGroup) -> None:
        self._settings = settings
        self._inside = inside
        now_ns = inside.clock.now_ns()
        self.edge = Edge(
            limits=EdgeLimits.of(settings),
            admission=Admission(admission_limits(settings)),
            clock=inside.clock,
            wheel=Wheel(now_ns, WHEEL_SLOT_NS),
            phase=random.random,
            origins=settings.origin,
        )
        self._pages = Pages()
        find = inside.whereabouts
        self.relay = None if find is None else Relay(self.edge, find)
        jobs = Jobs(tasks)
        dispatcher = Dispatcher(self.edge, inside.host, inside.services, jobs, self.relay)
        self.listener = Listener(self.edge, dispatcher, self._pages)
        exposition = Exposition(inside.metrics, self.edge.counters, self.edge.admission)
        self._admin = Admin(exposition.page, self._readiness)
        self._has_admin = False
        self._is_open = False
        self.port = 0
        self.admin_port = 0

    @property
    def connections(self) -> int:
        """How many WebSockets there are."""
        return len(self.listener.connections)

    async def start_admin(self) -> None:
        """Open the operator's port, so that it can be asked while the rest still starts."""
        settings = self._settings
        if settings.admin_port:
            is_worker = settings.worker_port is not None
            self.admin_port = await self._admin.start(
                settings.admin_host, settings.admin_port, shared=is_worker
            )
            self._has_admin = True

    async def check_port(self) -> None:
        """Raise ListenFailed if the players' port cannot be had, as long as nothing was begun."""
        settings = self._settings
        await check_free(settings.host, self._own_port)
        if settings.worker_port is not None:
            await check_free(settings.host, settings.port, shared=True)

    async def start(self) -> None:
        """Open the players' port, a worker's own one; raise ListenFailed."""
        # A client that is relayed mostly has all its rooms at one other node.
        files_each = 1 if self.relay is None else 2
        raise_file_limit(files_each * self._settings.connections_max + OTHER_FILES)
        await self._pages.start()
        self.port = await self.listener.start(self._settings.host, self._own_port)
        self._is_open = self._settings.worker_port is None
        log.info("listening_started", host=self._settings.host, port=self.port)

    async def share(self) -> None:
        """Open the port that workers share, if this is one; raise ListenFailed.

        Whoever comes there cannot choose, so it is opened when players can be served.
        """
        if self._settings.worker_port is not None:
            await self.listener.share(self._settings.host, self._settings.port)
            self._is_open = True

    def leave_shared(self) -> None:
        """Leave newcomers at a shared port to the other workers."""
        self.listener.leave_shared()

    async def drain(self, spread_s: float, *, elsewhere: bool = False) -> None:
        """Let nobody in any more and say goodbye to all, spread over ``spread_s`` seconds.

        They come back here later, or at once to another node.
        """
        await self.listener.drain(spread_s, elsewhere=elsewhere)

    def tell_urls(self, urls: Sequence[str]) -> None:
        """Tell everybody the addresses of other nodes."""
        told = codec.nodes(urls)
        for connection in self.listener.connections:
            if connection.is_open:
                connection.send(told)

    def send_away(self) -> None:
        """Let everybody go to another node at once; whoever finds none may come again."""
        self.listener.send_away()

    def refuse(self) -> None:
        """Let nobody in any more; who is connected stays."""
        self.edge.admission.is_draining = True

    async def stop(self) -> None:
        """Close both ports and every connection."""
        self.listener.stop()
        await self._pages.stop()
        if self._has_admin:
            await self._admin.stop()

    def _readiness(self) -> tuple[bool, str]:
        unready = self._inside.unready() if self._is_open else "starting"
        if self.edge.admission.is_draining:
            unready = "draining"
        return not unready, f"not ready: {unready}" if unready else "ready"

    @property
    def _own_port(self) -> int:
        shared = self._settings.worker_port
        return self._settings.port if shared is None else shared


def raise_file_limit(wanted: int) -> None:
    """Let this process have ``wanted`` open files, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if possible > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible < wanted:
        log.warning("file_limit_too_low", wanted=wanted, limit=possible)

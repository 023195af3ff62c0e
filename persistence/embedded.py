"""The embedded PostgreSQL, for development and small single servers, as asyncio sees it.

::

    async with EmbeddedPostgres(data_dir) as server:
        pool = await asyncpg.create_pool(server.dsn)

A server that a killed game server left on the same data directory is taken over; a second game
server there is refused; without its game server PostgreSQL ends by itself within 10 s. The work is
done by `persistence.embedded_cluster` in a thread, where each wait has its own deadline. The errors
are drawn in `persistence.embedded_host`.
"""

import asyncio
import contextlib
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import structlog

from persistence import embedded_watchdog as watchdog
from persistence.embedded_cluster import Cluster
from persistence.embedded_host import (
    BinariesMissing,
    DataDirInUse,
    DataDirUnusable,
    EmbeddedError,
    ServerFailed,
    WrongMajor,
)
from persistence.embedded_process import DATABASE, USER

__all__ = [
    "BinariesMissing",
    "DataDirInUse",
    "DataDirUnusable",
    "EmbeddedError",
    "EmbeddedPostgres",
    "ServerFailed",
    "WrongMajor",
    "running_dsn",
]

# Lines of the file that a server leaves in its cluster.
_PORT_LINE, _SOCKET_DIR_LINE = 3, 4

KEEP_INTERVAL_S = 0.5
# A server that ends again and again is not kept alive for ever.
RESTARTS_MAX = 5
RESTARTS_WINDOW_S = 60.0

log = structlog.get_logger()


def running_dsn(data_dir: Path) -> str | None:
    """Return the address of the server that runs on `data_dir` for somebody else, if one does.

    For those who look at the data beside the game server that holds them. It may end at any time.
    """
    cluster = data_dir.absolute() / watchdog.CLUSTER
    if watchdog.running_postmaster(cluster) is None:
        return None
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except OSError:
        return None
    if len(lines) <= _SOCKET_DIR_LINE:
        return None  # It is only starting.
    directory = quote(lines[_SOCKET_DIR_LINE], safe="/")
    return f"postgresql://{USER}@/{DATABASE}?host={directory}&port={lines[_PORT_LINE]}"


class EmbeddedPostgres:
    """A PostgreSQL of our own in `data_dir`; not `durable`, for tests, a crash loses its data.

    As a context manager it also restarts a server that ends by itself; who uses `start` and `stop`
    runs `keep` in a task group for that.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, major: int = 18) -> None:
        self._cluster = Cluster(data_dir, durable=durable, major=major)
        self._keepers = contextlib.AsyncExitStack()
        self.restarts = 0

    @property
    def dsn(self) -> str:
        """The address of the server's database, for asyncpg and libpq."""
        return self._cluster.dsn

    @property
    def adopted(self) -> bool:
        """Whether the server was already running, left by a killed game server."""
        return self._cluster.adopted

    @property
    def log_path(self) -> Path:
        """The file that PostgreSQL's messages go to."""
        return self._cluster.places.log

    @property
    def pid(self) -> int | None:
        """The process id of the server, while it runs."""
        return self._cluster.server_pid

    @property
    def watchdog_pid(self) -> int | None:
        """The process id of what ends the server when we are gone, while it runs."""
        return self._cluster.watchdog_pid

    async def start(self) -> None:
        """Hold the data directory and have a server accept connections on it."""
        # No deadline here and below: a thread cannot be cut short, and keeps its own.
        starting = asyncio.get_running_loop().run_in_executor(None, self._cluster.start)
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Wait for the start to end, so that no server is left behind that nobody will stop.
            with contextlib.suppress(EmbeddedError):
                await starting
                await self.stop()
            raise

    async def stop(self) -> None:
        """Shut the server down and let the data directory go; harmless if it did not run."""
        await asyncio.to_thread(self._cluster.stop)

    async def keep(self) -> None:
        """Start PostgreSQL again whenever it ends by itself; runs until it is cancelled.

        Raises `ServerFailed` when it does not start any more or ends too often.
        """
        loop = asyncio.get_running_loop()
        restarted_s: deque[float] = deque(maxlen=RESTARTS_MAX)
        while True:
            await asyncio.sleep(KEEP_INTERVAL_S)
            if self._cluster.is_whole or not await asyncio.to_thread(self._cluster.revive):
                continue
            self.restarts += 1
            log.warning("postgres_restarted", restarts=self.restarts, log=str(self.log_path))
            now_s = loop.time()
            if len(restarted_s) == RESTARTS_MAX and now_s - restarted_s[0] < RESTARTS_WINDOW_S:
                raise ServerFailed(
                    f"PostgreSQL ended {RESTARTS_MAX + 1} times within {RESTARTS_WINDOW_S:.0f} s: "
                    f"see {self.log_path}"
                )
            restarted_s.append(now_s)

    async def __aenter__(self) -> Self:
        await self.start()
        self._keepers.push_async_callback(self.stop)
        group = await self._keepers.enter_async_context(asyncio.TaskGroup())
        keeper = group.create_task(self.keep(), name="embedded-postgres")
        self._keepers.callback(keeper.cancel)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._keepers.__aexit__(kind, error, trace)

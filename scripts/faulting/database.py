"""A PostgreSQL of the campaign's own, that can be stopped, and whose sessions can be killed.

It listens on a socket in a directory; servers reach it through a relay.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import asyncpg

from persistence.embedded_cluster import Cluster
from persistence.embedded_process import DATABASE, USER

# A string, because asyncpg's classes take no parameters when the program runs.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

STOP_S = 20.0
CONNECT_S = 10.0
FIND_S = 30.0
POLL_S = 0.002

COMMITTING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND query LIKE '%commit_batch%' AND wait_event_type = 'Lock'"""
SESSION_OF_COMMITS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%commit_batch%'
ORDER BY backend_start DESC"""


class NotFound(Exception):
    """What a fault was to hit did not show itself in time."""


class Database:
    """A durable PostgreSQL in a directory."""

    def __init__(self, folder: Path) -> None:
        self._cluster = Cluster(folder)

    async def start(self) -> None:
        """Make it, if it is not there, and let it accept connections."""
        await asyncio.to_thread(self._cluster.start)

    async def stop(self) -> None:
        """End it in order."""
        await asyncio.to_thread(self._cluster.stop)

    async def start_again(self) -> None:
        """Start it after ``stop_now``; it recovers first what was committed."""
        await asyncio.to_thread(self._cluster.revive)

    async def stop_now(self) -> None:
        """Stop it at once, with nothing written back: as a crash of PostgreSQL."""
        pid = self._cluster.server_pid
        assert pid is not None, "PostgreSQL runs"
        os.kill(pid, signal.SIGQUIT)
        async with asyncio.timeout(STOP_S):
            while self.is_running:  # noqa: ASYNC110  Another process's end.
                await asyncio.sleep(0.005)

    @property
    def is_running(self) -> bool:
        """Tell whether the server's process is there."""
        return self._cluster.server_pid is not None

    def log_has(self, words: str) -> bool:
        """Tell whether PostgreSQL has said this, now or before its last start."""
        log = self._cluster.places.log
        logs = (log, log.with_name(log.name + ".old"))
        return any(words in one.read_text(errors="replace") for one in logs if one.exists())

    @property
    def socket(self) -> str:
        """Return the socket that a relay leads to."""
        return str(self._cluster.places.socket)

    @property
    def dsn(self) -> str:
        """Return the address that leads there without a relay."""
        return self._cluster.dsn

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Give a session of one's own, past every relay."""
        connection = await asyncpg.connect(
            self.dsn, timeout=CONNECT_S, server_settings={"application_name": "faults"}
        )
        try:
            yield connection
        finally:
            connection.terminate()

    @asynccontextmanager
    async def commit_under_way(self) -> AsyncIterator[int]:
        """Give the process of a commit that has done all its work but the last row."""
        async with self.connection() as holding, self.connection() as looking:
            await holding.execute("BEGIN")
            # The last thing that a commit writes; until then it only reads there.
            await holding.execute("LOCK TABLE batch IN EXCLUSIVE MODE")
            yield await _one(looking, COMMITTING)

    async def session_of_commits(self) -> int:
        """Return the process of the newest session that commits."""
        async with self.connection() as looking:
            return await _one(looking, SESSION_OF_COMMITS)


def dsn_through(port: int) -> str:
    """Return the address of the database behind a relay."""
    return f"postgresql://{USER}@127.0.0.1:{port}/{DATABASE}?sslmode=disable"


async def _one(connection: Connection, sql: str) -> int:
    deadline_s = time.monotonic() + FIND_S
    while time.monotonic() < deadline_s:
        rows = await connection.fetch(sql)
        if rows:
            return int(rows[0]["pid"])
        await asyncio.sleep(POLL_S)
    raise NotFound("no commit showed itself")


class SmallDisk:
    """A file system of a few megabytes, if we may make one."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._megabytes = megabytes
        self._filler = folder / "filler"

    async def mount(self) -> str:
        """Make it; return why it cannot be made, or nothing."""
        if os.geteuid() != 0 or shutil.which("mount") is None:
            return "only root may mount a file system of a few megabytes"
        self.folder.mkdir(parents=True)
        said = await asyncio.to_thread(
            subprocess.run,
            ["mount", "-t", "tmpfs", "-o", f"size={self._megabytes}m", "tmpfs", str(self.folder)],
            capture_output=True,
            timeout=CONNECT_S,
            check=False,
        )
        return said.stderr.decode(errors="replace").strip() if said.returncode else ""

    async def unmount(self) -> None:
        """Take it away again."""
        await asyncio.to_thread(
            subprocess.run, ["umount", "-l", str(self.folder)], timeout=CONNECT_S, check=False
        )

    def fill(self) -> None:
        """Leave no room on it."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(bytes(64 * 1024)):
                continue

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink(missing_ok=True)

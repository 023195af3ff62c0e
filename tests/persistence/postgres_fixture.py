"""A PostgreSQL for tests: one server a session, a database of its own for whoever asks.

Loaded by the conftest as a plugin. Everything in it is synchronous, so that it belongs to no event
loop. `GS_TEST_POSTGRES` names a server to use instead of the embedded one (its user must be allowed
to create databases), `GS_TEST_POSTGRES_MAJOR` the version of the embedded one.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from persistence.embedded_cluster import Cluster
from persistence.embedded_host import BinariesMissing

SQL_S = 30.0


class PostgresServer:
    """A running server, and the databases that tests made on it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._templates: set[str] = set()
        self._numbers = count(1)

    def dsn_of(self, database: str) -> str:
        """Return the address of a database of this server."""
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{database}"))

    def template(self, name: str, prepare: Callable[[str], None]) -> str:
        """Make the database `name` once a session, filled by `prepare(dsn)`; return `name`.

        `prepare` must leave no connection open, or nothing can be copied from the template.
        """
        if name not in self._templates:
            run_sql(self.dsn, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            run_sql(self.dsn, f'CREATE DATABASE "{name}"')
            prepare(self.dsn_of(name))
            self._templates.add(name)
        return name

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Give the address of a new copy of `template`, which is dropped afterwards."""
        name = f"gs_test_{os.getpid()}_{next(self._numbers)}"
        run_sql(self.dsn, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.dsn_of(name)
        finally:
            run_sql(self.dsn, f'DROP DATABASE "{name}" WITH (FORCE)')

    def drop_templates(self) -> None:
        """Drop what `template` made."""
        for name in sorted(self._templates):
            run_sql(self.dsn, f'DROP DATABASE "{name}" WITH (FORCE)')


def run_sql(dsn: str, sql: str) -> list[asyncpg.Record]:
    """Run one statement on a connection of its own, and return its rows."""

    async def run() -> list[asyncpg.Record]:
        async with asyncio.timeout(SQL_S):
            connection = await asyncpg.connect(dsn)
            try:
                return list(await connection.fetch(sql))
            finally:
                await connection.close()

    # In a thread, because the caller's may have an event loop that is running.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for the whole session; a crash of the machine would lose its data."""
    named = os.environ.get("GS_TEST_POSTGRES")
    if named:
        server = PostgresServer(named)
        yield server
        server.drop_templates()
        return
    data_dir = Path(tempfile.mkdtemp(prefix="gs-test-"))
    major = int(os.environ.get("GS_TEST_POSTGRES_MAJOR", "18"))
    cluster = Cluster(data_dir, durable=False, major=major)
    try:
        try:
            cluster.start()
        except BinariesMissing as error:
            pytest.skip(f"{error}; or name one with GS_TEST_POSTGRES")
        yield PostgresServer(cluster.dsn)
    finally:
        cluster.stop()
        shutil.rmtree(data_dir, ignore_errors=True)

"""The directory services under test, as fixtures: in memory, and on real servers.

Servers for all tests are started once a session; tests that break a server start their own.
`GS_TEST_REDIS` names a server to use instead of Valkey's wheel; its database is wiped.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from persistence.directory import Directory
from persistence.redis.connection import Connections
from persistence.redis.directory import RedisDirectory
from scripts.redis_server import Engine, NoServer, RedisServer
from tests.persistence.directories import CLUSTER, Directories, MemoryDirectories

UrlOf = Callable[[Engine], str]
MakeServer = Callable[..., RedisServer]


class RedisDirectories:
    """Directories on one server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: list[RedisDirectory] = []

    async def open(self, cluster_id: str = CLUSTER, prefix: str = "gs") -> Directory:
        """Return a directory as another node has it, started."""
        directory = RedisDirectory(self.url, prefix)
        self._opened.append(directory)
        await directory.start(cluster_id)
        return directory

    async def pass_ms(self, ms: int) -> None:
        """Wait: the server's time is the machine's."""
        await asyncio.sleep(ms / 1_000)

    async def wipe(self) -> None:
        """Make the server forget everything."""
        connections = Connections(self.url)
        await connections.call("FLUSHDB")
        await connections.close()

    async def stop(self) -> None:
        """Stop what was opened."""
        for directory in self._opened:
            await directory.stop()


@pytest.fixture(scope="session")
def url_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UrlOf]:
    """Return what gives the address of the session's server of an engine, or skips the test."""
    servers: dict[Engine, RedisServer] = {}

    def url(engine: Engine) -> str:
        named = os.environ.get("GS_TEST_REDIS")
        if named and engine is Engine.VALKEY:
            return named
        if engine not in servers:
            servers[engine] = _started(tmp_path_factory.mktemp(engine), engine)
        return servers[engine].url

    yield url
    for server in servers.values():
        server.kill()


@pytest.fixture(params=["memory", *Engine])
async def directories(request: pytest.FixtureRequest, url_of: UrlOf) -> AsyncIterator[Directories]:
    """Return a directory service with nothing in it."""
    service: Directories
    if request.param == "memory":
        service = MemoryDirectories()
    else:
        service = RedisDirectories(url_of(request.param))
        await service.wipe()
    yield service
    await service.stop()


@pytest.fixture(params=list(Engine))
def make_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeServer]:
    """Return what starts servers, with options, that the test may do anything to."""
    servers: list[RedisServer] = []

    def make(*options: str) -> RedisServer:
        server = _started(tmp_path / str(len(servers)), request.param, options)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def redis_server(make_server: MakeServer) -> RedisServer:
    """Return a server that the test may do anything to."""
    return make_server()


def _started(folder: Path, engine: Engine, options: tuple[str, ...] = ()) -> RedisServer:
    try:
        server = RedisServer(folder, engine, options)
    except NoServer as error:
        pytest.skip(str(error))
    server.start()
    return server

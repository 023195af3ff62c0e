"""The nodes of a cluster as processes, each with its own ways to what it needs.

Each node reaches Redis and PostgreSQL through relays of its own, and the other nodes reach it
through another: so that it can be cut off from one of them and from nothing else.
"""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from scripts.faulting.database import dsn_through
from scripts.faulting.relay import Relay
from scripts.faulting.servers import Server, ServerFailed, launched

LOOPBACK = "127.0.0.1"


class Node:
    """One node under its name and its port, whichever process runs it.

    Players reach it directly.
    """

    def __init__(
        self, name: str, folder: Path, tasks: asyncio.TaskGroup, options: Sequence[str]
    ) -> None:
        self.name = name
        self.port, self._peer_port = _free_ports(2)
        self.servers: list[Server] = []
        self.is_going = True  # Told to end, or not there: nobody should be led here.
        self.redis = Relay(tasks)
        self.postgres = Relay(tasks)
        self.peers = Relay(tasks)
        self._folder = folder
        self._options = options
        self._tasks = tasks

    @property
    def place(self) -> tuple[str, int]:
        """Return where players connect, as an address and a port."""
        return (LOOPBACK, self.port)

    @property
    def url(self) -> str:
        """Return where players connect."""
        return f"ws://{LOOPBACK}:{self.port}/ws"

    @property
    def server(self) -> Server:
        """Return its newest process."""
        return self.servers[-1]

    @property
    def relays(self) -> tuple[Relay, ...]:
        """Return its ways to everything but players."""
        return (self.redis, self.postgres, self.peers)

    async def prepare(self, database: str, redis: int) -> None:
        """Lay the ways to a database's socket and a Redis's port."""
        self.postgres.target = database
        self.redis.target = (LOOPBACK, redis)
        self.peers.target = (LOOPBACK, self._peer_port)
        for relay in self.relays:
            await relay.start()
        self.peers.refuse()

    async def start(self) -> None:
        """Start a process and return when players may come."""
        await self.peers.start()
        log = self._folder / f"{self.name}-{len(self.servers)}.log"
        server = await launched(
            dsn_through(self.postgres.port),
            self._folder / self.name,
            log,
            options=(
                *("--port", str(self.port), "--node-name", self.name),
                *("--redis", f"redis://{LOOPBACK}:{self.redis.port}/0"),
                *("--peer-port", str(self._peer_port)),
                *("--peer-address", f"{LOOPBACK}:{self.peers.port}"),
                *("--keys", str(self._folder / "keys.json")),
                *self._options,
            ),
        )
        self.servers.append(server)
        self._tasks.create_task(server.read())
        if not await server.ready():
            raise ServerFailed(f"{self.name} ended: {server.last_words()}")
        self.is_going = False

    async def kill(self) -> None:
        """End the process at once. As by a crash its port refuses from now on."""
        self.is_going = True
        self.peers.refuse()
        self.server.kill()
        await self.server.ended()

    async def drain(self) -> int:
        """End the process in order and return the exit code."""
        self.is_going = True
        self.peers.refuse()  # The links that stand are all that it needs.
        return await self.server.stop()

    async def stop(self) -> None:
        """Let nothing of it go on."""
        for server in self.servers:
            server.thaw()
            server.kill()
        for relay in self.relays:
            await relay.stop()


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody has just now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()

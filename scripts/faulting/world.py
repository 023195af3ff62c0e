"""All that a campaign needs to be running: a database, a server on it, and people who play.

Servers reach the database through a relay, and players reach the server that serves through
another. The world starts, replaces and watches; what to break is decided in ``faults``.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from protocol.client import Created
from scripts.faulting.database import dsn_through
from scripts.faulting.players import SETTINGS, Player, Sent
from scripts.faulting.relay import CommitRelay, Relay
from scripts.faulting.scene import Scene
from scripts.faulting.servers import Server, ServerFailed, launched

NEWS_S = 60.0
NOTICED_S = 2.0  # Until it is known whether the machine stood still.
RESTART_ATTEMPTS = 20
RESTART_PAUSE_S = 0.5
KEYS = "keys.json"


@dataclass(frozen=True)
class Size:
    """How many play, and how fast: ``players`` write a history, at tables of ``seats``."""

    players: int = 8
    seats: int = 2
    rate: float = 4.0
    seed: int = 1


@dataclass
class Watch:
    """Moments at which something new was told, for whoever waits for it."""

    last_ns: int = 0
    since_ns: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, sent: Sent) -> None:
        """Note an outcome; only of a command that was sent after ``since_ns`` it is news."""
        if sent.sent_ns > self.since_ns:
            self.last_ns = sent.answered_ns
            self.came.set()


class World(Scene):
    """A database, a server, relays, players and bots, from the first to the last."""

    def __init__(self, folder: Path, size: Size) -> None:
        super().__init__(folder)
        self.size = size
        self.servers: list[Server] = []
        self.players: list[Player] = []
        self.relay = Relay(self.tasks)
        self.commits = CommitRelay(self.tasks)
        self.ready_ms: list[int] = []  # How long servers took until they served.
        self._watch = Watch()
        self.history.news = self._watch.take

    @property
    def url(self) -> str:
        """Return where players connect, whichever server serves."""
        return f"ws://127.0.0.1:{self.relay.port}/ws"

    @property
    def server(self) -> Server:
        """Return the newest server."""
        return self.servers[-1]

    @property
    def keys(self) -> Path:
        """Return the file of the servers' keys."""
        return self._folder / "server" / KEYS

    # --- From the start to the end.

    async def _begin(self) -> None:
        await self.commits.start()
        await self.relay.start()
        self.commits.target = self.database.socket
        await self.serve()
        await self._seat_players()

    async def _let_go(self) -> None:
        for server in self.servers:
            server.thaw()
            server.kill()
        await asyncio.sleep(0)
        await self.relay.stop()
        await self.commits.stop()

    # --- Servers.

    async def launch(self, failpoint: str = "") -> Server:
        """Start one more server on the database; it takes every shard."""
        dsn = dsn_through(self.commits.port)
        log = self._folder / f"server-{len(self.servers)}.log"
        server = await launched(dsn, self._folder / "server", log, failpoint)
        self.servers.append(server)
        self.tasks.create_task(server.read())
        return server

    async def serve(self, failpoint: str = "") -> bool:
        """Start a server and lead players to it; false if it ended before it was ready."""
        self.relay.target = None
        started_ns = self.now_ns()
        server = await self.launch(failpoint)
        if not await server.ready():
            return False
        self.ready_ms.append((self.now_ns() - started_ns) // 1_000_000)
        self.relay.target = ("127.0.0.1", server.port)
        return True

    async def serve_again(self) -> None:
        """Start a server after the last one ended, as often as it takes while storage is away."""
        for _ in range(RESTART_ATTEMPTS):
            if await self.serve():
                return
            await asyncio.sleep(RESTART_PAUSE_S)
        raise ServerFailed(f"no server starts any more: {self.server.last_words()}")

    async def mend(self) -> None:
        """Have everything run again, whatever a fault was interrupted in."""
        self.commits.let_go()
        if not self.database.is_running:
            await self.database.start_again()
        for server in self.servers:
            server.thaw()
            server.kill()
            await server.ended()
        since_ns = self.now_ns()
        await self.serve_again()
        await self.news(since_ns)

    async def kill(self) -> int:
        """Kill the server, let players note what they last saw, return when it was."""
        killed_ns = time.monotonic_ns()
        self.server.kill()
        self.relay.target = None
        await self.server.ended()
        await self.note_last_sights()
        return killed_ns

    async def drain(self) -> None:
        """End the server in order; a machine that stands still runs out of its time for that."""
        server, stalls = self.server, len(self.machine.stalls_ms)
        try:
            code = await server.stop()
        except ServerFailed as error:
            server.kill()
            code, words = await server.ended(), str(error)
        else:
            words = server.last_words()
        if not code:
            return
        await asyncio.sleep(NOTICED_S)
        if len(self.machine.stalls_ms) == stalls:
            self.faults.append(f"the server ended with {code}: {words}")
        else:
            server.has_run_late = True

    async def note_last_sights(self) -> None:
        """Let players write down what they saw last, before a new server shows them more."""
        await asyncio.sleep(0.01)  # What is on its way through the relay still arrives.
        for player in self.players:
            player.note_sight()

    # --- Players and bots.

    async def _seat_players(self) -> None:
        tables: list[Created] = []
        for number in range(self.size.players):
            name = f"player {number}"
            player = Player(self.url, name, self.history, self.size.seed * 1_000 + number)
            await self.clients.enter_async_context(player.client)
            if number % self.size.seats == 0:
                made = await player.client.create("keno", settings=SETTINGS, listed=False)
                tables.append(made)
            self.players.append(player)
            self.let_play(player, tables[-1], self.size.rate)

    async def news(self, since_ns: int) -> int:
        """Wait until a command that was sent after ``since_ns`` has its outcome; return when."""
        self._watch.since_ns = since_ns
        self._watch.came.clear()
        async with asyncio.timeout(NEWS_S):
            await self._watch.came.wait()
        return self._watch.last_ns

    # --- The end.

    async def end_play(self) -> None:
        """Let players stop, rounds come to their end, and the server end in order."""
        await self.end_players(self.players)
        await self.drain()
        for one in self.servers:
            self.faults += [f"server {one.pid}: {fault}" for fault in one.faults()]

"""All that a campaign needs to be running: a database, a server on it, and people who play.

Servers reach the database through a relay, and players reach the server that serves through
another. The world starts, replaces and watches; what to break is decided in ``faults``.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from protocol.client import Created
from scripts.faulting import books
from scripts.faulting.bots import Bots, Crowd, doubted, gathered, judged
from scripts.faulting.database import Database, dsn_through
from scripts.faulting.machine import Machine
from scripts.faulting.players import SETTINGS, History, Player, Sent
from scripts.faulting.relay import CommitRelay, Relay
from scripts.faulting.servers import Server, ServerFailed, launched

NEWS_S = 60.0
QUIET_S = 60.0
NOTICED_S = 2.0  # Until it is known whether the machine stood still.
RESTART_ATTEMPTS = 20
RESTART_PAUSE_S = 0.5
KEYS = "keys.json"
# Bots wait for 30 s; a machine that stood still for longer than this may make them wait so long.
STALL_MS_MAX = 5_000


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


class World:
    """A database, a server, relays, players and bots, from the first to the last."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.size = size
        self.history = History()
        self.database = Database(folder / "database")
        self.servers: list[Server] = []
        self.players: list[Player] = []
        self.faults: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self.wallets_cleared = 0  # That a bot complained of, and that were right.
        self.tasks = asyncio.TaskGroup()
        self.relay = Relay(self.tasks)
        self.commits = CommitRelay(self.tasks)
        self.ready_ms: list[int] = []  # How long servers took until they served.
        self.machine = Machine(folder / "written")
        self.has_waited = False  # Whether there was an outage of many seconds since the bots came.
        self._folder = folder
        self._watch = Watch()
        self._bots: Bots | None = None
        self._stopping = asyncio.Event()
        self._stalls_before = 0
        self._playing: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None
        self._rest = contextlib.AsyncExitStack()
        self._clients = contextlib.AsyncExitStack()
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

    async def __aenter__(self) -> Self:
        """Start everything; players sit down and begin."""
        await self._rest.enter_async_context(self.tasks)
        self._rest.push_async_callback(self.database.stop)
        self._rest.push_async_callback(self._let_go)
        self._rest.push_async_callback(self._clients.aclose)
        try:
            self._folder.mkdir(exist_ok=True)
            self._watching = self.tasks.create_task(self.machine.watch())
            await self.database.start()
            await self.commits.start()
            await self.relay.start()
            self.commits.target = self.database.socket
            await self.serve()
            await self._seat_players()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._rest.__aexit__(kind, error, trace)

    async def _let_go(self) -> None:
        for task in (*self._playing, self._watching):
            if task is not None:
                task.cancel()
        if self._bots is not None:
            self._bots.kill()
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
            await self._clients.enter_async_context(player.client)
            if number % self.size.seats == 0:
                made = await player.client.create("keno", settings=SETTINGS, listed=False)
                tables.append(made)
            self.players.append(player)
            playing = player.play(tables[-1], self.size.rate, self._stopping)
            self._playing.append(self.tasks.create_task(playing))

    async def gather(self, crowd: Crowd) -> None:
        """Let bots come."""
        report = self._folder / f"bots-{len(self.reports)}.json"
        self._bots = await gathered(self.url, crowd, report)
        self.tasks.create_task(self._bots.read())
        self.has_waited = False
        self._stalls_before = len(self.machine.stalls_ms)
        if not await self._bots.seated():
            self.faults.append(f"the bots of {crowd.game} did not all find a seat")

    async def dismiss(self) -> None:
        """Let the bots check everything and go."""
        bots, self._bots = self._bots, None
        if bots is None:
            return
        report = await bots.stop()
        self.reports.append(report)
        stalls_ms = self.machine.stalls_ms[self._stalls_before :]
        waited = self.has_waited or max(stalls_ms, default=0) > STALL_MS_MAX
        cleared = 0
        if doubts := doubted(report):
            async with self.database.connection() as connection:
                cleared = sum([await books.is_right(connection, one) for one in doubts])
        self.wallets_cleared += cleared
        wrong = judged(report, waited=waited, cleared=cleared)
        self.faults += [f"bots of {bots.crowd.game}: {one}" for one in wrong]

    def now_ns(self) -> int:
        """Return the time by which outcomes are told."""
        return time.monotonic_ns()

    async def news(self, since_ns: int) -> int:
        """Wait until a command that was sent after ``since_ns`` has its outcome; return when."""
        self._watch.since_ns = since_ns
        self._watch.came.clear()
        async with asyncio.timeout(NEWS_S):
            await self._watch.came.wait()
        return self._watch.last_ns

    # --- Checks.

    async def look(self) -> None:
        """Ask the database whether all is as it must be at every moment."""
        async with self.database.connection() as connection:
            self.faults += await books.faults(connection)

    async def end_play(self) -> None:
        """Let players stop, rounds come to their end, and the server end in order."""
        self._stopping.set()
        for task in self._playing:
            await task
        self._playing.clear()
        for player in self.players:
            (balance,) = await player.client.request("balance")
            if player.client.balance not in (None, balance):
                self.faults.append(
                    f"{player.client.name} was told a balance of {player.client.balance},"
                    f" and has {balance}"
                )
        await self._clients.aclose()
        await self._quiet()
        await self.drain()
        for one in self.servers:
            self.faults += [f"server {one.pid}: {fault}" for fault in one.faults()]

    async def _quiet(self) -> None:
        """Wait until no round is under way any more."""
        async with self.database.connection() as connection:
            deadline_s = time.monotonic() + QUIET_S
            while await books.standing_holds(connection):
                if time.monotonic() > deadline_s:
                    self.faults.append("rounds do not come to their end")
                    return
                await asyncio.sleep(0.2)

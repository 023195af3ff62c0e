"""What every campaign has: a database, people who play, bots, and a look at all they were told.

Which servers run, and what becomes of them, is for the worlds that are made of this.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from protocol.client import Created
from scripts.faulting import books
from scripts.faulting.bots import Bots, Crowd, doubted, gathered, judged
from scripts.faulting.database import Database
from scripts.faulting.machine import Machine
from scripts.faulting.players import History, Player

QUIET_S = 60.0
# Bots wait for 30 s; a machine that stood still for longer than this may make them wait so long.
STALL_MS_MAX = 5_000


class Scene:
    """A database, players and bots, from the first to the last; servers are for the subclasses."""

    def __init__(self, folder: Path) -> None:
        self.history = History()
        self.database = Database(folder / "database")
        self.faults: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self.wallets_cleared = 0  # That a bot complained of, and that were right.
        self.tasks = asyncio.TaskGroup()
        self.machine = Machine(folder / "written")
        self.has_waited = False  # Whether there was an outage of many seconds since the bots came.
        self.clients = contextlib.AsyncExitStack()
        self._folder = folder
        self._bots: list[Bots] = []
        self._stopping = asyncio.Event()
        self._stalls_before = 0
        self._playing: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None
        self._rest = contextlib.AsyncExitStack()

    # --- From the start to the end.

    async def __aenter__(self) -> Self:
        """Start everything; players sit down and begin."""
        await self._rest.enter_async_context(self.tasks)
        self._rest.push_async_callback(self.database.stop)
        self._rest.push_async_callback(self._let_go)
        self._rest.push_async_callback(self._let_go_of_people)
        self._rest.push_async_callback(self.clients.aclose)
        try:
            self._folder.mkdir(exist_ok=True)
            self._watching = self.tasks.create_task(self.machine.watch())
            await self.database.start()
            await self._begin()
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

    async def _begin(self) -> None:
        """Start servers and seat players; the database runs."""
        raise NotImplementedError

    async def _let_go(self) -> None:
        """End what was started, however it stands."""
        raise NotImplementedError

    async def _let_go_of_people(self) -> None:
        for task in (*self._playing, self._watching):
            if task is not None:
                task.cancel()
        for bots in self._bots:
            bots.kill()

    # --- Players and bots.

    def let_play(self, player: Player, table: Created, rate: float) -> None:
        """Let a player, who is connected, play at a table until the end."""
        playing = player.play(table, rate, self._stopping)
        self._playing.append(self.tasks.create_task(playing))

    async def gather(self, url: str, crowd: Crowd) -> None:
        """Let bots come, to those that are there."""
        if not self._bots:
            self.has_waited = False
            self._stalls_before = len(self.machine.stalls_ms)
        report = self._folder / f"bots-{len(self.reports) + len(self._bots)}.json"
        bots = await gathered(url, crowd, report)
        self._bots.append(bots)
        self.tasks.create_task(bots.read())
        if not await bots.seated():
            self.faults.append(f"the bots of {crowd.game} did not all find a seat")

    async def dismiss(self) -> None:
        """Let the bots check everything and go."""
        leaving, self._bots = self._bots, []
        for bots in leaving:
            report = await bots.stop()
            self.reports.append(report)
            await self._judge(bots, report)

    async def _judge(self, bots: Bots, report: dict[str, Any]) -> None:
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

    # --- Checks.

    async def look(self) -> None:
        """Ask the database whether all is as it must be at every moment."""
        async with self.database.connection() as connection:
            self.faults += await books.faults(connection)

    async def end_players(self, players: Sequence[Player]) -> None:
        """Let players stop and go, and rounds come to their end."""
        self._stopping.set()
        for task in self._playing:
            await task
        self._playing.clear()
        for player in players:
            (balance,) = await player.client.request("balance")
            if player.client.balance not in (None, balance):
                self.faults.append(
                    f"{player.client.name} was told a balance of {player.client.balance},"
                    f" and has {balance}"
                )
        await self.clients.aclose()
        await self._quiet()

    async def _quiet(self) -> None:
        """Wait until no round is under way any more."""
        async with self.database.connection() as connection:
            deadline_s = time.monotonic() + QUIET_S
            while await books.standing_holds(connection):
                if time.monotonic() > deadline_s:
                    self.faults.append("rounds do not come to their end")
                    return
                await asyncio.sleep(0.2)

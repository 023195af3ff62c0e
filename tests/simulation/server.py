"""One server process, put together as `gameserver.app` does it, but for sockets and pages.

Engine, games, runtime, services, sessions and connections are the real ones; the network, the
database, the clock and chance are the simulation's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from random import Random
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gameserver.engine.game import Game
from gameserver.engine.inbox import COMMANDS_MAX
from gameserver.games import conquest, keno, quiz
from gameserver.games.quiz.bank import Bank, parse_bank
from gameserver.net.connection import Connection
from gameserver.net.dispatch import Dispatcher, Services
from gameserver.net.edge import WHEEL_SLOT_NS, Edge, EdgeLimits
from gameserver.net.jobs import Jobs
from gameserver.net.limits import Admission, AdmissionLimits
from gameserver.net.listener import Listener
from gameserver.net.outbox import OutboxLimits
from gameserver.net.wheel import Wheel
from gameserver.runtime.committer import SLOTS_AHEAD_MAX, WORKS_WAITING_MAX
from gameserver.runtime.node import NO_SHARDS, Node, NodeSettings
from gameserver.runtime.ring import RING_BYTES_MAX
from gameserver.runtime.signing import HeadSigner
from gameserver.runtime.snapshots import WAITING_MAX as SNAPSHOTS_WAITING_MAX
from gameserver.services.accounts import Accounts
from gameserver.services.lobby import Lobby, LobbyLimits
from gameserver.services.requests import Requests
from gameserver.services.wallet import Wallet
from persistence.interfaces import StorageError
from persistence.ownership import DEFAULT_SHARDS
from persistence.sealing import Sealer
from protocol.messages import AnyInbound, Command
from tests.simulation.games import Mill
from tests.simulation.loop import Process, SimLoop
from tests.simulation.store import WALL_MS, Database, StoreLink

SECOND_NS = 1_000_000_000
GRANT_MINOR = 20_000
DRAIN_TIMEOUT_S = 8.0
HEADS_EVERY_S = 4.0
SEALER = Sealer({1: bytes(32)}, 1)
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


class Clock:
    """A process's clock: the loop's time, a little off, and chance from a seed."""

    def __init__(self, loop: SimLoop, chance: Random, skew_ms: int) -> None:
        self._loop = loop
        self._chance = chance
        self._offset_ns = chance.randrange(10**15)
        self._skew_ms = chance.randrange(-skew_ms, skew_ms)

    def now_ns(self) -> int:
        """Return monotonic nanoseconds, from wherever this machine counts."""
        return self._loop.now_ns() + self._offset_ns

    def wall_ms(self) -> int:
        """Return what this machine believes the time to be."""
        return WALL_MS + self._skew_ms + self._loop.now_ns() // 1_000_000

    def entropy(self, count: int) -> bytes:
        """Return bytes that only the seed predicts."""
        return self._chance.randbytes(count)


@cache
def bank() -> Bank:
    """Return the clues of the quiz."""
    folder = resources.files("gameserver.games.quiz") / "content"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return parse_bank({file.name: file.read_text("utf-8") for file in files[:2]})


@cache
def games() -> dict[str, Game[Any]]:
    """Return the games that are played."""
    made: tuple[Game[Any], ...] = (keno.GAME(), quiz.GAME(bank()), conquest.GAME(), Mill())
    return {game.name: game for game in made}


@dataclass(frozen=True, slots=True)
class Tuning:
    """Limits of a server, small enough for every one of them to be met."""

    ring_ticks: int = 600
    snapshot_entries: int = 25
    snapshot_ticks: int = 100
    soft_bytes: int = 2_000
    hard_bytes: int = 16_000
    command_rate: int = 40
    command_burst: int = 40
    shards: int = DEFAULT_SHARDS
    skew_ms: int = 2_000


OnCommand = Callable[[Connection, Command], None]


class Ears(NamedTuple):
    """Who is told of each command as it arrives, and of each that is not turned away at once."""

    on_command: OnCommand
    on_let_in: Callable[[Connection], None]


class _Dispatcher(Dispatcher):
    """The dispatcher, with ears for commands as they arrive."""

    on_command: OnCommand
    on_let_in: Callable[[Connection], None]

    def receive(self, connection: Connection, message: AnyInbound) -> None:
        if type(message) is not Command:
            super().receive(connection, message)
            return
        self.on_command(connection, message)
        turned_away = self._edge.counters.commands_rate_limited
        super().receive(connection, message)
        if self._edge.counters.commands_rate_limited == turned_away:
            self.on_let_in(connection)


class Server:
    """A process that serves until it is drained, killed, or cannot start.

    What stands before a dot in its name is that of its node: another process may have had it.
    """

    def __init__(
        self, name: str, database: Database, chance: Random, tuning: Tuning, ears: Ears
    ) -> None:
        self.name = name
        self.node_name = name.partition(".")[0]
        self.process = Process(name)
        self.loop = database.loop
        self.clock = Clock(self.loop, chance, tuning.skew_ms)
        self.link = StoreLink(database, name)
        self.is_serving = False
        self.has_ended = False
        self.on_exit: Callable[[], None] = lambda: None
        self.task: asyncio.Task[None] | None = None
        self._chance = chance
        self._tuning = tuning
        self._ears = ears
        self._told_to_drain = asyncio.Event()
        settings = NodeSettings(
            self.node_name,
            tuning.shards,
            50,
            tuning.ring_ticks,
            tuning.snapshot_entries,
            tuning.snapshot_ticks,
        )
        self.node = Node(self.link, games(), SEALER, self.clock, settings)
        self.node.signer = HeadSigner(
            self.link, SIGNING_KEY, self.clock, HEADS_EVERY_S, database.keep_signed
        )
        self.listener: Listener | None = None

    @property
    def is_up(self) -> bool:
        """Tell whether the process runs, frozen or not."""
        running = self.task is not None and not self.task.done()
        return running and not self.process.is_dead

    @property
    def overfull(self) -> list[str]:
        """Return the queues that hold more than they may just now."""
        node = self.node
        opened = node.host.rooms.values()
        sizes = {
            "slots ahead": (node.committer._slots_ahead, SLOTS_AHEAD_MAX),
            "works": (len(node.committer._waiting), WORKS_WAITING_MAX),
            "snapshots": (len(node._snapshots._waiting), SNAPSHOTS_WAITING_MAX),
            "commands": (max((len(one.inbox.commands) for one in opened), default=0), COMMANDS_MAX),
            "ring": (max((len(one.ring._kept) for one in opened), default=0), RING_BYTES_MAX),
        }
        return [f"{name}: {held} of {most}" for name, (held, most) in sizes.items() if held > most]

    @property
    def is_idle(self) -> bool:
        """Tell whether the process has no shard any more."""
        return self.node.unready() == NO_SHARDS

    def start(self) -> None:
        """Start the process; when it ends, all of it ends."""
        self.task = self.loop.spawn(self.process, self._main())
        self.task.add_done_callback(self._exit)

    def _exit(self, _: asyncio.Task[None]) -> None:
        self.is_serving = False
        self.has_ended = True
        self.loop.kill(self.process)
        self.on_exit()

    def drain(self) -> None:
        """Tell the process to finish and end."""
        self._told_to_drain.set()

    async def _main(self) -> None:
        node = self.node
        try:
            await node.start()
        except (StorageError, TimeoutError):
            return  # Whoever keeps processes running starts another.
        services = self._services()
        async with asyncio.TaskGroup() as tasks:
            listener = self._listener(services, tasks)
            running = tasks.create_task(node.run(), name="node")
            await listener.start(self.name, 1)
            self.is_serving = True
            await self._told_to_drain.wait()
            self.is_serving = False
            try:
                async with asyncio.timeout(DRAIN_TIMEOUT_S):
                    listener.edge.admission.is_draining = True
                    await listener.drain(0.3)
                    await asyncio.sleep(0.2)
                    node.drain()
                    await asyncio.wait([running])
            except TimeoutError:
                running.cancel()
            listener.stop()

    def _services(self) -> Services:
        store, clock, node = self.link, self.clock, self.node
        accounts = Accounts(
            store,
            SIGNING_KEY,
            lambda: clock.wall_ms() // 1000,
            play_money_minor=GRANT_MINOR,
            chance=self._chance,
        )
        wallet = Wallet(store)
        limits = LobbyLimits(50, 10)
        lobby = Lobby(store, games(), node.host, limits, clock.now_ns, chance=self._chance)
        node.host.closing.on_closed = lobby.closed
        node.backlog.on_listed = lobby.note
        node.host.releaser.on_balances = wallet.on_balances
        return Services(accounts, lobby, Requests(store, lobby, wallet), wallet)

    def _listener(self, services: Services, tasks: asyncio.TaskGroup) -> Listener:
        tuning, clock = self._tuning, self.clock
        edge = Edge(
            limits=EdgeLimits(
                message_bytes_max=4096,
                command_rate=tuning.command_rate,
                command_burst=tuning.command_burst,
                outbox=OutboxLimits(tuning.soft_bytes, tuning.hard_bytes, 3 * SECOND_NS),
                hello_timeout_ns=3 * SECOND_NS,
                ping_interval_ns=SECOND_NS,
                idle_timeout_ns=4 * SECOND_NS,
            ),
            admission=Admission(AdmissionLimits(100, 100, 100, 100)),
            clock=clock,
            wheel=Wheel(clock.now_ns(), WHEEL_SLOT_NS),
            phase=self._chance.random,
        )
        dispatcher = _Dispatcher(edge, self.node.host, services, Jobs(tasks))
        dispatcher.on_command, dispatcher.on_let_in = self._ears
        self.listener = Listener(edge, dispatcher, _no_pages)
        return self.listener


def _no_pages() -> asyncio.Protocol:
    raise AssertionError("Nobody asks for a page here.")

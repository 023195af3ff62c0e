"""One run: a database, servers, players and a nemesis on virtual time, all from one seed.

Things go wrong for about thirteen seconds; then the world is healed, must come to rest within a
bound, and everything that was said and kept is checked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

import structlog

from gameserver.net.connection import Connection
from gameserver.runtime import recovery, release
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.work import OpenRoom
from persistence.interfaces import RoomStatus, Ruling, Settle
from tests.simulation import awaits
from tests.simulation.checkers import Checker
from tests.simulation.history import History, Trace, Violation
from tests.simulation.loop import Process, SimLoop
from tests.simulation.minds import SETTINGS
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import ClientEnd, Network
from tests.simulation.players import Place, Player
from tests.simulation.server import Ears, Server, Tuning
from tests.simulation.store import Database

S = TypeVar("S", bound=Server)

TROUBLE_S = 13.0
HEAL_WITHIN_S = 15.0
REST_S = 4.5
BEGAN_S = 1_000.0
RUN_S_MIN = 20.0
FAULTS_MIN = 3
SUPERVISE_S = 0.1
KNOWN_AWAITS = "I24 every await is known"
SETTLE_WITHIN_S = 12.0
ENDS_WITHIN_S = 12.0
SMALL_LIMITS: tuple[tuple[Any, str, tuple[int, ...]], ...] = (
    (release, "WRITES_PER_TURN", (1, 3, release.WRITES_PER_TURN)),
    (recovery, "ENTRIES_PER_PAGE", (3, 20, recovery.ENTRIES_PER_PAGE)),
    (recovery, "REFILL_ENTRIES_PER_PAGE", (3, 20, recovery.REFILL_ENTRIES_PER_PAGE)),
)
MISTAKES = frozenset({"request_failed", "connection_failed", "client_failed"})


@dataclass
class Report:
    """What came of a run."""

    seed: int
    digest: str
    violations: list[Violation]
    counts: Counter[str]
    faults: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0


class World:
    """Everything of one run."""

    places_to_die: tuple[str, ...] = awaits.AWAITS

    def __init__(
        self,
        seed: int,
        *,
        only: tuple[str, ...] = (),
        show: Callable[[str], None] | None = None,
    ) -> None:
        self.seed = seed
        chance = self.chance("world")
        self.loop = SimLoop(self.chance("order") if chance.random() < 0.7 else None)
        self.trace = Trace(self.loop.time, show)
        self.database = Database(self.loop, self.chance("database"))
        self.database.on_call = self._note_call
        self.network = Network(self.loop, self.chance("network"))
        self.network.latency_s = self.network.usual_latency_s = chance.choice((0.001, 0.005, 0.02))
        self.network.split_rate = chance.choice((0.0, 0.0, 0.3))
        self.history = History(self.database, self.trace)
        self.network.on_sent = self.history.see
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.tuning = Tuning(
            ring_ticks=chance.choice((10, 30, 150, 600)),
            snapshot_entries=chance.choice((8, 25, 60)),
            soft_bytes=chance.choice((150, 600, 4_000)),
            hard_bytes=chance.choice((4_000, 20_000)),
        )
        self.servers: list[Server] = []
        self.expected_aside: dict[int, str] = {}
        self.forged: dict[int, tuple[int, Any]] = {}
        self.doomed: set[str] = set()
        self.restart_due_s: float | None = None
        self.is_quiet = False
        self.is_healed = False
        self.is_calm = False
        self.healed_s = 0.0
        self.is_closing = False
        self._chance = chance
        self._dials = self.chance("dials")
        self.places = self._places(chance)
        self.players = [self._player(number) for number in range(chance.choice((2, 2, 3, 3, 4)))]
        self.nemesis = self._nemesis(only)

    def chance(self, name: str) -> Random:
        """Return a stream of chance of its own, so that one part does not disturb another's."""
        return Random(f"{self.seed}/{name}")

    def _nemesis(self, only: tuple[str, ...]) -> Nemesis:
        return Nemesis(self, self.chance("nemesis"), only)

    def _places(self, chance: Random) -> list[Place]:
        names = chance.choices(("keno", "conquest", "quiz", "mill"), (9, 3, 3, 5), k=2)
        if chance.random() < 0.15:
            names[1] = names[0]
        count = chance.choice((1, 2, 2))
        return [
            Place(name, chance.choice(SETTINGS[name]), number)
            for number, name in enumerate(names[:count])
        ]

    def _player(self, number: int) -> Player:
        chance = self.chance(f"player {number}")
        places = self.places if number == 0 or chance.random() < 0.7 else self.places[:1]
        player = Player(f"p{number}", self, chance, list(places))
        player.watches = number > 1 and chance.random() < 0.35
        player.pace_s = chance.choice((0.05, 0.15, 0.4))
        return player

    # --- What players and the nemesis use.

    def count(self, what: str) -> None:
        """Note that something rare happened."""
        self.counts[what] += 1

    def fault(self, name: str) -> None:
        """Note that something goes wrong now."""
        self.trace.note("FAULT", name)
        self.faults[name] += 1

    def front_url(self) -> str:
        """Return the address that players begin with."""
        return "ws://any/ws"

    async def dial(self, process: Process, url: str) -> ClientEnd:
        """Connect to the newest server, or now and then to another that is still there."""
        up = [server for server in self.servers if server.is_up and server.is_serving]
        if not up:
            await asyncio.sleep(0.05)
            raise ConnectionRefusedError("no server is up")
        server = up[-1] if self._dials.random() < 0.85 else self._dials.choice(up)
        return await self.network.dial(process, server.name)

    def some_server(self) -> Server | None:
        """Return the server that was started last, if it is up."""
        return self.servers[-1] if self.servers and self.servers[-1].is_up else None

    def start_rival(self, server: Server) -> None:
        """Start another server, which takes the shards over."""
        self.start_server()

    def start_server(self) -> None:
        """Start another server, which takes the shards over."""
        self._start(Server, "s")

    def _start(self, kind: type[S], prefix: str) -> S:
        number = len(self.servers) + 1
        name = f"{prefix}{number}"
        chance = self.chance(f"server {number}")

        def hear(connection: Connection, command: Any) -> None:
            self.history.hear(name, connection, command)

        def let_in(connection: Connection) -> None:
            rate, burst = self.tuning.command_rate, self.tuning.command_burst
            self.history.let_in(connection, rate, burst)

        ears = Ears(hear, let_in)
        server = kind(name, self.database, chance, self.tuning, ears)
        self.servers.append(server)
        server.on_exit = lambda: self._reset_links(server)
        server.process.on_wait = lambda place: self._meet_doom(server, place)
        server.start()
        return server

    def _plan_doom(self) -> None:
        """Have one server die at a place of which each run has another."""
        place = self.places_to_die[self.seed // 2 % len(self.places_to_die)]
        if self.seed % awaits.RARE_EVERY == 0:
            self.doomed.update(awaits.RARE)
        # Players are let in and rooms made at the beginning; elsewhere there must be a story first.
        after_s = 0.0 if place.startswith("services.") else self._chance.uniform(1, 6)
        self.loop.call_at(self.loop.time() + after_s, self.doomed.add, place)

    def _meet_doom(self, server: Server, place: str) -> None:
        """Kill a server that has just begun to wait where one is to die."""
        if place and place not in awaits.ALL:
            self.history.violate(KNOWN_AWAITS, place)
        if place in self.doomed and not self.is_healed:
            self.doomed.discard(place)
            self.count(f"died_at {place}")
            self.kill_server(server)
            self._reset_links(server)

    def _reset_links(self, server: Server) -> None:
        for link in self.network.of(server.process):
            link.reset()

    def kill_server(self, server: Server) -> None:
        """End a server at once."""
        self.loop.kill(server.process)

    def regress(self, backup: dict[str, Any]) -> None:
        """Restore a backup; what was told before counts no more, and old owners must stop."""
        self.count("database_regressed")
        self.database.restore(backup)
        self.history.forget({server.name for server in self.servers})

    def _note_call(self, node: str, name: str, asked: Any, answer: Any) -> None:
        if name == "verdicts":
            self.count("verdicts_fetched")
        detail: object = ""
        if name == "commit":
            batch = asked[0]
            rows = [(row.room_id % 1000, row.number, row.tick) for row in batch.entries]
            detail = f"{batch.batch_id % 10**6} {rows}"
            if not isinstance(answer, Exception):
                rulings = [(one.reference, int(one.ruling)) for one in answer.verdicts]
                detail = f"{detail} {rulings} {sorted(answer.fenced)} {sorted(answer.regressed)}"
        failed = repr(answer) if isinstance(answer, Exception) else ""
        self.trace.note(node, name, detail, failed)

    # --- The run.

    def run(self) -> Report:
        """Run from the first to the last moment, and check."""
        asyncio.set_event_loop(self.loop)
        try:
            with ExitStack() as stack:
                self._set_the_scene(stack)
                self.loop.run_until_complete(self._run())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()
        if self.loop.unhandled:
            self.history.violate("I21 nothing is left unhandled", "; ".join(self.loop.unhandled))
        self._gather()
        return Report(
            self.seed,
            self.trace.digest,
            self.history.violations,
            self.counts,
            self.faults,
            self.loop.time() - BEGAN_S,
        )

    def _set_the_scene(self, stack: ExitStack) -> None:
        """Replace for a while what is not the same in a simulation."""
        stack.enter_context(captured_log(self._note_log))
        stack.enter_context(small_limits(self.chance("limits")))

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._start_servers()
            supervising = tasks.create_task(self._supervise())
            for player in self.players:
                player.start()
            self._plan_doom()
            trouble = tasks.create_task(self.nemesis.run())
            await asyncio.sleep(TROUBLE_S)
            trouble.cancel()
            self._heal()
            await self._come_to_life()
            await self._be_calm()
            await self._come_to_rest()
            await asyncio.sleep(max(BEGAN_S + RUN_S_MIN - self.loop.time(), 0))
            self._check_presence()
            self.is_closing = True
            supervising.cancel()
        await self._close()
        self._check()

    def _start_servers(self) -> None:
        self.start_server()

    async def _be_calm(self) -> None:
        """Do what needs a time in which nothing goes wrong; with one server there is nothing."""

    async def _supervise(self) -> None:
        """Keep one server running, and end those that have lost all their shards."""
        chance = self.chance("supervisor")
        while True:
            await asyncio.sleep(SUPERVISE_S)
            for server in self.servers:
                self._look_at(server)
            self._restart_if_due()
            if not self.servers[-1].is_up:
                await asyncio.sleep(chance.choice((0.0, 0.1, 0.5, 1.0)))
                self.start_server()

    def _look_at(self, server: Server) -> None:
        task = server.task
        if task is not None and task.done() and not task.cancelled() and task.exception():
            self.history.violate("I21 nothing is left unhandled", repr(task.exception()))
        if server.is_serving and server.is_up and not server.process.is_frozen and server.is_idle:
            self.count("server_without_shards_ended")
            server.drain()
        for overfull in server.overfull:
            self.history.violate("I20 queues have bounds", f"{server.name} {overfull}")

    def _restart_if_due(self) -> None:
        """Start anew when some shards have an owner that serves nobody, or none that may."""
        if self.restart_due_s is not None and self.loop.time() > self.restart_due_s:
            self.restart_due_s = None
            self.servers[-1].drain()

    def _heal(self) -> None:
        """Undo all that is wrong."""
        self.trace.note("HEALED")
        weather = self.database.weather
        weather.fates.clear()
        self.database.on_next_commit.clear()
        self.database.on_next_snapshots.clear()
        weather.poisoned_rooms.clear()
        weather.slow_until_s = weather.away_until_s = weather.stalled_until_s = 0.0
        for room_id, (at, row) in self.forged.items():
            self.database.journal[room_id][at] = row
        for server in self.servers:
            server.link.cut_until_s = server.link.deaf_until_s = 0.0
            if server.process.is_frozen:
                self.loop.thaw(server.process)
        self.network.heal()
        for player in self.players:
            if player.is_gone:
                continue
            if player.process.is_dead:
                player.start()
            elif player.process.is_frozen:
                self.loop.thaw(player.process)
            player.is_healed = True
        self.is_quiet = self.is_healed = True
        self.healed_s = self.loop.time()

    async def _come_to_life(self) -> None:
        """I23: every player has a command answered in every room, in bounded time."""
        until_s = self.loop.time() + HEAL_WITHIN_S
        here = [player for player in self.players if not player.is_gone]
        while self.loop.time() < until_s:
            await self._reopen()
            if all(len(player.proved) == len(player.places) for player in here):
                return
            await asyncio.sleep(0.25)
        for player in here:
            if len(player.proved) < len(player.places):
                missing = [one.number for one in player.places if one.number not in player.proved]
                places = [(self.places[at].game, self.places[at].room_id) for at in missing]
                self.history.violate("I23 life goes on", f"{player.name} is not heard in {places}")

    async def _reopen(self) -> None:
        """Do what an operator does with rooms that were set aside."""
        for room_id, row in tuple(self.database.room_rows.items()):
            if row.status is not RoomStatus.SET_ASIDE:
                continue
            if self.expected_aside.get(room_id) == "broken":
                for place in self.places:
                    if place.room_id == room_id:
                        place.room_id = None
                        place.generation += 1
            elif room_id in self.expected_aside:
                self.count("room_reopened")
                await self.database.reopen(room_id)

    async def _come_to_rest(self) -> None:
        """Wait until no command and no bet is open."""
        await asyncio.sleep(REST_S)
        until_s = self.loop.time() + SETTLE_WITHIN_S
        while self.loop.time() < until_s and self._has_open_money():  # noqa: ASYNC110  Virtual time costs nothing.
            await asyncio.sleep(0.25)

    def _has_open_money(self) -> bool:
        holds = self.database.ledger.holds.values()
        return any(held.ruling == 1 and held.ended_by is None for held in holds)

    def _check_presence(self) -> None:
        """A seat is present if and only if somebody is connected to it."""
        for player in self.players:
            for room in player.rooms:
                player.note_view(room)
        for server in self.servers:
            if not server.is_up:
                continue
            for opened in server.node.host.rooms.values():
                present = [seat.key for seat in opened.room.seats if seat.present]
                if present != sorted(opened.by_seat):
                    self.history.violate(
                        "presence is true",
                        f"room {opened.row.room_id}: {present} and {sorted(opened.by_seat)}",
                    )

    async def _close(self) -> None:
        """Let everybody go home, and expect nothing to be left."""
        await self._send_players_home()
        await asyncio.sleep(0.5)
        await self._end_servers()
        self.history.is_over = self.trace.is_over = True
        for link in tuple(self.network.links):
            link.go_silent()
        for server in self.servers:
            await self.loop.bury(server.process)
        for player in self.players:
            for process in player.processes:
                await self.loop.bury(process)
        await asyncio.sleep(1)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            self.history.violate("I20 nothing is left over", str(left))

    async def _send_players_home(self) -> None:
        for player in self.players:
            for main in player.mains:
                if main.done() and not main.cancelled() and main.exception():
                    self.history.violate("I21 nothing is left unhandled", repr(main.exception()))
            for process in player.processes:
                if not process.is_dead:
                    await self.loop.bury(process)

    async def _end_servers(self) -> None:
        for server in self.servers:
            if server.is_up:
                server.drain()
        until_s = self.loop.time() + ENDS_WITHIN_S
        while self.loop.time() < until_s and self._is_any_up():  # noqa: ASYNC110  As above.
            await asyncio.sleep(0.1)
        for server in self.servers:
            self._look_at(server)
            if server.is_up:
                self.history.violate("I20 nothing is left over", f"{server.name} does not end")

    def _is_any_up(self) -> bool:
        return any(server.is_up for server in self.servers)

    # --- Afterwards.

    def _check(self) -> None:
        seen = [one for player in self.players for one in player.seen]
        checker = Checker(self.database, self.history, seen)
        checker.check()
        checker.check_memory(self._kept_to_the_end())
        for player in self.players:
            for client in player.clients:
                if self.history.is_forgetful:
                    continue  # A view of what a restored backup does not know fits nothing.
                if client.counters.desyncs:
                    self.history.violate("I9 views are true", f"{player.name}: a desync")
                if client.counters.gaps:
                    self.history.violate("I9 views are true", f"{player.name}: a gap")
        if sum(self.faults.values()) < FAULTS_MIN:
            self.history.violate("I24 enough went wrong", f"only {self.faults}")

    def _kept_to_the_end(self) -> dict[int, OpenRoom]:
        """Return the rooms in the memory of whoever had them last."""
        last = self.servers[-1]
        return last.node.host.rooms if last.has_ended else {}

    def _note_log(self, event: str, fields: dict[str, Any]) -> None:
        room_id = fields.get("room_id")
        self.counts[f"log_{event}"] += 1
        if self.history.is_over:
            return
        self.trace.note("LOG", event, room_id or fields.get("error", ""))
        told = repr(fields)
        if any(player.token and player.token in told for player in self.players):
            self.history.violate("I21 no secret is logged", f"a token with {event}")
        if event in MISTAKES:
            self.history.violate("I21 nothing is left unhandled", f"{event}: {fields}")
        if event == "room_set_aside" and room_id not in self.expected_aside:
            self.history.violate("only broken rooms are set aside", f"{fields}")

    def _gather(self) -> None:
        """Add up what all parts have counted."""
        counts = self.counts
        counts.update(self.database.counts)
        counts["heads_signed"] += len(self.database.signed)
        for server in self.servers:
            _add_metrics(counts, server.node.metrics)
            if server.listener is not None:
                counters = server.listener.edge.counters
                counts["merges"] += counters.merges
                counts["rate_limited"] += counters.commands_rate_limited
                counts.update({f"close_{code}": n for code, n in counters.closes.items()})
        for player in self.players:
            for client in player.clients:
                counts["client_resumed_gapless"] += client.counters.resumed_gapless
                counts["client_resumed_full"] += client.counters.resumed_full
                counts["commands_sent_again"] += client.counters.commands_sent_again
        for told in self.history.outcomes:
            counts[f"told_{told.outcome.name or 'ACCEPTED'}"] += 1
        for asked in self.history.asked:
            counts[f"answer_{type(asked.answer).__name__}"] += 1
        for held in self.database.ledger.holds.values():
            counts["hold_granted" if held.ruling is Ruling.GRANTED else "hold_refused"] += 1
            if held.ended_by is not None:
                counts["hold_settled" if held.ended_by is Settle else "hold_released"] += 1
        counts.update({f"left_{name}": n for name, n in self.history.lefts.items()})
        counts.update({f"fault_{name}": n for name, n in self.faults.items()})


def _add_metrics(counts: Counter[str], metrics: Metrics) -> None:
    for name, value in vars(metrics).items():
        if isinstance(value, int):
            counts[name] += value
    for cause, value in metrics.takeovers_total.items():
        counts[f"shards_by_{cause}"] += value
    for why, value in metrics.deferred_total.items():
        counts[f"deferred_{why}"] += value
    for (_, outcome), value in metrics.commands_total.items():
        counts[f"outcome_{outcome}"] += value


@contextmanager
def captured_log(note: Callable[[str, dict[str, Any]], None]) -> Iterator[None]:
    """Hand log lines to ``note`` instead of writing them."""

    def take(_: Any, __: str, fields: Any) -> Any:
        note(fields.pop("event"), fields)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[take], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def small_limits(chance: Random) -> Iterator[None]:
    """Let what happens only in large rooms and long journals happen in small ones."""
    with ExitStack() as stack:
        for where, name, values in SMALL_LIMITS:
            stack.enter_context(patch.object(where, name, chance.choice(values)))
        yield

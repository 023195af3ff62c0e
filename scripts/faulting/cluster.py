"""A cluster that runs: a database, a Redis, nodes on both, and players who are at all of them.

It starts, watches and checks; what to break is decided in ``cluster_faults``.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from persistence.ownership import DEFAULT_SHARDS
from protocol.client import Created, Options
from scripts.faulting.nodes import Node
from scripts.faulting.players import REQUEST_TIMEOUT_MS, SETTINGS, History, Player
from scripts.faulting.relay import Balancer, Target
from scripts.faulting.scene import Scene
from scripts.faulting.servers import Server
from scripts.redis_server import RedisServer

SETTLED_S = 60.0
STEADY_S = 1.0  # For so long nothing may move before it is said that nothing moves any more.
NEWS_S = 60.0
POLL_S = 0.02
UNEVEN_MAX = 4  # Shards that one node may have more than another in a cluster that has settled.
# The first element of a message is its kind, in one byte: Full, Delta, Private.
STATES = (b"\x05", b"\x06", b"\x07")

TROUBLES = ("disconnects", "deferrals", "moved", "gaps", "desyncs", "resumed_full")

# As people's clients are, but for what players of a campaign wait for.
LIKE_PEOPLE = Options(
    open_timeout_ms=REQUEST_TIMEOUT_MS, answer_timeout_ms=REQUEST_TIMEOUT_MS, program="faults"
)


@dataclass(frozen=True)
class ClusterSize:
    """How many nodes and players, these at tables of ``seats``, their ``rate``, their way there."""

    nodes: int = 3
    tables: int = 6
    seats: int = 2
    rate: float = 10.0
    route: str = "redirect"
    seed: int = 1


class Watcher(Player):
    """A player who notes how long nothing of the room came."""

    def __init__(self, url: str, name: str, history: History, seed: int) -> None:
        self._last_ns = time.monotonic_ns()
        self._longest_ns = 0
        super().__init__(url, name, history, seed, LIKE_PEOPLE)

    def overhear(self, payload: bytes) -> None:
        """Look at the time when a delta comes."""
        super().overhear(payload)
        if payload[1:2] in STATES:
            now_ns = time.monotonic_ns()
            self._longest_ns = max(self._longest_ns, now_ns - self._last_ns)
            self._last_ns = now_ns

    def take_gap_ms(self) -> int:
        """Return the longest time without a delta since this was last asked."""
        longest_ns = max(self._longest_ns, time.monotonic_ns() - self._last_ns)
        self._longest_ns = 0
        return longest_ns // 1_000_000


@dataclass(frozen=True)
class Holding:
    """Who has a shard by PostgreSQL, and how often it has had a new owner."""

    node: str
    epoch: int


class ClusterWorld(Scene):
    """A database, a Redis, nodes and players, from the first to the last."""

    def __init__(self, folder: Path, size: ClusterSize) -> None:
        super().__init__(folder)
        self.size = size
        self.redis = RedisServer(folder / "redis")
        self.nodes: list[Node] = []
        self.players: list[Watcher] = []
        self._balancer = Balancer(self.tasks)
        self.keys = folder / "keys.json"

    def url_at(self, node: Node) -> str:
        """Return where players go who mean a node: with one address for all, they cannot choose."""
        has_one = self.size.route == "relay"
        return f"ws://127.0.0.1:{self._balancer.port}/ws" if has_one else node.url

    @property
    def servers(self) -> list[Server]:
        """Return all processes that were nodes."""
        return [server for node in self.nodes for server in node.servers]

    @property
    def rooms(self) -> list[int]:
        """Return the rooms of players."""
        return sorted({player.room.id for player in self.players if player.room is not None})

    # --- From the start to the end.

    async def _begin(self) -> None:
        await asyncio.to_thread(self.redis.start)
        for number in range(self.size.nodes):
            options = ("--route", self.size.route)
            self.nodes.append(Node(f"node-{number}", self._folder, self.tasks, options))
            await self.nodes[-1].prepare(self.database.socket, self.redis.port)
        await self.nodes[0].start()  # It makes what all have in common.
        async with asyncio.TaskGroup() as starting:
            for node in self.nodes[1:]:
                starting.create_task(node.start())
        if self.size.route == "relay":
            places: dict[Target, Node] = {node.place: node for node in self.nodes}
            self._balancer.targets.extend(places)
            self._balancer.is_going = lambda place: places[place].is_going
            await self._balancer.start()
        await self.settled()
        await self._seat_players()

    async def _let_go(self) -> None:
        for node in self.nodes:
            await node.stop()
        await self._balancer.stop()
        await asyncio.to_thread(self.redis.stop)
        await asyncio.sleep(0)

    async def end_play(self) -> None:
        """Let players stop, rounds come to their end, and all nodes end in order, at once."""
        await self.end_players(self.players)
        async with asyncio.TaskGroup() as tasks:
            ending = [tasks.create_task(node.drain()) for node in self.nodes]
        for node, code in zip(self.nodes, (one.result() for one in ending), strict=True):
            if code:
                self.faults.append(f"{node.name} ended with {code}: {node.server.last_words()}")
            for server in node.servers:
                self.faults += [f"{node.name}, {server.pid}: {one}" for one in server.faults()]

    async def _seat_players(self) -> None:
        """Make rooms through each node in turn; their other players come by way of other nodes."""
        size, nodes = self.size, self.nodes
        for number in range(size.tables):
            table: Created | None = None
            for seat in range(size.seats):
                name = f"player {number}.{seat}"
                seed = (size.seed * 1_000 + number) * 1_000 + seat
                url = self.url_at(nodes[(number + seat) % len(nodes)])
                player = Watcher(url, name, self.history, seed)
                await self.clients.enter_async_context(player.client)
                if table is None:
                    table = await player.client.create("keno", settings=SETTINGS, listed=False)
                self.players.append(player)
                self.let_play(player, table, size.rate)

    # --- What is where.

    async def holdings(self) -> dict[int, Holding]:
        """Return who has which shard, as PostgreSQL knows it."""
        async with self.database.connection() as connection:
            rows = await connection.fetch("SELECT shard, node, epoch FROM shard")
        return {row["shard"]: Holding(row["node"], row["epoch"]) for row in rows}

    async def rooms_of(self, node: Node) -> list[int]:
        """Return the rooms of players that a node has."""
        holdings = await self.holdings()
        return [one for one in self.rooms if holdings[one % DEFAULT_SHARDS].node == node.name]

    async def settled(self) -> bool:
        """Wait until shards are spread over all nodes and none moves; tell whether that came."""
        names = {node.name for node in self.nodes}
        deadline_s = time.monotonic() + SETTLED_S
        before, since_s = await self.holdings(), time.monotonic()
        counts: Counter[str] = Counter()
        while time.monotonic() < deadline_s:
            await asyncio.sleep(0.1)
            now = await self.holdings()
            if now != before:
                before, since_s = now, time.monotonic()
            counts = Counter(dict.fromkeys(names, 0))
            counts.update(one.node for one in now.values())
            even = max(counts.values()) - min(counts.values()) <= UNEVEN_MAX
            is_spread = counts.keys() == names and even and len(now) == DEFAULT_SHARDS
            if is_spread and time.monotonic() - since_s >= STEADY_S:
                return True
        self.faults.append(f"the cluster did not settle: {dict(counts)}")
        return False

    async def news(self, rooms: Iterable[int], since_ns: int) -> dict[int, int]:
        """Return by room after how many ms the first command sent since then had its outcome."""
        wanted = set(rooms)
        deadline_s = time.monotonic() + NEWS_S
        while True:
            found: dict[int, int] = {}
            for sent in self.history.told:
                if sent.room in wanted and sent.sent_ns > since_ns:
                    ms = (sent.answered_ns - since_ns) // 1_000_000
                    found[sent.room] = min(found.get(sent.room, ms), ms)
            missing = wanted - found.keys()
            if not missing or time.monotonic() > deadline_s:
                break
            await asyncio.sleep(POLL_S)
        self.faults += [f"nothing new came in room {room}" for room in missing]
        return found

    def troubles(self) -> Counter[str]:
        """Return what clients have been through that they would not have without faults."""
        found: Counter[str] = Counter()
        for player in self.players:
            for name in TROUBLES:
                found[name] += getattr(player.client.counters, name)
        return found

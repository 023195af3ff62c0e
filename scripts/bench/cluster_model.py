"""A cluster on paper: beats, leases, deaths and recoveries in virtual time, one event at a time.

Who owns what is decided by the server's own functions; everything they wait for (Redis, PostgreSQL,
the network, rooms being opened) is a number in `Speeds`. Knows no socket and no process.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from gameserver.runtime.assignment import Candidate, claims, desired, handovers, relief

RULES = {"keno": 1}
WEIGHT = 1_000
HANDOVERS_AT_ONCE = 8
OPENINGS_AT_ONCE = 8  # Rooms that a node has on their way out of the database.
CORE_LEFT_MIN = 0.1  # However busy a node is, rooms get this share of its core to open.
RELIEF_PAUSE_MS = 10_000.0
RENEWED_EVERY_MS = 1_000.0  # An owner renews itself in PostgreSQL at least this often.
QUIET_MS = 12_000.0  # Whoever wants to relieve itself has had its turn by then.


@dataclass(frozen=True)
class Speeds:
    """How long things take, in ms, and how much of them there is."""

    beat_ms: float = 400.0
    lease_ms: float = 2_000.0
    stale_ms: float = 1_500.0
    link_ms: float = 200.0
    take_ms: float = 5.0
    handover_ms: float = 100.0
    room_cpu_ms: float = 2.5
    database_rooms_s: float = 1_000.0
    databases: int = 1
    rooms_per_shard: int = 25


@dataclass
class Node:
    """A process, as far as it matters here."""

    name: str
    alive: bool = True
    draining: bool = False
    announced_until_ms: float = 0.0
    renewed_ms: float = 0.0
    is_busy: bool = False
    changed_ms: float = 0.0
    seen_dead: set[str] = field(default_factory=set)
    # What it saw when it was last asked about its load, which need not be asked about again.
    calm_at: int | None = None
    rooms_waiting: int = 0
    openings: int = 0
    core_free_ms: float = 0.0


class Cluster:
    """Nodes, who owns each shard, and what is still to happen."""

    def __init__(self, shards: int, speeds: Speeds, seed: int) -> None:
        self.shards, self.speeds = shards, speeds
        self.now_ms = self.moved_ms = self.taken_ms = 0.0
        self.nodes: dict[str, Node] = {}
        self.owners: dict[int, str] = {}
        self.costs = dict.fromkeys(range(shards), 0.0)  # Per mille of a core.
        self.taken = self.handed_over = 0
        self.room_open_ms: list[float] = []
        self._version = 0
        self._leases: dict[int, str] = {}
        self._loads: dict[str, float] = {}
        self._views: dict[frozenset[str], tuple[list[Candidate], set[str]]] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._events_made = 0
        self._database_free_ms = [0.0] * speeds.databases
        self._dice = random.Random(seed)

    # ---- what is done to it ----

    def start(self, names: Collection[str]) -> None:
        """Start nodes; each beats at a moment of its own."""
        for name in names:
            node = self.nodes[name] = Node(name)
            self._later(self._dice.uniform(0, self.speeds.beat_ms), partial(self._beat, node))

    def drain(self, names: Collection[str]) -> None:
        """Ask nodes to hand over everything and leave."""
        for name in names:
            self.nodes[name].draining = True
        self._changed()

    def kill(self, names: Collection[str], seen: bool) -> None:
        """End nodes at once; ``seen``: the others see their connections close."""
        for name in names:
            dead = self.nodes[name]
            dead.alive = False
            dead.renewed_ms = self.now_ms - self._dice.uniform(0, RENEWED_EVERY_MS)
            self._later(dead.announced_until_ms - self.now_ms, self._changed)
        if seen:
            for node in self._alive():
                delay_ms = self._dice.uniform(1, self.speeds.link_ms)
                self._later(delay_ms, partial(self._see, node, frozenset(names)))

    def reload(self, costs: Mapping[int, float]) -> None:
        """Give each shard another share of a core, per mille."""
        self.costs = dict(costs)
        self._changed()

    def settle(self, limit_ms: float = 600_000.0) -> float:
        """Let time pass until nothing moves any more; return how long it took until it was so."""
        began_ms = self.moved_ms = self.now_ms
        while self.now_ms - self.moved_ms < QUIET_MS or not self.is_served():
            if self.now_ms - began_ms > limit_ms:
                raise RuntimeError("the cluster does not come to rest")
            self.now_ms, _, event = heapq.heappop(self._events)
            event()
        return self.moved_ms - began_ms

    # ---- what can be seen of it ----

    def is_served(self) -> bool:
        """Return whether every shard has an owner that lives."""
        alive = {node.name for node in self._alive()}
        return len(self.owners) == self.shards and alive.issuperset(self.owners.values())

    def held(self) -> list[int]:
        """Return how many shards each living node has."""
        counts = Counter(self.owners.values())
        return [counts[node.name] for node in self._alive()]

    def loads(self) -> list[float]:
        """Return the load of each living node, per mille of its core."""
        return [self._loads.get(node.name, 0.0) for node in self._alive()]

    # ---- what nodes do ----

    def _beat(self, node: Node) -> None:
        if not node.alive:
            return
        is_new = node.announced_until_ms == 0
        node.announced_until_ms = self.now_ms + self.speeds.lease_ms
        node.renewed_ms = self.now_ms
        if is_new:
            self._changed()  # It says that it is there, and looks who else is, before it takes any.
        else:
            self._act(node)
        self._later(self.speeds.beat_ms, partial(self._beat, node))

    def _see(self, node: Node, dead: Collection[str]) -> None:
        node.seen_dead.update(dead)
        self._act(node)

    def _act(self, node: Node) -> None:
        """Take what is this node's to take, or hand over what is somebody else's to have."""
        if not node.alive or node.is_busy:
            return
        live, with_work = self._view(frozenset(node.seen_dead))
        if node.name in with_work:
            mine = claims(node.name, self.shards, live, self._leases)
            if mine:
                self._take(node, [shard for shard in mine if self._may_take(node, shard)])
                return
            moves = handovers(node.name, self.shards, live, self._leases, HANDOVERS_AT_ONCE)
        else:
            moves = self._shed(node, live)
        if moves:
            node.is_busy = True
            self._later(self.speeds.handover_ms, partial(self._hand_over, node, moves))

    def _view(self, dead: frozenset[str]) -> tuple[list[Candidate], set[str]]:
        """Return who is there, and who has anything to take or to give.

        Worked out once for all who see the same; it stands until something changes.
        """
        if dead not in self._views:
            live = self._live(dead)
            names = {one.name for one in live}
            plan = desired(self.shards, live, self._leases)
            moving = [(shard, to) for shard, to in plan.items() if self._leases.get(shard) != to]
            owners = (self._leases.get(shard) for shard, _ in moving)
            givers = {name for name in owners if name in names}
            takers = {to for shard, to in moving if self._leases.get(shard) not in names}
            self._views[dead] = live, givers | takers
        return self._views[dead]

    def _shed(self, node: Node, live: Sequence[Candidate]) -> list[tuple[int, str]]:
        if self.now_ms - node.changed_ms < RELIEF_PAUSE_MS or node.calm_at == self._version:
            return []
        node.calm_at = self._version
        mine = (shard for shard, name in self._leases.items() if name == node.name)
        activity = {shard: round(1_000 * self.costs[shard]) for shard in mine}
        return relief(node.name, self.shards, live, self._leases, activity)

    def _may_take(self, node: Node, shard: int) -> bool:
        """PostgreSQL's word: the owner is seen dead, or lapsed and silent for long enough."""
        owner = self.nodes.get(self.owners.get(shard, ""))
        if owner is None or owner.name in node.seen_dead:
            return True
        silent_ms = self.now_ms - owner.renewed_ms
        return owner.announced_until_ms <= self.now_ms and silent_ms >= self.speeds.stale_ms

    def _take(self, node: Node, shards: Collection[int]) -> None:
        if not shards:
            return
        played = sum(1 for shard in shards if shard in self.owners)
        self.owners |= dict.fromkeys(shards, node.name)
        self.taken += len(shards)
        self.taken_ms = self.now_ms + self.speeds.take_ms
        self._moved(node)
        node.is_busy = True
        node.rooms_waiting += played * self.speeds.rooms_per_shard
        self._later(self.speeds.take_ms, partial(self._taken, node))

    def _taken(self, node: Node) -> None:
        node.is_busy = False
        self._open_rooms(node)
        self._act(node)

    def _hand_over(self, node: Node, moves: Collection[tuple[int, str]]) -> None:
        node.is_busy = False
        for shard, to in moves:
            receiver = self.nodes.get(to)
            if node.alive and receiver is not None and receiver.alive:
                self.owners[shard] = to
                self.handed_over += 1
                receiver.changed_ms = self.now_ms
        if node.draining and node.name not in self.owners.values():
            node.alive = False
            del self.nodes[node.name]
        self._moved(node)
        self._act(node)

    # ---- rooms coming back ----

    def _open_rooms(self, node: Node) -> None:
        """Begin as many rooms as may be on their way at once: from the database, then the core."""
        while node.alive and node.rooms_waiting and node.openings < OPENINGS_AT_ONCE:
            node.rooms_waiting -= 1
            node.openings += 1
            free = self._database_free_ms
            database = free.index(min(free))
            free[database] = max(free[database], self.now_ms) + 1_000 / self.speeds.database_rooms_s
            self._later(free[database] - self.now_ms, partial(self._room_read, node))

    def _room_read(self, node: Node) -> None:
        # Rooms that are played here go on meanwhile.
        free_share = max(1 - self._loads.get(node.name, 0.0) / 1_000, CORE_LEFT_MIN)
        cpu_ms = self.speeds.room_cpu_ms / free_share
        node.core_free_ms = max(node.core_free_ms, self.now_ms) + cpu_ms
        self._later(node.core_free_ms - self.now_ms, partial(self._room_open, node))

    def _room_open(self, node: Node) -> None:
        node.openings -= 1
        self.moved_ms = self.now_ms
        self.room_open_ms.append(self.now_ms)
        self._open_rooms(node)

    # ---- time and views ----

    def _later(self, delay_ms: float, event: Callable[[], None]) -> None:
        self._events_made += 1
        heapq.heappush(self._events, (self.now_ms + delay_ms, self._events_made, event))

    def _changed(self) -> None:
        """See everything anew: the leases that have not lapsed, and the loads."""
        self._version += 1
        self._views.clear()
        nodes = self.nodes.values()
        lasting = {node.name for node in nodes if node.announced_until_ms > self.now_ms}
        self._leases = {shard: name for shard, name in self.owners.items() if name in lasting}
        self._loads.clear()
        for shard, name in self.owners.items():
            self._loads[name] = self._loads.get(name, 0.0) + self.costs[shard]

    def _moved(self, node: Node) -> None:
        self.moved_ms = node.changed_ms = self.now_ms
        self._changed()

    def _alive(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.alive]

    def _live(self, dead: Collection[str]) -> list[Candidate]:
        return [
            Candidate(one.name, WEIGHT, round(self._loads.get(one.name, 0)), RULES, one.draining)
            for one in self.nodes.values()
            if one.announced_until_ms > self.now_ms and one.name not in dead
        ]

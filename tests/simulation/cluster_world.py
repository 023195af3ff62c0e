"""A run with several nodes: they share a database and a directory, and players come to any of them.

What can go wrong with one server can go wrong with each of these, and besides all that lies between
them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from random import Random
from typing import Any
from urllib.parse import urlsplit

from gameserver.runtime.work import OpenRoom
from persistence.interfaces import RoomStatus
from protocol.messages import Outcome
from tests.simulation import awaits
from tests.simulation.directory import Hub
from tests.simulation.loop import Process
from tests.simulation.member import Member, simulated_outside, url_of
from tests.simulation.nemesis import Nemesis
from tests.simulation.nemesis_nodes import NodeNemesis
from tests.simulation.network import ClientEnd
from tests.simulation.server import Server
from tests.simulation.watch_nodes import NodeWatch
from tests.simulation.wires import Wires
from tests.simulation.world import SUPERVISE_S, World

ANY = "any"
ORDER_WITHIN_S = 12.0
CALM_S = 1.5
CALM_DRAINS = 0.5
ANSWERED_WITHIN_S = 1.5
SILENCE_SEEN_S = 4.5
RING_ENOUGH = 150  # With fewer ticks a moved room may be seen whole again.


class ClusterWorld(World):
    """Everything of one run with nodes. ``wanted`` are the names of those that should run."""

    places_to_die = awaits.NODE_AWAITS
    servers: list[Member]  # type: ignore[assignment]  # Nobody else puts any in.

    def __init__(
        self,
        seed: int,
        *,
        only: tuple[str, ...] = (),
        show: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(seed, only=only, show=show)
        chance = self.chance("cluster")
        self.hub = Hub(self.loop, self.chance("directory"))
        self.hub.on_call = self._note_directory
        self.wires = Wires(self.loop, self.chance("wires"))
        self.wires.latency_s = self.wires.usual_latency_s = chance.choice((0.0005, 0.002))
        self.tuning = replace(
            self.tuning, shards=chance.choice((4, 8, 16)), skew_ms=chance.choice((2_000, 15_000))
        )
        self.wanted = [f"n{at + 1}" for at in range(chance.choices((1, 2, 3, 4), (1, 5, 4, 1))[0])]
        self.watch = NodeWatch(
            self.database, self.hub, lambda: self.members, self.history.violate, self.count
        )
        self.database.on_take = self.watch.on_take
        self.history.on_led = self.watch.on_led
        self._back_s: dict[str, float] = {}
        self._cluster_chance = chance
        self.slowest_s = 0.0

    def _nemesis(self, only: tuple[str, ...]) -> Nemesis:
        return NodeNemesis(self, self.chance("nemesis"), only)

    def _set_the_scene(self, stack: ExitStack) -> None:
        super()._set_the_scene(stack)
        stack.enter_context(simulated_outside(self.hub, self.chance("instances")))

    def _note_directory(self, node: str, name: str, asked: Any, answer: Any) -> None:
        if name in ("beat", "publish", "start"):
            asked = ""  # All the time the same.
        self.trace.note(node, name, asked, answer if isinstance(answer, Exception) else "")

    # --- What players and the nemesis use.

    def front_url(self) -> str:
        """Return the address of some node, or of all."""
        return url_of(self._dials.choice((ANY, *self.wanted)))

    async def dial(self, process: Process, url: str) -> ClientEnd:
        """Connect to the process that has an address now."""
        name = urlsplit(url).hostname or ""
        here = [
            server.name
            for server in self.servers
            if server.name in self.loop.listening and name in (ANY, server.node_name)
        ]
        address = self._dials.choice(here) if name == ANY and here else (here or [name])[-1]
        return await self.network.dial(process, address)

    @property
    def members(self) -> list[Member]:
        """Return the processes that are up."""
        return [server for server in self.servers if server.is_up]

    def some_server(self) -> Member | None:
        """Return any server that is up."""
        return self._cluster_chance.choice(self.members) if self.members else None

    def start_rival(self, server: Server) -> None:
        """Perhaps start a node again that only seems to be gone; others take its shards anyway."""
        if self._cluster_chance.random() < 0.3:
            self.count("node_started_twice")
            self.start_node(server.node_name)

    def start_node(self, node_name: str) -> None:
        """Start a node, perhaps again."""
        server = self._start(Member, f"{node_name}.")
        self.trace.note("STARTED", server.name)

    def kill_server(self, server: Server) -> None:
        """End a process at once; nearly always its system tells the others."""
        super().kill_server(server)
        if self._cluster_chance.random() < 0.75:
            self._reset_wires(server)
        else:
            self.count("machine_lost")
            for link in self.wires.of(server.process):
                link.go_silent()

    def _reset_links(self, server: Server) -> None:
        super()._reset_links(server)
        if server.has_ended:
            self._reset_wires(server)

    def _reset_wires(self, server: Server) -> None:
        for link in self.wires.of(server.process):
            link.reset()

    # --- The run.

    def _start_servers(self) -> None:
        for node_name in self.wanted:
            self.start_node(node_name)

    async def _supervise(self) -> None:
        """Keep all nodes running."""
        chance = self.chance("supervisor")
        while True:
            await asyncio.sleep(SUPERVISE_S)
            for server in self.servers:
                self._look_at(server)
            self.watch.look()
            for node_name in self.wanted:
                self._bring_back(node_name, chance)

    def _bring_back(self, node_name: str, chance: Random) -> None:
        if any(server.node_name == node_name and server.is_up for server in self.servers):
            self._back_s.pop(node_name, None)
            return
        now_s = self.loop.time()
        due_s = self._back_s.setdefault(node_name, now_s + chance.choice((0.0, 0.1, 0.5, 1.0, 3.0)))
        if now_s >= due_s:
            del self._back_s[node_name]
            self.start_node(node_name)

    def _heal(self) -> None:
        self.hub.heal()
        self.database.on_next_pass.clear()
        self.wires.heal()
        super()._heal()

    async def _be_calm(self) -> None:
        """Expect order, and that it lasts; then restart nodes one by one while people play."""
        await self._come_to_order("after all is well again")
        await self._come_to_stand()
        names = list(self.wanted)
        for name in names:
            await self._wait_for(name)
        await self._come_to_order("when all have come")
        # Until then a connection that is half open may be taken for one.
        await asyncio.sleep(max(self.healed_s + SILENCE_SEEN_S - self.loop.time(), 0))
        if len(names) > 1 and self._cluster_chance.random() < CALM_DRAINS:
            self._cluster_chance.shuffle(names)
            await self._roll_calmly(names[: self._cluster_chance.choice((1, len(names)))])

    async def _come_to_order(self, when: str) -> None:
        """Every shard has one owner, and everybody knows which, in bounded time."""
        until_s = self.loop.time() + ORDER_WITHIN_S
        while disorder := self.watch.disorder():
            if self.loop.time() >= until_s:
                self.history.violate("every shard has one owner", f"{when}: {disorder}")
                return
            await asyncio.sleep(0.1)

    async def _come_to_stand(self) -> None:
        """Nothing moves for ever."""
        until_s = self.loop.time() + ORDER_WITHIN_S
        moved = -1
        while moved != self._handovers():
            if self.loop.time() >= until_s:
                self.history.violate("shards come to rest", f"{self._handovers()} have moved")
                return
            moved = self._handovers()
            await asyncio.sleep(CALM_S)

    async def _roll_calmly(self, names: list[str]) -> None:
        """Restart nodes one after the other; nobody who plays may notice."""
        self.count("nodes_rolled_calmly")
        began_s, before = self.loop.time(), self._seen_by_clients()
        self.is_quiet, self.is_calm = False, True
        await asyncio.sleep(0.5)
        for name in names:
            for member in self.members:
                if member.node_name == name and member.is_joined:
                    await self._drain_calmly(member)
            await self._come_to_order(f"after {name} went and came")
        await asyncio.sleep(0.5)
        self.is_quiet = True
        await asyncio.sleep(ANSWERED_WITHIN_S)
        self.is_calm = False
        self._check_unnoticed(began_s, before)

    async def _drain_calmly(self, member: Member) -> None:
        member.drain()
        until_s = self.loop.time() + ORDER_WITHIN_S
        while member.is_up and self.loop.time() < until_s:  # noqa: ASYNC110  Virtual time costs nothing.
            await asyncio.sleep(0.1)
        if member.is_up or not member.drained_whole:
            self.history.violate("a drained node goes", f"{member.name} could not give all away")
        self._back_s[member.node_name] = self.loop.time()
        await self._wait_for(member.node_name)

    async def _wait_for(self, node_name: str) -> None:
        until_s = self.loop.time() + ORDER_WITHIN_S
        while not self._has_come(node_name):
            if self.loop.time() >= until_s:
                self.history.violate("nodes come", f"{node_name} does not")
                return
            await asyncio.sleep(0.1)

    def _has_come(self, node_name: str) -> bool:
        return any(one.node_name == node_name and one.is_joined for one in self.members)

    def _seen_by_clients(self) -> Counter[str]:
        """Return what clients have counted that only trouble brings about."""
        seen = Counter({"gave_up": self.counts["client_gave_up"]})
        for player in self.players:
            for client in player.clients:
                seen["gapless"] += client.counters.resumed_gapless
                seen["full"] += client.counters.resumed_full
        return seen

    def _check_unnoticed(self, began_s: float, before: Counter[str]) -> None:
        seen = self._seen_by_clients()
        seen.subtract(before)
        self.counts["calm_resumed_gapless"] += seen["gapless"]
        self.counts["calm_resumed_full"] += seen["full"]
        if seen["gave_up"]:
            self.history.violate("nobody notices a drain", f"{seen['gave_up']} clients gave up")
        if seen["full"] and self.tuning.ring_ticks >= RING_ENOUGH:
            self.history.violate("nobody notices a drain", f"{seen['full']} rooms had a gap")
        for asked in self.history.asked:
            if asked.at_s < began_s:
                continue
            waited_s = asked.answered_s - asked.at_s
            self.counts["calm_commands"] += 1
            self.slowest_s = max(self.slowest_s, waited_s)
            ended = self.database.room_rows[asked.room].status is not RoomStatus.OPEN
            if not isinstance(asked.answer, Outcome) and not ended:
                self.history.violate("nobody notices a drain", f"{asked}")
            elif waited_s > ANSWERED_WITHIN_S:
                self.history.violate("nobody notices a drain", f"{waited_s:.1f} s for {asked}")

    def _kept_to_the_end(self) -> dict[int, OpenRoom]:
        kept: dict[int, OpenRoom] = {}
        for member in self.servers:
            for room_id, opened in member.node.host.rooms.items():
                owned = member.node.keeper.owned.get(opened.row.shard)
                epoch = self.database.shard_states[opened.row.shard].epoch
                if member.ended_well and owned is not None and owned.epoch == epoch:
                    kept[room_id] = opened
        return kept

    def _gather(self) -> None:
        super()._gather()
        self.counts.update(self.hub.counts)
        for player in self.players:
            for client in player.clients:
                self.counts["client_redirects"] += client.counters.redirects
                self.counts["client_moves"] += client.counters.moved

    def _handovers(self) -> int:
        return sum(server.node.metrics.handovers_total for server in self.servers)


def world_of(
    seed: int, *, only: tuple[str, ...] = (), show: Callable[[str], None] | None = None
) -> World:
    """Return the world of a seed: every other one has nodes, the others one server at a time."""
    kind = ClusterWorld if seed % 2 else World
    return kind(seed, only=only, show=show)

"""What goes wrong between nodes: with the directory, with their links, with who is there.

All that goes wrong with one server goes wrong with nodes too.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import ClassVar, Protocol

from tests.simulation import awaits
from tests.simulation.directory import Hub, Loss
from tests.simulation.member import Member
from tests.simulation.nemesis import RARE, WEIGHTS, Nemesis
from tests.simulation.network import Link, Network
from tests.simulation.wires import Wires
from tests.simulation.worldly import WorldParts

NODE_WEIGHTS = {
    "directory_away": 3,
    "directory_slow": 2,
    "directory_loses": 4,
    "directory_wiped": 3,
    "directory_stale": 2,
    "directory_clock_jumps": 1,
    "cut_from_directory": 4,
    "cut_from_storage": 3,
    "cut_from_peers": 4,
    "cut_from_players": 3,
    "cut_from_all": 3,
    "node_frozen_long": 4,
    "node_drained": 4,
    "drain_asked": 2,
    "died_passing": 4,
    "passing_hindered": 3,
    "nodes_rolled": 1,
    "node_added": 2,
    "node_removed": 1,
    "node_started_in_haste": 2,
    "all_killed": 1,
}
# What restores a backup makes nodes refuse its shards, which only an operator ends.
SOLO_ONLY = frozenset({"database_regressed"})
PASSING = ("runtime.moving._pass pass_leases", "runtime.moving._pass pass_shards")
AFTER_PASSING = (*PASSING, "runtime.moving._tell", "runtime.handover.rest")
NODES_MAX = 5


class NodeParts(WorldParts, Protocol):
    """What there is besides in a world of nodes. ``wanted`` are the names of who should run."""

    hub: Hub
    wires: Wires
    wanted: list[str]

    @property
    def members(self) -> list[Member]:
        """Return the processes that are up."""

    def start_node(self, node_name: str) -> None:
        """Start a node, perhaps again."""


class NodeNemesis(Nemesis):
    """Makes things go wrong in a world of nodes."""

    weights: ClassVar[dict[str, int]] = WEIGHTS | NODE_WEIGHTS
    rates: ClassVar[dict[str, float]] = {
        name: rate for name, rate in RARE.items() if name not in SOLO_ONLY
    }
    places: ClassVar[tuple[str, ...]] = awaits.ALL

    def __init__(self, parts: NodeParts, chance: Random, only: tuple[str, ...] = ()) -> None:
        super().__init__(parts, chance, only)
        self.nodes = parts

    def _member(self) -> Member | None:
        members = self.nodes.members
        return self._chance.choice(members) if members else None

    def _now_s(self) -> float:
        return self.parts.loop.time()

    # --- The directory.

    async def _directory_away(self) -> None:
        """Stop the directory for a while; perhaps it comes back empty."""
        hub = self.nodes.hub
        hub.away_until_s = self._now_s() + self._chance.choice((0.3, 1.0, 2.5, 5.0))
        if self._chance.random() < 0.4:
            self.parts.count("directory_restarted_empty")
            hub.wipe()

    async def _directory_slow(self) -> None:
        self.nodes.hub.slow_until_s = self._now_s() + self._chance.uniform(0.5, 3.0)

    async def _directory_loses(self) -> None:
        loss = self._chance.choice(tuple(Loss))
        self.nodes.hub.losses += [loss] * self._chance.randrange(1, 5)

    async def _directory_wiped(self) -> None:
        self.nodes.hub.wipe()

    async def _directory_stale(self) -> None:
        """Let a replica that is late take the directory's place."""
        older = self.nodes.hub.copy()
        await asyncio.sleep(self._chance.uniform(0.3, 3.0))
        self.nodes.hub.go_back(older)

    async def _directory_clock_jumps(self) -> None:
        self.nodes.hub.ahead_ms += self._chance.choice((-3_600_000, -1_000, 1_500, 3_600_000))

    # --- What lies between a node and others.

    def _until_s(self) -> float:
        return self._now_s() + self._chance.choice((0.3, 1.0, 2.5, 5.0))

    async def _cut_from_directory(self) -> None:
        member = self._member()
        if member is not None:
            self._cut_directory(member, self._until_s(), one_way=self._chance.random() < 0.4)

    def _cut_directory(self, member: Member, until_s: float, *, one_way: bool) -> None:
        link = self.nodes.hub.link(member.name)
        if one_way:
            link.deaf_until_s = until_s
        else:
            link.cut_until_s = until_s

    async def _cut_from_storage(self) -> None:
        member = self._member()
        if member is not None and self._chance.random() < 0.4:
            member.link.deaf_until_s = self._until_s()
        elif member is not None:
            member.link.cut_until_s = self._until_s()

    async def _cut_from_peers(self) -> None:
        member = self._member()
        if member is not None:
            await self._cut(self.nodes.wires, member, self._until_s())

    async def _cut_from_players(self) -> None:
        member = self._member()
        if member is not None:
            await self._cut(self.parts.network, member, self._until_s())

    async def _cut_from_all(self) -> None:
        """Pull a node's only cable."""
        member = self._member()
        if member is None:
            return
        until_s = self._until_s()
        member.link.cut_until_s = until_s
        self._cut_directory(member, until_s, one_way=False)
        async with asyncio.TaskGroup() as tasks:
            for network in (self.nodes.wires, self.parts.network):
                tasks.create_task(self._cut(network, member, until_s))

    async def _cut(self, network: Network, member: Member, until_s: float) -> None:
        """Cut a node off: what is sent is lost, or late; perhaps one way only."""
        links = network.of(member.process)
        is_lost = self._chance.random() < 0.5
        ways = self._chance.choice(("up", "down", "both", "both"))
        for link in links:
            _stop(link, ways, is_lost=is_lost)
        if ways == "both":
            network.cut_off.add(member.name)
        await asyncio.sleep(until_s - self._now_s())
        network.cut_off.discard(member.name)
        for link in links:
            link.release()

    # --- Nodes that come and go.

    async def _node_frozen_long(self) -> None:
        """Freeze a node for so long that others take what it has, and wake it."""
        member = self._member()
        if member is None or member.process.is_frozen:
            return
        member.process.is_frozen = True
        self.parts.start_rival(member)
        await asyncio.sleep(self._chance.choice((1.2, 2.5, 4.0, 6.0)))
        self.parts.loop.thaw(member.process)

    async def _node_drained(self) -> None:
        member = self._member()
        if member is not None:
            member.drain()

    async def _drain_asked(self) -> None:
        """Have an operator ask a node to drain, by way of the directory."""
        member = self._member()
        if member is not None:
            world, now_ms = self.nodes.hub.world, self.nodes.hub.now_ms()
            if member.node_name in world.nodes:
                instance = world.nodes[member.node_name][0].instance
                world.drains[member.node_name] = (instance, now_ms + 60_000)

    async def _died_passing(self) -> None:
        """Let a node die between two steps of passing shards on, or the one that gets them."""
        self.parts.doomed |= set(self._chance.sample(AFTER_PASSING, 2))
        await self._node_drained()

    async def _passing_hindered(self) -> None:
        """Cut a node off in the moment in which its shards pass to another."""
        kind, within_s = self._chance.choice(("directory", "answer", "peers")), 1.2

        def hinder(node_name: str) -> None:
            until_s = self._now_s() + within_s
            for member in self.nodes.members:
                if kind == "directory":
                    self.nodes.hub.away_until_s = until_s
                elif member.node_name == node_name and kind == "answer":
                    member.link.deaf_until_s = until_s
                elif member.node_name == node_name:
                    for link in self.nodes.wires.of(member.process):
                        link.go_silent()

        self.parts.database.on_next_pass.append(hinder)
        await self._node_drained()

    async def _nodes_rolled(self) -> None:
        """Restart all nodes, one after the other."""
        for member in self.nodes.members:
            member.drain()
            await asyncio.sleep(self._chance.uniform(0.3, 2.0))

    async def _node_added(self) -> None:
        wanted = self.nodes.wanted
        if len(wanted) < NODES_MAX:
            wanted.append(f"n{1 + max(int(name[1:]) for name in wanted)}")

    async def _node_removed(self) -> None:
        """Drain a node for good."""
        wanted = self.nodes.wanted
        if len(wanted) > 1:
            name = self._chance.choice(wanted)
            wanted.remove(name)
            for member in self.nodes.members:
                if member.node_name == name:
                    member.drain()

    async def _node_started_in_haste(self) -> None:
        """Start a node whose name somebody has who is still there."""
        member = self._member()
        if member is not None:
            self.nodes.start_node(member.node_name)

    async def _all_killed(self) -> None:
        for member in self.nodes.members:
            self._kill(member)


def _stop(link: Link, ways: str, *, is_lost: bool) -> None:
    for name in ("up", "down"):
        if ways in (name, "both"):
            way = getattr(link, name)
            way.is_dead = way.is_dead or is_lost
            way.is_held = True

"""A run with several nodes: they share a database and a directory, and players come to any of them.

What can go wrong with one server can go wrong with each of these, and besides all that lies between
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from random import Random
from typing import Any
from urllib.parse import urlsplit

from tests.simulation import awaits
from tests.simulation.directory import Hub
from tests.simulation.loop import Process
from tests.simulation.member import Member, simulated_outside, url_of
from tests.simulation.nemesis import Nemesis
from tests.simulation.nemesis_nodes import NodeNemesis
from tests.simulation.network import ClientEnd
from tests.simulation.server import Server
from tests.simulation.wires import Wires
from tests.simulation.world import SUPERVISE_S, World

ANY = "any"


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
        self.wires.latency_s = chance.choice((0.0005, 0.002))
        self.tuning = replace(
            self.tuning, shards=chance.choice((4, 8, 16)), skew_ms=chance.choice((2_000, 15_000))
        )
        self.wanted = [f"n{at + 1}" for at in range(chance.choices((1, 2, 3, 4), (1, 5, 4, 1))[0])]
        self._back_s: dict[str, float] = {}
        self._cluster_chance = chance

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
        for link in tuple(self.wires.links):
            link.release()
        self.network.cut_off.clear()
        self.wires.cut_off.clear()
        super()._heal()


def world_of(
    seed: int, *, only: tuple[str, ...] = (), show: Callable[[str], None] | None = None
) -> World:
    """Return the world of a seed: every other one has nodes, the others one server at a time."""
    kind = ClusterWorld if seed % 2 else World
    return kind(seed, only=only, show=show)

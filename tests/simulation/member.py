"""One node of a cluster, put together as `gameserver.app` does it: a server that is a member.

The directory, the links between nodes and chance are the simulation's; all else is real.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import structlog

from gameserver import app_cluster
from gameserver.app_cluster import Membership, Parts, Way, cluster_id
from gameserver.config import ConfigError
from gameserver.net.dispatch import Services
from gameserver.runtime.cluster import Cluster
from persistence.directory import DirectoryError, NameTaken
from persistence.interfaces import StorageError
from protocol import codec
from tests.simulation.directory import Hub
from tests.simulation.server import DRAIN_TIMEOUT_S, SIGNING_KEY, Server

log = structlog.get_logger(__name__)

GOODBYES_SPREAD_S = 0.3
SETTLE_S = 0.2


class Member(Server):
    """A server that shares the shards with others."""

    membership: Membership | None = None
    is_joined = False
    started_s = 0.0
    drained_whole = False  # It gave all away before it went.
    ended_well = False

    @property
    def cluster(self) -> Cluster | None:
        """Return what it knows of the others, once it has begun to."""
        return None if self.membership is None else self.membership.cluster

    @property
    def is_idle(self) -> bool:
        """Tell whether it serves no purpose any more; a member may always get shards again."""
        return False

    async def _main(self) -> None:
        self.started_s = self.loop.time()
        services = self._services()
        try:
            identity = await cluster_id(self._config(), self.link, self.clock)
            await self._serve(services, identity)
        except (StorageError, DirectoryError, TimeoutError, ConfigError) as error:
            log.warning("member_not_started", error=repr(error))
            return  # Whoever keeps processes running starts another.
        except BaseExceptionGroup as group:
            kinds = NameTaken if self.is_joined else (StorageError, DirectoryError, TimeoutError)
            _, others = group.split(kinds)
            if others is not None:
                raise
            log.warning("member_ended", error=repr(group.exceptions[0]))

    async def _serve(self, services: Services, identity: str) -> None:
        node = self.node
        parts = Parts(self.link, node, self.clock, services.accounts, services.lobby, SIGNING_KEY)
        membership = self.membership = Membership(self._config(), parts, self.node_name)
        services.way = Way(membership.cluster, services.accounts)
        async with asyncio.TaskGroup() as tasks:
            listener = self._listener(services, tasks)
            running = tasks.create_task(node.run(), name="node")
            await listener.start(self.name, 1)
            membership.cluster.on_urls = self._tell_urls
            membership.cluster.on_drain = self._told_to_drain.set
            membership.cluster.connections = lambda: len(listener.connections)
            async with membership.joined(1, identity, tasks):
                self.is_joined = self.is_serving = True
                await self._told_to_drain.wait()
                try:
                    async with asyncio.timeout(DRAIN_TIMEOUT_S):
                        elsewhere = await membership.drain(DRAIN_TIMEOUT_S)
                        self.drained_whole = elsewhere
                        self.is_serving = False
                        listener.edge.admission.is_draining = True
                        spread_s = GOODBYES_SPREAD_S if listener.connections else 0.0
                        await listener.drain(spread_s, elsewhere=elsewhere)
                        await asyncio.sleep(SETTLE_S)
                        node.drain()
                        await asyncio.wait([running])
                        self.ended_well = True
                except TimeoutError:
                    running.cancel()
                listener.stop()

    def _tell_urls(self, urls: tuple[str, ...]) -> None:
        told = codec.nodes(urls)
        assert self.listener is not None, "Who has joined listens."
        for connection in self.listener.connections:
            if connection.is_open:
                connection.send(told)

    def _config(self) -> Any:
        return SimpleNamespace(
            redis=self.name,
            route="redirect",
            redis_prefix="",
            shards=self._tuning.shards,
            advertise=url_of(self.node_name),
            host=wire_address(self.name),
            peer_port=0,
            peer_address=f"{wire_address(self.name)}:1",
        )


def url_of(node_name: str) -> str:
    """Return the address under which players find a node."""
    return f"ws://{node_name}/ws"


def wire_address(name: str) -> str:
    """Return the address under which other nodes find a process."""
    return f"peers.of.{name}"


@contextmanager
def simulated_outside(hub: Hub, chance: Random) -> Iterator[None]:
    """Let members find the simulation's directory where Redis would be, and no real chance."""

    def directory(name: str, _prefix: str) -> Any:
        return hub.link(name)

    def token_hex(count: int) -> str:
        return chance.randbytes(count).hex()

    with (
        patch.object(app_cluster, "RedisDirectory", directory),
        patch.object(app_cluster, "secrets", SimpleNamespace(token_hex=token_hex)),
    ):
        yield

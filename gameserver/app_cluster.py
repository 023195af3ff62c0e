"""Puts together what a node needs to be one of several, and takes it down again.

Only the composition root uses it. A node alone has none of this.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import urlsplit

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gameserver.config import Config, ConfigError
from gameserver.net.edge import Edge
from gameserver.net.peers import PeerLinks
from gameserver.runtime.clock import Clock
from gameserver.runtime.cluster import LEASE_MS, Cluster, Identity, Place
from gameserver.runtime.moving import Moving
from gameserver.runtime.node import Node
from gameserver.services.accounts import LEEWAY_S, Accounts
from gameserver.services.lobby import Lobby
from gameserver.services.showcase import Showcase
from persistence.directory import NodeRecord
from persistence.interfaces import Store
from persistence.redis.directory import RedisDirectory

REACH_TIMEOUT_S = 3.0
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # To listen on; no way to any machine.
GIVE_UP_BEFORE_S = 3.0  # Of the time to drain: goodbyes and the last snapshots need some too.

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a cluster is put together with."""

    store: Store
    node: Node
    clock: Clock
    accounts: Accounts
    lobby: Lobby
    signing: Ed25519PrivateKey


class Way:
    """The way to other nodes, for whoever lets people in."""

    def __init__(self, cluster: Cluster, accounts: Accounts) -> None:
        self._cluster = cluster
        self._accounts = accounts

    def to(self, shard: int) -> Place | None:
        """Return who serves a shard, if it is another node."""
        return self._cluster.place_of(shard)

    def ticket(self, account: int, node: str) -> str:
        """Return what lets an account in at a node, for a moment."""
        return self._accounts.ticket(account, node)

    def urls(self) -> tuple[str, ...]:
        """Return the addresses of other nodes."""
        return self._cluster.urls


async def cluster_id(config: Config, store: Store, clock: Clock) -> str:
    """Return which cluster the database belongs to; ConfigError if this node does not fit in."""
    row = await store.cluster(config.shards)
    if row.shards != config.shards:
        raise ConfigError(
            f"shards: the cluster was made with {row.shards}, and that cannot be changed; "
            f"{config.shards} is not allowed"
        )
    if config.redis is not None:
        off_s = (clock.wall_ms() - await store.wall_ms()) / 1000
        if abs(off_s) > LEEWAY_S:
            raise ConfigError(
                f"the clock of this machine is {abs(off_s):.0f} s "
                f"{'ahead of' if off_s > 0 else 'behind'} the database's: tokens would not be "
                f"good at other nodes; set it right"
            )
    return row.cluster_id


def node_name(config: Config) -> str:
    """Return the name of this node: one that it has again when it is started again."""
    port = config.worker_port or config.port or os.getpid()
    return config.node_name or f"{socket.gethostname()}:{port}"


class Membership:
    """This node's place in a cluster: made before it listens, joined when it does."""

    def __init__(self, config: Config, parts: Parts, name: str) -> None:
        assert config.redis is not None, "without Redis a node is alone"
        self._config = config
        self._parts = parts
        self.name = name
        self.instance = secrets.token_hex(8)
        secret = blake2b(parts.signing.private_bytes_raw(), person=b"gs peer links").digest()
        self._directory = RedisDirectory(config.redis, config.redis_prefix)
        self._links = PeerLinks(name, self.instance, parts.clock, secret)
        identity = Identity(name, self.instance, "", "", self._rules())
        self.cluster = Cluster(parts.node, self._directory, self._links, parts.clock, identity)
        self._moving = Moving(self.cluster, parts.store, parts.clock)
        self._showcase = Showcase(self._directory, parts.lobby, parts.clock)
        self.cluster.is_relaying = config.route == "relay"
        parts.node.is_alone = False
        parts.accounts.node = name
        parts.lobby.index = self._directory

    def _rules(self) -> tuple[tuple[str, int], ...]:
        games = self._parts.lobby.games.values()
        return tuple(sorted((game.name, game.rules_version) for game in games))

    @asynccontextmanager
    async def joined(
        self, port: int, cluster: str, tasks: asyncio.TaskGroup
    ) -> AsyncIterator[None]:
        """Be one of the cluster's nodes, with players at ``port``."""
        config = self._config
        url = config.advertise or f"ws://{bracketed(config.host)}:{port}/ws"
        peer_port = await self._links.start(config.host, config.peer_port)
        peer = config.peer_address or f"{bracketed(urlsplit(url).hostname or '')}:{peer_port}"
        self.cluster.announce_as(url, peer)
        await self._directory.start(cluster)
        try:
            running = [tasks.create_task(self._links.run(), name="peers")]
            await self.cluster.start()
            for name, what in (
                ("cluster", self.cluster.run),
                ("taking", self._moving.take),
                ("giving", self._moving.give),
                ("showcase", self._showcase.run),
            ):
                running.append(tasks.create_task(what(), name=name))
            log.info("cluster_joined", node=self.name, url=url, peer=peer)
            running.append(tasks.create_task(self._look_at_addresses(), name="reaching"))
            yield
            for task in reversed(running):
                task.cancel()
            await self._moving.leave()
            await self.cluster.leave()
        finally:
            self._links.stop()
            await self._directory.stop()

    async def _look_at_addresses(self) -> None:
        await warn_if_unreachable(self.cluster.me.url, self.cluster.me.peer)
        # Whoever was here under another name before is forgotten by then.
        await asyncio.sleep(LEASE_MS / 1000)
        warn_if_anothers(self.cluster.me, self.cluster.view.nodes)

    def admits_nodes_to(self, edge: Edge) -> Callable[[], None]:
        """Return what lets players in whom other nodes pass on, however many those are."""

        def admit() -> None:
            edge.admission.nodes = self._links.addresses

        return admit

    async def drain(self, deadline_s: float) -> bool:
        """Give all shards away; false if nobody took them in time, or is there to take them."""
        self.cluster.drain()
        try:
            async with asyncio.timeout(max(deadline_s - GIVE_UP_BEFORE_S, 0)):
                await self.cluster.rid.wait()
        except TimeoutError:
            log.warning("shards_not_given", count=len(self._parts.node.keeper.owned))
            return False
        return not self.cluster.is_last


async def warn_if_unreachable(url: str, peer: str) -> None:
    """Try the addresses under which this node announces itself, and say if nobody answers there.

    It is no proof: others may reach them where this machine does not, or the other way round.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    host, _, peer_port = peer.rpartition(":")
    for what, address, number in (
        ("advertise", parts.hostname or "", port),
        ("peer_address", host.strip("[]"), int(peer_port)),
    ):
        try:
            if address in EVERYWHERE:
                raise OSError(f"{address} leads everybody to their own machine")
            async with asyncio.timeout(REACH_TIMEOUT_S):
                _, writer = await asyncio.open_connection(address, number)
        except (OSError, TimeoutError) as error:
            log.error(
                "own_address_not_reached", setting=what, url=url, peer=peer, error=repr(error)
            )
        else:
            writer.close()


def warn_if_anothers(me: Identity, nodes: Iterable[NodeRecord]) -> None:
    """Say if another node announces itself under an address of this one: who follows gets lost."""
    for other in nodes:
        for what, own, theirs in (
            ("advertise", me.url, other.url),
            ("peer_address", me.peer, other.peer),
        ):
            if other.name != me.name and own == theirs:
                log.error("own_address_is_anothers", setting=what, address=own, node=other.name)


def bracketed(host: str) -> str:
    """Return a host as it is written in a URL."""
    return f"[{host}]" if ":" in host else host

"""What this node knows of the others, and what it tells them: who is there, who serves which shard.

The directory is a hint that may be late, empty or away; a link to another node that breaks is a
hint that is quicker. Whoever acts on either asks PostgreSQL, which alone says who may commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from gameserver.runtime.assignment import Candidate
from gameserver.runtime.clock import NS_PER_MS, Clock
from gameserver.runtime.deaths import Deaths
from gameserver.runtime.keeper import shard_of
from gameserver.runtime.node import Node
from persistence.directory import (
    ClusterView,
    Directory,
    DirectoryUnavailable,
    NameTaken,
    NodeRecord,
)

BEAT_S = 0.4
LEASE_MS = 2_000
CALL_TIMEOUT_S = 1.0
# A node that was killed and started again finds its own name taken until the old lease has lapsed.
NAME_FREE_TIMEOUT_S = 2 * LEASE_MS / 1000
# Whoever cannot commit for so long says so, by a weight of 0, and renews no lease: perhaps another
# node can.
UNSURE_AFTER_MS = 1_500
LOAD_BEATS = 8  # Loads are averages over so many beats, so that nobody moves for a moment's noise.
assert BEAT_S * 1000 * 3 < LEASE_MS  # Two beats may be lost.

log = structlog.get_logger(__name__)


class Peers(Protocol):
    """Quick links to the other nodes. `net.peers.PeerLinks` is one."""

    on_dead: Callable[[str], None]
    on_message: Callable[[str, list[Any]], None]

    def follow(self, peers: Mapping[str, tuple[str, str]]) -> None:
        """Keep a link to each of these nodes: by name their address and instance."""

    @property
    def are_heard(self) -> bool:
        """Tell whether any node is heard, if there is one that could be."""

    def send(self, name: str, message: list[Any]) -> bool:
        """Tell a node something; false if there is no link to it just now."""


@dataclass(frozen=True, slots=True)
class Identity:
    """How this node announces itself. ``instance`` is random for each start."""

    name: str
    instance: str
    url: str
    peer: str
    rules: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Another node, and the address under which players reach it."""

    node: str
    url: str


class Cluster:
    """This node among the others.

    All of ``on_news`` are called when there is news of who is there or who has what, ``on_urls``
    when players should know other addresses, ``on_drain`` when an operator asked this node to go,
    ``on_cut_off`` again and again for as long as this node can do nothing for anybody.
    """

    def __init__(
        self, node: Node, directory: Directory, peers: Peers, clock: Clock, identity: Identity
    ) -> None:
        self.node = node
        self.me = identity
        self.peers = peers
        self.directory = directory
        self.view = ClusterView()
        self.owners: dict[int, str] = {}
        self.is_draining = False
        self.rid = asyncio.Event()  # Set when this node drains and can give away nothing more.
        self.urls: tuple[str, ...] = ()  # Of the other nodes, but for those that drain.
        self.is_relaying = False  # Players know one address for all nodes, and no other.
        self.is_current = False  # The last beat was answered.
        self.on_news: list[Callable[[], None]] = []
        self.on_urls: Callable[[tuple[str, ...]], None] = _ignore
        self.on_drain: Callable[[], None] = _ignore
        self.on_cut_off: Callable[[], None] = _ignore
        self.connections: Callable[[], int] = lambda: 0
        self._clock = clock
        self._started_ms = clock.wall_ms()
        self.deaths = Deaths(clock)
        # Instances that said that they drain, by name: the directory may not know yet. Forgotten
        # when another bears the name.
        self._draining: dict[str, str] = {}
        self._followed: dict[str, tuple[str, str]] = {}
        self._beaten_ns = clock.now_ns()
        self._beats = 0
        self._busy_ms, self._busy_at_ns = 0.0, clock.now_ns()
        self._load = 0.0
        peers.on_dead = self._see_dead
        node.host.closing.whereabouts = self.whereabouts

    # --- What others ask.

    def place_of(self, shard: int) -> Place | None:
        """Return the node that serves a shard; None if that is this one, or nobody is known to."""
        if shard in self.node.keeper.owned:
            return None
        record = self._able().get(self.owners.get(shard, ""))
        if record is None or record.name == self.me.name:
            return None
        return Place(record.name, record.url)

    def whereabouts(self, shard: int) -> str:
        """Return where players find a shard that we lost, "" if they shall ask where they are."""
        place = self.place_of(shard)
        return "" if place is None or self.is_relaying else place.url

    @property
    def is_settled(self) -> bool:
        """Tell whether others that were started together with this node had time to be seen."""
        return self.is_current and self._beats > 1

    @property
    def is_last(self) -> bool:
        """Tell whether there is nobody to give anything to."""
        return all(one.draining for one in self._others())

    def may_take(self, name: str) -> bool:
        """Tell whether a node is there, can commit and does not drain."""
        record = self._able().get(name)
        return record is not None and not record.draining

    def shares_rules(self, name: str) -> bool:
        """Tell whether a node has the same games as this one, under the same rules."""
        record = self._live().get(name)
        return record is not None and record.rules == self.me.rules

    @property
    def unsure(self) -> tuple[str, ...]:
        """Return the names of nodes that live, and say that they cannot commit."""
        return tuple(sorted(self._live().keys() - self._able().keys()))

    def candidates(self) -> list[Candidate]:
        """Return who may serve shards, this node among them."""
        return [
            Candidate(one.name, one.weight, one.load, dict(one.rules), one.draining)
            for one in (*self._others(), self._record())
        ]

    def standing(self) -> dict[int, str]:
        """Return the owner of each shard that has one who can serve it, as far as is known."""
        able = self._able()
        standing = {shard: name for shard, name in self.owners.items() if name in able}
        return standing | dict.fromkeys(self.node.keeper.owned, self.me.name)

    def is_free(self, shard: int) -> bool:
        """Tell whether no node that lives and can commit has the lease of a shard."""
        holder = self.view.leases.get(shard)
        return holder in (None, self.me.name, *self.deaths.names, *self.unsure)

    def url_of_room(self, room_id: int) -> str | None:
        """Return the address of whoever has a room: "" if that is us, None if nobody is known."""
        shard = shard_of(room_id, self.node.keeper.shards)
        if shard in self.node.keeper.owned:
            return ""
        place = self.place_of(shard)
        return None if place is None else place.url

    # --- What happens.

    async def start(self) -> None:
        """Announce this node; NameTaken if another has its name, DirectoryError if it cannot be."""
        async with asyncio.timeout(NAME_FREE_TIMEOUT_S + CALL_TIMEOUT_S):
            while True:
                try:
                    await self._beat_once()
                except NameTaken:
                    if self._age_ms() >= NAME_FREE_TIMEOUT_S * 1000:
                        raise
                else:
                    return
                await asyncio.sleep(BEAT_S)

    async def run(self) -> None:
        """Beat, for ever; NameTaken if another has come by its name meanwhile."""
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self._beat_once()
            except (DirectoryUnavailable, TimeoutError, NameTaken) as error:
                if isinstance(error, NameTaken) and self._age_ms() >= NAME_FREE_TIMEOUT_S * 1000:
                    raise  # Another one came in its place while it was not heard.
                self.node.metrics.directory_failures_total += 1
                if self.is_current:
                    log.warning("directory_lost", error=repr(error))
                self.is_current = False
            self._measure()
            is_bare = not (self.node.keeper.owned or self.is_last)
            if self._is_unsure and (is_bare if self.is_current else not self.peers.are_heard):
                self.on_cut_off()  # All our rooms go on elsewhere, or nobody can tell us where.

    def announce_as(self, url: str, peer: str) -> None:
        """Learn under which addresses this node is reached."""
        self.me = replace(self.me, url=url, peer=peer)

    def drain(self) -> None:
        """Give everything away; ``rid`` is set when that is done, or nobody is left to take it."""
        self.is_draining = True
        self.tell_all(["draining"])  # Several may go at once, and none should give to another.
        self._tell_news()

    def note_draining(self, name: str) -> None:
        """Learn at once that a node takes nothing any more, without waiting for a beat."""
        if name in self._followed:
            self._draining[name] = self._followed[name][1]
            self.view = self._as_they_said(self.view)
            self._tell_urls()
            self._tell_news()

    def note_given(self) -> None:
        """Look whether there is anything left to give."""
        if self.is_draining and not self.node.keeper.owned:
            self.rid.set()

    def note_owner(self, name: str, shards: Collection[int]) -> None:
        """Learn at once who has shards now, without waiting for a beat."""
        self.owners.update(dict.fromkeys(shards, name))
        self._cede()

    def tell_all(self, message: list[Any]) -> None:
        """Tell every node something; who misses it learns it with the next beat."""
        for record in self._others():
            self.peers.send(record.name, message)

    async def leave(self) -> None:
        """Say that this node goes; if nobody hears it, its leases lapse."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self.directory.leave(self._record())
        except (DirectoryUnavailable, TimeoutError) as error:
            log.warning("leave_not_heard", error=repr(error))

    async def _beat_once(self) -> None:
        sent_ns, was_draining, was_last = self._clock.now_ns(), self.is_draining, self.is_last
        held = () if self._is_unsure else tuple(self.node.keeper.owned)
        async with asyncio.timeout(CALL_TIMEOUT_S):
            view = await self.directory.beat(self._record(), held, LEASE_MS)
        if not self.is_current:
            log.info("directory_found", nodes=len(view.nodes))
        self.is_current = True
        self._beaten_ns = sent_ns
        self._beats += 1
        self._take_in(view)
        # Who came a moment ago may be the only one to take anything: asked before, the directory
        # may not have known. And one that was wiped knows the others a moment later.
        if was_draining and ((was_last and self.is_last) or not self.node.keeper.owned):
            self.rid.set()

    def _take_in(self, view: ClusterView) -> None:
        self.view = self._as_they_said(view)
        self.owners = dict(view.leases)
        followed = {one.name: (one.peer, one.instance) for one in self._others()}
        self.peers.follow(followed)  # It may tell that an instance has died which was followed.
        self._followed = followed
        self.deaths.forget_living(view.nodes, LEASE_MS)
        for record in view.nodes:
            if self._draining.get(record.name, record.instance) != record.instance:
                del self._draining[record.name]
        self._cede()
        self._tell_urls()
        if self.me.name in view.drains and not self.is_draining:
            log.info("drain_asked")
            self.on_drain()
        self._tell_news()

    def _cede(self) -> None:
        """Let go of what others took because we cannot commit; a commit would tell us too late."""
        if not self._is_unsure:
            return
        keeper = self.node.keeper
        taken = [shard for shard in sorted(keeper.owned) if self._is_taken(shard)]
        if taken:
            log.warning("shards_ceded", count=len(taken))
        for shard in taken:
            keeper.drop(shard)
            self.node.host.closing.shard_lost(shard)

    def _is_taken(self, shard: int) -> bool:
        owner = self.owners.get(shard, "")
        return owner != self.me.name and owner in self._able()

    def _tell_urls(self) -> None:
        # Those that drain, or cannot commit, take nothing new: neither shards nor players.
        urls = tuple(one.url for one in self._others() if one.weight)
        if urls != self.urls and not self.is_relaying:
            self.urls = urls
            self.on_urls(urls)

    def _see_dead(self, name: str) -> None:
        """Take in that the link to a node broke, and that it cannot be had again."""
        if name in self._followed:
            self.deaths.add(name, self._followed[name][1])
            if self._has_left(name):
                log.info("node_left", node=name)
            else:
                log.warning("node_died", node=name)
            self._tell_urls()
            self._tell_news()

    def _has_left(self, name: str) -> bool:
        """Tell whether a node said that it goes, and has nothing any more that it would leave."""
        goes = (one.name == name and one.draining for one in self.view.nodes)
        return any(goes) and name not in self.owners.values()

    def _tell_news(self) -> None:
        for listener in self.on_news:
            listener()

    def _as_they_said(self, view: ClusterView) -> ClusterView:
        """Return a view with the nodes draining that said so, also if it does not know yet."""
        said = self._draining.items()
        return replace(
            view,
            nodes=tuple(
                replace(one, weight=0, draining=True) if (one.name, one.instance) in said else one
                for one in view.nodes
            ),
        )

    def _others(self) -> list[NodeRecord]:
        return [one for one in self.view.nodes if one.name != self.me.name and self._lives(one)]

    def _live(self) -> dict[str, NodeRecord]:
        return {one.name: one for one in self.view.nodes if self._lives(one)}

    def _able(self) -> dict[str, NodeRecord]:
        """Return the nodes that live, but for those that cannot commit."""
        live = self._live().items()
        return {name: one for name, one in live if one.weight or one.draining}

    @property
    def _is_unsure(self) -> bool:
        """Tell whether this node could not commit for so long that others should try."""
        return self.node.committer.is_behind(UNSURE_AFTER_MS)

    def _lives(self, record: NodeRecord) -> bool:
        return not self.deaths.has(record)

    def _record(self) -> NodeRecord:
        me = self.me
        return NodeRecord(
            name=me.name,
            instance=me.instance,
            url=me.url,
            peer=me.peer,
            weight=0 if self.is_draining or self._is_unsure else 1,
            load=round(self._load),
            rooms=len(self.node.host.rooms),
            connections=self.connections(),
            rules=me.rules,
            started_ms=self._started_ms,
            draining=self.is_draining,
        )

    def _measure(self) -> None:
        """Take the measure of the last beats: how much of their time went into slots."""
        metrics, now_ns = self.node.metrics, self._clock.now_ns()
        busy_ms = metrics.slot_ms.total
        passed_ms = max((now_ns - self._busy_at_ns) / NS_PER_MS, 1.0)
        load = min(1000 * (busy_ms - self._busy_ms) / passed_ms, 1000.0)
        self._load += (load - self._load) / LOAD_BEATS
        self._busy_ms, self._busy_at_ns = busy_ms, now_ns
        metrics.nodes_live = len(self._others()) + 1
        metrics.lease_lag_ms = int(self._age_ms())

    def _age_ms(self) -> float:
        return (self._clock.now_ns() - self._beaten_ns) / NS_PER_MS


def _ignore(*_: object) -> None:
    pass

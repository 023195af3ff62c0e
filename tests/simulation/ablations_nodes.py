"""The safeguards that nodes have beyond those of one server, switched off one at a time."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from typing import Any

from gameserver.net.peer_ends import Answer
from gameserver.net.peers import Link
from gameserver.runtime import cluster as clusters
from gameserver.runtime import moving as movings
from gameserver.runtime.closing import Closing
from gameserver.runtime.cluster import Cluster
from gameserver.runtime.committer import Committer
from gameserver.runtime.deaths import Deaths
from gameserver.runtime.handover import Handover
from gameserver.runtime.moving import Moving
from persistence.directory import DirectoryUnavailable, NameTaken
from persistence.memory_directory import MemoryDirectory
from tests.simulation.ablating import put

FOR_EVER_MS = 9_000


# --- Taking.


def succession_ignored(stack: ExitStack) -> None:
    """A shard without a lease is taken, whoever has it and however well that one is."""

    async def take(self: Any, shards: Any, succession: Any) -> Any:
        return await before(self, shards, None)

    before = put(stack, Moving, "_take", take)


def taken_while_unsteady(stack: ExitStack) -> None:
    """After an outage of storage, who can commit first takes what the others have."""
    put(stack, Committer, "is_steady", lambda self, for_ms: True)


def stale_at_once(stack: ExitStack) -> None:
    """Whoever has not said for half a second that it lives counts as dead."""
    put(stack, movings, "STALE_MS", 500)


def dead_for_ever(stack: ExitStack) -> None:
    """A node that died counts as dead when another instance has come by its name."""
    put(stack, Deaths, "has", lambda self, record: record.name in self._seen)
    put(stack, Deaths, "forget_living", lambda self, records, lapse_ms: None)


def silence_is_death(stack: ExitStack) -> None:
    """A node that does not answer on its link counts as dead."""

    def judge(self: Any, visit: Any) -> None:
        if visit.answer is Answer.NONE:
            visit.answer = Answer.REFUSED
        before(self, visit)

    before = put(stack, Link, "_judge", judge)


def leases_never_lapse(stack: ExitStack) -> None:
    """A lease stands until it is given back."""

    def take(self: Any, node: str, shards: Any, dead: Any, until_ms: int) -> Any:
        taken = before(self, node, shards, dead, until_ms)
        for shard, (name, _) in self._world.leases.items():
            self._world.leases[shard] = (name, self._now_ms() + FOR_EVER_MS)
        return taken

    before = put(stack, MemoryDirectory, "_take", take)


def leases_kept_while_cut_off(stack: ExitStack) -> None:
    """Who cannot commit renews its leases all the same."""
    put(stack, clusters, "UNSURE_AFTER_MS", 3_600_000)


def name_not_given_up(stack: ExitStack) -> None:
    """A node goes on by a name that another one has taken, and takes what is that one's."""

    async def beat(self: Any) -> None:
        try:
            await before(self)
        except NameTaken as error:
            self.is_current = True
            self._tell_news()
            raise DirectoryUnavailable("never mind") from error

    before = put(stack, Cluster, "_beat_once", beat)


# --- Having.


def fenced_owner_stays(stack: ExitStack) -> None:
    """Who hears that a newer owner has a shard keeps it, and its people."""

    def advance(self: Any, batch: Any, answer: Any) -> None:
        put_aside = self._keeper.drop
        self._keeper.drop = lambda shard: None
        lost, self.shard_lost = self.shard_lost, lambda shard: None
        try:
            before(self, batch, answer)
        finally:
            self._keeper.drop, self.shard_lost = put_aside, lost

    before = put(stack, Committer, "_advance", advance)


# --- Giving.


def given_in_flight(stack: ExitStack) -> None:
    """A shard is passed on while what its rooms decided is on its way to storage."""

    async def rest(self: Any, shards: Collection[int]) -> bool:
        rooms = self._opening.of_shards(shards)
        flights = [(opened, opened.in_flight) for opened in rooms]
        for opened, _ in flights:
            opened.in_flight = 0
        try:
            return bool(await before(self, shards))
        finally:
            for opened, count in flights:
                opened.in_flight += count

    before = put(stack, Handover, "rest", rest)


def given_unrested(stack: ExitStack) -> None:
    """Rooms go on deciding while their shard is passed on."""

    async def rest(self: Any, shards: Collection[int]) -> bool:
        done = bool(await before(self, shards))
        for opened in self._opening.of_shards(shards):
            opened.paused = False
        return done

    before = put(stack, Handover, "rest", rest)


def moved_untold(stack: ExitStack) -> None:
    """Nobody is told that a room goes on elsewhere."""

    def move(self: Any, opened: Any, url: str) -> None:
        with ExitStack() as silence:
            put(silence, type(self._audience), "dismiss", _dismissed)
            before(self, opened, url)

    before = put(stack, Closing, "_move", move)


def _dismissed(self: Any, opened: Any, viewer: Any, _: bytes) -> None:
    self._forget(opened, viewer)
    viewer.left(opened.row.room_id)


def given_without_a_name(stack: ExitStack) -> None:
    """Storage does not hear who shall have a shard: the lease alone is passed on."""

    async def give(self: Any, name: str, shards: list[int]) -> frozenset[int]:
        me = self._cluster.me.name
        await self._cluster.directory.pass_leases(me, name, sorted(shards), 2_000)
        return frozenset(shards)

    put(stack, Moving, "_pass", give)


def drained_without_giving(stack: ExitStack) -> None:
    """A node that drains says goodbye and keeps what it has to its end."""

    def drain(self: Any) -> None:
        before(self)
        self.rid.set()

    before = put(stack, Cluster, "drain", drain)


NODE_ABLATIONS = (
    *(succession_ignored, taken_while_unsteady, stale_at_once, dead_for_ever, silence_is_death),
    *(leases_never_lapse, leases_kept_while_cut_off, name_not_given_up),
    fenced_owner_stays,
    *(given_in_flight, given_unrested, moved_untold, given_without_a_name, drained_without_giving),
)

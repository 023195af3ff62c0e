"""Takes shards that fall to this node, and gives away those that fall to others.

Which they are is decided in `runtime.assignment` from what `runtime.cluster` knows; every node
comes to the same answer. A shard whose owner is gone is taken; one whose owner lives is only ever
given, by its owner, between two ticks.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any

import structlog

from gameserver.runtime.assignment import claims, desired, handovers, relief
from gameserver.runtime.clock import NS_PER_MS, Clock
from gameserver.runtime.cluster import LEASE_MS, Cluster
from persistence.directory import DirectoryUnavailable
from persistence.interfaces import StorageError, Store
from persistence.ownership import NOBODY, Succession

STALE_MS = 1_500
STEADY_MS = 2_000  # Who could not commit a moment ago takes nobody for dead who could not either.
# For whoever should take what nobody has; then another one does.
PATIENCE_MS = 1_500
STORE_TIMEOUT_S = 2.0
DIRECTORY_TIMEOUT_S = 1.0
TAKEN_TIMEOUT_S = 1.0
GIVEN_AT_ONCE = 4
GIVEN_AT_ONCE_DRAINING = 8
RETRY_S = 0.2
RESTLESS_NS = 5_000 * NS_PER_MS  # To try is to stop their rooms, perhaps for seconds.
LOADS_SETTLE_NS = 10_000 * NS_PER_MS
FIRST_EPOCH = 1  # Nobody ever had it.

log = structlog.get_logger(__name__)


class Moving:
    """The shards on their way to this node and from it."""

    def __init__(self, cluster: Cluster, store: Store, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._changed_ns = clock.now_ns()  # When our shards last changed.
        self._node = cluster.node
        self._keeper = cluster.node.keeper
        self._store = store
        # Passed on to us, by whom; no shard stands here twice.
        self._given: dict[int, str] = {}
        self._ownerless_ns: dict[int, int] = {}  # Since when nobody has a shard.
        # Shards of which a room did not come to rest, and when to try them again.
        self._restless_ns: dict[int, int] = {}
        # To whom we passed shards on without an answer: perhaps they have their name by now.
        self._heirs: dict[int, str] = {}
        self._news = asyncio.Event()
        self._moves = asyncio.Event()
        # Whoever waits to hear that a node has taken what it was given.
        self._taken: dict[str, asyncio.Future[None]] = {}
        cluster.on_news.append(self._look)
        cluster.peers.on_message = self._hear

    async def take(self) -> None:
        """Take what falls to us, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            given, self._given = self._given, {}
            try:
                await self.take_once(given)
            except (StorageError, TimeoutError) as error:
                log.warning("shards_not_taken", error=repr(error))
                self._given = given | self._given
                await asyncio.sleep(RETRY_S)
                self._news.set()

    async def take_once(self, given: dict[int, str]) -> None:
        """Take what was given to us, by whom, and what nobody has."""
        # What was known once is no word of today's: another may have our name by now.
        leases = self._cluster.view.leases if self._cluster.is_current else {}
        # Others may write there too: what is no shard must not keep us from those that are.
        passed = self._known([shard for shard, name in leases.items() if self._is_me(name)])
        wanted = (given.keys() | set(passed)) - self._keeper.owned.keys()
        if wanted:
            taken = await self._take(wanted, Succession())
            self._count("handover", taken)
        self._answer(given)  # Also if we found out by a lease, before we were told.
        if self._cluster.is_settled and not self._cluster.is_draining:
            await self._claim()

    async def _claim(self) -> None:
        cluster = self._cluster
        free = [
            shard
            for shard in self._falls_to_us()
            if cluster.is_free(shard) and shard not in self._keeper.refused
        ]
        if not free:
            return
        dead = cluster.deaths.news
        is_steady = self._node.committer.is_steady(STEADY_MS)
        taken = await self._take(free, Succession(dead, STALE_MS if is_steady else None))
        if not taken:
            return
        epochs = {shard: self._keeper.owned[shard].epoch for shard in taken}
        self._count("free", [shard for shard, epoch in epochs.items() if epoch == FIRST_EPOCH])
        self._count("takeover", [shard for shard, epoch in epochs.items() if epoch != FIRST_EPOCH])
        log.info("shards_taken", count=len(taken), shards=taken)
        try:
            async with asyncio.timeout(DIRECTORY_TIMEOUT_S):
                gone = (*dead, *cluster.unsure)
                await cluster.directory.take_leases(cluster.me.name, taken, gone, LEASE_MS)
        except (DirectoryUnavailable, TimeoutError) as error:
            log.warning("leases_not_taken", error=repr(error))  # The next beat takes them.

    def _falls_to_us(self) -> list[int]:
        """Return what nobody has and we should take, or somebody who does not.

        It may announce itself and not hear what the directory answers.
        """
        cluster, now_ns = self._cluster, self._clock.now_ns()
        me, shards, nodes = cluster.me.name, self._keeper.shards, cluster.candidates()
        standing = cluster.standing()
        ownerless = [shard for shard in range(shards) if shard not in standing]
        self._ownerless_ns = {one: self._ownerless_ns.get(one, now_ns) for one in ownerless}
        since_ns = now_ns - PATIENCE_MS * NS_PER_MS
        late = {shard for shard, at_ns in self._ownerless_ns.items() if at_ns <= since_ns}
        fallen = claims(me, shards, nodes, standing)
        if late:
            plan = desired(shards, nodes, standing)
            idle = {plan.get(shard) for shard in late} - {me}
            others = [node for node in nodes if node.name not in idle]
            fallen += [one for one in claims(me, shards, others, standing) if one in late]
        return sorted(set(fallen))

    async def _take(self, shards: Collection[int], succession: Succession) -> list[int]:
        async with asyncio.timeout(STORE_TIMEOUT_S):
            taken = await self._node.take(shards, succession)
        if taken:
            self._changed_ns = self._clock.now_ns()
            self._cluster.note_owner(self._cluster.me.name, taken)
            self._cluster.tell_all(["own", taken])
        return taken

    def _answer(self, given: dict[int, str]) -> None:
        """Tell who gave us shards that they are ours now."""
        for name in sorted(set(given.values())):
            shards = [shard for shard, giver in given.items() if giver == name]
            self._cluster.peers.send(name, ["taken", shards])

    # --- Giving.

    async def give(self) -> None:
        """Give away what falls to others, for ever."""
        while True:
            await self._moves.wait()
            self._moves.clear()
            while await self._give_some():
                pass

    async def _give_some(self) -> bool:
        """Give some shards away; false if there is nothing to give, or nobody takes it now."""
        cluster = self._cluster
        if not cluster.is_current:
            return False
        by_node: dict[str, list[int]] = defaultdict(list)
        for shard, name in self._due():
            if shard in self._keeper.owned:
                by_node[name].append(shard)
        done = [await self._give(name, shards) for name, shards in by_node.items()]
        return cluster.is_draining and any(done)

    def _due(self) -> list[tuple[int, str]]:
        """Return what is to be given now, and to whom: by numbers, or else by load."""
        cluster = self._cluster
        at_most = GIVEN_AT_ONCE_DRAINING if cluster.is_draining else GIVEN_AT_ONCE
        view = (cluster.me.name, self._keeper.shards, cluster.candidates(), cluster.standing())
        rooms = Counter(opened.row.shard for opened in self._node.host.rooms.values())
        moves = handovers(*view, self._keeper.shards, rooms)
        if not moves and self._clock.now_ns() - self._changed_ns >= LOADS_SETTLE_NS:
            moves = relief(*view, rooms)
        restless = self._restless()
        return [
            (shard, name)
            for shard, name in moves
            if shard not in restless and not self._must_wait(shard, name)
        ][:at_most]

    def _restless(self) -> set[int]:
        """Return the shards that would keep others from being given with them."""
        now_ns = self._clock.now_ns()
        self._restless_ns = {one: at for one, at in self._restless_ns.items() if at > now_ns}
        return self._restless_ns.keys() | self._node.handover.restless(self._keeper.owned)

    def _must_wait(self, shard: int, name: str) -> bool:
        """Tell whether a shard has rooms that are not open, and would be set aside there.

        Under other rules a room goes on only from a state that was stored whole.
        """
        return self._node.backlog.has(shard) and not self._cluster.shares_rules(name)

    async def _give(self, name: str, shards: list[int]) -> bool:
        handover = self._node.handover
        rests = await handover.rest(shards)
        if not rests:
            restless = sorted(handover.restless(shards))
            log.warning("rooms_not_at_rest", shards=restless)
            again_ns = self._clock.now_ns() + RESTLESS_NS
            self._restless_ns.update(dict.fromkeys(restless, again_ns))
        if not rests or not self._cluster.may_take(name):  # It may go meanwhile, too.
            handover.go_on(shards)
            return False
        passed: frozenset[int] = frozenset()
        try:
            passed = await self._pass(name, shards)
        except (StorageError, TimeoutError) as error:
            log.warning("shards_not_passed", node=name, error=repr(error))
        handover.go_on(set(shards) - passed)
        if not passed:
            return False
        await self._tell(name, passed)
        self._cluster.note_owner(name, passed)
        handover.let_go(passed)
        self._changed_ns = self._clock.now_ns()
        self._cluster.note_given()
        self._node.metrics.handovers_total += len(passed)
        log.info("shards_given", node=name, count=len(passed))
        return True

    async def _pass(self, name: str, shards: list[int]) -> frozenset[int]:
        """Let another node take these shards; return those that it may take."""
        keeper, me = self._keeper, self._cluster.me.name
        owned = [keeper.owned[shard] for shard in shards if shard in keeper.owned]
        marks = [keeper.right(one) for one in owned]
        asked = {mark.shard for mark in marks}
        async with asyncio.timeout(STORE_TIMEOUT_S):
            for heir in sorted({self._heirs.get(shard, me) for shard in asked} - {me, name}):
                await self._store.pass_shards(heir, me, marks)
            self._heirs.update(dict.fromkeys(asked, name))
            passed = await self._store.pass_shards(me, name, marks)
        for shard in asked:
            del self._heirs[shard]
        keeper.passed |= passed
        try:
            async with asyncio.timeout(DIRECTORY_TIMEOUT_S):
                await self._cluster.directory.pass_leases(me, name, sorted(passed), LEASE_MS)
        except (DirectoryUnavailable, TimeoutError) as error:
            log.warning("leases_not_passed", error=repr(error))  # They lapse.
        return passed

    async def _tell(self, name: str, shards: Collection[int]) -> None:
        """Tell a node to take shards, and wait a moment until it has."""
        taken = self._taken[name] = asyncio.get_running_loop().create_future()
        try:
            if self._cluster.peers.send(name, ["take", sorted(shards)]):
                async with asyncio.timeout(TAKEN_TIMEOUT_S):
                    await taken
        except TimeoutError:
            log.warning("taking_not_heard", node=name)  # It finds the leases with its next beat.
        finally:
            del self._taken[name]

    async def leave(self) -> None:
        """Let whoever wants it take at once what nobody took from us; nothing ticks any more."""
        keeper = self._keeper
        marks = [keeper.right(owned) for _, owned in sorted(keeper.owned.items())]
        if not marks:
            return
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                await self._store.pass_shards(self._cluster.me.name, NOBODY, marks)
        except (StorageError, TimeoutError) as error:
            log.warning("shards_not_left", error=repr(error))  # They lapse.

    # --- News.

    def _look(self) -> None:
        self._news.set()
        self._moves.set()

    def _hear(self, name: str, message: list[Any]) -> None:
        match message:
            case ["take", [*shards]]:
                self._given.update(dict.fromkeys(self._known(shards), name))
                self._news.set()
            case ["taken", [*_]]:
                if name in self._taken and not self._taken[name].done():
                    self._taken[name].set_result(None)
            case ["own", [*shards]]:
                self._cluster.note_owner(name, self._known(shards))
            case ["draining"]:
                self._cluster.note_draining(name)
            case _:
                log.warning("peer_not_understood", node=name)

    def _known(self, shards: list[Any]) -> list[int]:
        return [one for one in shards if type(one) is int and 0 <= one < self._keeper.shards]

    def _is_me(self, name: str) -> bool:
        return name == self._cluster.me.name

    def _count(self, cause: str, shards: Collection[int]) -> None:
        self._node.metrics.takeovers_total[cause] += len(shards)

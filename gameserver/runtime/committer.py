"""Makes what rooms decided durable, one batch at a time, and then lets it be told.

One batch is in flight, and the one before it is told meanwhile: storage and sockets need not wait
for each other. What ends meanwhile joins the next. A commit whose fate is unknown is sent again
under the same batch id until it is known, and in the meantime nothing else is committed. A batch
that can never be committed is split until the one room is found. Rooms that wait for a lock which
somebody else holds are put off by themselves, and the others committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import structlog

from gameserver.runtime.batching import Seals, batch_of, clock_batch, fitting
from gameserver.runtime.clock import NS_PER_MS, Clock
from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.stalls import Stalls
from gameserver.runtime.work import OpenRoom, Work
from persistence.interfaces import (
    Batch,
    CommitAnswer,
    Poisoned,
    StorageBusy,
    StorageUnavailable,
    Store,
)

COMMIT_TIMEOUT_S = 3.0
RETRY_FIRST_S, RETRY_MOST_S = 0.05, 1.0
SLOW_MS = 500
CLOCK_INTERVAL_NS = 500_000_000  # Others take over what was not renewed for 1.5 s.
STANDSTILL_NS = CLOCK_INTERVAL_NS  # On top of the interval: sooner nobody takes anything over.
CLOCK_BUSY_NS = 5 * CLOCK_INTERVAL_NS  # To find a lock held costs everybody a wait.
WORKS_WAITING_MAX = 20_000  # Rooms pause long before, by slots; this is the last resort.
# Two ticks; then rooms pause. Two batches before them may be durable and not yet told.
SLOTS_AHEAD_MAX = 10

log = structlog.get_logger(__name__)

T = TypeVar("T")
Release = Callable[[Iterable[Work], CommitAnswer], Coroutine[Any, Any, None]]
SetAside = Callable[[OpenRoom, str], None]
ShardLost = Callable[[int], None]


class Committer:
    """The way from a tick's output to its release.

    ``release`` is called with works in order, as soon as they are durable. ``set_aside`` is called
    for a room whose output can never be committed, ``shard_lost`` for a shard that is not ours any
    more: another node has taken it, or the database went backwards.
    """

    def __init__(
        self, store: Store, keeper: ShardKeeper, seals: Seals, clock: Clock, metrics: Metrics
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._seals = seals
        self._clock = clock
        self._metrics = metrics
        # Bounded by SLOTS_AHEAD_MAX slots: when it is full, rooms do not tick.
        self._waiting: list[Work] = []
        self._stalls = Stalls(clock)
        self._wake = asyncio.Event()
        self._slots_ahead = 0
        self._stopping = False
        self._clock_due_ns = 0
        self.beat = 0
        self.behind_since_ns: int | None = None
        self._unsteady_ns: int | None = None
        self._was_answered = False
        self._tellings = asyncio.TaskGroup()
        self._telling: asyncio.Task[None] | None = None
        self.release: Release = _nobody
        self.set_aside: SetAside = _nobody
        self.shard_lost: ShardLost = _nobody

    @property
    def is_full(self) -> bool:
        """Tell whether rooms must pause, because two ticks wait to become durable."""
        return self._slots_ahead >= SLOTS_AHEAD_MAX or len(self._waiting) >= WORKS_WAITING_MAX

    def is_behind(self, for_ms: int) -> bool:
        """Tell whether the commit in flight has been without an answer for so long."""
        since = self.behind_since_ns
        return since is not None and self._clock.now_ns() - since >= for_ms * NS_PER_MS

    def is_steady(self, for_ms: int) -> bool:
        """Tell whether storage has answered at once for so long, whenever it was asked."""
        last_ns = self._unsteady_ns
        is_long_ago = last_ns is None or self._clock.now_ns() - last_ns >= for_ms * NS_PER_MS
        return self._was_answered and is_long_ago and not self.is_behind(SLOW_MS)

    def submit(self, works: Sequence[Work], beat: int) -> None:
        """Take the works of a slot (perhaps none) that ended at this beat."""
        self.beat = beat
        if works or self.behind_since_ns is not None:
            self._slots_ahead += 1  # Time that passes counts, even if nothing is decided in it.
        if works:
            self._waiting.extend(works)
            self._wake.set()
        elif self._are_others_due():
            self._wake.set()

    async def run(self) -> None:
        """Commit until ``stop``, and then what is left."""
        async with self._tellings:
            await self._run()

    async def _run(self) -> None:
        while self._waiting or self._stalls or not self._stopping:
            await self._woken()
            while self._waiting:
                if self._clock.now_ns() - self._clock_due_ns >= STANDSTILL_NS:
                    # Others may have taken what was ours while this process stood still: a tick
                    # that decides nothing needs no commit, and would show what was true then.
                    await self._store_clocks()
                await self._make_durable(self._taken())
                await self._see_to_others()
            await self._see_to_others()
            self._slots_ahead = 0
        await self._told()

    def _taken(self) -> list[Work]:
        """Take as many of the works that wait as fit into a batch."""
        count = fitting(self._waiting)
        works, self._waiting = self._waiting[:count], self._waiting[count:]
        self._slots_ahead = 0
        return works

    def stop(self) -> None:
        """Let ``run`` end when nothing waits."""
        self._stopping = True
        self._wake.set()

    async def _woken(self) -> None:
        """Wait until somebody wakes us; when slots do so no more, for the next stalled room."""
        due_ns = self._stalls.due_ns if self._stopping else None
        if due_ns is None:
            await self._wake.wait()
        else:
            await asyncio.sleep(max(due_ns - self._clock.now_ns(), 0) / 1e9)
        self._wake.clear()

    def _are_others_due(self) -> bool:
        """Tell whether it is time for rooms that wait for locks or shards in which nothing happens.

        However busy others are: a shard that is not renewed looks as if its owner were dead.
        """
        return self._clock.now_ns() >= self._clock_due_ns or self._stalls.is_due()

    async def _see_to_others(self) -> None:
        if self._stalls.is_due():
            await self._try_stalled()
        if self._clock.now_ns() >= self._clock_due_ns:
            await self._store_clocks()
            self._slots_ahead = 0

    async def _try_stalled(self) -> None:
        """Try to commit what waited for a lock."""
        works = self._stalls.take_due()
        while works:
            count = fitting(works)
            await self._make_durable(works[:count])
            works = works[count:]
        self._stalls.settle()

    async def _make_durable(self, works: list[Work]) -> None:
        works = [work for work in works if not work.opened.gone]
        if self._stalls:
            works = self._stalls.divert(works)
        batch = batch_of(self._batch_id(), works, self._keeper, self._seals, self.beat)
        if not batch.marks:
            await self._told()
            await self._tell(works, CommitAnswer())
            return
        try:
            answer = await self._known(batch)
        except Poisoned as error:
            await self._split(works, error)
            return
        except StorageBusy as error:
            self._metrics.rooms_stalled_total += len(error.rooms)
            log.warning("rooms_wait_for_locks", rooms=sorted(error.rooms), error=str(error))
            self._stalls.stall([work for work in works if _room_id(work) in error.rooms])
            await self._make_durable([work for work in works if _room_id(work) not in error.rooms])
            return
        self._advance(batch, answer)
        self._metrics.entries_total += len(batch.entries)
        await self._tell(works, answer)

    async def _tell(self, works: list[Work], answer: CommitAnswer) -> None:
        """Let works be told while the next are committed. Those before them have been told."""
        ends = any(work.output.ended for work in works)
        self._telling = self._tellings.create_task(self.release(_each(works), answer))
        if ends:
            await self._told()  # Nothing more is committed of a room that is over.

    async def _told(self) -> None:
        """Wait until all has been told that is known to be durable."""
        if self._telling is not None:
            await self._telling
            self._telling = None

    async def _split(self, works: list[Work], error: Poisoned) -> None:
        """Commit the halves apart; a room that fails alone is set aside."""
        rooms = list(dict.fromkeys(work.opened for work in works))
        if len(rooms) == 1:
            self._metrics.commits_poisoned_total += 1
            await self._told()
            self.set_aside(rooms[0], f"commit refused: {error}")
            return
        first = set(map(id, rooms[: len(rooms) // 2]))
        await self._make_durable([work for work in works if id(work.opened) in first])
        await self._make_durable([work for work in works if id(work.opened) not in first])

    async def _store_clocks(self) -> None:
        """Store the clocks of all our shards: those in which nothing happens have time too."""
        self._clock_due_ns = self._clock.now_ns() + CLOCK_INTERVAL_NS
        batch = clock_batch(self._batch_id(), self._keeper, self.beat)
        if not batch.marks:
            # Who has nothing would not notice that storage is away, and take what others have.
            await self._timed(self._heard())
            return
        try:
            answer = await self._known(batch)
        except StorageBusy as error:  # Clocks go on with every commit; these can wait.
            self._clock_due_ns = self._clock.now_ns() + CLOCK_BUSY_NS
            log.warning("clocks_not_stored", error=str(error))
        else:
            self._advance(batch, answer)

    async def _known(self, batch: Batch) -> CommitAnswer:
        """Send the batch until it is known what became of it, and what was before it is told."""
        began_ns = self._clock.now_ns()
        answer = await self._timed(self._sent_until_known(batch))
        self._metrics.commits_total += 1
        self._metrics.commit_ms.observe((self._clock.now_ns() - began_ns) / NS_PER_MS)
        await self._told()
        return answer

    async def _timed(self, asking: Awaitable[T]) -> T:
        """Wait for storage to answer, and note whether it does so at once."""
        began_ns = self.behind_since_ns = self._clock.now_ns()
        try:
            answer = await asking
            self._was_answered = True
            return answer
        finally:
            self.behind_since_ns = None
            now_ns = self._clock.now_ns()
            if now_ns - began_ns >= SLOW_MS * NS_PER_MS:
                self._unsteady_ns = now_ns

    async def _heard(self) -> None:
        """Ask storage for the time until it tells."""
        wait_s = RETRY_FIRST_S
        while not self._stopping:
            try:
                async with asyncio.timeout(COMMIT_TIMEOUT_S):
                    await self._store.wall_ms()
                    return
            except (StorageUnavailable, StorageBusy, TimeoutError):
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MOST_S)

    async def _sent_until_known(self, batch: Batch) -> CommitAnswer:
        """Return the answer. Busy is raised only if nothing took effect and can be put off.

        Once an answer was missed, the batch may be under way still: then it is sent again, as it
        is, until there is an answer, whoever is said to be busy meanwhile.
        """
        wait_s = RETRY_FIRST_S
        is_unknown = False
        while True:
            try:
                async with asyncio.timeout(COMMIT_TIMEOUT_S):
                    return await self._store.commit(batch)
            except (StorageUnavailable, StorageBusy, TimeoutError) as error:
                if not isinstance(error, StorageBusy):
                    is_unknown = True
                elif not is_unknown and _can_be_put_off(batch, error):
                    raise
                self._metrics.commits_repeated_total += 1
                log.warning("commit_delayed", batch_id=batch.batch_id, error=repr(error))
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_MOST_S)

    def _advance(self, batch: Batch, answer: CommitAnswer) -> None:
        """Move on the journal heads of the shards that were written; drop those that are lost."""
        lost = answer.fenced | answer.regressed
        self._keeper.advance([mark for mark in batch.marks if mark.shard not in lost])
        for mark in batch.marks:
            # Else given up meanwhile, and perhaps taken again.
            if mark.shard in lost and self._keeper.has(mark):
                self._metrics.shards_fenced_total += 1
                if mark.shard in answer.fenced:
                    log.error("shard_fenced", shard=mark.shard, epoch=mark.epoch)
                else:
                    # Nobody has taken it over: the database is older than what we saw committed.
                    log.error("shard_regressed", shard=mark.shard, epoch=mark.epoch)
                    self._keeper.refused.add(mark.shard)
                self._keeper.drop(mark.shard)
                self.shard_lost(mark.shard)

    def _batch_id(self) -> int:
        return int.from_bytes(self._clock.entropy(8), "big") >> 1


def _can_be_put_off(batch: Batch, error: StorageBusy) -> bool:
    """Tell whether the others can be committed without those who wait for the lock."""
    return not batch.entries or any(row.room_id in error.rooms for row in batch.entries)


def _each(works: list[Work]) -> Iterator[Work]:
    """Empty the list from its beginning, work by work: what was just told is freed soonest."""
    works.reverse()
    while works:
        yield works.pop()


def _room_id(work: Work) -> int:
    return work.opened.row.room_id


def _nobody(*_: object) -> Any:
    raise AssertionError("The committer was not given a room host.")

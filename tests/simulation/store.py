"""A database in memory that can be slow, fail, lose answers, go away, and be tampered with.

`Database` is the one database of a run: the memory store, and beside it notes of all that ever
happened to it, for the checkers. `StoreLink` is one process's way to it: each call travels there,
happens whole at one moment, and its answer travels back. What was sent happens even if the sender
dies meanwhile; what came too late for the sender happens too.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any

from persistence.auditing import SignedHead
from persistence.interfaces import (
    Batch,
    CommitAnswer,
    EntryRow,
    Poisoned,
    ShardMark,
    ShardState,
    SnapshotRow,
    StorageBusy,
    StorageUnavailable,
)
from persistence.memory import MemoryStore
from persistence.ownership import Succession
from tests.simulation.loop import Process, SimLoop

METHODS = (
    *("commit", "take_shards", "create_room", "room", "room_by_code", "rooms", "open_rooms"),
    *("set_aside", "reopen", "save_snapshots", "snapshots", "entries", "verdicts", "results"),
    *("create_person", "rename_person", "persons", "balance", "wallet_history", "scores"),
    *("save_heads", "cluster", "wall_ms", "pass_shards", "shard_owners"),
    "claim_task",
)
WALL_MS = 1_700_000_000_000  # What the database believes the time to be when a run begins.
GIVES_UP_S = 3.0
LATE_S = 3.4  # Longer than a committer waits, so that its repeat comes first.


OnTake = Callable[[str, Sequence[int], Succession | None], None]


class Fate(Enum):
    """What becomes of one commit that meets a fault."""

    REFUSED = "commit_refused"  # Not done, and the sender is told that nobody knows.
    BUSY = "commit_busy"  # Not done, because of a lock.
    LOCKED = "room_locked"  # Not done, because of a lock that one room's work needs.
    REPLY_LOST = "reply_lost"  # Done, and the sender is told that nobody knows.
    REPLY_SWALLOWED = "reply_swallowed"  # Done, and the sender is told nothing at all.
    LATE = "commit_late"  # Done, but long after the sender has asked again.


@dataclass(frozen=True, slots=True)
class Committed:
    """One shard's part of a commit, as it was applied."""

    shard: int
    epoch: int
    node: str
    head: bytes
    next_head: bytes
    clock_tick: int
    rows: tuple[EntryRow, ...]
    at_s: float


@dataclass(frozen=True, slots=True)
class Taken:
    """A shard that got a new owner, as it was then."""

    at_s: float
    node: str
    state: ShardState


@dataclass
class Weather:
    """What is wrong with the database just now. Times are virtual seconds."""

    slow_until_s: float = 0.0
    slow_most_s: float = 0.0
    away_until_s: float = 0.0
    stalled_until_s: float = 0.0
    fates: list[Fate] = field(default_factory=list)
    poisoned_rooms: set[int] = field(default_factory=set)
    is_calm: bool = False


class Database(MemoryStore):
    """The memory store, with notes of all that happened to it."""

    def __init__(self, loop: SimLoop, chance: Random) -> None:
        super().__init__(lambda: WALL_MS + loop.now_ns() // 1_000_000)
        self.loop = loop
        self.chance = chance
        self.weather = Weather()
        self.counts: Counter[str] = Counter()
        self.committed: list[Committed] = []
        self.takes: list[Taken] = []
        self.durable_ticks: dict[int, dict[int, None]] = {}
        self.kept_snapshots: dict[int, dict[int, SnapshotRow]] = {}
        self.balances_ever: dict[int, set[int]] = {}
        self.calls: dict[Call, None] = {}
        self.regressed_at_s: float | None = None
        self.asked_s = 0.0  # When what is done now was asked for.
        self.signed: list[SignedHead] = []
        self._poisoned_batches: set[int] = set()
        self.on_next_commit: list[Callable[[str], None]] = []
        self.on_next_pass: list[Callable[[str], None]] = []
        self.on_next_snapshots: list[Callable[[], None]] = []
        self.on_call: Callable[[str, str, Any, Any], None] = lambda node, name, asked, answer: None
        self.on_take: OnTake = lambda node, shards, succession: None

    async def commit(self, batch: Batch) -> CommitAnswer:
        """Commit, and note what was written."""
        is_known = batch.batch_id in self._answers
        rooms = {entry.room_id for entry in batch.entries}
        if not is_known and rooms & self.weather.poisoned_rooms:
            self._poisoned_batches.add(batch.batch_id)
        if batch.batch_id in self._poisoned_batches:
            # For good: what is malformed stays so, whenever a copy of it arrives.
            self.counts["poisoned"] += 1
            raise Poisoned("this can never be kept")
        answer = await super().commit(batch)
        if is_known:
            self.counts["batch_repeated"] += 1
            return answer
        lost = answer.fenced | answer.regressed
        self.counts["shards_fenced"] += len(answer.fenced)
        self.counts["shards_regressed"] += len(answer.regressed)
        for mark in batch.marks:
            if mark.shard not in lost:
                self._note(batch, mark)
        for account, minor in answer.balances:
            self.balances_ever.setdefault(account, set()).add(minor)
        return answer

    def _note(self, batch: Batch, mark: ShardMark) -> None:
        rows = tuple(row for row in batch.entries if row.shard == mark.shard)
        self.committed.append(
            Committed(
                mark.shard,
                mark.epoch,
                batch.node,
                mark.head,
                mark.next_head,
                mark.clock_tick,
                rows,
                self.loop.time(),
            )
        )
        for row in rows:
            self.durable_ticks.setdefault(row.room_id, {})[row.tick] = None

    async def take_shards(
        self, node: str, shards: Sequence[int], succession: Succession | None = None
    ) -> tuple[ShardState, ...]:
        """Give shards to a new owner, and note it."""
        taken = [shard for shard in shards if self._may_be_taken(node, shard, succession)]
        self.on_take(node, taken, succession)
        states = await super().take_shards(node, shards, succession)
        now_s = self.loop.time()
        self.takes += [Taken(now_s, node, state) for state in states]
        return states

    async def pass_shards(self, node: str, to: str, marks: Sequence[ShardMark]) -> frozenset[int]:
        """Pass shards on, and let whoever waits for that moment have it."""
        passed = await super().pass_shards(node, to, marks)
        waiting, self.on_next_pass = self.on_next_pass, []
        for tell in waiting:
            tell(node)
        return passed

    async def save_snapshots(
        self, rows: Sequence[SnapshotRow], marks: Sequence[ShardMark], keep_ticks: int
    ) -> None:
        """Keep snapshots, and remember each that was kept."""
        await super().save_snapshots(rows, marks, keep_ticks)
        for row in rows:
            if self._snapshots.get(row.room_id, {}).get(row.number) is row:
                self.kept_snapshots.setdefault(row.room_id, {})[row.number] = row

    async def create_person(self, account: int, name: str, grant_minor: int) -> bool:
        """Keep an account, and note its first balance."""
        self.balances_ever.setdefault(account, set()).add(grant_minor)
        return await super().create_person(account, name, grant_minor)

    async def keep_signed(self, rows: Sequence[SignedHead]) -> None:
        """Keep signed heads outside of the database, as a file beside it does."""
        self.signed += rows

    # --- What checkers and the nemesis look at.

    @property
    def ledger(self) -> Any:
        """Return the book."""
        return self._ledger

    @property
    def shard_states(self) -> dict[int, ShardState]:
        """Return every shard that was ever taken."""
        return self._shards

    @property
    def shards_of_cluster(self) -> int:
        """Return how many shards there are, none before anybody has asked."""
        return 0 if self._cluster is None else self._cluster.shards

    def claim_of(self, shard: int) -> tuple[str, int] | None:
        """Return the name of a shard's owner, and for how many milliseconds it said nothing."""
        claim = self._owners.get(shard)
        return None if claim is None else (claim.node, self._now_ms() - claim.renewed_ms)

    @property
    def room_rows(self) -> dict[int, Any]:
        """Return every room."""
        return self._rooms

    @property
    def journal(self) -> dict[int, list[EntryRow]]:
        """Return the entries of each room, to read or to forge."""
        return self._entries

    @property
    def stored_snapshots(self) -> dict[int, dict[int, SnapshotRow]]:
        """Return the snapshots of each room, to read or to damage."""
        return self._snapshots

    def result_rows(self, room_id: int) -> dict[int, Any]:
        """Return a room's results by round."""
        return self._results.get(room_id, {})

    def is_durable(self, room_id: int, tick: int) -> bool:
        """Tell whether the room's entry of this tick is committed."""
        return tick in self.durable_ticks.get(room_id, {})

    def backup(self) -> dict[str, Any]:
        """Return a copy of all that is kept."""
        names = [name for name in vars(self) if name in _KEPT]
        return {name: copy.deepcopy(getattr(self, name)) for name in names}

    def restore(self, backup: dict[str, Any]) -> None:
        """Go back to an earlier state, as a restored backup does."""
        for name, kept in backup.items():
            setattr(self, name, kept)
        self.regressed_at_s = self.loop.time()

    def tell_of_commit(self, node: str) -> None:
        """Let whoever waits for the moment of a commit have it: it happens now, unanswered."""
        waiting, self.on_next_commit = self.on_next_commit, []
        for tell in waiting:
            tell(node)

    def tell_of_snapshots(self) -> None:
        """Let whoever waits for snapshots that are on their way have the moment."""
        waiting, self.on_next_snapshots = self.on_next_snapshots, []
        for tell in waiting:
            tell()

    def restart(self) -> None:
        """Break all calls under way: some were done, some were not, and nobody is told which."""
        for call in tuple(self.calls):
            call.fail(StorageUnavailable("the database restarts"))


_KEPT = (
    *("_shards", "_answers", "_entries", "_rooms", "_codes", "_created", "_snapshots"),
    *("_results", "_names", "_ledger", "_board", "_owners", "_tasks", "_cluster"),
    # Our own notes go back with what they are about.
    *("committed", "takes", "durable_ticks", "kept_snapshots"),
)


class Call:
    """One call on its way: there, done, and back."""

    def __init__(self, link: StoreLink, name: str, arguments: tuple[Any, ...], kind: Any) -> None:
        self.link = link
        self.name = name
        self.arguments = arguments
        self.options = kind
        self.answered: asyncio.Future[Any] = link.database.loop.create_future()
        self.is_broken = False  # Broken before it was done: it never will be.
        self.asked_s = link.database.loop.time()

    def start(self) -> None:
        """Send the call."""
        self.link.database.calls[self] = None
        if self.name == "save_snapshots":
            self.link.database.tell_of_snapshots()
        fate = self._fate()
        database = self.link.database
        if fate is not None:
            database.counts[fate.value] += 1
        delay_s = database.chance.uniform(0.0002, 0.001) + self._slowness_s()
        if fate is Fate.LATE:
            delay_s += LATE_S
        _later(database.loop, delay_s, self._arrive, fate)

    def fail(self, error: Exception) -> None:
        """Tell the sender that nobody knows, unless it was told already."""
        self.link.database.calls.pop(self, None)
        self.is_broken = True
        self._fail_sender(error)

    def _fail_sender(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)
            self.answered.exception()  # The sender may be dead, and then nobody asks for it.

    def _fate(self) -> Fate | None:
        weather = self.link.database.weather
        if weather.fates and self.name == "commit" and self.arguments[0].entries:
            return weather.fates.pop(0)
        return None

    def _slowness_s(self) -> float:
        database = self.link.database
        if database.loop.time() >= database.weather.slow_until_s:
            return 0.0
        database.counts["call_slow"] += 1
        return database.chance.uniform(0.01, database.weather.slow_most_s)

    def _arrive(self, fate: Fate | None) -> None:
        database = self.link.database
        now_s, weather = database.loop.time(), database.weather
        if self.is_broken:
            return
        if self.link.is_cut:
            self._get_lost()
        elif weather.stalled_until_s > now_s:
            database.counts["call_stalled"] += 1
            _later(database.loop, weather.stalled_until_s - now_s, self._arrive, fate)
        elif weather.away_until_s > now_s or fate is Fate.REFUSED:
            database.counts["call_failed"] += 1
            self.fail(StorageUnavailable("the database is away"))
        elif fate is Fate.BUSY:
            self.fail(StorageBusy("a lock was not free"))
        elif fate is Fate.LOCKED:
            room_id = database.chance.choice(self.arguments[0].entries).room_id
            self.fail(StorageBusy("a lock was not free", frozenset({room_id})))
        else:
            self._do(fate)

    def _do(self, fate: Fate | None) -> None:
        database = self.link.database
        if self.name == "commit" and self.arguments[0].entries:
            database.tell_of_commit(self.link.node)
        database.asked_s = self.asked_s
        done: Any = None
        error: Exception | None = None
        try:
            getattr(database, self.name)(*self.arguments, **self.options).send(None)
        except StopIteration as stop:
            done = stop.value
        except Exception as raised:
            error = raised
        database.on_call(self.link.node, self.name, self.arguments, error or done)
        if fate is Fate.REPLY_SWALLOWED:
            database.calls.pop(self, None)
        elif fate is Fate.REPLY_LOST:
            self.fail(StorageUnavailable("the answer was lost"))
        else:
            delay_s = database.chance.uniform(0.0002, 0.001) + self._slowness_s()
            _later(database.loop, delay_s, self._answer, done, error)

    def _get_lost(self) -> None:
        """Be heard of no more: the sender gives up by itself, as it does with the real store."""
        database = self.link.database
        database.counts["call_lost"] += 1
        database.calls.pop(self, None)
        error = StorageUnavailable("no answer in time")
        _later(database.loop, GIVES_UP_S, self._fail_sender, error)

    def _answer(self, done: Any, error: Exception | None) -> None:
        if self.link.is_deaf:
            self._get_lost()
            return
        self.link.database.calls.pop(self, None)
        if error is not None:
            self._fail_sender(error)
        elif not self.answered.done():
            self.answered.set_result(done)


def _later(loop: SimLoop, delay_s: float, what: Callable[..., None], *arguments: Any) -> None:
    """Let something happen in the database's own process, which never dies."""
    loop.call_at(loop.time() + delay_s, what, *arguments, context=_DATABASE.context)


_DATABASE = Process("database")


class StoreLink:
    """A process's way to the database; a `Store`.

    Until ``cut_until_s`` whatever is sent on it, either way, arrives nowhere; until
    ``deaf_until_s`` it arrives there, and no answer comes back.
    """

    def __init__(self, database: Database, node: str) -> None:
        self.database = database
        self.node = node
        self.cut_until_s = 0.0
        self.deaf_until_s = 0.0

    @property
    def is_cut(self) -> bool:
        """Tell whether the process is cut off from the database."""
        return self.cut_until_s > self.database.loop.time()

    @property
    def is_deaf(self) -> bool:
        """Tell whether no answer of the database reaches the process."""
        return self.is_cut or self.deaf_until_s > self.database.loop.time()

    async def start(self) -> None:
        """There is nothing to connect to."""

    async def stop(self) -> None:
        """There is nothing to let go of."""

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(name)

        async def call(*arguments: Any, **options: Any) -> Any:
            sent = Call(self, name, arguments, options)
            sent.start()
            return await sent.answered

        call.__name__ = name
        return call

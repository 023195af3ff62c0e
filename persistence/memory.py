"""The store in plain Python: for simulation and for trials that may forget everything.

It keeps the contract of `persistence.interfaces` to the letter, but for durability: data live as
long as the object. It never waits, so each call happens whole; it reads no clock but the one it is
given and draws no chance, so the same calls give the same answers. Several nodes may share one
object.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from persistence.auditing import SignedHead
from persistence.checks import (
    check_batch,
    check_marks,
    check_person,
    check_room,
    check_snapshots,
    plain,
)
from persistence.interfaces import (
    INTEGER_MAX,
    Batch,
    CommitAnswer,
    EntryRow,
    PersonRow,
    Poisoned,
    ResultRow,
    RoomRow,
    RoomStatus,
    ScoreRow,
    ShardMark,
    ShardState,
    SnapshotRow,
    TooManyRooms,
    Verdict,
    WalletRow,
    chained,
)
from persistence.memory_ledger import BookAccount, Ledger
from persistence.memory_ownership import MemoryOwnership, system_ms

ANSWERS_KEPT = 10_000  # A batch is repeated within seconds or never.


class MemoryStore(MemoryOwnership):
    """A `Store` that forgets with its object."""

    def __init__(self, now_ms: Callable[[], int] = system_ms) -> None:
        super().__init__(now_ms)
        self._answers: OrderedDict[int, CommitAnswer] = OrderedDict()
        self._entries: defaultdict[int, list[EntryRow]] = defaultdict(list)
        self._rooms: dict[int, RoomRow] = {}
        self._codes: dict[str, int] = {}  # Of rooms that have not ended.
        self._created: dict[tuple[int, bytes], int] = {}
        self._snapshots: dict[int, dict[int, SnapshotRow]] = {}
        self._results: dict[int, dict[int, ResultRow]] = {}
        self._signed_heads: dict[tuple[int, int, int], SignedHead] = {}
        self._names: dict[int, str] = {}
        self._ledger = Ledger()
        self._board = _Board()

    async def start(self) -> None:
        """There is nothing to connect to."""

    async def stop(self) -> None:
        """What was kept is still there after another start."""

    async def commit(self, batch: Batch) -> CommitAnswer:
        """Commit a batch whole, but for the shards that it names as fenced or regressed."""
        check_batch(batch)
        known = self._answers.get(batch.batch_id)
        if known is not None:
            return known
        fenced = frozenset(m.shard for m in batch.marks if self._epoch(m.shard) > m.epoch)
        regressed = frozenset(m.shard for m in batch.marks if self._is_behind(m))
        if fenced or regressed:
            batch = _only(batch, {mark.shard for mark in batch.marks} - fenced - regressed)
        self._check_journal(batch)
        self._ledger.check_endings(batch)

        # From here on the batch must succeed.
        self._write(batch)
        verdicts, balances = self._ledger.apply(batch)
        answer = CommitAnswer(fenced, regressed, verdicts, balances)
        self._answers[batch.batch_id] = answer
        if len(self._answers) > ANSWERS_KEPT:
            self._answers.popitem(last=False)
        return answer

    def _is_behind(self, mark: ShardMark) -> bool:
        state = self._shards.get(mark.shard)
        if state is None or state.epoch < mark.epoch:
            return True
        return state.epoch == mark.epoch and state.head != mark.head

    def _check_journal(self, batch: Batch) -> None:
        last: dict[int, int] = {}
        chains: dict[int, list[EntryRow]] = {}
        for row in batch.entries:
            room_id = row.room_id
            before = last.get(room_id)
            if before is None:
                before = len(self._entries.get(room_id, ()))
            if row.number != before + 1:
                raise Poisoned(f"entry {row.number} of room {room_id} follows entry {before}")
            last[room_id] = row.number
            chains.setdefault(row.shard, []).append(row)
        for mark in batch.marks:
            rows = chains.get(mark.shard)
            if mark.next_head != (chained(mark.head, rows) if rows else mark.head):
                raise Poisoned(f"the next head of shard {mark.shard} is not that of its rows")

    def _write(self, batch: Batch) -> None:
        for mark in batch.marks:
            state = self._shards[mark.shard]
            self._shards[mark.shard] = ShardState(
                mark.shard,
                mark.epoch,
                max(mark.clock_tick, state.clock_tick),
                mark.next_head,
                state.link + (mark.next_head != mark.head),
            )
        self._renew(batch.marks)
        for entry in batch.entries:
            self._entries[entry.room_id].append(entry)
        for result in batch.results:
            self._results.setdefault(result.room_id, {}).setdefault(result.round_number, result)
        for score in batch.scores:
            self._board.count(score)
        for end in batch.ends:
            row = self._rooms.get(end.room_id)
            if row is not None and row.status != RoomStatus.ENDED:
                self._rooms[end.room_id] = replace(row, status=RoomStatus.ENDED)
                del self._codes[row.code]

    async def save_heads(self, rows: Sequence[SignedHead]) -> None:
        """Keep signed heads; one that is kept already stays."""
        for row in rows:
            self._signed_heads.setdefault((row.shard, row.link, row.epoch), row)

    # --- Rooms and what they leave behind.

    async def create_room(
        self, row: RoomRow, creator_rooms_max: int = INTEGER_MAX
    ) -> RoomRow | None:
        """Keep the room; return the standing one if creator and key are known."""
        check_room(row, creator_rooms_max)
        standing = self._created.get((row.creator, row.create_key))
        if standing is not None:
            return self._rooms[standing]
        made = sum(self._rooms[room].creator == row.creator for room in self._codes.values())
        if made >= creator_rooms_max:
            raise TooManyRooms(f"account {row.creator} has {creator_rooms_max} rooms")
        if row.room_id in self._rooms or row.code in self._codes:
            return None
        self._rooms[row.room_id] = replace(row, status=RoomStatus.OPEN, note="")
        self._codes[row.code] = row.room_id
        self._created[(row.creator, row.create_key)] = row.room_id
        return self._rooms[row.room_id]

    async def room(self, room_id: int) -> RoomRow | None:
        """Return a room by its id, whatever its status."""
        return self._rooms.get(room_id)

    async def room_by_code(self, code: str) -> RoomRow | None:
        """Return the room that is not ended and has this code."""
        room_id = self._codes.get(code)
        return None if room_id is None else self._rooms[room_id]

    async def rooms(self, game: str | None, *, listed: bool, limit: int) -> tuple[RoomRow, ...]:
        """Return rooms that are not ended, newest first; ``listed`` leaves the others out."""
        standing = (r for r in reversed(self._rooms.values()) if r.status != RoomStatus.ENDED)
        wanted = (r for r in standing if game in (None, r.game) and (r.listed or not listed))
        return tuple(islice(wanted, limit))

    async def open_rooms(self, shards: Collection[int]) -> tuple[RoomRow, ...]:
        """Return all open rooms of these shards, oldest first."""
        rows = self._rooms.values()
        return tuple(r for r in rows if r.status == RoomStatus.OPEN and r.shard in shards)

    async def set_aside(self, room_id: int, note: str) -> None:
        """Mark a room as stopped because of an error, unless it has ended."""
        row = self._rooms.get(room_id)
        if row is not None and row.status != RoomStatus.ENDED:
            self._rooms[room_id] = replace(row, status=RoomStatus.SET_ASIDE, note=plain(note))

    async def reopen(self, room_id: int) -> bool:
        """Open a room that was set aside, and drop its note; false if it was not set aside."""
        row = self._rooms.get(room_id)
        if row is None or row.status != RoomStatus.SET_ASIDE:
            return False
        self._rooms[room_id] = replace(row, status=RoomStatus.OPEN, note="")
        return True

    async def save_snapshots(
        self, rows: Sequence[SnapshotRow], marks: Sequence[ShardMark], keep_ticks: int
    ) -> None:
        """Keep snapshots of rooms whose shards are still under the marks' epochs; skip others."""
        check_snapshots(rows, keep_ticks)
        check_marks(marks)
        mine = {mark.shard for mark in marks if self._epoch(mark.shard) == mark.epoch}
        for row in rows:
            room = self._rooms.get(row.room_id)
            if room is not None and room.shard in mine:
                kept = self._snapshots.setdefault(row.room_id, {})
                kept[row.number] = row
                floor_tick = kept[max(kept)].tick - keep_ticks
                old = sorted(number for number in kept if kept[number].tick < floor_tick)
                for number in old[:-1]:
                    del kept[number]

    async def snapshots(
        self, room_id: int, until_tick: int = INTEGER_MAX
    ) -> tuple[SnapshotRow, ...]:
        """Return the two newest snapshots of a room up to ``until_tick``, newest first."""
        kept = self._snapshots.get(room_id, {})
        rows = (kept[number] for number in sorted(kept, reverse=True))
        return tuple(islice((row for row in rows if row.tick <= until_tick), 2))

    async def entries(self, room_id: int, after: int, limit: int) -> tuple[EntryRow, ...]:
        """Return up to ``limit`` entries of a room with numbers above ``after``, in order."""
        return tuple(self._entries.get(room_id, [])[after : after + limit])

    async def results(self, room_id: int, limit: int) -> tuple[ResultRow, ...]:
        """Return a room's results, newest first."""
        kept = self._results.get(room_id, {})
        return tuple(kept[number] for number in sorted(kept, reverse=True)[:limit])

    async def scores(self, game: str, limit: int) -> tuple[tuple[int, int], ...]:
        """Return (account, points) of a game's best, ties to who reached their points first."""
        return self._board.best(game, limit)

    # --- People and wallets.

    async def create_person(self, account: int, name: str, grant_minor: int) -> bool:
        """Keep a new account, its name, and a wallet with ``grant_minor`` of play money."""
        check_person(account, name, grant_minor)
        if account in self._names:
            return False
        self._names[account] = name
        self._ledger.open(account, grant_minor)
        return True

    async def rename_person(self, account: int, name: str) -> bool:
        """Give a known account another name; false if there is none."""
        check_person(account, name, 0)
        if account not in self._names:
            return False
        self._names[account] = name
        return True

    async def persons(self, accounts: Collection[int]) -> tuple[PersonRow, ...]:
        """Return names of those accounts that are known, by account."""
        known = sorted(account for account in set(accounts) if account in self._names)
        return tuple(PersonRow(account, self._names[account]) for account in known)

    async def balance(self, account: int) -> int | None:
        """Return an account's balance in minor units, or None if it has no wallet."""
        return self._ledger.balances.get(("player", account))

    async def wallet_history(self, account: int, limit: int) -> tuple[WalletRow, ...]:
        """Return an account's newest transfers, newest first."""
        return self._ledger.history(("player", account), limit)

    async def verdicts(self, references: Sequence[str]) -> tuple[Verdict, ...]:
        """Return the rulings that are known for these holds, in the order asked."""
        holds = self._ledger.holds
        return tuple(Verdict(ref, holds[ref].ruling) for ref in references if ref in holds)

    def book_balances(self) -> dict[BookAccount, int]:
        """Return the balances of all accounts of the book; their sum is zero."""
        return dict(self._ledger.balances)


@dataclass(slots=True)
class _Board:
    """Points by game and account, with the place in time at which they were reached."""

    totals: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)
    counted: set[tuple[str, int]] = field(default_factory=set)

    def count(self, row: ScoreRow) -> None:
        if (row.reference, row.account) not in self.counted:
            self.counted.add((row.reference, row.account))
            totals = self.totals.setdefault(row.game, {})
            points, reached = totals.get(row.account, (0, len(self.counted)))
            if row.points != 0:
                points, reached = points + row.points, len(self.counted)
            totals[row.account] = (points, reached)

    def best(self, game: str, limit: int) -> tuple[tuple[int, int], ...]:
        totals = self.totals.get(game, {})
        order = sorted(totals, key=lambda account: (-totals[account][0], totals[account][1]))
        return tuple((account, totals[account][0]) for account in order[:limit])


def _only(batch: Batch, shards: Collection[int]) -> Batch:
    """Return the batch without the rows of other shards."""
    return replace(
        batch,
        marks=tuple(row for row in batch.marks if row.shard in shards),
        entries=tuple(row for row in batch.entries if row.shard in shards),
        holds=tuple(row for row in batch.holds if row.shard in shards),
        settles=tuple(row for row in batch.settles if row.shard in shards),
        releases=tuple(row for row in batch.releases if row.shard in shards),
        bookings=tuple(row for row in batch.bookings if row.shard in shards),
        results=tuple(row for row in batch.results if row.shard in shards),
        scores=tuple(row for row in batch.scores if row.shard in shards),
        ends=tuple(row for row in batch.ends if row.shard in shards),
    )

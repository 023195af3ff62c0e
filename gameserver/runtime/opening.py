"""Sees to it that a room is open exactly once, however many ask for it at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.recovery import Recovery, RecoveryFailed
from gameserver.runtime.work import OpenRoom
from persistence.interfaces import RoomRow, RoomStatus, StorageError, Store
from protocol.messages import ReplyCode

log = structlog.get_logger(__name__)

RECOVERIES_AT_ONCE = 4
OPEN_TIMEOUT_S = 10.0
# With nobody waiting a long journal is replayed to its end, at 20,000 entries a second or more.
RECOVER_TIMEOUT_S = 600.0
SET_ASIDE_TIMEOUT_S = 5.0
RETRY_S = 1.0
NOTE_CHARS_MAX = 1000
UNAVAILABLE_RETRY_MS = 1_000
UNOWNED_RETRY_MS = 60  # Another node is about to take it.


@dataclass(frozen=True, slots=True)
class JoinError:
    """Why a viewer cannot be let into a room."""

    code: ReplyCode
    detail: str = ""
    retry_ms: int = -1


class Opening:
    """The rooms that are open, and the way to open another.

    ``opened`` is called for each room that was recovered, before anybody is let in. At most
    ``rooms_max`` rooms are open.
    """

    def __init__(
        self,
        store: Store,
        keeper: ShardKeeper,
        recovery: Recovery,
        metrics: Metrics,
        limits: tuple[int, int],
    ) -> None:
        self.rooms: dict[int, OpenRoom] = {}
        self.keeper = keeper
        self.metrics = metrics
        self.opened: Callable[[OpenRoom], None] = _nobody
        self.resting: set[int] = set()  # Shards that are about to be handed over.
        self._store = store
        self._recovery = recovery
        self._rooms_max, self._ring_ticks = limits
        self._locks: dict[int, asyncio.Lock] = {}
        self._claims: Counter[int] = Counter()  # Who has each lock, or waits for it.
        self._places = asyncio.Semaphore(RECOVERIES_AT_ONCE)
        # Rooms to be marked as set aside. Bounded by ``rooms_max``: while storage does not take the
        # marks, it gives no other rooms to open either.
        self._notes: dict[int, str] = {}
        self._noted = asyncio.Event()

    async def open(self, row: RoomRow, timeout_s: float = OPEN_TIMEOUT_S) -> OpenRoom | JoinError:
        """Return the open room, recovering it first if nobody has."""
        standing = self.rooms.get(row.room_id)
        if standing is not None:
            return standing
        closed = self._closed(row)
        if closed is not None:
            return closed
        try:
            async with asyncio.timeout(timeout_s), self._alone(row.room_id):
                return await self._open(row)
        except (StorageError, TimeoutError) as error:
            log.warning("room_not_opened", room_id=row.room_id, error=repr(error))
            detail = "the room cannot be opened now"
            return JoinError(ReplyCode.UNAVAILABLE, detail, UNAVAILABLE_RETRY_MS)
        except RecoveryFailed as error:
            log.error("room_set_aside", room_id=row.room_id, game=row.game, note=str(error))
            self.metrics.rooms_set_aside_total += 1
            self.set_aside(row, str(error))
            return JoinError(ReplyCode.ROOM_SET_ASIDE)

    def of_shards(self, shards: Collection[int]) -> list[OpenRoom]:
        """Return the open rooms of these shards."""
        return [opened for opened in self.rooms.values() if opened.row.shard in shards]

    async def recover(self, row: RoomRow) -> None:
        """Open a room that was open before, so that what is due in it goes on, however late."""
        while True:
            found = await self.open(row, RECOVER_TIMEOUT_S)
            is_away = isinstance(found, JoinError) and found.code is ReplyCode.UNAVAILABLE
            if not is_away or row.shard not in self.keeper.owned:
                return
            await asyncio.sleep(RETRY_S)

    def _closed(self, row: RoomRow) -> JoinError | None:
        """Return why a room cannot be opened here, if it cannot."""
        if row.status is RoomStatus.ENDED:
            return JoinError(ReplyCode.ROOM_ENDED)
        if row.status is RoomStatus.SET_ASIDE or row.room_id in self._notes:
            return JoinError(ReplyCode.ROOM_SET_ASIDE)
        if not self._recovery.offers(row):
            # Nothing is wrong with it: it waits for a start that offers its game again.
            return JoinError(ReplyCode.UNKNOWN_GAME, row.game)
        if row.shard not in self.keeper.owned:
            return JoinError(ReplyCode.UNAVAILABLE, "this node has not this room", UNOWNED_RETRY_MS)
        if len(self.rooms) >= self._rooms_max:
            detail = "this node has all the rooms that it may"
            return JoinError(ReplyCode.BUSY, detail, UNAVAILABLE_RETRY_MS)
        return None

    @asynccontextmanager
    async def _alone(self, room_id: int) -> AsyncIterator[None]:
        """Be the only one who replays this room, and one of few who replay any."""
        lock = self._locks.setdefault(room_id, asyncio.Lock())
        self._claims[room_id] += 1
        try:
            async with lock, self._places:  # Whoever waits for the same room takes no place.
                yield
        finally:
            self._claims[room_id] -= 1
            if not self._claims[room_id]:
                del self._claims[room_id], self._locks[room_id]

    async def _open(self, row: RoomRow) -> OpenRoom | JoinError:
        standing = self.rooms.get(row.room_id)
        if standing is not None:
            return standing
        current = await self._store.room(row.room_id)
        if current is None:
            return JoinError(ReplyCode.NOT_FOUND)
        closed = self._closed(current)
        if closed is not None:
            return closed
        owned = self.keeper.owned[row.shard]
        right = self.keeper.right(owned)
        opened = await self._recovery.open(current, owned.offset_ticks, self._ring_ticks, right)
        closed = self._closed(current)
        if closed is not None:  # The shard was lost meanwhile, or other rooms took all places.
            return closed
        if self.keeper.owned[row.shard] is not owned:  # Others may have played the room meanwhile.
            return JoinError(ReplyCode.UNAVAILABLE, "the room has moved", UNOWNED_RETRY_MS)
        opened.paused = row.shard in self.resting
        self.opened(opened)
        return JoinError(ReplyCode.ROOM_SET_ASIDE) if opened.gone else opened

    async def refill(self, opened: OpenRoom, closed_tick: int) -> None:
        """Have the room's ring reach back to ``closed_tick`` if a replay can; the room may go on.

        If not, whoever asked gets the full state.
        """
        ring, room_id = opened.ring, opened.row.room_id
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S), self._alone(room_id):
                if opened.wants_refill(closed_tick):
                    await self._recovery.refill(opened, closed_tick)
        except (StorageError, TimeoutError, RecoveryFailed) as error:
            # Nobody else shall try in vain.
            ring.is_fresh = ring.is_fresh and not isinstance(error, RecoveryFailed)
            log.warning("ring_not_refilled", room_id=room_id, error=repr(error))

    def set_aside(self, row: RoomRow, note: str) -> None:
        """Have the room marked as set aside, as soon as storage takes it."""
        self._notes[row.room_id] = note
        self._noted.set()

    async def run(self) -> None:
        """Write down which rooms were set aside, for ever."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            for room_id, note in tuple(self._notes.items()):
                try:
                    async with asyncio.timeout(SET_ASIDE_TIMEOUT_S):
                        await self._store.set_aside(room_id, note[:NOTE_CHARS_MAX])
                except (StorageError, TimeoutError) as error:
                    log.warning("set_aside_delayed", room_id=room_id, error=repr(error))
                    self._noted.set()
                    await asyncio.sleep(RETRY_S)
                else:
                    del self._notes[room_id]


def _nobody(_: OpenRoom) -> None:
    raise AssertionError("Opening was not given a room host.")

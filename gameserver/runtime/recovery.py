"""Opens a room from what is stored: the newest sound snapshot, and every entry after it.

A damaged snapshot falls back to an older one and a longer replay. A journal that does not replay
to its own digests opens nothing: the room is set aside instead.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import structlog

from gameserver.engine import inputs as i
from gameserver.engine import snapshot
from gameserver.engine.game import Game
from gameserver.engine.room import Room
from gameserver.engine.ticking import ReplayDiverged
from gameserver.runtime.batching import Seals, entry_identity, snapshot_identity
from gameserver.runtime.clock import Clock
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.ring import Ring
from gameserver.runtime.snapshots import snapshot_row
from gameserver.runtime.work import OpenRoom
from persistence.interfaces import (
    INTEGER_MAX,
    EntryRow,
    RoomRow,
    Ruling,
    ShardMark,
    SnapshotRow,
    Store,
    Verdict,
)

log = structlog.get_logger(__name__)

ENTRIES_PER_PAGE = 500
REFILL_ENTRIES_PER_PAGE = 100  # Rooms are being played meanwhile.
REFILL_ENTRIES_MAX = 5_000  # More than snapshots leave between them; beyond, a full state is less.
STATE_BYTES_MAX = 64 * 1024 * 1024  # A snapshot that unpacks to more is damaged.
SEED_BYTES = 32
ROOMS_PROBED = 20


class RecoveryFailed(Exception):
    """The room's journal does not give a room; the text says where it breaks."""


def code_of(verdict: Verdict) -> int:
    """Return the input code of a verdict: 0 granted, else the engine's reason."""
    return _CODES[verdict.ruling]


_CODES = {
    Ruling.GRANTED: 0,
    Ruling.INSUFFICIENT_FUNDS: 1,
    Ruling.NO_ACCOUNT: 2,
    Ruling.ACCOUNT_BUSY: 3,
}


def loaded(stored: SnapshotRow, game: Game[Any], seals: Seals) -> Room[Any]:
    """Return the room of a stored snapshot; BadSnapshot if anything about it was altered."""
    identity = snapshot_identity(stored.room_id, stored.number)
    try:
        packed = seals.open(stored.payload, identity)
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(packed, STATE_BYTES_MAX)
    except Exception as error:
        raise snapshot.BadSnapshot(f"it cannot be opened: {error!r}") from error
    if sha256(data).digest() != stored.state_hash:
        raise snapshot.BadSnapshot("its hash is another")
    return snapshot.load(game, data, stored.rules_version)


class Recovery:
    """Opens rooms of the games it was given."""

    def __init__(
        self,
        store: Store,
        games: Mapping[str, Game[Any]],
        seals: Seals,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._games = games
        self._seals = seals
        self._clock = clock
        self._metrics = metrics

    def offers(self, row: RoomRow) -> bool:
        """Tell whether a room's game is among those that this server has."""
        return row.game in self._games

    async def open(
        self, row: RoomRow, offset_ticks: int, ring_ticks: int, right: ShardMark
    ) -> OpenRoom:
        """Return the room as it was last durable, with the inputs that its next tick must take.

        Its game is one that is offered. If it was played under older rules, its state is stored
        anew under ``right`` first. Raises RecoveryFailed, or StorageUnavailable.
        """
        game = self._games[row.game]
        room, rules_version = await self._newest_sound(row, game)
        if rules_version != game.rules_version:
            await self._continue(room, rules_version, ring_ticks, right)
        ring = Ring(room.entry_tick, ring_ticks)
        snapshot_number = room.entry_number
        await self.replay(room, ring)
        opened = OpenRoom(row, room, ring, offset_ticks)
        opened.snapshot_number = snapshot_number
        opened.snapshot_tick = room.entry_tick
        if room.entry_number == 0:
            seed, wall_ms = self._clock.entropy(SEED_BYTES), self._clock.wall_ms()
            opened.inbox.put(i.Opened(row.settings, seed, wall_ms))
            self._metrics.rooms_opened_total += 1
        else:
            await self._resume(opened)
            self._metrics.rooms_recovered_total += 1
        return opened

    async def _continue(
        self, room: Room[Any], rules_version: int, ring_ticks: int, right: ShardMark
    ) -> None:
        """Let a room go on under these rules; never replay under others than were played by."""
        if await self._store.entries(room.room_id, room.entry_number, 1):
            raise RecoveryFailed(
                f"after entry {room.entry_number} it was played under rules {rules_version} of "
                f"{room.game.name}, and this server has rules {room.game.rules_version}"
            )
        if room.entry_number:
            # From now on this is where it begins: what comes after it is played under these rules.
            state = (room.entry_number, room.entry_tick, snapshot.dump(room))
            rows = [snapshot_row(room, state, self._seals)]
            await self._store.save_snapshots(rows, [right], ring_ticks)
            log.info("room_continues", room_id=room.room_id, since_rules=rules_version)

    async def _resume(self, opened: OpenRoom) -> None:
        """Queue what the room has missed: verdicts first, then that nobody is connected."""
        room = opened.room
        references = room.pending_references()
        if references:
            verdicts = await self._store.verdicts(references)
            missing = set(references) - {verdict.reference for verdict in verdicts}
            if missing:
                raise RecoveryFailed(f"no verdict on {min(missing)}")
            for verdict in sorted(verdicts, key=lambda one: references.index(one.reference)):
                opened.inbox.put(i.Ruled(verdict.reference, code_of(verdict)))
        opened.inbox.put(i.Reopened(self._clock.wall_ms()))
        accounts = [room.account(seat) for seat in room.seats.keys_in_order()]
        persons = await self._store.persons(accounts) if accounts else ()
        opened.names = {person.account: person.name for person in persons}

    async def newest_sound(
        self, row: RoomRow, game: Game[Any], until_tick: int = INTEGER_MAX
    ) -> Room[Any]:
        """Return the room of the newest snapshot that can be replayed from, or an empty one."""
        room, rules_version = await self._newest_sound(row, game, until_tick)
        if rules_version != game.rules_version:
            raise RecoveryFailed(f"it was played under rules {rules_version} then")
        return room

    async def _newest_sound(
        self, row: RoomRow, game: Game[Any], until_tick: int = INTEGER_MAX
    ) -> tuple[Room[Any], int]:
        """Return the room of the newest snapshot that can be used, or an empty one; its rules."""
        while stored := await self._store.snapshots(row.room_id, until_tick):
            for one in stored:
                if one.rules_version > game.rules_version:
                    raise RecoveryFailed(
                        f"it was played under rules {one.rules_version} of {game.name}, and this "
                        f"server has rules {game.rules_version}"
                    )
                try:
                    room = loaded(one, game, self._seals)
                    await self._check_place(room)
                    return room, one.rules_version
                except snapshot.BadSnapshot as error:
                    log.error(
                        "snapshot_refused", room_id=row.room_id, number=one.number, why=str(error)
                    )
            until_tick = stored[-1].tick - 1
            if until_tick < 0:
                break
        return Room(game, row.room_id), row.rules_version

    async def _check_place(self, room: Room[Any]) -> None:
        """Raise BadSnapshot if the room's journal is not the one that the snapshot was taken of.

        It may have come from a database that was then restored from a backup.
        """
        number = room.entry_number
        for row in await self._store.entries(room.room_id, number - 1, 1):
            if row.number > number:
                return  # The journal was pruned up to here; what follows says whether it fits.
            if _entry(row, self._seals).digest == room.digest:
                return
        raise snapshot.BadSnapshot("its journal has another entry there, or none")

    async def replay(self, room: Room[Any], ring: Ring) -> None:
        """Do all entries after the room's own again; RecoveryFailed if one gives another digest."""
        while True:
            rows = await self._store.entries(room.room_id, room.entry_number, ENTRIES_PER_PAGE)
            for row in rows:
                self._replay_one(room, ring, row)
            self._metrics.entries_replayed_total += len(rows)
            if len(rows) < ENTRIES_PER_PAGE:
                return
            await asyncio.sleep(0)  # Rooms that are open already have their slots to keep.

    async def refill(self, opened: OpenRoom, closed_tick: int) -> None:
        """Bring back the frames from before a recovery, for who has seen them to ``closed_tick``.

        They come from a replay beside the room, beginning with a snapshot that is old enough.
        Raises RecoveryFailed, or StorageUnavailable; the room is as it was then.
        """
        ring = opened.ring
        oldest_tick = max(opened.room.entry_tick - ring.ticks_max, 0)
        try:
            # The whole length at once, so that nobody after this one needs another replay.
            older = await self._replayed(opened, oldest_tick)
        except RecoveryFailed:
            older = await self._replayed(opened, closed_tick)
        if ring.reach_back(older):
            self._metrics.rings_refilled_total += 1

    async def _replayed(self, opened: OpenRoom, from_tick: int) -> Ring:
        """Return the frames from a snapshot up to ``from_tick`` to where the room's ring begins."""
        floor_tick = opened.ring.floor_tick
        room = await self.newest_sound(opened.row, opened.room.game, from_tick)
        older = Ring(room.entry_tick, opened.ring.ticks_max)
        await self._replay_until(floor_tick, room, older)
        return older

    async def _replay_until(self, floor_tick: int, room: Room[Any], ring: Ring) -> None:
        for _ in range(REFILL_ENTRIES_MAX // REFILL_ENTRIES_PER_PAGE):
            number = room.entry_number
            rows = await self._store.entries(room.room_id, number, REFILL_ENTRIES_PER_PAGE)
            for row in rows:
                if row.tick > floor_tick:
                    return
                self._replay_one(room, ring, row)
            self._metrics.entries_replayed_total += room.entry_number - number
            if len(rows) < REFILL_ENTRIES_PER_PAGE:
                return
            await asyncio.sleep(0)
        raise RecoveryFailed(f"more than {REFILL_ENTRIES_MAX} entries to its ring's beginning")

    def _replay_one(self, room: Room[Any], ring: Ring, row: EntryRow) -> None:
        if row.number != room.entry_number + 1:
            raise RecoveryFailed(f"entry {room.entry_number + 1} is missing")
        try:
            output = room.replay(_entry(row, self._seals))
        except ReplayDiverged as error:
            raise RecoveryFailed(f"entry {row.number}: {error}") from error
        if output.shared is not None or output.private:
            ring.keep(output.tick, output.shared, output.private)


def _entry(row: EntryRow, seals: Seals) -> i.Entry:
    """Return what a row holds; RecoveryFailed if it cannot be read."""
    try:
        return i.read_entry(seals.open(row.payload, entry_identity(row.room_id, row.number)))
    except i.BadEntry as error:
        raise RecoveryFailed(f"entry {row.number}: {error}") from error
    except Exception as error:
        raise RecoveryFailed(f"entry {row.number} cannot be opened: {error!r}") from error


async def opens_what_is_stored(store: Store, seals: Seals) -> bool:
    """Tell whether the keys are those of the newest rooms; a damaged room or two say nothing.

    Without this, a server with the wrong file of keys would set every room aside.
    """
    has_failed = False
    for row in await store.rooms(None, listed=False, limit=ROOMS_PROBED):
        for entry in await store.entries(row.room_id, 0, 1):
            try:
                seals.open(entry.payload, entry_identity(entry.room_id, entry.number))
            except Exception:  # Whatever a wrong key or damaged bytes may lead to.
                has_failed = True
            else:
                return True
    return not has_failed

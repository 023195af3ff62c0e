"""Proves the rooms: what their journals and snapshots say is what their games make of them.

A room is replayed from its first entry, if that is kept, and from each of its snapshots. Every
entry must give the digest that was recorded, every snapshot the hash of the state that the replay
has come to, and every result the bytes that are kept for its round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gameserver.engine import inputs as i
from gameserver.engine import snapshot
from gameserver.engine.effects import Result
from gameserver.engine.game import Game
from gameserver.engine.room import Room
from gameserver.engine.ticking import ReplayDiverged
from gameserver.runtime.batching import Seals, entry_identity
from gameserver.runtime.recovery import loaded
from gameserver.services.audit.money import Money
from gameserver.services.audit.report import Report
from persistence.auditing import RecordedResult, Records
from persistence.interfaces import EntryRow, RoomRow, SnapshotRow


@dataclass(slots=True)
class _Track:
    """One replay of a room, and where it began."""

    room: Room[Any]
    since: str
    is_lost: bool = False


@dataclass(slots=True)
class _Case:
    """A room under examination."""

    row: RoomRow
    game: Game[Any]
    snapshots: dict[int, SnapshotRow]
    tracks: list[_Track] = field(default_factory=list)
    results: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    first_number: int | None = None


class ReplayCheck:
    """Examines rooms of the games that it was given."""

    def __init__(
        self, records: Records, games: Mapping[str, Game[Any]], seals: Seals, report: Report
    ) -> None:
        self._records = records
        self._games = games
        self._seals = seals
        self._report = report
        self.money = Money(report)

    async def check_snapshots(self, row: RoomRow, last_number: int) -> None:
        """Check what can be checked of a room's snapshots without a replay."""
        game = self._games.get(row.game)
        async for stored in self._records.snapshots(row.room_id):
            self._report.count("snapshots")
            if stored.number > last_number:
                what = f"a snapshot of entry {stored.number}, and the last kept is {last_number}"
                self._find(row, last_number + 1, what)
            if game is not None and stored.rules_version == game.rules_version:
                try:
                    loaded(stored, game, self._seals)
                except snapshot.BadSnapshot as error:
                    self._find(row, stored.number, f"its snapshot cannot be used: {error}")

    async def replay(self, row: RoomRow) -> None:
        """Replay a room from everywhere it can be replayed from."""
        game = self._games.get(row.game)
        if game is None:
            self._report.note(f"room {row.room_id}: no game {row.game!r} here to replay it with")
            return
        if row.rules_version != game.rules_version:
            self._report.note(
                f"room {row.room_id}: made under rules {row.rules_version} of {row.game},"
                f" which are {game.rules_version} now: not replayed"
            )
            return
        stored = {one.number: one async for one in self._records.snapshots(row.room_id)}
        case = _Case(row, game, stored)
        self._report.count("rooms_replayed")
        async for entry in self._records.entries(row.room_id):
            if case.first_number is None:
                case.first_number = entry.number
                self._begin(case, entry.number - 1)
            self._step(case, entry)
            self._begin(case, entry.number)
            if entry.number % 100 == 0:
                await asyncio.sleep(0)
        await self._check_results(case)

    def _begin(self, case: _Case, number: int) -> None:
        """Compare with the snapshot of this entry, if there is one, and begin another replay."""
        if number == 0:
            case.tracks.append(_Track(Room(case.game, case.row.room_id), "its first entry"))
            return
        stored = case.snapshots.get(number)
        if stored is None or stored.rules_version != case.game.rules_version:
            return
        for track in case.tracks:
            if not track.is_lost and snapshot.state_hash(track.room) != stored.state_hash:
                what = f"its snapshot is not what a replay from {track.since} comes to"
                self._find(case.row, number, what)
        try:
            room = loaded(stored, case.game, self._seals)
        except snapshot.BadSnapshot:
            return  # That was found already.
        case.tracks.append(_Track(room, f"the snapshot of entry {number}"))

    def _step(self, case: _Case, entry: EntryRow) -> None:
        try:
            identity = entry_identity(entry.room_id, entry.number)
            read = i.read_entry(self._seals.open(entry.payload, identity))
        except Exception:
            read = None  # That it cannot be opened was found already.
        for track in case.tracks:
            if track.is_lost:
                continue
            if read is None or entry.number != track.room.entry_number + 1:
                track.is_lost = True
                continue
            try:
                output = track.room.replay(read)
            except ReplayDiverged as error:
                track.is_lost = True
                self._find(case.row, entry.number, f"replay from {track.since}: {error}")
                continue
            self._report.count("entries_replayed")
            self.money.owe(case.row.room_id, output.effects)
            for effect in output.effects:
                if isinstance(effect, Result):
                    case.results.setdefault(effect.round_number, (output.tick, effect.payload))

    async def _check_results(self, case: _Case) -> None:
        is_whole = any(
            track.since == "its first entry" and not track.is_lost for track in case.tracks
        )
        if is_whole:
            self.money.whole_rooms.add(case.row.room_id)
        async for row in self._records.results(case.row.room_id):
            self._report.count("results")
            self._check_result(case, row, is_whole=is_whole)
        for number, (tick, _) in sorted(case.results.items()):
            what = f"the result of round {number}, recorded at tick {tick}, is missing"
            self._report.find(what, room=case.row.room_id)

    def _check_result(self, case: _Case, row: RecordedResult, *, is_whole: bool) -> None:
        made = case.results.pop(row.round_number, None)
        room_id, named = case.row.room_id, f"the result of round {row.round_number}"
        if made is None:
            if is_whole:
                self._report.find(f"{named} was never recorded", room=room_id)
        elif made != (row.tick, row.payload):
            self._report.find(f"{named} is not the one that was recorded", room=room_id)

    def _find(self, row: RoomRow, number: int, what: str) -> None:
        self._report.find(what, shard=row.shard, room=row.room_id, entry=number)

"""One room done again from its journal, with everything that its entries say on the way."""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from gameserver.engine import inputs as i
from gameserver.engine import snapshot
from gameserver.engine.commands import Code
from gameserver.engine.effects import Booking, Hold, Release, Result, Settle
from gameserver.engine.game import Game
from gameserver.engine.output import TickOutput
from gameserver.engine.room import Room
from gameserver.engine.ticking import ReplayDiverged
from gameserver.runtime.batching import Seals, entry_identity, snapshot_identity
from persistence.interfaces import EntryRow, SnapshotRow
from protocol import codec
from protocol.messages import Full
from protocol.view import View
from scripts.faulting.players import Sighting

Command = tuple[int, int]  # An account and its number.


@dataclass
class Replayed:
    """What a room's journal says: commands with code and tick, money, results.

    ``repeats`` are commands that are recorded more than once. ``pending`` are those of
    ``commands`` that wait for the verdict on a reference.
    """

    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    commands: dict[Command, tuple[int, int]] = field(default_factory=dict)
    repeats: list[Command] = field(default_factory=list)
    pending: dict[str, Command] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    holds: dict[str, tuple[int, int]] = field(default_factory=dict)
    settled: dict[str, int] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)
    booked: dict[str, int] = field(default_factory=dict)
    results: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    def rule(self, codes: Mapping[str, int]) -> None:
        """Take the verdicts that the database has on what is pending in the journal."""
        for reference, command in self.pending.items():
            if reference in codes:
                self.commands[command] = (codes[reference], self.commands[command][1])


def replay(
    game: Game[Any],
    seals: Seals,
    entries: Sequence[EntryRow],
    snapshots: Sequence[SnapshotRow],
    sightings: Sequence[Sighting],
) -> Replayed:
    """Do a room's entries again, from the first and from each snapshot."""
    done = Replayed()
    if not entries:
        return done
    plain = [seals.open(row.payload, entry_identity(row.room_id, row.number)) for row in entries]
    by_number = {row.number: row for row in snapshots}
    seen = sorted(sightings, key=lambda one: one.tick)
    room: Room[Any] = Room(game, entries[0].room_id)
    hashes: dict[int, bytes] = {}
    number = 0
    try:
        for number, payload in enumerate(plain, start=1):
            entry = i.read_entry(payload)
            while seen and seen[0].tick < entry.tick:
                _check_sighting(room, seen.pop(0), done)
            _redo(room, payload, entry, done)
            if number in by_number:
                hashes[number] = snapshot.state_hash(room)
    except (ReplayDiverged, i.BadEntry) as error:
        done.faults.append(f"entry {number}: {error!r}")
        return done
    for sighting in seen:
        _check_sighting(room, sighting, done)
    for row in snapshots:
        _check_snapshot(game, seals, row, plain, (room, hashes), done)
    done.counts["entries_replayed"] += len(entries)
    return done


def _redo(room: Room[Any], payload: bytes, entry: i.Entry, done: Replayed) -> None:
    """Do one entry again and note what it says."""
    before = {seat: room.account(seat) for seat in room.seats.keys_in_order()}
    waiting = {one: room.system.pending[one] for one in room.pending_references()}
    output = room.replay(entry)
    if output.entry != payload:
        done.faults.append(f"entry {room.entry_number} done again is another entry")
    after = {seat: room.account(seat) for seat in room.seats.keys_in_order()}
    for row in entry.inputs:
        if row[0] == i.VERDICT:
            _, reference, code = row
            done.verdicts[reference] = code
            done.pending.pop(reference, None)
            command = (waiting[reference].account, waiting[reference].number)
            done.commands[command] = (code, done.commands[command][1])
        elif row[0] == i.COMMAND:
            _, seat, number, _, _, code = row
            # Who gave the seat up in this very tick had it when the command came.
            _note(done, (after.get(seat, before.get(seat, 0)), number), (code, entry.tick))
    _note_effects(output, after, done)


def _note(done: Replayed, command: Command, what: tuple[int, int]) -> None:
    if command in done.commands:
        done.repeats.append(command)
    done.commands[command] = what


def _note_effects(output: TickOutput, accounts: Mapping[int, int], done: Replayed) -> None:
    for pending in output.pending:
        command = (accounts[pending.seat], pending.number)
        assert done.commands[command][0] == Code.PENDING, "A command with a hold is pending."
        done.pending[pending.reference] = command
    for effect in output.effects:
        match effect:
            case Hold(reference, account, amount_minor):
                done.holds[reference] = (account, amount_minor)
            case Settle(reference, payout_minor):
                done.settled[reference] = payout_minor
            case Release(reference):
                done.released.add(reference)
            case Booking(reference, amount_minor):
                if amount_minor:
                    done.booked[reference] = amount_minor
            case Result(round_number, payload):
                done.results[round_number] = (output.tick, payload)


def _check_sighting(room: Room[Any], sighting: Sighting, done: Replayed) -> None:
    """Expect that the room at that tick shows just what was seen of it."""
    done.counts["sightings_compared"] += 1
    seat = room.seat_of(sighting.account)
    if seat is None:
        done.faults.append(f"account {sighting.account} saw tick {sighting.tick} without a seat")
        return
    full = codec.decode_outbound(codec.full(room.room_id, sighting.tick, *room.full(seat)))
    assert isinstance(full, Full)
    view = View()
    view.apply(full)
    shown = view.dump()
    if shown != sighting.seen:
        shown_by, seen_by = ({row[0]: row for row in rows} for rows in (shown, sighting.seen))
        other = [n for n in {**shown_by, **seen_by} if shown_by.get(n) != seen_by.get(n)]
        done.faults.append(
            f"account {sighting.account} saw at tick {sighting.tick}"
            f" {seen_by.get(other[0])} and the journal has {shown_by.get(other[0])}"
        )


def _check_snapshot(
    game: Game[Any],
    seals: Seals,
    row: SnapshotRow,
    plain: Sequence[bytes],
    whole: tuple[Room[Any], Mapping[int, bytes]],
    done: Replayed,
) -> None:
    """Expect the same room from a snapshot as from the journal, then and at the end."""
    room, hashes = whole
    done.counts["snapshots_replayed"] += 1
    data = zlib.decompress(seals.open(row.payload, snapshot_identity(row.room_id, row.number)))
    if sha256(data).digest() != row.state_hash or hashes.get(row.number) != row.state_hash:
        done.faults.append(f"snapshot {row.number} is not what the journal gives")
        return
    restored = snapshot.load(game, data)
    for payload in plain[row.number :]:
        restored.replay(i.read_entry(payload))
    if snapshot.state_hash(restored) != snapshot.state_hash(room):
        done.faults.append(f"the room from snapshot {row.number} ends as another")

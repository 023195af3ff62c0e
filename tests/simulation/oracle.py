"""What each room's life was, by its journal alone: the measure for all that was told.

The journal is replayed from its first entry through the engine; nothing here has seen a server.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from gameserver.engine import inputs as i
from gameserver.engine import snapshot
from gameserver.engine.effects import Result
from gameserver.engine.output import TickOutput
from gameserver.engine.room import Room
from gameserver.runtime.batching import entry_identity, snapshot_identity
from persistence.interfaces import EntryRow, SnapshotRow
from protocol import codec
from protocol.messages import Full
from protocol.view import View
from tests.simulation.server import SEALER, games

Violate = Callable[[str, str], None]
Watch = Callable[[Room[Any], i.Entry, bool], None]


@dataclass(frozen=True, slots=True)
class Decided:
    """A command as the journal has it."""

    seat: int
    tick: int
    code: int
    body: bytes
    arrival_ms: int


@dataclass
class Story:
    """A room by its journal. Keys are ticks, but for snapshots, which go by entry number.

    ``addressees`` are the accounts that had the seats for which there was something private,
    ``results`` go by round.
    """

    room: Room[Any]
    shared: dict[int, bytes] = field(default_factory=dict)
    private: dict[int, dict[int, bytes]] = field(default_factory=dict)
    addressees: dict[int, dict[int, int]] = field(default_factory=dict)
    decided: dict[tuple[int, int], Decided] = field(default_factory=dict)
    references: dict[tuple[int, int], str] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    fulls: dict[tuple[int, int], tuple[bytes, bytes]] = field(default_factory=dict)
    hashes: dict[int, bytes] = field(default_factory=dict)
    ticks: list[int] = field(default_factory=list)
    results: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    def view(self, tick: int, seat: int) -> View:
        """Return what a seat should have seen at a tick that was asked for."""
        view = View()
        message = codec.decode_outbound(
            codec.full(self.room.room_id, tick, *self.fulls[tick, seat])
        )
        assert isinstance(message, Full)
        view.apply(message)
        return view


@dataclass
class Wanted:
    """What to keep on the way: full states by (tick, seat), hashes by entry number."""

    fulls: set[tuple[int, int]] = field(default_factory=set)
    numbers: set[int] = field(default_factory=set)


def story_of(
    room: Room[Any], rows: list[EntryRow], wanted: Wanted, watch: Watch, violate: Violate
) -> Story:
    """Replay a room's journal from the beginning, and keep what is wanted."""
    story = Story(room)
    fulls = sorted(wanted.fulls, reverse=True)
    for row in rows:
        while fulls and fulls[-1][0] < row.tick:
            _keep_full(story, fulls.pop())
        entry = i.read_entry(SEALER.open(row.payload, entry_identity(row.room_id, row.number)))
        watch(room, entry, False)
        try:
            output = room.replay(entry)
        except Exception as error:
            violate("I8 memory is the replayed journal", f"entry {row.number}: {error!r}")
            return story
        story.ticks.append(row.tick)
        if output.shared is not None:
            story.shared[output.tick] = output.shared
        if output.private:
            story.private[output.tick] = output.private
            story.addressees[output.tick] = {
                seat: room.account(seat) for seat in output.private if seat in room.seats
            }
        _keep_decisions(story, entry, violate)
        _keep_results(story, output, violate)
        for pending in output.pending:
            account = room.account(pending.seat)
            story.references[account, pending.number] = pending.reference
        watch(room, entry, True)
        if row.number in wanted.numbers:
            story.hashes[row.number] = snapshot.state_hash(room)
    while fulls:
        _keep_full(story, fulls.pop())
    return story


def _keep_full(story: Story, at: tuple[int, int]) -> None:
    seat = at[1]
    story.fulls[at] = story.room.full(None if seat < 0 else seat)


def _keep_decisions(story: Story, entry: i.Entry, violate: Violate) -> None:
    room = story.room
    for row in entry.inputs:
        if row[0] == i.VERDICT:
            story.verdicts[row[1]] = row[2]
        elif row[0] == i.COMMAND:
            _, seat, number, arrival_ms, body, code = row
            key = (room.account(seat), number)
            if key in story.decided:
                violate("I2 exactly once", f"room {room.room_id} decided {key} twice")
            story.decided[key] = Decided(seat, entry.tick, code, body, arrival_ms)


def _keep_results(story: Story, output: TickOutput, violate: Violate) -> None:
    for effect in output.effects:
        if isinstance(effect, Result):
            if effect.round_number in story.results:
                violate("I12 a result never changes", f"round {effect.round_number} came twice")
            story.results[effect.round_number] = (output.tick, effect.payload)


def check_snapshots(
    story: Story, rows: list[EntryRow], kept: dict[int, SnapshotRow], violate: Violate
) -> None:
    """Expect every snapshot to be the room at its entry, and to go on as the room did."""
    numbers = sorted(number for number in kept if number in story.hashes)
    for number, until in zip(numbers, [*numbers, len(rows)][1:], strict=True):
        stored = kept[number]
        if stored.state_hash != story.hashes[number]:
            violate("I8 memory is the replayed journal", f"snapshot {number} is another state")
            continue
        packed = SEALER.open(stored.payload, snapshot_identity(stored.room_id, number))
        data = zlib.decompress(packed)
        if sha256(data).digest() != stored.state_hash:
            violate("I8 memory is the replayed journal", f"snapshot {number} is not what it says")
            continue
        room = snapshot.load(games()[story.room.game.name], data)
        try:
            for row in rows[number:until]:
                identity = entry_identity(row.room_id, row.number)
                room.replay(i.read_entry(SEALER.open(row.payload, identity)))
        except Exception as error:
            violate("I8 memory is the replayed journal", f"from snapshot {number}: {error!r}")
            continue
        if snapshot.state_hash(room) != story.hashes.get(until, snapshot.state_hash(story.room)):
            violate("I8 memory is the replayed journal", f"snapshot {number} goes on otherwise")

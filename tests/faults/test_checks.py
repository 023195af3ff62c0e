"""What the checkers of a campaign find: each test plants one lie and expects it to be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from zlib import compress

import pytest

from gameserver.games.keno import GAME
from gameserver.games.keno.commands import Bet
from gameserver.games.keno.state import Keno, Phase
from gameserver.runtime.batching import entry_identity, snapshot_identity
from persistence.interfaces import EntryRow, SnapshotRow
from persistence.sealing import Sealer
from protocol.client import AnswerTimeout, CommandDeferred
from protocol.messages import Outcome
from scripts.faulting.journals import Findings, check_history
from scripts.faulting.players import Sent, Sighting
from scripts.faulting.replays import Replayed, replay
from tests.games.keno.table_of_keno import make_play, reach
from tests.games.play import ROOM_ID, Play, account_of

SEALER = Sealer({1: bytes(32)}, 1)
ANN = account_of("ann")
SHARD = 0


@pytest.fixture
def play() -> Play[Keno]:
    """A room in which ann has bet twice, once too little, and the round is over."""
    play = make_play("ann")
    seat = play.seat("ann")
    for number, stake_minor in enumerate((100, 1, 200), start=1):
        play.submit(seat, Bet(spots=(1, 2, 3), stake_minor=stake_minor, round_number=0), number)
        play.ticks(3)
    reach(play, Phase.SHOWN)
    return play


def rows(play: Play[Keno]) -> list[EntryRow]:
    """Return the room's journal as storage has it; the ticks there are not looked at."""
    return [
        EntryRow(SHARD, ROOM_ID, number, 0, SEALER.seal(plain, entry_identity(ROOM_ID, number)))
        for number, plain in enumerate(play.journal, start=1)
    ]


def stored(play: Play[Keno], data: bytes) -> SnapshotRow:
    room = play.room
    identity = snapshot_identity(ROOM_ID, room.entry_number)
    sealed = SEALER.seal(compress(data), identity)
    digest = sha256(data).digest()
    return SnapshotRow(ROOM_ID, room.entry_number, room.entry_tick, 1, digest, sealed)


def done(
    play: Play[Keno],
    snapshots: Sequence[SnapshotRow] = (),
    sightings: Sequence[Sighting] = (),
) -> Replayed:
    return replay(GAME(), SEALER, rows(play), snapshots, sightings)


def told(number: int, kind: int, code: int, tick: int, name: str = "") -> Sent:
    return Sent(ROOM_ID, ANN, number, 0, answer=Outcome(number, tick, kind, code, name, ""))


def history_of(replayed: Replayed) -> list[Sent]:
    """Return what a player would have written down of all that is recorded."""
    return [
        told(number, int(code > 0), code, tick)
        for (_, number), (code, tick) in replayed.commands.items()
    ]


def findings(replayed: Replayed, sent: Sequence[Sent]) -> Findings:
    found = Findings()
    check_history(replayed, sent, found)
    return found


def test_a_sound_room_is_found_sound(play: Play[Keno]) -> None:
    seat = play.seat("ann")
    seen = Sighting(ROOM_ID, ANN, play.room.entry_tick, play.watcher(seat).view.dump())
    replayed = done(play, [stored(play, play.snapshot())], [seen])
    assert replayed.faults == []
    assert replayed.counts["sightings_compared"] == replayed.counts["snapshots_replayed"] == 1
    assert [code for code, _ in replayed.commands.values()] == [0, 103, 0]
    assert [amount for _, amount in replayed.holds.values()] == [100, 200]
    assert replayed.settled.keys() == replayed.holds.keys()
    assert len(replayed.results) == 1
    found = findings(replayed, history_of(replayed))
    assert found.faults == []
    assert found.counts["outcomes_compared"] == 3


def test_an_outcome_that_no_entry_has_is_lost(play: Play[Keno]) -> None:
    found = findings(done(play), [told(4, 0, 0, 50)])
    assert found.counts["lost"] == 1
    assert "lost" in found.faults[0]


@pytest.mark.parametrize(
    "lie",
    [
        told(1, 1, 101, 0, "ROUND_OVER"),
        told(2, 0, 0, 0),
        told(2, 1, 104, 0, "STAKE_TOO_HIGH"),
        told(2, 2, 0, 0, "FAILED"),
    ],
)
def test_an_outcome_that_was_told_otherwise_is_found(play: Play[Keno], lie: Sent) -> None:
    replayed = done(play)
    _, tick = replayed.commands[ANN, lie.number]
    assert isinstance(lie.answer, Outcome)
    lie = replace(lie, answer=Outcome(lie.number, tick, lie.answer.kind, lie.answer.code, "", ""))
    assert findings(replayed, [lie]).counts["altered"] == 1


def test_an_outcome_of_another_tick_is_found(play: Play[Keno]) -> None:
    replayed = done(play)
    code, tick = replayed.commands[ANN, 1]
    assert findings(replayed, [told(1, 0, code, tick + 1)]).counts["altered"] == 1


def test_a_command_that_is_recorded_twice_is_found(play: Play[Keno]) -> None:
    replayed = done(play)
    replayed.repeats += [(ANN, 1), (ANN, 1)]
    found = findings(replayed, [])
    assert found.counts["duplicated"] == 1
    assert found.faults == [f"done 3 times: command 1 of {ANN}"]


def test_a_command_that_was_put_off_for_good_must_not_be_recorded(play: Play[Keno]) -> None:
    replayed = done(play)
    put_off = Sent(ROOM_ID, ANN, 1, 0, answer=CommandDeferred(1, 1_000))
    assert findings(replayed, [put_off]).counts["altered"] == 1
    assert findings(replayed, [replace(put_off, number=4)]).faults == []


def test_a_command_whose_fate_is_unknown_may_be_recorded_or_not(play: Play[Keno]) -> None:
    replayed = done(play)
    unknown = [Sent(ROOM_ID, ANN, number, 0, answer=AnswerTimeout("")) for number in (1, 4)]
    found = findings(replayed, unknown)
    assert found.faults == []
    assert found.counts["fates_unknown"] == 2


def test_a_view_of_what_never_was_is_found(play: Play[Keno]) -> None:
    view = play.watcher(play.seat("ann")).view
    view.records[2][1] = 999
    lie = Sighting(ROOM_ID, ANN, play.room.entry_tick, view.dump())
    (fault,) = done(play, sightings=[lie]).faults
    assert "999" in fault


def test_a_view_is_compared_with_the_room_at_its_own_tick(play: Play[Keno]) -> None:
    view = play.watcher(play.seat("ann")).view
    early = Sighting(ROOM_ID, ANN, play.room.entry_tick - 10, view.dump())
    assert len(done(play, sightings=[early]).faults) == 1


def test_a_view_of_somebody_without_a_seat_is_found(play: Play[Keno]) -> None:
    lie = Sighting(ROOM_ID, account_of("bob"), play.room.entry_tick, ())
    (fault,) = done(play, sightings=[lie]).faults
    assert "without a seat" in fault


def test_a_snapshot_of_another_state_is_found(play: Play[Keno]) -> None:
    early = stored(play, play.snapshot())
    play.ticks(40)
    lie = replace(early, number=play.room.entry_number)
    assert done(play, [early]).faults == []
    resealed = SEALER.open(early.payload, snapshot_identity(ROOM_ID, early.number))
    lie = replace(lie, payload=SEALER.seal(resealed, snapshot_identity(ROOM_ID, lie.number)))
    (fault,) = done(play, [lie]).faults
    assert "is not what the journal gives" in fault


def test_an_entry_that_is_missing_or_changed_is_found(play: Play[Keno]) -> None:
    whole = list(play.journal)
    for damaged in (whole[:5] + whole[6:], [*whole[:5], whole[6], *whole[6:]]):
        play.journal = damaged
        (fault,) = done(play).faults
        assert "entry 6" in fault

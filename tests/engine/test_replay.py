"""Tests of replay: the same snapshot and the same entries give the same bytes, wherever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gameserver.engine import inputs as i
from gameserver.engine import snapshot
from gameserver.engine.room import Room
from gameserver.engine.ticking import ReplayDiverged
from tests.engine.playing import GAME, PLAYS, Event, run, seated
from tests.engine.replaying import hashes
from tests.engine.toy import Act, Buy, Then
from tests.engine.toy_state import Toy
from tests.games.play import Play

ROOT = Path(__file__).parent.parent.parent


@settings(max_examples=60)
@given(PLAYS)
def test_from_every_snapshot_the_entries_give_the_same_room(ticks: list[list[Event]]) -> None:
    play = seated()
    taken = [play.snapshot() for _ in run(play, ticks)]
    for start in (None, *taken):
        play.check_replay(start)


@settings(max_examples=40)
@given(PLAYS)
def test_a_replay_sends_the_same_frames_and_asks_for_the_same_effects(
    ticks: list[list[Event]],
) -> None:
    play = seated()
    outs = [play.last for _ in run(play, ticks) if play.last.entry is not None]
    room: Room[Toy] = Room(GAME, play.room.room_id)
    again = [room.replay(i.read_entry(payload)) for payload in play.journal]
    for live, redone in zip(outs, again[-len(outs) :] if outs else [], strict=True):
        assert (live.tick, live.entry_number) == (redone.tick, redone.entry_number)
        assert (live.shared, live.private) == (redone.shared, redone.private)
        assert (live.effects, live.pending) == (redone.effects, redone.pending)
        assert live.ended == redone.ended


@settings(max_examples=30)
@given(PLAYS, PLAYS)
def test_a_loaded_room_goes_on_like_the_one_that_was_stored(
    ticks: list[list[Event]], more: list[list[Event]]
) -> None:
    play = seated()
    for _ in run(play, ticks):
        pass
    play.room = snapshot.load(GAME, play.snapshot())
    entries = len(play.journal)
    for _ in run(play, more):
        pass
    play.check_replay()
    assert len(play.journal) >= entries


def test_two_processes_with_other_hash_seeds_give_the_same_bytes() -> None:
    here = hashes()
    for seed in ("0", "4242"):
        there = subprocess.run(
            [sys.executable, "-m", "tests.engine.replaying"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        )
        assert there.stdout.split() == here, f"PYTHONHASHSEED={seed}"


def _entry_after(play: Play[Any]) -> tuple[Room[Any], list[Any]]:
    """Return a room as of before the last entry, and the entry's parts."""
    room = Room(play.game, play.room.room_id)
    for payload in play.journal[:-1]:
        room.replay(i.read_entry(payload))
    return room, list(i.read_entry(play.journal[-1]))


def _played() -> Play[Toy]:
    play = seated()
    play.submit(0, Act(steps=((0, 0, 5), (4, 0, 0))))
    play.submit(1, Buy(3))
    play.submit(2, Act(then=Then.RAISE))
    play.tick()
    return play


def test_an_entry_that_is_untouched_replays() -> None:
    room, (tick, rows, digest) = _entry_after(_played())
    room.replay(i.Entry(tick, rows, digest))


@pytest.mark.parametrize(
    "damage",
    [
        lambda tick, rows, digest: (tick + 1, rows, digest),
        lambda tick, rows, digest: (0, rows, digest),
        lambda tick, rows, digest: (tick, rows[1:], digest),
        lambda tick, rows, digest: (tick, rows[::-1], digest),
        lambda tick, rows, digest: (tick, [], digest),
        lambda tick, rows, digest: (tick, rows, bytes(32)),
        lambda tick, rows, digest: (tick, [[*rows[0][:-1], 100], *rows[1:]], digest),
        lambda tick, rows, digest: (tick, [[*rows[0][:-1], 55], *rows[1:]], digest),
        lambda tick, rows, digest: (tick, [*rows[:2], [*rows[2][:-1], 0]], digest),
        lambda tick, rows, digest: (tick, [[1, 9, *rows[0][2:]], *rows[1:]], digest),
        lambda tick, rows, digest: (tick, [[99], *rows], digest),
        lambda tick, rows, digest: (tick, [[i.LEFT, 8], *rows], digest),
        lambda tick, rows, digest: (tick, [[i.LOST], *rows], digest),
        lambda tick, rows, digest: (tick, [[], *rows], digest),
        lambda tick, rows, digest: (tick, [[1, 0, 1, 0, b"\xc1", 0]], digest),
    ],
)
def test_an_entry_that_was_changed_diverges(damage: Any) -> None:
    room, parts = _entry_after(_played())
    with pytest.raises(ReplayDiverged):
        room.replay(i.Entry(*damage(*parts)))


def test_the_order_of_entries_counts() -> None:
    play = _played()
    room: Room[Toy] = Room(GAME, play.room.room_id)
    room.replay(i.read_entry(play.journal[0]))
    with pytest.raises(ReplayDiverged):
        room.replay(i.read_entry(play.journal[2]))


def test_entries_of_another_room_lead_nowhere() -> None:
    room: Room[Toy] = Room(GAME, _PLAYED.room.room_id + 1)
    with pytest.raises(ReplayDiverged):
        room.replay(i.read_entry(_PLAYED.journal[0]))


def _replay(room: Room[Any], journal: list[bytes]) -> None:
    for payload in journal:
        room.replay(i.read_entry(payload))


def test_the_digest_covers_what_nobody_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    play = seated()
    play.submit(0, Act(then=Then.MUTTER))
    play.tick()
    # As if the rules were others now: a secret is another.
    monkeypatch.setattr("tests.engine.toy.mark", lambda room: "~other~")
    with pytest.raises(ReplayDiverged, match="another digest"):
        _replay(Room(GAME, play.room.room_id), play.journal)


def test_the_digest_covers_whose_a_record_is(monkeypatch: pytest.MonkeyPatch) -> None:
    play = seated()
    play.submit(0, Act(steps=((7, 1, 0),)))
    play.tick()
    monkeypatch.setattr("tests.engine.toy_steps._seat", lambda which: 3)
    with pytest.raises(ReplayDiverged, match="another digest"):
        _replay(Room(GAME, play.room.room_id), play.journal)


def test_the_digest_covers_effects(monkeypatch: pytest.MonkeyPatch) -> None:
    play = seated()
    play.submit(0, Act(steps=((4, 0, 0),)))
    play.tick()
    # As if the rules were others now: no score is given.
    monkeypatch.setattr(Room, "score", lambda room, number, seat, points: None)
    with pytest.raises(ReplayDiverged, match="another digest"):
        _replay(Room(GAME, play.room.room_id), play.journal)


@settings(max_examples=150)
@given(st.data())
def test_damaged_entries_never_give_a_room_and_never_another_error(data: st.DataObject) -> None:
    play = _PLAYED
    payload = bytearray(play.journal[-1])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        change = data.draw(st.sampled_from(("flip", "cut", "grow")))
        if change == "flip":
            payload[at] ^= data.draw(st.integers(1, 255))
        elif change == "cut" and len(payload) > 1:
            del payload[at]
        else:
            payload.insert(at, data.draw(st.integers(0, 255)))
    room = snapshot.load(GAME, _BEFORE)
    try:
        room.replay(i.read_entry(bytes(payload)))
    except (i.BadEntry, ReplayDiverged):
        return
    assert i.read_entry(bytes(payload)) == i.read_entry(play.journal[-1])


_PLAYED = _played()
_BEFORE = snapshot.dump(_entry_after(_PLAYED)[0])

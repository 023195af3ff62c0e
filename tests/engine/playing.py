"""Plays of the toy game, drawn by hypothesis, and what every viewer of them should see.

``expected_view`` says who sees what by walking the state; it shares nothing with the engine's own
way of telling it but the declarations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from gameserver.engine import inputs as i
from gameserver.engine.fields import Field, Visibility
from gameserver.engine.records import NO_SEAT, Record
from gameserver.engine.room import Room
from tests.engine.toy import Act, Buy, Then, ToyGame
from tests.engine.toy_state import Toy
from tests.engine.toy_steps import SEATS_MAX
from tests.games.play import Play, Watcher, account_of

MARK = re.compile(rb"~\d+~")
NAMES = ("ann", "bob", "cat", "dan", "eve", "fay")
SEATED = NAMES[:3]

GAME = ToyGame()

STEPS = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 14), st.integers(0, 4095)), max_size=6
).map(tuple)

# A room that has ended is not much of a play.
ENDINGS = tuple(then for then in Then if then is not Then.END)

# What may come of an event: (what is done, by whom, steps, how it ends).
EVENTS = st.one_of(
    st.tuples(st.just("act"), st.integers(0, SEATS_MAX), STEPS, st.just(Then.NOTHING)),
    st.tuples(st.just("act"), st.integers(0, SEATS_MAX), STEPS, st.sampled_from(ENDINGS)),
    st.tuples(st.just("buy"), st.integers(0, SEATS_MAX), STEPS, st.just(Then.NOTHING)),
    st.tuples(
        st.sampled_from(("sit", "leave", "lose")),
        st.integers(0, len(NAMES) - 1),
        st.just(()),
        st.just(Then.NOTHING),
    ),
)
Event = tuple[str, int, tuple[tuple[int, int, int], ...], Then]

# A play is a list of ticks, each with some events; more in a tick, more that meets within it.
PLAYS = st.lists(st.lists(EVENTS, max_size=4), min_size=1, max_size=12)


def seated(**settings: Any) -> Play[Toy]:
    """Return a room of the toy game in which three players sit."""
    play = Play(GAME, settings=settings)
    for name in SEATED:
        play.sit(name)
    return play


def put(play: Play[Toy], event: Event) -> None:
    """Give one event to the play's next tick."""
    what, who, steps, then = event
    if what == "sit":
        play.wallet.open(account_of(NAMES[who]), 1_000)
        play.put(i.Sat(account_of(NAMES[who])))
    elif what == "leave":
        play.put(i.Left(who))
    elif what == "lose":
        play.put(i.Lost(who))
    elif who in play.room.seats:
        play.submit(who, Act(steps, then) if what == "act" else Buy(400, steps))


def run(play: Play[Toy], ticks: list[list[Event]]) -> Iterator[None]:
    """Play the ticks, yielding after each."""
    for events in ticks:
        for event in events:
            put(play, event)
        play.tick()
        yield


def records_of(room: Room[Any]) -> Iterator[Record]:
    """Yield every record of a room, parents first."""
    waiting: list[Record] = [room.system, room.state]
    while waiting:
        record = waiting.pop()
        yield record
        waiting += record.records_below()


def may_see(record: Record, seat: int | None) -> bool:
    """Tell whether a viewer may know of a record at all."""
    if record.audience is Visibility.SECRET:
        return False
    if record.has_seen_by:
        return seat is not None and bool(record.__dict__["seen_by"] >> seat & 1)
    return record.audience is Visibility.PUBLIC or _owns(record, seat)


def may_read(record: Record, field: Field, seat: int | None) -> bool:
    """Tell whether a viewer who may know of a record may read this field of it."""
    if field.visibility is Visibility.PRIVATE:
        return _owns(record, seat)
    return field.visibility is Visibility.PUBLIC


def _owns(record: Record, seat: int | None) -> bool:
    return seat is not None and record.seat == seat != NO_SEAT


def expected_view(room: Room[Any], seat: int | None) -> Any:
    """Return what ``View.dump`` must give for a viewer who has been told everything."""
    rows = []
    for record in records_of(room):
        if not may_see(record, seat):
            continue
        place = None
        if record.parent is not None and record.home is not None:
            place = (record.parent.record_number, record.home.number, record.key)
        fields = tuple(
            (field.number, record.__dict__[field.name])
            for field in record.fields
            if may_read(record, field, seat)
        )
        rows.append((record.record_number, place, fields))
    return tuple(sorted(rows))


def marks_in(data: Any) -> set[bytes]:
    """Return the marks that occur in bytes, or anywhere in plain values."""
    return set(MARK.findall(data if isinstance(data, bytes) else repr(data).encode()))


class Guard:
    """Checks, tick by tick, that all viewers see what they should and were told nothing more."""

    def __init__(self, play: Play[Toy]) -> None:
        self.play = play
        self.allowed: dict[int, set[bytes]] = {}
        self.checked: dict[int, int] = {}
        self.watchers: list[Watcher] = []  # Kept, so that no id is given again.
        self.check()

    def check(self) -> None:
        """Compare every view, and search what has been sent since the last time."""
        now = self.play.watchers
        for seat, watcher in now.items():
            expected = expected_view(self.play.room, seat)
            assert watcher.view.dump() == expected, f"seat {seat} does not see what it should"
            if watcher not in self.watchers:
                self.watchers.append(watcher)
            self.allowed.setdefault(id(watcher), set()).update(marks_in(expected))
        for watcher in self.watchers:  # Also those who have left since: they got the last frames.
            told: set[bytes] = set()
            for frame in watcher.frames[self.checked.get(id(watcher), 0) :]:
                told |= marks_in(frame)
            self.checked[id(watcher)] = len(watcher.frames)
            assert told <= self.allowed[id(watcher)], f"seat {watcher.seat} was told too much"

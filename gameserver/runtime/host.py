"""Runs the rooms of this process: who is shown which room, and which room ticks when.

It decides nothing about games and writes nothing to storage: rooms decide, the committer commits.
Everything here is synchronous but for what may have to wait for a room to be opened.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

import structlog

from gameserver.engine import inputs as i
from gameserver.engine.few import add_to
from gameserver.engine.game import Game
from gameserver.engine.ticking import RoomBroken
from gameserver.engine.window import body_digest
from gameserver.runtime.audience import Audience
from gameserver.runtime.clock import NS_PER_MS, Clock
from gameserver.runtime.closing import Closing
from gameserver.runtime.committer import Committer
from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.opening import UNAVAILABLE_RETRY_MS, JoinError, Opening
from gameserver.runtime.overload import Overload
from gameserver.runtime.reading import Unreadable, read
from gameserver.runtime.release import Releaser, in_turns
from gameserver.runtime.showing import roster, shown
from gameserver.runtime.slots import SLOTS
from gameserver.runtime.snapshots import Snapshots
from gameserver.runtime.viewers import Viewer
from gameserver.runtime.work import WATCHING, Join, Leave, OpenRoom, Work
from persistence.interfaces import CommitAnswer, RoomRow
from protocol import codec
from protocol.messages import DeferralCode, InvalidCode, LeftCode, ReplyCode

log = structlog.get_logger(__name__)

DEFER_AFTER_MS = 1_500  # Commands that no tick has taken are deferred within 2 s.
BUSY_RETRY_MS = 100
SEED_BYTES = 32
DUE_PER_ROOM_MAX = 4  # Of the times at which a room was due and is no longer.


class RoomHost:
    """The rooms that are open here, and everybody who is shown them."""

    def __init__(
        self,
        games: Mapping[str, Game[Any]],
        opening: Opening,
        committer: Committer,
        snapshots: Snapshots,
        clock: Clock,
    ) -> None:
        self.rooms: dict[int, OpenRoom] = opening.rooms
        self._games = games
        self._opening = opening
        self._committer = committer
        self._snapshots = snapshots
        self._clock = clock
        self._metrics: Metrics = opening.metrics
        self._keeper: ShardKeeper = opening.keeper
        self.overload = Overload(clock, self._metrics)
        self.audience = Audience()
        self.closing = Closing(opening, self.audience)
        self.releaser = Releaser(
            clock, self._metrics, self.audience, (self._activate, self.closing.end, snapshots.keep)
        )
        self.on_settled: Callable[[], None] = lambda: None
        self._active: list[list[OpenRoom]] = [[] for _ in range(SLOTS)]
        self._due: list[list[tuple[int, int]]] = [[] for _ in range(SLOTS)]
        committer.release = self._release
        committer.set_aside = self.closing.set_aside
        committer.shard_lost = self.closing.shard_lost
        opening.opened = self._begin

    # --- What connections ask for.

    async def join(
        self,
        row: RoomRow,
        viewer: Viewer,
        request: int,
        *,
        watch: bool = False,
        closed_tick: int | None = None,
    ) -> JoinError | None:
        """Let a viewer into a room, recovering the room if need be.

        The answer reaches the viewer when the tick that seats it is durable; what stands in the
        way at once is returned instead.
        """
        found = await self._opening.open(row)
        if isinstance(found, JoinError):
            return found
        if closed_tick is not None and found.wants_refill(closed_tick):
            await self._opening.refill(found, closed_tick)
            if found.gone:
                detail = "the room was closed meanwhile"
                return JoinError(ReplyCode.UNAVAILABLE, detail, BUSY_RETRY_MS)
        if self.audience.is_waiting_much(viewer):
            return JoinError(ReplyCode.BUSY, "you wait for many answers", BUSY_RETRY_MS)
        self._expect(Join(found, viewer, request, watch, closed_tick))
        if not watch:
            found.inbox.put(i.Sat(viewer.account))
        return None

    async def prepare(self, row: RoomRow) -> None:
        """Open a room that was just made, if it can be, so that its time passes."""
        await self._opening.open(row)

    def command(self, room_id: int, viewer: Viewer, number: int, body: bytes) -> None:
        """Take a command for the room's next tick, or tell the viewer why not."""
        opened = self.rooms.get(room_id)
        seat = None if opened is None else opened.viewers.get(viewer)
        if opened is None or seat is None:
            viewer.send(codec.invalid(room_id, number, InvalidCode.NOT_IN_ROOM))
            return
        # A seat may have been left already, and another player sit there, in a tick not yet told.
        if seat == WATCHING or opened.room.seat_of(viewer.account) != seat:
            viewer.send(codec.invalid(room_id, number, InvalidCode.NOT_SEATED))
            return
        command = read(opened.room, body)
        if isinstance(command, Unreadable):
            viewer.send(codec.invalid(room_id, number, command.code, command.field))
            return
        if self._committer.is_behind(DEFER_AFTER_MS) or self._is_stalled(opened):
            self._defer(viewer, room_id, number, DeferralCode.UNAVAILABLE, UNAVAILABLE_RETRY_MS)
            return
        taken = i.Commanded(seat, number, self._clock.wall_ms(), body, body_digest(body), command)
        if not opened.inbox.submit(taken):
            self._defer(viewer, room_id, number, DeferralCode.BUSY, BUSY_RETRY_MS)
            return
        self._activate(opened)

    def leave(self, room_id: int, viewer: Viewer, request: int) -> bool:
        """Give up a seat, or stop watching; false if the viewer is not in the room."""
        opened = self.rooms.get(room_id)
        seat = None if opened is None else opened.viewers.get(viewer)
        if opened is None or seat is None:
            return False
        if seat == WATCHING:
            viewer.send(codec.reply_ok(request, []))
            self.audience.leave(opened, viewer, LeftCode.LEFT)
            return True
        if opened.room.seat_of(viewer.account) != seat:
            return False  # It has left before, and is about to be told.
        if self.audience.is_waiting_much(viewer):
            viewer.send(codec.reply_error(request, ReplyCode.BUSY, "", BUSY_RETRY_MS))
            return True
        leave = Leave(opened, viewer, request, seat)
        self.audience.expect(leave)
        opened.leaves = add_to(opened.leaves, leave)
        opened.inbox.put(i.Left(seat))
        self._activate(opened)
        return True

    def lost(self, viewer: Viewer) -> None:
        """Note that a viewer's connection is gone."""
        for opened in self.audience.lose(viewer):
            self._activate(opened)

    def resync(self, room_id: int, viewer: Viewer) -> None:
        """Send a viewer the full state."""
        self.catch_up(room_id, viewer, -1)

    def catch_up(self, room_id: int, viewer: Viewer, closed_tick: int) -> None:
        """Send a viewer what it has missed since ``closed_tick``, merged, or the full state."""
        opened = self.rooms.get(room_id)
        if opened is None or viewer not in opened.viewers:
            return
        standing = self.audience.catching_up(opened, viewer)
        if standing is not None:  # One answer serves both: it is of a tick still to be told.
            standing.closed_tick = min(standing.closed_tick or 0, closed_tick)
            return
        watch = opened.viewers[viewer] == WATCHING
        self._expect(Join(opened, viewer, None, watch, closed_tick))

    def seats(self, room_id: int) -> tuple[int, int] | None:
        """Return the seats taken, as was told, and the seats there are; None if not open."""
        opened = self.rooms.get(room_id)
        return None if opened is None else (opened.seats_told, opened.room.game.seats_max)

    def seats_claimed(self, room_id: int) -> int:
        """Return the seats that are taken or about to be, told or not. Not to be shown."""
        opened = self.rooms.get(room_id)
        if opened is None:
            return 0
        sitting = sum(join.request is not None and not join.watch for join in opened.joins)
        return len(opened.room.seats) + sitting

    def has_seat(self, room_id: int, account: int) -> bool:
        """Tell whether an account has a seat in an open room, or is about to."""
        opened = self.rooms.get(room_id)
        if opened is None:
            return False
        return opened.room.seat_of(account) is not None or self.audience.awaits_seat(
            opened, account
        )

    def new_room(self, chance: Random) -> tuple[int, int]:
        """Return an id for a new room, and its shard."""
        return self._keeper.new_room(chance)

    def has(self, shard: int) -> bool:
        """Tell whether the rooms of a shard are here."""
        return shard in self._keeper.owned

    @property
    def is_overloaded(self) -> bool:
        """Tell whether newcomers must wait, so that those who play are served."""
        return self.overload.is_on

    def turned_away(self) -> int:
        """Count a newcomer who must wait, and return for how many milliseconds."""
        return self.overload.turned_away()

    # --- The beat.

    def run_slot(self, slot: int, beat: int) -> None:
        """Tick the rooms of a slot that have input or are due."""
        committer = self._committer
        if committer.is_full:
            if committer.is_behind(DEFER_AFTER_MS):
                for opened in [one for active in self._active for one in active]:
                    self._defer_waiting(opened)
            return
        works: list[Work] = []
        for opened in self._ready(slot, beat):
            if opened.gone:
                continue
            room, now = opened.room, beat + opened.offset_ticks
            has_stood_still = now <= room.now and room.entry_number  # The next beat will do.
            if has_stood_still or opened.paused or opened.stalled_since_ns is not None:
                self._put_off(opened)
                continue
            opened.active = False
            work = self._tick(opened, now)
            if work is not None:
                works.append(work)
                self._plan(opened)
        self._metrics.ticks_total += len(works)
        committer.submit(works, beat)

    def _ready(self, slot: int, beat: int) -> list[OpenRoom]:
        ready, self._active[slot] = self._active[slot], []
        due = self._due[slot]
        while due and due[0][0] <= beat:
            due_beat, room_id = heapq.heappop(due)
            opened = self.rooms.get(room_id)
            if opened is not None and opened.due_beat == due_beat and not opened.active:
                opened.active = True
                ready.append(opened)
        return ready

    def _put_off(self, opened: OpenRoom) -> None:
        """Leave a room for the next beat."""
        self._active[opened.slot].append(opened)
        if not opened.paused and self._is_stalled(opened):  # Commands must not wait for ever.
            self._defer_waiting(opened)

    def _tick(self, opened: OpenRoom, now: int) -> Work | None:
        room = opened.room
        inputs, commands = opened.inbox.take()
        try:
            output = room.tick(now, inputs, commands)
        except RoomBroken as error:
            self.closing.set_aside(opened, str(error))
            return None
        work = Work(opened, output, len(room.windows))
        opened.in_flight += 1
        if opened.joins:
            self._show(work)
        if opened.leaves:
            work.left, opened.leaves = opened.leaves, ()
        if work.shown or output.seated or output.vacated:
            work.roster = roster(opened)
        if room.has_asks:  # What was given may be asked for again at once.
            opened.asked.difference_update(one.ask for one in inputs if isinstance(one, i.Drawn))
        if output.entry is not None and (now >= opened.snapshot_due_tick or output.ended):
            self._snapshots.consider(work)
        return work

    def _plan(self, opened: OpenRoom) -> None:
        """Look at what the room will want next: a due tick, or something from outside."""
        room = opened.room
        if room.has_asks:
            self._see_to_asks(opened)
        due_tick = room.due_tick
        if due_tick is None:
            opened.due_beat = None
        elif due_tick <= room.now + 1:  # However soon it ticks again, as most rooms do at once.
            opened.due_beat = None
            self._activate(opened)
        elif due_tick - opened.offset_ticks != opened.due_beat:
            opened.due_beat = due_tick - opened.offset_ticks
            self._note_due(opened, opened.due_beat)

    def _see_to_asks(self, opened: OpenRoom) -> None:
        for ask in opened.room.asks():
            if ask not in opened.asked:
                opened.asked.add(ask)
                self._choose(opened, ask)
        opened.asked.intersection_update(opened.room.asks())

    def _note_due(self, opened: OpenRoom, due_beat: int) -> None:
        """Remember when to look at a room; times that are no longer true are forgotten in bulk."""
        due = self._due[opened.slot]
        heapq.heappush(due, (due_beat, opened.row.room_id))
        if len(due) > DUE_PER_ROOM_MAX * len(self.rooms) + DUE_PER_ROOM_MAX:
            due[:] = sorted({one for one in due if self._is_due_at(*one)})

    def _is_due_at(self, beat: int, room_id: int) -> bool:
        opened = self.rooms.get(room_id)
        return opened is not None and opened.due_beat == beat

    def _choose(self, opened: OpenRoom, ask: str) -> None:
        """Give a room what it asked for; a game that cannot choose breaks this room alone."""
        game = self._games[opened.row.game]
        try:
            chosen = game.choose(ask, opened.room.settings, self._clock.entropy(SEED_BYTES))
        except Exception as error:
            self.closing.set_aside(opened, f"nothing was chosen for {ask!r}: {error!r}")
            return
        opened.inbox.put(i.Drawn(ask, chosen))
        self._activate(opened)

    def _show(self, work: Work) -> None:
        """Take the state at the end of this tick for those who wait for it."""
        opened = work.opened
        joins, opened.joins = opened.joins, ()
        work.shown = told = []
        for join in joins:
            if join in opened.unanswered:
                told.append(shown(join, work.output))
            elif self.audience.note_absence(opened, join.viewer.account):
                self._activate(opened)

    # --- What the committer tells.

    async def _release(self, works: Iterable[Work], answer: CommitAnswer) -> None:
        self.releaser.balances(answer)  # First, so that whoever reads an outcome has its balance.
        for some in in_turns(works):
            await self.releaser.release(some, answer)
            for work in some:
                work.opened.in_flight -= 1
                if work.opened.paused:
                    self.on_settled()

    # --- Small parts.

    def _begin(self, opened: OpenRoom) -> None:
        """Take in a room that has just been recovered."""
        self.rooms[opened.row.room_id] = opened
        opened.seats_told = len(opened.room.seats)
        games = self._metrics.rooms_open
        games[opened.row.game] = games.get(opened.row.game, 0) + 1
        if opened.room.entry_number:
            self._plan(opened)
        if opened.inbox:
            self._activate(opened)

    def _expect(self, join: Join) -> None:
        self.audience.expect(join)
        join.opened.joins = add_to(join.opened.joins, join)
        self._activate(join.opened)

    def _activate(self, opened: OpenRoom) -> None:
        if not opened.active:
            opened.active = True
            self._active[opened.slot].append(opened)

    def _defer(
        self, viewer: Viewer, room_id: int, number: int, code: DeferralCode, retry_ms: int
    ) -> None:
        self._metrics.count_deferred(code.name)
        viewer.send(codec.deferred(room_id, number, code, retry_ms))

    def _is_stalled(self, opened: OpenRoom) -> bool:
        """Tell whether the room waits for a lock, and has for so long that commands must know."""
        since_ns = opened.stalled_since_ns
        return (
            since_ns is not None and self._clock.now_ns() - since_ns >= DEFER_AFTER_MS * NS_PER_MS
        )

    def _defer_waiting(self, opened: OpenRoom) -> None:
        """Give back a room's commands that no tick has taken."""
        room_id = opened.row.room_id
        for command in opened.inbox.take_commands():
            viewer = opened.by_seat.get(command.seat)
            if viewer is not None:
                code = DeferralCode.UNAVAILABLE
                self._defer(viewer, room_id, command.number, code, UNAVAILABLE_RETRY_MS)

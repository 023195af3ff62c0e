"""Tells what has become durable: outcomes, deltas, full states, in the order of their ticks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from gameserver.engine.commands import outcome
from gameserver.engine.inputs import Ruled
from gameserver.runtime.audience import Audience
from gameserver.runtime.clock import Clock
from gameserver.runtime.merging import merged
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.recovery import code_of
from gameserver.runtime.ring import Frames
from gameserver.runtime.viewers import SharedFrame, Viewer
from gameserver.runtime.work import WATCHING, OpenRoom, Roster, Shown, Work
from persistence.interfaces import CommitAnswer, Verdict
from protocol import codec
from protocol.messages import Joined, LeftCode, ReplyCode

WRITES_PER_TURN = 256  # About 2 ms of writing; then the event loop gets a turn.

# A tick as its viewers are to be told of it: the tick before it, what is for seats, and for all.
Kept = tuple[OpenRoom, int, dict[int, bytes], SharedFrame | None]
OnBalances = Callable[[tuple[tuple[int, int], ...]], None]


class Releaser:
    """Sends the outputs of committed ticks to the viewers of their rooms."""

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        audience: Audience,
        then: tuple[
            Callable[[OpenRoom], None],
            Callable[[OpenRoom], None],
            Callable[[Work], None],
        ],
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._audience = audience
        self._activate, self._end_room, self._keep_snapshot = then
        self.on_balances: OnBalances = lambda balances: None
        self._writes = 0

    def balances(self, answer: CommitAnswer) -> None:
        """Pass on the balances that a commit changed."""
        if answer.balances:
            self.on_balances(answer.balances)

    async def release(self, works: Collection[Work], answer: CommitAnswer) -> None:
        """Tell all that came of one tick each of some rooms; sockets and slots get their turns.

        First all is kept, then all is written, then all is answered: one kind of work after the
        other finds its code in the processor's caches (scripts.bench.rooms).
        """
        await self._deliver([self._keep(work) for work in works if not work.opened.gone])
        for work in works:
            if not work.opened.gone:
                await self._conclude(work, answer)

    def _keep(self, work: Work) -> Kept:
        """Keep a tick for those who will have missed it."""
        output, ring = work.output, work.opened.ring
        told_tick, shared = ring.newest_tick, None
        if output.shared is not None or output.private:
            ring.keep(output.tick, output.shared, output.private)
        if output.shared is not None:
            shared = SharedFrame(output.shared)
            if work.opened.viewers:
                shared.frame(0)  # Here, and not between the writes.
        return work.opened, told_tick, output.private, shared

    async def _deliver(self, kept: Sequence[Kept]) -> None:
        """Write a tick each of some rooms to their viewers."""
        for opened, told_tick, private, shared in kept:
            if opened.gone:
                continue
            room_id, handles, by_seat = opened.row.room_id, opened.handles, opened.by_seat
            to = {by_seat[seat]: tail for seat, tail in private.items() if seat in by_seat}
            viewers = list(to if shared is None else opened.viewers)
            for first in range(0, len(viewers), WRITES_PER_TURN):
                some = viewers[first : first + WRITES_PER_TURN]
                if first:
                    await self._count_writes(0)
                    some = [viewer for viewer in some if viewer in opened.viewers]  # Not gone.
                tell_all(room_id, handles, some, told_tick, to, shared)
                self._writes += len(some)
        await self._count_writes(len(kept))  # So much for all that is not written for a room.

    async def _conclude(self, work: Work, answer: CommitAnswer) -> None:
        """Answer all who asked, show the room to those who wait for it, and go on with it."""
        opened, output = work.opened, work.output
        self._answer(work, answer)
        for seat in output.vacated:
            self._let_go(opened, seat)
        opened.seats_told = work.seats_taken
        again: dict[int, SharedFrame] = {}  # What several of those who come back have missed.
        for shown in work.shown:
            await self._count_writes(self._show(work, shown, again))
            if opened.gone:
                return
        if _tells_roster(work):
            await self._tell_roster(opened, work.roster or [])
        if opened.inbox:
            self._activate(opened)
        self._keep_snapshot(work)
        if output.ended:
            self._end_room(opened)

    async def _count_writes(self, count: int) -> None:
        self._writes += count
        if self._writes >= WRITES_PER_TURN:
            self._writes = 0
            await asyncio.sleep(0)

    def _answer(self, work: Work, answer: CommitAnswer) -> None:
        """Answer all who asked for something but to be shown the room."""
        opened, output = work.opened, work.output
        for seat, told in output.echoes:
            viewer = opened.by_seat.get(seat)
            if viewer is not None:
                viewer.send(codec.outcomes(output.room_id, [told]))
        if output.pending:
            self._rule(work, {verdict.reference: verdict for verdict in answer.verdicts})
        now_ms = self._clock.wall_ms()
        for name, code, arrival_ms in output.counts:
            # The wall's clock may have been set back meanwhile.
            latency_ms = max(now_ms - arrival_ms, 0)
            self._metrics.count_command(name, _outcome_name(code), latency_ms)
        for leave in work.left:
            if self._audience.met(leave):
                leave.viewer.send(codec.reply_ok(leave.request, []))

    def _rule(self, work: Work, verdicts: dict[str, Verdict]) -> None:
        """Answer the commands whose holds were ruled on, and let the room know."""
        opened, output = work.opened, work.output
        for pending in output.pending:
            code = code_of(verdicts[pending.reference])
            told = outcome(pending.number, output.tick, code, opened.room.reasons)
            viewer = opened.by_seat.get(pending.seat)
            if viewer is not None:
                viewer.send(codec.outcomes(output.room_id, [told]))
            opened.inbox.put(Ruled(pending.reference, code))

    def _let_go(self, opened: OpenRoom, seat: int) -> None:
        """Show the frames of a seat that was given up to nobody any more."""
        viewer = opened.by_seat.get(seat)
        if viewer is not None:
            self._audience.leave(opened, viewer, LeftCode.LEFT)

    # --- Joining.

    def _show(self, work: Work, shown: Shown, again: dict[int, SharedFrame]) -> int:
        """Answer somebody who joins, and show the room; return how much was written."""
        opened, join, seat = work.opened, shown.join, shown.seat
        viewer = join.viewer
        if not self._audience.met(join):
            self._audience.note_absence(opened, viewer.account)
            return 0
        if join.request is None:
            self._catch_up(opened, shown)
            return 1
        if seat is None:
            reason = opened.room.reasons.get(shown.refused)
            code = _REFUSED.get(reason.name if reason else "", ReplyCode.REFUSED)
            viewer.send(codec.reply_error(join.request, code, reason.name if reason else ""))
            return 1
        missed, why = self._missed(opened, shown)
        handle = self._audience.enter(opened, viewer, seat)
        row = opened.row
        viewer.send(
            codec.joined(
                Joined(
                    request=join.request,
                    room=row.room_id,
                    code=row.code,
                    game=row.game,
                    rules_version=opened.room.game.rules_version,
                    seat=seat,
                    highest_number=opened.highest_number(viewer.account),
                    resume=int(missed is not None),
                    reason=why,
                    handle=handle,
                )
            )
        )
        if missed is None:
            self._send_full(viewer, opened, shown)
        else:
            told_tick = shown.join.closed_tick or 0
            for frames in missed:
                shared = None
                if frames.shared is not None:
                    shared = again.setdefault(frames.tick, SharedFrame(frames.shared))
                _tell(viewer, opened, told_tick, frames.private.get(seat), shared)
                told_tick = frames.tick
        if not _tells_roster(work):  # Else to all, and soon.
            own = [] if seat == WATCHING else [(seat, viewer.account, viewer.name)]
            viewer.send(codec.roster(row.room_id, own if work.roster is None else work.roster))
        return 2 + len(missed or ())

    def _missed(self, opened: OpenRoom, shown: Shown) -> tuple[list[Frames] | None, str]:
        closed_tick = shown.join.closed_tick
        if closed_tick is None:
            return None, ""
        if closed_tick < shown.since_tick:
            missed, why = None, "the seat is another one now"
        elif closed_tick > shown.tick:
            missed, why = None, "that tick has not been"
        else:
            missed, why = opened.ring.since(closed_tick), "too long ago"
        if missed is None:
            self._metrics.resumed_full_total += 1
            return None, why
        self._metrics.resumed_gapless_total += 1
        return missed, ""

    def _catch_up(self, opened: OpenRoom, shown: Shown) -> None:
        viewer, seat = shown.join.viewer, shown.seat
        if seat is None or opened.viewers.get(viewer) != seat:
            return
        self._metrics.caught_up_total += 1
        room_id, closed_tick = opened.row.room_id, shown.join.closed_tick or 0
        missed = opened.ring.since(closed_tick) if closed_tick >= 0 else None
        viewer.joined(room_id)
        if missed is None:
            self._send_full(viewer, opened, shown)
            told = [outcome for outcome in shown.outcomes if outcome.tick > closed_tick]
            if told:  # A full state has none, and those that were missed come only once.
                viewer.send(codec.outcomes(room_id, told))
        elif missed:
            private, shared = merged(missed, seat)
            frame = None if shared is None else SharedFrame(shared)
            _tell(viewer, opened, closed_tick, private, frame)

    def _send_full(self, viewer: Viewer, opened: OpenRoom, shown: Shown) -> None:
        full = codec.full(opened.row.room_id, shown.tick, shown.public, shown.private)
        viewer.send(full)

    async def _tell_roster(self, opened: OpenRoom, roster: Roster) -> None:
        payload = codec.roster(opened.row.room_id, roster)
        for viewer in tuple(opened.viewers):
            if viewer in opened.viewers:  # It may have gone while others had their turn.
                viewer.send(payload)
                await self._count_writes(1)


_REFUSED = {"ROOM_FULL": ReplyCode.ROOM_FULL, "ROOM_ENDED": ReplyCode.ROOM_ENDED}


def in_turns(works: Iterable[Work]) -> Iterator[Collection[Work]]:
    """Yield works in order, as many at once as a turn has writes, none of them of the same room.

    Whoever is shown a room after a tick must be among those who are told of its next.
    """
    some: dict[OpenRoom, Work] = {}
    writes = 0
    for work in works:
        if writes >= WRITES_PER_TURN or work.opened in some:
            yield some.values()
            some, writes = {}, 0
        some[work.opened] = work
        writes += 1 + len(work.opened.viewers)
    yield some.values()


def tell_all(
    room_id: int,
    handles: Mapping[Viewer, int],
    viewers: Sequence[Viewer],
    told_tick: int,
    private: Mapping[Viewer, bytes],
    shared: SharedFrame | None,
) -> None:
    """Send a tick to some viewers of its room; nearly all get the same frame, and at once.

    Between two writes nothing is done but what a viewer needs: the kernel has just emptied the
    processor's caches, and here is nearly all that the server does (scripts.bench.fanout).
    """
    frame = b"" if shared is None else shared.frame(0)
    at_once = 0
    for viewer in viewers:
        write = viewer.write_at_once
        if frame and write is not None and viewer not in private and viewer not in handles:
            write(frame)
            at_once += 1
        else:
            handle = handles.get(viewer, 0)
            viewer.deliver(room_id, handle, told_tick, private.get(viewer), shared)
    if at_once:
        viewers[0].count_at_once(at_once, at_once * len(frame))


def _tell(
    viewer: Viewer,
    opened: OpenRoom,
    told_tick: int,
    private: bytes | None,
    shared: SharedFrame | None,
) -> None:
    """Send one viewer what it missed of a tick, or of several."""
    if private is not None or shared is not None:
        handle = opened.handles.get(viewer, 0)
        viewer.deliver(opened.row.room_id, handle, told_tick, private, shared)


def _tells_roster(work: Work) -> bool:
    """Tell whether everybody is to know who sits in the room now."""
    return work.roster is not None and bool(work.output.seated or work.output.vacated)


def _outcome_name(code: int) -> str:
    if code > 0:
        return "refused"
    return {0: "accepted", -1: "failed"}.get(code, "pending")

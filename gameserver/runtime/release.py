"""Tells what has become durable: outcomes, deltas, full states, in the order of their ticks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gameserver.engine.commands import outcome
from gameserver.engine.inputs import Lost, Ruled
from gameserver.runtime.audience import Audience
from gameserver.runtime.clock import Clock
from gameserver.runtime.merging import merged
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.recovery import code_of
from gameserver.runtime.ring import Frames
from gameserver.runtime.viewers import SharedFrame, Viewer
from gameserver.runtime.work import WATCHING, OpenRoom, Shown, Work
from persistence.interfaces import CommitAnswer, Verdict
from protocol import codec
from protocol.messages import Joined, LeftCode, ReplyCode

ROSTER_SEATS_MAX = 60  # Larger rooms tell nobody all the names; whoever joins learns its own.
WRITES_PER_TURN = 256  # About 2 ms of writing; then the event loop gets a turn.

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
            Callable[[OpenRoom, LeftCode], None],
            Callable[[Work], None],
        ],
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._audience = audience
        self._activate, self._close_room, self._keep_snapshot = then
        self.on_balances: OnBalances = lambda balances: None
        self._writes = 0

    def balances(self, answer: CommitAnswer) -> None:
        """Pass on the balances that a commit changed."""
        if answer.balances:
            self.on_balances(answer.balances)

    async def release(self, work: Work, answer: CommitAnswer) -> None:
        """Tell all that came of one tick; sockets and slots get their turns in between."""
        opened, output = work.opened, work.output
        await self._deliver(opened, work)
        if opened.gone:
            return
        for seat, told in output.echoes:
            viewer = opened.by_seat.get(seat)
            if viewer is not None:
                viewer.send(codec.outcomes(output.room_id, [told]))
        if output.pending:
            self._rule(work, {verdict.reference: verdict for verdict in answer.verdicts})
        now_ms = self._clock.wall_ms()
        for name, code, arrival_ms in output.counts:
            self._metrics.count_command(name, _outcome_name(code), now_ms - arrival_ms)
        for seat, viewer, request in work.left:
            self._let_go(opened, seat, viewer, request)
        for shown in work.shown:
            self._show(opened, shown)
        if output.seated or work.left:
            self._tell_roster(opened)
        self._keep_snapshot(work)
        if output.ended:
            self._metrics.rooms_ended_total += 1
            self._close_room(opened, LeftCode.ENDED)

    async def _deliver(self, opened: OpenRoom, work: Work) -> None:
        output = work.output
        private = output.private
        if output.shared is not None:
            shared = SharedFrame(_compact(output.shared))
            opened.ring.keep(Frames(output.tick, shared, private))
            room_id, tick = output.room_id, output.tick
            for viewer, seat in tuple(opened.viewers.items()):
                if viewer in opened.viewers:  # It may have gone while others had their turn.
                    viewer.deliver(room_id, tick, private.get(seat), shared)
                    await self._count_write()
        elif private:
            opened.ring.keep(Frames(output.tick, None, private))
            for seat, frame in private.items():
                addressee = opened.by_seat.get(seat)
                if addressee is not None:
                    addressee.deliver(output.room_id, output.tick, frame, None)
                    await self._count_write()

    async def _count_write(self) -> None:
        self._writes += 1
        if self._writes >= WRITES_PER_TURN:
            self._writes = 0
            await asyncio.sleep(0)

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
        self._activate(opened)

    def _let_go(self, opened: OpenRoom, seat: int, viewer: Viewer, request: int) -> None:
        if opened.viewers.get(viewer) == seat:
            viewer.send(codec.reply_ok(request, []))
            self._audience.leave(opened, viewer, LeftCode.LEFT)

    # --- Joining.

    def _show(self, opened: OpenRoom, shown: Shown) -> None:
        join, seat = shown.join, shown.seat
        viewer = join.viewer
        if not self._audience.met(join):
            if seat is not None and seat != WATCHING and seat not in opened.by_seat:
                opened.inbox.put(Lost(seat))
                self._activate(opened)
            return
        if seat is None:
            reason = opened.room.reasons.get(shown.refused)
            code = _REFUSED.get(reason.name if reason else "", ReplyCode.REFUSED)
            assert join.request is not None, "Who is in the room has a seat, or watches."
            viewer.send(codec.reply_error(join.request, code, reason.name if reason else ""))
            return
        if join.request is None:
            self._catch_up(opened, shown)
            return
        self._audience.enter(opened, viewer, seat, shown.tick)
        missed, why = self._missed(opened, shown)
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
                    highest_number=shown.highest_number,
                    resume=int(missed is not None),
                    reason=why,
                )
            )
        )
        if missed is None:
            self._send_full(viewer, opened, shown)
        else:
            for frames in missed:
                viewer.deliver(row.room_id, frames.tick, frames.private.get(seat), frames.shared)
        self._send_roster(opened, viewer)

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
        closed_tick = shown.join.closed_tick
        missed = None
        if closed_tick is not None and closed_tick >= 0:
            missed = opened.ring.since(closed_tick)
        viewer.joined(opened.row.room_id, seat, shown.tick)
        if missed is None:
            self._send_full(viewer, opened, shown)
        elif missed:
            private, shared = merged(opened.row.room_id, missed, seat)
            viewer.deliver(
                opened.row.room_id,
                shown.tick,
                private,
                None if shared is None else SharedFrame(shared),
            )

    def _send_full(self, viewer: Viewer, opened: OpenRoom, shown: Shown) -> None:
        full = codec.full(opened.row.room_id, shown.tick, shown.public, shown.private)
        viewer.send(_compact(full))

    # --- Names.

    def _tell_roster(self, opened: OpenRoom) -> None:
        if len(opened.room.seats) <= ROSTER_SEATS_MAX:
            roster = codec.roster(opened.row.room_id, self._roster(opened))
            for viewer in opened.viewers:
                viewer.send(roster)

    def _send_roster(self, opened: OpenRoom, viewer: Viewer) -> None:
        rows = self._roster(opened)
        if len(rows) > ROSTER_SEATS_MAX:
            rows = [row for row in rows if row[1] == viewer.account]
        viewer.send(codec.roster(opened.row.room_id, rows))

    def _roster(self, opened: OpenRoom) -> list[tuple[int, int, str]]:
        room = opened.room
        accounts = [(seat, room.account(seat)) for seat in room.seats.keys_in_order()]
        return [(seat, account, opened.names.get(account, "")) for seat, account in accounts]


_REFUSED = {"ROOM_FULL": ReplyCode.ROOM_FULL, "ROOM_ENDED": ReplyCode.ROOM_ENDED}


def _outcome_name(code: int) -> str:
    if code > 0:
        return "refused"
    return {0: "accepted", -1: "failed"}.get(code, "pending")


def _compact(payload: bytes) -> bytes:
    """Compress what is large, once for everybody."""
    return payload if len(payload) < codec.ZIP_BYTES_MIN else codec.zipped(payload)

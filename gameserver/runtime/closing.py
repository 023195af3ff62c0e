"""Takes rooms out of this process, and tells everybody who is shown them or waits to be.

Why a room goes is decided elsewhere: by its rules, by an error, by whoever assigns shards.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from gameserver.runtime.audience import Audience
from gameserver.runtime.opening import Opening
from gameserver.runtime.viewers import Viewer
from gameserver.runtime.work import OpenRoom
from protocol import codec
from protocol.messages import LeftCode, ReplyCode

log = structlog.get_logger(__name__)

MOVED_RETRY_MS = 20
REMOVED_RETRY_MS = 1_000


class Closing:
    """The ways in which a room ends here.

    ``whereabouts`` tells where the rooms of a shard that we lost go on: an address, "" if that is
    not known yet, None if nobody else serves them.
    """

    def __init__(self, opening: Opening, audience: Audience) -> None:
        self._opening = opening
        self._audience = audience
        self._metrics = opening.metrics
        self.whereabouts: Callable[[int], str | None] = lambda shard: None
        self.on_closed: Callable[[int], None] = lambda room_id: None

    def end(self, opened: OpenRoom) -> None:
        """Close a room that has ended by its rules."""
        if self._close(opened, LeftCode.ENDED):
            self._metrics.rooms_ended_total += 1
            self.on_closed(opened.row.room_id)

    def set_aside(self, opened: OpenRoom, note: str) -> None:
        """Drop a room that cannot go on; an operator finds it as it was last durable."""
        if self._close(opened, LeftCode.SET_ASIDE):
            room_id = opened.row.room_id
            log.error("room_set_aside", room_id=room_id, game=opened.row.game, note=note)
            self._metrics.rooms_set_aside_total += 1
            self._opening.set_aside(opened.row, note)
            self.on_closed(room_id)

    def shard_lost(self, shard: int) -> None:
        """Close all rooms of a shard that is not ours any more."""
        url = None if shard in self._opening.keeper.refused else self.whereabouts(shard)
        for opened in self._opening.of_shards({shard}):
            if url is None:
                self._close(opened, LeftCode.REMOVED)
            else:
                self._move(opened, url)

    def _move(self, opened: OpenRoom, url: str) -> None:
        """Close a room that goes on at another node; "" if its viewers shall ask where."""
        room_id = opened.row.room_id
        moved = codec.moved(room_id, url, "")
        self._let_go(
            opened,
            lambda viewer: self._audience.dismiss(opened, viewer, moved),
            (ReplyCode.UNAVAILABLE, MOVED_RETRY_MS),
        )

    def _close(self, opened: OpenRoom, code: LeftCode) -> bool:
        retry_ms = REMOVED_RETRY_MS if code is LeftCode.REMOVED else -1
        return self._let_go(
            opened,
            lambda viewer: self._audience.leave(opened, viewer, code),
            (_REPLY[code], retry_ms),
        )

    def _let_go(
        self, opened: OpenRoom, dismiss: Callable[[Viewer], None], answer: tuple[ReplyCode, int]
    ) -> bool:
        """Take the room out and let its people go; false if that was done before."""
        if opened.gone:
            return False
        opened.gone = True
        self._opening.rooms.pop(opened.row.room_id, None)
        self._metrics.rooms_open[opened.row.game] -= 1
        for viewer in tuple(opened.viewers):
            dismiss(viewer)
        code, retry_ms = answer
        for asked in tuple(opened.unanswered):
            self._audience.met(asked)
            if asked.request is not None:
                asked.viewer.send(codec.reply_error(asked.request, code, "", retry_ms))
        return True


_REPLY = {
    LeftCode.ENDED: ReplyCode.ROOM_ENDED,
    LeftCode.SET_ASIDE: ReplyCode.ROOM_SET_ASIDE,
    LeftCode.REMOVED: ReplyCode.UNAVAILABLE,
}

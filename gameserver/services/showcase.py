"""Lets the rooms of this node be found from all nodes: keeps their lines in the index.

The index is a hint. When it is lost, what is here is published again within a moment.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from gameserver.runtime.clock import NS_PER_MS, Clock
from gameserver.services.lobby import Lobby
from persistence.directory import DirectoryUnavailable, RoomLine
from persistence.interfaces import RoomRow

INTERVAL_S = 1.0
LIFE_MS = 30_000
AGAIN_NS = 10_000 * NS_PER_MS  # Lines that have not changed; a wiped index is whole after this.
LINES_AT_ONCE = 500
CALL_TIMEOUT_S = 1.0
assert AGAIN_NS * 2 < LIFE_MS * NS_PER_MS

log = structlog.get_logger(__name__)


class RoomIndex(Protocol):
    """Where lines are published."""

    async def publish(self, lines: list[RoomLine], gone: list[int], life_ms: int) -> None: ...


class Showcase:
    """Publishes the listed rooms of a lobby: those that changed, and the others now and then."""

    def __init__(self, index: RoomIndex, lobby: Lobby, clock: Clock) -> None:
        self._index = index
        self._lobby = lobby
        self._clock = clock
        # What is in the index: the line, and when it was published.
        self._told: dict[int, tuple[RoomLine, int]] = {}

    async def run(self) -> None:
        """Publish at intervals, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.publish()
            except (DirectoryUnavailable, TimeoutError) as error:
                log.warning("index_not_written", error=repr(error))

    async def publish(self) -> None:
        """Publish what is new, what has changed, and what would lapse."""
        now_ns = self._clock.now_ns()
        here = {line.room_id: line for line in self._lines()}
        due = [line for line in here.values() if self._is_due(line, now_ns)]
        gone = []
        for line, _ in [told for room_id, told in self._told.items() if room_id not in here]:
            if self._lobby.is_here(line.shard):
                gone.append(line.room_id)
            else:  # Whoever has it now publishes it.
                del self._told[line.room_id]
        while due or gone:
            lines, due = due[:LINES_AT_ONCE], due[LINES_AT_ONCE:]
            ended, gone = gone[:LINES_AT_ONCE], gone[LINES_AT_ONCE:]
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._index.publish(lines, ended, LIFE_MS)
            self._told.update((line.room_id, (line, now_ns)) for line in lines)
            for room_id in ended:
                del self._told[room_id]

    def _lines(self) -> list[RoomLine]:
        rows = [row for row in self._lobby.known if row.listed and row.game in self._lobby.games]
        return [self._line(row) for row in rows]

    def _line(self, row: RoomRow) -> RoomLine:
        one = self._lobby.line(row)
        told = self._told.get(row.room_id)
        return RoomLine(
            *(row.room_id, row.code, row.game, row.shard, one.seats_taken, one.seats_max),
            serial=told[0].serial if told else self._clock.wall_ms(),
        )

    def _is_due(self, line: RoomLine, now_ns: int) -> bool:
        told, told_ns = self._told.get(line.room_id, (None, 0))
        return told != line or now_ns - told_ns >= AGAIN_NS

"""Works of rooms that wait for locks which somebody else holds, while the other rooms go on.

A room whose work waits here does not tick, and what it had decided meanwhile waits behind, in
order. Each room is tried again by itself, ever more seldom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from gameserver.runtime.clock import NS_PER_MS, Clock
from gameserver.runtime.work import OpenRoom, Work

WAIT_FIRST_NS, WAIT_MOST_NS = 50 * NS_PER_MS, 1_000 * NS_PER_MS

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Stall:
    wait_ns: int
    due_ns: int
    # Bounded: the room does not tick, so only what was on its way already comes here.
    works: list[Work] = field(default_factory=list)


class Stalls:
    """The rooms that wait, each with its works."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stalls: dict[OpenRoom, _Stall] = {}

    def __bool__(self) -> bool:
        """Tell whether any room waits."""
        return bool(self._stalls)

    @property
    def due_ns(self) -> int | None:
        """Return when the next room is to be tried again."""
        return min((stall.due_ns for stall in self._stalls.values()), default=None)

    def is_due(self) -> bool:
        """Tell whether any room is to be tried again now."""
        due_ns = self.due_ns
        return due_ns is not None and due_ns <= self._clock.now_ns()

    def stall(self, works: Sequence[Work]) -> None:
        """Have these works wait; a room that waited before waits longer."""
        now_ns = self._clock.now_ns()
        for opened in dict.fromkeys(work.opened for work in works):
            stall = self._stalls.get(opened)
            wait_ns = WAIT_FIRST_NS if stall is None else min(stall.wait_ns * 2, WAIT_MOST_NS)
            if stall is None:
                opened.stalled_since_ns = now_ns
                log.warning("room_stalled", room_id=opened.row.room_id)
            behind = [] if stall is None else stall.works
            mine = [work for work in works if work.opened is opened]
            self._stalls[opened] = _Stall(wait_ns, now_ns + wait_ns, mine + behind)

    def divert(self, works: Sequence[Work]) -> list[Work]:
        """Return the works of rooms that do not wait; put the others behind those that do."""
        going: list[Work] = []
        for work in works:
            stall = self._stalls.get(work.opened)
            if stall is None or not stall.works:
                going.append(work)
            else:
                stall.works.append(work)
        return going

    def take_due(self) -> list[Work]:
        """Return the works of all rooms that are to be tried again now; then call ``settle``."""
        now_ns = self._clock.now_ns()
        taken: list[Work] = []
        for stall in self._stalls.values():
            if stall.due_ns <= now_ns:
                taken += stall.works
                stall.works = []
        return taken

    def settle(self) -> None:
        """Let all rooms go whose works have been taken and have not come back."""
        for opened, stall in tuple(self._stalls.items()):
            if not stall.works:
                del self._stalls[opened]
                opened.stalled_since_ns = None

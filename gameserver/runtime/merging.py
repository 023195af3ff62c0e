"""Several ticks as one: for a viewer who was too slow to take them one by one.

Of the changes to a field the last counts, and nothing that was said of a record before it went.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gameserver.engine.inputs import packed
from gameserver.runtime.ring import Frames
from protocol import codec


def merged(frames: Sequence[Frames], seat: int) -> tuple[bytes | None, bytes | None]:
    """Return one private and one shared tail that stand for all of these; None for nothing."""
    shared = [codec.opened_delta_tail(one.shared) for one in frames if one.shared is not None]
    private = [
        codec.opened_private_tail(one.private[seat]) for one in frames if seat in one.private
    ]
    tick = frames[-1].tick
    shared_out = private_out = None
    if shared:
        changes = _merged_changes(changes for _, _, changes in shared)
        shared_out = codec.delta_tail(tick, _step(tick, *shared[0][:2]), packed(changes))
    if private:
        changes = _merged_changes(changes for _, _, changes, _ in private)
        outcomes = [outcome for *_, outcomes in private for outcome in outcomes]
        step = _step(tick, *private[0][:2])
        private_out = codec.private_tail(
            tick, step, packed(changes), outcomes, shared_out is not None
        )
    return private_out, shared_out


def _step(tick: int, first_tick: int, first_step: int) -> int:
    """Return how far it is from what the first one builds on."""
    return tick - first_tick + first_step


def _merged_changes(lists: Iterable[list[Any]]) -> list[Any]:
    merging = _Merging()
    for flat in lists:
        for at in range(0, len(flat), 3):
            record, field, value = flat[at : at + 3]
            if field == 0:
                merging.turn(record, value)
            else:
                merging.last[record, field] = value
    return merging.changes()


class _Merging:
    """The last word on each field, after all that went.

    Also of a record that came in between it is said that it went: the private frame of the tick in
    which it came may have named it too.
    """

    def __init__(self) -> None:
        self.last: dict[tuple[int, int], Any] = {}
        self.gone: dict[int, None] = {}

    def turn(self, record: int, value: Any) -> None:
        """Take in that a record appears or goes; what was said of it before counts no more."""
        if value is not None:
            self.last[record, 0] = value
            return
        for key in [key for key in self.last if key[0] == record]:
            del self.last[key]
        self.gone[record] = None

    def changes(self) -> list[Any]:
        flat: list[Any] = []
        for record in self.gone:
            flat += (record, 0, None)
        for (record, field), value in self.last.items():
            flat += (record, field, value)
        return flat

"""The beat when there is too much to do in it: slower for all alike, and time goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.runtime.metrics import Metrics
from gameserver.runtime.overload import Overload
from gameserver.runtime.slots import SLOTS, Slots
from tests.runtime.rig import VirtualClock
from tests.virtual import run, spend_ms, virtual


class Beat:
    """Slots that take as long as a test says, and how often each has run."""

    def __init__(
        self, costs_ms: Sequence[float], is_paused: Callable[[], bool] = lambda: False
    ) -> None:
        clock, self.metrics = VirtualClock(), Metrics()
        self.overload = Overload(clock, self.metrics)
        self.costs_ms = costs_ms
        self.runs: Counter[int] = Counter()
        self.beats: list[tuple[int, int]] = []
        self._is_paused = is_paused
        self._slots = Slots(clock, self.metrics, self._run, is_paused, self.overload)

    def _run(self, slot: int, beat: int) -> None:
        if self._is_paused():
            return
        self.runs[slot] += 1
        self.beats.append((beat, slot))
        spend_ms(self.costs_ms[slot])

    async def __aenter__(self) -> Self:
        self._running = asyncio.get_running_loop().create_task(self._slots.run())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._slots.stop()
        await self._running

    def check_even(self) -> None:
        """Expect all slots to have run as often, in order, and no beat twice."""
        assert max(self.runs.values()) - min(self.runs[slot] for slot in range(SLOTS)) <= 1
        assert self.beats == sorted(set(self.beats))


@virtual
async def test_a_beat_that_can_be_kept_skips_nothing() -> None:
    async with Beat([9.0] * SLOTS) as beat:
        await asyncio.sleep(10.0)
    beat.check_even()
    assert beat.runs[0] == pytest.approx(200, abs=1)
    assert beat.metrics.slots_skipped_total == 0
    assert beat.metrics.beat_ms == pytest.approx(50.0)
    assert beat.overload.reason == ""


@virtual
async def test_a_beat_of_twice_what_there_is_time_for_takes_twice_as_long_for_everybody() -> None:
    async with Beat([20.0] * SLOTS) as beat:
        await asyncio.sleep(10.0)
    beat.check_even()
    assert beat.runs[0] == pytest.approx(100, abs=2)
    assert beat.beats[-1][0] == pytest.approx(200, abs=2), "the game's time goes on"
    assert beat.metrics.slots_skipped_total == pytest.approx(500, abs=10)
    assert beat.metrics.beat_ms == pytest.approx(100.0, rel=0.25)


@given(st.lists(st.sampled_from([0, 1, 9, 11, 30, 49, 50, 51, 90, 250]), min_size=5, max_size=5))
def test_whatever_slots_cost_no_room_is_passed_over(costs_ms: list[int]) -> None:
    async def kept() -> None:
        async with Beat(costs_ms) as beat:
            await asyncio.sleep(12.0)
        beat.check_even()

    run(kept())


@given(st.integers(1, 400), st.integers(1, 400))
def test_pauses_that_come_again_and_again_pass_over_nobody(ticking_ms: int, paused_ms: int) -> None:
    async def kept() -> None:
        began_s = asyncio.get_running_loop().time()

        def is_paused() -> bool:
            passed_ms = (asyncio.get_running_loop().time() - began_s) * 1000
            return passed_ms % (ticking_ms + paused_ms) >= ticking_ms

        async with Beat([0.0] * SLOTS, is_paused) as beat:
            await asyncio.sleep(12.0)
        beat.check_even()
        assert not beat.beats or beat.beats[-1][0] <= len(beat.beats) / SLOTS + 1, "no time passed"

    run(kept())

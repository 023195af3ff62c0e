"""The simulation's own floor: time that jumps, processes that die, links that break."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.simulation.loop import Deadlock, Process, SimLoop


def run(loop: SimLoop, main: object) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(main)  # type: ignore[arg-type]
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_time_passes_only_when_all_wait() -> None:
    loop = SimLoop()
    began_s = loop.time()

    async def main() -> None:
        await asyncio.sleep(3600)

    run(loop, main())
    assert loop.time() - began_s == pytest.approx(3600)


def test_what_waits_for_ever_is_noticed() -> None:
    loop = SimLoop()

    async def main() -> None:
        await loop.create_future()

    with pytest.raises(Deadlock):
        run(loop, main())


def test_a_killed_process_does_nothing_more_not_even_at_its_end() -> None:
    loop = SimLoop()
    done: list[str] = []
    process = Process("one")

    async def work() -> None:
        try:
            done.append("began")
            await asyncio.sleep(1)
            done.append("went on")
        finally:
            done.append("ended")

    async def main() -> None:
        loop.spawn(process, work())
        await asyncio.sleep(0.5)
        loop.kill(process)
        await asyncio.sleep(5)
        assert done == ["began"]
        await loop.bury(process)

    run(loop, main())
    assert done == ["began", "ended"]


def test_a_frozen_process_goes_on_where_it_was_and_late() -> None:
    loop = SimLoop()
    times: list[float] = []
    process = Process("one")

    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            times.append(loop.time() - 1000)

    async def main() -> None:
        loop.spawn(process, work())
        await asyncio.sleep(1.5)
        process.is_frozen = True
        await asyncio.sleep(5)
        assert len(times) == 1
        loop.thaw(process)
        await asyncio.sleep(2)

    run(loop, main())
    assert times == pytest.approx([1, 6.5, 7.5])


def test_the_seed_decides_what_runs_first() -> None:
    def order(seed: int) -> list[int]:
        loop = SimLoop(Random(seed))
        ran: list[int] = []

        async def one(number: int) -> None:
            await asyncio.sleep(1)
            ran.append(number)

        async def main() -> None:
            async with asyncio.TaskGroup() as tasks:
                for number in range(8):
                    tasks.create_task(one(number))

        run(loop, main())
        return ran

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) > 1
    assert sorted(order(3)) == list(range(8))

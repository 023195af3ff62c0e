"""What waits for storage: bounded, with a deadline, and owned by a task group."""

import asyncio
from functools import partial

import pytest

from gameserver.net import jobs
from gameserver.net.jobs import Jobs
from persistence.interfaces import StorageUnavailable
from tests.net.rig import Rig


async def test_a_job_that_takes_too_long_is_ended_and_told_as_unavailable(rig: Rig) -> None:
    ann = await rig.player()
    connection = rig.connection(ann.account)
    told: list[str] = []

    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    async with asyncio.TaskGroup() as tasks:
        Jobs(tasks, deadline_s=0.01).start(connection, never, partial(told.append, "unavailable"))
        assert connection.requests_in_flight == 1
    assert told == ["unavailable"]
    assert connection.requests_in_flight == 0
    assert connection.is_open


@pytest.mark.parametrize("error", [StorageUnavailable(), TimeoutError()])
async def test_a_job_that_storage_fails_is_told_as_unavailable(rig: Rig, error: Exception) -> None:
    ann = await rig.player()
    connection = rig.connection(ann.account)
    told: list[str] = []

    async def fail() -> None:
        raise error

    async with asyncio.TaskGroup() as tasks:
        Jobs(tasks).start(connection, fail, partial(told.append, "unavailable"))
    assert told == ["unavailable"]
    assert connection.is_open


async def test_a_job_with_a_mistake_of_ours_closes_its_connection_and_ends_nothing_else(
    rig: Rig,
) -> None:
    ann = await rig.player()

    async def fail() -> None:
        raise RuntimeError("a bug")

    async with asyncio.TaskGroup() as tasks:
        started = Jobs(tasks)
        started.start(rig.connection(ann.account), fail, lambda: None)
        await asyncio.sleep(0)
        assert not started.is_full
    assert await ann.close_code() == 4003


async def test_no_more_than_the_bound_wait_at_a_time(rig: Rig) -> None:
    ann = await rig.player()
    connection = rig.connection(ann.account)
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with asyncio.TaskGroup() as tasks:
        started = Jobs(tasks)
        for _ in range(jobs.IN_FLIGHT_MAX):
            assert not started.is_full
            started.start(connection, wait, lambda: None)
        assert started.is_full
        gate.set()
    assert not started.is_full

"""Many who ask at the same time, and what becomes of them when the call fails or is given up."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from gameserver.services.together import KEYS_MAX, Together
from persistence.interfaces import StorageUnavailable


class Storage:
    """Answers when a test says so."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.is_away = False

    async def names(self, keys: Sequence[int]) -> Mapping[int, str]:
        self.calls.append(list(keys))
        await self.may_answer.wait()
        if self.is_away:
            raise StorageUnavailable("away")
        return {key: f"name {key}" for key in keys if key < 100}


async def turn() -> None:
    """Let all that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_is_alone_is_asked_for_at_once_and_who_comes_meanwhile_goes_together() -> None:
    storage = Storage()
    together: Together[int, str] = Together(storage.names)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(together.about(1))
        await turn()
        others = [tasks.create_task(together.about(key)) for key in (2, 3, 2, 100)]
        await turn()
        assert storage.calls == [[1]]
        storage.may_answer.set()
    assert first.result() == "name 1"
    assert [one.result() for one in others] == ["name 2", "name 3", "name 2", None]
    assert storage.calls == [[1], [2, 3, 2, 100]]
    assert await together.about(4) == "name 4"
    assert storage.calls[2:] == [[4]]


async def outcome(together: Together[int, str], key: int) -> str | None:
    """Return the answer, or what storage said instead."""
    try:
        return await together.about(key)
    except StorageUnavailable as error:
        return str(error)


async def test_a_call_that_fails_is_told_to_each_who_went_along() -> None:
    storage = Storage()
    storage.is_away = True
    together: Together[int, str] = Together(storage.names)
    async with asyncio.timeout(5.0), asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(outcome(together, key)) for key in (1, 2, 3)]
        await turn()
        storage.may_answer.set()
    assert [one.result() for one in asking] == ["away"] * 3
    assert storage.calls == [[1], [2, 3]], "storage that is away is not asked for each"
    storage.is_away = False
    assert await together.about(5) == "name 5"


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_who_gives_up_takes_nobody_along(place: int) -> None:
    """One of three gives up: while it asks, while it is the first to wait, or another."""
    storage = Storage()
    together: Together[int, str] = Together(storage.names)
    async with asyncio.timeout(5.0), asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(together.about(1))]
        await turn()
        asking += [tasks.create_task(together.about(key)) for key in (2, 3)]
        await turn()
        asking.pop(place).cancel()
        await turn()
        asking.append(tasks.create_task(together.about(4)))
        await turn()
        storage.may_answer.set()
    assert len(storage.calls) == 2 + (place == 0), "those who wait go together all the same"
    answers = [one.result() for one in asking]
    assert answers == [f"name {key}" for key in (1, 2, 3) if key != place + 1] + ["name 4"]
    assert await together.about(5) == "name 5"


async def test_no_more_go_together_than_may_go_on_at_once() -> None:
    storage = Storage()
    together: Together[int, str] = Together(storage.names)
    async with asyncio.timeout(5.0), asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(together.about(key % 90)) for key in range(3 * KEYS_MAX)]
        await turn()
        storage.may_answer.set()
    assert [one.result() for one in asking] == [f"name {key % 90}" for key in range(3 * KEYS_MAX)]
    assert max(map(len, storage.calls)) == KEYS_MAX
    assert len(storage.calls) == 4

"""Any sequence of calls: every server says what the directory in memory says.

Time hardly passes in these sequences; what lapses has tests of its own.
"""

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistence.directory import LEASE_MS_MAX, Directory, DirectoryError
from persistence.memory_directory import DirectoryWorld, MemoryDirectory
from persistence.redis.directory import RedisDirectory
from scripts.redis_server import Engine
from tests.persistence.directories import CLUSTER, line, record
from tests.persistence.directory_fixture import UrlOf

LIFE_MS = 60_000

_examples = itertools.count(1)

_name = st.sampled_from("abc")
_shards = st.lists(st.integers(0, 7), unique=True, max_size=5)
_limit = st.integers(0, 5)
_game = st.sampled_from(["keno", "quiz"])
_line = st.builds(
    line,
    room_id=st.integers(1, 6),
    game=_game,
    seats_taken=st.integers(0, 4),
    serial=st.integers(1, 3),
)
_record = st.builds(record, _name, st.sampled_from(["first", "second"]), load=st.integers(0, 3))

_calls = st.one_of(
    st.tuples(st.just("beat"), _record, _shards, st.just(LEASE_MS_MAX)),
    st.tuples(
        st.just("take_leases"), _name, _shards, st.lists(_name, max_size=2), st.just(LEASE_MS_MAX)
    ),
    st.tuples(st.just("pass_leases"), _name, _name, _shards, st.just(LEASE_MS_MAX)),
    st.tuples(st.just("leave"), _record),
    st.tuples(st.just("ask_to_drain"), _name),
    st.tuples(
        st.just("publish"),
        st.lists(_line, max_size=4, unique_by=lambda one: one.room_id),
        st.lists(st.integers(1, 6), max_size=2),
        st.just(LIFE_MS),
    ),
    st.tuples(st.just("places"), _game, _limit),
    st.tuples(st.just("lines"), st.lists(st.integers(1, 6), max_size=4)),
)


@pytest.mark.parametrize("engine", Engine)
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True
)
@given(calls=st.lists(_calls, max_size=25))
def test_any_calls_get_the_answers_of_the_directory_in_memory(
    engine: Engine, url_of: UrlOf, calls: list[tuple[Any, ...]]
) -> None:
    asyncio.run(_play(url_of(engine), calls))


async def _play(url: str, calls: list[tuple[Any, ...]]) -> None:
    memory = MemoryDirectory(DirectoryWorld(), lambda: 1_000_000)
    real = RedisDirectory(url, f"example-{next(_examples)}")
    await memory.start(CLUSTER)
    await real.start(CLUSTER)
    try:
        for call in calls:
            assert await _said(real, call) == await _said(memory, call), call
            assert await real.view() == await memory.view(), call
    finally:
        await real.stop()


async def _said(directory: Directory, call: tuple[Any, ...]) -> Any:
    name, *arguments = call
    try:
        return await getattr(directory, name)(*arguments)
    except DirectoryError as error:
        return type(error)

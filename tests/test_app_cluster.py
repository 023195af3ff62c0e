"""What a node checks before it becomes one of several."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import structlog.testing

from gameserver.app_cluster import cluster_id, warn_if_anothers, warn_if_unreachable
from gameserver.config import Config, ConfigError
from gameserver.runtime.clock import SystemClock
from gameserver.runtime.cluster import Identity
from persistence.directory import NodeRecord
from persistence.memory import MemoryStore

ALONE = Config()
AMONG_OTHERS = replace(ALONE, redis="redis://h", postgres="postgresql:///x")
HOUR_MS = 3_600_000


class WrongClock(SystemClock):
    """A machine's clock that is off."""

    def __init__(self, off_ms: int) -> None:
        self._off_ms = off_ms

    def wall_ms(self) -> int:
        return super().wall_ms() + self._off_ms


async def test_a_cluster_keeps_the_number_of_shards_that_it_was_made_with() -> None:
    store = MemoryStore()
    made = await cluster_id(replace(AMONG_OTHERS, shards=32), store, SystemClock())
    assert await cluster_id(replace(AMONG_OTHERS, shards=32), store, SystemClock()) == made
    for config in (AMONG_OTHERS, ALONE):
        with pytest.raises(ConfigError, match=r"made with 32.*64 is not allowed"):
            await cluster_id(config, store, SystemClock())


@pytest.mark.parametrize(("off_ms", "how"), [(HOUR_MS, "3600 s ahead of"), (-HOUR_MS, "behind")])
async def test_a_machine_whose_clock_is_off_by_an_hour_is_told_so(off_ms: int, how: str) -> None:
    store, clock = MemoryStore(), WrongClock(off_ms)
    with pytest.raises(ConfigError, match=f"{how} the database's"):
        await cluster_id(AMONG_OTHERS, store, clock)
    assert await cluster_id(ALONE, store, clock), "a node alone makes and reads its own tokens"
    assert await cluster_id(AMONG_OTHERS, store, WrongClock(10_000)), "as far as tokens allow"


async def test_an_address_of_its_own_that_nobody_can_reach_is_told_of() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with structlog.testing.capture_logs() as told:
            await warn_if_unreachable(f"ws://127.0.0.1:{port}/ws", f"127.0.0.1:{port}")
            assert told == []
            await warn_if_unreachable("ws://127.0.0.1:1/ws", f"127.0.0.1:{port}")
            await warn_if_unreachable(f"ws://127.0.0.1:{port}/ws", "[::1]:1")
            await warn_if_unreachable(f"ws://0.0.0.0:{port}/ws", f"127.0.0.1:{port}")
    assert [one["setting"] for one in told] == ["advertise", "peer_address", "advertise"]


def test_an_address_of_its_own_that_is_another_nodes_is_told_of() -> None:
    me = Identity("a", "a-1", "ws://h:1/ws", "h:2", ())
    itself = NodeRecord("a", "a-1", me.url, me.peer, 1, 0, 0, 0, (), 0, False)
    other = NodeRecord("b", "b-1", "ws://h:3/ws", "h:4", 1, 0, 0, 0, (), 0, False)
    with structlog.testing.capture_logs() as told:
        warn_if_anothers(me, (itself, other))
        assert told == []
        warn_if_anothers(me, (itself, replace(other, url=me.url)))
        warn_if_anothers(me, (itself, replace(other, peer=me.peer)))
    assert [(one["setting"], one["node"]) for one in told] == [
        ("advertise", "b"),
        ("peer_address", "b"),
    ]

"""A real server that goes away, comes back empty, stands still or changes under a directory."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict

import msgspec
import pytest

from persistence.directory import (
    CLAIM_MS,
    DRAIN_MS,
    ClusterView,
    DirectoryUnavailable,
    DirectoryUnusable,
)
from persistence.redis import packing
from persistence.redis.connection import CALL_TIMEOUT_S, CALLS_AT_ONCE_MAX
from persistence.redis.directory import RedisDirectory
from scripts.faulting.relay import Relay
from scripts.redis_server import RedisServer
from tests.persistence.directories import CLUSTER, LEASE_MS, line, record
from tests.persistence.directory_fixture import MakeServer

LIFE_MS = 10_000
# What a call may need beyond its deadline on a machine that has other things to do.
SLACK_S = 1.0


@pytest.fixture
async def directory(redis_server: RedisServer) -> AsyncIterator[RedisDirectory]:
    """Return a directory on a server that the test may do anything to."""
    directory = RedisDirectory(redis_server.url, "gs")
    await directory.start(CLUSTER)
    yield directory
    await directory.stop()


async def test_a_server_that_is_not_there_yet_can_be_tried_again(
    redis_server: RedisServer,
) -> None:
    redis_server.kill()
    directory = RedisDirectory(redis_server.url, "gs")
    with pytest.raises(DirectoryUnavailable):
        await directory.start(CLUSTER)
    redis_server.start()
    await directory.start(CLUSTER)
    assert await directory.view() == ClusterView()
    await directory.stop()


async def test_the_first_call_after_a_restart_succeeds_and_fills_an_empty_server(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.beat(record("a"), [0], LEASE_MS)
    await directory.beat(record("b"), [1], LEASE_MS)
    redis_server.kill()
    redis_server.start()
    view = await directory.beat(record("a"), [0], LEASE_MS)
    assert view == ClusterView((record("a"),), {0: "a"})


async def test_whoever_is_cancelled_in_a_call_stops_however_far_the_call_is(
    directory: RedisDirectory,
) -> None:
    async def call_for_ever() -> None:
        while True:
            with suppress(DirectoryUnavailable):
                await directory.view()

    gone_on: list[int] = []
    for steps in range(60):
        async with asyncio.TaskGroup() as tasks:
            calling = tasks.create_task(call_for_ever())
            for _ in range(steps):
                await asyncio.sleep(0)
            calling.cancel()
            while not (await asyncio.wait([calling], timeout=CALL_TIMEOUT_S))[0]:
                gone_on.append(steps)
                calling.cancel()
    assert gone_on == [], "steps of the loop after which to cancel had no effect"


async def test_a_server_that_is_away_is_said_to_be_at_once(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.beat(record(), [0], LEASE_MS)
    redis_server.kill()
    began_s = time.monotonic()
    with pytest.raises(DirectoryUnavailable):
        await directory.beat(record(), [0], LEASE_MS)
    with pytest.raises(DirectoryUnavailable):
        await directory.places("quiz", 10)
    assert time.monotonic() - began_s < SLACK_S


async def test_a_wiped_server_is_claimed_and_filled_by_the_next_beat(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.beat(record(), [0], LEASE_MS)
    await directory.publish([line(1)], (), LIFE_MS)
    redis_server.wipe()
    assert (await directory.beat(record(), [0], LEASE_MS)).leases == {0: "a"}
    assert await directory.places("quiz", 10) == ()
    other = RedisDirectory(redis_server.url, "gs")
    with pytest.raises(DirectoryUnusable, match="another cluster"):
        await other.start("c2")
    await other.stop()


async def test_a_server_that_forgot_the_scripts_learns_them_again(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.beat(record(), [0], LEASE_MS)
    assert redis_server.tell("SCRIPT FLUSH") == "+OK"
    assert (await directory.beat(record(), [1], LEASE_MS)).leases == {0: "a", 1: "a"}


async def test_a_frozen_server_costs_a_deadline_and_no_wrong_answer(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.publish([line(1), line(2, game="keno")], (), LIFE_MS)
    redis_server.freeze()
    began_s = time.monotonic()
    with pytest.raises(DirectoryUnavailable):
        await directory.places("quiz", 10)
    assert time.monotonic() - began_s < CALL_TIMEOUT_S + SLACK_S
    redis_server.thaw()
    assert await directory.places("keno", 10) == (line(2, game="keno"),)
    assert await directory.places("quiz", 10) == (line(1),)


async def test_nobody_reads_the_answer_to_a_call_that_was_cancelled(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.publish([line(1), line(2, game="keno")], (), LIFE_MS)
    redis_server.freeze()
    async with asyncio.TaskGroup() as tasks:
        # More than may be under way at once: some are cancelled while they wait for their turn.
        asked = [
            tasks.create_task(directory.places("quiz", 10)) for _ in range(CALLS_AT_ONCE_MAX * 2)
        ]
        await asyncio.sleep(0.05)
        for task in asked:
            task.cancel()
    redis_server.thaw()
    for _ in range(CALLS_AT_ONCE_MAX * 2):
        assert await directory.places("keno", 10) == (line(2, game="keno"),)


async def test_many_calls_at_once_get_each_their_own_answer(directory: RedisDirectory) -> None:
    rooms = range(1, 101)
    await directory.publish([line(room_id) for room_id in rooms], (), LIFE_MS)
    async with asyncio.TaskGroup() as tasks:
        asked = {room: tasks.create_task(directory.lines([room])) for room in rooms}
    assert all(task.result() == (line(room),) for room, task in asked.items())


async def test_a_server_that_becomes_a_replica_is_unavailable_until_it_is_promoted(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.beat(record(), [0], LEASE_MS)
    assert redis_server.tell("REPLICAOF 127.0.0.1 1") == "+OK"
    with pytest.raises(DirectoryUnavailable):
        await directory.beat(record(), [0], LEASE_MS)
    assert redis_server.tell("REPLICAOF NO ONE") == "+OK"
    assert (await directory.beat(record(), [0], LEASE_MS)).leases == {0: "a"}


async def test_after_a_failover_the_address_leads_to_the_new_primary(
    make_server: MakeServer,
) -> None:
    before, after = make_server(), make_server()
    async with asyncio.TaskGroup() as tasks:
        relay = Relay(tasks)
        relay.target = ("127.0.0.1", before.port)
        await relay.start()
        directory = RedisDirectory(f"redis://127.0.0.1:{relay.port}", "gs")
        await directory.start(CLUSTER)
        assert before.tell("REPLICAOF 127.0.0.1 1") == "+OK"
        relay.target = ("127.0.0.1", after.port)
        with pytest.raises(DirectoryUnavailable, match="replica"):
            await directory.beat(record(), [0], LEASE_MS)
        assert (await directory.beat(record(), [0], LEASE_MS)).leases == {0: "a"}
        await directory.stop()
        await relay.stop()


async def test_a_network_that_stands_still_costs_a_deadline(redis_server: RedisServer) -> None:
    async with asyncio.TaskGroup() as tasks:
        relay = Relay(tasks)
        relay.target = ("127.0.0.1", redis_server.port)
        await relay.start()
        directory = RedisDirectory(f"redis://127.0.0.1:{relay.port}", "gs")
        await directory.start(CLUSTER)
        relay.hold()
        began_s = time.monotonic()
        with pytest.raises(DirectoryUnavailable):
            await directory.beat(record(), [0], LEASE_MS)
        assert time.monotonic() - began_s < CALL_TIMEOUT_S + SLACK_S
        relay.let_go()
        assert (await directory.beat(record("b"), [1], LEASE_MS)).leases[1] == "b"
        await directory.stop()
        await relay.stop()


async def test_a_call_under_way_leaves_no_connection_behind_a_stop(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.publish([line(1)], (), LIFE_MS)
    redis_server.freeze()
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(directory.places("quiz", 10))
        await asyncio.sleep(0.02)
        await directory.stop()
        redis_server.thaw()
    assert asked.result() == (line(1),)
    await asyncio.sleep(0.01)  # The loop closes it in its next turns.
    assert redis_server.tell("CLIENT KILL TYPE normal") == ":0"


async def test_a_server_without_memory_is_unavailable_until_it_has_some(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    assert redis_server.tell("CONFIG SET maxmemory 1") == "+OK"
    with pytest.raises(DirectoryUnavailable, match="OOM"):
        await directory.beat(record(), [0], LEASE_MS)
    assert redis_server.tell("CONFIG SET maxmemory 0") == "+OK"
    assert (await directory.beat(record(), [0], LEASE_MS)).leases == {0: "a"}


async def test_a_password_that_comes_later_makes_it_unavailable_until_it_goes(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.beat(record(), [0], LEASE_MS)
    assert redis_server.tell("CONFIG SET requirepass s3cret") == "+OK"
    assert redis_server.tell("CLIENT KILL TYPE normal").startswith("-NOAUTH")
    await directory.stop()  # As a lost connection would.
    with pytest.raises(DirectoryUnusable, match="password"):
        await directory.start(CLUSTER)


async def test_a_cluster_that_fell_silent_leaves_nothing_to_the_next(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.beat(record("a"), [0], LEASE_MS)
    await directory.ask_to_drain("a")
    await directory.publish([line(1)], (), LIFE_MS)
    _age(redis_server, CLAIM_MS - 5_000)
    other = RedisDirectory(redis_server.url, "gs")
    with pytest.raises(DirectoryUnusable, match="another cluster"):
        await other.start("c2")

    _age(redis_server, 5_000)
    await other.start("c2")
    assert await other.view() == ClusterView()
    assert await other.places("quiz", 10) == ()
    with pytest.raises(DirectoryUnavailable, match="another cluster"):
        await directory.beat(record("a"), [0], LEASE_MS)
    await other.stop()


async def test_what_was_given_before_the_clock_went_back_does_not_stand_for_ever(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.beat(record("a"), [0], LEASE_MS)
    await directory.publish([line(1)], (), LIFE_MS)
    hour_ms = 3_600_000
    for key, member in (
        ("node-ends", "a"),
        ("lease-ends", "0"),
        ("line-ends", f"{1:016x}"),
    ):
        assert redis_server.tell(f"ZINCRBY {{gs}}:{key} {hour_ms} {member}").startswith("$")
    view = await directory.beat(record("b"), [0], LEASE_MS)
    assert view == ClusterView((record("b"),), {0: "b"})
    assert await directory.places("quiz", 10) == ()


async def test_an_operators_word_lapses(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.beat(record("a"), [], LEASE_MS)
    assert await directory.ask_to_drain("a")
    redis_server.tell(f"ZINCRBY {{gs}}:drain-ends -{DRAIN_MS} a")
    assert (await directory.view()).drains == frozenset()


async def test_a_prefix_that_nobody_uses_is_forgotten_some_day(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    await directory.beat(record("a"), [0], LEASE_MS)
    await directory.publish([line(1)], (), LIFE_MS)
    _age(redis_server, 2_000)
    await directory.beat(record("a"), [0], LEASE_MS)
    for key in ("cluster", "nodes", "leases", "lease-ends", "lines", "order"):
        left_ms = int(redis_server.tell(f"PTTL {{gs}}:{key}").removeprefix(":"))
        assert 0 < left_ms <= 86_400_000


async def test_a_record_that_cannot_be_read_hides_nobody_else(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    assert redis_server.tell("HSET {gs}:nodes x rubbish") == ":1"
    view = await directory.beat(record("a"), [0], LEASE_MS)
    assert view.nodes == (record("a"),)


@pytest.mark.parametrize("shard", ["1.5", "-1e30", "nan"])
async def test_leases_that_cannot_be_read_are_no_reason_to_fail(
    directory: RedisDirectory, redis_server: RedisServer, shard: str
) -> None:
    await directory.beat(record("a"), [0], LEASE_MS)
    assert redis_server.tell(f"HSET {{gs}}:leases {shard} a") == ":1"
    redis_server.tell("HINCRBY {gs}:cluster changes 1")
    with pytest.raises(DirectoryUnavailable, match="cannot be read"):
        await directory.beat(record("a"), [0], LEASE_MS)
    redis_server.tell(f"HDEL {{gs}}:leases {shard}")
    assert (await directory.beat(record("a"), [0], LEASE_MS)).leases == {0: "a"}


async def test_a_name_that_cannot_be_read_is_nobody_s(
    directory: RedisDirectory, redis_server: RedisServer
) -> None:
    assert redis_server.tell('HSET {gs}:drains "\\xff" x') == ":1"
    view = await directory.beat(record("a"), [0], LEASE_MS)
    assert "a" not in view.drains


def test_a_record_of_a_newer_version_is_read_as_far_as_it_goes() -> None:
    newer = msgspec.msgpack.encode(asdict(record("a")) | {"colour": "green"})
    older = msgspec.msgpack.encode({"name": "b", "instance": "b1"})
    assert packing.nodes([older, newer]) == (record("a"),)


async def test_keys_are_followed_to_their_server_in_a_cluster(make_server: MakeServer) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    servers = [make_server(*options) for _ in range(2)]
    # The second has our keys, and the first, which will be told so, is asked.
    slot = servers[0].tell("CLUSTER KEYSLOT {gs}:nodes").removeprefix(":")
    assert servers[1].tell(f"CLUSTER ADDSLOTS {slot}") == "+OK"
    assert servers[0].tell(f"CLUSTER MEET 127.0.0.1 {servers[1].port}") == "+OK"
    directory = RedisDirectory(servers[0].url, "gs")
    async with asyncio.timeout(20):
        while True:
            try:
                await directory.start(CLUSTER)
                break
            except DirectoryUnavailable:  # They get to know each other.
                await asyncio.sleep(0.05)
    assert (await directory.beat(record(), [0], LEASE_MS)).leases == {0: "a"}
    assert servers[1].tell("EXISTS {gs}:leases") == ":1"
    await directory.stop()


def _age(server: RedisServer, ms: int) -> None:
    """Let it be longer ago that the cluster was heard of."""
    assert server.tell(f"HINCRBY {{gs}}:cluster heard_ms -{ms}").startswith(":")

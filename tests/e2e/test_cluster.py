"""Several real nodes on one PostgreSQL and one Valkey, as an operator starts them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gameserver.exits import EXIT_REDIS, EXIT_USAGE
from persistence.embedded import EmbeddedPostgres
from protocol.client import Client, ClientRoom, Options
from scripts.redis_server import RedisServer
from tests.e2e.server import ROOT, ServerProcess
from tests.e2e.test_kill import accepted_bets

pytestmark = pytest.mark.slow

OPTIONS = Options(backoff_ms=20, backoff_max_ms=200)
SETTLED_S = 15.0


@dataclass(frozen=True)
class Shared:
    """What all nodes of a cluster have in common."""

    folder: Path
    dsn: str
    redis: RedisServer

    def flags(self, *more: str) -> tuple[str, ...]:
        keys = str(self.folder / "keys.json")
        return ("--postgres", self.dsn, "--redis", self.redis.url, "--keys", keys, *more)

    @contextmanager
    def node(self, name: str, *more: str) -> Iterator[ServerProcess]:
        """Give a node that runs, and end it afterwards."""
        server = ServerProcess(self.folder / name, *self.flags("--node-name", name, *more))
        server.start()
        try:
            yield server
        finally:
            server.stop()

    def refused(self, *more: str, redis_url: str | None = None) -> tuple[int, str]:
        """Start a node that cannot run; return its exit code and last line."""
        flags = self.flags("--port", "0", "--admin-port", "0", *more)
        if redis_url is not None:
            flags += ("--redis", redis_url)
        command = [sys.executable, "-m", "gameserver", "serve", *flags]
        command += ["--data-dir", str(self.folder / "refused"), "--log-level", "error"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
        return done.returncode, done.stderr.strip().splitlines()[-1]


@asynccontextmanager
async def shared(folder: Path) -> AsyncIterator[Shared]:
    """Give a PostgreSQL and a Valkey."""
    redis = RedisServer(folder / "redis")
    await asyncio.to_thread(redis.start)
    try:
        async with EmbeddedPostgres(folder / "postgres") as postgres:
            yield Shared(folder, postgres.dsn, redis)
    finally:
        await asyncio.to_thread(redis.stop)


async def room_at(node: ServerProcess, client: Client) -> ClientRoom:
    """Make a keno room at a node, and join it with a client of another."""
    async with Client(node.url, name="host", options=OPTIONS) as host:
        room_id, _ = await host.create("keno", settings={"round_seconds": 2})
    return await client.join(room_id=room_id, timeout_ms=10_000)


async def shares(*nodes: ServerProcess) -> None:
    """Wait until nodes have given each other their shares."""
    async with asyncio.timeout(SETTLED_S):
        before = -1
        while True:
            given = sum(
                event["count"]
                for node in nodes
                for event in node.events
                if event["event"] == "shards_given"
            )
            if given == before and given:
                return
            before = given
            await asyncio.sleep(1.0)


async def test_a_player_is_led_to_rooms_of_other_nodes_and_follows_when_their_node_is_killed(
    tmp_path: Path,
) -> None:
    async with shared(tmp_path) as cluster:
        with cluster.node("a") as first, cluster.node("b") as second:
            await shares(first, second)
            async with Client(first.url, name="ann", options=OPTIONS) as ann:
                room = await room_at(second, ann)
                assert ann.counters.redirects == 1
                assert await accepted_bets(room, 2) == 2
                second.kill()
                assert await accepted_bets(room, 2) == 2
                assert (ann.counters.resumed_gapless, ann.counters.resumed_full) == (1, 0)
                assert ann.counters.desyncs == 0
                history = await ann.request("wallet", [100])
                assert len([row for row in history if row[1] == "hold"]) == 4
            second.start()
        assert first.errors() == []


async def test_a_rolling_restart_under_play_loses_nothing_and_fails_nothing(
    tmp_path: Path,
) -> None:
    async with shared(tmp_path) as cluster:
        with cluster.node("a") as first, cluster.node("b") as second:
            await shares(first, second)
            async with Client(first.url, name="ann", options=OPTIONS) as ann:
                rooms = [await room_at(first, ann), await room_at(second, ann)]
                for node in (first, second, first):
                    assert await asyncio.to_thread(node.stop) == 0
                    for room in rooms:
                        await accepted_bets(room, 1)
                    await asyncio.to_thread(node.start)
                assert ann.counters.moved >= 2
                assert ann.counters.resumed_full == 0
                assert ann.counters.desyncs == 0


async def test_behind_one_address_a_node_relays_what_it_has_not(tmp_path: Path) -> None:
    async with shared(tmp_path) as cluster:
        relay = ("--route", "relay")
        with cluster.node("a", *relay) as first, cluster.node("b", *relay) as second:
            await shares(first, second)
            async with Client(first.url, name="ann", options=OPTIONS) as ann:
                room = await room_at(second, ann)
                assert await accepted_bets(room, 2) == 2
                assert ann.counters.redirects == 0
                second.kill()
                assert await accepted_bets(room, 2) == 2
                assert ann.counters.resumed_full == 0
                assert ann.counters.disconnects == 0
            second.start()


async def test_redis_that_is_wiped_killed_or_frozen_is_noticed_by_no_player(
    tmp_path: Path,
) -> None:
    async with shared(tmp_path) as cluster:
        redis = cluster.redis
        with cluster.node("a") as first, cluster.node("b") as second:
            await shares(first, second)
            async with Client(first.url, name="ann", options=OPTIONS) as ann:
                rooms = [await room_at(first, ann), await room_at(second, ann)]
                for injure, heal in (
                    (redis.wipe, lambda: None),
                    (redis.kill, redis.start),
                    (redis.freeze, redis.thaw),
                ):
                    await asyncio.to_thread(injure)
                    await asyncio.sleep(3.0)
                    for room in rooms:
                        await accepted_bets(room, 1)
                    await asyncio.to_thread(heal)
                    await asyncio.sleep(1.0)
                assert ann.counters.disconnects == 0
                assert ann.counters.moved == 0


async def test_what_does_not_fit_into_a_cluster_does_not_start_and_says_why(tmp_path: Path) -> None:
    async with shared(tmp_path) as cluster:
        with cluster.node("a"):
            code, why = await asyncio.to_thread(cluster.refused, "--shards", "32")
            assert (code, "was made with 64" in why) == (EXIT_USAGE, True), why
            code, why = await asyncio.to_thread(cluster.refused, "--node-name", "a")
            assert (code, "has this name" in why) == (EXIT_USAGE, True), why
            async with EmbeddedPostgres(tmp_path / "other") as other:
                code, why = await asyncio.to_thread(cluster.refused, "--postgres", other.dsn)
            assert (code, "another cluster" in why) == (EXIT_REDIS, True), why
        nobody = "redis://127.0.0.1:1/0"
        code, why = await asyncio.to_thread(cluster.refused, redis_url=nobody)
        assert code == EXIT_REDIS, why
        assert "hunter2" not in why

"""Several workers under a supervisor: real processes that share a port, a database and a Valkey."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gameserver.exits import EXIT_DRAIN_RAN_OUT, EXIT_FAILED, EXIT_REDIS, EXIT_USAGE
from protocol.client import Client, Options
from scripts.redis_server import RedisServer
from tests.e2e.server import ServerProcess
from tests.e2e.test_kill import accepted_bets
from tests.e2e.test_operating import told
from tests.net.rig import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

OPTIONS = Options(backoff_ms=20, backoff_max_ms=200)
WORKERS = 2
STEP_S = 0.1
SOON_S = 30.0


class Workers(ServerProcess):
    """A supervisor with its workers."""

    def __init__(self, folder: Path, redis_url: str, *flags: str) -> None:
        self.admin = free_port()
        self.own_ports = _free_ports()
        super().__init__(
            folder,
            *("--workers", str(WORKERS), "--redis", redis_url, "--admin-port", str(self.admin)),
            *("--worker-port", str(self.own_ports[0]), *flags),
        )

    def asked(self, path: str) -> tuple[int, str]:
        """Ask the one page for all."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as found:
                return found.status, found.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def samples(self, name: str, **labels: str) -> dict[str, float]:
        """Return a metric by worker."""
        return {
            one.labels["worker"]: one.value
            for family in text_string_to_metric_families(self.asked("/metrics")[1])
            for one in family.samples
            if one.name == name and labels.items() <= one.labels.items()
        }

    def pids(self) -> list[int]:
        """Return the process of each worker that was started last."""
        started = [one for one in self.events if one["event"] == "worker_started"]
        return list({one["worker"]: one["pid"] for one in started}.values())

    def seen(self, event: str) -> list[dict[str, object]]:
        """Return what was logged of an event."""
        return [one for one in self.events if one["event"] == event]


def _free_ports() -> range:
    """Return ports next to each other that nobody has, below those that are given to anybody."""
    for _ in range(100):
        first = random.randrange(10_000, 32_000)
        found = range(first, first + WORKERS)
        if all(map(_is_free, found)):
            return found
    raise AssertionError("no ports are free")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """Return the address of a Valkey."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server.url
    server.stop()


@asynccontextmanager
async def running(folder: Path, redis_url: str, *flags: str) -> AsyncIterator[Workers]:
    """Give workers that are all ready and have half of the shards each."""
    workers = Workers(folder, redis_url, *flags)
    await asyncio.to_thread(workers.start)
    try:
        await settled(workers)
        yield workers
    finally:
        await asyncio.to_thread(workers.stop)


async def until(met: Callable[[], bool]) -> None:
    """Wait for something to be so."""
    deadline_s = time.monotonic() + SOON_S
    while not await asyncio.to_thread(met):
        assert time.monotonic() < deadline_s, "it is not so in time"
        await asyncio.sleep(STEP_S)


async def settled(workers: Workers) -> None:
    """Wait until all are ready and have as many shards as they should."""
    await until(lambda: workers.asked("/readyz") == (200, "ready\n"))
    await until(
        lambda: workers.samples("gameserver_shards_owned") == {"0": 32.0, "1": 32.0},
    )


def lives(pid: int) -> bool:
    """Tell whether there is a process, also if nobody has asked for its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("route", ["redirect", "relay"])
async def test_workers_share_a_port_and_a_killed_one_is_started_again_while_all_play_on(
    tmp_path: Path, redis_url: str, route: str
) -> None:
    async with running(tmp_path, redis_url, "--route", route) as workers:
        assert workers.asked("/livez") == (200, "alive\n")
        # What a terminal sends to a group is not for workers: they would hear it twice.
        assert os.getpgid(workers.pid) not in map(os.getpgid, workers.pids())
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    Client(workers.url, name=f"bot{number}", options=OPTIONS)
                )
                for number in range(16)
            ]
            came = workers.samples("gameserver_handshakes_accepted_total")
            assert min(came.values()) >= 1, "players come to all workers"
            rooms = []
            for client in clients[:4]:
                room_id, _ = await client.create("keno", settings={"round_seconds": 2})
                rooms += [await one.join(room_id=room_id) for one in clients[:4]]
            mine = rooms[::5]  # Each of the first four in a room of its own.
            for room in mine:
                await accepted_bets(room, 1)
            os.kill(workers.pids()[0], 9)
            for room in mine:
                await accepted_bets(room, 1)
            assert sum(client.counters.desyncs for client in clients) == 0
        await settled(workers)
        (ended,) = workers.seen("worker_ended")
        assert (ended["worker"], ended["exit_code"]) == (0, -9)
        assert workers.samples("gameserver_worker_restarts_total") == {"0": 1, "1": 0}
        assert workers.samples("gameserver_worker_up") == {"0": 1, "1": 1}
        latency = workers.samples("command_latency_ms_bucket", command="Bet", le="+Inf")
        assert sum(latency.values()) >= len(mine)
        pids = workers.pids()
        assert await asyncio.to_thread(workers.stop) == 0
        assert not any(map(lives, pids))
        assert not workers.errors()


async def test_without_a_supervisor_there_are_no_workers_and_the_next_one_finds_every_room(
    tmp_path: Path, redis_url: str
) -> None:
    async with running(tmp_path, redis_url) as workers:
        async with Client(workers.url, name="ann", options=OPTIONS) as ann:
            room = await ann.join(game="keno")
            await accepted_bets(room, 1)
            os.kill(workers.pids()[1], 19)  # One cannot even hear that it is to go.
            workers.kill()
            await until(lambda: not lives(workers.pids()[0]))
            os.kill(workers.pids()[1], 18)
            await until(lambda: not lives(workers.pids()[1]))
            await asyncio.to_thread(workers.start)
            await accepted_bets(room, 1)
        assert await asyncio.to_thread(workers.stop) == 0


async def test_a_second_signal_ends_workers_that_have_not_drained(
    tmp_path: Path, redis_url: str
) -> None:
    async with running(tmp_path, redis_url) as workers:
        pids = workers.pids()
        os.kill(pids[0], 19)
        os.kill(workers.pid, 15)
        await until(lambda: workers.asked("/readyz") == (503, "not ready: draining\n"))
        assert await asyncio.to_thread(workers.stop) == EXIT_DRAIN_RAN_OUT
        assert not any(map(lives, pids))


@pytest.mark.parametrize(
    ("flags", "code", "error"),
    [
        (("--redis", "redis://127.0.0.1:1"), EXIT_REDIS, "error: "),
        (("--games", "chess"), EXIT_USAGE, "error: games: 'chess'"),
        (("--shards", "7", "--redis-prefix", "x"), EXIT_USAGE, "the cluster was made with 64"),
    ],
)
async def test_what_a_person_has_to_mend_ends_the_supervisor_with_its_code(
    tmp_path: Path, redis_url: str, flags: tuple[str, ...], code: int, error: str
) -> None:
    if "--shards" in flags:
        async with running(tmp_path, redis_url) as workers:
            assert await asyncio.to_thread(workers.stop) == 0
    workers = Workers(tmp_path, redis_url, *flags)
    with pytest.raises(AssertionError) as caught:
        await asyncio.to_thread(workers.start)
    assert error in str(caught.value)
    assert workers.stop() == code


async def test_operators_see_nodes_and_shards_and_renew_a_worker_by_draining_it(
    tmp_path: Path, redis_url: str
) -> None:
    async def operators(*words: str, code: int = 0) -> Any:
        where = ("--redis", redis_url) if words[-1] != "alone" else ()
        asked = [word for word in words if word != "alone"]
        return await asyncio.to_thread(told, tmp_path, *asked, *where, code=code)

    async with running(tmp_path, redis_url, "--node-name", "play") as workers:
        nodes = {one["node"]: one for one in await operators("nodes", "--json")}
        assert nodes.keys() == {"play-0", "play-1"}
        urls = [f"ws://127.0.0.1:{port}/ws" for port in workers.own_ports]
        assert [one["url"] for one in nodes.values()] == urls
        assert [(one["shards"], one["state"]) for one in nodes.values()] == [(32, "serving")] * 2
        shards = await operators("shards", "--json")
        assert [one["shard"] for one in shards] == list(range(64))
        assert {one["owner"] for one in shards} == nodes.keys()
        assert not [one for one in shards if one["differs"] or one["lease"] != one["owner"]]
        alone = await operators("shards", "--json", "alone")
        assert {one["lease"] for one in alone} == {None}
        assert "0 of 64 differ" in await operators("shards")
        async with Client(workers.url, name="ann", options=OPTIONS) as ann:
            room = await ann.join(game="keno")
            await accepted_bets(room, 1)
            (line,) = await operators("rooms", "--json")
            home = line["node"]
            assert home in nodes
            assert await operators("drain", home) == f"{home} has left\n"
            await accepted_bets(room, 1)
            assert (ann.counters.resumed_full, ann.counters.desyncs) == (0, 0)
        await settled(workers)
        (ended,) = workers.seen("worker_ended")
        assert (ended["exit_code"], ended["again_in_s"]) == (0, 0)
        assert "there is no node 'b'; there are: play-0, play-1" in await operators(
            "drain", "b", code=EXIT_FAILED
        )
        assert "still has 32 shards" in await operators(
            "drain", "play-0", "--timeout", "0s", code=EXIT_FAILED
        )
        assert "expected a duration" in await operators(
            "drain", "play-0", "--timeout", "soon", code=EXIT_USAGE
        )
        assert "redis is not given" in await operators("nodes", "alone", code=EXIT_USAGE)
        assert await asyncio.to_thread(workers.stop) == 0
    assert await operators("nodes", "--json") == []
    assert {one["owner"] for one in await operators("shards", "--json")} == {""}
    nowhere = ("nodes", "--redis", "redis://127.0.0.1:1", "alone")
    assert "error: redis: " in await operators(*nowhere, code=EXIT_REDIS)

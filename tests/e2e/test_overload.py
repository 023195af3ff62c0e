"""Twice as much as a server can do: newcomers wait, everybody is slower alike, nothing is lost."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from protocol import codec
from protocol.client import (
    AnswerTimeout,
    Client,
    ClientRoom,
    Options,
    RequestRefused,
    Transport,
    WebSocketTransport,
    dial_websocket,
)
from protocol.closes import CloseCode
from protocol.messages import AnyOutbound, Goodbye
from protocol.view import GAME_RECORD
from scripts.bench.measuring import resident_bytes
from tests.e2e.burning_game import SUM, TICKS
from tests.e2e.server import ServerProcess, running
from tests.net.rig import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROOMS = 20
WORK_US = 5_000  # Ten rooms fill a beat of 50 ms: twenty are twice as much as there is time for.
OPTIONS = Options(backoff_ms=50, backoff_max_ms=400)
WATCHED_S = 4.0
SOON_S = 10.0
LATENCY_MS_MAX = 1_500.0
GROWTH_BYTES_MAX = 24 * 2**20


class Asked:
    """What the operators' port of a server says."""

    def __init__(self, admin_port: int) -> None:
        self._url = f"http://127.0.0.1:{admin_port}"

    def _page(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self._url + path, timeout=5) as found:
                return found.status, found.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    async def ready(self) -> tuple[int, str]:
        """Return whether players can be served, and what is said about it."""
        return await asyncio.to_thread(self._page, "/readyz")

    async def metric(self, name: str) -> float:
        """Return a number without labels."""
        _, page = await asyncio.to_thread(self._page, "/metrics")
        found = {
            sample.name: sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if not sample.labels
        }
        return found[f"gameserver_{name}"]


class Player:
    """Somebody with a room of their own, who adds one again and again."""

    def __init__(self, client: Client, room: ClientRoom, sockets: list[Transport]) -> None:
        self.client = client
        self.room = room
        self._sockets = sockets
        self.accepted = 0
        self.latencies_ms: list[float] = []

    @property
    def ticks(self) -> int:
        """How often the room has ticked, as far as was told."""
        return int(self.room.view.value(GAME_RECORD, TICKS, 0))

    async def burn(self, work_us: int) -> None:
        """Have the room work."""
        assert (await self.room.command([1, work_us], timeout_ms=30_000)).accepted

    async def add(self) -> None:
        """Add one."""
        began_s = time.monotonic()
        assert (await self.room.command([2], timeout_ms=30_000)).accepted
        self.accepted += 1
        self.latencies_ms.append((time.monotonic() - began_s) * 1000)

    def check_sum(self) -> None:
        """Expect the room to have every one that was added, once."""
        assert self.room.view.value(GAME_RECORD, SUM) == self.accepted > 0
        assert self.client.counters.desyncs == 0

    async def break_connection(self) -> None:
        """Lose the connection, and be there again under another one."""
        before = self.client.counters.resumed_gapless + self.client.counters.resumed_full
        socket = self._sockets[-1]
        assert isinstance(socket, WebSocketTransport)
        socket._socket.transport.abort()
        await until(
            lambda: (
                self.client.counters.resumed_gapless + self.client.counters.resumed_full > before
            )
        )


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(SOON_S):
        while not holds():  # noqa: ASYNC110  What is waited for happens elsewhere.
            await asyncio.sleep(0.02)


async def until_ready(asked: Asked, status: int) -> str:
    """Wait until the server says whether it can take anybody; return what it says."""
    async with asyncio.timeout(SOON_S):
        while True:
            found, told = await asked.ready()
            if found == status:
                return told
            await asyncio.sleep(0.1)


@asynccontextmanager
async def players(server: ServerProcess) -> AsyncIterator[list[Player]]:
    """Let in one player for each room."""
    async with AsyncExitStack() as stack:
        made = []
        for number in range(ROOMS):
            sockets: list[Transport] = []

            async def dial(url: str, kept: list[Transport] = sockets) -> Transport:
                kept.append(await dial_websocket(url))
                return kept[-1]

            options = Options(backoff_ms=50, backoff_max_ms=400, dial=dial)
            client = await stack.enter_async_context(
                Client(server.url, name=f"p{number}", options=options)
            )
            room_id, _ = await client.create("burning")
            made.append(Player(client, await client.join(room_id=room_id), sockets))
        yield made


@asynccontextmanager
async def adding(everybody: list[Player]) -> AsyncIterator[None]:
    """Have everybody add while this lasts; what was sent is answered before it ends."""
    stopping = asyncio.Event()

    async def add(player: Player) -> None:
        while not stopping.is_set():
            await player.add()
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as tasks:
        for player in everybody:
            tasks.create_task(add(player))
        yield
        stopping.set()


async def check_newcomers_wait(server: ServerProcess, known: Client, room_id: int) -> None:
    """Expect strangers and those without a seat to be told when to come again."""
    heard: list[AnyOutbound] = []
    options = Options(
        open_timeout_ms=1_500, on_message=lambda raw: heard.append(codec.decode_outbound(raw))
    )
    with pytest.raises(AnswerTimeout, match="OVERLOADED"):
        async with Client(server.url, name="eve", options=options):
            pass
    goodbyes = [one for one in heard if isinstance(one, Goodbye)]
    assert goodbyes[0].close_code == CloseCode.OVERLOADED
    assert goodbyes[0].retry_ms >= 1_000
    asking: tuple[Callable[[], Any], ...] = (
        lambda: known.join(room_id=room_id, timeout_ms=900),
        lambda: known.join(room_id=room_id, watch=True, timeout_ms=900),
        lambda: known.join(game="burning", timeout_ms=900),
        lambda: known.create("burning", timeout_ms=900),
    )
    for ask in asking:
        with pytest.raises(RequestRefused) as refused:
            await ask()
        assert refused.value.name == "BUSY"
        assert refused.value.retry_ms >= 1_000


async def check_all_slower_alike(everybody: list[Player]) -> None:
    """Expect every room to tick half as often as it should or less, and none less than others."""
    before = [player.ticks for player in everybody]
    await asyncio.sleep(WATCHED_S)
    passed = [player.ticks - count for player, count in zip(everybody, before, strict=True)]
    assert min(passed) > 0.1 * 20 * WATCHED_S, passed
    assert max(passed) < 0.75 * 20 * WATCHED_S, passed
    assert max(passed) - min(passed) <= 4, passed


async def check_bounded(server: ServerProcess, everybody: list[Player], known: Client) -> None:
    """Expect the promises to hold in an overload, with neither latency nor memory growing."""
    await asyncio.sleep(1.0)  # What begins with an overload has been allocated by then.
    memory_bytes = resident_bytes(server.pid)
    for player in everybody:
        player.latencies_ms.clear()
    await check_all_slower_alike(everybody)
    await check_newcomers_wait(server, known, everybody[0].room.id)
    await everybody[0].break_connection()
    assert max(ms for one in everybody for ms in one.latencies_ms) < LATENCY_MS_MAX
    assert resident_bytes(server.pid) - memory_bytes < GROWTH_BYTES_MAX


async def test_twice_the_load_slows_all_alike_turns_newcomers_away_and_passes(
    tmp_path: Path,
) -> None:
    admin_port = free_port()
    flags = ("--games", "tests.e2e.burning_game:Burning", "--admin-port", str(admin_port))
    asked = Asked(admin_port)
    with running(tmp_path, *flags) as server:
        async with (
            players(server) as everybody,
            Client(server.url, name="known", options=OPTIONS) as known,
        ):
            async with adding(everybody):
                await until_ready(asked, 200)
                for player in everybody:
                    await player.burn(WORK_US)
                assert (await until_ready(asked, 503)).startswith("not ready: overloaded: ticks")
                await check_bounded(server, everybody, known)
                assert await asked.metric("overloaded") == 1
                assert 70.0 < await asked.metric("beat_ms") < 500.0
                assert await asked.metric("turned_away_total") >= 5
                for player in everybody:
                    await player.burn(0)
                assert await until_ready(asked, 200) == "ready\n"
                assert await asked.metric("overloaded") == 0
                await known.join(room_id=everybody[0].room.id)
                async with Client(server.url, name="eve", options=OPTIONS) as eve:
                    await eve.create("burning")
            for player in everybody:
                player.check_sum()
        assert server.stop() == 0
        assert server.errors() == []

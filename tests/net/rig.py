"""A server on loopback with a clock that only moves when told, and clients that may misbehave."""

import asyncio
import contextlib
import os
import socket
import struct
from dataclasses import replace
from random import Random
from typing import Any, Self, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gameserver.config import Config
from gameserver.net.connection import Connection
from gameserver.net.dispatch import Services
from gameserver.net.server import Inside, NetServer
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.release import tell_all
from gameserver.runtime.viewers import SharedFrame, Viewer
from gameserver.services.accounts import Accounts
from gameserver.services.lobby import Lobby, LobbyLimits
from gameserver.services.refusals import Refusal
from gameserver.services.requests import Requests
from gameserver.services.wallet import Wallet
from persistence.interfaces import RoomRow, StorageUnavailable
from persistence.memory import MemoryStore
from persistence.ownership import DEFAULT_SHARDS
from protocol import codec
from protocol.messages import (
    AnyOutbound,
    Hello,
    Inbound,
    Joined,
    LeftCode,
    ReplyCode,
    ServerPing,
    Welcome,
)
from tests.services.games import TinyGame

SECOND_NS = 1_000_000_000
REPLY_TIMEOUT_S = 5.0
STREAM_BYTES = 8 * 1024
TURNED_AWAY_MS = 1_234
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class ManualClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.ns = 1_000 * SECOND_NS

    def now_ns(self) -> int:
        return self.ns

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + self.ns // 1_000_000

    def entropy(self, count: int) -> bytes:
        return os.urandom(count)


class FakeHost:
    """Rooms without games: they note who is there and send what a test gives them."""

    def __init__(self) -> None:
        self.viewers: dict[int, list[Viewer]] = {}
        self.handles: dict[tuple[int, Viewer], int] = {}
        self.commands: list[tuple[int, int, int, bytes]] = []
        self.caught_up: list[tuple[int, int]] = []
        self.resyncs: list[int] = []
        self.lost_accounts: list[int] = []
        self.refuse_with: dict[int, Refusal] = {}
        self.elsewhere: set[int] = set()  # Shards of other nodes.
        self.opening: asyncio.Event | None = None
        self.command_error: Exception | None = None
        self.lost_error: Exception | None = None
        self.catch_up_error: Exception | None = None
        self.now_tick = 0
        self.is_overloaded = False
        # Whether it takes a tick or more to answer who fell behind.
        self.is_slow = False

    async def join(
        self, row: RoomRow, viewer: Viewer, request: int, *, watch: bool, closed_tick: int | None
    ) -> Refusal | None:
        if self.opening is not None:
            await self.opening.wait()
        if row.room_id in self.refuse_with:
            return self.refuse_with[row.room_id]
        sitting = self.viewers.setdefault(row.room_id, [])
        is_seated = self.has_seat(row.room_id, viewer.account)
        if not (watch or is_seated) and len(sitting) >= TinyGame.seats_max:
            return Refusal(ReplyCode.ROOM_FULL)
        sitting.append(viewer)
        handle = self.handles[row.room_id, viewer] = viewer.joined(row.room_id)
        seat = -1 if watch else len(sitting)
        viewer.send(
            codec.joined(
                Joined(
                    *(request, row.room_id, row.code, row.game, row.rules_version, seat),
                    *(0, 0, "", handle),
                )
            )
        )
        viewer.send(codec.full(row.room_id, closed_tick or 0, b"\x90", b"\x90"))
        return None

    def command(self, room_id: int, viewer: Viewer, number: int, body: bytes) -> None:
        if self.command_error is not None:
            raise self.command_error
        self.commands.append((room_id, viewer.account, number, body))

    def leave(self, room_id: int, viewer: Viewer, request: int) -> bool:
        if viewer not in self.viewers.get(room_id, ()):
            return False
        self.viewers[room_id].remove(viewer)
        viewer.left(room_id)
        viewer.send(codec.reply_ok(request, ()))
        viewer.send(codec.left(room_id, LeftCode.LEFT))
        return True

    def lost(self, viewer: Viewer) -> None:
        if self.lost_error is not None:
            raise self.lost_error
        self.lost_accounts.append(viewer.account)
        for viewers in self.viewers.values():
            while viewer in viewers:
                viewers.remove(viewer)

    def resync(self, room_id: int, viewer: Viewer) -> None:
        self.resyncs.append(room_id)

    def catch_up(self, room_id: int, viewer: Viewer, closed_tick: int) -> None:
        if self.catch_up_error is not None:
            raise self.catch_up_error
        self.caught_up.append((room_id, closed_tick))
        if not self.is_slow:
            self.show_again(room_id, viewer, closed_tick)

    def show_again(self, room_id: int, viewer: Viewer, closed_tick: int) -> None:
        """Answer a viewer that fell behind, with an update since its closed tick."""
        handle = viewer.joined(room_id)
        step = self.now_tick - closed_tick
        shared = SharedFrame(codec.delta_tail(self.now_tick, step, b"\x90"))
        viewer.deliver(room_id, handle, closed_tick, None, shared)

    def seats(self, room_id: int) -> tuple[int, int] | None:
        viewers = self.viewers.get(room_id)
        return None if viewers is None else (len(viewers), TinyGame.seats_max)

    def seats_claimed(self, room_id: int) -> int:
        return len(self.viewers.get(room_id, ()))

    def new_room(self, chance: Random) -> tuple[int, int]:
        room_id = 1 + chance.randrange(2**40)
        return room_id, room_id % DEFAULT_SHARDS

    def has(self, shard: int) -> bool:
        return shard not in self.elsewhere

    def has_seat(self, room_id: int, account: int) -> bool:
        return any(viewer.account == account for viewer in self.viewers.get(room_id, ()))

    async def prepare(self, row: RoomRow) -> None:
        pass

    def turned_away(self) -> int:
        return TURNED_AWAY_MS

    def tick(self, room_id: int, tick: int, changes: bytes = b"\x90") -> None:
        """Send one tick's delta to everybody in the room."""
        self.now_tick = tick
        shared = SharedFrame(codec.delta_tail(tick, 1, changes))
        viewers = list(self.viewers[room_id])
        handles = {one: self.handles[room_id, one] for one in viewers}
        some = {one: handle for one, handle in handles.items() if handle}
        tell_all(room_id, some, viewers, tick - 1, {}, shared)


class Storage(MemoryStore):
    """A store that can be away."""

    is_away = False
    # Until when it answers nothing, neither yes nor no.
    silence: asyncio.Event | None = None

    async def create_person(self, account: int, name: str, grant_minor: int) -> bool:
        if self.silence is not None:
            await self.silence.wait()
        return await super().create_person(account, name, grant_minor)

    async def balance(self, account: int) -> int | None:
        if self.is_away:
            raise StorageUnavailable
        return await super().balance(account)


class Rig:
    """A running server, everything in reach."""

    def __init__(self, *, is_closed: bool = False, **settings: Any) -> None:
        self._is_closed = is_closed
        defaults = Config(host="127.0.0.1", port=0, admin_port=0, store="memory")
        self.config = replace(defaults, **settings)
        self.clock = ManualClock()
        self.host = FakeHost()
        self.store = Storage()
        self.metrics = Metrics()
        self.unready = ""
        self._peers: list[Peer] = []
        self._started = asyncio.Event()
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        # A task of its own, because a fixture is set up and torn down by different tasks, and a
        # task group must be left by the task that entered it.
        self._running = asyncio.get_running_loop().create_task(self._run())
        started = asyncio.get_running_loop().create_task(self._started.wait())
        await asyncio.wait((self._running, started), return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._running.done():
            try:
                self._running.result()
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from group
        return self

    async def __aexit__(self, *exception: object) -> None:
        for peer in self._peers:
            await peer.end()
        self._ended.set()
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            await self._running

    async def _run(self) -> None:
        await self.store.start()
        async with asyncio.TaskGroup() as tasks:
            self.server = self._server(tasks)
            try:
                await self.server.start_admin()
                if not self._is_closed:
                    await self.server.start()
                self._started.set()
                await self._ended.wait()
            finally:
                await self.server.stop()

    def _server(self, tasks: asyncio.TaskGroup) -> NetServer:
        key = Ed25519PrivateKey.generate()
        self.accounts = Accounts(
            self.store, key, lambda: self.clock.wall_ms() // 1000, play_money_minor=1000
        )
        limits = LobbyLimits(rooms_max=100, rooms_per_account_max=3)
        games = {TinyGame.name: TinyGame()}
        self.lobby = Lobby(self.store, games, self.host, limits, self.clock.now_ns)
        self.wallet = Wallet(self.store)
        requests = Requests(self.store, self.lobby, self.wallet)
        services = Services(self.accounts, self.lobby, requests, self.wallet)
        inside = Inside(self.host, services, self.metrics, self.clock, lambda: self.unready)
        return NetServer(self.config, inside, tasks)

    def pass_time(self, seconds: float) -> None:
        """Let time pass and do what is due by then."""
        self.clock.ns += round(seconds * SECOND_NS)
        self.server.edge.wheel.advance(self.clock.ns)

    def break_storage(self) -> None:
        """Let no call of storage succeed from now on."""
        self.store.is_away = True

    async def room(self) -> int:
        """Make a room."""
        row = await self.lobby.create(1, TinyGame.name, os.urandom(8), listed=True, settings=b"")
        assert isinstance(row, RoomRow), "the limits of tests allow a room"
        return row.room_id

    async def raw(self, receive_bytes: int = 0) -> "Peer":
        """Connect without saying anything; the system buffers ``receive_bytes`` if given."""
        client = socket.socket()
        client.setblocking(False)
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.server.port))
        reader, writer = await asyncio.open_connection(sock=client, limit=STREAM_BYTES)
        peer = Peer(reader, writer)
        self._peers.append(peer)
        return peer

    async def peer(self, *fields: str, receive_bytes: int = 0) -> "Peer":
        """Connect and upgrade, without a Hello."""
        peer = await self.raw(receive_bytes)
        peer.write(upgrade_request(*fields))
        head = await peer.read_head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        return peer

    async def player(self, name: str = "ann", token: str = "", *, receive_bytes: int = 0) -> "Peer":
        """Connect as a guest and read the Welcome."""
        peer = await self.peer(receive_bytes=receive_bytes)
        await peer.hello(name, token)
        return peer

    async def until(self, is_so: Any) -> None:
        """Let the server work until something is so."""
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            while not is_so():  # noqa: ASYNC110 - What is waited for happens elsewhere.
                await asyncio.sleep(0)

    def connection(self, account: int) -> Connection:
        """Return the server's end of a player's socket."""
        listener = self.server.listener
        return next(one for one in listener.connections if one.account == account)


class Peer:
    """One client's socket, byte by byte. It answers nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.account = 0
        self.token = ""

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def frame(self, opcode: int, payload: bytes, *, is_last: bool = True) -> None:
        self.write(client_frame(opcode, payload, is_last=is_last))

    def send(self, message: Inbound) -> None:
        self.frame(BINARY, codec.encode_inbound(message))

    async def hello(self, name: str, token: str = "") -> None:
        """Say who one is and read the Welcome."""
        self.send(Hello([1], token, name, "test"))
        welcome = await self.message()
        assert isinstance(welcome, Welcome), welcome
        self.account, self.token = welcome.account, welcome.token

    async def read_head(self) -> bytes:
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def read_frame(self) -> tuple[int, bytes]:
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            first, length = await self.reader.readexactly(2)
            assert first & 0x80, "the server never fragments"
            assert length < 128, "the server never masks"
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(length)

    async def message(self) -> AnyOutbound:
        """Return the next message, but for the server's pings."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == PING:
                continue
            assert opcode == BINARY, (opcode, payload)
            message = codec.decode_outbound(payload)
            if type(message) is not ServerPing:
                return message

    async def close_code(self) -> int:
        """Read to the close frame, answer it, and return its code."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == CLOSE:
                self.frame(CLOSE, payload[:2])
                return int.from_bytes(payload[:2], "big")

    def pause(self) -> None:
        """Read nothing more from the socket."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    async def read_some(self, count: int) -> None:
        """Read about ``count`` bytes and pause again."""
        self.resume()
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            await self.reader.readexactly(count)
        self.pause()

    @property
    def _transport(self) -> asyncio.Transport:
        # A socket's transport reads and writes; uvloop's says so by its methods alone.
        return cast(asyncio.Transport, self.writer.transport)

    async def read_all(self) -> bytes:
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            return await self.reader.read()

    async def end(self) -> None:
        """Drop the connection without a word."""
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                await self.writer.wait_closed()


def upgrade_request(*fields: str, subprotocol: str | None = "gs.v1", path: str = "/ws") -> bytes:
    """Return the head of a request for an upgrade, with more ``fields`` as they are."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: WebSocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *([f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []),
        *fields,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def client_frame(opcode: int, payload: bytes, *, is_last: bool = True) -> bytes:
    """Return one masked frame."""
    mask = b"\x01\x02\x03\x04"
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    first = bytes((0x80 * is_last | opcode,))
    if len(payload) < 126:
        length = bytes((0x80 | len(payload),))
    elif len(payload) < 2**16:
        length = b"\xfe" + struct.pack("!H", len(payload))
    else:
        length = b"\xff" + struct.pack("!Q", len(payload))
    return first + length + mask + masked


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def packed(value: object) -> msgspec.Raw:
    """Return a body, packed."""
    return msgspec.Raw(codec.packed(value))

"""The port for players: who may come in, and whether a request becomes a WebSocket or HTTP.

The head of a request is read here, up to its empty line. A request for an upgrade at ``/ws``
becomes a `Connection`; anything else goes to aiohttp as it is, which then owns the conversation.
What is said afterwards is not known here.

    Exception
      ListenFailed     the port cannot be had
        PortInUse      because somebody else has it
"""

import asyncio
import errno
import sys
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, cast

import structlog

from gameserver.net.connection import Connection, Receiver
from gameserver.net.counters import count
from gameserver.net.edge import WHEEL_SLOT_NS, Edge
from gameserver.net.handshake import SWITCHING
from gameserver.net.limits import Refusal, address_group
from gameserver.net.transports import hold_back_little, send_no_more
from protocol.closes import CloseCode

PATH = b"/ws"
HEAD_END = b"\r\n\r\n"
TLS_HANDSHAKE = 0x16
BACKLOG = 1024
LOOK_UP_TIMEOUT_S = 5.0  # A host's name may have to be looked up.
SECOND_NS = 1_000_000_000
# Nothing that is served over HTTP takes long. A later request on the same connection could come
# a byte an hour, and aiohttp has no deadline for that.
HTTP_LIFETIME_NS = 60 * SECOND_NS
# Those who are turned away are given this long to read why, unless there are too many of them.
REFUSED_LIFETIME_NS = SECOND_NS
REFUSED_MAX = 256
RETRY_AFTER_S = 2
DRAIN_STEP_S = 0.01
DRAIN_RETRY_MS_MIN = 250

log = structlog.get_logger()


class ListenFailed(Exception):
    """The port cannot be had. The message is one line."""


class PortInUse(ListenFailed):
    """Somebody else has the port."""


def listen_failure(host: str, port: int, error: OSError) -> ListenFailed:
    """Return what to raise for an error of the system."""
    where = f"port {port} on {host}"
    if error.errno == errno.EADDRINUSE:
        return PortInUse(f"{where} is in use")
    return ListenFailed(f"{where} cannot be listened on: {error.strerror or error}")


async def check_free(host: str, port: int, *, shared: bool = False) -> None:
    """Raise ListenFailed if the port cannot be had, without letting anybody in.

    One that is ``shared`` may be had by others that share it too.
    """
    server = await _server(asyncio.Protocol, host, port, reuse_port=shared, start_serving=False)
    server.close()


async def reserved_port(host: str, port: int) -> tuple[asyncio.Server, int]:
    """Keep a port for processes of ours that share it, without letting anybody in ourselves."""
    # Elsewhere than on Linux newcomers might be led to whoever keeps it.
    is_kept = sys.platform == "linux"
    # Two that are kept must not be the same one, as two that are looked at may be.
    server = await _server(
        *(asyncio.Protocol, host, port),
        reuse_address=False,
        reuse_port=is_kept,
        start_serving=False,
    )
    bound: int = server.sockets[0].getsockname()[1]
    if not is_kept:
        server.close()
    return server, bound


async def _server(
    protocol: Callable[[], asyncio.BaseProtocol], host: str, port: int, **options: Any
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
            return await loop.create_server(protocol, host, port, **options)
    except OSError as error:
        raise listen_failure(host, port, error) from error


class Role(Enum):
    """What a socket that is no WebSocket is doing."""

    HEAD = "head"
    IN_LINE = "in_line"  # Its request has come and is not answered yet; nothing more is read.
    HTTP = "http"
    REFUSED = "refused"


class Listener:
    """Accepts connections and knows all that are WebSockets."""

    def __init__(
        self, edge: Edge, receiver: Receiver, http: Callable[[], asyncio.Protocol]
    ) -> None:
        self.edge = edge
        self.http = http
        # With the address that each counts for. A dict, because it keeps its order.
        self.connections: dict[Connection, str] = {}
        # Who waits for the end of those that came by way of HTTP.
        self._awaited: dict[Connection, Callable[[], None]] = {}
        self.refused = 0
        self.has_told_of_tls = False
        self._receiver = receiver
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._none_left = asyncio.Event()
        self._on_lost = self._lost  # One for all: a bound method takes 64 bytes.

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, or raise ListenFailed."""
        bound = await self._listen(host, port, shared=False)
        self._advance()
        return bound

    async def share(self, host: str, port: int) -> None:
        """Listen on another port too, which others may share; raise ListenFailed."""
        await self._listen(host, port, shared=True)

    def leave_shared(self) -> None:
        """Leave newcomers at a shared port to the others that have it."""
        while len(self._servers) > 1:
            self._servers.pop().close()

    async def _listen(self, host: str, port: int, *, shared: bool) -> int:
        server = await _server(lambda: Front(self), host, port, backlog=BACKLOG, reuse_port=shared)
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    def upgrade(
        self,
        transport: asyncio.Transport,
        head: bytes,
        address: str,
        on_gone: Callable[[], None] | None = None,
    ) -> Connection:
        """Answer a request for an upgrade on ``transport`` and let a connection have it.

        It has been admitted, and counts for ``address``.
        """
        connection = Connection(self.edge, self._receiver, transport, self._on_lost)
        transport.set_protocol(connection)
        self.connections[connection] = address
        if on_gone is not None:
            self._awaited[connection] = on_gone
        self._none_left.clear()
        status = connection.open(head)
        if status == SWITCHING:
            self.edge.counters.handshakes_accepted += 1
        else:
            count(self.edge.counters.handshakes_refused, str(status))
        return connection

    def _lost(self, connection: Connection) -> None:
        address = self.connections.pop(connection)
        self.edge.admission.release(address, is_authenticated=connection.account != 0)
        if not self.connections:
            self._none_left.set()
        on_gone = self._awaited.pop(connection, None)
        if on_gone is not None:
            on_gone()

    async def drain(self, spread_s: float, *, elsewhere: bool = False) -> None:
        """Let nobody in any more, and say goodbye to all, spread over ``spread_s`` seconds.

        They come back here later, or at once to another node.
        """
        self.edge.admission.is_draining = True
        waiting = list(self.connections)
        steps = max(1, round(spread_s / DRAIN_STEP_S))
        per_step = -(-len(waiting) // steps)
        # Those who leave together must not come back together.
        retry_ms_span = max(1000, 2 * round(spread_s * 1000))
        while waiting:
            for connection in waiting[:per_step]:
                if elsewhere:
                    connection.close(CloseCode.MOVED, "going away", 0)
                    continue
                retry_ms = DRAIN_RETRY_MS_MIN + round(retry_ms_span * self.edge.phase())
                connection.close(CloseCode.GOING_AWAY, "going away", retry_ms)
            del waiting[:per_step]
            await asyncio.sleep(DRAIN_STEP_S)
        close_timeout_s = self.edge.limits.close_timeout_ns / SECOND_NS
        if self.connections:
            # The wheel cuts off whoever does not answer in time, one slot late at most.
            async with asyncio.timeout(close_timeout_s + 1.0):
                await self._none_left.wait()

    def send_away(self) -> None:
        """Say goodbye to all who are connected; they go to another node at once."""
        for connection in list(self.connections):
            connection.close(CloseCode.MOVED, "cut off", 0)

    def stop(self) -> None:
        """Close the port and whatever is still connected."""
        if self._timer is not None:
            self._timer.cancel()
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.abort()

    def _advance(self) -> None:
        # The next time first: whatever happens in this one, deadlines go on.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(WHEEL_SLOT_NS / SECOND_NS, self._advance)
        self.edge.wheel.advance(self.edge.clock.now_ns())


class Front(asyncio.Protocol):
    """A socket until its first request is known, and after that if it is HTTP."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._edge = listener.edge
        self._role = Role.HEAD
        self._head = b""
        self._handler: asyncio.Protocol | None = None
        self._address: str | None = None  # None while it is not counted.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the newcomer, or turn it away."""
        # A socket's transport reads and writes; uvloop's says so by its methods alone.
        self._transport = cast(asyncio.Transport, transport)
        edge = self._edge
        now_ns = edge.clock.now_ns()
        hold_back_little(self._transport, edge.limits.outbox.soft_bytes)
        peer = transport.get_extra_info("peername")
        address = address_group(peer[0] if isinstance(peer, tuple) else "")
        refusal = edge.admission.admit(address, now_ns)
        if refusal is not None:
            self._turn_away(refusal)
            return
        self._address = address
        edge.wheel.put(self, now_ns + edge.limits.head_timeout_ns)

    def data_received(self, data: bytes) -> None:
        """Take what was read."""
        if self._handler is not None:
            self._handler.data_received(data)
        elif self._role is Role.HEAD:
            self._read_head(data)

    def eof_received(self) -> bool | None:
        """Pass the end of the input on."""
        return None if self._handler is None else self._handler.eof_received()

    def pause_writing(self) -> None:
        """Tell aiohttp to wait."""
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Tell aiohttp to go on."""
        if self._handler is not None:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._edge.wheel.remove(self)
        if self._role is Role.REFUSED:
            self._listener.refused -= 1
        if self._handler is not None:
            self._handler.connection_lost(exc)
        if self._address is not None:
            self._edge.admission.release(self._address, is_authenticated=False)

    def due(self, now_ns: int) -> int | None:
        """End what took too long."""
        if self._role is Role.IN_LINE:
            self._transport.resume_reading()
            self._answer("503 Service Unavailable", "The line is too long.")
            return now_ns + REFUSED_LIFETIME_NS
        if self._role is Role.HEAD:
            self._answer("408 Request Timeout", "The request did not come in time.")
            return now_ns + REFUSED_LIFETIME_NS
        self._transport.abort()
        return None

    def upgrade(self, head: bytes, on_gone: Callable[[], None] | None = None) -> Connection:
        """Become a WebSocket; ``head`` is the request, up to its empty line."""
        assert self._address is not None, "only who was let in can be upgraded"
        self._edge.wheel.remove(self)
        if self._handler is not None:  # It came by way of aiohttp, which waits for the end.
            on_gone = partial(_end_both, self._handler, on_gone)
        return self._listener.upgrade(self._transport, head, self._address, on_gone)

    def _read_head(self, data: bytes) -> None:
        searched = max(0, len(self._head) - len(HEAD_END) + 1)
        head = self._head = self._head + data
        if head[0] == TLS_HANDSHAKE:
            self._refuse_tls()
            return
        end = head.find(HEAD_END, searched)
        end_max = self._edge.limits.head_bytes_max - len(HEAD_END)
        if end > end_max or (end < 0 and len(head) > end_max):
            self._answer("431 Request Header Fields Too Large", "The request is too large.")
            return
        if end < 0:
            return
        self._head = b""
        body_start = end + len(HEAD_END)
        if is_upgrade(head[:body_start]):
            self._role = Role.IN_LINE
            self._transport.pause_reading()
            self._edge.line.add(partial(self._become, head, body_start))
        else:
            self._serve_http(head)

    def _become(self, head: bytes, body_start: int) -> None:
        """Become a WebSocket, unless it was turned away while it stood in line, or went."""
        if self._role is not Role.IN_LINE or self._transport.is_closing():
            return
        self._transport.resume_reading()
        if self._edge.admission.is_draining:
            self._answer("503 Service Unavailable", "The server is going away.")
            self._edge.wheel.put(self, self._edge.clock.now_ns() + REFUSED_LIFETIME_NS)
            return
        connection = self.upgrade(head[:body_start])
        if len(head) > body_start:
            connection.data_received(head[body_start:])

    def _refuse_tls(self) -> None:
        count(self._edge.counters.handshakes_refused, "tls")
        # Once is enough for whoever set up a client; the log is not for anybody to fill.
        if not self._listener.has_told_of_tls:
            self._listener.has_told_of_tls = True
            log.info("tls_refused", reason="this port speaks plain HTTP")
        self._transport.abort()

    def _serve_http(self, data: bytes) -> None:
        self._role = Role.HTTP
        self._edge.wheel.put(self, self._edge.clock.now_ns() + HTTP_LIFETIME_NS)
        self._handler = self._listener.http()
        self._handler.connection_made(self._transport)
        self._handler.data_received(data)

    def _turn_away(self, refusal: Refusal) -> None:
        count(self._edge.counters.handshakes_refused, refusal.value)
        if self._listener.refused >= REFUSED_MAX:
            self._transport.abort()
            return
        self._answer("503 Service Unavailable", refusal.value.replace("_", " "))
        now_ns = self._edge.clock.now_ns()
        self._edge.wheel.put(self, now_ns + REFUSED_LIFETIME_NS)

    def _answer(self, status: str, text: str) -> None:
        """Answer with an error; what still comes in is read and thrown away."""
        self._role = Role.REFUSED
        self._listener.refused += 1
        body = text.encode() + b"\n"
        head = (
            f"HTTP/1.1 {status}\r\nConnection: close\r\nRetry-After: {RETRY_AFTER_S}\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)
        send_no_more(self._transport, is_heard_out=False)


def _end_both(handler: asyncio.Protocol, on_gone: Callable[[], None] | None) -> None:
    handler.connection_lost(None)
    if on_gone is not None:
        on_gone()


def is_upgrade(head: bytes) -> bool:
    """Say whether a request's head asks for a WebSocket at the place where we have one."""
    request_line, *lines = head.split(b"\r\n")
    parts = request_line.split(b" ")
    if len(parts) != 3 or parts[1].partition(b"?")[0] != PATH:
        return False
    fields = (line.lower().partition(b":") for line in lines)
    return any(name == b"upgrade" and b"websocket" in value for name, _, value in fields)

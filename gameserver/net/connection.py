"""One WebSocket: frames in, messages out, deadlines, and the viewer that rooms write to.

It knows the protocol's session and its own limits. It does not know rooms or services: messages
go to a `Receiver`, and what rooms deliver is only written or dropped.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Protocol

import structlog
from websockets.frames import Opcode

from gameserver.net.edge import Edge
from gameserver.net.handshake import SWITCHING, answer
from gameserver.net.incoming import Incoming, lone_message
from gameserver.net.limits import Bucket
from gameserver.net.outbox import Outbox
from gameserver.net.transports import send_no_more
from gameserver.runtime.viewers import SharedFrame, tick_frames
from protocol import codec
from protocol.closes import CloseClass, CloseCode, close_class
from protocol.frames import PING_FRAME, close_reason, framed
from protocol.messages import AnyInbound, Command
from protocol.session import ServerSession

RETRY_MS = 1_000
# How often a full outbox is looked at, within the time after which it counts as stalled.
LOOKS_PER_STALL = 5

log = structlog.get_logger()


class Stage(Enum):
    """Where a connection stands. It only moves forward."""

    NEW = "new"
    WELCOMING = "welcoming"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Receiver(Protocol):
    """Who takes the messages of all connections."""

    def hello(self, connection: "Connection", message: AnyInbound) -> None:
        """Find out who this is; end with `Connection.welcome` or `Connection.close`."""

    def receive(self, connection: "Connection", message: AnyInbound) -> None:
        """Take one message of a connection that was welcomed."""

    def catch_up(self, connection: "Connection", room_id: int, closed_tick: int) -> None:
        """Send what a connection missed of a room since ``closed_tick``."""

    def drained(self, connection: "Connection") -> None:
        """Learn that a connection, whose outbox was full, can take more."""

    def lost(self, connection: "Connection") -> None:
        """Learn that a connection that was welcomed takes nothing any more."""


class Connection(asyncio.Protocol):
    """One socket after its request for an upgrade. It is a `Viewer` of rooms."""

    __slots__ = (
        *("_deadline_ns", "_edge", "_held", "_incoming", "_on_lost", "_others"),
        *("_ping_ns", "_receiver", "_session", "account", "commands", "heard_ns", "is_relayed"),
        *("name", "outbox", "requests_in_flight", "stage", "transport", "write_at_once"),
    )

    def __init__(
        self,
        edge: Edge,
        receiver: Receiver,
        transport: asyncio.Transport,
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self.account = 0
        self.name = ""
        self.is_relayed = False  # Whether another node stands in for the client.
        self.stage = Stage.NEW
        self.requests_in_flight = 0
        # Let in, and reads: then to write is all there is to do. When in doubt it does not.
        self.write_at_once: Callable[[bytes], object] | None = None
        self.commands = Bucket(edge.commands)
        self._edge = edge
        self._receiver = receiver
        self.transport = transport
        self._on_lost = on_lost
        self.outbox = Outbox(transport, edge.limits.outbox)
        self._session = ServerSession()
        self._others = Bucket(edge.others)
        # None whenever a new one would go on just like the old one.
        self._incoming: Incoming | None = None
        # What comes before the Welcome. Bounded by held_max; more is flooding.
        self._held: tuple[AnyInbound, ...] = ()
        self.heard_ns = edge.clock.now_ns()
        self._deadline_ns = self.heard_ns + edge.limits.hello_timeout_ns
        self._ping_ns = 0

    # --- Opening.

    def open(self, head: bytes) -> int:
        """Answer the request for an upgrade; return the HTTP status of the answer."""
        status, response = answer(head, self._edge.origins)
        self.outbox.write(response)
        self._edge.counters.bytes_out += len(response)
        if status == SWITCHING:
            self._edge.wheel.put(self, self._deadline_ns)
        else:
            send_no_more(self.transport, is_heard_out=False)
            self._begin_closing(None)
        return status

    def welcome(self, account: int, name: str, payload: bytes) -> None:
        """Let the client in as ``account`` and take the messages that it sent meanwhile."""
        if self.stage is not Stage.WELCOMING:
            return
        edge = self._edge
        self.account = account
        self.name = name
        self.stage = Stage.OPEN
        if not self.outbox.unsent_bytes:  # Answers to early pings may wait unread.
            self.write_at_once = self.transport.write
        edge.admission.authenticate()
        self.send(payload)
        now_ns = edge.clock.now_ns()
        # At a random moment: pings that go out together would cost a tick 10 to 20 ms.
        self._ping_ns = now_ns + int(edge.limits.ping_interval_ns * edge.phase())
        if self.write_at_once is None:
            self._watch()
        edge.wheel.put(self, self._next_ns())
        held, self._held = self._held, ()
        for message in held:
            if self.stage is Stage.OPEN:
                self._receiver.receive(self, message)

    @property
    def is_open(self) -> bool:
        """Whether the client was welcomed and is still there."""
        return self.stage is Stage.OPEN

    # --- Receiving: asyncio calls these.

    def data_received(self, data: bytes) -> None:
        """Take bytes that the client sent."""
        edge = self._edge
        edge.counters.bytes_in += len(data)
        self.heard_ns = edge.clock.now_ns()
        if self._incoming is None and self._is_ending:
            return  # It was refused, and is only heard out.
        message = lone_message(data) if self._incoming is None else None
        if message is None:
            self._receive_frames(data)
            return
        try:
            self._receive_message(message)
        except Exception as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        if not self._is_ending:
            self._begin_closing("lost")
        self.stage = Stage.CLOSED
        self._edge.wheel.remove(self)
        self._on_lost(self)

    def _receive_frames(self, data: bytes) -> None:
        """Take what is more than one short message, or less, or something else."""
        incoming = self._unfinished()
        for frame in incoming.frames(data):
            try:
                self._receive_frame(frame)
            except Exception as error:
                self._fail(error)
        self._flush()
        if incoming.has_ended and not self._is_ending:
            code = incoming.close_code
            self._begin_closing("lost" if code is None else str(code))
        elif incoming.is_between_frames:
            self._incoming = None

    def _receive_frame(self, frame: bytes | Opcode) -> None:
        if self._is_ending:
            return  # Now only the client's close is waited for.
        if isinstance(frame, bytes):
            self._receive_message(frame)
        elif self.is_within_rate() and frame is Opcode.TEXT:
            self.close(CloseCode.TEXT_FRAME, "text is not spoken here")

    def _receive_message(self, payload: bytes) -> None:
        try:
            message = self._session.receive(payload)
        except codec.RemoteProtocolError as error:
            self.close(error.close_code, error.text)
            return
        self._edge.counters.messages_in[type(message).__name__] += 1
        # Commands have a bucket of their own. Its owner answers those that come too fast.
        if type(message) is not Command and not self.is_within_rate():
            return
        if self.stage is Stage.OPEN:
            self._receiver.receive(self, message)
        elif self.stage is Stage.NEW:
            self.stage = Stage.WELCOMING
            self._deadline_ns = self.heard_ns + self._edge.limits.welcome_timeout_ns
            self._edge.wheel.put(self, self._deadline_ns)
            self._receiver.hello(self, message)
        elif len(self._held) < self._edge.limits.held_max:
            self._held = (*self._held, message)
        else:
            self.close(CloseCode.FLOODING, "too many messages before the welcome")

    def is_within_rate(self) -> bool:
        """Count a frame that is no command for a room; false, and closed, if it is too many."""
        if self._others.take(self.heard_ns):
            self.close(CloseCode.FLOODING, "too many messages")
            return False
        return True

    def _unfinished(self) -> Incoming:
        if self._incoming is None:
            self._incoming = Incoming(self._edge.limits.message_bytes_max)
        return self._incoming

    # --- Sending: rooms and services call these.

    @property
    def rooms(self) -> int:
        """How many rooms are seen."""
        return len(self.outbox.rooms)

    def deliver(
        self,
        room_id: int,
        handle: int,
        told_tick: int,
        private: bytes | None,
        shared: SharedFrame | None,
    ) -> None:
        """Write one tick of a room, or fall behind in it."""
        if self.stage is not Stage.OPEN:
            return
        if self.write_at_once is None and self.outbox.drops(room_id, told_tick):
            self._edge.counters.merges += 1
            self._watch()
        else:
            self.write(tick_frames(handle, private, shared))

    def count_at_once(self, frames: int, bytes_out: int) -> None:
        """Count what was written past ``write``."""
        self._edge.counters.frames_out += frames
        self._edge.counters.bytes_out += bytes_out

    def send(self, payload: bytes) -> None:
        """Write any other message."""
        if self.stage is Stage.OPEN:
            self.write(framed(payload))

    def joined(self, room_id: int) -> int:
        """Note that a room is seen from now on; return what it is called here."""
        return self.outbox.enter(room_id)

    def left(self, room_id: int) -> None:
        """Note that a room is no longer seen."""
        self.outbox.leave(room_id)

    def write(self, data: bytes) -> None:
        """Write a message that is framed already."""
        if self.write_at_once is not None:
            self.write_at_once(data)
        elif self.outbox.is_over_hard:
            self.close(CloseCode.SLOW_CONSUMER, "too slow")
            return
        else:
            self.outbox.write(data)
        self.count_at_once(1, len(data))

    def pause_writing(self) -> None:
        """Watch whether the client reads: more waits for it than it should."""
        if self.stage is Stage.OPEN:
            self._watch()

    def resume_writing(self) -> None:
        """Make good what was dropped while the outbox was full."""
        self._catch_up()
        if self.stage is Stage.OPEN:
            self._receiver.drained(self)

    def _catch_up(self) -> None:
        try:
            while self.stage is Stage.OPEN and (behind := self.outbox.take_behind()):
                self._receiver.catch_up(self, *behind)
        except Exception as error:
            self._fail(error)

    def _watch(self) -> None:
        self.write_at_once = None
        if not self.outbox.is_watched:
            self.outbox.watch(self._edge.clock.now_ns())
            self._edge.wheel.put(self, self._next_ns())

    def _flush(self) -> None:
        incoming = self._unfinished()
        for data in incoming.take_answers():
            if data:
                self.outbox.write(data)
                self._edge.counters.bytes_out += len(data)
            else:
                send_no_more(self.transport, is_heard_out=incoming.is_closed_by_client)

    # --- Deadlines: the wheel calls this.

    def due(self, now_ns: int) -> int | None:
        """Do what is due and return when to be asked again."""
        match self.stage:
            case Stage.NEW if now_ns >= self._deadline_ns:
                self.close(CloseCode.HELLO_TIMEOUT, "no hello")
            case Stage.WELCOMING if now_ns >= self._deadline_ns:
                self.close(CloseCode.OVERLOADED, "no answer in time")
            case Stage.OPEN:
                self._keep_alive(now_ns)
            case Stage.CLOSING:
                self.transport.abort()
        return None if self._is_ending else self._next_ns()

    @property
    def _is_ending(self) -> bool:
        return self.stage is Stage.CLOSING or self.stage is Stage.CLOSED

    def _keep_alive(self, now_ns: int) -> None:
        limits = self._edge.limits
        if self.outbox.unsent_bytes:
            self._watch()
        if self.outbox.is_stalled(now_ns):
            self.close(CloseCode.SLOW_CONSUMER, "nothing was read for too long")
        elif now_ns - self.heard_ns >= limits.idle_timeout_ns:
            self.close(CloseCode.IDLE, "nothing was heard for too long")
        else:
            if now_ns >= self._ping_ns:
                self._ping_ns = now_ns + limits.ping_interval_ns
                # The echo is our own time, so that the Pong tells how long the way is.
                ping = codec.ping(now_ns // 1_000_000, self._edge.clock.wall_ms())
                self.write(framed(ping) + PING_FRAME)
            self._catch_up()
            if self.is_open and self.outbox.is_clear:
                self.write_at_once = self.transport.write

    def _next_ns(self) -> int:
        if self.stage is not Stage.OPEN:
            return self._deadline_ns
        limits = self._edge.limits
        next_ns = min(self._ping_ns, self.heard_ns + limits.idle_timeout_ns)
        if self.outbox.is_watched or self.outbox.is_behind:
            look_ns = limits.outbox.stall_ns // LOOKS_PER_STALL
            next_ns = min(next_ns, self._edge.clock.now_ns() + look_ns)
        return next_ns

    # --- Closing.

    def close(self, code: int, reason: str = "", retry_ms: int | None = None) -> None:
        """Say goodbye and close; ``retry_ms`` is when to come back, by default what suits."""
        if self._is_ending:
            return
        incoming = self._unfinished()
        if not incoming.has_ended:
            if retry_ms is None:
                retry_ms = RETRY_MS if close_class(code) is CloseClass.RECONNECT else -1
            self.outbox.write(framed(codec.goodbye(code, retry_ms)))
            incoming.close(code, close_reason(reason))
            self._flush()
        self._begin_closing(str(int(code)))

    def abort(self) -> None:
        """Close at once, without a word."""
        self.transport.abort()

    def _begin_closing(self, cause: str | None) -> None:
        was_open = self.stage is Stage.OPEN
        self.stage = Stage.CLOSING
        self.write_at_once = None
        self._session.close()
        self._held = ()
        if cause is not None:  # None: it was never a WebSocket.
            self._edge.counters.count_close(cause)
        now_ns = self._edge.clock.now_ns()
        self._edge.wheel.put(self, now_ns + self._edge.limits.close_timeout_ns)
        if was_open:
            try:
                self._receiver.lost(self)
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Give this connection up: a mistake of ours must not touch others, nor the timer."""
        log.error("connection_failed", account=self.account, exc_info=error)
        self.close(CloseCode.INTERNAL, "internal error")

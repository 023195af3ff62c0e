"""What nodes say to each other on a link, how it is framed, and how they prove who they are.

It knows one socket. Which nodes there are, and what the end of a link means, is not known here.

A frame is its length in four bytes and one message as MessagePack. Whoever connects says Hello;
the other side answers with a Challenge, which holds its own proof already; a Proof ends the
handshake. A proof is an HMAC over both names, both instances and both nonces, under the secret
of the cluster, and says which side it speaks for: one that was recorded, or sent back, proves
nothing. What follows is neither signed nor encrypted: the network between nodes is expected not
to change what it carries.

    Exception
      Broken     the other side is no node of this cluster, or makes mistakes
"""

import asyncio
import hmac
from typing import Any, Protocol, cast

import msgspec
import structlog

from gameserver.net.limits import Bucket, Rate
from gameserver.runtime.clock import Clock

VERSION = 1
LENGTH_BYTES = 4
MESSAGE_BYTES_MAX = 64 * 1024
# Before it has proved anything, nobody needs more.
HANDSHAKE_BYTES_MAX = 1024
NONCE_BYTES = 16
# Bytes that wait to be sent; what comes on top is not taken, and the sender is told so.
UNSENT_BYTES_MAX = 256 * 1024
# Nodes say little. Above this rate a link is read more slowly, and nothing is lost.
MESSAGES_PER_SECOND = 1000
MESSAGES_BURST = 1000

log = structlog.get_logger()


class Broken(Exception):
    """The other side says what no node of this cluster would; the link is to be closed."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Whoever connects: who it is."""

    version: int
    name: str
    instance: str
    nonce: bytes


class Challenge(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The answer to Hello: who is here, with the proof."""

    name: str
    instance: str
    nonce: bytes
    proof: bytes


class Proof(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The answer to Challenge. The link stands."""

    proof: bytes


class Told(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """What one node tells another."""

    message: list[Any]


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Whoever connected: are you there?"""


class Pong(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The answer to Ping."""


Message = Hello | Challenge | Proof | Told | Ping | Pong

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode
# What msgspec raises for bytes that it cannot take; TypeError for a map with a map as its key.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, TypeError)


def proof(secret: bytes, side: str, hello: Hello, answer: tuple[str, str, bytes]) -> bytes:
    """Return what only a node that has the secret can say for ``side`` of this handshake.

    ``answer`` is the name, the instance and the nonce of whoever was connected to.
    """
    spoken = ("peer", side, hello.version, hello.name, hello.instance, hello.nonce, *answer)
    return hmac.digest(secret, _encode(spoken), "sha256")


def is_proof(secret: bytes, given: bytes, side: str, hello: Hello, challenge: Challenge) -> bool:
    """Say whether ``given`` proves that ``side`` has the secret."""
    answer = (challenge.name, challenge.instance, challenge.nonce)
    return hmac.compare_digest(given, proof(secret, side, hello, answer))


class Taker(Protocol):
    """Whoever has a socket."""

    def opened(self) -> None:
        """Learn that the other side is there."""

    def take(self, message: Message) -> None:
        """Take a message, or raise Broken."""

    def closed(self) -> None:
        """Learn that nothing comes any more."""


class PeerSocket(asyncio.Protocol):
    """One socket between two nodes: frames in and out, both bounded."""

    def __init__(self, clock: Clock, taker: Taker) -> None:
        self.bytes_max = HANDSHAKE_BYTES_MAX
        self.is_closed = False
        # Anybody can connect and say what is wrong: the log is not for them to fill.
        self.is_strangers = False
        self._has_heard = False
        self.has_only_looked = False  # Whoever it was left again without a word.
        self._clock = clock
        self._taker = taker
        self._transport: asyncio.Transport | None = None
        self._rate = Bucket(Rate(MESSAGES_PER_SECOND, MESSAGES_BURST))
        # Bounded by what is read at once and one frame: while it is too much to take, nothing
        # is read.
        self._unread = bytearray()
        self._resuming: asyncio.TimerHandle | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Return where the other side is, as numbers."""
        assert self._transport is not None, "a socket that was opened has a transport"
        peer = self._transport.get_extra_info("peername")
        return (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None

    def send(self, message: Message) -> bool:
        """Send a message; False if the socket is closed or too much waits already."""
        transport = self._transport
        if transport is None or self.is_closed or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            return False
        payload = _encode(message)
        assert len(payload) <= MESSAGE_BYTES_MAX, "nodes keep their messages short"
        transport.write(len(payload).to_bytes(LENGTH_BYTES, "big") + payload)
        return True

    def close(self) -> None:
        """Close without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    # --- asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # A socket's transport reads and writes; uvloop's says so by its methods alone.
        self._transport = cast(asyncio.Transport, transport)
        if self.is_closed:
            self._transport.abort()  # It took too long.
        else:
            self._taker.opened()

    def data_received(self, data: bytes) -> None:
        """Take what was read."""
        self._has_heard = True
        self._unread += data
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go."""
        self.has_only_looked = not (self.is_closed or self._has_heard)
        self._end()

    def _read(self) -> None:
        try:
            while not self.is_closed and self._has_frame():
                wait_ns = self._rate.take(self._clock.now_ns())
                if wait_ns:
                    self._read_later(wait_ns)
                    return
                self._taker.take(_message(self._take_frame()))
        except Broken as error:
            tell = log.debug if self.is_strangers else log.info
            tell("peer_link_refused", cause=str(error))
            self.close()
        except Exception:
            # A mistake of ours in what one message does must not touch the other links.
            log.exception("peer_link_failed")
            self.close()

    def _has_frame(self) -> bool:
        if len(self._unread) < LENGTH_BYTES:
            return False
        length = int.from_bytes(self._unread[:LENGTH_BYTES], "big")
        if length > self.bytes_max:
            raise Broken(f"a message of {length} bytes")
        return len(self._unread) >= LENGTH_BYTES + length

    def _take_frame(self) -> bytes:
        end = LENGTH_BYTES + int.from_bytes(self._unread[:LENGTH_BYTES], "big")
        payload = bytes(self._unread[LENGTH_BYTES:end])
        del self._unread[:end]
        return payload

    def _read_later(self, wait_ns: int) -> None:
        assert self._transport is not None, "what was read came by a transport"
        self._transport.pause_reading()
        loop = asyncio.get_running_loop()
        self._resuming = loop.call_later(wait_ns / 1_000_000_000, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self._read()
        transport = self._transport
        assert transport is not None, "what was read came by a transport"
        if self._resuming is None and not self.is_closed and not transport.is_closing():
            transport.resume_reading()

    def _end(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._unread.clear()
        if self._resuming is not None:
            self._resuming.cancel()
        if self._transport is not None:
            self._taker.closed()


def _message(payload: bytes) -> Message:
    try:
        message: Message = _decode(payload)
    except _UNREADABLE as error:
        raise Broken("not a message") from error
    return message

"""How messages reach the server: what a transport is, and the one over WebSocket.

A transport knows bytes and the end of the connection, and nothing of what the bytes mean. A
simulation may hand the client another one.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from protocol.client.errors import TransportClosed
from protocol.codec import OUTBOUND_BYTES_MAX
from protocol.messages import SUBPROTOCOL

ABNORMAL = 1006  # What WebSocket calls an end without a close frame.
CLOSE_TIMEOUT_S = 1.0


class Transport(Protocol):
    """A connection that carries whole messages, in order, both ways."""

    async def send(self, payload: bytes) -> None:
        """Send one message; wait while the peer is slow. Raises ``TransportClosed``."""

    async def recv(self) -> bytes:
        """Return the next message. Raises ``TransportClosed``."""

    async def close(self) -> None:
        """End the connection with 1000. Closing again does nothing."""


# Opens a transport to a URL; raises OSError if that is not possible, ValueError if it never is.
Dial = Callable[[str], Awaitable[Transport]]


class WebSocketTransport:
    """A transport over a WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, payload: bytes) -> None:
        """Send one binary message."""
        try:
            await self._socket.send(payload)
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def recv(self) -> bytes:
        """Return the next message."""
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def close(self) -> None:
        """Close with 1000, or drop the connection if the peer does not answer."""
        await self._socket.close()


def _closed(error: ConnectionClosed) -> TransportClosed:
    if error.rcvd is None:
        return TransportClosed(ABNORMAL)
    return TransportClosed(error.rcvd.code, error.rcvd.reason)


async def dial_websocket(url: str) -> Transport:
    """Open a WebSocket to ``url``; raises OSError, and ValueError if it is no address of one."""
    try:
        socket = await connect(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,  # Compressed frames could not be shared by the server.
            max_size=OUTBOUND_BYTES_MAX,
            ping_interval=None,  # The protocol has pings of its own, both ways.
            close_timeout=CLOSE_TIMEOUT_S,
            proxy=None,
        )
    except InvalidHandshake as error:
        raise ConnectionError(str(error)) from error
    except InvalidURI as error:
        raise ValueError(str(error)) from error
    return WebSocketTransport(socket)

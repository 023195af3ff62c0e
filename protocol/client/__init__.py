"""The Python client of gs.v1, on asyncio: connect, join, command, and stay connected.

It knows the protocol and nothing of any game. ``client`` is who one is; ``room`` is what one sees
and does in a room, ``seeking`` finds it again. ``asking`` gets answers; ``commands`` and
``requests`` are what has none yet. ``links`` are the ways to the servers of a cluster, ``link`` is
one of them, ``connection`` one socket's life; ``transport`` carries the bytes.
"""

from protocol.client.client import Client, Created
from protocol.client.commands import Answer, Body
from protocol.client.errors import (
    AnswerTimeout,
    ClientError,
    ClientStopped,
    CommandDeferred,
    CommandInvalid,
    ConnectionLost,
    RequestRefused,
    RoomClosed,
    TooManyCommands,
    TransportClosed,
)
from protocol.client.options import Counters, Options
from protocol.client.room import ClientRoom
from protocol.client.transport import Dial, Transport, WebSocketTransport, dial_websocket

__all__ = [
    "Answer",
    "AnswerTimeout",
    "Body",
    "Client",
    "ClientError",
    "ClientRoom",
    "ClientStopped",
    "CommandDeferred",
    "CommandInvalid",
    "ConnectionLost",
    "Counters",
    "Created",
    "Dial",
    "Options",
    "RequestRefused",
    "RoomClosed",
    "TooManyCommands",
    "Transport",
    "TransportClosed",
    "WebSocketTransport",
    "dial_websocket",
]

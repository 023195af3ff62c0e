"""The answer to a request for an upgrade: a pure function of its head.

Nothing of the request is kept: a connection has no use for it once it is answered. A request as
clients make them is answered here, for a tenth of what the library needs (after an outage they all
come at once); one that is unusual in any way, and every one that is to be refused, is the
library's to answer.

    .venv/bin/python -m scripts.bench.connections
"""

import base64
import re
from collections.abc import Mapping, Sequence
from hashlib import sha1

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from gameserver.net.incoming import library_log
from protocol.messages import SUBPROTOCOL

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
SWITCHING = 101
# RFC 6455 adds it to a client's key, so that only who knows WebSocket gives this answer.
KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SWITCHING_HEAD = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Protocol: " + SUBPROTOCOL.encode() + b"\r\nSec-WebSocket-Accept: "
)

USUAL_BYTES_MAX = 4096
USUAL_LINES_MAX = 64
_usual_head = re.compile(
    rb"GET /ws(?:\?[!-~]*)? HTTP/1\.1\r\n"
    rb"(?:[-!#$%&'*+.^_`|~0-9a-zA-Z]+:[\t -~\x80-\xff]*\r\n)+\r\n"
).fullmatch
_key = re.compile(rb"[+/0-9A-Za-z]{22}==").fullmatch
USUAL_CONNECTIONS = frozenset({b"upgrade", b"keep-alive, upgrade"})  # Firefox says the second.
# With these a request would not end where its head does.
FIELDS_OF_BODIES = frozenset({b"content-length", b"transfer-encoding"})


def answer(head: bytes, origins: Sequence[str]) -> tuple[int, bytes]:
    """Return the HTTP status and the answer; without ``origins`` any may come."""
    fields = _usual_fields(head)
    if fields is not None and _is_welcome(fields, origins):
        proof = base64.b64encode(sha1(fields[b"sec-websocket-key"] + KEY_SUFFIX).digest())
        return SWITCHING, SWITCHING_HEAD + proof + b"\r\n\r\n"
    return _answer_of_library(head, origins)


def _usual_fields(head: bytes) -> dict[bytes, bytes] | None:
    """Return the fields of a well-formed head by their names in small letters, or None."""
    if len(head) > USUAL_BYTES_MAX or not _usual_head(head):
        return None
    lines = head.split(b"\r\n")[1:-2]
    parts = [line.partition(b":") for line in lines]
    fields = {name.lower(): value.strip(b" \t") for name, _, value in parts}
    is_usual = len(fields) == len(lines) <= USUAL_LINES_MAX  # No field twice.
    return fields if is_usual and fields.keys().isdisjoint(FIELDS_OF_BODIES) else None


def _is_welcome(fields: Mapping[bytes, bytes], origins: Sequence[str]) -> bool:
    origin = fields.get(b"origin")
    return (
        fields.get(b"upgrade", b"").lower() == b"websocket"
        and fields.get(b"connection", b"").lower() in USUAL_CONNECTIONS
        and fields.get(b"sec-websocket-version") == b"13"
        and fields.get(b"sec-websocket-protocol") == SUBPROTOCOL.encode()
        and _key(fields.get(b"sec-websocket-key", b"")) is not None
        # Clients that are no browsers send no origin; they may always come.
        and (not origins or origin is None or origin.decode("latin-1") in origins)
    )


def _answer_of_library(head: bytes, origins: Sequence[str]) -> tuple[int, bytes]:
    library = ServerProtocol(
        origins=[*map(Origin, origins), None] if origins else None,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        logger=library_log,
    )
    library.receive_data(head)
    events = library.events_received()
    if not events:
        return 400, BAD_REQUEST  # The library says nothing to a head that it cannot read.
    assert isinstance(events[0], Request), "a head holds one request"
    response = library.accept(events[0])
    return response.status_code, response.serialize()

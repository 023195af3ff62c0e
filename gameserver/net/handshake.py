"""The answer to a request for an upgrade: a pure function of its head.

Nothing of the request is kept: a connection has no use for it once it is answered.
"""

from collections.abc import Sequence

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from gameserver.net.incoming import library_log
from protocol.messages import SUBPROTOCOL

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
SWITCHING = 101


def answer(head: bytes, origins: Sequence[str]) -> tuple[int, bytes]:
    """Return the HTTP status and the answer; without ``origins`` any may come."""
    library = ServerProtocol(
        # Clients that are no browsers send no origin; they may always come.
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

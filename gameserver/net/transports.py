"""What every socket of a client needs of its transport, whoever speaks on it."""

import asyncio
import contextlib
import socket

NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Not on every system.


def hold_back_little(transport: asyncio.Transport, most_bytes: int) -> None:
    """Let the system keep no more than this of what it has not sent yet.

    It would take megabytes for a client that does not read, and only then would an outbox see any
    of it. How much may be on its way is not limited by this.
    """
    used = transport.get_extra_info("socket")
    if used is not None and NOTSENT_LOWAT is not None:
        with contextlib.suppress(OSError):  # It may have closed already.
            used.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, most_bytes)


def send_no_more(transport: asyncio.Transport, *, is_heard_out: bool) -> None:
    """Send what waits and nothing after it.

    What a client sends that is not heard out is still to be read for a while, and thrown away:
    bytes that were never read would turn our last words into a reset.
    """
    if transport.is_closing():
        return
    if not is_heard_out and transport.can_write_eof():
        transport.write_eof()
    else:
        transport.close()

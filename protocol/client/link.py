"""One address of the cluster and the connection to it, which is made anew as long as that works.

A lost connection is dialled again at once. What cannot be reached is over: whoever wants the
address again makes another link to it. It knows what is asked over it, and no rooms.
"""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, Protocol

from protocol.client.connection import SILENT, Connection, Ended
from protocol.client.errors import ConnectionLost
from protocol.client.options import Counters, Options
from protocol.client.requests import Requests
from protocol.client.transport import ABNORMAL
from protocol.closes import CloseClass, CloseCode, close_class
from protocol.messages import VERSION, AnyOutbound, Hello, Welcome

REACH_MS = 1_000  # Where there may be another way, nobody waits longer for this one.

_TICKET_REFUSED = frozenset({CloseCode.TOKEN_INVALID, CloseCode.TOKEN_EXPIRED})
# From here on the server has said why: then it is not dialled again at once.
_TOLD = 4000


class Owner(Protocol):
    """What a link needs of its client."""

    name: str
    token: str  # Who to say one is; "" makes a guest.

    def take(self, link: "Link", message: AnyOutbound) -> None:
        """Take a message of the server, Welcome among them."""

    def lost(self, link: "Link") -> None:
        """Take the loss of a connection that had been welcomed."""

    def awaits(self, link: "Link") -> bool:
        """Tell whether an answer is waited for there which other servers could give."""

    def finish(self, closing: Coroutine[Any, Any, None]) -> None:
        """Run what ends by itself, soon, whatever becomes of the client."""


class Link:
    """The way to one url. Its task is ``run``; cancelled, it says goodbye."""

    def __init__(self, url: str, owner: Owner, options: Options, counters: Counters) -> None:
        self.url = url
        self.requests = Requests(self.post)
        self.handles: dict[int, int] = {}  # Rooms by what the server calls them on this connection.
        self.is_open = False
        self.was_open = False  # Ever: a server that let us in may also send us away for good.
        self.was_steady = False
        self.over: Ended | None = None
        # Whether the connection that was just lost is dialled again by this link.
        self.comes_back = False
        self._owner = owner
        self._options = options
        self._counters = counters
        self._connection: Connection | None = None
        self._opened_ns = 0
        self._settled = asyncio.Event()  # Open or over: nobody need wait.
        self._ended = asyncio.Event()

    def post(self, payload: bytes) -> None:
        """Put a message on its way; without a connection it is dropped."""
        if self._connection is not None and self.is_open:
            self._connection.post(payload)

    async def settled(self) -> bool:
        """Wait until there is a connection or none will be; the caller sets the deadline."""
        while True:
            await self._settled.wait()
            if self.is_open or self.over is not None:
                return self.is_open

    async def ended(self) -> Ended:
        """Wait until this link is over."""
        await self._ended.wait()
        assert self.over is not None, "What has ended says how."
        return self.over

    async def run(self, ticket: str, timeout_ms: int) -> Ended:
        """Connect, and once more at once after each good connection, until that fails.

        With a ticket it comes with that first, and with the token if it is refused.
        """
        ended = Ended(ABNORMAL, "LEFT")
        try:
            may_redial = True
            while True:
                ended = await self._live(ticket or self._owner.token, timeout_ms)
                refused = bool(ticket) and ended.code in _TICKET_REFUSED
                ticket = ""
                if refused and not self.is_open:
                    continue  # The ticket was stale; the token is good for longer.
                if not self.is_open:
                    return ended
                may_redial = self._lose(ended, may_redial)
                if not self.comes_back:
                    return ended
                timeout_ms = min(timeout_ms, REACH_MS)
        finally:
            self._end(ended)

    async def _live(self, token: str, timeout_ms: int) -> Ended:
        """Live through one connection."""
        hello = Hello([VERSION], token, self._owner.name, self._options.program)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                transport = await self._options.dial(self.url)
        except (OSError, ValueError) as error:
            code = ABNORMAL if isinstance(error, OSError) else CloseCode.WEBSOCKET_ERROR
            ended = Ended(code, str(error))
        else:
            awaits = partial(self._owner.awaits, self)
            connection = Connection(transport, self._options, self._counters, self._take, awaits)
            self._connection = connection
            ended = await connection.run(hello, timeout_ms)
            self._owner.finish(connection.close())  # A server that is stopped takes its time.
        self._connection = None
        self._counters.closes[ended.code] = self._counters.closes.get(ended.code, 0) + 1
        return ended

    def _take(self, message: AnyOutbound) -> None:
        if isinstance(message, Welcome):
            self.is_open = self.was_open = True
            self.handles = {}
            self._opened_ns = self._options.now_ns()
            self._settled.set()
        self._owner.take(self, message)

    def _lose(self, ended: Ended, may_redial: bool) -> bool:
        """Let everything wait; return whether the loss of the next connection may be mended too."""
        lived_ms = (self._options.now_ns() - self._opened_ns) // 1_000_000
        self.was_steady = lived_ms >= self._options.steady_ms
        self.comes_back = (may_redial or self.was_steady) and ended.code < _TOLD
        if close_class(ended.code) is CloseClass.STOP or ended.name == SILENT:
            self.comes_back = False
        self.is_open = False
        self._settled.clear()
        self._counters.disconnects += 1
        self.requests.fail(ConnectionLost("the connection broke"))
        self._owner.lost(self)
        return self.was_steady

    def _end(self, ended: Ended) -> None:
        self.is_open = False
        self._connection = None
        self.over = ended
        self.requests.fail(ConnectionLost(f"no connection to {self.url}"))
        self._settled.set()
        self._ended.set()

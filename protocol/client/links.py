"""Which addresses of a cluster a client is connected to, and which of them is its home.

There is one link to an address at most. Home is where requests go: the address that was given, or
another one of the cluster when that is gone. Other links are made when a room is said to live
there, and closed when no room does any more. It does not know rooms.

    ClientError
      Unreachable      there is no way to an address just now; only between links and their users
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol
from urllib.parse import urlsplit

from protocol.client.errors import ClientError, ClientStopped
from protocol.client.link import REACH_MS, Link, Owner
from protocol.client.options import Counters, Options
from protocol.closes import CloseClass, close_class
from protocol.messages import NODES_MAX, TOKEN_CHARS_MAX

RETRY_MS_MAX = 60_000  # No server's wish keeps a client away for longer.
UNUSED_S = 5.0  # A room that moves back soon finds its link standing.
URL_CHARS_MAX = 1_024

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Unreachable(ClientError):
    """There is no way to this address just now."""


class LinksOwner(Owner, Protocol):
    """What links need of their client."""

    def uses(self, link: Link) -> bool:
        """Tell whether a room is seen there."""

    def stop(self, error: ClientStopped) -> None:
        """Come to an end: no server is to be asked again."""


class Links:
    """All links of a client. ``spawn`` runs a coroutine until the client ends."""

    def __init__(
        self, url: str, owner: LinksOwner, options: Options, counters: Counters, spawn: Spawn
    ) -> None:
        self.home: Link | None = None
        self.failure = ""  # Why there was no way in the last time, for a person.
        self._given = url
        self._owner = owner
        self._options = options
        self._counters = counters
        self._spawn = spawn
        self._by_url: dict[str, Link] = {}  # Bounded by the rooms and the requests under way.
        self._tasks: dict[Link, asyncio.Task[None]] = {}
        self._unused: dict[Link, asyncio.TimerHandle] = {}  # When to look whether it is used.
        self._nodes: tuple[str, ...] = ()  # At most NODES_MAX and one.
        self._former: tuple[str, ...] = ()  # The last that were told, as many.
        # By url: when it was gone, and when it asked to be dialled again.
        self._gone_ns: dict[str, int] = {}
        self._rests_ns: dict[str, int] = {}
        self._at_home = asyncio.Event()  # Set while home is open, and at the end.
        self._stopped: ClientError | None = None

    # --- For whoever asks.

    async def at_home(self) -> Link:
        """Wait until home is open; the caller sets the deadline. Raises ClientStopped."""
        await self._at_home.wait()
        if self._stopped is not None:
            raise self._stopped
        home = self.home
        assert home is not None, "What is open is there."
        return home

    async def reach(self, url: str, ticket: str) -> Link:
        """Return an open link to ``url``, made if need be; raises Unreachable after a second."""
        if not self._may_follow(url):
            raise Unreachable(f"no address to follow: {url[:URL_CHARS_MAX]!r}")
        if len(ticket) > TOKEN_CHARS_MAX:
            ticket = ""  # It would end the connection; the token is as good.
        return await self.back(self._link(url, ticket, self._options.dial_timeout_ms))

    async def back(self, link: Link) -> Link:
        """Return a link when it is open; raises Unreachable when it is over, or after a second."""
        try:
            async with asyncio.timeout(REACH_MS / 1000):
                if await link.settled():
                    return link
        except TimeoutError:
            pass  # It goes on trying: who is sent there once more may find it open.
        raise Unreachable(f"{link.url} cannot be reached")

    # --- For the client.

    @property
    def connected(self) -> bool:
        """Tell whether there is a connection to home just now."""
        return self.home is not None and self.home.is_open

    @property
    def has_others(self) -> bool:
        """Tell whether more than one address is known."""
        return len(self._ways()) > 1

    def opened(self, link: Link) -> None:
        """Take note that a link was welcomed."""
        if link is self.home:
            self._at_home.set()
        self.released(link)

    def lost(self, link: Link) -> None:
        """Take note that a link has no connection any more."""
        if link is self.home:
            self._at_home.clear()

    def released(self, link: Link) -> None:
        """Close a link in a while unless something goes on there."""
        if link in self._unused:
            self._unused[link].cancel()
        loop = asyncio.get_running_loop()
        self._unused[link] = loop.call_later(UNUSED_S, self._close_unused, link)

    def take_nodes(self, link: Link, urls: list[str]) -> None:
        """Learn the other addresses of the cluster."""
        told = [url for url in urls[:NODES_MAX] if self._may_follow(url)]
        if told or not self._former:
            self._former = self._nodes
        self._nodes = tuple(dict.fromkeys((*told, link.url)))

    async def keep_home(self) -> None:
        """Have a home, again and again, with longer and longer waits while there is none."""
        url, attempt = self._given, 0
        while True:
            home = self._standing() or self._link(url, "", self._patience_ms(attempt))
            self.home = home
            if home.is_open:
                self._at_home.set()
            ended = await home.ended()
            self._at_home.clear()
            self.failure = f": {ended.name}" if ended.name else ""
            attempt = 0 if home.was_steady else attempt
            url = self._next_way(home.url)
            if self._standing() is None:
                await asyncio.sleep(self._rest_s(url) + self._options.backoff_s(attempt))
                attempt += 1

    def stop(self, error: ClientError) -> None:
        """Say goodbye on all links; whoever waits for anything is told why."""
        self._stopped = error
        for link in self._by_url.values():
            link.requests.fail(error)
        self._at_home.set()

    # --- Making and ending links.

    def _link(self, url: str, ticket: str, timeout_ms: int) -> Link:
        if self._stopped is not None:
            raise self._stopped
        link = self._by_url.get(url)
        if link is None:
            link = Link(url, self._owner, self._options, self._counters)
            self._by_url[url] = link
            self._tasks[link] = self._spawn(self._run(link, ticket, timeout_ms))
        return link

    async def _run(self, link: Link, ticket: str, timeout_ms: int) -> None:
        try:
            ended = await link.run(ticket, timeout_ms)
        finally:
            self._forget(link)
        if ended.retry_ms >= 0:
            rest_ns = min(ended.retry_ms, RETRY_MS_MAX) * 1_000_000
            self._rests_ns[link.url] = self._options.now_ns() + rest_ns
        # A stranger to whom a server sent us does not end the client by refusing it.
        if close_class(ended.code) is CloseClass.STOP and (link.was_open or self._is_given(link)):
            self._owner.stop(ClientStopped(ended.code, ended.name))

    def _close_unused(self, link: Link) -> None:
        del self._unused[link]
        task = self._tasks.get(link)
        if task is None or link is self.home or self._owner.uses(link):
            return
        if len(link.requests):
            self.released(link)
        else:
            self._forget(link)  # Whoever comes now gets another one.
            task.cancel()

    def _forget(self, link: Link) -> None:
        if self._tasks.pop(link, None) is not None:
            del self._by_url[link.url]
        unused = self._unused.pop(link, None)
        if unused is not None:
            unused.cancel()

    # --- Where to go.

    def _is_given(self, link: Link) -> bool:
        return link.url == self._given

    def _standing(self) -> Link | None:
        """Return a link that could be home as it is."""
        return next((link for link in self._by_url.values() if link.is_open), None)

    def _next_way(self, gone: str) -> str:
        """Return the url to try after one that is gone.

        It is the one that was given every other time, which somebody chose, and else one that was
        not tried for the longest time: any of those, so that not all clients come to the same.
        """
        now_ns, ways = self._options.now_ns(), self._ways()
        self._gone_ns = {url: at for url, at in self._gone_ns.items() if url in ways}
        self._gone_ns[gone] = now_ns
        self._rests_ns = {url: at for url, at in self._rests_ns.items() if at > now_ns}
        ready = [url for url in ways if url not in self._rests_ns and url != gone]
        if not ready:
            return min(ways, key=lambda url: self._rests_ns.get(url, 0))
        if self._given in ready:
            return self._given
        longest = min(self._gone_ns.get(url, 0) for url in ready)
        ready = [url for url in ready if self._gone_ns.get(url, 0) == longest]
        return ready[int(self._options.jitter(len(ready))) % len(ready)]

    def _ways(self) -> tuple[str, ...]:
        ways = tuple(dict.fromkeys((self._given, *self._nodes)))
        # A node that was alone may be gone before those that came back could be told of.
        return ways if len(ways) > 1 else tuple(dict.fromkeys((*ways, *self._former)))

    def _rest_s(self, url: str) -> float:
        return max(0, self._rests_ns.get(url, 0) - self._options.now_ns()) / 1_000_000_000

    def _patience_ms(self, attempt: int) -> int:
        """Return how long to wait for a connection: short at first, if there are other ways."""
        longest_ms = self._options.dial_timeout_ms
        return min(longest_ms, REACH_MS << min(attempt, 8)) if self.has_others else longest_ms

    def _may_follow(self, url: str) -> bool:
        """Tell whether a server may send us there."""
        if url == self._given:
            return True
        if len(url) > URL_CHARS_MAX or not url.isprintable() or " " in url:
            return False
        try:
            parts = urlsplit(url)
            known = bool(parts.hostname) and parts.port != 0 and parts.username is None
        except ValueError:
            return False
        schemes = ("wss",) if urlsplit(self._given).scheme == "wss" else ("ws", "wss")
        return known and parts.scheme in schemes

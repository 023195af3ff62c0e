"""A relay of TCP connections that can cut, hold and lose what it carries.

``Relay`` knows bytes only. ``CommitRelay`` stands before PostgreSQL and knows which connection
carries commits, when one is asked for, and when it is done: so it can lose the answer to a commit
that took place, or a commit on its way.
"""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum

CONNECT_TIMEOUT_S = 5.0
# With this a socket is closed by a reset, as if its host had gone, and not in order.
RESET = struct.pack("ii", 1, 0)

# Where connections lead: the path of a socket, or an address and a port.
Target = str | tuple[str, int]


class Relay:
    """Listens on a port of the loopback and passes on to ``target``; without one it hangs up."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.target: Target | None = None
        self.links: set[Link] = set()
        self.is_held = False
        self.port = 0
        self._tasks = tasks
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, also again on the same port; ``port`` is known afterwards."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Link(self).near, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Let nobody in any more, as a port at which nobody listens; the connections stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def stop(self) -> None:
        """Let nobody in and hang up."""
        self.refuse()
        self.reset()
        await asyncio.sleep(0)

    def reset(self) -> int:
        """Cut every connection by a reset; return how many there were."""
        links = tuple(self.links)
        for link in links:
            link.reset()
        return len(links)

    def hold(self) -> None:
        """Pass nothing on, and lose nothing, until ``let_go``: a network that stands still."""
        self.is_held = True
        for link in self.links:
            link.hold()

    def let_go(self) -> None:
        """Pass on what was held, to connections that may be given up by now."""
        self.is_held = False
        for link in tuple(self.links):
            self.admit(link)

    def admit(self, link: "Link") -> None:
        """Connect a new link, or let a held one go on."""
        if self.is_held:
            return
        if link.far.transport is not None:
            link.go_on()
        else:
            self._tasks.create_task(self._connect(link))

    def ways(self) -> Sequence[Target]:
        """Return where a new connection may lead, in this order."""
        return () if self.target is None else (self.target,)

    async def _connect(self, link: "Link") -> None:
        loop = asyncio.get_running_loop()
        for target in self.ways():
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    if isinstance(target, str):
                        await loop.create_unix_connection(lambda: link.far, target)
                    else:
                        await loop.create_connection(lambda: link.far, *target)
            except (OSError, TimeoutError):
                continue
            if self.is_held:
                link.hold()
            else:
                link.go_on()
            return
        link.reset()

    def looked_at(self, link: "Link", data: bytes, *, outward: bool) -> bytes:
        """Return what to pass on of ``data``, which goes from the client if ``outward``."""
        return data


class Balancer(Relay):
    """One address for several servers: each connection goes to the next of them that takes it.

    Those that are known to be going get none.
    """

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        super().__init__(tasks)
        self.targets: deque[Target] = deque()
        self.is_going: Callable[[Target], bool] = lambda target: False

    def ways(self) -> Sequence[Target]:
        """Return all that stay, each time beginning with the next."""
        self.targets.rotate(-1)
        return [target for target in self.targets if not self.is_going(target)]


class Link:
    """One connection through a relay. ``near`` is the client's end, ``far`` the server's."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.near = _End(self, is_near=True)
        self.far = _End(self, is_near=False)
        # What CommitRelay knows of the link.
        self.carries_commits = False
        self.cut: Cut | None = None
        self.is_cut = False
        self.answer = bytearray()

    def opened(self, end: "_End") -> None:
        """Begin with the client's end; the other end is opened for it."""
        if end is self.near:
            self.relay.links.add(self)
            self.hold()
            self.relay.admit(self)
        elif self not in self.relay.links:  # The client has gone meanwhile.
            end.reset()

    def carry(self, end: "_End", data: bytes) -> None:
        """Pass bytes on to the other end, as the relay sees fit."""
        data = self.relay.looked_at(self, data, outward=end is self.near)
        other = self.far if end is self.near else self.near
        if data and other.transport is not None and not other.transport.is_closing():
            other.transport.write(data)

    def closed(self, *, in_order: bool) -> None:
        """End the other end as this one ended."""
        self.relay.links.discard(self)
        for end in (self.near, self.far):
            if in_order:
                end.close()
            else:
                end.reset()

    def reset(self) -> None:
        """End both ends as if the network between them had gone."""
        self.closed(in_order=False)

    def hold(self) -> None:
        """Read nothing more from either end."""
        for end in (self.near, self.far):
            if end.transport is not None and not end.transport.is_closing():
                end.transport.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        for end in (self.near, self.far):
            if end.transport is not None and not end.transport.is_closing():
                end.transport.resume_reading()


class _End(asyncio.Protocol):
    """One end of a link."""

    def __init__(self, link: Link, *, is_near: bool) -> None:
        self.transport: asyncio.Transport | None = None
        self._link = link
        self._is_near = is_near

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._link.opened(self)

    def data_received(self, data: bytes) -> None:
        self._link.carry(self, data)

    def connection_lost(self, error: Exception | None) -> None:
        self._link.closed(in_order=error is None)

    def pause_writing(self) -> None:
        other = self._link.far if self._is_near else self._link.near
        if other.transport is not None and not other.transport.is_closing():
            other.transport.pause_reading()

    def resume_writing(self) -> None:
        other = self._link.far if self._is_near else self._link.near
        if other.transport is not None and not other.transport.is_closing():
            other.transport.resume_reading()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        with contextlib.suppress(OSError, AttributeError):
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()


class Cut(StrEnum):
    """What becomes of the next commit on its way."""

    ANSWER_RESET = "answer_reset"  # It takes place; the answer is lost with the connection.
    ANSWER_SILENT = "answer_silent"  # It takes place; the connection stays, and stays silent.
    REQUEST_LOST = "request_lost"  # It never arrives; the connection is reset.


class CommitRelay(Relay):
    """A relay before PostgreSQL. ``done`` counts the cuts that took place."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        super().__init__(tasks)
        self.done: dict[Cut, int] = dict.fromkeys(Cut, 0)
        self.was_cut = asyncio.Event()
        self._armed: Cut | None = None

    def arm(self, cut: Cut) -> None:
        """Do this to the next commit that is asked for."""
        self.was_cut.clear()
        self._armed = cut

    def looked_at(self, link: Link, data: bytes, *, outward: bool) -> bytes:
        """Return what to pass on; a commit that is to be cut is followed to its end."""
        if not outward:
            return data if link.cut is None else self._answered(link, data)
        if b"commit_batch(" in data:
            link.carries_commits = True
        elif self._armed is not None and link.carries_commits and data.startswith(b"B"):
            link.cut, self._armed = self._armed, None
            link.answer.clear()
        if link.cut is Cut.REQUEST_LOST:
            self._count(link.cut)
            link.reset()
            return b""
        return data

    def _answered(self, link: Link, data: bytes) -> bytes:
        """Keep the answer back until it is whole; it was a commit unless it is an error."""
        assert link.cut is not None, "Only a link that is cut is listened to."
        if link.is_cut:
            return b""
        link.answer += data
        kinds = kinds_of(link.answer)
        if kinds is None:
            return b""
        if b"E" in kinds:  # Refused, for a lock perhaps: this was no commit, the next may be one.
            kept = bytes(link.answer)
            self._armed, link.cut = link.cut, None
            return kept
        link.is_cut = True
        self._count(link.cut)
        if link.cut is Cut.ANSWER_RESET:
            link.reset()
        return b""

    def _count(self, cut: Cut) -> None:
        self.done[cut] += 1
        self.was_cut.set()


def kinds_of(answer: bytes | bytearray) -> bytes | None:
    """Return the kinds of PostgreSQL's messages up to ReadyForQuery; None if it is not there."""
    kinds = bytearray()
    at = 0
    while at + 5 <= len(answer):
        kinds.append(answer[at])
        at += 1 + int.from_bytes(answer[at + 1 : at + 5], "big")
        if at > len(answer):
            return None
        if kinds[-1:] == b"Z":
            return bytes(kinds)
    return None

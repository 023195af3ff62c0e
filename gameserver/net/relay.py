"""Rooms that other nodes have, shown to clients of this one as if it had them.

For each client and each other node that has rooms of it there is one upstream connection, on
which this node is the client's stand-in: what the client says about those rooms goes up, what is
shown of them comes down, with nothing changed but how rooms are called. Nothing is kept here: when
an upstream ends, or a room goes on elsewhere, the client is told that its rooms have moved, and
asks for them again.

Who has which room is for the caller. A client that reads slowly is not read for, so that the
node which has the room merges what it would send: the memory of this one does not grow.
"""

import asyncio
from collections.abc import Callable
from itertools import count

from msgspec.structs import replace

from gameserver.net.connection import Connection
from gameserver.net.edge import Edge
from gameserver.net.heads import head, tail
from gameserver.net.upstream import Upstream
from gameserver.services.doors import Elsewhere
from gameserver.services.refusals import Refusal
from protocol import codec
from protocol.frames import framed, headed
from protocol.messages import Command, Join, Joined, Leave, Redirect, ReplyCode, Resume, Resync

# A room that is on its way may be redirected by the node that had it a moment ago.
HOPS_MAX = 4
# Nodes that have rooms of one client; of all clients together.
UPSTREAMS_PER_CLIENT_MAX = 16
UPSTREAMS_MAX = 20_000
# Requests of one client to one node; who has more open does not wait for answers.
LEAVING_MAX = 64
# How long an upstream stays when its client has no room there any more.
IDLE_NS = 5_000_000_000
RETRY_MS = 100

# Types of messages, as they come down. A room's number is the first of their fields.
SHOWN = frozenset({5, 8, 9, 16, 17})
# Here it is the room's handle, and a packed tail follows.
TOLD = {6: codec.delta, 7: codec.private}
REPLY, JOINED, LEFT, REDIRECT, BALANCE, MOVED = 3, 4, 10, 11, 12, 18
# No room of this node has such a handle: they are counted from 0, and nobody sees so many.
HANDLES_FROM = 256

_UNAVAILABLE = Refusal(ReplyCode.UNAVAILABLE, "the room's node does not answer", RETRY_MS)
_BUSY = Refusal(ReplyCode.BUSY, "too many nodes", RETRY_MS)

# How a join at another node ended: by an answer that was passed down, by a redirect, or by the
# end of the upstream (None).
_PASSED = "passed"
_Ending = Redirect | str | None


class Relay:
    """All clients of this node that see rooms of others.

    ``whereabouts`` tells the address of the node that has a room now: "" for this one, None if
    that is not known.
    """

    def __init__(self, edge: Edge, whereabouts: Callable[[int], str | None]) -> None:
        self.upstreams = 0
        self._edge = edge
        self._whereabouts = whereabouts
        self._clients: dict[Connection, Client] = {}

    async def enter(
        self, connection: Connection, message: Join | Resume, elsewhere: Elsewhere
    ) -> Refusal | None:
        """Ask another node for a room; None if its answer was passed down."""
        url, ticket = elsewhere.url, elsewhere.ticket
        for _ in range(HOPS_MAX):
            branch = await self._branch(connection, url, ticket)
            if isinstance(branch, Refusal):
                return branch
            ending = await branch.ask(message)
            if not isinstance(ending, Redirect):
                return _UNAVAILABLE if ending is None else None
            url, ticket = ending.url, ending.ticket
        return _UNAVAILABLE

    def forward(self, connection: Connection, message: Command | Leave | Resync) -> bool:
        """Pass on what concerns a room elsewhere; False if it does not."""
        client = self._clients.get(connection)
        branch = None if client is None else client.branch_of(message.room)
        if branch is None:
            return False
        branch.forward(message)
        return True

    def rooms(self, connection: Connection) -> int:
        """Return how many rooms a connection sees elsewhere."""
        client = self._clients.get(connection)
        return 0 if client is None else len(client.rooms)

    def drained(self, connection: Connection) -> None:
        """Go on for a client that has read what it had."""
        client = self._clients.get(connection)
        if client is not None:
            for branch in tuple(client.branches.values()):
                branch.upstream.resume()

    def lost(self, connection: Connection) -> None:
        """Leave all rooms of a client that is gone."""
        client = self._clients.pop(connection, None)
        if client is not None:
            for branch in tuple(client.branches.values()):
                branch.upstream.end()

    def look(self) -> None:
        """Move the rooms that are no longer where their upstream leads: their node may be frozen.

        To be called whenever there is news of who has which room.
        """
        for client in tuple(self._clients.values()):
            for room_id, branch in tuple(client.rooms.items()):
                if client.rooms.get(room_id) is not branch:
                    continue  # What was just told has closed the connection.
                if self._whereabouts(room_id) not in (None, branch.url):
                    branch.move(room_id)

    async def _branch(self, connection: Connection, url: str, ticket: str) -> "Branch | Refusal":
        if not connection.is_open:
            return _UNAVAILABLE
        client = self._clients.get(connection)
        if client is None:
            client = self._clients[connection] = Client(connection)
        branch = client.branches.get(url)
        if branch is not None:
            await branch.upstream.settled()
        else:
            most = UPSTREAMS_PER_CLIENT_MAX
            if len(client.branches) >= most or self.upstreams >= UPSTREAMS_MAX:
                return _BUSY
            branch = client.branches[url] = Branch(client, url, self._edge, self._ended)
            self.upstreams += 1
            await branch.upstream.open(ticket, connection.name)
        return branch if branch.upstream.is_open else _UNAVAILABLE

    def _ended(self, branch: "Branch") -> None:
        self.upstreams -= 1
        del branch.client.branches[branch.url]


class Client:
    """One connection that sees rooms elsewhere."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # By address of the other node.
        self.branches: dict[str, Branch] = {}
        # Rooms that are seen, and where; as many as one connection may see.
        self.rooms: dict[int, Branch] = {}
        # What those are called here. Bounded as they are, and by joins under way.
        self.handles: dict[int, int] = {}

    def branch_of(self, room_id: int) -> "Branch | None":
        """Return where a room is seen, if it is seen elsewhere."""
        branch = self.rooms.get(room_id)
        if branch is not None and room_id in self.connection.outbox.rooms:
            self.leave(room_id)  # It has come here, and was joined here.
            return None
        return branch

    def enter(self, room_id: int, branch: "Branch") -> int:
        """Note where a room is seen; return what it is called here."""
        self.rooms[room_id] = branch
        used = set(self.handles.values())
        free = next(number for number in count(HANDLES_FROM) if number not in used)
        return self.handles.setdefault(room_id, free)

    def leave(self, room_id: int) -> None:
        """Note that a room is not seen elsewhere any more."""
        del self.rooms[room_id]
        del self.handles[room_id]


class Branch:
    """What one client has at one other node."""

    def __init__(
        self, client: Client, url: str, edge: Edge, on_ended: Callable[["Branch"], None]
    ) -> None:
        self.client = client
        self.url = url
        self.upstream = Upstream(url, edge.clock, self)
        self._edge = edge
        self._on_ended = on_ended
        # Joins without an answer; each is waited for by a job, of which a client has few.
        self._asked: dict[int, asyncio.Future[_Ending]] = {}
        # Requests to leave without an answer. Bounded by LEAVING_MAX; more are refused.
        self._leaving: set[int] = set()
        # Rooms by what the other node calls them. Bounded by the rooms that one connection may see.
        self._called: dict[int, int] = {}
        self._was_idle = False
        edge.wheel.put(self, edge.clock.now_ns() + IDLE_NS)

    # --- From the client.

    async def ask(self, message: Join | Resume) -> _Ending:
        """Pass a join on, and wait for how it ends, as long as the caller cares to."""
        request = message.request
        if request in self._asked:
            return None  # The number is in use: the client counts wrongly.
        asked: asyncio.Future[_Ending] = asyncio.get_running_loop().create_future()
        self._asked[request] = asked
        try:
            self.upstream.send(message)
            return await asked
        finally:
            self._asked.pop(request, None)

    def forward(self, message: Command | Leave | Resync) -> None:
        """Pass a message on."""
        if isinstance(message, Leave):
            if len(self._leaving) >= LEAVING_MAX:
                self._refuse(message.request, _BUSY)
                return
            self._leaving.add(message.request)
        self.upstream.send(message)

    def move(self, room_id: int) -> None:
        """Tell the client to ask for a room again."""
        self.client.leave(room_id)
        self.client.connection.send(codec.moved(room_id, "", ""))

    # --- From the other node.

    @property
    def is_full(self) -> bool:
        """Whether the client has enough to read."""
        return self.client.connection.outbox.is_over_soft

    def take(self, payload: bytes) -> None:
        """Pass a message down, if it is for the client."""
        kind, first = head(payload)
        if kind in TOLD:
            room_id = self._called.get(first, 0)
            if self._shows(room_id):
                told = TOLD[kind](self.client.handles[room_id], tail(payload))
                self.client.connection.write(framed(told))
            return
        if kind in SHOWN:
            is_for_client = self._shows(first)
        elif kind == REPLY:
            is_for_client = self._settle(first, _PASSED) or self._has_left(first)
        elif kind == LEFT:
            is_for_client = self._shows(first)
            if is_for_client:
                self.client.leave(first)
        else:
            is_for_client = kind == BALANCE
            self._take_other(kind, first, payload)
        if is_for_client:
            self.client.connection.write(headed(payload))

    def lost(self) -> None:
        """Let the client ask for its rooms again, and for all that was not answered."""
        self._edge.wheel.remove(self)
        for room_id in [room_id for room_id, one in self.client.rooms.items() if one is self]:
            self.move(room_id)
        for request in tuple(self._asked):
            self._settle(request, None)
        for request in self._leaving:
            self._refuse(request, _UNAVAILABLE)
        self._on_ended(self)

    def due(self, now_ns: int) -> int | None:
        """End when nothing is heard, or nothing is here to be heard."""
        is_silent = now_ns - self.upstream.heard_ns >= self._edge.limits.idle_timeout_ns
        is_idle = not (self._asked or self._leaving or self in self.client.rooms.values())
        if (is_silent and not self.is_full) or (is_idle and self._was_idle):
            self.upstream.end()
            return None
        self._was_idle = is_idle
        return now_ns + IDLE_NS

    def _take_other(self, kind: int, first: int, payload: bytes) -> None:
        if kind == MOVED and self._shows(first):
            self.move(first)
        elif kind in (REDIRECT, JOINED):
            message = codec.decode_outbound(payload)
            if isinstance(message, Redirect):
                self._settle(first, message)
            elif isinstance(message, Joined):
                self._called[message.handle] = message.room  # Also if nobody waits any more.
                if self._settle(first, _PASSED):
                    handle = self.client.enter(message.room, self)
                    self.client.connection.send(codec.joined(replace(message, handle=handle)))

    def _shows(self, room_id: int) -> bool:
        return self.client.branch_of(room_id) is self

    def _settle(self, request: int, ending: _Ending) -> bool:
        asked = self._asked.pop(request, None)
        if asked is None or asked.done():
            return False  # Nobody waits any more: the client has been told to ask again.
        asked.set_result(ending)
        return True

    def _has_left(self, request: int) -> bool:
        was_leaving = request in self._leaving
        self._leaving.discard(request)
        return was_leaving

    def _refuse(self, request: int, refusal: Refusal) -> None:
        told = codec.reply_error(request, refusal.code, refusal.detail, refusal.retry_ms)
        self.client.connection.send(told)

"""Several toy servers that are one cluster: a room lives on one of them, and all know on which.

A node that is asked for another's room redirects, with a ticket. What befalls nodes is on order.
"""

import asyncio

from protocol import codec
from protocol.closes import CloseCode
from protocol.messages import (
    AnyInbound,
    Hello,
    Join,
    Leave,
    ReplyCode,
    Resume,
)
from tests.protocol.peer import Pipe, Side, ToyRoom, ToyServer

A, B, C = (f"ws://{name}.test/ws" for name in "abc")
TICKET_S = 10


class ToyNode(ToyServer):
    """One node: a server that redirects for rooms of others."""

    def __init__(self, cluster: "ToyCluster", url: str) -> None:
        super().__init__()
        self.rooms = cluster.rooms
        self.url = url
        self._cluster = cluster

    def handle(self, side: Side, message: AnyInbound) -> None:
        """Do what a message asks for, or say where it is done."""
        if self.mute:
            super().handle(side, message)
        elif isinstance(message, Hello):
            self.seen.append(message)
            self._let_in(side, message)
        elif isinstance(message, Join | Resume) and self._is_elsewhere(side, message):
            self.seen.append(message)
        elif isinstance(message, Leave) and self._cluster.owners[message.room] != self.url:
            self.seen.append(message)
            side.send(codec.reply_error(message.request, ReplyCode.NOT_FOUND))
        else:
            super().handle(side, message)

    def _let_in(self, side: Side, message: Hello) -> None:
        cluster = self._cluster
        token, back = message.token, ""
        if token.startswith("ticket"):
            account, url, until_s = cluster.tickets.pop(token, (0, "", 0.0))
            if url != self.url or until_s < asyncio.get_running_loop().time():
                side.send(codec.goodbye(CloseCode.TOKEN_INVALID))
                side.cut(CloseCode.TOKEN_INVALID)
                return
        else:
            account = int(token.removeprefix("token-") or 9)
            back = f"token-{account}"
        side.account = account
        side.send(codec.welcome(account, "ann", back, 1_000))
        side.send(codec.nodes(cluster.named(self.url)))

    def _is_elsewhere(self, side: Side, message: Join | Resume) -> bool:
        """Answer for a room that does not live here; tell whether that was so."""
        cluster = self._cluster
        room = self.wanted(message) if isinstance(message, Join) else self.rooms.get(message.room)
        if room is None:
            return False
        owner = cluster.believed.get((self.url, room.id), cluster.owners[room.id])
        if owner == self.url:
            return False
        if not owner:
            side.send(codec.reply_error(message.request, ReplyCode.UNAVAILABLE, retry_ms=100))
        else:
            ticket = cluster.ticket(side.account, owner)
            side.send(codec.redirect(message.request, room.id, owner, ticket))
        return True


class ToyCluster:
    """All nodes, the rooms and who owns them."""

    def __init__(self, *rooms: str) -> None:
        """Make nodes A, B and C; of ``rooms`` each gives the owner, with ids from 5."""
        self.rooms: dict[int, ToyRoom] = {}
        self.owners: dict[int, str] = {}
        for room_id, owner in enumerate(rooms, 5):
            self.rooms[room_id] = ToyRoom(room_id, f"ROOM{room_id}", 50)
            self.owners[room_id] = owner
        self.nodes = {url: ToyNode(self, url) for url in (A, B, C)}
        self.down: set[str] = set()
        self.stuck: set[str] = set()  # Addresses that take a connection and never answer.
        # (node, room) -> what it wrongly takes for the owner.
        self.believed: dict[tuple[str, int], str] = {}
        self.tickets: dict[str, tuple[int, str, float]] = {}
        self.tickets_made = 0
        self.told: list[str] | None = None  # What Nodes says, if not the truth.
        self.dialled: list[tuple[str, float]] = []

    async def dial(self, url: str) -> Pipe:
        """Connect to a node; what a client's options take."""
        self.dialled.append((url, asyncio.get_running_loop().time()))
        if url in self.stuck:
            await asyncio.sleep(3_600)
        if url in self.down or url not in self.nodes:
            raise ConnectionRefusedError("nobody listens")
        side = Side(self.nodes[url])
        self.nodes[url].sides.append(side)
        return side.pipe

    def named(self, url: str) -> list[str]:
        """Return what a node says of the others."""
        if self.told is not None:
            return self.told
        return [other for other in self.nodes if other not in (url, *self.down)]

    def ticket(self, account: int, url: str) -> str:
        """Make a ticket for a node."""
        self.tickets_made += 1
        ticket = f"ticket-{self.tickets_made}"
        self.tickets[ticket] = (account, url, asyncio.get_running_loop().time() + TICKET_S)
        return ticket

    def kill(self, url: str) -> None:
        """End a node without a word; its rooms have no owner."""
        self.down.add(url)
        for room_id, owner in self.owners.items():
            if owner == url:
                self.owners[room_id] = ""
        for side in self.nodes[url].sides:
            side.cut()

    def restart(self, url: str) -> None:
        """Let a node listen again."""
        self.down.discard(url)

    def move(self, room_id: int, to: str, *, say: str | None = None) -> None:
        """Hand a room over; its viewers are told ``say``, or the truth."""
        self.owners[room_id] = to
        room = self.rooms[room_id]
        viewers, room.viewers = room.viewers, {}
        for side in viewers:
            url = to if say is None else say
            ticket = self.ticket(side.account, url) if url else ""
            side.send(codec.moved(room_id, url, ticket))

    def hellos(self, url: str) -> list[str]:
        """Return the tokens that came with each Hello to a node."""
        return [one.token for one in self.nodes[url].seen if isinstance(one, Hello)]

    def seen(self, url: str, kind: type) -> int:
        """Return how many messages of a kind came to a node."""
        return sum(type(one) is kind for one in self.nodes[url].seen)

    def open_sides(self, url: str) -> int:
        """Return how many connections a node has."""
        return sum(side.session.state.value == "open" for side in self.nodes[url].sides)

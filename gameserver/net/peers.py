"""Links between all nodes of a cluster, so that a death is seen when it happens.

Each node connects to each other node. Its own link shows it the other's death, and carries what
it tells the other; links that others made are for hearing them. Who the nodes are is told by
`PeerLinks.follow`; what their deaths lead to is for the caller.

A peer is dead when a link to it stood, ended, and then its address refuses a connection or
another instance answers there. Silence is never a death: who is silent may be frozen, or out of
reach, and may come back. Nothing depends on a verdict for safety: who takes over is still checked
by the database. An address has to lead to one node; behind one that is shared by several, one
node's answer would be taken for the other's death.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from gameserver.net.limits import address_group
from gameserver.net.listener import listen_failure
from gameserver.net.peer_ends import Answer, Guest, Itself, Visit
from gameserver.net.peer_wire import PeerSocket, Told
from gameserver.runtime.clock import Clock

# Those who have not proved anything yet. One more, and the one who has been at it longest goes:
# a node needs milliseconds, so that strangers would have to be very quick to keep one out.
STRANGERS_MAX = 32
BACKLOG = 256

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PeerTimes:
    """How long things may take."""

    stranger_s: float = 3.0
    # The first attempt after a link has ended: a node that was killed refuses at once.
    again_s: float = 0.2
    # Any other attempt, handshake included.
    attempt_s: float = 1.0
    # Between attempts; doubled each time. The first is short, because the system may close the
    # links of a process that died a moment before it closes its port.
    pause_min_s: float = 0.02
    pause_max_s: float = 1.0
    ping_s: float = 1.0
    # Counted in pings, not in time: who was frozen itself must not blame others for it.
    unanswered_max: int = 3
    # When a link that another made is given up.
    silent_pings_max: int = 10

    def pause_s(self, failures: int) -> float:
        """Return how long to wait after so many attempts that failed in a row."""
        return min(self.pause_min_s * 2.0 ** min(failures - 1, 16), self.pause_max_s)


TIMES = PeerTimes()


class PeerLinks:
    """All links of one node."""

    def __init__(
        self,
        name: str,
        instance: str,
        clock: Clock,
        secret: bytes,
        times: PeerTimes = TIMES,
    ) -> None:
        assert secret, "without a secret anybody could be a node"
        self.itself = Itself(name, instance, secret, clock)
        self.times = times
        self.on_dead: Callable[[str], None] = lambda _name: None
        self.on_message: Callable[[str, list[Any]], None] = lambda _name, _message: None
        # Peers to which no link stands, though they may live.
        self.unreachable: set[str] = set()
        self.strangers_refused = 0
        self._links: dict[str, Link] = {}
        # In the order in which they came.
        self._strangers: dict[Guest, None] = {}
        self._guests: dict[tuple[str, str], Guest] = {}
        self._server: asyncio.Server | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._stopped = asyncio.Event()

    @property
    def linked(self) -> frozenset[str]:
        """Return the names of those to whom a link stands."""
        return frozenset(name for name, link in self._links.items() if link.is_linked)

    @property
    def are_heard(self) -> bool:
        """Tell whether any other node answers, if there are any."""
        return not self._links or any(link.is_answered for link in self._links.values())

    @property
    def addresses(self) -> frozenset[str]:
        """Return from where nodes have connected, as `limits.address_group` counts addresses."""
        places = (guest.socket.address for guest in self._guests.values())
        return frozenset(address_group(place[0]) for place in places if place is not None)

    async def start(self, host: str, port: int) -> int:
        """Listen for others; return the port, or raise ListenFailed."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(5.0):  # A host's name may have to be looked up.
                self._server = await loop.create_server(self._guest, host, port, backlog=BACKLOG)
        except OSError as error:
            raise listen_failure(host, port, error) from error
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def run(self) -> None:
        """Keep the links up until `stop`."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for link in self._links.values():
                    link.start(tasks)
                while not self._stopped.is_set():
                    await _happens(self._stopped, self.times.ping_s)
                    self._count_silence()
                self._drop_all()
        finally:
            self._tasks = None
            self.stop()

    def stop(self) -> None:
        """Close the port and all links. To the others this looks like a death."""
        self._stopped.set()
        if self._server is not None:
            self._server.close()
        for guest in [*self._strangers, *self._guests.values()]:
            guest.socket.close()
        self._drop_all()

    def follow(self, peers: Mapping[str, tuple[str, str]]) -> None:
        """Have links to just these: by name the address ("host:port") and the instance.

        A peer with another instance than before has died in between, if a link to it stood: that
        is reported before this returns.
        """
        for name in [name for name in self._links if name not in peers]:
            self._links.pop(name).drop()
            self.unreachable.discard(name)
        for name, (address, instance) in peers.items():
            if name != self.itself.name:
                self._follow_one(name, address, instance)

    def send(self, name: str, message: list[Any]) -> bool:
        """Tell another node something; False if that cannot be done now. Nothing is kept."""
        link = self._links.get(name)
        return link is not None and link.send(message)

    def _follow_one(self, name: str, address: str, instance: str) -> None:
        old = self._links.get(name)
        if old is not None and (old.address, old.instance) == (address, instance):
            return
        link = Link(self, name, address, instance)
        if old is not None:
            old.drop()
            if old.instance == instance:
                link.has_stood = old.has_stood
        self._links[name] = link
        if self._tasks is not None and not self._stopped.is_set():
            link.start(self._tasks)
        if old is not None and old.has_stood and old.instance != instance:
            self.died(name, Answer.ANOTHER)

    def _count_silence(self) -> None:
        for guest in list(self._guests.values()):
            guest.silent_pings += 1
            if guest.silent_pings > self.times.silent_pings_max:
                guest.socket.close()

    def _drop_all(self) -> None:
        for link in self._links.values():
            link.drop()

    def _guest(self) -> PeerSocket:
        return Guest(self.itself, self, self.times.stranger_s).socket

    # --- Guests call these.

    def arrived(self, guest: "Guest") -> None:
        """Note that somebody connected, who has three seconds to prove who it is."""
        while len(self._strangers) >= STRANGERS_MAX:
            next(iter(self._strangers)).socket.close()
        self._strangers[guest] = None

    def proved(self, guest: "Guest", who: tuple[str, str]) -> None:
        """Take somebody in. A node has one link to us: a newer one means that the old is lost."""
        self._strangers.pop(guest, None)
        old = self._guests.pop(who, None)
        if old is not None:
            old.socket.close()
        self._guests[who] = guest

    def gone(self, guest: "Guest", who: tuple[str, str] | None) -> None:
        """Forget somebody."""
        if guest in self._strangers:
            del self._strangers[guest]
            # To look whether a port is open is nothing that need be told: nodes do so themselves.
            if self._stopped.is_set() or guest.socket.has_only_looked:
                return
            self.strangers_refused += 1
            # Once is enough for whoever set up a node; the log is not for anybody to fill.
            if self.strangers_refused == 1:
                log.warning("peer_stranger_refused", reason="it did not prove to be a node")
        if who is not None and self._guests.get(who) is guest:
            del self._guests[who]

    def heard(self, name: str, message: list[Any]) -> None:
        """Take what another node tells."""
        self.on_message(name, message)

    # --- Links call these.

    def died(self, name: str, answer: Answer) -> None:
        """Report a death; whether it was meant is for others to say."""
        self.unreachable.discard(name)
        log.info("peer_died", peer=name, cause=answer.value)
        self.on_dead(name)

    def not_reached(self, name: str, cause: str) -> None:
        """Note that a peer may live but does not answer."""
        if name not in self.unreachable:
            self.unreachable.add(name)
            log.warning("peer_unreachable", peer=name, cause=cause)


class Link:
    """Our link to one instance of one peer: made, kept, and made again."""

    def __init__(self, links: PeerLinks, name: str, address: str, instance: str) -> None:
        self.address = address
        self.instance = instance
        # Whether it stood since the last verdict, so that its end may be a death.
        self.has_stood = False
        self._links = links
        self._name = name
        # Where it stood, as numbers: only what that very place refuses says anything.
        self._place: tuple[str, int] | None = None
        self._is_dead = False
        self._visit: Visit | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_dropped = False

    @property
    def is_linked(self) -> bool:
        """Whether the link stands."""
        return self._visit is not None

    @property
    def is_answered(self) -> bool:
        """Whether the link stands, and the last ping but one was answered."""
        return self._visit is not None and self._visit.unanswered < 2

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin."""
        if not self._is_dropped:
            self._task = tasks.create_task(self._keep())

    def drop(self) -> None:
        """End, without a verdict."""
        self._is_dropped = True
        if self._task is not None:
            self._task.cancel()

    def send(self, message: list[Any]) -> bool:
        """Send, if the link stands."""
        return self._visit is not None and self._visit.socket.send(Told(message))

    async def _keep(self) -> None:
        times = self._links.times
        place = place_of(self.address)
        if place is None:
            self._links.not_reached(self._name, f"{self.address} is no address")
            return
        attempt_s = times.attempt_s
        failures = 0
        brief = 0
        while True:
            visit = await self._attempt(self._place or place, attempt_s)
            if visit.answer is Answer.NONE and self._place not in (None, place):
                visit = await self._attempt(place, times.attempt_s)
            attempt_s = times.attempt_s
            if visit.answer is not Answer.LINKED:
                self._judge(visit)
                failures += 1
            elif await self._stands(visit):
                failures = brief = 0
                attempt_s = times.again_s
                continue  # Whether it died is seen at once, or not at all.
            else:
                brief += 1
                failures = brief
            await asyncio.sleep(times.pause_s(failures))

    async def _attempt(self, place: tuple[str, int], within_s: float) -> Visit:
        visit = Visit(self._links.itself, (self._name, self.instance))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within_s):
                await loop.create_connection(lambda: visit.socket, *place)
                await visit.answered.wait()
        except ConnectionRefusedError:
            visit.cause = "refused"
            if place == self._place:
                visit.answer = Answer.REFUSED
        except (OSError, UnicodeError) as error:  # A name may be none that can be looked up.
            visit.cause = str(error) or "no answer"
        finally:
            if visit.answer is not Answer.LINKED:
                visit.socket.close()
        return visit

    def _judge(self, visit: Visit) -> None:
        if self.has_stood and visit.answer in (Answer.REFUSED, Answer.ANOTHER):
            self.has_stood = False
            self._place = None
            self._is_dead = True
            self._links.died(self._name, visit.answer)
        elif not self._is_dead:
            self._links.not_reached(self._name, visit.cause)

    async def _stands(self, visit: Visit) -> bool:
        """Keep a link until it ends; say whether it stood for long enough to be one."""
        times = self._links.times
        self._visit = visit
        self._place = visit.socket.address
        self.has_stood = True
        self._is_dead = False
        self._links.unreachable.discard(self._name)
        log.info("peer_linked", peer=self._name)
        pings = 0
        try:
            while not await _happens(visit.ended, times.ping_s):
                if visit.unanswered >= times.unanswered_max:
                    self._links.not_reached(self._name, "silent")
                    break
                visit.ping()
                pings += 1
        finally:
            self._visit = None
            visit.socket.close()
        return pings > 0


def place_of(address: str) -> tuple[str, int] | None:
    """Return the host and the port of "host:port" or "[host]:port"; None if it is neither."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or len(port) > 5:
        return None
    return (host, int(port)) if 0 < int(port) < 2**16 else None


async def _happens(event: asyncio.Event, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True

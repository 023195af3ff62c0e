"""Finding rooms again that are not seen any more: their connection broke, or they moved.

A room is asked for where it should be, then at home, which redirects, again and again until it is
seen or known to be gone. It does not know how a view goes on; that is the room's.
"""

import asyncio
from collections.abc import Awaitable, Callable

from protocol.client.asking import Asking
from protocol.client.errors import ClientError, ConnectionLost, RequestRefused, RoomClosed
from protocol.client.link import Link
from protocol.client.links import Links, Spawn, Unreachable
from protocol.client.options import Options
from protocol.client.room import ClientRoom

Way = Callable[[], Awaitable[Link]]  # Raises Unreachable, soon.


class _Search:
    """One room that is not seen, or was found: where to ask first, and how often it was lost."""

    __slots__ = ("attempt", "found_ns", "room", "running", "way")

    def __init__(self, room: ClientRoom) -> None:
        self.room = room
        self.way: Way | None = None  # None: at home.
        self.attempt = 0
        self.found_ns = 0
        self.running = False


class Seeking:
    """Brings every room back; ``end_room`` is told of those that cannot come."""

    def __init__(
        self,
        links: Links,
        asking: Asking,
        options: Options,
        spawn: Spawn,
        end_room: Callable[[int, ClientError], None],
    ) -> None:
        self._links = links
        self._asking = asking
        self._options = options
        self._spawn = spawn
        self._end_room = end_room
        self._searches: dict[int, _Search] = {}  # One a room, for as long as there is the room.

    def seek(self, room: ClientRoom, way: Way | None) -> None:
        """Let a room pause until it is found: that way, if there is one, or by asking at home."""
        room.pause()
        search = self._searches.get(room.id)
        if search is None or search.room is not room:
            search = self._searches[room.id] = _Search(room)
        search.way = way
        if not search.running:
            search.running = True
            self._spawn(self._run(search))

    def is_sought(self, room_id: int) -> bool:
        """Tell whether a room is being asked for."""
        search = self._searches.get(room_id)
        return search is not None and search.running

    def forget(self, room_id: int) -> None:
        """Let go of a room that is over."""
        self._searches.pop(room_id, None)

    async def _run(self, search: _Search) -> None:
        room, options = search.room, self._options
        lived_ms = (options.now_ns() - search.found_ns) // 1_000_000
        if lived_ms >= options.steady_ms:
            search.attempt = 0
        elif search.way is None:
            await self._pause(search)  # It is lost as soon as it is found.
        try:
            while room.closed is None and room.link is None:
                await self._try(search)
        except ClientError as error:
            if room.closed is None:
                if isinstance(error, RequestRefused):
                    error = RoomClosed(0, error.name)
                self._end_room(room.id, error)
        finally:
            search.found_ns = options.now_ns()
            search.running = False

    async def _try(self, search: _Search) -> None:
        """Ask once; if that was for nothing, wait before the next time."""
        told, search.way = search.way, None
        if told is None:
            await self._links.at_home()  # However long that takes: links know when to try.
        way = told or self._links.at_home
        try:
            async with asyncio.timeout(self._options.answer_timeout_ms / 1000):
                await self._asking.follow(await way(), search.room.resumption)
                return
        except RequestRefused as error:
            if error.retry_ms < 0:
                raise
            await self._asking.wait(error)
        except (ConnectionLost, Unreachable, TimeoutError):
            if told is None and search.way is None:
                await self._pause(search)

    async def _pause(self, search: _Search) -> None:
        # Half as steep as for connections: a server is there, and will know soon.
        await asyncio.sleep(self._options.backoff_s(search.attempt // 2))
        search.attempt += 1

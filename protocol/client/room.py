"""One room as a client holds it: the view, the commands under way, and whoever waits for changes.

It outlives connections: while there is none the view stands still and commands wait. It does not
know how the connection is made or made again.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from protocol.client.commands import Answer, Body, Commands, OnAnswer
from protocol.client.errors import AnswerTimeout, ClientError
from protocol.client.link import Link
from protocol.client.options import Counters, Options
from protocol.codec import encode_inbound
from protocol.messages import (
    Deferred,
    Delta,
    Full,
    Inbound,
    Invalid,
    Join,
    JoinBy,
    Joined,
    Outcome,
    Outcomes,
    Private,
    Resume,
    Resync,
    Roster,
    Sitter,
)
from protocol.view import Applied, Desync, Gap, View

CHANGES_QUEUED_MAX = 1_024

TIMEOUT_MS = 10_000


class Home(Protocol):
    """What a room needs of its client."""

    async def leave(self, room_id: int) -> None:
        """Ask the server to take this client out of the room."""


class ClientRoom:
    """A room that this client has joined. Made by ``Client.join``."""

    def __init__(self, joined: Joined, home: Home, options: Options, counters: Counters) -> None:
        self.id = joined.room
        self.code = joined.code
        self.game = joined.game
        self.rules_version = joined.rules_version
        self.seat = joined.seat
        self.roster: dict[int, Sitter] = {}
        self.view = View()
        self.closed: ClientError | None = None
        # Where it is seen just now; None while it is looked for. Messages from elsewhere are old.
        self.link: Link | None = None
        self._home = home
        self._counters = counters
        self._commands = Commands(joined.room, options, counters, self.post)
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._joined = asyncio.Event()
        self._syncing = False
        # The changes and outcomes of a tick that is not closed yet.
        self._changes: list[object] = []
        self._outcomes: list[Outcome] = []
        self._waiting: dict[asyncio.Future[None], Callable[[View], bool]] = {}
        self._readers: list[_Reader] = []

    # --- For whoever plays.

    @property
    def watching(self) -> bool:
        """Tell whether this client only watches."""
        return self.seat < 0

    @property
    def unanswered(self) -> int:
        """Return how many commands have no answer yet."""
        return self._commands.unanswered

    async def command(self, body: Body, timeout_ms: int = TIMEOUT_MS) -> Outcome:
        """Send a command and return its outcome; when it is there, the view shows its effect.

        Over deferrals and broken connections it is sent again under the same number. Raises
        CommandInvalid, CommandDeferred, AnswerTimeout, TooManyCommands, RoomClosed, ClientStopped.
        """
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def on_answer(answer: Answer) -> None:
            if answered.done():  # The caller was cancelled.
                return
            if isinstance(answer, Outcome):
                answered.set_result(answer)
            else:
                answered.set_exception(answer)

        self._commands.submit(body, on_answer, timeout_ms)
        return await answered  # Its deadline is the command's.

    def submit(
        self, body: Body, on_answer: OnAnswer | None = None, timeout_ms: int = TIMEOUT_MS
    ) -> int:
        """Send a command without waiting; return its number.

        ``on_answer`` is called once, with the outcome or with the error that ``command`` raises.
        """
        return self._commands.submit(body, on_answer, timeout_ms)

    async def until(self, holds: Callable[[View], bool], timeout_ms: int = TIMEOUT_MS) -> None:
        """Wait until ``holds(view)``, asked now and after every tick that brings changes."""
        if holds(self.view):
            return
        if self.closed is not None:
            raise self.closed
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[held] = holds
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await held
        except TimeoutError as error:
            raise AnswerTimeout("what was waited for did not come about") from error
        finally:
            self._waiting.pop(held, None)

    async def changes(self) -> AsyncIterator[Applied]:
        """Yield what each tick changed, private and public together; raises when the room closes.

        A full state is yielded with ``full`` set. So is, without its changes, the newest tick if
        the reader has fallen far behind: the view has them all.
        """
        if self.closed is not None:
            raise self.closed
        reader = _Reader()
        self._readers.append(reader)
        try:
            while True:
                yield await reader.next()
        finally:
            self._readers.remove(reader)

    async def leave(self) -> None:
        """Give up the seat, or stop watching."""
        if self.closed is None:
            await self._home.leave(self.id)

    def post(self, payload: bytes) -> None:
        """Put a message on its way to where the room is; while that is not known, drop it."""
        if self.link is not None:
            self.link.post(payload)

    # --- For the client.

    @property
    def is_open(self) -> bool:
        """Tell whether the room has ever been seen whole."""
        return self._opened.done()

    async def opened(self) -> None:
        """Wait for the first full state; the caller sets the deadline."""
        await asyncio.shield(self._opened)

    async def joined(self) -> None:
        """Wait until the room is seen under the present connection, or closed."""
        await self._joined.wait()

    def resumption(self, request: int) -> Inbound:
        """Return the message that asks to see the room again after a new connection."""
        if self.view.closed_tick is None:
            return Join(request, JoinBy.ID, self.id, self.watching)
        return Resume(request, self.id, self.view.closed_tick, self.watching)

    def take_joined(self, joined: Joined, link: Link) -> None:
        """Go on under a new connection, or after a second join."""
        if self.link is not link:
            self.pause()
            self.link = link
        self.seat = joined.seat
        self.code = joined.code
        self.rules_version = joined.rules_version
        self._syncing = False
        self._joined.set()
        self._commands.resume(joined.highest_number)

    def pause(self) -> None:
        """Stand still: the connection is gone, or the room is not there any more.

        Outcomes of a tick that was cut in two are not given: they come again with its rest.
        """
        self.link = None
        self._joined.clear()
        self._outcomes = []
        self._commands.pause()

    def end(self, error: ClientError) -> None:
        """Tell everybody who waits for anything here that it will not come."""
        if self.closed is not None:
            return
        self.closed = error
        self._joined.set()
        self._give_outcomes()
        self._commands.end(error)
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # Whoever joins may be gone; then nobody asks for it.
        for held in self._waiting:
            if not held.done():
                held.set_exception(error)
        for reader in self._readers:
            reader.end(error)

    def take_state(self, message: Full | Delta | Private) -> None:
        """Take in a full state, or what changed."""
        if type(message) is not Full:
            self._counters.deltas_received += 1
            if type(message) is Private:
                self._outcomes += message.outcomes
        try:
            applied = self.view.apply(message)
        except Desync:
            self._counters.desyncs += 1
            applied = None
        if isinstance(applied, Applied):
            self._take_applied(applied)
            return
        if isinstance(applied, Gap) and self.is_open and not self._syncing:
            self._counters.gaps += 1
        self._give_outcomes()
        if not self._syncing:  # One full state mends all that is lost until it comes.
            self._syncing = True
            self.post(encode_inbound(Resync(self.id)))

    def take_deferred(self, message: Deferred) -> None:
        """Let a command be sent again later."""
        self._commands.take_deferred(message)

    def take_invalid(self, message: Invalid) -> None:
        """Let a command fail that never reached the room."""
        self._commands.take_invalid(message)

    def take_roster(self, message: Roster) -> None:
        """Learn who sits where."""
        self.roster = {sitter.seat: sitter for sitter in message.sitters}

    def _take_applied(self, applied: Applied) -> None:
        if applied.repeat:
            # Its outcomes may be new all the same: those of commands that were asked for again.
            if self.view.closed_tick is not None and applied.tick <= self.view.closed_tick:
                self._give_outcomes()
            return
        if applied.full:
            self._changes = []
            self._syncing = False
        if self._readers:
            self._changes += applied.changes
        if applied.closes:
            self._close_tick(applied)

    def _close_tick(self, applied: Applied) -> None:
        if not self._opened.done():
            self._opened.set_result(None)
        for reader in self._readers:
            reader.put(Applied(applied.tick, self._changes, closes=True, full=applied.full))
        self._changes = []
        self._give_outcomes()
        for held, holds in self._waiting.items():
            if held.done():
                continue
            try:
                if holds(self.view):
                    held.set_result(None)
            except Exception as error:
                held.set_exception(error)  # It is the caller's question that failed.

    def take_outcomes(self, message: Outcomes) -> None:
        """Take outcomes that come outside the chain of ticks; the view does not change."""
        self._outcomes += message.outcomes
        self._give_outcomes()

    def _give_outcomes(self) -> None:
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, []
            for outcome in outcomes:
                self._commands.take_outcome(outcome)


class _Reader:
    """The queue of one ``changes`` loop."""

    def __init__(self) -> None:
        # When it is full, all of it is replaced by one item that stands for the whole view.
        self._items: deque[Applied] = deque()
        self._wake = asyncio.Event()
        self._error: ClientError | None = None

    def put(self, item: Applied) -> None:
        if len(self._items) >= CHANGES_QUEUED_MAX:
            self._items.clear()
            item = Applied(item.tick, [], closes=True, full=True)
        self._items.append(item)
        self._wake.set()

    def end(self, error: ClientError) -> None:
        self._error = error
        self._wake.set()

    async def next(self) -> Applied:
        while not self._items:
            if self._error is not None:
                raise self._error
            self._wake.clear()
            await self._wake.wait()
        return self._items.popleft()

"""The directory in memory, with what can go wrong with a Redis and with the way to it.

`Hub` is the one directory of a run; `DirectoryLink` is one process's way to it, over which each
call travels, happens whole at one moment, and is answered, or not.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Any

from persistence.directory import DirectoryUnavailable
from persistence.memory_directory import DirectoryWorld, MemoryDirectory
from tests.simulation.loop import Process, SimLoop

METHODS = (
    *("beat", "take_leases", "pass_leases", "leave", "view", "ask_to_drain", "publish"),
    *("places", "lines"),
)
GIVES_UP_S = 1.0  # As the real one does.
DIRECTORY_MS = 1_600_000_000_000  # Its clock is nobody else's.


class Loss(Enum):
    """What becomes of one call that meets a fault."""

    REFUSED = "directory_refused"  # Not done, and the sender is told that nobody knows.
    REPLY_LOST = "directory_reply_lost"  # Done, and the sender is told that nobody knows.
    LATE = "directory_late"  # Done after the sender has given up.


class Hub:
    """The directory of all nodes. Times are virtual seconds."""

    def __init__(self, loop: SimLoop, chance: Random) -> None:
        self.loop = loop
        self.chance = chance
        self.world = DirectoryWorld()
        self.counts: Counter[str] = Counter()
        self.losses: list[Loss] = []
        self.away_until_s = 0.0
        self.slow_until_s = 0.0
        self.ahead_ms = 0
        self.links: dict[str, DirectoryLink] = {}
        self.on_call: Callable[[str, str, Any, Any], None] = lambda node, name, asked, answer: None

    def now_ms(self) -> int:
        """Return what the directory believes the time to be."""
        return DIRECTORY_MS + self.ahead_ms + self.loop.now_ns() // 1_000_000

    def link(self, name: str) -> DirectoryLink:
        """Return the way of a process to here, the same whenever it is asked for."""
        return self.links.setdefault(name, DirectoryLink(self, name))

    def wipe(self) -> None:
        """Know nothing any more."""
        self.world.wipe()

    def copy(self) -> DirectoryWorld:
        """Return all that is known, as a replica has it that is a little late."""
        return copy.deepcopy(self.world)

    def go_back(self, older: DirectoryWorld) -> None:
        """Know again what was known then: the replica has taken over."""
        for name in DirectoryWorld.__slots__:
            setattr(self.world, name, getattr(older, name))

    def heal(self) -> None:
        """Let nothing be wrong any more."""
        self.losses.clear()
        self.away_until_s = self.slow_until_s = 0.0
        for link in self.links.values():
            link.cut_until_s = link.deaf_until_s = 0.0

    def later(self, delay_s: float, what: Callable[..., None], *arguments: Any) -> None:
        """Let something happen here, in a process that never dies."""
        self.loop.call_at(self.loop.time() + delay_s, what, *arguments, context=_HUB.context)


_HUB = Process("directory")


class DirectoryLink:
    """A process's way to the directory; a `Directory`.

    Until ``cut_until_s`` whatever is sent arrives nowhere; until ``deaf_until_s`` it arrives, and
    the answer does not.
    """

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub = hub
        self.name = name
        self.cut_until_s = 0.0
        self.deaf_until_s = 0.0
        self.memory = MemoryDirectory(hub.world, hub.now_ms)

    async def start(self, cluster_id: str) -> None:
        """Claim the directory for the cluster."""
        await self._call("start", cluster_id)

    async def stop(self) -> None:
        """There is nothing to let go of; what was asked late is asked all the same."""

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(name)

        async def call(*arguments: Any, **options: Any) -> Any:
            return await self._call(name, *arguments, **options)

        call.__name__ = name
        return call

    async def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        hub = self.hub
        answered: asyncio.Future[Any] = hub.loop.create_future()
        loss = hub.losses.pop(0) if hub.losses else None
        delay_s = hub.chance.uniform(0.0002, 0.001) + self._slowness_s()
        if loss is not None:
            hub.counts[loss.value] += 1
        if loss is Loss.LATE:
            delay_s += GIVES_UP_S
        hub.later(delay_s, self._arrive, (name, arguments, options), loss, answered)
        try:
            async with asyncio.timeout(GIVES_UP_S):
                return await answered
        except TimeoutError as error:
            raise DirectoryUnavailable("no answer in time") from error

    def _slowness_s(self) -> float:
        hub = self.hub
        slow = hub.loop.time() < hub.slow_until_s
        return hub.chance.uniform(0.05, 0.6) if slow else 0.0

    def _arrive(
        self,
        asked: tuple[str, tuple[Any, ...], dict[str, Any]],
        loss: Loss | None,
        answered: asyncio.Future[Any],
    ) -> None:
        hub, now_s = self.hub, self.hub.loop.time()
        if self.cut_until_s > now_s:
            hub.counts["directory_call_lost"] += 1
            return
        if hub.away_until_s > now_s or loss is Loss.REFUSED:
            hub.counts["directory_call_failed"] += 1
            hub.later(0.001, _fail, answered, DirectoryUnavailable("the directory is away"))
            return
        name, arguments, options = asked
        done: Any = None
        error: Exception | None = None
        try:
            getattr(self.memory, name)(*arguments, **options).send(None)
        except StopIteration as stop:
            done = stop.value
        except Exception as raised:
            error = raised
        hub.on_call(self.name, name, arguments, error or done)
        delay_s = hub.chance.uniform(0.0002, 0.001) + self._slowness_s()
        hub.later(delay_s, self._answer, done, error, loss, answered)

    def _answer(
        self, done: Any, error: Exception | None, loss: Loss | None, answered: asyncio.Future[Any]
    ) -> None:
        now_s = self.hub.loop.time()
        if max(self.cut_until_s, self.deaf_until_s) > now_s:
            self.hub.counts["directory_answer_lost"] += 1
        elif loss is Loss.REPLY_LOST:
            _fail(answered, DirectoryUnavailable("the answer was lost"))
        elif error is not None:
            _fail(answered, error)
        elif not answered.done():
            answered.set_result(done)


def _fail(answered: asyncio.Future[Any], error: Exception) -> None:
    if not answered.done():
        answered.set_exception(error)
        answered.exception()  # The sender may be dead, and then nobody asks for it.

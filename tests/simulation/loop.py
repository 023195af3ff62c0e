"""An event loop on virtual time whose every choice comes from a seed, with processes that can die.

When nothing is ready it jumps to the next timer. What is ready at the same moment runs in an order
that the seed chooses. Whatever runs in the context of a `Process` stops when that process is killed
(its tasks never run on, not even their ``finally``) and waits while it is frozen.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import inspect
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, NamedTuple

TIMERS_TOGETHER_S = 1e-9
# Their functions have the names of the store's and the directory's.
OUTSIDE = ("tests.simulation.store", "tests.simulation.directory")


class Deadlock(Exception):
    """Everybody waits, and nothing will ever happen."""


class Process:
    """Something that can be killed or frozen as a whole; it remembers its tasks.

    ``parked`` is what would have run while it was frozen. ``on_wait`` is told where in the product
    one of its tasks has just begun to wait.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_frozen = False
        self.parked: list[asyncio.Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.on_wait: Callable[[str], None] | None = None
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)

    def __repr__(self) -> str:
        return self.name


def _place_of(task: asyncio.Task[Any]) -> str:
    """Return the innermost of the product's functions that a task waits in, and the store's."""
    place = ""
    awaited: Any = task.get_coro()
    while inspect.iscoroutine(awaited) and awaited.cr_frame is not None:
        module = awaited.cr_frame.f_globals["__name__"]
        if module.startswith("gameserver."):
            place = f"{module.removeprefix('gameserver.')}.{awaited.cr_code.co_name}"
        elif module in OUTSIDE and place and " " not in place:
            place = f"{place} {awaited.__name__}"
        awaited = awaited.cr_await
    return place


_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class SimTask(asyncio.Task[Any]):
    """A task with a number, so that sets of tasks are in the same order in every run."""

    number: int

    def __new__(cls, coro: Any, *, loop: SimLoop, **_: Any) -> SimTask:
        task = super().__new__(cls)
        loop.tasks_made += 1
        task.number = loop.tasks_made
        return task

    def __hash__(self) -> int:
        return self.number


def _make_task(loop: Any, coro: Coroutine[Any, Any, Any], **options: Any) -> SimTask:
    task = SimTask(coro, loop=loop, **options)
    context = options.get("context")
    process = _PROCESS.get() if context is None else context.get(_PROCESS)
    if process is not None:
        process.tasks.append(task)
    return task


class SimLoop(asyncio.SelectorEventLoop):
    """The loop. ``shuffles`` is the chance that decides what runs first, None for first come."""

    def __init__(self, shuffles: Random | None = None) -> None:
        super().__init__()
        # What it checks is for real time and other threads, and there are none here; it would make
        # a run four times as long.
        self.set_debug(False)
        self.tasks_made = 0
        self.unhandled: list[str] = []
        self.listening: dict[str, Listening] = {}
        # Connects to a name; whoever has a network gives it.
        self.connect: Callable[..., Any] = _no_network
        self._now_s = 1_000.0
        self._shuffles = shuffles
        factory: Any = _make_task  # Its type in the library's stubs asks for less than it calls.
        self.set_task_factory(factory)
        self.set_exception_handler(self._note_unhandled)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now_s

    def now_ns(self) -> int:
        """Return virtual nanoseconds."""
        return int(self._now_s * 1e9)

    async def create_server(  # type: ignore[override]  # As much of it as anybody uses here.
        self, factory: Any, host: Any = None, *_: Any, **__: Any
    ) -> Any:
        """Listen under a name: whoever dials it gets a protocol of this factory."""
        process = _PROCESS.get()
        assert process is not None, "Only processes listen."
        listening = self.listening[host] = Listening(factory, process)
        return _Server(self, host, listening)

    async def create_connection(  # type: ignore[override]  # As above.
        self, factory: Any, host: Any = None, *_: Any, **__: Any
    ) -> Any:
        """Connect to who listens under a name; raises OSError."""
        process = _PROCESS.get()
        assert process is not None, "Only processes connect."
        return await self.connect(factory, process, host)

    def _note_unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.unhandled.append(f"{context.get('message')}: {error!r}")

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False  # type: ignore[attr-defined]
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not scheduled:
                raise Deadlock("everybody waits, and nothing will ever happen")
            self._now_s = max(self._now_s, scheduled[0]._when)  # type: ignore[attr-defined]
        end_s = self._now_s + TIMERS_TOGETHER_S
        while scheduled and scheduled[0]._when <= end_s:  # type: ignore[attr-defined]
            timer = heapq.heappop(scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]
            ready.append(timer)
        batch = list(ready)
        ready.clear()
        if self._shuffles is not None and len(batch) > 1:
            self._shuffles.shuffle(batch)
        for handle in batch:
            if not handle._cancelled:
                self._run(handle)

    def _run(self, handle: asyncio.Handle) -> None:
        process = handle._context.get(_PROCESS)  # type: ignore[attr-defined]
        if process is not None and (process.is_dead or process.is_frozen):
            process.parked.append(handle)
        else:
            handle._run()
            if process is not None and process.on_wait is not None:
                self._tell_wait(process.on_wait, handle)

    def _tell_wait(self, on_wait: Callable[[str], None], handle: asyncio.Handle) -> None:
        callback: Any = handle._callback  # type: ignore[attr-defined]
        task = getattr(callback, "__self__", None)
        if isinstance(task, SimTask) and not task.done():
            on_wait(_place_of(task))

    # --- Processes.

    def spawn(self, process: Process, main: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a process. It belongs to no group, because processes die without a word."""
        return process.context.run(self.create_task, main, name=process.name)

    def kill(self, process: Process) -> None:
        """End a process at once: nothing of it runs any more, and nobody listens any more."""
        process.is_dead = True
        for name in [name for name, one in self.listening.items() if one.process is process]:
            del self.listening[name]

    def thaw(self, process: Process) -> None:
        """Let a frozen process go on with all that came meanwhile."""
        process.is_frozen = False
        self._go_on(process)

    async def bury(self, process: Process) -> None:
        """Unwind the tasks of a dead process, when nothing that they do counts any more."""
        process.is_dead = process.is_frozen = False
        for task in process.tasks:
            task.cancel()
        self._go_on(process)
        while left := [task for task in process.tasks if not task.done()]:
            _, stuck = await asyncio.wait(left, timeout=30)
            assert not stuck, f"tasks of {process} do not end: {stuck}"
        for task in process.tasks:
            if not task.cancelled():
                task.exception()  # Whatever it is, nobody asks for it any more.

    def _go_on(self, process: Process) -> None:
        self._ready.extend(process.parked)  # type: ignore[attr-defined]
        process.parked.clear()


class Listening(NamedTuple):
    """Who listens, and who makes the protocols for those who come."""

    factory: Callable[[], asyncio.BaseProtocol]
    process: Process


class _Server:
    """What `SimLoop.create_server` returns, as far as anybody asks."""

    def __init__(self, loop: SimLoop, name: str, listening: Listening) -> None:
        self._loop = loop
        self._name = name
        self._listening = listening
        self.sockets = [self]

    def getsockname(self) -> tuple[str, int]:
        return (self._name, 1)

    def close(self) -> None:
        if self._loop.listening.get(self._name) is self._listening:
            del self._loop.listening[self._name]


async def _no_network(*_: Any) -> Any:
    raise AssertionError("Nobody gave this loop a network.")

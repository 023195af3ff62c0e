"""An event loop on virtual time: when nothing is ready it jumps to the next timer."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

P = ParamSpec("P")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing, but moves the clock."""

    now_s = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            # A real loop would sleep for ever: the test hangs, and says so.
            assert timeout is not None, "Everybody waits, and nothing will ever happen."
            self.now_s += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only when all tasks wait."""

    def __init__(self) -> None:
        self._moving = _Selector()
        super().__init__(self._moving)

    def spend(self, seconds: float) -> None:
        """Let time pass in which nobody gets a turn, as work does."""
        self._moving.now_s += seconds

    def time(self) -> float:
        """Return virtual seconds."""
        return self._moving.now_s


def now_ns() -> int:
    """Return the virtual time, for what takes a clock."""
    return int(asyncio.get_running_loop().time() * 1_000_000_000)


def spend_ms(milliseconds: float) -> None:
    """Work for so long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "only virtual time passes when told to"
    loop.spend(milliseconds / 1000)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine on a virtual loop; nothing may be left running."""

    async def guarded() -> None:
        await main
        assert asyncio.all_tasks() == {asyncio.current_task()}, "Tasks were left behind."

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(guarded())


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Turn an async test into one that runs on virtual time."""

    @wraps(test)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return wrapped

"""Asks storage once for what many want at the same time.

One call is under way at a time; those who come meanwhile go together with the next. So nobody waits
for others to come, and the more there are (all players after an outage) the less each costs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Call(Generic[Key, Value]):
    """Those who go with one call; the first of them makes it."""

    __slots__ = ("done", "found", "keys")

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.done = asyncio.Event()
        self.found: Mapping[Key, Value] | None = None  # None too if the first gave up, or failed.


class Together(Generic[Key, Value]):
    """Puts questions together. ``ask`` may raise; each who asked hears of it by itself."""

    def __init__(self, ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Value]]]) -> None:
        self._ask = ask
        # Who waits is bounded by how many jobs there may be.
        self._next: _Call[Key, Value] = _Call()
        self._before: _Call[Key, Value] = _Call()
        self._before.done.set()

    async def about(self, key: Key) -> Value | None:
        """Return what belongs to ``key``, if anything does."""
        call = self._next
        call.keys.append(key)
        if len(call.keys) > 1:
            await call.done.wait()
            if call.found is None:
                return (await self._ask((key,))).get(key)
            return call.found.get(key)
        before = self._before
        self._before = call
        try:
            await before.done.wait()
            self._next = _Call()
            call.found = await self._ask(call.keys)
        finally:
            if self._next is call:
                self._next = _Call()
            call.done.set()
        return call.found.get(key)

"""Asks storage once for what many want at the same time.

One call is under way at a time; those who come meanwhile go together with the next. So nobody waits
for others to come, and the more there are (all players after an outage) the less each costs. As
many go together as may go on in one turn of the event loop without holding up a slot.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

KEYS_MAX = 64

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Call(Generic[Key, Value]):
    """Those who go with one call; the first of them makes it."""

    __slots__ = ("done", "error", "found", "keys")

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.done = asyncio.Event()
        self.found: Mapping[Key, Value] | None = None  # None too if the first gave up.
        self.error: Exception | None = None


class Together(Generic[Key, Value]):
    """Puts questions together. ``ask`` may raise; each who went along hears of it."""

    def __init__(self, ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Value]]]) -> None:
        self._ask = ask
        # Who waits is bounded by how many jobs there may be.
        self._next: _Call[Key, Value] = _Call()
        self._before: _Call[Key, Value] = _Call()
        self._before.done.set()

    async def about(self, key: Key) -> Value | None:
        """Return what belongs to ``key``, if anything does."""
        if len(self._next.keys) >= KEYS_MAX:
            self._next = _Call()
        call = self._next
        call.keys.append(key)
        if len(call.keys) == 1:
            await self._make(call)
        else:
            await call.done.wait()
        if call.error is not None:
            raise call.error
        return await self.about(key) if call.found is None else call.found.get(key)

    async def _make(self, call: _Call[Key, Value]) -> None:
        before, self._before = self._before, call
        try:
            await before.done.wait()
            self._leave(call)
            call.found = await self._ask(call.keys)
        except Exception as error:  # Each who went along hears of it.
            call.error = error
        finally:
            if self._before is call and not before.done.is_set():
                self._before = before  # It gave up before it asked.
            self._leave(call)
            call.done.set()

    def _leave(self, call: _Call[Key, Value]) -> None:
        """Let nobody else come along."""
        if self._next is call:
            self._next = _Call()

"""Where newcomers wait: a few are served in each turn of the event loop, however many came at once.

What one of them costs (an answer to its request, the proof of its token) is a part of a
millisecond; a thousand in one turn would hold the ticks of those who play up for several beats.
Between two turns the loop runs what is due.
"""

import asyncio
from collections import deque
from collections.abc import Callable

# About 2 ms: a fifth of what a slot has.
STEPS_PER_TURN = 16


class Line:
    """Steps that wait for their turn, first come, first served.

    Nobody adds more than one at a time, so there are no more than connections.
    """

    __slots__ = ("_is_moving", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_moving = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, step: Callable[[], None]) -> None:
        """Run ``step`` when it is its turn."""
        self._waiting.append(step)
        if not self._is_moving:
            self._is_moving = True
            asyncio.get_running_loop().call_soon(self._move)

    def _move(self) -> None:
        loop = asyncio.get_running_loop()
        # Each as a call of its own, so that one that fails takes no other along.
        for _ in range(min(STEPS_PER_TURN, len(self._waiting))):
            loop.call_soon(self._waiting.popleft())
        self._is_moving = bool(self._waiting)
        if self._is_moving:
            loop.call_soon(self._move)

"""The rooms of the bots: made by one of them, found by the others, and followed by the next one.

A place is a room and, when its game is over, the room after it. It knows codes and how often rooms
ended; it knows no state of theirs.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from protocol.client import Client, ConnectionLost
from scripts.loadtest.plan import RoomPlan
from scripts.loadtest.tally import Tally

MAKE_TIMEOUT_MS = 20_000
MADE_TIMEOUT_S = 30.0


class Place:
    """Where a group of bots plays. ``generation`` counts the rooms that were here."""

    def __init__(
        self, plan: RoomPlan, settings: Callable[[int], Mapping[str, Any]], tally: Tally
    ) -> None:
        self.plan = plan
        self.generation = 0
        self._settings = settings
        self._tally = tally
        self._code: asyncio.Future[str] | None = None
        self._rounds = 0

    async def code(self, client: Client, after: int) -> tuple[int, str]:
        """Return generation and code of the room to join; ``after`` is the one that is over.

        The first to ask makes the room. Raises ClientError if that was not possible.
        """
        if after >= self.generation:
            self.generation = after + 1
            self._code = None
            self._rounds = 0
        if self._code is None:
            return self.generation, await self._make(client)
        generation, code = self.generation, self._code
        try:
            async with asyncio.timeout(MADE_TIMEOUT_S):
                return generation, await asyncio.shield(code)
        except TimeoutError as error:
            raise ConnectionLost("the room was not made in time") from error

    def note_rounds(self, generation: int, rounds: int) -> None:
        """Count rounds that were settled; every bot of the room may tell."""
        if generation == self.generation and rounds > self._rounds:
            self._tally.count("rounds_settled", rounds - self._rounds)
            self._rounds = rounds

    def note_over(self, generation: int) -> None:
        """Count a game that came to its end, once."""
        if generation == self.generation and self._code is not None:
            self._tally.count("games_finished")
            self.generation += 1
            self._code = None
            self._rounds = 0

    async def _make(self, client: Client) -> str:
        code = self._code = asyncio.get_running_loop().create_future()
        try:
            created = await client.create(
                self.plan.game,
                settings=self._settings(self.plan.number + self.generation),
                listed=False,
                timeout_ms=MAKE_TIMEOUT_MS,
            )
        except BaseException as error:  # Also when this bot is told to end: others wait for it.
            if self._code is code:
                self._code = None
            code.set_exception(ConnectionLost(f"the room could not be made: {error}"))
            code.exception()  # Perhaps nobody waits.
            raise
        self._tally.count("rooms_made")
        code.set_result(created.code)
        return created.code


def rng_of(seed: int, *parts: object) -> random.Random:
    """Return chance that depends on the seed and on whose it is, and on nothing else."""
    return random.Random(f"{seed}/{'/'.join(map(str, parts))}")

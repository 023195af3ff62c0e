"""What the bots of one process share."""

import asyncio
from dataclasses import dataclass

from protocol.client import Dial
from scripts.loadtest.behaviour import GameBots
from scripts.loadtest.sight import Schema
from scripts.loadtest.tally import Tally


class Muster:
    """Tells when everybody who is expected has come, or has given up."""

    def __init__(self, expected: int) -> None:
        self.complete = asyncio.Event()
        self.missing = expected

    def arrive(self) -> None:
        """Count one more who need not be waited for."""
        self.missing -= 1
        if self.missing <= 0:
            self.complete.set()


@dataclass(frozen=True)
class Crew:
    """The task of a process's bots, and where they count. Bots gather, then all of them play."""

    url: str
    rate: float
    verify_interval_s: float
    tally: Tally
    games: dict[str, GameBots]
    schemas: dict[str, Schema]
    muster: Muster
    playing: asyncio.Event
    stopping: asyncio.Event
    dial: Dial

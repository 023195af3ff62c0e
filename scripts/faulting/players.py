"""Players who write down all they are told: each outcome, and at chosen moments all they see.

They bet at keno, without end, whatever the server is going through. What they wrote down is
compared with the journal afterwards: whatever somebody was told must be in it.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from protocol.client import Answer, Client, ClientError, ClientRoom, Created, Options
from protocol.codec import decode_outbound
from protocol.messages import Deferred, Outcome

BET = 1
BALLS = 80
STAKE_MINOR = 100
SETTINGS = {"round_seconds": 2, "bets_per_round_max": 20}

# A command waits for its answer through the longest outage of a campaign.
COMMAND_TIMEOUT_MS = 180_000
REQUEST_TIMEOUT_MS = 60_000
UNANSWERED_MAX = 24
LAST_ANSWERS_S = 60.0
SIGHTING_CHANCE = 0.05

# Comes back sooner than people's clients do: there is one server, and no time to lose.
IMPATIENT = Options(
    backoff_ms=50,
    backoff_max_ms=400,
    open_timeout_ms=REQUEST_TIMEOUT_MS,
    answer_timeout_ms=REQUEST_TIMEOUT_MS,
    program="faults",
)

DEFERRED = b"\x08"  # The first element of a message is its kind, in one byte.

Seen = tuple[Any, ...]


@dataclass(slots=True)
class Sent:
    """One command, and what its player was told of it: an outcome, an error, or nothing yet."""

    room: int
    account: int
    number: int
    sent_ns: int
    deferred_ns: int = 0
    answer: Outcome | ClientError | None = None
    answered_ns: int = 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """All that a player saw of a room at the end of a tick, as ``View.dump`` has it."""

    room: int
    account: int
    tick: int
    seen: Seen


@dataclass
class History:
    """What all players were told. ``news`` is called for each outcome."""

    sent: list[Sent] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    news: Callable[[Sent], None] = lambda sent: None

    @property
    def told(self) -> list[Sent]:
        """Return the commands whose outcomes are known to their players."""
        return [sent for sent in self.sent if isinstance(sent.answer, Outcome)]


class Player:
    """One account at one table."""

    def __init__(
        self, url: str, name: str, history: History, seed: int, options: Options = IMPATIENT
    ) -> None:
        self.client = Client(url, name=name, options=replace(options, on_message=self.overhear))
        self.room: ClientRoom | None = None
        self._history = history
        self._chance = random.Random(seed)
        # Without an answer yet, by number; the client bounds them.
        self._open: dict[int, Sent] = {}

    async def play(self, table: Created, rate: float, stopping: asyncio.Event) -> None:
        """Bet until told to stop, and wait for the last answers. The client must be open."""
        room = self.room = await self.client.join(room_id=table.room_id)
        while not stopping.is_set():
            if room.closed is not None:
                self._history.faults.append(f"{self.client.name} lost the room: {room.closed}")
                return
            if room.unanswered < UNANSWERED_MAX:
                self.bet()
            if self._chance.random() < SIGHTING_CHANCE:
                self.note_sight()
            await _first_of(stopping, self._chance.uniform(0.5, 1.5) / rate)
        await self._end(room)

    def bet(self) -> Sent:
        """Send one bet. Most are good; some come too late, some are never allowed."""
        room = self.room
        assert room is not None, "Nobody bets before the room is joined."
        spots = self._chance.sample(range(1, BALLS + 1), self._chance.randint(1, 10))
        stake_minor = STAKE_MINOR if self._chance.random() < 0.9 else 1
        sent = Sent(room.id, self.client.account, 0, time.monotonic_ns())
        body = [BET, spots, stake_minor, 0]
        sent.number = room.submit(body, partial(self._take, sent), COMMAND_TIMEOUT_MS)
        self._open[sent.number] = sent
        self._history.sent.append(sent)
        return sent

    def note_sight(self) -> None:
        """Write down all that is seen, if the view stands between two ticks."""
        room = self.room
        tick = None if room is None else room.view.closed_tick
        if room is None or tick is None:
            return
        view = room.view
        if view.private_tick <= tick and view.shared_tick <= tick:
            seen = Sighting(room.id, self.client.account, tick, view.dump())
            self._history.sightings.append(seen)

    def _take(self, sent: Sent, answer: Answer) -> None:
        sent.answer, sent.answered_ns = answer, time.monotonic_ns()
        self._open.pop(sent.number, None)
        if isinstance(answer, Outcome):
            self._history.news(sent)

    def overhear(self, payload: bytes) -> None:
        """Note when a command is put off for the first time; the client only sends it again."""
        if payload[1:2] == DEFERRED:
            message = decode_outbound(payload)
            assert isinstance(message, Deferred), "The second byte is the kind of the message."
            sent = self._open.get(message.number)
            if sent is not None and not sent.deferred_ns:
                sent.deferred_ns = time.monotonic_ns()

    async def _end(self, room: ClientRoom) -> None:
        try:
            async with asyncio.timeout(LAST_ANSWERS_S):
                while room.unanswered:  # noqa: ASYNC110  The client tells nobody.
                    await asyncio.sleep(0.05)
        except TimeoutError:
            left = room.unanswered
            self._history.faults.append(f"{self.client.name}: {left} commands were never answered")
        self.note_sight()
        if self.client.counters.desyncs:
            count = self.client.counters.desyncs
            self._history.faults.append(f"{self.client.name} saw {count} desyncs")


async def _first_of(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

"""One bot's stay in one room: its moves, their answers, and its checks.

Moves are due at times that are fixed beforehand, and are timed from then: a server that is slow
cannot make the bots ask less. What to do is the behaviour's.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from random import Random

import msgpack

from protocol.client import (
    Answer,
    Client,
    ClientError,
    ClientRoom,
    ClientStopped,
    CommandDeferred,
    CommandInvalid,
    RoomClosed,
    TooManyCommands,
)
from protocol.closes import CloseCode
from protocol.messages import Outcome, OutcomeKind
from scripts.loadtest.behaviour import Behaviour
from scripts.loadtest.crew import Crew
from scripts.loadtest.sight import Move, Sight
from scripts.loadtest.watch import Watch

# Longer than a server takes to come back after a crash: commands wait for it.
COMMAND_TIMEOUT_MS = 30_000
FINISH_TIMEOUT_S = 10.0
ASK_AGAIN_S = 1.0
LOOK_INTERVAL_S = 1.0
BOOKS_ATTEMPTS = 8


class Playing:
    """A bot in a room, from its first move to its last check."""

    def __init__(
        self, client: Client, room: ClientRoom, behaviour: Behaviour, watch: Watch, crew: Crew
    ) -> None:
        self.room = room
        self.behaviour = behaviour
        self.sight = Sight(crew.schemas[room.game], room.view, room.seat, room.id)
        self.over = asyncio.Event()
        self._client = client
        self._watch = watch
        self._crew = crew
        self._tally = crew.tally
        self._who = f"{client.name}, room {room.id}"
        self._answered_all = asyncio.Event()
        self._due_ns = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def play(self, rng: Random, on_rounds: Callable[[int], None]) -> None:
        """Make moves until the game is over or ``over`` is set; ``on_rounds`` hears of rounds."""
        interval_ns = 1e9 / self._crew.rate
        self._due_ns = time.monotonic_ns() + int(rng.uniform(0, interval_ns))
        self._call("act", self._due_ns, partial(self._act, rng))
        self._look_around(on_rounds)
        if self._crew.verify_interval_s > 0:
            self._plan_verification(rng)
        try:
            await self.over.wait()  # The worker sets it at the end of the run.
        finally:
            for timer in self._timers.values():
                timer.cancel()

    async def finish(self) -> None:
        """Wait for what is unanswered, and compare once more."""
        if self.room.closed is not None:
            return
        try:
            async with asyncio.timeout(FINISH_TIMEOUT_S):
                if self.room.unanswered:
                    await self._answered_all.wait()
        except TimeoutError:
            self._tally.error("unanswered", f"{self._who}: {self.room.unanswered} at the end")
        try:
            async with asyncio.timeout(FINISH_TIMEOUT_S):
                await self._verify_finally()
        except TimeoutError:
            self._tally.error("no_full_state", self._who)
        self._watch.conclude()
        self._look()

    async def check_books(self, start_minor: int) -> None:
        """Compare the wallet with what the view has shown, unless that is not known."""
        balance_minor, lost_minor = start_minor, None
        try:
            async with asyncio.timeout(FINISH_TIMEOUT_S):
                for _ in range(BOOKS_ATTEMPTS):
                    self._look()
                    lost_minor = self.behaviour.lost_minor(self.sight)
                    if lost_minor is None or self.room.closed is not None:
                        self._tally.count("books_unsure")
                        return
                    (balance_minor,) = await self._client.request("balance")
                    if balance_minor == start_minor - lost_minor:
                        self._tally.count("books_checked")
                        return
                    # A round may be settled between the two: then they agree a moment later.
                    await asyncio.sleep(ASK_AGAIN_S / 2)
        except TimeoutError as error:
            self._tally.error("books", f"{self._who}: no balance: {error}")
            return
        self._tally.error(
            "books", f"{self._who}: {balance_minor} left of {start_minor}, but lost {lost_minor}"
        )

    # --- Moves.

    def _act(self, rng: Random) -> None:
        due_ns = self._due_ns
        # What is late is not left out: it follows at once.
        self._due_ns += int(1e9 / self._crew.rate * rng.uniform(0.5, 1.5))
        self._call("act", self._due_ns, partial(self._act, rng))
        if self.room.closed is not None or self.behaviour.is_over(self.sight):
            self.over.set()
            return
        move = self.behaviour.choose(self.sight)
        if move is None:
            self._tally.count("nothing_to_do")
            return
        on_answer = partial(self._answer, move, due_ns, self._connection)
        try:
            self.room.submit(
                move.body or self.sight.schema.body(move), on_answer, COMMAND_TIMEOUT_MS
            )
        except TooManyCommands:
            self._tally.count("commands_held_back")
        else:
            self._answered_all.clear()

    @property
    def _connection(self) -> int | None:
        """Which of its connections the room is seen over; None while there is none."""
        counters = self._client.counters
        return None if self.room.link is None else counters.disconnects + counters.moved

    def _answer(self, move: Move, due_ns: int, connection: int | None, answer: Answer) -> None:
        name = f"{self.room.game}.{move.command}"
        if isinstance(answer, Outcome):
            self._count(name, answer)
            is_same = connection is not None and connection == self._connection
            self._time(due_ns, answer, over_reconnect=not is_same)
        else:
            self._count_without_outcome(name, answer)
        if not self.room.unanswered:
            self._answered_all.set()

    def _count(self, name: str, outcome: Outcome) -> None:
        self._tally.count("outcomes")
        if outcome.kind == OutcomeKind.ACCEPTED:
            self._tally.accepted[name] += 1
        elif outcome.kind == OutcomeKind.REFUSED:
            self._tally.refused[outcome.name] += 1
        else:
            self._tally.error("failed", f"{self._who}: {name}")

    def _time(self, due_ns: int, outcome: Outcome, *, over_reconnect: bool) -> None:
        times = self._tally.times
        waited_us = (time.monotonic_ns() - due_ns) // 1000
        if over_reconnect:
            times["outcome_over_reconnect"].add(waited_us)
            return
        times["outcome"].add(waited_us)
        self._tally.fresh.add(waited_us)
        if outcome.kind == OutcomeKind.ACCEPTED:
            # The tick's frames come before or with the outcome; the last that changed anything
            # is the one that shows this command, if it shows at all.
            if self._watch.changed_tick == outcome.tick:
                times["delta"].add((self._watch.changed_ns - due_ns) // 1000)
            else:
                self._tally.count("accepted_without_delta")

    def _count_without_outcome(self, name: str, error: ClientError) -> None:
        if isinstance(error, CommandInvalid):
            self._tally.refused[error.name] += 1
        elif isinstance(error, RoomClosed) or (
            isinstance(error, ClientStopped) and error.code == CloseCode.NORMAL
        ):
            self._tally.count("commands_cut_off")  # The room ended before their tick came.
        elif isinstance(error, CommandDeferred):
            self._tally.error("deferred_too_long", f"{self._who}: {name}")
        else:
            self._tally.error("unanswered", f"{self._who}: {name}: {error}")

    # --- Checks.

    def _look_around(self, on_rounds: Callable[[int], None]) -> None:
        self._look()
        on_rounds(self.behaviour.rounds(self.sight))
        due_ns = time.monotonic_ns() + int(LOOK_INTERVAL_S * 1e9)
        self._call("look", due_ns, partial(self._look_around, on_rounds))

    def _look(self) -> None:
        for fault in self.behaviour.look(self.sight):
            self._tally.error("rules", f"{self._who}: {fault}")

    def _plan_verification(self, rng: Random) -> None:
        wait_s = rng.expovariate(1 / self._crew.verify_interval_s)
        due_ns = time.monotonic_ns() + int(wait_s * 1e9)
        self._call("verify", due_ns, partial(self._verify, rng))

    def _verify(self, rng: Random) -> None:
        self.room.post(_resync(self.room.id))
        self._plan_verification(rng)

    async def _verify_finally(self) -> None:
        self._watch.full_came.clear()
        while self.room.closed is None and not self._watch.full_came.is_set():
            self.room.post(_resync(self.room.id))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_AGAIN_S):
                    await self._watch.full_came.wait()

    def _call(self, name: str, due_ns: int, callback: Callable[[], None]) -> None:
        delay_s = max(0, due_ns - time.monotonic_ns()) / 1e9
        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, callback)


def _resync(room_id: int) -> bytes:
    return msgpack.packb([8, room_id])

"""One player: it connects, and plays at its place from room to room until the run is over.

It does not know any game; that is its behaviour's.
"""

import asyncio
import contextlib
import time
from functools import partial
from random import Random

from protocol.client import (
    AnswerTimeout,
    Client,
    ClientError,
    ClientRoom,
    ConnectionLost,
    Options,
    RequestRefused,
    RoomClosed,
)
from protocol.messages import LeftCode, ReplyCode
from protocol.view import View
from scripts.loadtest.crew import Crew
from scripts.loadtest.places import Place
from scripts.loadtest.playing import Playing
from scripts.loadtest.watch import Watch

OPEN_TIMEOUT_MS = 60_000
JOIN_TIMEOUT_MS = 20_000
BACKOFF_MAX_MS = 2_000  # A server that comes back is to find its players at once.
RETRY_S = 0.5
JOIN_ATTEMPTS = 40

# Rooms that are over when one comes to them: the next one will do.
_NEXT_ROOM = frozenset({ReplyCode.ROOM_ENDED, ReplyCode.NOT_FOUND, ReplyCode.ROOM_SET_ASIDE})


class Bot:
    """One client and where it plays."""

    def __init__(self, crew: Crew, number: int, place: Place, rng: Random) -> None:
        self.number = number
        self.playing: Playing | None = None
        self._crew = crew
        self._place = place
        self._rng = rng
        self._arrived = False
        self._tally = crew.tally
        self._watch = Watch(f"bot {number}", crew.tally, self._view_of)
        options = Options(
            open_timeout_ms=OPEN_TIMEOUT_MS,
            backoff_max_ms=BACKOFF_MAX_MS,
            program="bots",
            dial=crew.dial,
            on_message=self._watch.take,
        )
        self.client = Client(crew.url, name=f"bot {number}", options=options)

    async def run(self) -> None:
        """Play until the run is over. What goes wrong is counted, and ends this bot alone."""
        generation = -1
        try:
            async with self.client:
                while not self._crew.stopping.is_set():
                    entered = await self._enter(generation)
                    if entered is None:
                        break
                    generation, room = entered
                    await self._play(room, generation)
        except ClientError as error:
            self._tally.error(type(error).__name__, f"bot {self.number}: {error}")
        finally:
            self.playing = None
            self._arrive()
            self._add_up()

    def stop(self) -> None:
        """Let the bot come to its end, in order."""
        if self.playing is not None:
            self.playing.over.set()

    async def _enter(self, after: int) -> tuple[int, ClientRoom] | None:
        """Join the room that follows; None when the run ends meanwhile."""
        started_ns = time.monotonic_ns()
        last = ""
        for _ in range(JOIN_ATTEMPTS):
            try:
                generation, code = await self._place.code(self.client, after)
                room = await self.client.join(code=code, timeout_ms=JOIN_TIMEOUT_MS)
            except (ConnectionLost, RoomClosed) as error:
                last = str(error)
                self._tally.count(f"joins_failed_{type(error).__name__}")
            except AnswerTimeout as error:
                self._tally.error("join", f"bot {self.number}: {error}")
            except RequestRefused as error:
                last = str(error)
                self._tally.count(f"joins_refused_{error.name}")
                if error.code in _NEXT_ROOM:
                    after = max(after, self._place.generation)
                elif error.retry_ms < 0 and error.code != ReplyCode.REFUSED:
                    raise
            else:
                self._tally.times["join"].add((time.monotonic_ns() - started_ns) // 1000)
                return generation, room
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S * self._rng.uniform(0.5, 1.5)):
                    await self._crew.stopping.wait()
            if self._crew.stopping.is_set():
                return None
        raise ConnectionLost(f"no room after {JOIN_ATTEMPTS} attempts: {last}")

    async def _play(self, room: ClientRoom, generation: int) -> None:
        game = room.game
        bots = self._crew.games[game]
        behaviour = bots.make(self._rng, lambda kind: not self._tally.accepted[f"{game}.{kind}"])
        playing = self.playing = Playing(self.client, room, behaviour, self._watch, self._crew)
        note_rounds = partial(self._place.note_rounds, generation)
        start_minor = None
        if bots.uses_money and generation == 0:  # Bets of an earlier room may still be out.
            (start_minor,) = await self.client.request("balance")
        self._arrive()
        await self._crew.playing.wait()  # The worker sets it, also when the run is stopped.
        if not self._crew.stopping.is_set():
            await playing.play(self._rng, note_rounds)
        await playing.finish()
        if start_minor is not None:
            await playing.check_books(start_minor)
        note_rounds(behaviour.rounds(playing.sight))
        self._look_at_end(playing, generation)
        if room.closed is None:
            with contextlib.suppress(RoomClosed):
                await room.leave()
        self.playing = None

    def _look_at_end(self, playing: Playing, generation: int) -> None:
        """See why the room is no longer seen."""
        closed = playing.room.closed
        if closed is None:
            if playing.behaviour.is_over(playing.sight):
                self._place.note_over(generation)
        elif not isinstance(closed, RoomClosed):
            raise closed
        elif closed.code == LeftCode.ENDED or (
            closed.name == ReplyCode.ROOM_ENDED.name  # It ended while this bot was away.
        ):
            self._place.note_over(generation)
        else:
            self._tally.error("room", f"bot {self.number}, room {playing.room.id}: {closed.name}")

    def _arrive(self) -> None:
        if not self._arrived:
            self._arrived = True
            self._crew.muster.arrive()

    def _view_of(self, room_id: int) -> View | None:
        room = self.client.rooms.get(room_id)
        return None if room is None else room.view

    def _add_up(self) -> None:
        counters, tally = self.client.counters, self._tally
        for name in (
            *("bytes_received", "messages_received", "deltas_received", "commands_sent"),
            *("commands_sent_again", "deferrals", "disconnects", "redirects", "moved"),
            *("resumed_gapless", "resumed_full"),
        ):
            tally.count(name, getattr(counters, name))
        if counters.desyncs:
            tally.desync(f"bot {self.number}: the client itself saw {counters.desyncs}")
        for code, times in counters.closes.items():
            tally.closes[str(code)] += times

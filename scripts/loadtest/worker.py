"""One process's bots: ``python -m scripts.loadtest.worker``, started by the conductor.

It reads its orders from standard input and tells on standard output how it is getting on, a JSON
object a line. The end of standard input, or the line "stop", ends the run in order.
"""

import asyncio
import gc
import json
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from protocol.client import Dial
from scripts.loadtest.behaviour import GameBots
from scripts.loadtest.bot import Bot
from scripts.loadtest.catalog import GAMES
from scripts.loadtest.crew import Crew, Muster
from scripts.loadtest.histogram import Histogram
from scripts.loadtest.places import Place, rng_of
from scripts.loadtest.plan import Plan
from scripts.loadtest.sight import Schema
from scripts.loadtest.tally import Tally
from scripts.loadtest.wire import dial_lean

# Bots come one after the other: a server lets in so many a second from strangers.
CONNECTS_PER_SECOND = 100
GATHER_TIMEOUT_S = 90.0
LIVE_INTERVAL_S = 1.0
LAG_INTERVAL_S = 0.02

Tell = Callable[[dict[str, Any]], None]


class Shift:
    """The bots of one process, from the first connection to the last farewell."""

    def __init__(
        self,
        plan: Plan,
        schemas: Mapping[str, Schema],
        games: Mapping[str, GameBots] = GAMES,
        dial: Dial = dial_lean,
    ) -> None:
        self.tally = Tally()
        self.stop = asyncio.Event()
        self._plan = plan
        self._crew = Crew(
            url=plan.url,
            rate=plan.rate,
            verify_interval_s=plan.verify_interval_s,
            tally=self.tally,
            games=dict(games),
            schemas=dict(schemas),
            muster=Muster(sum(place.bots for place in plan.places)),
            playing=asyncio.Event(),
            stopping=asyncio.Event(),
            dial=dial,
        )
        self._bots = list(self._make_bots())
        self._started_ns = time.monotonic_ns()

    def _make_bots(self) -> Iterator[Bot]:
        for place_plan in self._plan.places:
            rng = rng_of(self._plan.seed, "room", place_plan.first_bot)
            settings = partial(self._crew.games[place_plan.game].settings, rng)
            place = Place(place_plan, settings, self.tally)
            for number in range(place_plan.first_bot, place_plan.first_bot + place_plan.bots):
                yield Bot(self._crew, number, place, rng_of(self._plan.seed, "bot", number))

    async def run(self, tell: Tell) -> None:
        """Gather the bots, let them play for as long as planned or until ``stop``, end them."""
        asyncio.get_running_loop().set_exception_handler(self._note_mistake)
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._tell_live(tell)), tasks.create_task(self._lag())]
            try:
                async with asyncio.TaskGroup() as playing:
                    await self._gather(playing)
                    await self._play()
            finally:
                for task in beside:
                    task.cancel()

    def _note_mistake(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Count what a bot's own timer raised: a bot that does nothing must not look content."""
        self.tally.error("bots", f"{context['message']}: {context.get('exception')!r}")
        loop.default_exception_handler(context)

    async def _gather(self, tasks: asyncio.TaskGroup) -> None:
        for at, bot in enumerate(self._bots):
            tasks.create_task(bot.run())
            if at % CONNECTS_PER_SECOND == CONNECTS_PER_SECOND - 1 and not self.stop.is_set():
                await asyncio.sleep(1)
        async with asyncio.TaskGroup() as waiting:
            complete = waiting.create_task(self._crew.muster.complete.wait())
            stopped = waiting.create_task(self.stop.wait())
            await asyncio.wait(
                {complete, stopped},
                timeout=GATHER_TIMEOUT_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            complete.cancel()
            stopped.cancel()
        if self._crew.muster.missing > 0 and not self.stop.is_set():
            self.tally.error("gathering", f"{self._crew.muster.missing} bots found no seat")

    async def _play(self) -> None:
        self._started_ns = time.monotonic_ns()
        cpu_s = time.process_time()
        gc.collect()
        gc.freeze()  # What is there now stays: looking through it would cost up to 100 ms a time.
        self._crew.playing.set()
        try:
            async with asyncio.timeout(self._plan.duration_s or None):
                await self.stop.wait()
        except TimeoutError:
            pass  # The run is as long as it was to be.
        played_s = (time.monotonic_ns() - self._started_ns) / 1e9
        self.tally.count("played_ms", round(played_s * 1000))
        self.tally.count("cpu_ms", round((time.process_time() - cpu_s) * 1000))
        gc.unfreeze()
        self._crew.stopping.set()
        for bot in self._bots:
            bot.stop()

    async def _tell_live(self, tell: Tell) -> None:
        while True:
            await asyncio.sleep(LIVE_INTERVAL_S)
            tell({"live": self._live()})

    def _live(self) -> dict[str, Any]:
        fresh = self.tally.take_fresh()
        counters = [bot.client.counters for bot in self._bots]
        playing = self._crew.playing.is_set()
        return {
            "played_s": (time.monotonic_ns() - self._started_ns) / 1e9 if playing else 0.0,
            "seated": sum(bot.playing is not None for bot in self._bots),
            "connected": sum(bot.client.connected for bot in self._bots),
            "commands": sum(one.commands_sent for one in counters),
            "deltas": sum(one.deltas_received for one in counters),
            "bytes": sum(one.bytes_received for one in counters),
            "desyncs": self.tally.counts["desyncs"],
            "errors": self.tally.errors.total(),
            "buckets": sorted(fresh.buckets.items()),
            "max_us": fresh.max_us,
        }

    async def _lag(self) -> None:
        """Measure how late this process wakes up: what it measures cannot be finer."""
        lag: Histogram = self.tally.times["lag"]
        while True:
            due_ns = time.monotonic_ns() + int(LAG_INTERVAL_S * 1e9)
            await asyncio.sleep(LAG_INTERVAL_S)
            lag.add(max(0, time.monotonic_ns() - due_ns) // 1000)


def main() -> None:
    """Run one process's bots; the conductor decides when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group of processes.
    raise_open_files()
    orders = json.loads(sys.stdin.readline())
    plan = Plan.from_plain(orders["plan"])
    schemas = {name: Schema(described) for name, described in orders["schemas"].items()}
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        tally = runner.run(_serve(plan, schemas))
    _tell({"tally": tally.to_plain()})


async def _serve(plan: Plan, schemas: Mapping[str, Schema]) -> Tally:
    shift = Shift(plan, schemas)
    async with asyncio.TaskGroup() as tasks:
        ordered = tasks.create_task(_await_stop(shift.stop))
        await shift.run(_tell)
        ordered.cancel()
    return shift.tally


async def _await_stop(stop: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.readline()  # Until the conductor says so or is gone.
    stop.set()


def _tell(said: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def raise_open_files() -> None:
    """Allow as many sockets as the system lets this user have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Where it does not run, asyncio's own loop serves.
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main()

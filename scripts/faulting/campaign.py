"""A campaign: a plan of faults from a seed, gone through in a world, and then everything checked.

plan → phases, each with its bots → one fault after the other, each followed by a look at the
books → the last round ends, the server stops → every entry is done again
"""

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

from scripts.faulting import disk
from scripts.faulting.bots import Crowd
from scripts.faulting.checks import checked, count_people
from scripts.faulting.faults import BACKENDS, CUTS, FAULTS, KILLS, NOT_RUN, Measures, kill
from scripts.faulting.servers import ServerFailed
from scripts.faulting.world import NOTICED_S, Size, World

# What is played, phase after phase: keno above all, because there is money in it.
GAMES = ("keno", "mix", "keno", "quiz", "keno", "conquest")
FAULT_S = 180.0
ATTEMPTS = 3
# Commands of bots wait during an outage, all to come at its end: more than the ten bets of which a
# player is shown what they came to, and the bots could keep no books.
OUTAGE_RATE = 0.25
PLAY_S_MIN = 0.2  # Of undisturbed play before each fault.

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much of what, in which order by ``seed``, and under how many who play.

    ``names`` are these very faults, in this order, instead of the numbers of each.
    """

    names: tuple[str, ...] = ()
    kills: int = 10
    postgres_stops: int = 3
    outages: int = 1
    zombies: int = 2
    cuts: int = 4
    backends: int = 3
    drains: int = 2
    freezes: int = 2
    resets: int = 2
    disks: int = 1
    outage_s: float = 30.0
    pause_s: float = 1.5
    clients: int = 24
    rooms: int = 4
    rate: float = 2.0
    faults_per_phase: int = 8
    crowd: int = 0
    crowd_kills: int = 3
    seed: int = 1
    size: Size = field(default_factory=Size)

    @property
    def wanted(self) -> Counter[str]:
        """Return how often each fault is to take place; of each kind all variants in turn."""
        if self.names:
            return Counter(self.names)
        names = [
            *_mixed(KILLS, self.kills),
            *islice(cycle(BACKENDS), self.backends),
            *islice(cycle(CUTS), self.cuts),
            *["postgres_stopped"] * self.postgres_stops,
            *["outage"] * self.outages,
            *["zombie"] * self.zombies,
            *["drain"] * self.drains,
            *["freeze"] * self.freezes,
            *["clients_reset"] * self.resets,
        ]
        return Counter(names)

    def phases(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield what is played and what is broken meanwhile."""
        names = list(self.names or self.wanted.elements())
        if not self.names:
            Random(self.seed).shuffle(names)
        games = cycle(GAMES)
        for first in range(0, len(names), self.faults_per_phase):
            yield next(games), names[first : first + self.faults_per_phase]


def _mixed(kills: dict[str, Any], count: int) -> list[str]:
    """Return kills of which every other one is at a random moment."""
    named = cycle(name for name in kills if name != "kill")
    return [("kill" if at % 2 == 0 else next(named)) for at in range(count)]


@dataclass
class Outcome:
    """What a campaign came to."""

    plan: Plan
    measures: Measures
    run: Counter[str] = field(default_factory=Counter)
    not_run: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    crowd_ms: list[int] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def gapless_share(self) -> float:
        """Return which part of the clients that came back did so without a gap."""
        back = self.counts["resumed_gapless"] + self.counts["resumed_full"]
        return self.counts["resumed_gapless"] / back if back else 1.0


async def run(plan: Plan, folder: Path, say: Say) -> Outcome:
    """Go through a plan; ``folder`` must be empty."""
    started_s = time.monotonic()
    outcome = Outcome(plan, Measures(outage_s=plan.outage_s))
    parts = [("main", _main_part)]
    parts += [(f"disk-{number}", _disk_part) for number in range(plan.disks)]
    parts += [("crowd", _crowd_part)] if plan.crowd else []
    for name, part in parts:
        try:
            await part(plan, folder / name, outcome, say)
        except Exception as error:  # What the other parts have found is told all the same.
            traceback.print_exception(error)
            outcome.faults.append(f"the part {name!r} broke off: {error!r}")
    outcome.duration_s = time.monotonic() - started_s
    return outcome


async def _main_part(plan: Plan, folder: Path, outcome: Outcome, say: Say) -> None:
    chance = Random(plan.seed)
    async with World(folder, plan.size) as world:
        for number, (game, names) in enumerate(plan.phases()):
            rate = min(plan.rate, OUTAGE_RATE) if "outage" in names else plan.rate
            crowd = Crowd(game, plan.clients, plan.rooms, rate, plan.seed + number)
            await world.gather(world.url, crowd)
            for name in names:
                await asyncio.sleep(PLAY_S_MIN + chance.uniform(0, plan.pause_s))
                say(f"{game:9} {name}")
                if not await _injured(world, name, chance, outcome):
                    break
                await world.look()
            await world.dismiss()
        await world.end_play()
        await _examine(world, outcome)


async def _injured(world: World, name: str, chance: Random, outcome: Outcome) -> bool:
    """Bring a fault about, in some attempts; false if play does not go on after it."""
    for _ in range(ATTEMPTS):
        stalls = len(world.machine.stalls_ms)
        try:
            async with asyncio.timeout(FAULT_S):
                await FAULTS[name](world, outcome.measures, chance)
        except NOT_RUN as error:
            outcome.not_run.append(f"{name}: {error}")
        except (TimeoutError, ServerFailed) as error:
            await asyncio.sleep(NOTICED_S)
            if len(world.machine.stalls_ms) == stalls:
                outcome.faults.append(f"play did not go on after {name}: {error!r}")
                return False
            outcome.not_run.append(f"{name}: the machine stood still meanwhile")
            await world.mend()
        else:
            outcome.run[name] += 1
            return True
    return True


async def _disk_part(plan: Plan, folder: Path, outcome: Outcome, say: Say) -> None:
    say("          disk_full")
    async with disk.small_disk(folder) as (small, why_not):
        if why_not:
            outcome.not_run.append(f"disk_full: {why_not}")
            return
        async with World(small.folder / "world", plan.size) as world:
            try:
                await disk.fill_up(world, small, outcome.measures)
            except NOT_RUN as error:
                outcome.not_run.append(f"disk_full: {error}")
            else:
                outcome.run["disk_full"] += 1
            await world.end_play()
            await _examine(world, outcome)


async def _crowd_part(plan: Plan, folder: Path, outcome: Outcome, say: Say) -> None:
    """Kill a server with very many rooms that have players."""
    measures = Measures()
    async with World(folder, plan.size) as world:
        await world.gather(world.url, Crowd("keno", plan.crowd, plan.crowd, 0.1, plan.seed))
        for _ in range(plan.crowd_kills):
            await asyncio.sleep(5)
            say(f"keno      kill with {plan.crowd} rooms")
            await kill(world, measures, Random(plan.seed))
        await world.dismiss()
        await world.end_play()
        await _examine(world, outcome)
    outcome.crowd_ms = measures.after_kill_ms
    outcome.measures.processes_killed += measures.processes_killed
    outcome.run["kill_with_a_crowd"] += plan.crowd_kills


async def _examine(world: World, outcome: Outcome) -> None:
    """Check all that was kept and told; nobody writes any more."""
    findings = await checked(world.database, world.keys, world.history)
    outcome.faults += world.faults + findings.faults
    outcome.counts.update(findings.counts)
    outcome.measures.ready_ms += world.ready_ms
    outcome.measures.stalls_ms += world.machine.stalls_ms
    outcome.counts["outcomes_told_to_players"] += len(world.history.told)
    count_people(outcome.counts, world.players, world.reports)
    outcome.counts["bots_wallets_cleared"] += world.wallets_cleared
    outcome.counts["shards_fenced"] += sum(one.count("shard_fenced") for one in world.servers)
    for server in world.servers:
        warnings = [one["event"] for one in server.events if one.get("level") == "warning"]
        outcome.counts.update(f"server_{event}" for event in warnings)
    outcome.counts["servers_started"] += len(world.servers)

"""A campaign with several nodes: each fault some times in the order of a seed, then all checked."""

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from scripts.faulting.bots import Crowd
from scripts.faulting.checks import checked, count_people
from scripts.faulting.cluster import ClusterSize, ClusterWorld
from scripts.faulting.cluster_faults import FAULTS, ClusterMeasures
from scripts.faulting.servers import ServerFailed
from scripts.faulting.world import NOTICED_S

FAULT_S = 240.0
UNDISTURBED_S = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class ClusterPlan:
    """Each of ``names`` takes place ``each`` times, in an order by ``seed``.

    ``bots`` play at each node, who come ``per_room`` to a room.
    """

    names: tuple[str, ...] = tuple(FAULTS)
    each: int = 1
    bots: int = 0
    per_room: int = 3
    bot_rate: float = 1.0
    pause_s: float = 1.5
    seed: int = 1
    size: ClusterSize = field(default_factory=ClusterSize)

    @property
    def wanted(self) -> Counter[str]:
        """Return how often each fault is to take place."""
        return Counter(self.order)

    @property
    def order(self) -> list[str]:
        """Return what takes place, one after the other."""
        names = [*self.names] * self.each
        if self.each > 1 or self.names == tuple(FAULTS):
            Random(self.seed).shuffle(names)
        return names


@dataclass
class ClusterOutcome:
    """What a campaign came to."""

    plan: ClusterPlan
    measures: ClusterMeasures = field(default_factory=ClusterMeasures)
    run: Counter[str] = field(default_factory=Counter)
    not_run: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    duration_s: float = 0.0


async def run(plan: ClusterPlan, folder: Path, say: Say) -> ClusterOutcome:
    """Go through a plan; ``folder`` must be empty."""
    started_s = time.monotonic()
    outcome = ClusterOutcome(plan)
    try:
        await _gone_through(plan, folder / "cluster", outcome, say)
    except Exception as error:  # What was found before is told all the same.
        traceback.print_exception(error)
        outcome.faults.append(f"the campaign broke off: {error!r}")
    outcome.duration_s = time.monotonic() - started_s
    return outcome


async def _gone_through(plan: ClusterPlan, folder: Path, outcome: ClusterOutcome, say: Say) -> None:
    chance = Random(plan.seed)
    async with ClusterWorld(folder, plan.size) as world:
        for number, node in enumerate(world.nodes if plan.bots else ()):
            rooms = -(-plan.bots // plan.per_room)
            crowd = Crowd("mix", plan.bots, rooms, plan.bot_rate, plan.seed + number)
            await world.gather(world.url_at(node), crowd)
        await _measure_rest(world, outcome.measures)
        for name in plan.order:
            await asyncio.sleep(chance.uniform(0, plan.pause_s))
            say(name)
            if not await _injured(world, name, chance, outcome):
                break
            await world.look()
        await world.dismiss()
        await world.end_play()
        await _examine(world, outcome)


async def _measure_rest(world: ClusterWorld, measures: ClusterMeasures) -> None:
    """Note how long clients wait for deltas when nothing is broken."""
    for player in world.players:
        player.take_gap_ms()
    await asyncio.sleep(UNDISTURBED_S)
    measures.gaps_undisturbed_ms += [player.take_gap_ms() for player in world.players]


async def _injured(world: ClusterWorld, name: str, chance: Random, outcome: ClusterOutcome) -> bool:
    """Bring a fault about; false if play does not go on after it."""
    stalls, found = len(world.machine.stalls_ms), len(world.faults)
    try:
        async with asyncio.timeout(FAULT_S):
            await FAULTS[name](world, outcome.measures, chance)
    except (TimeoutError, ServerFailed) as error:
        outcome.faults.append(f"play did not go on after {name}: {error!r}")
        return False
    outcome.run[name] += 1
    if len(world.faults) == found:
        return True
    await asyncio.sleep(NOTICED_S)
    if len(world.machine.stalls_ms) > stalls:
        outcome.not_run += [f"the machine stood still: {one}" for one in world.faults[found:]]
        del world.faults[found:]
    return True


async def _examine(world: ClusterWorld, outcome: ClusterOutcome) -> None:
    """Check all that was kept and told; nobody writes any more."""
    findings = await checked(world.database, world.keys, world.history)
    outcome.faults += world.faults + findings.faults
    outcome.counts.update(findings.counts)
    outcome.measures.stalls_ms += world.machine.stalls_ms
    outcome.counts["outcomes_told_to_players"] += len(world.history.told)
    failed = [one for one in world.history.sent if isinstance(one.answer, Exception)]
    outcome.counts["commands_failed"] += len(failed)
    outcome.faults += [f"a command failed: {one}" for one in failed]
    count_people(outcome.counts, world.players, world.reports)
    for server in world.servers:
        outcome.counts["shards_fenced"] += server.count("shard_fenced")
        warnings = [one["event"] for one in server.events if one.get("level") == "warning"]
        outcome.counts.update(f"server_{event}" for event in warnings)
    outcome.counts["servers_started"] += len(world.servers)

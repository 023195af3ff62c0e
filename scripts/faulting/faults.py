"""The faults: each breaks one thing under play, mends it, and sees that play goes on.

Each returns nothing; what it measured goes into ``Measures``, and what did not hold into the
world's ``faults``. A fault that could not be brought about raises ``NotRun``.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from persistence.ownership import DEFAULT_SHARDS
from protocol.client import Client, Options
from protocol.messages import Outcome
from scripts.faulting.database import NotFound
from scripts.faulting.failpoints import POINTS
from scripts.faulting.players import Player
from scripts.faulting.relay import Cut
from scripts.faulting.world import World

FAILPOINT_S = 20.0
FENCED_S = 60.0
CUT_S = 30.0
# Longer than a commit may take before the server gives its connection up.
STALL_S = 4.0
SECOND_NS = 1_000_000_000
TAKEN_NS = SECOND_NS  # By then no tick takes anything any more, on a slow machine too.
# The server promises 2 s; a machine that starts bots meanwhile gets some more.
DEFERRED_S_MAX = 3
LATE_ANSWER_S = 1.0

# How often each point may be met before the server dies at it; the rare ones die at once.
TIMES = {
    "after_takeover": 1,
    "while_recovering": 1,
    "before_snapshot": 1,
    "after_snapshot": 1,
    "while_telling": 60,
}
TIMES_COMMIT = 20


class NotRun(Exception):
    """The fault could not be brought about here; the text says why."""


@dataclass
class Measures:
    """Milliseconds until play went on, by what had happened; ``outage_s`` is how long one takes."""

    outage_s: float = 30.0
    processes_killed: int = 0
    after_kill_ms: list[int] = field(default_factory=list)
    after_postgres_ms: list[int] = field(default_factory=list)
    after_takeover_ms: list[int] = field(default_factory=list)
    after_drain_ms: list[int] = field(default_factory=list)
    after_network_ms: list[int] = field(default_factory=list)
    deferred_ms: list[int] = field(default_factory=list)
    ready_ms: list[int] = field(default_factory=list)
    stalls_ms: list[int] = field(default_factory=list)


Injure = Callable[[World, Measures, Random], Awaitable[None]]


def _ms(from_ns: int, to_ns: int) -> int:
    return (to_ns - from_ns) // 1_000_000


# --- The server.


async def kill(world: World, measures: Measures, _: Random) -> None:
    """Kill the server at a random moment and start it again at once."""
    killed_ns = await world.kill()
    measures.processes_killed += 1
    await world.serve_again()
    measures.after_kill_ms.append(_ms(killed_ns, await world.news(killed_ns)))


def kill_at(point: str) -> Injure:
    """Return the fault that lets a server die at a named point."""

    async def injure(world: World, measures: Measures, chance: Random) -> None:
        times = chance.randint(1, TIMES.get(point, TIMES_COMMIT))
        await world.kill()
        measures.processes_killed += 1
        await world.serve(f"{point}:{times}")
        doomed = world.server
        try:
            async with asyncio.timeout(FAILPOINT_S):
                code = await doomed.ended(FAILPOINT_S * 2)
        except TimeoutError:
            await world.kill()
            await world.serve_again()
            raise NotRun(f"{point} was not met {times} times") from None
        died_ns = world.now_ns()
        world.relay.target = None
        await world.note_last_sights()
        if code != -signal.SIGKILL:
            raise NotRun(f"{point}: the server ended with {code}: {doomed.last_words()}")
        measures.processes_killed += 1
        await world.serve_again()
        measures.after_kill_ms.append(_ms(died_ns, await world.news(died_ns)))

    return injure


async def kill_both(world: World, measures: Measures, _: Random) -> None:
    """Stop PostgreSQL at once and kill the server before it is back."""
    await world.database.stop_now()
    await world.kill()
    measures.processes_killed += 1
    await world.database.start_again()
    back_ns = world.now_ns()
    await world.serve_again()
    measures.after_postgres_ms.append(_ms(back_ns, await world.news(back_ns)))


async def kill_draining(world: World, measures: Measures, chance: Random) -> None:
    """Kill a server that was told to end and is storing its rooms."""
    world.server.drain()
    await asyncio.sleep(chance.uniform(0.0, 0.6))
    await kill(world, measures, chance)


async def drain(world: World, measures: Measures, _: Random) -> None:
    """Let the server end in order under play, and another one begin."""
    asked_ns = world.now_ns()
    await world.drain()
    world.relay.target = None
    await world.note_last_sights()
    await world.serve_again()
    measures.after_drain_ms.append(_ms(asked_ns, await world.news(asked_ns)))


async def freeze(world: World, measures: Measures, chance: Random) -> None:
    """Stop the server's process for a moment, in which nobody takes its shards."""
    world.server.freeze()
    await asyncio.sleep(chance.uniform(0.1, 2.5))
    world.server.thaw()
    thawed_ns = world.now_ns()
    measures.after_network_ms.append(_ms(thawed_ns, await world.news(thawed_ns)))


async def zombie(world: World, measures: Measures, chance: Random) -> None:
    """Freeze the server, let a second one take its shards, and wake the first again.

    A player stays connected to the first one: it must not get a bet accepted there.
    """
    old = world.server
    options = Options(backoff_ms=30_000, backoff_max_ms=30_000, close_timeout_ms=100)
    straggler = Player(world.url, "straggler", world.history, chance.randrange(2**32))
    straggler.client = Client(f"ws://127.0.0.1:{old.port}/ws", name="straggler", options=options)
    room = world.players[0].room
    assert room is not None, "Players are seated."
    async with straggler.client:
        straggler.room = await straggler.client.join(room_id=room.id)
        old.freeze()
        old.is_zombie = True
        frozen_ns = world.now_ns()
        late = straggler.bet()  # It waits in the frozen server's socket.
        world.relay.target = None
        world.relay.reset()
        await world.note_last_sights()
        await world.serve_again()
        measures.after_takeover_ms.append(_ms(frozen_ns, await world.news(frozen_ns)))
        await asyncio.sleep(chance.uniform(0.0, 2.0))
        old.thaw()
        if not await old.until(lambda: old.count("shard_fenced") >= DEFAULT_SHARDS, FENCED_S):
            world.faults.append(f"a zombie was fenced on {old.count('shard_fenced')} shards only")
        await asyncio.sleep(LATE_ANSWER_S)
        if isinstance(late.answer, Outcome):
            world.faults.append(f"a zombie answered a bet: {late}")
        old.kill()
    await old.ended()
    since_ns = world.now_ns()
    await world.news(since_ns)


# --- PostgreSQL.


async def postgres_stopped(world: World, measures: Measures, chance: Random) -> None:
    """Stop PostgreSQL at once, with nothing written back, and start it again."""
    await world.database.stop_now()
    await asyncio.sleep(chance.uniform(0.0, 0.5))
    await _postgres_back(world, measures)


async def outage(world: World, measures: Measures, _: Random) -> None:
    """Stop PostgreSQL for long: what no tick has taken is put off, and clocks stand still."""
    world.has_waited = True
    await world.database.stop_now()
    stopped_ns, stalls = world.now_ns(), len(world.machine.stalls_ms)
    await asyncio.sleep(measures.outage_s)
    if len(world.machine.stalls_ms) == stalls:  # Else nobody could be told of anything in time.
        _note_deferrals(world, measures, stopped_ns)
    await _postgres_back(world, measures)


def _note_deferrals(world: World, measures: Measures, stopped_ns: int) -> None:
    """See that what was sent when nothing could be committed was put off in time.

    What was sent at once after the stop may be in a tick that waits for its commit, and what was
    sent just now may have to wait a little longer.
    """
    first_ns, last_ns = stopped_ns + TAKEN_NS, world.now_ns() - DEFERRED_S_MAX * SECOND_NS
    sent = [one for one in world.history.sent if one.sent_ns > first_ns]
    measures.deferred_ms += [_ms(one.sent_ns, one.deferred_ns) for one in sent if one.deferred_ns]
    ignored = sum(not one.deferred_ns for one in sent if one.sent_ns < last_ns)
    if ignored:
        world.faults.append(f"{ignored} commands were not put off in an outage")


async def _postgres_back(world: World, measures: Measures) -> None:
    await world.database.start_again()
    back_ns = world.now_ns()
    measures.after_postgres_ms.append(_ms(back_ns, await world.news(back_ns)))


async def backend_terminated(world: World, measures: Measures, _: Random) -> None:
    """End the session of a commit that has written everything but its last row."""
    async with world.database.commit_under_way() as pid, world.database.connection() as other:
        await other.execute("SELECT pg_terminate_backend($1)", pid)
    await _goes_on(world, measures)


async def backend_killed(world: World, measures: Measures, _: Random) -> None:
    """Kill the process of such a session: PostgreSQL ends them all and recovers."""
    async with world.database.commit_under_way() as pid:
        os.kill(pid, signal.SIGKILL)
    await _goes_on(world, measures)


async def backend_stalled(world: World, measures: Measures, _: Random) -> None:
    """Let the session of the commits stand still until the server gives it up."""
    pid = await world.database.session_of_commits()
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(STALL_S)
    finally:
        os.kill(pid, signal.SIGCONT)
    await _goes_on(world, measures)


# --- The network.


def commit_cut(cut: Cut) -> Injure:
    """Return the fault that cuts the next commit, or its answer, out of the connection."""

    async def injure(world: World, measures: Measures, _: Random) -> None:
        world.commits.arm(cut)
        try:
            async with asyncio.timeout(CUT_S):
                await world.commits.was_cut.wait()
        except TimeoutError:
            raise NotRun("no commit came by") from None
        await _goes_on(world, measures)

    return injure


async def partition(world: World, measures: Measures, chance: Random) -> None:
    """Let the network to PostgreSQL stand still, and deliver late what was on its way."""
    world.commits.hold()
    await asyncio.sleep(chance.uniform(3.2, 5.0))
    world.commits.let_go()
    await _goes_on(world, measures)


async def clients_reset(world: World, measures: Measures, _: Random) -> None:
    """Reset every player's connection."""
    world.relay.reset()
    await _goes_on(world, measures)


async def _goes_on(world: World, measures: Measures) -> None:
    since_ns = world.now_ns()
    measures.after_network_ms.append(_ms(since_ns, await world.news(since_ns)))


KILLS: dict[str, Injure] = {
    "kill": kill,
    **{f"kill_{point}": kill_at(point) for point in POINTS},
    "kill_while_postgres_is_down": kill_both,
    "kill_while_draining": kill_draining,
}
BACKENDS: dict[str, Injure] = {
    "backend_terminated": backend_terminated,
    "backend_killed": backend_killed,
    "backend_stalled": backend_stalled,
}
CUTS: dict[str, Injure] = {
    **{f"commit_{cut.value}": commit_cut(cut) for cut in Cut},
    "partition": partition,
}
OTHERS: dict[str, Injure] = {
    "postgres_stopped": postgres_stopped,
    "outage": outage,
    "zombie": zombie,
    "drain": drain,
    "freeze": freeze,
    "clients_reset": clients_reset,
}
FAULTS: dict[str, Injure] = {**KILLS, **BACKENDS, **CUTS, **OTHERS}

# What may go wrong in bringing a fault about, and is no finding.
NOT_RUN = (NotRun, NotFound)

"""Newcomers who come all at once, and the event loop that has other things to do as well."""

import asyncio
from collections.abc import Callable
from typing import Any

from gameserver.net.line import STEPS_PER_TURN, Line
from protocol.messages import Hello
from tests.net.rig import Peer, Rig, upgrade_request

NEWCOMERS = 5 * STEPS_PER_TURN + 3


async def test_a_few_are_served_in_each_turn_in_the_order_in_which_they_came() -> None:
    line = Line()
    served: list[int] = []
    for number in range(NEWCOMERS):
        line.add(lambda number=number: served.append(number))  # type: ignore[misc]
    assert served == []
    before, turns = 0, 0
    while len(served) < NEWCOMERS:
        await asyncio.sleep(0)
        assert len(served) - before <= STEPS_PER_TURN
        before, turns = len(served), turns + 1
    assert served == list(range(NEWCOMERS))
    assert turns <= NEWCOMERS // STEPS_PER_TURN + 3
    assert len(line) == 0
    line.add(lambda: served.append(-1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert served[-1] == -1, "a line that was empty moves again"


async def test_a_step_that_fails_takes_no_other_along() -> None:
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context))
    line = Line()
    served: list[int] = []
    for number in range(NEWCOMERS):
        line.add(lambda number=number: served.append(100 // number))  # type: ignore[misc]
    for _ in range(NEWCOMERS // STEPS_PER_TURN + 3):
        await asyncio.sleep(0)
    assert len(served) == NEWCOMERS - 1
    assert [type(one["exception"]) for one in failed] == [ZeroDivisionError]


class Standstill(Line):
    """A line in which nobody is ever served."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Callable[[], None]] = []

    def add(self, step: Callable[[], None]) -> None:
        self.steps.append(step)


async def waiting(rig: Rig) -> tuple[Standstill, Peer]:
    """Return the line, and somebody who stands in it with a request for an upgrade."""
    line = rig.server.edge.line = Standstill()
    peer = await rig.raw()
    peer.write(upgrade_request())
    await rig.until(lambda: line.steps)
    return line, peer


async def test_who_waits_in_line_for_too_long_is_told_so() -> None:
    async with Rig() as rig:
        line, peer = await waiting(rig)
        rig.pass_time(6)
        assert (await peer.read_all()).startswith(b"HTTP/1.1 503 ")
        line.steps.pop()()
        assert not rig.server.listener.connections, "it is too late for an upgrade"


async def test_who_goes_while_in_line_is_forgotten() -> None:
    async with Rig() as rig:
        peers = [await rig.raw() for _ in range(3)]
        for peer in peers:
            peer.write(upgrade_request())
            await peer.end()
        await rig.until(lambda: rig.server.edge.admission.connections == 0)
        assert not rig.server.listener.connections


async def test_who_goes_after_hello_while_in_line_has_no_account_made() -> None:
    async with Rig() as rig:
        peer = await rig.peer()
        line = rig.server.edge.line = Standstill()
        peer.send(Hello([1], "", "ann", "test"))
        await rig.until(lambda: line.steps)
        await peer.end()
        await rig.until(lambda: not rig.server.listener.connections)
        line.steps.pop()()
        await asyncio.sleep(0)
        assert rig.store._names == {}


async def test_who_is_in_line_when_a_drain_begins_is_not_let_in() -> None:
    async with Rig() as rig:
        line, peer = await waiting(rig)
        rig.server.edge.admission.is_draining = True
        line.steps.pop()()
        assert (await peer.read_head()).startswith(b"HTTP/1.1 503 ")
        assert not rig.server.listener.connections

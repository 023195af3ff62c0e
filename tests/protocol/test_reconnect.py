"""The client over connections that break: nothing lost, nothing done twice, no gap in the view."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec
from protocol.client import (
    AnswerTimeout,
    Client,
    ClientError,
    ConnectionLost,
    Options,
    RequestRefused,
    RoomClosed,
)
from protocol.closes import CloseCode
from protocol.messages import (
    Command,
    DeferralCode,
    Hello,
    Join,
    Leave,
    Ping,
    ReplyCode,
    Request,
    Resume,
    Resync,
)
from protocol.session import State
from protocol.view import View
from tests.protocol.peer import FIRST_TICK, GAME, MINE, TOTAL, ToyServer
from tests.virtual import now_ns, virtual


def client_of(server: ToyServer, **options: Any) -> Client:
    settings: dict[str, Any] = {
        "jitter": lambda top: top,
        "now_ns": now_ns,
        "open_timeout_ms": 600_000,
        **options,
    }
    return Client(
        "toy", name="ann", options=Options(dial=server.dial, number_gap=lambda: 0, **settings)
    )


def total(view: View) -> Any:
    return view.value(GAME, TOTAL)


async def play(server: ToyServer, commands: int = 6) -> Client:
    """Play a short game; whatever breaks, each command has its effect once and in order."""
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF", timeout_ms=600_000)
        for number in range(1, commands + 1):
            outcome = await room.command([1, number], timeout_ms=600_000)
            assert (outcome.number, outcome.accepted) == (number, True)
        answer = await client.request("echo", ["end"], again=True, timeout_ms=600_000)
        assert answer == ["end"]
        toy = server.rooms[5]
        assert toy.executed == list(range(1, commands + 1))
        assert total(room.view) == toy.total == sum(toy.executed)
        fresh = View()
        fresh.apply(codec.decode_outbound(toy.full(0)))  # type: ignore[arg-type]  # It is a Full.
        assert room.view.dump() == fresh.dump()
        assert server.protocol_errors == []
        assert client.counters.gaps == client.counters.desyncs == 0
        return client


MOMENTS = [
    *((kind, 0) for kind in (Hello, Join)),
    *((Command, count) for count in (0, 1, 5)),
]


@pytest.mark.parametrize("fault", ["before", "after", "half"])
@pytest.mark.parametrize(("kind", "count"), MOMENTS)
def test_a_break_at_an_awkward_moment_loses_nothing(kind: type, count: int, fault: str) -> None:
    @virtual
    async def story() -> None:
        server = ToyServer()
        server.faults[kind, count] = fault
        await play(server)
        assert server.faults == {}
        assert len(server.sides) == 2

    story()


@pytest.mark.parametrize("again", ["before", "after", "half"])
@pytest.mark.parametrize("fault", ["before", "after", "half"])
def test_a_break_while_resuming_loses_nothing(fault: str, again: str) -> None:
    @virtual
    async def story() -> None:
        server = ToyServer()
        server.faults = {(Command, 2): fault, (Resume, 0): again}
        await play(server)
        assert server.faults == {}
        assert len(server.sides) == 3

    story()


faults = st.dictionaries(
    st.tuples(st.sampled_from([Hello, Join, Resume, Command]), st.integers(0, 6)),
    st.sampled_from(["before", "after", "half"]),
    max_size=10,
)


@given(faults, st.sampled_from([1, 2, 50]))
@settings(max_examples=100, deadline=None)
def test_whatever_breaks_each_command_has_its_effect_once(
    schedule: dict[tuple[type, int], str], remembers: int
) -> None:
    @virtual
    async def story() -> None:
        server = ToyServer(remembers=remembers)
        server.faults = dict(schedule)
        await play(server)

    story()


@given(faults, st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_many_commands_at_once_have_their_effect_once_and_in_order(
    schedule: dict[tuple[type, int], str], commands: int
) -> None:
    @virtual
    async def story() -> None:
        server = ToyServer()
        server.faults = dict(schedule)
        async with client_of(server) as client:
            room = await client.join(game="toy", timeout_ms=600_000)
            answers: list[Any] = []
            for number in range(1, commands + 1):
                room.submit([1, number], answers.append, timeout_ms=600_000)
            await room.until(lambda view: len(answers) == commands, timeout_ms=600_000)
            assert server.rooms[5].executed == list(range(1, commands + 1))
            assert [answer.number for answer in answers] == list(range(1, commands + 1))
            assert total(room.view) == server.rooms[5].total

    story()


@virtual
async def test_the_same_token_comes_back() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        server.sides[-1].cut()
        await client.request("echo", again=True)
        assert client.counters.disconnects == 1
        assert client.counters.closes == {1006: 1}
    hellos = [message for message in server.seen if isinstance(message, Hello)]
    assert [hello.token for hello in hellos] == ["", "token-9"]


@virtual
async def test_a_room_is_resumed_from_its_closed_tick_without_a_gap() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        await room.command([1, 5])
        server.sides[-1].cut()
        for _ in range(3):
            server.rooms[5].advance()
        await room.until(lambda view: total(view) == 8)
        assert (client.counters.resumed_gapless, client.counters.resumed_full) == (1, 0)
    resumes = [message for message in server.seen if isinstance(message, Resume)]
    assert [(resume.room, resume.closed_tick) for resume in resumes] == [(5, FIRST_TICK + 3)]


@virtual
async def test_a_room_that_went_on_for_too_long_is_shown_whole() -> None:
    server = ToyServer(remembers=2)
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        changes = room.changes()
        server.sides[-1].cut()
        for _ in range(3):
            server.rooms[5].advance()
        await room.until(lambda view: total(view) == 3)
        assert (client.counters.resumed_gapless, client.counters.resumed_full) == (0, 1)
        server.rooms[5].advance()
        assert (await anext(changes)).changes == [GAME, TOTAL, 4]


@virtual
async def test_a_full_state_after_a_break_is_yielded_as_such() -> None:
    server = ToyServer(remembers=1)
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        changes = aiter(room.changes())
        server.rooms[5].advance()
        assert not (await anext(changes)).full
        server.sides[-1].cut()
        server.rooms[5].advance()
        server.rooms[5].advance()
        change = await anext(changes)
        assert change.full
        assert change.changes[:3] == [GAME, TOTAL, 3]


@virtual
async def test_a_tick_that_was_cut_in_two_is_yielded_once() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        changes = aiter(room.changes())
        server.rooms[5].advance()
        await anext(changes)
        server.faults[Command, 0] = "half"
        answers: list[tuple[Any, Any]] = []
        room.submit([1, 5], lambda outcome: answers.append((outcome, total(room.view))))
        await room.until(lambda view: total(view) == 6)
        change = await anext(changes)
        [(outcome, total_then)] = answers
        assert change.tick == outcome.tick
        assert total_then == 6  # The outcome was held back until the view showed the effect.
        assert change.changes == [GAME, MINE, 1, GAME, TOTAL, 6]


@virtual
async def test_a_gap_that_a_break_follows_is_mended_by_resuming() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        toy = server.rooms[5]
        lost, toy.viewers = toy.viewers, {}
        toy.advance()
        toy.viewers = lost
        server.faults[Resync, 0] = "before"
        toy.advance()
        await room.until(lambda view: total(view) == 2)
        assert (client.counters.gaps, client.counters.resumed_gapless) == (1, 1)
        lost, toy.viewers = toy.viewers, {}
        toy.advance()
        toy.viewers = lost
        toy.advance()
        await room.until(lambda view: total(view) == 4)
        assert client.counters.gaps == 2


@virtual
async def test_a_broken_view_is_not_resumed_but_joined_anew() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        server.faults[Resync, 0] = "before"
        server.sides[-1].send(codec.delta(5, codec.delta_tail(101, 1, codec.packed([77, 1, 1]))))
        await asyncio.sleep(1)
        assert (await room.command([1, 5])).accepted
        assert client.counters.desyncs == 1
        assert not any(isinstance(message, Resume) for message in server.seen)
        assert client.counters.resumed_full == 1


@virtual
async def test_commands_wait_while_there_is_no_connection() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        server.refuse_dials = 3
        server.sides[-1].cut()
        await asyncio.sleep(0.1)
        answers: list[Any] = []
        room.submit([1, 1], answers.append)
        room.submit([1, 2], answers.append)
        assert not client.connected
        await room.until(lambda view: total(view) == 3)
        assert [answer.number for answer in answers] == [1, 2]
        assert client.counters.commands_sent_again == 0


@virtual
async def test_a_deferred_command_is_not_forgotten_over_a_break() -> None:
    server = ToyServer()
    server.deferrals = [(DeferralCode.BUSY, 3_000)]
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        async with asyncio.TaskGroup() as tasks:
            outcome = tasks.create_task(room.command([1, 5]))
            await asyncio.sleep(0.1)
            server.sides[-1].cut()
            assert (await outcome).number == 1
        await asyncio.sleep(10)  # The retry that was planned before the break must not come too.
    sent = [message for message in server.seen if isinstance(message, Command)]
    assert len(sent) == 2
    assert server.rooms[5].executed == [5]


@virtual
async def test_a_deferral_says_nothing_of_what_was_sent_before_a_break() -> None:
    server = ToyServer(remembers=0)
    server.faults[Command, 0] = "after"
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        async with asyncio.TaskGroup() as tasks:
            server.refuse_dials = 1  # So that there is time before it is sent again.
            told = tasks.create_task(_error_of(room.command([1, 5], timeout_ms=20_000)))
            await asyncio.sleep(0.1)
            server.deferrals = [(DeferralCode.RATE_LIMITED, 60_000)]
        assert server.rooms[5].executed == [5]
        assert client.counters.deferrals == 1
        # It was done, and the client cannot know: "no tick has taken it" would be a lie.
        assert type(told.result()) is AnswerTimeout


async def _error_of(command: Awaitable[object]) -> ClientError:
    with pytest.raises(ClientError) as caught:
        await command
    return caught.value


@virtual
async def test_a_retry_that_was_planned_before_a_break_does_not_come_too() -> None:
    server = ToyServer()
    server.deferrals = [(DeferralCode.BUSY, 3_000)]
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        answers: list[Any] = []
        room.submit([1, 5], answers.append, timeout_ms=20_000)
        await asyncio.sleep(0.1)
        server.sides[-1].cut()
        await asyncio.sleep(0.1)
        server.deaf = {Command}
        await asyncio.sleep(10)
        assert sum(isinstance(message, Command) for message in server.seen) == 2
        server.deaf = set()
        server.sides[-1].cut()
        await room.until(lambda view: len(answers) == 1)
        assert server.rooms[5].executed == [5]


@virtual
async def test_a_request_under_way_is_sent_again_only_if_it_may_be() -> None:
    server = ToyServer()
    server.answers["list"] = lambda request: codec.reply_ok(request, ["rooms"])
    server.answers["pay"] = lambda request: codec.reply_ok(request, ["paid"])
    async with client_of(server) as client:
        server.faults[Request, 0] = "after"
        assert await client.request("list") == ["rooms"]
        server.faults[Request, 2] = "after"
        with pytest.raises(ConnectionLost):
            await client.request("pay")
        assert await client.request("pay") == ["paid"]  # It waits for the connection.


@virtual
async def test_a_room_that_is_over_cannot_be_resumed() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        toy = server.rooms.pop(5)
        toy.viewers.clear()
        server.sides[-1].cut()
        with pytest.raises(RoomClosed, match="ROOM_ENDED"):
            await room.command([1, 1])
        assert client.rooms == {}
        assert client.connected


@virtual
async def test_leaving_while_the_connection_breaks_leaves() -> None:
    for fault in ("before", "after", "half"):
        server = ToyServer()
        server.faults[Leave, 0] = fault
        async with client_of(server) as client:
            room = await client.join(code="ABCDEF")
            await room.leave()
            assert client.rooms == {}
        assert server.rooms[5].seats == []


@virtual
async def test_waits_between_attempts_grow_with_full_jitter_up_to_a_limit() -> None:
    server = ToyServer()
    tops: list[float] = []

    def jitter(top: float) -> float:
        tops.append(top)
        return top / 2

    async with client_of(server, jitter=jitter) as client:
        await asyncio.sleep(10)
        server.dialled.clear()
        server.refuse_dials = 8
        server.sides[-1].cut()
        await client.request("echo", again=True, timeout_ms=600_000)
        assert tops == [0.25, 0.5, 1, 2, 4, 8, 15, 15]
        waits = [
            later - dial for dial, later in zip(server.dialled, server.dialled[1:], strict=False)
        ]
        assert waits == pytest.approx([top / 2 for top in tops])
        # A connection that lived for a while makes the next wait short again, a short one does not.
        server.refuse_dials = 1
        server.sides[-1].cut()
        await client.request("echo", again=True, timeout_ms=600_000)
        assert tops[8:] == [15]
        await asyncio.sleep(10)
        server.refuse_dials = 1
        server.sides[-1].cut()
        await client.request("echo", again=True)
        assert tops[9:] == [0.25]


@virtual
async def test_a_lost_connection_is_made_again_at_once_but_not_again_and_again() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        begun = asyncio.get_running_loop().time()
        for _ in range(10):
            await client.request("echo", again=True)
            server.sides[-1].cut()
        waits = [round(later - begun, 3) for later in server.dialled]
        assert waits[:6] == [0, 0, 0.25, 0.25, 0.75, 0.75]


@virtual
async def test_a_goodbye_says_how_long_to_stay_away() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        parted = asyncio.get_running_loop().time()
        server.sides[-1].send(codec.goodbye(CloseCode.GOING_AWAY, 4_000))
        assert (await room.command([1, 1])).accepted
        assert server.dialled[1] - parted == pytest.approx(4.25)
        assert client.counters.closes == {CloseCode.GOING_AWAY: 1}


@virtual
async def test_a_server_that_falls_silent_is_left_for_another_connection() -> None:
    server = ToyServer()
    async with client_of(server, idle_timeout_ms=30_000) as client:
        await asyncio.sleep(300)
        assert len(server.sides) == 1
        assert sum(isinstance(message, Ping) for message in server.seen) >= 20
        server.mute = True
        await asyncio.sleep(35)
        server.mute = False
        await client.request("echo", again=True, timeout_ms=30_000)
        assert client.counters.disconnects == 1


@virtual
async def test_a_server_that_does_not_welcome_is_tried_again() -> None:
    server = ToyServer()
    server.mute = True
    client = client_of(server, dial_timeout_ms=1_000, open_timeout_ms=10_000)
    with pytest.raises(AnswerTimeout):
        await client.__aenter__()
    assert len(server.sides) >= 4
    assert client.counters.disconnects == 0


@virtual
async def test_a_room_that_is_away_for_long_is_asked_for_until_it_is_back() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        away = asyncio.get_running_loop().time() + 40
        enter = server._enter

        def unavailable(side: Any, message: Any, toy: Any, closed_tick: int | None) -> None:
            if asyncio.get_running_loop().time() < away:
                later = codec.reply_error(message.request, ReplyCode.UNAVAILABLE, retry_ms=1_000)
                side.send(later)
            else:
                enter(side, message, toy, closed_tick)

        server._enter = unavailable  # type: ignore[assignment,method-assign]  # A database that is away.
        server.sides[-1].cut()
        assert (await room.command([1, 5], timeout_ms=600_000)).accepted
        server._enter = enter  # type: ignore[method-assign]
        with pytest.raises(RequestRefused):
            await client.join(code="XXXXXX")


@virtual
async def test_leaving_the_client_at_the_very_moment_of_a_break_ends_it() -> None:
    for turns in range(12):
        server = ToyServer()
        async with client_of(server) as client:
            await client.join(code="ABCDEF")
            server.sides[-1].cut()
            for _ in range(turns):
                await asyncio.sleep(0)
        assert len(server.dialled) <= 2
        assert all(side.session.state is State.CLOSED for side in server.sides)
        assert asyncio.all_tasks() == {asyncio.current_task()}

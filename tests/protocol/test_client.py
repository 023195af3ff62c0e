"""The client against a toy server in memory: what it can ask, and what it is told."""

import asyncio
from typing import Any

import pytest

from protocol import codec
from protocol.client import (
    AnswerTimeout,
    Client,
    ClientStopped,
    CommandDeferred,
    CommandInvalid,
    Options,
    RequestRefused,
    RoomClosed,
    TooManyCommands,
)
from protocol.client.room import CHANGES_QUEUED_MAX
from protocol.closes import CloseCode
from protocol.codec import packed
from protocol.messages import (
    Bye,
    Command,
    DeferralCode,
    Hello,
    LeftCode,
    Outcome,
    Pong,
    ReplyCode,
    Resync,
)
from protocol.view import Applied, View
from tests.protocol.peer import FIRST_TICK, GAME, MINE, TICK_STEP, TOTAL, ToyServer
from tests.virtual import now_ns, virtual


def client_of(server: ToyServer, **options: Any) -> Client:
    """Return a client that meets ``server``, without chance."""
    settings: dict[str, Any] = {"jitter": lambda top: top, "now_ns": now_ns, **options}
    return Client(
        "toy", name="ann", options=Options(dial=server.dial, number_gap=lambda: 0, **settings)
    )


def total(view: View) -> Any:
    return view.value(GAME, TOTAL)


@virtual
async def test_a_guest_gets_an_account_and_a_token() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        assert (client.account, client.name, client.token) == (9, "ann", "token-9")
        assert client.connected
        server.sides[0].send(codec.balance(250))
        await client.request("echo")
        assert client.balance == 250
    hello, *_, bye = server.seen
    assert hello == Hello([1], "", "ann", "python")
    assert bye == Bye()


@virtual
async def test_a_request_is_answered_with_its_body() -> None:
    async with client_of(ToyServer()) as client:
        assert await client.request("echo", ["a", 1, None]) == ["a", 1, None]
        assert await client.request("echo", packed({"a": 1})) == {"a": 1}
        answers = []
        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(client.request("echo", [number])).add_done_callback(
                    lambda task: answers.append(task.result())
                )
        assert sorted(answers) == [[number] for number in range(20)]
        assert await client.create("toy", settings={"seats": 2}) == (5, "ABCDEF")


@virtual
async def test_an_error_is_raised_with_its_code() -> None:
    server = ToyServer()
    server.answers["odd"] = lambda request: codec.reply_error(
        request, ReplyCode.BAD_REQUEST, "at field 1"
    )
    async with client_of(server) as client:
        with pytest.raises(RequestRefused, match="BAD_REQUEST: at field 1") as caught:
            await client.request("odd")
        assert caught.value.code == ReplyCode.BAD_REQUEST
        with pytest.raises(RequestRefused, match="NOT_FOUND"):
            await client.join(code="XXXXXX")
        with pytest.raises(ValueError, match="one of them"):
            await client.join(code="ABCDEF", game="toy")
        with pytest.raises(ValueError, match="more than 4096 bytes"):
            await client.request("echo", b"x" * 5000)
        # The server would end the connection over these, and nobody would know why.
        with pytest.raises(ValueError, match=r"not a Join: .* length >= 1"):
            await client.join(code="")
        with pytest.raises(ValueError, match=r"not a Request: .* length <= 32"):
            await client.request("m" * 33)


@virtual
async def test_a_request_that_is_told_to_come_later_comes_later() -> None:
    server = ToyServer()
    asked_at: list[float] = []

    def answer(request: int) -> bytes:
        asked_at.append(asyncio.get_running_loop().time())
        if len(asked_at) < 3:
            return codec.reply_error(request, ReplyCode.UNAVAILABLE, retry_ms=1_000)
        return codec.reply_ok(request, ["done"])

    server.answers["list"] = answer
    async with client_of(server) as client:
        assert await client.request("list", ["toy"]) == ["done"]
        assert asked_at[2] - asked_at[0] == pytest.approx(3.0)  # Each time 1 s and half of it more.
        asked_at[:] = []
        with pytest.raises(RequestRefused, match="UNAVAILABLE"):
            await client.request("list", ["toy"], timeout_ms=1_200)


@virtual
async def test_a_request_that_nobody_answers_times_out() -> None:
    server = ToyServer()
    server.answers["list"] = lambda request: codec.pong(0, 0)
    async with client_of(server) as client:
        with pytest.raises(AnswerTimeout):
            await client.request("list", timeout_ms=200)
        with pytest.raises(TimeoutError):
            await client.request("list", timeout_ms=200)


@pytest.mark.parametrize("by", [{"code": "ABCDEF"}, {"room_id": 5}, {"game": "toy"}])
def test_a_room_is_joined_by_code_by_id_or_by_game(by: dict[str, Any]) -> None:
    @virtual
    async def story() -> None:
        server = ToyServer()
        async with client_of(server) as client:
            room = await client.join(**by)
            assert (room.id, room.code, room.game, room.seat) == (5, "ABCDEF", "toy", 0)
            assert not room.watching
            assert room.view.closed_tick == FIRST_TICK
            assert total(room.view) == 0
            await client.request("echo")
            assert {seat: sitter.name for seat, sitter in room.roster.items()} == {0: "ann"}
            again = await client.join(**by)
            assert again is room

    story()


@virtual
async def test_an_outcome_comes_when_the_view_shows_it() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        outcome = await room.command([1, 5])
        assert outcome == Outcome(1, FIRST_TICK + TICK_STEP, 0, 0, "", "")
        assert outcome.accepted
        assert total(room.view) == 5
        assert room.view.value(GAME, MINE) == 1
        refused = await room.command(packed([2]))
        assert (refused.number, refused.kind, refused.code) == (2, 1, 107)
        assert (refused.name, refused.field) == ("NOT_NOW", "x")
        assert not refused.accepted
        assert room.unanswered == 0


@virtual
async def test_a_command_that_cannot_reach_a_room_is_an_error() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        watcher = await client.join(code="ABCDEF", watch=True)
        assert watcher.watching
        with pytest.raises(CommandInvalid, match="NOT_SEATED"):
            await watcher.command([1, 1])
        room = await client.join(code="ABCDEF")
        with pytest.raises(CommandInvalid, match="MALFORMED: x"):
            await room.command([3])
        with pytest.raises(CommandInvalid, match="MALFORMED: body"):
            await room.command(b"x" * 4_096)
        with pytest.raises(CommandInvalid):
            await room.command(b"")
        assert (await room.command([1, 1])).accepted


@virtual
async def test_a_command_without_waiting_is_answered_by_a_call() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        answers: list[Any] = []
        numbers = [room.submit([1, n], answers.append) for n in (10, 20)]
        numbers.append(room.submit([3], answers.append))
        room.submit([1, 30])
        assert numbers == [1, 2, 3]
        await room.until(lambda view: total(view) == 60)
        assert [answer.number for answer in answers[:2]] == [1, 2]
        assert isinstance(answers[2], CommandInvalid)


@virtual
async def test_a_deferred_command_is_sent_again_under_its_number() -> None:
    server = ToyServer()
    server.deferrals = [(DeferralCode.BUSY, 400), (DeferralCode.RATE_LIMITED, 1_000)]
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        outcome = await room.command([1, 5])
        assert outcome.number == 1
        assert loop.time() - begun == pytest.approx(0.6 + 1.5)
        assert client.counters.deferrals == 2
        assert (client.counters.commands_sent, client.counters.commands_sent_again) == (1, 2)
    sent = [message for message in server.seen if isinstance(message, Command)]
    assert [message.number for message in sent] == [1, 1, 1]


@virtual
async def test_a_command_that_is_deferred_for_too_long_says_that_nothing_took_it() -> None:
    server = ToyServer()
    server.deferrals = [(DeferralCode.UNAVAILABLE, 5_000)]
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        with pytest.raises(CommandDeferred) as caught:
            await room.command([1, 5], timeout_ms=2_000)
        assert (caught.value.code, caught.value.retry_ms) == (DeferralCode.UNAVAILABLE, 5_000)
        assert (await room.command([1, 7])).number == 2
        assert server.rooms[5].executed == [7]


@virtual
async def test_a_command_that_nobody_answers_times_out() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        server.mute = True
        with pytest.raises(AnswerTimeout):
            await room.command([1, 5], timeout_ms=500)
        with pytest.raises(AnswerTimeout):
            await room.until(lambda view: total(view) == 5, timeout_ms=500)
        assert room.unanswered == 0


@virtual
async def test_no_more_commands_are_open_than_the_server_remembers() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        server.mute = True
        answers: list[Any] = []
        for _ in range(64):
            room.submit([1, 1], answers.append)
        with pytest.raises(TooManyCommands):
            await room.command([1, 1])
        server.mute = False
        server.sides[-1].cut()
        await room.until(lambda view: total(view) == 64)
        assert len(answers) == 64
        assert (await room.command([1, 1])).number == 65


@virtual
async def test_the_numbers_go_on_where_the_seat_left_off() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        for _ in range(3):
            await room.command([1, 1])
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        assert (await room.command([1, 1])).number == 4


@virtual
async def test_changes_are_yielded_by_tick() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        seen: list[Applied] = []

        async def read() -> None:
            async for change in room.changes():
                seen.append(change)  # noqa: PERF401 (the loop ends by being cancelled)

        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(read())
            await asyncio.sleep(0)
            await room.command([1, 5])
            server.rooms[5].advance()
            await room.until(lambda view: total(view) == 6)
            await asyncio.sleep(1)
            reader.cancel()
        mine_and_all = [GAME, MINE, 1, GAME, TOTAL, 5]
        assert [change.changes for change in seen] == [mine_and_all, [GAME, TOTAL, 6]]
        assert [change.tick for change in seen] == [103, 106]


@virtual
async def test_a_reader_that_falls_behind_is_told_to_look_at_the_whole_view() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        changes = aiter(room.changes())
        server.rooms[5].advance()
        first = await anext(changes)
        assert (first.full, first.changes) == (False, [GAME, TOTAL, 1])
        for _ in range(CHANGES_QUEUED_MAX + 1):
            server.rooms[5].advance()
        await room.until(lambda view: total(view) == CHANGES_QUEUED_MAX + 2)
        late = await anext(changes)
        assert (late.full, late.changes) == (True, [])
        assert late.tick == room.view.closed_tick


@virtual
async def test_a_question_that_fails_is_the_problem_of_whoever_asked() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")

        def odd(view: View) -> bool:
            if total(view):
                raise LookupError("odd")
            return False

        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(_raised(room.until(odd)))
            await asyncio.sleep(0)
            await room.command([1, 1])
            assert isinstance(await asked, LookupError)


async def _raised(awaitable: Any) -> BaseException | None:
    try:
        await awaitable
    except Exception as error:
        return error
    return None


@virtual
async def test_a_gap_is_mended_by_the_full_state() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        toy = server.rooms[5]
        lost, toy.viewers = toy.viewers, {}
        toy.advance()
        toy.viewers = lost
        toy.advance()
        toy.advance()
        await room.until(lambda view: total(view) == 3)
        assert client.counters.gaps == 1
        assert sum(isinstance(message, Resync) for message in server.seen) == 1
        assert (await room.command([1, 1])).accepted
        assert total(room.view) == 4


@virtual
async def test_a_desync_is_counted_and_mended_by_the_full_state() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        toy = server.rooms[5]
        tail = codec.delta_tail(toy.tick + 1, 1, packed([77, 1, 1]))
        server.sides[-1].send(codec.delta(toy.handle, tail))
        toy.tick += 1
        toy.shared_tick += 1
        toy.advance()
        await room.until(lambda view: total(view) == 1)
        assert (client.counters.desyncs, client.counters.gaps) == (1, 0)
        assert (await room.command([1, 1])).accepted


@virtual
async def test_a_room_that_was_left_is_closed() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        await room.leave()
        await room.leave()
        assert client.rooms == {}
        assert isinstance(room.closed, RoomClosed)
        for wait in (
            room.command([1, 1]),
            room.until(lambda view: False),
            room.changes().__anext__(),
        ):
            with pytest.raises(RoomClosed, match="LEFT"):
                await wait
        assert (await client.join(code="ABCDEF")) is not room


@pytest.mark.parametrize("code", [LeftCode.REPLACED, LeftCode.ENDED, LeftCode.REMOVED])
def test_whoever_waits_in_a_room_is_told_when_it_closes(code: LeftCode) -> None:
    @virtual
    async def story() -> None:
        server = ToyServer()
        async with client_of(server) as client:
            room = await client.join(code="ABCDEF")
            server.mute = True
            async with asyncio.TaskGroup() as tasks:
                waiting = [
                    tasks.create_task(_raised(room.command([1, 1]))),
                    tasks.create_task(_raised(room.until(lambda view: False))),
                    tasks.create_task(_raised(anext(room.changes()))),
                ]
                await asyncio.sleep(0.1)
                server.sides[-1].send(codec.left(5, code))
                errors = [await one for one in waiting]
            for error in errors:
                assert isinstance(error, RoomClosed)
                assert (error.code, error.name) == (code, code.name)
            assert client.connected

    story()


@virtual
async def test_the_servers_ping_is_answered() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        server.sides[-1].send(codec.ping(77, 1_000))
        await client.request("echo")
        await asyncio.sleep(0.1)
    assert Pong(77) in server.seen


@pytest.mark.parametrize(
    "code", [CloseCode.TOKEN_EXPIRED, CloseCode.REPLACED, CloseCode.FLOODING, CloseCode.NORMAL]
)
def test_a_stop_ends_the_client_and_is_told_to_everybody(code: CloseCode) -> None:
    @virtual
    async def story() -> None:
        server = ToyServer()
        async with client_of(server) as client:
            room = await client.join(code="ABCDEF")
            server.mute = True
            async with asyncio.TaskGroup() as tasks:
                waiting = [
                    tasks.create_task(_raised(room.command([1, 1]))),
                    tasks.create_task(_raised(room.until(lambda view: False))),
                    tasks.create_task(_raised(anext(room.changes()))),
                    tasks.create_task(_raised(client.request("list"))),
                ]
                await asyncio.sleep(0.1)
                server.sides[-1].send(codec.goodbye(code))
                server.sides[-1].cut(code)
                errors = [await one for one in waiting]
            for error in (*errors, await _raised(client.request("list")), client.stopped):
                assert isinstance(error, ClientStopped)
                assert (error.code, error.name) == (code, code.name)
            assert not client.connected
            await asyncio.sleep(100)
        assert len(server.dialled) == 1

    story()


@virtual
async def test_a_client_that_is_refused_from_the_start_says_why() -> None:
    server = ToyServer()
    client = client_of(server)
    server.mute = True
    async with asyncio.TaskGroup() as tasks:
        entering = tasks.create_task(_raised(client.__aenter__()))
        await asyncio.sleep(0.1)
        server.sides[-1].cut(CloseCode.TOKEN_INVALID)
        error = await entering
    assert isinstance(error, ClientStopped)
    assert error.code == CloseCode.TOKEN_INVALID


@virtual
async def test_a_server_that_speaks_nonsense_is_left_for_good() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        server.sides[-1].pipe.put(b"\xc1")
        error = await _raised(client.request("list", timeout_ms=1_000))
        assert isinstance(error, ClientStopped)
        assert error.code == CloseCode.PROTOCOL_ERROR


@virtual
async def test_messages_for_what_is_over_are_counted_and_ignored() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        side = server.sides[-1]
        side.send(codec.delta(8, codec.delta_tail(2, 1, codec.LIST_NONE)))
        side.send(codec.deferred(8, 1, DeferralCode.BUSY, 1))
        side.send(codec.reply_ok(99, None))
        side.send(codec.left(8, LeftCode.ENDED))
        await client.request("echo")
        assert client.counters.strays == 3


@virtual
async def test_what_comes_is_counted_and_shown_before_it_is_decoded() -> None:
    server = ToyServer()
    seen: list[bytes] = []
    async with client_of(server, on_message=seen.append) as client:
        room = await client.join(code="ABCDEF")
        await room.command([1, 1])
        counters = client.counters
        assert counters.messages_received == len(seen) >= 6
        assert counters.bytes_received == sum(map(len, seen))
        assert counters.deltas_received == 2
        assert seen[0] == codec.welcome(9, "ann", "token-9", 1_000)


@virtual
async def test_what_the_body_raises_leaves_the_client_as_it_is() -> None:
    server = ToyServer()
    with pytest.raises(LookupError, match="mine"):
        async with client_of(server):
            raise LookupError("mine")
    assert isinstance(server.seen[-1], Bye)


@virtual
async def test_a_client_can_be_cancelled_anywhere() -> None:
    for after_s in (0.0, 0.1, 0.5, 2.0):
        server = ToyServer()
        server.refuse_dials = 1
        joined: list[float] = []

        async def play(server: ToyServer = server, joined: list[float] = joined) -> None:
            async with client_of(server) as client:
                room = await client.join(code="ABCDEF")
                joined.append(now_ns())
                server.mute = True
                await room.command([1, 1])

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(after_s):
                await play()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert bool(joined) == (after_s >= 0.5)


@virtual
async def test_what_was_submitted_before_leaving_is_still_sent() -> None:
    server = ToyServer()
    async with client_of(server) as client:
        room = await client.join(code="ABCDEF")
        room.submit([1, 5])
    assert server.rooms[5].executed == [5]


@virtual
async def test_a_mistake_in_a_callback_is_loud() -> None:
    def broken(answer: object) -> None:
        raise ZeroDivisionError("mine")

    async def play() -> None:
        async with client_of(ToyServer()) as client:
            room = await client.join(code="ABCDEF")
            room.submit([1, 1], broken)
            await asyncio.sleep(10)

    error = await _raised(play())
    assert isinstance(error, ExceptionGroup)
    assert error.subgroup(ZeroDivisionError) is not None

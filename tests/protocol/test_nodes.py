"""The client in a cluster: it finds each room's node, follows its moves, and outlives any node."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec
from protocol.client import AnswerTimeout, Client, Options, RequestRefused, RoomClosed
from protocol.client.room import ClientRoom
from protocol.closes import CloseCode
from protocol.messages import (
    NODES_MAX,
    Bye,
    Command,
    DeferralCode,
    InvalidCode,
    Join,
    Leave,
    LeftCode,
    Ping,
    ReplyCode,
    Request,
    Resume,
)
from protocol.view import View
from tests.protocol.cluster import A, B, C, ToyCluster
from tests.protocol.peer import GAME, TOTAL
from tests.virtual import now_ns, virtual


def client_of(cluster: ToyCluster, url: str = A, **options: Any) -> Client:
    made: dict[str, Any] = {"jitter": lambda top: top, "now_ns": now_ns, **options}
    return Client(url, name="ann", options=Options(dial=cluster.dial, number_gap=lambda: 0, **made))


def total(view: View) -> Any:
    return view.value(GAME, TOTAL)


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def refused(awaitable: Awaitable[object]) -> RequestRefused:
    """Expect a refusal and return it."""
    with pytest.raises(RequestRefused) as caught:
        await awaitable
    return caught.value


def check_view(cluster: ToyCluster, room: ClientRoom) -> None:
    """Expect that the view is what the room's owner would show anew."""
    fresh = View()
    fresh.apply(codec.decode_outbound(cluster.rooms[room.id].full(room.seat)))  # type: ignore[arg-type]  # It is a Full.
    assert room.view.dump() == fresh.dump()


# --- Redirects.


@virtual
async def test_a_join_is_redirected_once_straight_to_the_owner() -> None:
    cluster = ToyCluster(B)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        assert (await room.command([1, 5])).accepted
        assert total(room.view) == 5
        assert await client.request("echo", [1]) == [1]
        assert client.counters.redirects == 1
        # The ticket let her in, and the token of home stays hers.
        assert cluster.hellos(B) == ["ticket-1"]
        assert client.token == "token-9"
        assert (cluster.seen(A, Command), cluster.seen(B, Command)) == (0, 1)
        assert (cluster.seen(A, Request), cluster.seen(B, Request)) == (1, 0)
        again = await client.join(code="ROOM5")
        assert again is room
        assert len(cluster.hellos(B)) == 1


@virtual
async def test_each_room_is_played_where_it_lives() -> None:
    cluster = ToyCluster(A, B, C, B)
    async with client_of(cluster) as client:
        rooms = [await client.join(room_id=room_id) for room_id in (5, 6, 7, 8)]
        for number, room in enumerate(rooms, 1):
            assert (await room.command([1, number])).accepted
        assert [cluster.seen(url, Command) for url in (A, B, C)] == [1, 2, 1]
        assert [cluster.open_sides(url) for url in (A, B, C)] == [1, 1, 1]
    assert [cluster.seen(url, Bye) for url in (A, B, C)] == [1, 1, 1]


@pytest.mark.parametrize("believed", [{(A, 5): B, (B, 5): A}, {(A, 5): A + "#", (B, 5): B}])
def test_redirects_without_an_end_are_given_up(believed: dict[tuple[str, int], str]) -> None:
    @virtual
    async def story() -> None:
        cluster = ToyCluster(C)
        cluster.believed = believed
        async with client_of(cluster) as client:
            begun = now_s()
            with pytest.raises(RequestRefused, match="UNAVAILABLE") as caught:
                await client.join(code="ROOM5", timeout_ms=2_000)
            assert caught.value.retry_ms > 0
            assert now_s() - begun == pytest.approx(2)
            # With a wait of 375 ms after each try, of five questions at most.
            assert cluster.seen(A, Join) + cluster.seen(B, Join) <= 6 * 5
            assert len(cluster.nodes[B].sides) <= 1
            cluster.believed = {}
            assert (await client.join(code="ROOM5")).id == 5

    story()


@virtual
async def test_a_node_that_redirects_to_itself_is_asked_five_times_at_most() -> None:
    cluster = ToyCluster(C)
    async with client_of(cluster) as client:
        side = cluster.nodes[A].sides[0]
        node = cluster.nodes[A]
        node.mute = True
        async with asyncio.TaskGroup() as tasks:
            joining = tasks.create_task(refused(client.join(code="ROOM5", timeout_ms=300)))
            for request in range(5):
                await asyncio.sleep(0.01)
                side.send(codec.redirect(request, 5, A, "t"))
        assert joining.result().detail == "redirected too often"
    assert client.counters.redirects == 5
    assert len(cluster.dialled) == 1


@virtual
async def test_a_ticket_that_is_refused_is_replaced_by_the_token() -> None:
    cluster = ToyCluster(B)
    async with client_of(cluster) as client:
        cluster.ticket = lambda account, url: "ticket-stale"  # type: ignore[method-assign]  # A node with another key.
        room = await client.join(code="ROOM5")
        assert (await room.command([1, 5])).accepted
        assert cluster.hellos(B) == ["ticket-stale", "token-9"]
        assert client.counters.disconnects == 0


@pytest.mark.parametrize("ticket", ["", "t" * 3_000])
def test_without_a_fitting_ticket_the_token_is_used(ticket: str) -> None:
    @virtual
    async def story() -> None:
        cluster = ToyCluster(B)
        async with client_of(cluster) as client:
            cluster.ticket = lambda account, url: ticket  # type: ignore[method-assign]  # As a stranger would.
            await client.join(code="ROOM5")
            assert cluster.hellos(B) == ["token-9"]

    story()


@virtual
async def test_a_stranger_who_refuses_the_token_does_not_end_the_client() -> None:
    cluster = ToyCluster(B)
    stranger = cluster.nodes[B]
    stranger.mute = True
    async with client_of(cluster) as client:
        async with asyncio.TaskGroup() as tasks:
            joining = tasks.create_task(refused(client.join(code="ROOM5", timeout_ms=1_000)))
            for _ in range(2):
                await asyncio.sleep(0.1)
                stranger.sides[-1].cut(CloseCode.TOKEN_INVALID)
        assert joining.result().code == ReplyCode.UNAVAILABLE
        assert cluster.dialled[1][1] == cluster.dialled[2][1] - 0.1
        assert client.stopped is None
        assert await client.request("echo", [1]) == [1]


@virtual
async def test_a_node_that_sends_the_account_away_ends_the_client() -> None:
    cluster = ToyCluster(B)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.nodes[B].sides[-1].send(codec.goodbye(CloseCode.FORBIDDEN))
        await asyncio.sleep(0.1)
        assert room.closed is client.stopped is not None
    assert cluster.seen(A, Bye) == 1


BAD_URLS = [
    *("", "toy", "http://b.test/ws", "javascript:alert(1)", "ws://", "ws:///ws", "//b.test/ws"),
    *("ws://b.test:0/ws", "ws://b.test:99999/ws", "ws://[::1/ws", "ws://ann:secret@b.test/ws"),
    *("ws://b.test/w s", "ws://b.test/\n", "ws://" + "b" * 2_000 + "/ws", "file:///etc/passwd"),
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_what_is_no_address_of_a_websocket_is_not_followed(url: str) -> None:
    @virtual
    async def story() -> None:
        cluster = ToyCluster(A)
        async with client_of(cluster) as client:
            cluster.believed = {(A, 5): url or "x"}
            with pytest.raises(RequestRefused, match="UNAVAILABLE: no address to follow"):
                await client.join(code="ROOM5", timeout_ms=1_000)
            cluster.believed = {}
            room = await client.join(code="ROOM5")
            cluster.move(5, A, say=url)
            assert (await room.command([1, 5])).accepted
        assert {dialled for dialled, _ in cluster.dialled} == {A}

    story()


@virtual
async def test_from_a_secure_home_nothing_insecure_is_followed() -> None:
    cluster = ToyCluster(B, "wss://b.test/ws")
    home = "wss://a.test/ws"
    cluster.nodes = {
        url.replace("ws:", "wss:") if "a" in url else url: node
        for url, node in cluster.nodes.items()
    }
    cluster.nodes[home].url = home
    secure = cluster.nodes["wss://b.test/ws"] = cluster.nodes.pop(C)
    secure.url = "wss://b.test/ws"
    async with client_of(cluster, home) as client:
        with pytest.raises(RequestRefused, match="no address to follow"):
            await client.join(room_id=5, timeout_ms=1_000)
        assert (await client.join(room_id=6)).id == 6
        cluster.down.add(home)
        cluster.kill("wss://b.test/ws")
        await asyncio.sleep(60)
    assert B not in {url for url, _ in cluster.dialled}


# --- Nodes that are gone.


@virtual
async def test_the_rooms_of_a_node_that_is_killed_go_on_at_their_new_owner() -> None:
    cluster = ToyCluster(B)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        assert (await room.command([1, 1])).number == 1
        answers: list[Any] = []
        node = cluster.nodes[B]
        node.faults[Command, 1] = "after"  # Done, but nobody hears of it.
        room.submit([1, 2], answers.append)
        await asyncio.sleep(0)
        cluster.kill(B)
        room.submit([1, 3], answers.append)
        begun = now_s()
        await asyncio.sleep(0.7)
        cluster.owners[5] = C
        await room.until(lambda view: total(view) == 6)
        assert now_s() - begun < 1.2
        assert [(answer.number, answer.accepted) for answer in answers] == [(2, True), (3, True)]
        assert cluster.rooms[5].executed == [1, 2, 3]
        assert (client.counters.resumed_gapless, client.counters.gaps) == (1, 0)
        check_view(cluster, room)
        assert client.connected


@virtual
async def test_a_room_of_a_killed_home_goes_on_elsewhere_and_so_do_requests() -> None:
    cluster = ToyCluster(A)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        await asyncio.sleep(10)
        cluster.kill(A)
        cluster.owners[5] = C
        begun = now_s()
        async with asyncio.TaskGroup() as tasks:
            outcome = tasks.create_task(room.command([1, 5]))
            echo = tasks.create_task(client.request("echo", ["x"], again=True))
        assert (outcome.result().accepted, echo.result()) == (True, ["x"])
        assert now_s() - begun < 1
        check_view(cluster, room)
        # It stays there, even if the first one is back.
        cluster.restart(A)
        seen = cluster.seen(A, Request)
        await client.request("echo")
        assert cluster.seen(A, Request) == seen


@virtual
async def test_a_home_that_hangs_is_left_for_another_after_a_second() -> None:
    cluster = ToyCluster(A)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.stuck.add(A)
        cluster.nodes[A].sides[-1].cut()
        cluster.owners[5] = B
        begun = now_s()
        assert (await room.command([1, 5])).accepted
        assert now_s() - begun < 1.5


@virtual
async def test_where_there_are_other_ways_none_is_waited_for_as_long_as_one_may_take() -> None:
    cluster = ToyCluster(C)
    async with client_of(cluster) as client:
        cluster.stuck |= {A, B}
        cluster.nodes[A].sides[-1].cut()
        begun = now_s()
        assert await client.request("echo", [1], again=True, timeout_ms=60_000) == [1]
        # Attempts of 1, 2 and 4 s with waits between them; a dial alone may take 10 s.
        assert now_s() - begun == pytest.approx(1 + 0.25 + 2 + 0.5 + 4 + 1)


@virtual
async def test_a_node_that_breaks_each_connection_is_not_asked_without_pause() -> None:
    cluster = ToyCluster(B)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        await asyncio.sleep(10)
        cluster.nodes[B].faults = {(Resume, count): "half" for count in range(1_000)}
        cluster.nodes[B].sides[-1].cut()
        await asyncio.sleep(60)
        assert 5 < cluster.seen(B, Resume) < 40
        cluster.nodes[B].faults = {}
        assert (await room.command([1, 5], timeout_ms=60_000)).accepted


@virtual
async def test_after_a_long_search_the_next_one_is_quick_again() -> None:
    cluster = ToyCluster(B)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.kill(B)
        cluster.believed = {(A, 5): B}
        await asyncio.sleep(60)
        cluster.believed = {}
        cluster.owners[5] = C
        assert (await room.command([1, 5], timeout_ms=60_000)).accepted
        await asyncio.sleep(10)
        cluster.kill(C)
        cluster.believed = {(A, 5): C}
        await asyncio.sleep(1)
        cluster.believed = {}
        cluster.owners[5] = A
        begun = now_s()
        assert (await room.command([1, 6])).accepted
        assert now_s() - begun < 1


@virtual
async def test_a_standing_link_becomes_home_when_home_is_gone() -> None:
    cluster = ToyCluster(B)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.kill(A)
        begun = now_s()
        await asyncio.sleep(0)
        assert await client.request("echo", [1], again=True) == [1]
        assert now_s() == begun
        assert (await room.command([1, 5])).accepted
        await room.leave()
        await asyncio.sleep(60)
        assert client.connected
        assert cluster.open_sides(B) == 1


@virtual
async def test_a_lonely_home_is_waited_for_as_ever() -> None:
    cluster = ToyCluster(A)
    cluster.told = []
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.kill(A)
        await asyncio.sleep(120)
        cluster.restart(A)
        cluster.owners[5] = A
        assert (await room.command([1, 5], timeout_ms=60_000)).accepted
        assert {url for url, _ in cluster.dialled} == {A}
        assert len(cluster.dialled) < 20


@virtual
async def test_nodes_that_were_gone_for_a_moment_are_tried_again_when_home_is_gone_too() -> None:
    cluster = ToyCluster(A)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.nodes[A].sides[-1].send(codec.nodes([]))  # Both others are being started again.
        await asyncio.sleep(1)
        cluster.kill(A)
        cluster.owners[5] = B
        begun = now_s()
        assert (await room.command([1, 5], timeout_ms=60_000)).accepted
        assert now_s() - begun < 5


@virtual
async def test_a_room_that_nobody_owns_for_long_is_asked_for_more_and_more_rarely() -> None:
    cluster = ToyCluster(B)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.kill(B)
        cluster.believed = {(A, 5): B}  # A directory that is behind.
        await asyncio.sleep(60)
        assert 5 < cluster.seen(A, Resume) < 30
        cluster.believed = {}
        cluster.owners[5] = A
        assert (await room.command([1, 5], timeout_ms=60_000)).accepted


@virtual
async def test_a_goodbye_from_home_leads_elsewhere_without_its_wait() -> None:
    cluster = ToyCluster(A)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.move(5, B)
        cluster.down.add(A)
        cluster.nodes[A].sides[-1].send(codec.goodbye(CloseCode.GOING_AWAY, 30_000))
        begun = now_s()
        assert (await room.command([1, 5])).accepted
        assert await client.request("echo", [1], again=True) == [1]
        assert now_s() - begun < 0.3
        assert [url for url, _ in cluster.dialled].count(A) == 1


HUGE = [f"ws://{number}.test/ws" for number in range(5_000)]


@pytest.mark.parametrize("told", [[], ["", "http://b.test", "x" * 5_000], HUGE])
def test_whatever_a_server_says_of_other_nodes_the_home_that_was_given_is_found_again(
    told: list[str],
) -> None:
    @virtual
    async def story() -> None:
        cluster = ToyCluster(A)
        chance = iter(range(1, 10_000_000, 7_919))
        async with client_of(cluster, jitter=lambda top: next(chance) % (top or 1)) as client:
            side = cluster.nodes[A].sides[-1]
            side.pipe.put(codec.packed((19, told)))
            await client.request("echo")
            cluster.told = told
            cluster.kill(A)
            await asyncio.sleep(600)
            cluster.restart(A)
            await client.request("echo", again=True, timeout_ms=40_000)  # Two waits at most.
        # Those that were told of at first are tried only if nothing of what is told is an address.
        former = () if told is HUGE else (B, C)
        assert {url for url, _ in cluster.dialled} <= {A, *former, *told[:NODES_MAX]}
        assert "" not in {url for url, _ in cluster.dialled}

    story()


# --- Nodes that are stopped, or cut off.


@virtual
async def test_a_node_that_is_stopped_is_left_while_an_answer_is_waited_for() -> None:
    cluster = ToyCluster(B)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        await asyncio.sleep(8)
        cluster.nodes[B].mute = True
        cluster.stuck.add(B)
        begun = now_s()
        answers: list[Any] = []
        room.submit([1, 5], answers.append)
        await asyncio.sleep(2)
        cluster.owners[5] = C
        assert answers == []
        await room.until(lambda view: total(view) == 5)
        assert now_s() - begun < 3
        assert client.counters.commands_sent_again == 1
        assert client.counters.disconnects == 1


@virtual
async def test_a_home_that_is_stopped_is_left_while_an_answer_is_waited_for() -> None:
    cluster = ToyCluster(C)
    async with client_of(cluster) as client:
        cluster.nodes[A].mute = True
        cluster.stuck.add(A)
        begun = now_s()
        assert await client.request("echo", [1], again=True) == [1]
        assert now_s() - begun < 3
        assert (await client.join(code="ROOM5")).id == 5


@virtual
async def test_a_node_that_answers_pings_is_not_left_over_an_answer() -> None:
    cluster = ToyCluster(A)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.nodes[A].deaf.add(Command)
        with pytest.raises(AnswerTimeout):
            await room.command([1, 5], timeout_ms=20_000)
        assert client.counters.disconnects == 0
        assert 10 < cluster.seen(A, Ping) < 30
        await asyncio.sleep(9)
        assert cluster.seen(A, Ping) < 30


@virtual
async def test_a_lonely_server_is_given_the_usual_time() -> None:
    cluster = ToyCluster(A)
    cluster.told = []
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.nodes[A].mute = True
        with pytest.raises(AnswerTimeout):
            await room.command([1, 5], timeout_ms=25_000)
        assert client.counters.disconnects == 0


@virtual
async def test_a_client_that_stood_still_itself_blames_nobody() -> None:
    cluster = ToyCluster(A)
    stood_still_ns = 0

    def now_late_ns() -> int:
        return now_ns() + stood_still_ns

    async with client_of(cluster, now_ns=now_late_ns) as client:
        room = await client.join(code="ROOM5")
        cluster.nodes[A].deaf.add(Command)
        room.submit([1, 5])
        await asyncio.sleep(0.2)
        stood_still_ns = 5_000_000_000
        await asyncio.sleep(5)
        assert client.counters.disconnects == 0


# --- Moves.


@virtual
async def test_a_room_that_moves_goes_on_without_a_gap() -> None:
    cluster = ToyCluster(A)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        for number, url in enumerate((B, C, A, B), 1):
            cluster.move(5, url)
            begun = now_s()
            outcome = await room.command([1, number])
            assert (outcome.number, now_s() - begun) == (number, 0)
        assert cluster.rooms[5].executed == [1, 2, 3, 4]
        counters = client.counters
        assert (counters.moved, counters.redirects, counters.disconnects) == (4, 0, 0)
        assert (counters.resumed_gapless, counters.resumed_full) == (4, 0)
        check_view(cluster, room)


@virtual
async def test_what_was_unanswered_is_sent_again_to_the_new_owner_under_its_number() -> None:
    cluster = ToyCluster(A)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.nodes[A].deaf.add(Command)
        answers: list[Any] = []
        for number in (1, 2, 3):
            room.submit([1, number], answers.append)
        await asyncio.sleep(0.1)
        cluster.move(5, B)
        await room.until(lambda view: total(view) == 6)
        assert [answer.number for answer in answers] == [1, 2, 3]
        assert cluster.rooms[5].executed == [1, 2, 3]
        assert client.counters.commands_sent_again == 3


@virtual
async def test_a_room_that_moves_to_no_address_is_asked_for_again_where_it_was() -> None:
    cluster = ToyCluster(B)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.move(5, B, say="")
        assert (await room.command([1, 5])).accepted
        assert (cluster.seen(A, Resume), cluster.seen(B, Resume)) == (0, 1)
        cluster.move(5, C, say="")
        assert (await room.command([1, 6])).accepted
        assert cluster.seen(B, Resume) == 2
        assert client.counters.redirects == 2


@pytest.mark.parametrize("fault", ["down", "stuck"])
def test_a_room_that_moves_to_where_nobody_gets_is_found_by_asking(fault: str) -> None:
    @virtual
    async def story() -> None:
        cluster = ToyCluster(A)
        getattr(cluster, fault).add(B)
        async with client_of(cluster) as client:
            room = await client.join(code="ROOM5")
            cluster.move(5, C, say=B)
            begun = now_s()
            assert (await room.command([1, 5])).accepted
            assert now_s() - begun <= 1
            assert cluster.seen(C, Resume) == 1
            assert client.connected

    story()


@virtual
async def test_what_an_old_owner_still_says_of_a_room_is_ignored() -> None:
    cluster = ToyCluster(A)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        side = cluster.nodes[A].sides[-1]
        cluster.move(5, B)
        await room.command([1, 5])
        strays = client.counters.strays
        step = 999 - room.view.shared_tick
        tail = codec.delta_tail(999, step, codec.packed([GAME, TOTAL, 77]))
        side.send(codec.delta(5, tail))
        side.send(codec.invalid(5, 2, InvalidCode.NOT_IN_ROOM))
        side.send(codec.left(5, LeftCode.REMOVED))
        side.send(codec.moved(5, C, ""))
        await client.request("echo")
        assert client.counters.strays - strays == 4
        assert (client.counters.moved, room.closed) == (1, None)
        assert (await room.command([1, 6])).accepted
        check_view(cluster, room)


@virtual
async def test_what_was_sent_to_an_owner_that_said_nothing_of_a_move_may_have_been_done() -> None:
    cluster = ToyCluster(A)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.nodes[A].deaf.add(Command)
        answers: list[Any] = []
        room.submit([1, 5], answers.append, timeout_ms=5_000)
        await asyncio.sleep(0.1)
        cluster.owners[5] = B
        cluster.nodes[B].deferrals = [(DeferralCode.BUSY, 60_000)]
        assert await client.join(code="ROOM5") is room
        await asyncio.sleep(6)
        assert cluster.seen(B, Command) == 1
        assert [type(answer) for answer in answers] == [AnswerTimeout]


@virtual
async def test_a_seat_is_given_up_where_the_room_is_by_then() -> None:
    cluster = ToyCluster(A)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.move(5, B)  # The message is on its way when the room is left.
        await room.leave()
        assert (cluster.seen(A, Leave), cluster.seen(B, Leave)) == (1, 1)
        assert cluster.rooms[5].seats == []
        with pytest.raises(RoomClosed, match="LEFT"):
            await room.command([1, 1])


@virtual
async def test_a_room_that_ended_on_its_way_is_closed() -> None:
    cluster = ToyCluster(A)
    async with client_of(cluster) as client:
        room = await client.join(code="ROOM5")
        cluster.move(5, B)
        del cluster.rooms[5]
        await asyncio.sleep(0.1)
        with pytest.raises(RoomClosed, match="ROOM_ENDED"):
            await room.command([1, 1])
        assert client.rooms == {}


# --- Links that nobody needs.


@virtual
async def test_a_link_without_rooms_is_closed_after_a_while_and_home_is_not() -> None:
    cluster = ToyCluster(B, B)
    async with client_of(cluster) as client:
        first = await client.join(room_id=5)
        second = await client.join(room_id=6)
        await asyncio.sleep(60)
        await first.leave()
        await asyncio.sleep(60)
        assert cluster.open_sides(B) == 1
        cluster.move(6, A)
        assert (await second.command([1, 1])).accepted
        await asyncio.sleep(4)
        assert cluster.open_sides(B) == 1
        await asyncio.sleep(2)
        assert (cluster.open_sides(A), cluster.open_sides(B)) == (1, 0)
        assert cluster.seen(B, Bye) == 1
        assert client.counters.disconnects == 0
        cluster.move(6, B)
        assert (await second.command([1, 1])).accepted
        assert cluster.open_sides(B) == 1


@virtual
async def test_a_link_to_which_a_room_comes_back_in_time_is_kept() -> None:
    cluster = ToyCluster(B)
    async with client_of(cluster) as client:
        room = await client.join(room_id=5)
        for url in (A, B) * 5:
            await asyncio.sleep(3)
            cluster.move(5, url)
            assert (await room.command([1, 1])).accepted
        await asyncio.sleep(60)
        assert len(cluster.hellos(B)) == 1
        assert cluster.open_sides(B) == 1


# --- Anything, in any order.

happenings = st.lists(
    st.tuples(
        st.sampled_from(["kill", "cut", "move", "move to nowhere", "moved to a lie", "wait"]),
        st.sampled_from([A, B, C]),
        st.sampled_from([0.0, 0.05, 0.4, 1.5, 6.0]),
    ),
    max_size=8,
)


@given(happenings, st.sampled_from([A, B]))
@settings(max_examples=150, deadline=None)
def test_whatever_becomes_of_nodes_each_command_has_its_effect_once(
    story: list[tuple[str, str, float]], owner: str
) -> None:
    @virtual
    async def played() -> None:
        cluster = ToyCluster(owner)
        async with client_of(cluster) as client:
            room = await client.join(code="ROOM5", timeout_ms=600_000)
            answers: list[Any] = []
            for number, (what, url, wait_s) in enumerate(story, 1):
                room.submit([1, number], answers.append, timeout_ms=600_000)
                befall(cluster, what, url)
                await asyncio.sleep(wait_s)
            for url in (A, B, C):
                cluster.restart(url)
            cluster.owners[5] = cluster.owners[5] or B
            outcome = await room.command([1, 0], timeout_ms=600_000)
            assert outcome.accepted
            assert [answer.number for answer in answers] == list(range(1, len(story) + 1))
            assert cluster.rooms[5].executed == [*range(1, len(story) + 1), 0]
            assert client.counters.gaps == client.counters.desyncs == 0
            check_view(cluster, room)

    played()


def befall(cluster: ToyCluster, what: str, url: str) -> None:
    """Let one thing happen to a node or to the room."""
    for node in cluster.nodes.values():
        assert node.protocol_errors == []
    if what == "kill" and len(cluster.down) < 2:
        cluster.kill(url)
    elif what == "cut":
        for side in cluster.nodes[url].sides:
            side.cut()
    elif what == "move" and url not in cluster.down:
        cluster.move(5, url)
    elif what == "move to nowhere" and url not in cluster.down:
        cluster.move(5, url, say="")
    elif what == "moved to a lie" and url not in cluster.down:
        cluster.move(5, url, say=next(other for other in (A, B, C) if other != url))

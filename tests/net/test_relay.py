"""Rooms of one node, seen by clients of another as if it had them."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gameserver.net.dispatch import Services
from gameserver.net.relay import (
    HANDLES_FROM,
    IDLE_NS,
    LEAVING_MAX,
    UPSTREAMS_PER_CLIENT_MAX,
    Relay,
)
from gameserver.net.server import Inside, NetServer
from gameserver.net.upstream import OPEN_S, RELAY
from gameserver.runtime.cluster import Place
from gameserver.services.doors import Elsewhere
from gameserver.services.refusals import Refusal
from gameserver.services.requests import Requests
from persistence.ownership import DEFAULT_SHARDS
from protocol import codec
from protocol.messages import (
    Balance,
    Command,
    Delta,
    ErrorBody,
    Full,
    Hello,
    Join,
    JoinBy,
    Joined,
    Leave,
    Left,
    LeftCode,
    Moved,
    Nodes,
    Ping,
    Redirect,
    Reply,
    ReplyCode,
    Resume,
    Resync,
    ServerPong,
    Welcome,
)
from tests.net.rig import BINARY, Peer, Rig, free_port, packed

KIB = 1024
CHUNK_BYTES = 16 * KIB


class Near(Rig):
    """A node that has no rooms; where they are is for the test to say, by shard."""

    def __init__(self, far: Rig, *, relays: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.far = far
        self.store = far.store
        self.relays = relays
        self.places: dict[int, str | None] = {}
        self.is_ticket_good = True

    def _server(self, tasks: asyncio.TaskGroup) -> NetServer:
        super()._server(tasks)
        self.accounts = self.far.accounts  # With one key, as all nodes of a cluster have.
        requests = Requests(self.store, self.lobby, self.wallet)
        services = Services(self.accounts, self.lobby, requests, self.wallet, self)
        inside = Inside(
            *(self.host, services, self.metrics, self.clock, lambda: self.unready),
            self.whereabouts if self.relays else None,
        )
        return NetServer(self.config, inside, tasks)

    @property
    def relay(self) -> Relay:
        assert self.server.relay is not None
        return self.server.relay

    def whereabouts(self, room_id: int) -> str | None:
        return self.places.get(room_id % DEFAULT_SHARDS, url_of(self.far))

    def place(self, room_id: int, url: str | None) -> None:
        self.places[room_id % DEFAULT_SHARDS] = url

    # It is its own way to other nodes, too.

    def to(self, shard: int) -> Place | None:
        url = self.whereabouts(shard)
        return Place("far", url) if url else None

    def ticket(self, account: int, _node: str) -> str:
        return self.accounts.token(account) if self.is_ticket_good else "no ticket"

    def urls(self) -> tuple[str, ...]:
        return ()


def url_of(rig: Rig) -> str:
    return f"ws://127.0.0.1:{rig.server.port}/ws"


@pytest.fixture
async def far() -> AsyncIterator[Rig]:
    """Run the node that has the rooms."""
    async with Rig() as far:
        yield far


@pytest.fixture
async def near(far: Rig) -> AsyncIterator[Near]:
    """Run the node that clients come to."""
    async with Near(far) as near:
        yield near


async def read(peer: Peer) -> Any:
    """Return the next message that is not about addresses."""
    while True:
        message = await peer.message()
        if not isinstance(message, Nodes):
            return message


async def enter(peer: Peer, room_id: int, request: int = 1) -> None:
    peer.send(Join(request, JoinBy.ID, room_id, False))
    joined = await read(peer)
    assert isinstance(joined, Joined), joined
    assert (joined.request, joined.room) == (request, room_id)
    assert isinstance(await read(peer), Full)


async def refusal(peer: Peer, request: int = 1) -> ErrorBody:
    reply = await read(peer)
    assert isinstance(reply, Reply), reply
    assert reply.request == request
    assert reply.code != ReplyCode.OK
    return msgspec.msgpack.decode(reply.body, type=ErrorBody)


async def has_nothing_to_read(peer: Peer) -> bool:
    """Say whether the answer to a ping is the next that comes."""
    peer.send(Ping(77))
    return isinstance(await read(peer), ServerPong)


# --- What goes up and what comes down.


async def test_a_room_of_another_node_is_joined_and_seen(near: Near, far: Rig) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    await enter(ann, room_id)
    far.host.tick(room_id, 1)
    assert await read(ann) == Delta(HANDLES_FROM, 1, 1, [])
    ann.send(Command(room_id, 1, packed([1, 5])))
    await far.until(lambda: bool(far.host.commands))
    assert far.host.commands == [(room_id, ann.account, 1, bytes(packed([1, 5])))]
    ann.send(Resync(room_id))
    await far.until(lambda: far.host.resyncs == [room_id])
    ann.send(Leave(2, room_id))
    assert await read(ann) == Reply(2, ReplyCode.OK, packed(()))
    assert await read(ann) == Left(room_id, LeftCode.LEFT, "LEFT")
    assert far.host.viewers[room_id] == []
    assert near.host.viewers == {}
    assert near.host.commands == []


async def test_a_room_of_another_node_is_resumed_from_its_closed_tick(near: Near, far: Rig) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    ann.send(Resume(1, room_id, 41, False))
    assert isinstance(await read(ann), Joined)
    full = await read(ann)
    assert isinstance(full, Full)
    assert full.tick == 41


async def test_a_refusal_of_the_other_node_is_passed_on(near: Near, far: Rig) -> None:
    room_id = await far.room()
    far.host.refuse_with[room_id] = Refusal(ReplyCode.ROOM_FULL, "full")
    ann = await near.player("ann")
    ann.send(Join(1, JoinBy.ID, room_id, False))
    assert await refusal(ann) == ErrorBody("ROOM_FULL", "full", -1)
    assert near.relay.rooms(near.connection(ann.account)) == 0


async def test_frames_come_down_as_they_are_but_for_the_handle(near: Near, far: Rig) -> None:
    room_id = await far.room()
    ann, direct = await near.player("ann"), await far.player("direct")
    await enter(ann, room_id)
    await enter(direct, room_id)
    for changes in (b"\x90", packed([1, 2, bytes(5_000)]), packed([1, 2, os.urandom(70_000)])):
        far.host.tick(room_id, 1, bytes(changes))
        told, expected = await read(ann), await read(direct)
        assert isinstance(expected, Delta)
        assert told == replace(expected, handle=HANDLES_FROM)


async def test_one_upstream_carries_all_rooms_of_one_client_at_one_node(
    near: Near, far: Rig
) -> None:
    rooms = [await far.room() for _ in range(3)]
    ann, bob = await near.player("ann"), await near.player("bob")
    for request, room_id in enumerate(rooms):
        ann.send(Join(request, JoinBy.ID, room_id, False))
    for _ in rooms:
        assert isinstance(await read(ann), Joined)
        assert isinstance(await read(ann), Full)
    assert near.relay.upstreams == 1
    await enter(bob, rooms[0])
    assert near.relay.upstreams == 2
    assert near.relay.rooms(near.connection(ann.account)) == 3
    assert [len(far.host.viewers[room_id]) for room_id in rooms] == [2, 1, 1]


async def test_a_room_is_known_by_its_handle_also_if_nobody_waited_for_it_any_more(
    near: Near, far: Rig
) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    await enter(ann, room_id)
    at_far = far.connection(ann.account)
    at_far.send(codec.joined(Joined(99, room_id + 1, "", "tiny", 1, 1, 0, 0, "", 0)))
    at_far.send(codec.delta(0, codec.delta_tail(1, 1, b"\x90")))
    at_far.send(codec.balance(1))
    assert await read(ann) == Balance(1), "what is told of another room is not told of this one"


async def test_what_is_between_the_nodes_stays_between_them(near: Near, far: Rig) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    await enter(ann, room_id)
    at_far = far.connection(ann.account)
    before = far.server.edge.counters.messages_in.get("Pong", 0)
    far.pass_time(11.0)
    await far.until(lambda: far.server.edge.counters.messages_in.get("Pong", 0) > before)
    urls = [f"ws://node-{number}.example:7350/ws" for number in range(64)]
    at_far.send(codec.nodes(urls))
    at_far.send(codec.reply_ok(99, ()))
    at_far.send(codec.joined(Joined(99, room_id + 1, "", "tiny", 1, 1, 0, 0, "", 0)))
    at_far.send(codec.full(room_id + 1, 1, b"\x90", b"\x90"))
    at_far.send(codec.left(room_id + 1, LeftCode.LEFT))
    at_far.send(codec.moved(room_id + 1, "", ""))
    at_far.send(codec.redirect(99, room_id, "ws://x/ws", ""))
    at_far.send(codec.packed((2, 5, 6)))
    at_far.send(codec.balance(1234))
    assert await read(ann) == Balance(1234)
    assert await has_nothing_to_read(ann)


async def test_a_client_that_goes_is_gone_from_the_other_node(near: Near, far: Rig) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    await enter(ann, room_id)
    await ann.end()
    await far.until(lambda: far.host.lost_accounts == [ann.account])
    assert near.relay.upstreams == 0


async def test_rooms_elsewhere_count_as_rooms_of_the_connection(far: Rig) -> None:
    async with Near(far) as near:
        ann = await near.player("ann")
        most = near.server.edge.limits.rooms_max
        at_near = near.connection(ann.account)
        room_id = await far.room()
        await enter(ann, room_id)
        for number in range(most - 1):
            at_near.joined(10**15 + number)
        ann.send(Join(2, JoinBy.ID, room_id, False))
        assert (await refusal(ann, 2)).name == "TOO_MANY_ROOMS"


async def test_without_a_relay_clients_are_redirected(far: Rig) -> None:
    room_id = await far.room()
    async with Near(far, relays=False) as near:
        ann = await near.player("ann")
        ann.send(Join(1, JoinBy.ID, room_id, False))
        redirect = await read(ann)
        assert isinstance(redirect, Redirect)
        assert (redirect.request, redirect.room, redirect.url) == (1, room_id, url_of(far))


# --- When the other node goes, or the room goes from it.


async def test_an_upstream_that_is_lost_sends_its_rooms_back_to_be_asked_for(
    near: Near, far: Rig
) -> None:
    first, second = await far.room(), await far.room()
    ann = await near.player("ann")
    await enter(ann, first)
    await enter(ann, second)
    timed = len(near.server.edge.wheel)
    far.connection(ann.account).abort()
    assert await read(ann) == Moved(first, "", "")
    assert await read(ann) == Moved(second, "", "")
    assert near.relay.upstreams == 0
    assert len(near.server.edge.wheel) == timed - 1
    ann.send(Resume(5, first, 3, False))
    assert isinstance(await read(ann), Joined)


@pytest.mark.parametrize("code", [4000, 4008, 4600])
async def test_a_goodbye_of_the_other_node_is_the_end_of_the_upstream_alone(
    near: Near, far: Rig, code: int
) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    await enter(ann, room_id)
    far.connection(ann.account).close(code)
    assert await read(ann) == Moved(room_id, "", "")
    assert await has_nothing_to_read(ann)


async def test_a_join_that_waits_when_the_upstream_is_lost_is_to_be_repeated(
    near: Near, far: Rig
) -> None:
    room_id = await far.room()
    far.host.opening = asyncio.Event()
    ann = await near.player("ann")
    ann.send(Join(1, JoinBy.ID, room_id, False))
    await far.until(lambda: "Join" in far.server.edge.counters.messages_in)
    far.connection(ann.account).abort()
    told = await refusal(ann)
    assert told.name == "UNAVAILABLE"
    assert told.retry_ms >= 0
    far.host.opening.set()
    await enter(ann, room_id, 2)


async def test_a_request_to_leave_that_waits_when_the_upstream_is_lost_is_to_be_repeated(
    near: Near, far: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    await enter(ann, room_id)
    monkeypatch.setattr(far.host, "leave", lambda *_: True)  # The answer is still to come.
    for request in range(LEAVING_MAX):
        ann.send(Leave(request, room_id))
    ann.send(Leave(LEAVING_MAX, room_id))
    assert (await refusal(ann, LEAVING_MAX)).name == "BUSY"
    far.connection(ann.account).abort()
    assert await read(ann) == Moved(room_id, "", "")
    for request in range(LEAVING_MAX):
        assert (await refusal(ann, request)).name == "UNAVAILABLE"


async def test_a_room_that_moves_on_is_asked_for_where_the_client_is(near: Near, far: Rig) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    await enter(ann, room_id)
    at_far = far.connection(ann.account)
    at_far.left(room_id)
    at_far.send(codec.moved(room_id, "ws://inside.example/ws", ""))
    at_far.send(codec.full(room_id, 9, b"\x90", b"\x90"))
    assert await read(ann) == Moved(room_id, "", "")
    assert await has_nothing_to_read(ann)


async def test_a_room_that_another_node_has_by_now_is_moved_although_its_old_node_is_silent(
    near: Near, far: Rig
) -> None:
    moving, staying = await far.room(), await far.room()
    while moving % DEFAULT_SHARDS == staying % DEFAULT_SHARDS:
        staying = await far.room()
    ann = await near.player("ann")
    await enter(ann, moving)
    await enter(ann, staying)
    near.relay.look()
    near.place(moving, None)
    near.relay.look()
    assert await has_nothing_to_read(ann), "nobody knows better"
    near.place(moving, "")
    near.relay.look()
    assert await read(ann) == Moved(moving, "", "")
    far.host.tick(moving, 1)  # It has woken up, and does not know yet.
    far.host.tick(staying, 1)
    assert await read(ann) == Delta(HANDLES_FROM + 1, 1, 1, [])
    assert near.relay.rooms(near.connection(ann.account)) == 1


async def test_a_room_that_came_here_is_served_here(near: Near, far: Rig) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    await enter(ann, room_id)
    near.place(room_id, "")
    await enter(ann, room_id, 2)
    far.host.tick(room_id, 1)
    ann.send(Command(room_id, 1, packed([1])))
    await near.until(lambda: bool(near.host.commands))
    assert far.host.commands == []
    assert await has_nothing_to_read(ann)


@pytest.mark.parametrize("url", ["", "no url", "http://h/", "ws://127.0.0.1:{closed}/ws"])
async def test_a_node_that_cannot_be_reached_is_to_be_asked_again(
    near: Near, far: Rig, url: str
) -> None:
    room_id = await far.room()
    near.place(room_id, url.format(closed=free_port()) or f"{url_of(far)}/nothing")
    ann = await near.player("ann")
    ann.send(Join(1, JoinBy.ID, room_id, False))
    told = await refusal(ann)
    assert told.name == "UNAVAILABLE"
    assert told.retry_ms >= 0
    assert near.relay.upstreams == 0


async def test_a_node_that_does_not_answer_is_given_up(near: Near, far: Rig) -> None:
    room_id = await far.room()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        near.place(room_id, f"ws://127.0.0.1:{silent.getsockname()[1]}/ws")
        ann = await near.player("ann")
        for request in (1, 2):  # The second waits for the first one's upstream.
            ann.send(Join(request, JoinBy.ID, room_id, False))
        for request in (1, 2):
            assert (await refusal(ann, request)).name == "UNAVAILABLE"
    assert near.relay.upstreams == 0


async def test_a_client_that_goes_while_its_upstream_is_made_leaves_none_behind(
    near: Near, far: Rig
) -> None:
    room_id = await far.room()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        near.place(room_id, f"ws://127.0.0.1:{silent.getsockname()[1]}/ws")
        ann = await near.player("ann")
        ann.send(Join(1, JoinBy.ID, room_id, False))
        await near.until(lambda: near.relay.upstreams == 1)
        await ann.end()
        await near.until(lambda: near.relay.upstreams == 0)


async def test_a_client_that_went_while_its_room_was_looked_for_gets_no_upstream(
    near: Near, far: Rig
) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    at_near = near.connection(ann.account)
    await ann.end()
    await near.until(lambda: not at_near.is_open)
    elsewhere = Elsewhere(room_id, "far", url_of(far), near.ticket(ann.account, "far"))
    refused = await near.relay.enter(at_near, Join(1, JoinBy.ID, room_id, False), elsewhere)
    assert refused is not None
    assert near.relay.upstreams == 0
    assert far.host.viewers == {}


async def test_a_request_number_that_is_in_use_elsewhere_is_not_used_again(
    near: Near, far: Rig
) -> None:
    room_id = await far.room()
    far.host.opening = asyncio.Event()
    ann = await near.player("ann")
    for _ in range(2):
        ann.send(Join(1, JoinBy.ID, room_id, False))
    assert (await refusal(ann)).name == "UNAVAILABLE"
    far.host.opening.set()
    assert isinstance(await read(ann), Joined)
    assert isinstance(await read(ann), Full)
    assert len(far.host.viewers[room_id]) == 1


async def test_a_ticket_that_is_refused_is_no_fault_of_the_clients(near: Near, far: Rig) -> None:
    room_id = await far.room()
    near.is_ticket_good = False
    ann = await near.player("ann")
    ann.send(Join(1, JoinBy.ID, room_id, False))
    began_s = asyncio.get_running_loop().time()
    assert (await refusal(ann)).name == "UNAVAILABLE"
    assert asyncio.get_running_loop().time() - began_s < OPEN_S, "it need not wait to know"
    near.is_ticket_good = True
    await enter(ann, room_id, 2)


# --- More than two nodes.


async def test_a_redirect_of_the_other_node_is_followed_and_never_relayed_again(far: Rig) -> None:
    room_id = await far.room()
    async with Near(far) as middle, Near(middle) as near:
        ann = await near.player("ann")
        await enter(ann, room_id)
        assert [viewer.account for viewer in far.host.viewers[room_id]] == [ann.account]
        assert middle.relay.upstreams == 0
        assert middle.server.edge.counters.redirects == 1


async def test_nodes_that_point_at_each_other_are_not_followed_for_ever(far: Rig) -> None:
    room_id = await far.room()
    async with Near(far) as one, Near(one) as other:
        one.place(room_id, url_of(other))
        ann = await other.player("ann")
        ann.send(Join(1, JoinBy.ID, room_id, False))
        assert (await refusal(ann)).name == "UNAVAILABLE"
        assert 0 < one.server.edge.counters.redirects + other.server.edge.counters.redirects < 5


async def test_whoever_says_that_it_is_a_relay_is_redirected(near: Near, far: Rig) -> None:
    room_id = await far.room()
    peer = await near.peer()
    peer.send(Hello([1], "", "eve", RELAY))
    assert isinstance(await read(peer), Welcome)
    peer.send(Join(1, JoinBy.ID, room_id, False))
    assert isinstance(await read(peer), Redirect)


async def test_a_client_has_so_many_upstreams_and_no_more(near: Near, far: Rig) -> None:
    rooms: dict[int, int] = {}
    account = 0
    while len(rooms) <= UPSTREAMS_PER_CLIENT_MAX:
        account += 1
        row = await far.lobby.create(account, "tiny", os.urandom(8), listed=True, settings=b"")
        assert not isinstance(row, Refusal)
        rooms.setdefault(row.room_id % DEFAULT_SHARDS, row.room_id)
    ann = await near.player("ann")
    *most, last = rooms.values()
    for number, room_id in enumerate([*most, last]):
        near.place(room_id, f"{url_of(far)}?{number}")
    for room_id in most:
        near.clock.ns += 1_000_000_000
        await enter(ann, room_id)
    ann.send(Join(1, JoinBy.ID, last, False))
    assert (await refusal(ann)).name == "BUSY"
    assert near.relay.upstreams == UPSTREAMS_PER_CLIENT_MAX


# --- Upstreams that end.


async def test_an_upstream_without_rooms_is_closed_after_a_while(near: Near, far: Rig) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    await enter(ann, room_id)
    for _ in range(4):
        near.pass_time(IDLE_NS / 1e9 + 0.1)
    assert near.relay.upstreams == 1
    ann.send(Leave(2, room_id))
    assert isinstance(await read(ann), Reply)
    assert isinstance(await read(ann), Left)
    for _ in range(2):
        assert near.relay.upstreams == 1
        near.pass_time(IDLE_NS / 1e9 + 0.1)
    assert near.relay.upstreams == 0
    await far.until(lambda: far.host.lost_accounts == [ann.account])
    assert await has_nothing_to_read(ann)


async def test_an_upstream_of_which_nothing_is_heard_is_given_up(near: Near, far: Rig) -> None:
    room_id = await far.room()
    ann = await near.player("ann")
    await enter(ann, room_id)
    heard = far.server.edge.counters.messages_in
    for pings in range(1, 5):
        far.pass_time(11.0)  # It pings, which is enough.
        await far.until(lambda pings=pings: heard.get("Pong", 0) >= pings)
        near.pass_time(11.0)
        assert await has_nothing_to_read(ann)
    assert near.relay.upstreams == 1
    for _ in range(7):
        near.pass_time(IDLE_NS / 1e9 + 0.1)
        assert await has_nothing_to_read(ann) or near.relay.upstreams == 0
    assert near.relay.upstreams == 0


# --- Those who do not read.


async def test_a_client_that_does_not_read_is_not_read_for(far: Rig) -> None:
    room_id = await far.room()
    async with Near(far) as near:
        slow = await near.player("slow", receive_bytes=4 * KIB)
        await enter(slow, room_id)
        transport = near.connection(slow.account).transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * KIB)
        slow.pause()
        tick, unsent_max = 0, 0
        while far.server.edge.counters.merges < 20:
            tick += 1
            assert tick < 5_000, "the other node never sees that its client is slow"
            far.host.tick(room_id, tick, bytes(packed([1, 2, os.urandom(CHUNK_BYTES)])))
            await asyncio.sleep(0)
            unsent_max = max(unsent_max, transport.get_write_buffer_size())
        soft_bytes = near.config.outbox_soft_bytes
        assert soft_bytes < unsent_max <= soft_bytes + CHUNK_BYTES + 200

        slow.resume()
        seen = 0
        while seen < tick:
            message = await read(slow)
            assert isinstance(message, Delta), message
            assert message.tick - message.step <= seen
            seen = message.tick
        assert near.server.edge.counters.closes == {}
        assert near.server.edge.counters.merges == 0


async def test_a_client_that_never_reads_again_is_cut_off_at_both_nodes(far: Rig) -> None:
    room_id = await far.room()
    async with Near(far) as near:
        slow = await near.player("slow", receive_bytes=4 * KIB)
        await enter(slow, room_id)
        slow.pause()
        tick = 0
        while far.server.edge.counters.merges < 5:
            tick += 1
            far.host.tick(room_id, tick, bytes(packed([1, 2, os.urandom(CHUNK_BYTES)])))
            await asyncio.sleep(0)
        for _ in range(8):
            near.pass_time(1.0)
        assert near.server.edge.counters.closes == {"4008": 1}
        assert near.relay.upstreams == 0
        await far.until(lambda: far.host.lost_accounts == [slow.account])


async def test_a_node_that_does_not_read_loses_its_upstreams(far: Rig) -> None:
    room_id = await far.room()
    async with Near(far, command_rate=100_000, command_burst=100_000) as near:
        ann = await near.player("ann")
        await enter(ann, room_id)
        transport = far.connection(ann.account).transport
        transport.pause_reading()
        body = packed([1, bytes(3_900)])
        number = 0
        while near.relay.upstreams:
            number += 1
            assert number < 20_000, "the upstream takes more and more"
            ann.frame(BINARY, codec.encode_inbound(Command(room_id, number, body)))
            await ann.writer.drain()
            await asyncio.sleep(0)
        assert await read(ann) == Moved(room_id, "", "")

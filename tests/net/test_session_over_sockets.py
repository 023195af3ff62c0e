"""What a well-behaved client meets: welcome, rooms, requests, pings, goodbye."""

import asyncio

import msgspec

from gameserver.services.refusals import Refusal
from protocol import codec
from protocol.messages import (
    Balance,
    Bye,
    Command,
    Deferred,
    Delta,
    ErrorBody,
    Full,
    Goodbye,
    Hello,
    Join,
    JoinBy,
    Joined,
    Leave,
    Left,
    Ping,
    Reply,
    ReplyCode,
    Request,
    Resume,
    Resync,
    ServerPong,
    Welcome,
)
from tests.net.rig import BINARY, CLOSE, PING, PONG, Peer, Rig, packed


async def joined(rig: Rig, peer: Peer, room_id: int) -> None:
    """Let a player into a room and read what it is told."""
    peer.send(Join(1, JoinBy.ID, room_id, False))
    assert isinstance(await peer.message(), Joined)
    assert isinstance(await peer.message(), Full)


async def reply_code(peer: Peer) -> tuple[int, int]:
    """Return request and code of the next reply."""
    reply = await peer.message()
    assert isinstance(reply, Reply), reply
    return reply.request, reply.code


async def test_a_guest_is_welcomed_and_comes_back_to_the_same_account(rig: Rig) -> None:
    first = await rig.player("ann")
    again = await rig.player("somebody else", first.token)
    assert again.account == first.account
    assert rig.connection(first.account).name == "ann"


async def test_two_connections_of_one_account_both_live(rig: Rig) -> None:
    one = await rig.player("ann")
    two = await rig.player("ann", one.token)
    for peer in (one, two):
        peer.send(Ping(7))
        assert isinstance(await peer.message(), ServerPong)
    rig.wallet.on_balances([(one.account, 250)])
    assert await one.message() == await two.message() == Balance(250)


async def test_a_balance_is_told_to_nobody_after_the_last_connection_has_gone(rig: Rig) -> None:
    ann = await rig.player("ann")
    ann.send(Bye())
    assert await ann.close_code() == 1000
    rig.wallet.on_balances([(ann.account, 250)])
    assert rig.host.lost_accounts == [ann.account]


async def test_a_command_reaches_its_room_with_its_number_and_its_bytes(rig: Rig) -> None:
    ann = await rig.player()
    ann.send(Command(77, 3, packed([1, "x"])))
    await rig.until(lambda: rig.host.commands)
    assert rig.host.commands == [(77, ann.account, 3, codec.packed([1, "x"]))]


async def test_commands_that_come_too_fast_are_deferred_and_their_numbers_stay_free() -> None:
    async with Rig(command_rate=10, command_burst=2) as rig:
        ann = await rig.player()
        for number in (1, 2, 3):
            ann.send(Command(77, number, packed([1])))
        deferred = await ann.message()
        assert deferred == Deferred(77, 3, 3, 100)
        rig.pass_time(0.1)
        ann.send(Command(77, 3, packed([1])))
        await rig.until(lambda: len(rig.host.commands) == 3)
        assert [number for _, _, number, _ in rig.host.commands] == [1, 2, 3]
        assert rig.server.edge.counters.commands_rate_limited == 1


async def test_a_room_is_joined_by_id_by_code_and_by_any(rig: Rig) -> None:
    room_id = await rig.room()
    row = await rig.lobby.by_id(room_id)
    assert row is not None
    ways: tuple[tuple[JoinBy, int | str], ...] = (
        (JoinBy.ID, room_id),
        (JoinBy.CODE, row.code.lower()),
        (JoinBy.ANY, "tiny"),
    )
    for by, value in ways:
        peer = await rig.player()
        peer.send(Join(1, by, value, by == JoinBy.ANY))
        answer = await peer.message()
        assert isinstance(answer, Joined), answer
        assert answer.room == room_id


async def test_any_makes_a_room_when_all_are_full_and_fills_it(rig: Rig) -> None:
    peers = [await rig.player(name) for name in "abcd"]
    for peer in peers:
        peer.send(Join(1, JoinBy.ANY, "tiny", False))
    rooms = []
    for peer in peers:
        answer = await peer.message()
        assert isinstance(answer, Joined), answer
        rooms.append(answer.room)
    assert len(set(rooms)) == 2
    assert all(len(viewers) == 2 for viewers in rig.host.viewers.values())


async def test_any_tries_another_room_when_one_refuses(rig: Rig) -> None:
    room_id = await rig.room()
    rig.host.refuse_with[room_id] = Refusal(ReplyCode.ROOM_FULL)
    ann = await rig.player()
    ann.send(Join(1, JoinBy.ANY, "tiny", False))
    answer = await ann.message()
    assert isinstance(answer, Joined)
    assert answer.room != room_id


async def test_joins_that_cannot_be_get_a_code(rig: Rig) -> None:
    ann = await rig.player()
    full_room, aside = await rig.room(), await rig.room()
    rig.host.refuse_with[full_room] = Refusal(ReplyCode.REFUSED, "not you")
    await rig.store.set_aside(aside, "broken")
    ways: tuple[tuple[JoinBy, int | str, ReplyCode], ...] = (
        (JoinBy.ID, 5, ReplyCode.NOT_FOUND),
        (JoinBy.CODE, "XXXXXX", ReplyCode.NOT_FOUND),
        (JoinBy.ANY, "chess", ReplyCode.UNKNOWN_GAME),
        (JoinBy.ID, full_room, ReplyCode.REFUSED),
        (JoinBy.ID, aside, ReplyCode.ROOM_SET_ASIDE),
    )
    for number, (by, value, code) in enumerate(ways):
        ann.send(Join(number, by, value, False))
        assert await reply_code(ann) == (number, code)


async def test_a_room_is_resumed_left_and_resynchronised(rig: Rig) -> None:
    room_id = await rig.room()
    ann = await rig.player()
    ann.send(Resume(4, room_id, 17, False))
    answer = await ann.message()
    assert isinstance(answer, Joined)
    assert answer.request == 4
    full = await ann.message()
    assert isinstance(full, Full)
    assert full.tick == 17
    ann.send(Resync(room_id))
    ann.send(Leave(5, room_id))
    assert await reply_code(ann) == (5, 0)
    assert await ann.message() == Left(room_id, 1, "LEFT")
    assert rig.host.resyncs == [room_id]
    ann.send(Leave(6, room_id))
    assert await reply_code(ann) == (6, ReplyCode.NOT_FOUND)


async def test_a_tick_is_framed_once_for_all_and_a_private_frame_goes_first(rig: Rig) -> None:
    room_id = await rig.room()
    peers = [await rig.player(name) for name in "ab"]
    for peer in peers:
        await joined(rig, peer, room_id)
    rig.host.tick(room_id, 5, codec.packed([1, 2, "x" * 3000]))
    for peer in peers:
        delta = await peer.message()
        assert isinstance(delta, Delta)
        assert (delta.tick - delta.step, delta.tick, delta.changes[2]) == (4, 5, "x" * 3000)
    assert rig.server.edge.counters.frames_out == 2 * 4


async def test_a_request_is_answered_and_an_unknown_one_refused(rig: Rig) -> None:
    ann = await rig.player()
    ann.send(Request(1, "balance", packed([])))
    reply = await ann.message()
    assert isinstance(reply, Reply)
    assert (reply.request, reply.code, bytes(reply.body)) == (1, 0, codec.packed([1000]))
    ann.send(Request(2, "__class__", packed([])))
    assert await reply_code(ann) == (2, ReplyCode.UNKNOWN_METHOD)
    ann.send(Request(3, "balance", packed([1])))
    assert await reply_code(ann) == (3, ReplyCode.BAD_REQUEST)


async def test_only_four_requests_of_a_connection_wait_at_a_time(rig: Rig) -> None:
    rig.host.opening = asyncio.Event()
    room_id = await rig.room()
    ann = await rig.player()
    for number in range(5):
        ann.send(Join(number, JoinBy.ID, room_id, True))
    reply = await ann.message()
    assert isinstance(reply, Reply)
    assert (reply.request, reply.code) == (4, ReplyCode.RATE_LIMITED)
    rig.host.opening.set()
    answers = [await ann.message() for _ in range(8)]
    assert [one.request for one in answers if isinstance(one, Joined)] == [0, 1, 2, 3]


async def test_who_goes_while_a_room_is_opened_does_not_stay_in_it(rig: Rig) -> None:
    rig.host.opening = asyncio.Event()
    room_id = await rig.room()
    ann = await rig.player()
    ann.send(Join(1, JoinBy.ID, room_id, False))
    await rig.until(lambda: rig.connection(ann.account).requests_in_flight == 1)
    await ann.end()
    await rig.until(lambda: rig.host.lost_accounts == [ann.account])
    rig.host.opening.set()
    await rig.until(lambda: len(rig.host.lost_accounts) == 2)
    assert rig.host.viewers[room_id] == []


async def test_what_is_sent_before_the_welcome_is_answered_after_it(rig: Rig) -> None:
    peer = await rig.peer()
    peer.send(Hello([1], "", "ann", "test"))
    peer.send(Ping(1))
    peer.send(Ping(2))
    answers = [await peer.message() for _ in range(3)]
    assert isinstance(answers[0], Welcome)
    assert [one.echo for one in answers[1:] if isinstance(one, ServerPong)] == [1, 2]


async def test_a_message_in_fragments_with_a_ping_between_is_one_message(rig: Rig) -> None:
    ann = await rig.player()
    payload = codec.encode_inbound(Ping(99))
    ann.frame(BINARY, payload[:1], is_last=False)
    ann.frame(PING, b"!")
    ann.frame(0, b"", is_last=False)
    ann.frame(0, payload[1:])
    answer = await ann.message()
    assert isinstance(answer, ServerPong)
    assert answer.echo == 99
    assert await ann.read_frame() == (PONG, b"!")


async def test_a_head_that_comes_byte_by_byte_is_read(rig: Rig) -> None:
    ann = await rig.player()
    data = codec.encode_inbound(Ping(5))
    for byte in bytes((0x82, 0x80 | len(data), 0, 0, 0, 0)) + data:
        ann.write(bytes((byte,)))
        await ann.writer.drain()
        await asyncio.sleep(0)
    assert isinstance(await ann.message(), ServerPong)


async def test_a_close_of_the_client_is_answered_and_its_rooms_are_told(rig: Rig) -> None:
    ann = await rig.player()
    ann.frame(CLOSE, (1001).to_bytes(2, "big"))
    assert await ann.read_frame() == (CLOSE, (1001).to_bytes(2, "big"))
    assert await ann.read_all() == b""
    assert rig.host.lost_accounts == [ann.account]
    assert rig.server.edge.counters.closes == {"1001": 1}


async def test_codes_that_clients_make_up_are_counted_together(rig: Rig) -> None:
    for code in (3000, 4711):
        ann = await rig.player()
        ann.frame(CLOSE, code.to_bytes(2, "big"))
        assert await ann.read_frame() == (CLOSE, code.to_bytes(2, "big"))
    assert rig.server.edge.counters.closes == {"other": 2}


async def test_bye_is_answered_with_goodbye_and_1000(rig: Rig) -> None:
    ann = await rig.player()
    ann.send(Bye())
    assert await ann.message() == Goodbye(1000, "NORMAL", -1)
    assert await ann.close_code() == 1000


async def test_pings_of_both_kinds_come_in_their_interval_and_spread(rig: Rig) -> None:
    peers = [await rig.player() for _ in range(4)]
    rig.server.edge.wheel.advance(rig.clock.ns)
    pinged_at: dict[int, int] = {}
    for step in range(100):
        rig.pass_time(0.1)
        sent = rig.server.edge.counters.frames_out
        pinged_at[step] = sent
    assert pinged_at[99] == 4 + 4, "a welcome and a ping each"
    for peer in peers:
        opcode, payload = await peer.read_frame()
        assert opcode == BINARY
        assert codec.decode_outbound(payload).echo <= rig.clock.ns // 1_000_000  # type: ignore[union-attr]  # It is a ping.
        assert await peer.read_frame() == (PING, b"")
    assert len(set(pinged_at.values())) > 2, "they do not come all at once"


async def test_an_outage_of_storage_is_answered_and_the_connection_stays(rig: Rig) -> None:
    ann = await rig.player()
    rig.break_storage()
    ann.send(Request(1, "balance", packed([])))
    reply = await ann.message()
    assert isinstance(reply, Reply)
    error = packed_error(reply)
    assert (reply.code, error.name, error.retry_ms) == (9, "UNAVAILABLE", 1000)
    ann.send(Ping(1))
    assert isinstance(await ann.message(), ServerPong)


async def test_a_hello_that_storage_does_not_answer_ends_with_come_again(rig: Rig) -> None:
    rig.store.silence = asyncio.Event()
    peer = await rig.peer()
    peer.send(Hello([1], "", "ann", "test"))
    await rig.until(lambda: rig.server.edge.counters.messages_in == {"Hello": 1})
    rig.pass_time(4.9)
    assert rig.server.edge.counters.closes == {}
    rig.pass_time(0.2)
    assert await peer.message() == Goodbye(4002, "OVERLOADED", 1000)
    assert await peer.close_code() == 4002
    rig.store.silence.set()
    await rig.until(lambda: not rig.server.listener.connections)
    assert rig.host.lost_accounts == [], "who came too late was never let in"


async def test_a_mistake_of_ours_closes_the_connection_that_met_it_alone(rig: Rig) -> None:
    ann, bob = await rig.player("ann"), await rig.player("bob")
    rig.host.command_error = RuntimeError("a bug")
    ann.send(Command(1, 1, packed([1])))
    assert await ann.message() == Goodbye(4003, "INTERNAL", 1000)
    assert await ann.close_code() == 4003
    bob.send(Ping(1))
    assert isinstance(await bob.message(), ServerPong)


def packed_error(reply: Reply) -> ErrorBody:
    """Return what an error's reply holds."""
    return msgspec.msgpack.decode(reply.body, type=ErrorBody)

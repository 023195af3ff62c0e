"""Clients that do not read: their updates are merged, then they are cut off; nobody else waits."""

import asyncio
import os
import socket

import pytest

from gameserver.net.transports import NOTSENT_LOWAT
from protocol import codec
from protocol.messages import Balance, Delta, Full, Goodbye, Join, JoinBy, Joined, Ping, ServerPong
from tests.net.rig import BINARY, CLOSE, Peer, Rig

KIB = 1024
CHUNK_BYTES = 16 * KIB


async def enter(peer: Peer, room_id: int) -> None:
    """Join a room and read to its full state."""
    peer.send(Join(1, JoinBy.ID, room_id, False))
    assert isinstance(await peer.message(), Joined)
    assert isinstance(await peer.message(), Full)


async def slow_player(rig: Rig, room_id: int) -> Peer:
    """Let in a player between whom and the server little fits."""
    slow = await rig.player("slow", receive_bytes=4 * KIB)
    await enter(slow, room_id)
    server_socket = rig.connection(slow.account).transport.get_extra_info("socket")
    server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * KIB)
    slow.pause()
    return slow


def changes() -> bytes:
    """Return changes that no compression makes smaller."""
    return codec.packed([1, 2, os.urandom(CHUNK_BYTES)])


def unsent_bytes(rig: Rig, peer: Peer) -> int:
    """Return how much the server holds back for a player."""
    return rig.connection(peer.account).transport.get_write_buffer_size()


async def test_who_does_not_read_gets_merged_updates_and_others_get_all(rig: Rig) -> None:
    room_id = await rig.room()
    slow, quick = await slow_player(rig, room_id), await rig.player("quick")
    await enter(quick, room_id)
    for tick in range(1, 31):
        rig.host.tick(room_id, tick, changes())
        delta = await quick.message()
        assert isinstance(delta, Delta)
        assert delta.tick == tick
        assert unsent_bytes(rig, slow) < 64 * KIB + CHUNK_BYTES + 100
    merges = rig.server.edge.counters.merges
    assert 20 < merges < 30
    assert rig.host.caught_up == []

    slow.resume()
    delivered = 30 - merges
    for tick in range(1, delivered + 1):
        delta = await slow.message()
        assert isinstance(delta, Delta)
        assert delta.tick == tick
    for base, tick in ((delivered, 30), (30, 31)):
        delta = await slow.message()
        assert isinstance(delta, Delta)
        assert (delta.tick - delta.step, delta.tick) == (base, tick)
        rig.host.tick(room_id, tick + 1)
    assert rig.host.caught_up == [(room_id, delivered)]
    assert rig.server.edge.counters.closes == {}


@pytest.mark.skipif(NOTSENT_LOWAT is None, reason="the system does not offer it")
async def test_the_system_holds_no_more_for_who_does_not_read_than_the_outbox_would(
    rig: Rig,
) -> None:
    room_id = await rig.room()
    slow = await rig.player("slow", receive_bytes=4 * KIB)
    await enter(slow, room_id)
    slow.pause()
    for tick in range(1, 31):
        rig.host.tick(room_id, tick, changes())
        await asyncio.sleep(0)
    # 64 KiB in the system and as much in the outbox; and what is on its way.
    assert rig.server.edge.counters.merges > 10


async def test_nothing_is_sent_between_falling_behind_and_the_hosts_answer(rig: Rig) -> None:
    room_id = await rig.room()
    rig.host.is_slow = True
    slow = await slow_player(rig, room_id)
    for tick in range(1, 11):
        rig.host.tick(room_id, tick, changes())
    slow.resume()
    delivered = 10 - rig.server.edge.counters.merges
    for _ in range(delivered):
        assert isinstance(await slow.message(), Delta)
    await rig.until(lambda: rig.host.caught_up)
    rig.host.tick(room_id, 11)
    rig.host.tick(room_id, 12)
    rig.host.show_again(room_id, rig.connection(slow.account), delivered)
    rig.host.tick(room_id, 13)
    for base, tick in ((delivered, 12), (12, 13)):
        delta = await slow.message()
        assert isinstance(delta, Delta)
        assert (delta.tick - delta.step, delta.tick) == (base, tick)
    assert rig.host.caught_up == [(room_id, delivered)]


async def test_a_mistake_of_ours_while_catching_up_ends_that_connection_alone(rig: Rig) -> None:
    room_id = await rig.room()
    rig.host.catch_up_error = RuntimeError("a bug")
    slow, quick = await slow_player(rig, room_id), await rig.player("quick")
    for tick in range(1, 11):
        rig.host.tick(room_id, tick, changes())
    slow.resume()
    assert await slow.close_code() == 4003
    quick.send(Ping(1))
    assert isinstance(await quick.message(), ServerPong)


async def test_a_room_that_was_left_is_not_caught_up_with(rig: Rig) -> None:
    room_id = await rig.room()
    slow = await slow_player(rig, room_id)
    for tick in range(1, 11):
        rig.host.tick(room_id, tick, changes())
    assert rig.server.edge.counters.merges > 0
    rig.connection(slow.account).left(room_id)
    slow.resume()
    for _ in range(10 - rig.server.edge.counters.merges):
        assert isinstance(await slow.message(), Delta)
    await rig.until(lambda: unsent_bytes(rig, slow) == 0)
    rig.pass_time(10)
    assert rig.host.caught_up == []


async def test_who_reads_nothing_for_five_seconds_is_cut_off(rig: Rig) -> None:
    room_id = await rig.room()
    slow, quick = await slow_player(rig, room_id), await rig.player("quick")
    for tick in range(1, 11):
        rig.host.tick(room_id, tick, changes())
    for _ in range(4):
        rig.pass_time(1)
    assert rig.server.edge.counters.closes == {}
    rig.pass_time(1.2)
    assert rig.server.edge.counters.closes == {"4008": 1}
    assert rig.host.lost_accounts == [slow.account]
    rig.pass_time(2.1)
    await rig.until(lambda: len(rig.server.listener.connections) == 1)
    quick.send(Ping(1))
    assert isinstance(await quick.message(), ServerPong)


async def test_who_reads_little_but_something_stays(rig: Rig) -> None:
    room_id = await rig.room()
    slow = await slow_player(rig, room_id)
    for tick in range(1, 11):
        rig.host.tick(room_id, tick, changes())
    for _ in range(4):
        before = unsent_bytes(rig, slow)
        await slow.read_some(20 * KIB)
        await rig.until(lambda before=before: unsent_bytes(rig, slow) < before)
        rig.pass_time(3)
    assert rig.server.edge.counters.closes == {}


async def test_messages_that_cannot_be_merged_cut_off_above_the_hard_limit() -> None:
    async with Rig(outbox_hard_bytes=128 * KIB) as rig:
        room_id = await rig.room()
        slow = await slow_player(rig, room_id)
        connection = rig.connection(slow.account)
        for _ in range(12):
            connection.send(codec.full(room_id, 1, changes(), b"\x90"))
        assert rig.server.edge.counters.closes == {"4008": 1}
        held = connection.transport.get_write_buffer_size()
        assert held < 128 * KIB + CHUNK_BYTES + 200

        slow.resume()
        for _ in range(8):
            assert isinstance(await slow.message(), Full)
        last: list[object] = []
        while True:
            opcode, payload = await slow.read_frame()
            if opcode == CLOSE:
                break
            assert opcode == BINARY
            last.append(codec.decode_outbound(payload))
        assert last[-1] == Goodbye(4008, "SLOW_CONSUMER", 1000)
        assert int.from_bytes(payload[:2], "big") == 4008


async def test_one_message_larger_than_the_hard_limit_passes_on_an_empty_outbox() -> None:
    async with Rig(outbox_soft_bytes=8 * KIB, outbox_hard_bytes=16 * KIB) as rig:
        ann = await rig.player()
        connection = rig.connection(ann.account)
        connection.send(codec.full(1, 1, codec.packed([1, 2, os.urandom(100 * KIB)]), b"\x90"))
        assert isinstance(await ann.message(), Full)
        rig.wallet.on_balances([(ann.account, 5)])
        assert await ann.message() == Balance(5)

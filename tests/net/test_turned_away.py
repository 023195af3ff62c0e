"""Who is let in, and who is told when to come again, while there is too much to do."""

from protocol.messages import (
    Full,
    Goodbye,
    Hello,
    Join,
    JoinBy,
    Joined,
    Ping,
    Reply,
    Request,
    Resume,
    ServerPong,
)
from tests.net.rig import TURNED_AWAY_MS, Peer, Rig, packed
from tests.net.test_session_over_sockets import packed_error


async def seated(rig: Rig, room_id: int) -> Peer:
    """Let a player take a seat."""
    peer = await rig.player()
    peer.send(Join(1, JoinBy.ID, room_id, False))
    await check_shown(peer)
    return peer


async def check_shown(peer: Peer) -> None:
    """Expect a room to be shown."""
    assert isinstance(await peer.message(), Joined)
    assert isinstance(await peer.message(), Full)


async def check_refused(peer: Peer) -> None:
    """Expect to be told to ask again."""
    reply = await peer.message()
    assert isinstance(reply, Reply), reply
    error = packed_error(reply)
    assert (reply.code, error.name, error.retry_ms) == (15, "BUSY", TURNED_AWAY_MS)


async def test_a_stranger_is_told_when_to_come_again(rig: Rig) -> None:
    rig.host.is_overloaded = True
    peer = await rig.peer()
    peer.send(Hello([1], "", "ann", "test"))
    assert await peer.message() == Goodbye(4002, "OVERLOADED", TURNED_AWAY_MS)
    assert await peer.close_code() == 4002
    rig.host.is_overloaded = False
    await rig.player()


async def test_who_is_known_is_welcomed_and_has_no_room_yet(rig: Rig) -> None:
    room_id = await rig.room()
    ann = await rig.player()
    rig.host.is_overloaded = True
    again = await rig.player("ann", ann.token)
    asked = (
        *(Join(1, JoinBy.ID, room_id, False), Join(2, JoinBy.ID, room_id, True)),
        Join(3, JoinBy.ANY, "tiny", False),
        Request(4, "create", packed(["tiny", b"key", True, {}])),
    )
    for one in asked:
        again.send(one)
        await check_refused(again)
    again.send(Ping(1))
    assert isinstance(await again.message(), ServerPong)
    rig.host.is_overloaded = False
    again.send(Join(5, JoinBy.ID, room_id, False))
    await check_shown(again)


async def test_who_plays_is_served_and_comes_back(rig: Rig) -> None:
    room_id = await rig.room()
    ann = await seated(rig, room_id)
    rig.host.is_overloaded = True
    row = await rig.lobby.by_id(room_id)
    assert row is not None
    again = await rig.player("ann", ann.token)
    for one in (
        *(Resume(1, room_id, 0, False), Join(2, JoinBy.ID, room_id, False)),
        *(Join(3, JoinBy.CODE, row.code, False), Join(4, JoinBy.ANY, "tiny", False)),
    ):
        again.send(one)
        await check_shown(again)


async def test_who_watched_comes_back_too(rig: Rig) -> None:
    room_id = await rig.room()
    eve = await rig.player()
    rig.host.is_overloaded = True
    eve.send(Resume(1, room_id, 0, True))
    await check_shown(eve)

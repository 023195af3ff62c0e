"""Clients that do what they should not: each gets its answer, and nobody else notices."""

import contextlib

import pytest

from protocol.messages import Bye, Goodbye, Hello, Ping, ServerPong
from tests.net.rig import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Peer,
    Rig,
    client_frame,
    packed,
    upgrade_request,
)


async def check_bystander(peer: Peer) -> None:
    """Expect that somebody else is served as always."""
    peer.send(Ping(1))
    assert isinstance(await peer.message(), ServerPong)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (client_frame(TEXT, b"hello"), 1003),
        (client_frame(BINARY, b"x" * 4097), 1009),
        (client_frame(BINARY, b"x" * 4000, is_last=False) + client_frame(0, b"x" * 97), 1009),
        (client_frame(BINARY, b""), 4400),
        (client_frame(BINARY, b"\xc1"), 4400),
        (client_frame(BINARY, b"\x91\x63"), 4400),
        (client_frame(BINARY, b"\x91" * 4000), 4400),
        (client_frame(BINARY, bytes(packed([2, "one"]))), 4400),
        (client_frame(BINARY, bytes(packed([2, 2**60]))), 4400),
        (client_frame(BINARY, bytes(packed([2, 1, 1]))), 4400),
        (client_frame(BINARY, bytes(packed([1, [1], "", "ann", ""]))), 4400),
        (client_frame(0, b"no beginning"), 1002),
        (b"\x82\x05plain", 1002),
        (b"\xc2\x80\0\0\0\0", 1002),
        (client_frame(3, b""), 1002),
        (client_frame(PING, b"x" * 126), 1002),
        (client_frame(CLOSE, b"\x03"), 1002),
        (client_frame(CLOSE, (999).to_bytes(2, "big")), 1002),
    ],
)
async def test_what_breaks_the_protocol_is_closed_with_its_code(
    rig: Rig, frames: bytes, code: int
) -> None:
    bystander, culprit = await rig.player("bob"), await rig.player("eve")
    culprit.write(frames)
    assert await culprit.close_code() == code
    assert await culprit.read_all() == b""
    assert rig.server.edge.counters.closes == {str(code): 1}
    assert rig.host.lost_accounts == [culprit.account]
    await check_bystander(bystander)


async def test_a_message_before_hello_is_refused(rig: Rig) -> None:
    peer = await rig.peer()
    peer.send(Ping(1))
    assert await peer.close_code() == 4400


async def test_a_version_that_is_not_spoken_is_refused(rig: Rig) -> None:
    peer = await rig.peer()
    peer.send(Hello([2, 3], "", "ann", "test"))
    assert await peer.message() == Goodbye(4405, "VERSION_UNSUPPORTED", -1)
    assert await peer.close_code() == 4405


@pytest.mark.parametrize("name", ["", "a" * 25, "a\u202eb", "a\x00b", "\u3164", "a  b"])
async def test_a_name_that_is_not_allowed_is_refused(rig: Rig, name: str) -> None:
    peer = await rig.peer()
    peer.send(Hello([1], "", name, "test"))
    assert await peer.close_code() == 4403


async def test_tokens_that_are_no_good_are_refused(rig: Rig) -> None:
    good = (await rig.player()).token
    head, claims, signature = good.split(".")
    forged = f"{head}.{claims}.{signature[:-4]}AAAA"
    for token in ("x", forged, f"{head}.{claims}."):
        peer = await rig.peer()
        peer.send(Hello([1], token, "ann", "test"))
        assert await peer.close_code() == 4401
    rig.clock.ns += 31 * 24 * 3600 * 1_000_000_000
    late = await rig.peer()
    late.send(Hello([1], good, "ann", "test"))
    assert await late.close_code() == 4402


async def test_who_never_says_hello_is_closed_in_time(rig: Rig) -> None:
    silent = await rig.peer()
    rig.pass_time(2.9)
    assert len(rig.server.listener.connections) == 1
    rig.pass_time(0.2)
    assert await silent.message() == Goodbye(4404, "HELLO_TIMEOUT", -1)
    assert await silent.close_code() == 4404
    await rig.until(lambda: not rig.server.listener.connections)
    assert rig.server.edge.admission.connections == 0


async def test_who_does_not_answer_the_close_is_cut_off(rig: Rig) -> None:
    rude = await rig.player()
    rude.send(Bye())
    assert isinstance(await rude.message(), Goodbye)
    await rude.read_frame()
    assert len(rig.server.listener.connections) == 1
    rig.pass_time(2.1)
    await rig.until(lambda: not rig.server.listener.connections)


async def test_who_stops_in_the_middle_of_a_frame_is_closed_as_idle(rig: Rig) -> None:
    halted = await rig.player()
    halted.write(client_frame(BINARY, b"x" * 100)[:50])
    await rig.until(lambda: rig.server.edge.counters.bytes_in > 50)
    rig.pass_time(29)
    assert rig.server.edge.counters.closes == {}
    rig.pass_time(1.1)
    assert await halted.close_code() == 4001


async def test_any_frame_of_websockets_own_keeps_a_connection_alive(rig: Rig) -> None:
    quiet = await rig.player()
    for _ in range(4):
        rig.pass_time(20)
        heard = rig.server.edge.counters.bytes_in
        quiet.frame(10, b"")
        await rig.until(lambda heard=heard: rig.server.edge.counters.bytes_in > heard)
    assert rig.server.edge.counters.closes == {}


async def test_a_flood_of_any_frames_is_closed() -> None:
    async with Rig(command_rate=10, command_burst=4) as rig:
        for flood in (client_frame(PING, b""), client_frame(BINARY, bytes(packed([2, 1])))):
            peer = await rig.player()
            peer.write(flood * 40)
            assert await peer.close_code() == 4429
        bystander = await rig.player()
        await check_bystander(bystander)


async def test_a_flood_before_the_welcome_is_closed() -> None:
    async with Rig(command_rate=100, command_burst=100) as rig:
        peer = await rig.peer()
        hello = bytes(packed([1, [1], "", "ann", ""]))
        ping = bytes(packed([2, 1]))
        peer.write(client_frame(BINARY, hello) + client_frame(BINARY, ping) * 65)
        assert await peer.close_code() == 4429
        assert rig.host.lost_accounts == []


async def test_who_vanishes_is_forgotten(rig: Rig) -> None:
    gone = await rig.player()
    await gone.end()
    await rig.until(lambda: rig.host.lost_accounts == [gone.account])
    await rig.until(lambda: not rig.server.listener.connections)
    assert rig.server.edge.counters.closes == {"lost": 1}
    assert rig.server.edge.admission.connections == 0
    assert len(rig.server.edge.wheel) == 0


async def test_deadlines_go_on_after_a_mistake_of_ours_in_one_of_them(rig: Rig) -> None:
    rig.host.lost_error = RuntimeError("a bug")
    await rig.player("ann")
    await rig.player("bob")
    rig.pass_time(30)
    rig.pass_time(2)
    await rig.until(lambda: not rig.server.listener.connections)
    assert rig.server.edge.counters.closes == {"4001": 2}


async def test_a_head_that_never_ends_is_answered_with_408(rig: Rig) -> None:
    slow = await rig.raw()
    slow.write(upgrade_request()[:-5])
    await rig.until(lambda: rig.server.edge.admission.connections == 1)
    rig.pass_time(5.1)
    assert (await slow.read_all()).startswith(b"HTTP/1.1 408 ")
    rig.pass_time(1.1)
    await rig.until(lambda: rig.server.edge.admission.connections == 0)


async def test_a_head_that_is_too_large_is_answered_with_431(rig: Rig) -> None:
    large = await rig.raw()
    large.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)
    assert (await large.read_all()).startswith(b"HTTP/1.1 431 ")


async def test_tls_on_the_plain_port_is_cut_off(rig: Rig) -> None:
    lost = await rig.raw()
    lost.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
    await rig.until(lambda: rig.server.edge.admission.connections == 0)
    # A reset shows as an end or as an error, as the loop likes.
    with contextlib.suppress(ConnectionResetError):
        assert await lost.read_all() == b""

"""Who comes in, and how: limits on connections, origins, subprotocols, HTTP on the same port."""

import asyncio
import resource
from typing import Any

import pytest
from structlog.testing import capture_logs

from gameserver.net.http_log import http_log
from protocol.closes import CloseCode
from protocol.messages import Ping, ServerPong
from tests.net.rig import Peer, Rig, client_frame, free_port, upgrade_request


async def status_of(rig: Rig, request: bytes) -> bytes:
    """Send one request on its own connection; return the status of the answer."""
    peer = await rig.raw()
    peer.write(request)
    head = await peer.read_head()
    return head.split(b" ")[1]


async def http(peer: Peer, request: bytes) -> tuple[bytes, bytes]:
    """Send a request and return the head and the body of the answer."""
    peer.write(request)
    head = await peer.read_head()
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    async with asyncio.timeout(5):
        return head, await peer.reader.readexactly(length)


async def test_the_root_says_what_this_is_and_how_to_connect(rig: Rig) -> None:
    head, body = await http(await rig.raw(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"gs.v1" in body
    assert b"/ws" in body


async def test_several_requests_on_one_connection_are_answered(rig: Rig) -> None:
    peer = await rig.raw()
    for path, status in ((b"/livez", b"200"), (b"/nowhere", b"404"), (b"/ws", b"426")):
        head, _ = await http(peer, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head.split(b" ")[1] == status


@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\nhello", b"Content-Length: 50000\r\n\r\n" + b"x" * 50_000]
)
async def test_a_body_does_not_keep_the_answer_back(rig: Rig, body: bytes) -> None:
    peer = await rig.raw()
    head, _ = await http(peer, b"POST /livez HTTP/1.1\r\nHost: x\r\n" + body)
    assert head.startswith(b"HTTP/1.1 405 ")
    head, _ = await http(peer, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_never_comes_is_not_waited_for(rig: Rig) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nhalf"
    assert await status_of(rig, request) == b"405"


async def test_http_that_lasts_too_long_is_ended(rig: Rig) -> None:
    peer = await rig.raw()
    await http(peer, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    peer.write(b"GET /livez HTTP/1.1\r\nHost:")
    rig.pass_time(61)
    await rig.until(lambda: rig.server.edge.admission.connections == 0)


async def test_what_is_no_http_is_refused(rig: Rig) -> None:
    assert await status_of(rig, b"hello there\r\n\r\n") == b"400"


NONSENSE = [
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET /\x00secret HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /\xff HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
]


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("port", ["port", "admin_port"])
async def test_nonsense_over_http_is_answered_and_not_logged(
    caplog: pytest.LogCaptureFixture, nonsense: bytes, port: str
) -> None:
    async with Rig(admin_port=free_port()) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", getattr(rig.server, port))
        try:
            writer.write(nonsense)
            async with asyncio.timeout(5):
                assert (await reader.read(7)) == b"HTTP/1."
                writer.write_eof()
                await reader.read()
        finally:
            writer.close()
    assert caplog.records == []


async def test_a_mistake_of_our_own_over_http_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise RuntimeError("planted")
    except RuntimeError:
        http_log.exception("Unhandled exception")
    assert "planted" in caplog.text


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (upgrade_request(subprotocol=None), b"400"),
        (upgrade_request(subprotocol="gs.v2"), b"400"),
        (upgrade_request().replace(b"Version: 13", b"Version: 8"), b"400"),
        (upgrade_request().replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), b"400"),
        (upgrade_request("Content-Length: 5"), b"400"),
        (upgrade_request().replace(b"GET", b"POST"), b"405"),
        (upgrade_request().replace(b"keep-alive, Upgrade", b"close"), b"426"),
        (upgrade_request(path="/elsewhere"), b"404"),
    ],
)
async def test_an_upgrade_that_is_not_ours_is_refused(
    rig: Rig, request_bytes: bytes, status: bytes
) -> None:
    assert await status_of(rig, request_bytes) == status
    rig.pass_time(70)
    await rig.until(lambda: rig.server.edge.admission.connections == 0)


@pytest.mark.parametrize("more", [client_frame(9, b"ping"), upgrade_request(), b"\x00" * 20])
@pytest.mark.parametrize("is_apart", [False, True])
async def test_what_follows_a_refused_request_is_heard_and_not_answered(
    rig: Rig, more: bytes, is_apart: bool, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await rig.raw()
    request = upgrade_request(subprotocol=None)
    peer.write(request if is_apart else request + more)
    assert (await peer.read_head()).startswith(b"HTTP/1.1 400 ")
    if is_apart:
        peer.write(more)
    rig.pass_time(70)
    await rig.until(lambda: rig.server.edge.admission.connections == 0)
    assert caplog.records == []


async def test_a_query_behind_the_path_does_no_harm(rig: Rig) -> None:
    assert await status_of(rig, upgrade_request(path="/ws?v=1")) == b"101"


async def test_compression_is_never_agreed_on(rig: Rig) -> None:
    peer = await rig.raw()
    peer.write(upgrade_request("Sec-WebSocket-Extensions: permessage-deflate"))
    head = await peer.read_head()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"extensions" not in head.lower()


async def test_an_upgrade_may_follow_requests_on_the_same_connection(rig: Rig) -> None:
    peer = await rig.raw()
    await http(peer, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    peer.write(upgrade_request())
    assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")
    await peer.hello("ann")
    peer.send(Ping(3))
    assert isinstance(await peer.message(), ServerPong)
    await peer.end()
    await rig.until(lambda: rig.server.edge.admission.connections == 0)
    assert rig.host.lost_accounts == [peer.account]


async def test_only_listed_origins_may_come_and_clients_without_one() -> None:
    async with Rig(origin=("https://play.example",)) as rig:
        for fields, status in (
            (("Origin: https://play.example",), b"101"),
            ((), b"101"),
            (("Origin: https://evil.example",), b"403"),
            (("Origin: null",), b"403"),
        ):
            assert await status_of(rig, upgrade_request(*fields)) == status
        assert rig.server.edge.counters.handshakes_refused == {"403": 2}


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"connections_max": 2}, "too_many_connections"),
        ({"connections_per_address_max": 2}, "too_many_from_address"),
        ({"connections_unauthenticated_max": 2}, "too_many_unauthenticated"),
        ({"handshakes_per_second": 1}, "too_many_handshakes"),
    ],
)
async def test_one_connection_too_many_is_turned_away_with_503(
    settings: dict[str, Any], cause: str
) -> None:
    async with Rig(**settings) as rig:
        first, _ = [await rig.peer() for _ in range(2)]
        turned_away = await rig.raw()
        answer = await turned_away.read_all()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in answer
        assert rig.server.edge.counters.handshakes_refused == {cause: 1}
        await turned_away.end()

        await first.end()
        await rig.until(lambda: rig.server.edge.admission.connections == 1)
        rig.pass_time(1)
        await rig.peer()


async def test_who_has_been_welcomed_no_longer_counts_as_unknown() -> None:
    async with Rig(connections_unauthenticated_max=1) as rig:
        for name in "abc":
            await rig.player(name)
        admission = rig.server.edge.admission
        assert (admission.connections, admission.unauthenticated) == (3, 0)


async def test_drain_says_goodbye_to_all_over_time_and_lets_nobody_in(rig: Rig) -> None:
    peers = [await rig.player(f"p{number}") for number in range(6)]
    unknown = await rig.peer()

    async def leave(peer: Peer) -> int:
        return await peer.close_code()

    async with asyncio.TaskGroup() as tasks:
        leaving = [tasks.create_task(leave(peer)) for peer in (*peers, unknown)]
        await rig.server.drain(0.05)
    assert [task.result() for task in leaving] == [4000] * 7
    assert rig.server.connections == 0
    assert await status_of(rig, upgrade_request()) == b"503"
    assert rig.server.edge.counters.handshakes_refused == {"draining": 1}


async def test_who_is_sent_away_is_to_go_elsewhere_and_others_may_still_come(rig: Rig) -> None:
    ann = await rig.player("ann")
    rig.server.send_away()
    assert await ann.close_code() == CloseCode.MOVED
    assert rig.server.edge.counters.closes == {"4600": 1}
    await rig.player("bob")


async def test_drain_does_not_wait_for_who_does_not_answer(rig: Rig) -> None:
    await rig.player()
    async with asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(rig.server.drain(0.0))
        await rig.until(lambda: rig.server.edge.counters.closes == {"4000": 1})
        rig.pass_time(2.1)
    assert draining.done()
    assert rig.server.connections == 0


async def test_stop_ends_every_connection(rig: Rig) -> None:
    ann = await rig.player()
    await rig.server.stop()
    await rig.until(lambda: rig.host.lost_accounts == [ann.account])
    assert rig.server.edge.admission.connections == 0


async def test_the_limit_on_open_files_is_raised_to_what_the_connections_need() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        async with Rig(connections_max=500):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(756, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_tls_on_a_plain_port_is_counted_and_told_once(rig: Rig) -> None:
    with capture_logs() as events:
        for _ in range(3):
            peer = await rig.raw()
            peer.write(b"\x16\x03\x01\x00\x05hello")
            await peer.read_all()
    assert rig.server.edge.counters.handshakes_refused["tls"] == 3
    assert [event["event"] for event in events] == ["tls_refused"]

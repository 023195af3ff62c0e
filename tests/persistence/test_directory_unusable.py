"""What is there but cannot serve as a directory: the start says so, in words that help."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from persistence.directory import DirectoryUnavailable, DirectoryUnusable
from persistence.redis.connection import CALL_TIMEOUT_S
from persistence.redis.directory import RedisDirectory
from tests.persistence.directories import CLUSTER, LEASE_MS, record
from tests.persistence.directory_fixture import MakeServer

Answer = Callable[[bytes], bytes]

SLACK_S = 1.0

HELLO = b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n"


async def started(url: str) -> None:
    """Start a directory there, and stop it whatever comes of it."""
    directory = RedisDirectory(url, "gs")
    try:
        await directory.start(CLUSTER)
    finally:
        await directory.stop()


@asynccontextmanager
async def answering(answer: Answer, greeting: bytes = b"") -> AsyncIterator[str]:
    """Give the address of a server that answers whatever it reads, and hangs up on nothing."""

    talks: set[asyncio.Task[None]] = set()

    async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        talks.add(talk)
        with suppress(ConnectionError):
            writer.write(greeting)
            while data := await reader.read(4_096):
                writer.write(answer(data))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talking, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.close()
        async with asyncio.timeout(5):
            for talk in talks:
                await talk


def saying(info: bytes) -> Answer:
    """Answer like a Redis that says this of itself."""

    def answer(data: bytes) -> bytes:
        answers = b""
        for word, said in (
            (b"HELLO", HELLO),
            (b"SETINFO", b"-ERR unknown subcommand\r\n"),
            (b"\r\nINFO\r\n", b"$%d\r\n%s\r\n" % (len(info), info)),
        ):
            answers += said * data.count(word)
        return answers

    return answer


RUBBISH = {
    "http": lambda data: b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "noise": lambda data: bytes(range(128, 256)) * 4 + b"\r\n",
    "zeros": lambda data: bytes(100) + b"\r\n",
    "ok": lambda data: b"+OK\r\n" * data.count(b"*"),
    "numbers": lambda data: b":1\r\n" * data.count(b"*"),
    "nulls": lambda data: b"_\r\n" * data.count(b"*"),
    "lists": lambda data: b"*1\r\n" * 100_000,
    "no number": lambda data: b"$many\r\nx\r\n",
    "echo": lambda data: data,
}


@pytest.mark.parametrize("kind", RUBBISH)
async def test_what_talks_another_language_is_no_redis(kind: str) -> None:
    async with answering(RUBBISH[kind]) as url:
        with pytest.raises(DirectoryUnusable):
            await started(url)


async def test_what_greets_first_is_no_redis() -> None:
    async with answering(lambda data: b"", greeting=b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        with pytest.raises(DirectoryUnusable, match="no Redis"):
            await started(url)


@pytest.mark.parametrize("said", [b"", b"$1000000000000\r\n", b"*1000000\r\n"])
async def test_what_never_comes_to_an_end_is_given_up_in_time(said: bytes) -> None:
    async with answering(lambda data: said) as url:
        began_s = time.monotonic()
        with pytest.raises(DirectoryUnavailable):
            await started(url)
        assert time.monotonic() - began_s < CALL_TIMEOUT_S + SLACK_S


async def test_what_breaks_off_within_a_line_may_be_there_later() -> None:
    async with answering(lambda data: bytes(range(256))) as url:
        with pytest.raises(DirectoryUnavailable):
            await started(url)


async def test_what_hangs_up_may_be_there_later() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(DirectoryUnavailable):
        await started(f"redis://127.0.0.1:{port}")
    server.close()


@pytest.mark.parametrize("version", [b"6.0.16", b"2.8.0"])
async def test_a_redis_that_is_too_old_is_named(version: bytes) -> None:
    async with answering(saying(b"# Server\r\nredis_version:%s\r\n" % version)) as url:
        with pytest.raises(DirectoryUnusable, match=f"older than Redis 6.2.*{version.decode()}"):
            await started(url)


async def test_a_redis_from_before_the_third_protocol_is_too_old() -> None:
    said = b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"
    async with answering(lambda data: said * data.count(b"HELLO")) as url:
        with pytest.raises(DirectoryUnusable, match=r"older than Redis 6\.2"):
            await started(url)


@pytest.mark.parametrize("info", [b"", b"redis_version:\r\n", b"redis_version:new\r\n", b"\xff"])
async def test_a_server_without_a_version_is_no_redis(info: bytes) -> None:
    async with answering(saying(info)) as url:
        with pytest.raises(DirectoryUnusable):
            await started(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://localhost:x",
        "redis://localhost?colour=green",
    ],
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(DirectoryUnusable, match="address"):
        RedisDirectory(url, "gs")


async def test_a_password_is_asked_for_and_checked(make_server: MakeServer) -> None:
    server = make_server("--requirepass", "s3cret")
    for wrong in ("", ":other@", "nobody:s3cret@"):
        with pytest.raises(DirectoryUnusable, match="password"):
            await started(f"redis://{wrong}127.0.0.1:{server.port}")
    await started(f"redis://:s3cret@127.0.0.1:{server.port}")


async def test_a_user_without_rights_is_told_so(make_server: MakeServer) -> None:
    server = make_server()
    assert server.tell("ACL SETUSER guest on >pw ~other:* +@all") == "+OK"
    with pytest.raises(DirectoryUnusable, match="may not"):
        await started(f"redis://guest:pw@127.0.0.1:{server.port}")
    assert server.tell("ACL SETUSER guest on >pw ~* -@all +hello +info") == "+OK"
    with pytest.raises(DirectoryUnusable, match="may not"):
        await started(f"redis://guest:pw@127.0.0.1:{server.port}")


async def test_a_user_with_rights_to_the_prefix_alone_will_do(make_server: MakeServer) -> None:
    server = make_server()
    assert server.tell("ACL SETUSER gs on >pw ~{gs}:* -@all +@all -@dangerous +info") == "+OK"
    directory = RedisDirectory(f"redis://gs:pw@127.0.0.1:{server.port}", "gs")
    await directory.start(CLUSTER)
    assert (await directory.beat(record(), [0], LEASE_MS)).leases == {0: "a"}
    await directory.stop()


async def test_a_replica_is_told_from_a_server_that_takes_writes(make_server: MakeServer) -> None:
    primary = make_server()
    replica = make_server("--replicaof", "127.0.0.1", str(primary.port))
    with pytest.raises(DirectoryUnusable, match="replica"):
        await started(replica.url)


async def test_a_server_that_lets_nobody_more_in_may_do_so_later(make_server: MakeServer) -> None:
    server = make_server("--maxclients", "1")
    async with asyncio.timeout(5):
        while True:  # Until it has noticed that who asked whether it runs has gone.
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"PING\r\n")
            if await reader.readline() == b"+PONG\r\n":
                break
            writer.close()
    with pytest.raises(DirectoryUnavailable):
        await started(server.url)
    writer.close()
    await writer.wait_closed()
    await started(server.url)

"""The relay: what it passes on, holds and loses, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from scripts.faulting.relay import CommitRelay, Cut, Relay, kinds_of

PATIENCE_S = 20.0
MOMENT_S = 0.05

PARSE = b"P\x00\x00\x00\x20s\x00SELECT * FROM commit_batch($1)"
BIND = b"B\x00\x00\x00\x04E\x00\x00\x00\x04S\x00\x00\x00\x04"
READY = b"Z\x00\x00\x00\x05I"
DONE = b"2\x00\x00\x00\x04D\x00\x00\x00\x06ab" + b"s\x00\x00\x00\x04" + READY
REFUSED = b"E\x00\x00\x00\x06no" + READY

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Peer:
    """A server that keeps what it is sent and answers every message with ``answer``."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.answer = b""
        self.address = ("127.0.0.1", 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.received += data
                writer.write(self.answer or data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def peer_behind(relay: Relay) -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    await relay.start()
    relay.target = server.sockets[0].getsockname()
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield peer
    finally:
        await relay.stop()
        server.close()


async def dialled(relay: Relay) -> Streams:
    return await asyncio.open_connection("127.0.0.1", relay.port)


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """Return what still comes until the connection ends, however it does."""
    got = bytearray()
    try:
        while data := await reader.read(65536):
            got += data
    except ConnectionError:
        pass
    return bytes(got)


async def test_it_passes_on_what_it_is_sent_both_ways() -> None:
    sent = bytes(range(256)) * 8_192
    async with asyncio.TaskGroup() as tasks, peer_behind(relay := Relay(tasks)) as peer:
        reader, writer = await dialled(relay)
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        assert bytes(peer.received) == sent
        writer.close()


async def test_a_reset_reaches_the_client_as_one() -> None:
    async with asyncio.TaskGroup() as tasks, peer_behind(relay := Relay(tasks)):
        reader, writer = await dialled(relay)
        writer.write(b"x")
        await reader.readexactly(1)
        assert relay.reset() == 1
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        assert relay.links == set()
        writer.close()


async def test_without_a_target_it_hangs_up() -> None:
    async with asyncio.TaskGroup() as tasks, peer_behind(relay := Relay(tasks)) as peer:
        relay.target = None
        reader, writer = await dialled(relay)
        assert await end_of(reader) == b""
        assert peer.received == b""
        writer.close()


async def test_what_is_held_comes_late_and_whole() -> None:
    async with asyncio.TaskGroup() as tasks, peer_behind(relay := Relay(tasks)) as peer:
        reader, writer = await dialled(relay)
        writer.write(b"a")
        await reader.readexactly(1)
        relay.hold()
        writer.write(b"b")
        new_reader, new_writer = await dialled(relay)
        new_writer.write(b"c")
        await asyncio.sleep(MOMENT_S)
        assert peer.received == b"a"
        relay.let_go()
        assert (await reader.readexactly(1), await new_reader.readexactly(1)) == (b"b", b"c")
        writer.close()
        new_writer.close()


@asynccontextmanager
async def committing() -> AsyncIterator[tuple[CommitRelay, Peer, Streams]]:
    """Give a connection that has prepared the commit's statement."""
    async with asyncio.TaskGroup() as tasks, peer_behind(relay := CommitRelay(tasks)) as peer:
        assert isinstance(relay, CommitRelay)
        peer.answer = DONE
        reader, writer = await dialled(relay)
        writer.write(PARSE)
        await reader.readexactly(len(DONE))
        peer.received.clear()
        yield relay, peer, (reader, writer)
        writer.close()


async def test_an_answer_is_lost_with_the_connection_after_the_commit_took_place() -> None:
    async with committing() as (relay, peer, (reader, writer)):
        relay.arm(Cut.ANSWER_RESET)
        writer.write(BIND)
        assert await end_of(reader) == b""
        assert peer.received == BIND
        assert relay.done[Cut.ANSWER_RESET] == 1
        assert relay.was_cut.is_set()


async def test_a_silent_connection_stays_open_and_says_nothing_more() -> None:
    async with committing() as (relay, peer, (reader, writer)):
        relay.arm(Cut.ANSWER_SILENT)
        writer.write(BIND)
        await relay.was_cut.wait()
        writer.write(BIND)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(MOMENT_S):
                await reader.read(1)
        assert peer.received == BIND * 2
        assert relay.done[Cut.ANSWER_SILENT] == 1


async def test_a_lost_request_never_arrives() -> None:
    async with committing() as (relay, peer, (reader, writer)):
        relay.arm(Cut.REQUEST_LOST)
        writer.write(BIND)
        assert await end_of(reader) == b""
        assert peer.received == b""
        assert relay.done[Cut.REQUEST_LOST] == 1


async def test_a_refused_commit_is_no_commit_and_the_next_one_is_cut() -> None:
    async with committing() as (relay, peer, (reader, writer)):
        relay.arm(Cut.ANSWER_RESET)
        peer.answer = REFUSED
        writer.write(BIND)
        assert await reader.readexactly(len(REFUSED)) == REFUSED
        assert not relay.was_cut.is_set()
        peer.answer = DONE
        writer.write(BIND)
        assert await end_of(reader) == b""
        assert relay.done[Cut.ANSWER_RESET] == 1


async def test_connections_that_carry_no_commits_are_left_alone() -> None:
    async with asyncio.TaskGroup() as tasks, peer_behind(relay := CommitRelay(tasks)):
        assert isinstance(relay, CommitRelay)
        relay.arm(Cut.REQUEST_LOST)
        reader, writer = await dialled(relay)
        writer.write(BIND)
        assert await reader.readexactly(len(BIND)) == BIND
        writer.close()


@pytest.mark.parametrize("count", range(len(DONE)))
def test_an_answer_is_whole_only_at_its_end(count: int) -> None:
    assert kinds_of(DONE[:count]) is None
    assert kinds_of(DONE) == b"2DsZ"

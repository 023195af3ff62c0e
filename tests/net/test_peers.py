"""Links between nodes, over real sockets: what is a death, what is none, and who is let in."""

import asyncio
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from structlog.testing import capture_logs

from gameserver.net.listener import PortInUse
from gameserver.net.peer_wire import (
    HANDSHAKE_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    MESSAGES_BURST,
    NONCE_BYTES,
    VERSION,
    Challenge,
    Hello,
    Message,
    Ping,
    Pong,
    Proof,
    Told,
    proof,
)
from gameserver.net.peers import STRANGERS_MAX, PeerLinks, PeerTimes, place_of
from gameserver.runtime.clock import SystemClock
from persistence.ownership import SHARDS_MAX
from tests.net.rig import ManualClock, free_port

SECRET = b"of the cluster"
TIMEOUT_S = 10.0
# Quick enough for tests that have to see several of them pass.
TIMES = PeerTimes(stranger_s=0.3, ping_s=0.05, pause_max_s=0.1, unanswered_max=100)
# For tests in which somebody falls silent; in others nobody answers pings, which must not matter.
IMPATIENT = replace(TIMES, unanswered_max=3)
HOST = "127.0.0.1"


class Node:
    """One node's links, and what they reported."""

    def __init__(
        self,
        name: str,
        instance: str = "1",
        secret: bytes = SECRET,
        times: PeerTimes = TIMES,
        clock: ManualClock | None = None,
    ) -> None:
        self.links = PeerLinks(name, instance, clock or SystemClock(), secret, times)
        self.name = name
        self.instance = instance
        self.dead: list[str] = []
        self.heard: list[tuple[str, list[Any]]] = []
        self.links.on_dead = self.dead.append
        self.links.on_message = lambda name, message: self.heard.append((name, message))
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.end()

    async def start(self, port: int = 0) -> None:
        self.port = await self.links.start(HOST, port)
        self._running = asyncio.get_running_loop().create_task(self.links.run())

    async def end(self) -> None:
        self.links.stop()
        async with asyncio.timeout(TIMEOUT_S):
            await self._running

    def follow(self, *others: "Node | Puppet") -> None:
        self.links.follow({other.name: (at(other.port), other.instance) for other in others})

    async def link(self, *others: "Node | Puppet") -> None:
        self.follow(*others)
        await until(lambda: self.links.linked == {other.name for other in others})


class Puppet:
    """A node whose every byte the test decides. It takes connections and answers nothing."""

    def __init__(self, name: str = "b", instance: str = "1", secret: bytes = SECRET) -> None:
        self.name = name
        self.instance = instance
        self.secret = secret
        self.visits: asyncio.Queue[Wire] = asyncio.Queue()
        self._wires: list[Wire] = []

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close_port()
        for wire in self._wires:
            await wire.end()

    async def listen(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._came, HOST, port)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close_port(self) -> None:
        self._server.close()

    async def visit(self) -> "Wire":
        async with asyncio.timeout(TIMEOUT_S):
            return await self.visits.get()

    async def answered_visit(self) -> "Wire":
        """Take the next connection through its handshake."""
        wire = await self.visit()
        hello = await wire.read(Hello)
        wire.send(self.challenge(hello))
        await wire.read(Proof)
        return wire

    def challenge(self, hello: Hello) -> Challenge:
        answer = (self.name, self.instance, os.urandom(NONCE_BYTES))
        return Challenge(*answer, proof(self.secret, "answer", hello, answer))

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        self._wires.append(wire)
        self.visits.put_nowait(wire)


class Wire:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.sent = bytearray()

    def send(self, message: Message) -> None:
        self.frame(msgspec.msgpack.encode(message))

    def frame(self, payload: bytes) -> None:
        self.raw(struct.pack("!I", len(payload)) + payload)

    def raw(self, data: bytes) -> None:
        self.sent += data
        self.writer.write(data)

    async def read(self, kind: Any) -> Any:
        async with asyncio.timeout(TIMEOUT_S):
            (length,) = struct.unpack("!I", await self.reader.readexactly(4))
            payload = await self.reader.readexactly(length)
        return msgspec.msgpack.decode(payload, type=kind)

    async def told(self) -> list[Any]:
        """Read what is told next, whatever pings come before it."""
        while True:
            message = await self.read(Message)
            if isinstance(message, Told):
                return message.message

    async def is_cut(self) -> bool:
        """Read to the end, which has to come."""
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(ConnectionResetError):
                await self.reader.read()
        return True

    def cut(self) -> None:
        """End with a reset."""
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.writer.transport.abort()

    async def end(self) -> None:
        """Drop the connection, if it is still there, and wait until it is gone."""
        self.writer.transport.abort()
        with suppress(OSError):
            async with asyncio.timeout(TIMEOUT_S):
                await self.writer.wait_closed()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    """Connect as a stranger."""
    wire = Wire(*await asyncio.open_connection(HOST, port))
    try:
        yield wire
    finally:
        await wire.end()


async def let_in(wire: Wire, name: str = "b", instance: str = "1", secret: bytes = SECRET) -> None:
    """Say all that a node says to be let in."""
    hello = Hello(VERSION, name, instance, os.urandom(NONCE_BYTES))
    wire.send(hello)
    challenge = await wire.read(Challenge)
    answer = (challenge.name, challenge.instance, challenge.nonce)
    wire.send(Proof(proof(secret, "connect", hello, answer)))


def at(port: int) -> str:
    return f"{HOST}:{port}"


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not is_so():  # noqa: ASYNC110 - What is waited for happens elsewhere.
            await asyncio.sleep(0.002)


# --- Links and messages.


async def test_two_nodes_link_both_ways_and_tell_each_other_things() -> None:
    async with Node("a") as a, Node("b") as b:
        await a.link(b)
        await b.link(a)
        assert a.links.send("b", ["take", [1, 2, 3]])
        assert b.links.send("a", ["taken", [1, 2, 3]])
        await until(lambda: bool(a.heard and b.heard))
        assert b.heard == [("a", ["take", [1, 2, 3]])]
        assert a.heard == [("b", ["taken", [1, 2, 3]])]
        assert a.dead == b.dead == []
        assert a.links.unreachable == b.links.unreachable == set()


async def test_messages_keep_their_order() -> None:
    async with Node("a") as a, Node("b") as b:
        await a.link(b)
        for number in range(500):
            assert a.links.send("b", [number])
        await until(lambda: len(b.heard) == 500)
        assert [message for _, message in b.heard] == [[number] for number in range(500)]


async def test_nothing_can_be_said_to_a_node_without_a_link() -> None:
    async with Node("a") as a:
        assert not a.links.send("b", ["take", [1]])


async def test_a_node_does_not_follow_itself() -> None:
    async with Node("a") as a, Node("b") as b:
        a.follow(a, b)
        await until(lambda: a.links.linked == {"b"})
        await until(lambda: b.links.addresses == {"127.0.0.1"})
        assert a.links.unreachable == set()


async def test_peers_may_be_named_before_the_links_run() -> None:
    async with Node("b") as b:
        a = Node("a")
        a.follow(b)
        await a.start()
        await until(lambda: a.links.linked == {"b"})
        await a.end()


async def test_a_peer_that_is_no_longer_followed_is_dropped_without_a_verdict() -> None:
    async with Node("a") as a, Puppet() as b:
        a.follow(b)
        wire = await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        a.follow()
        assert await wire.is_cut()
        assert not a.links.send("b", [])
        assert a.dead == []
        assert a.links.unreachable == set()


async def test_what_a_message_breaks_closes_its_link_alone() -> None:
    async with Node("a") as a, Node("b") as b, Node("c") as c:
        b.links.on_message = lambda name, message: message[1]
        await a.link(b)
        await c.link(b)
        before = b.heard
        with capture_logs() as logs:
            a.links.send("b", ["too short"])
            await until(lambda: any(line["event"] == "peer_link_failed" for line in logs))
        b.links.on_message = lambda name, message: before.append((name, message))
        assert c.links.send("b", ["still here"])
        await until(lambda: before == [("c", ["still here"])])
        await until(lambda: a.links.linked == {"b"})
        assert a.dead == []


# --- What is a death.


async def test_a_closed_port_and_a_reset_are_a_death() -> None:
    async with Node("a") as a, Puppet() as b:
        a.follow(b)
        wire = await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        b.close_port()
        wire.cut()
        await until(lambda: a.dead == ["b"])
        assert "b" not in a.links.unreachable
        assert a.links.linked == set()


async def test_a_stopped_node_is_dead_to_all_others_within_the_time_of_one_attempt() -> None:
    async with Node("a") as a, Node("c") as c:
        b = Node("b")
        await b.start()
        await a.link(b)
        await c.link(b)
        await b.end()
        began_s = asyncio.get_running_loop().time()
        await until(lambda: a.dead == c.dead == ["b"])
        assert asyncio.get_running_loop().time() - began_s < 1.0


async def test_a_death_is_reported_once() -> None:
    async with Node("a") as a, Puppet() as b:
        a.follow(b)
        wire = await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        b.close_port()
        wire.cut()
        await until(lambda: a.dead == ["b"])
        await asyncio.sleep(5 * TIMES.pause_max_s)
        a.follow(b)
        assert a.dead == ["b"]
        assert a.links.unreachable == set(), "the dead are not waited for"


async def test_links_that_end_before_the_port_closes_are_a_death_all_the_same() -> None:
    async with Node("a") as a, Puppet() as b:
        a.follow(b)
        wire = await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        wire.cut()
        again = await b.visit()
        b.close_port()
        again.cut()
        await until(lambda: a.dead == ["b"])


async def test_another_instance_at_the_same_address_is_the_death_of_the_first() -> None:
    async with Node("a") as a:
        b = Node("b", "1")
        await b.start()
        await a.link(b)
        port = b.port
        await b.end()
        restarted = Node("b", "2")
        await restarted.start(port)
        await until(lambda: a.dead == ["b"])
        a.follow(restarted)
        await until(lambda: a.links.linked == {"b"})
        assert a.dead == ["b"]
        await restarted.end()


async def test_a_reset_that_another_instance_follows_at_once_is_a_death() -> None:
    async with Node("a") as a, Puppet("b", "1") as b:
        a.follow(b)
        wire = await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        b.instance = "2"
        wire.cut()
        again = await b.visit()
        again.send(b.challenge(await again.read(Hello)))
        await until(lambda: a.dead == ["b"])
        assert await again.is_cut()


async def test_a_name_that_is_followed_with_another_instance_reports_the_old_ones_death() -> None:
    async with Node("a") as a, Puppet("b", "1") as old, Node("b", "2") as new:
        a.follow(old)
        wire = await old.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        a.follow(new)
        assert a.dead == ["b"]
        assert await wire.is_cut()
        await until(lambda: a.links.linked == {"b"})
        assert a.dead == ["b"]


async def test_a_peer_that_was_never_linked_cannot_die() -> None:
    async with Node("a") as a, Node("b", "2") as b:
        a.links.follow({"b": (at(b.port), "1"), "c": (at(free_port()), "1")})
        await until(lambda: a.links.unreachable == {"b", "c"})
        a.links.follow({"b": (at(b.port), "2")})
        await until(lambda: a.links.linked == {"b"})
        assert a.dead == []
        assert a.links.unreachable == set()


async def test_who_was_thought_dead_and_answers_is_linked_again_and_may_die_again() -> None:
    async with Node("a", times=IMPATIENT) as a, Puppet() as b:
        a.follow(b)
        wire = await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        port = b.port
        b.close_port()
        wire.cut()
        await until(lambda: a.dead == ["b"])
        await b.listen(port)
        wire = await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        wire.cut()
        again = await b.visit()
        await until(lambda: a.links.unreachable == {"b"})
        b.close_port()
        again.cut()
        await until(lambda: a.dead == ["b", "b"])


# --- What is none.


async def test_a_lost_link_that_can_be_made_again_is_no_death() -> None:
    async with Node("a") as a, Puppet() as b:
        a.follow(b)
        for _ in range(3):
            wire = await b.answered_visit()
            await until(lambda: a.links.linked == {"b"})
            wire.cut()
        await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        assert a.dead == []


async def test_silence_is_no_death_and_is_told_as_unreachable() -> None:
    async with Node("a", times=IMPATIENT) as a, Puppet() as b:
        assert a.links.are_heard, "there are none who could be"
        a.follow(b)
        await until(lambda: not a.links.are_heard)
        await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        await until(lambda: a.links.are_heard)
        with capture_logs() as logs:
            await until(lambda: not a.links.are_heard)
            assert a.links.linked == {"b"}, "it is noticed before the link is given up"
            await until(lambda: a.links.unreachable == {"b"})
            await b.visit()  # It tries again, and is not answered again.
            await b.visit()
        assert a.dead == []
        told = [line for line in logs if line["event"] == "peer_unreachable"]
        assert told == [
            {"event": "peer_unreachable", "log_level": "warning", "peer": "b", "cause": "silent"}
        ]
        await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        assert a.links.unreachable == set()


async def test_who_falls_silent_and_is_killed_then_is_dead() -> None:
    async with Node("a", times=IMPATIENT) as a, Puppet() as b:
        a.follow(b)
        wire = await b.answered_visit()
        await until(lambda: a.links.unreachable == {"b"})
        assert a.dead == []
        b.close_port()
        wire.cut()
        await until(lambda: a.dead == ["b"])
        assert a.links.unreachable == set()


async def test_who_ends_every_link_at_once_is_asked_less_and_less_often() -> None:
    async with Node("a") as a, Puppet() as b:
        a.follow(b)
        for _ in range(8):
            (await b.visit()).cut()
        began_s = asyncio.get_running_loop().time()
        for _ in range(4):
            (await b.visit()).cut()
        assert asyncio.get_running_loop().time() - began_s > 3 * TIMES.pause_max_s
        for _ in range(8):
            (await b.answered_visit()).cut()
        began_s = asyncio.get_running_loop().time()
        for _ in range(4):
            (await b.answered_visit()).cut()
        assert asyncio.get_running_loop().time() - began_s > 3 * TIMES.pause_max_s
        assert a.dead == []


async def test_a_link_of_which_the_other_end_knows_nothing_is_made_again() -> None:
    async with Node("a") as a, Puppet() as b:
        a.follow(b)
        half_open = await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        # The other machine went away without a word and is back: it resets what it does not know.
        await half_open.read(Ping)
        half_open.cut()
        await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        assert a.dead == []


async def test_a_changed_address_is_no_death() -> None:
    async with Node("a") as a, Puppet() as here, Puppet() as there:
        a.follow(here)
        wire = await here.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        a.follow(there)
        assert await wire.is_cut()
        here.close_port()
        await there.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        assert a.dead == []


async def test_another_instance_at_a_changed_address_is_the_death_of_the_first() -> None:
    async with Node("a") as a, Puppet("b", "1") as here, Node("b", "2") as there:
        a.follow(here)
        await here.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        a.links.follow({"b": (at(there.port), "1")})
        await until(lambda: a.dead == ["b"])


async def test_a_refusal_at_an_address_where_no_link_stood_is_no_death() -> None:
    async with Node("a") as a, Puppet() as b:
        a.follow(b)
        await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        a.links.follow({"b": (at(free_port()), "1")})
        await until(lambda: a.links.unreachable == {"b"})
        await asyncio.sleep(3 * TIMES.pause_max_s)
        assert a.dead == []


@pytest.mark.parametrize("address", ["", "nowhere", ":7400", "h:", "h:0", "h:65536", "h:1e3"])
async def test_an_address_that_is_none_is_unreachable(address: str) -> None:
    async with Node("a") as a:
        a.links.follow({"b": (address, "1")})
        await until(lambda: a.links.unreachable == {"b"})
        assert a.dead == []


def test_addresses_are_read() -> None:
    assert place_of("10.0.0.1:7400") == ("10.0.0.1", 7400)
    assert place_of("node-1.cluster:65535") == ("node-1.cluster", 65535)
    assert place_of("[::1]:1") == ("::1", 1)


async def test_a_name_of_several_addresses_is_watched_at_the_one_that_answered() -> None:
    async with Node("a") as a:
        b = Node("b")
        await b.start()
        a.links.follow({"b": (f"localhost:{b.port}", "1")})
        await until(lambda: a.links.linked == {"b"})
        await b.end()
        await until(lambda: a.dead == ["b"])


async def test_a_name_is_looked_up_again_when_the_address_it_had_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
        pytest.skip("this loop looks names up where a test cannot answer")
    async with Node("a") as a, Puppet("b", "1") as before, Node("b", "2") as after:
        ports = [before.port]

        def look_up(*_: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, ports[-1]))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        a.links.follow({"b": ("b.example:7400", "1")})
        wire = await before.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        ports.append(after.port)
        wire.cut()
        await until(lambda: a.dead == ["b"])


# --- A process, killed and frozen.

PROCESS = """
import asyncio, sys
from gameserver.net.peers import PeerLinks
from gameserver.runtime.clock import SystemClock
async def main():
    links = PeerLinks("b", "1", SystemClock(), b"of the cluster")
    print(await links.start("127.0.0.1", 0), flush=True)
    await links.run()
asyncio.run(main())
"""


async def test_a_frozen_process_is_not_dead_and_a_killed_one_is() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROCESS),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert process.stdout is not None
    try:
        async with Node("a", times=IMPATIENT) as a:
            async with asyncio.timeout(TIMEOUT_S):
                port = int(await process.stdout.readline())
            a.links.follow({"b": (at(port), "1")})
            await until(lambda: a.links.linked == {"b"})
            process.send_signal(signal.SIGSTOP)
            await until(lambda: a.links.unreachable == {"b"})
            await asyncio.sleep(TIMES.again_s + 3 * TIMES.pause_max_s)
            assert a.dead == []
            process.send_signal(signal.SIGCONT)
            await until(lambda: a.links.linked == {"b"})
            process.kill()
            await until(lambda: a.dead == ["b"])
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


# --- Who is let in.


async def test_a_node_with_another_secret_is_not_linked_either_way() -> None:
    async with Node("a") as a, Node("b", secret=b"of another cluster") as b:
        with capture_logs() as logs:
            a.follow(b)
            await until(lambda: a.links.unreachable == {"b"})
        causes = [line["cause"] for line in logs if line["event"] == "peer_unreachable"]
        assert causes == ["another secret"]
        assert a.dead == []
        async with connected(a.port) as wire:
            await let_in(wire, secret=b"of another cluster")
            wire.send(Told(["take", [1]]))
            assert await wire.is_cut()
        assert a.heard == []
        assert a.links.strangers_refused == 1


async def test_a_node_can_tell_of_all_shards_that_a_cluster_may_have_at_once() -> None:
    message = ["own", list(range(SHARDS_MAX))]
    async with Node("a") as a, Node("b") as b:
        a.follow(b)
        await until(lambda: a.links.send("b", message))
        await until(lambda: b.heard == [("a", message)])


async def test_a_node_that_proves_itself_is_heard() -> None:
    async with Node("a") as a, connected(a.port) as wire:
        await let_in(wire)
        wire.send(Told(["take", [1]]))
        await until(lambda: a.heard == [("b", ["take", [1]])])


async def test_a_recorded_handshake_lets_nobody_in() -> None:
    async with Node("a") as a:
        async with connected(a.port) as wire:
            await let_in(wire)
            wire.send(Told(["take", [1]]))
            await until(lambda: len(a.heard) == 1)
        async with connected(a.port) as again:
            again.raw(bytes(wire.sent))
            assert await again.is_cut()
        assert len(a.heard) == 1


async def test_an_answer_that_is_sent_back_proves_nothing() -> None:
    async with Node("a") as a, connected(a.port) as wire:
        wire.send(Hello(VERSION, "b", "1", os.urandom(NONCE_BYTES)))
        challenge = await wire.read(Challenge)
        wire.send(Proof(challenge.proof))
        wire.send(Told(["take", [1]]))
        assert await wire.is_cut()
        assert a.heard == []


async def test_a_recorded_challenge_is_neither_a_link_nor_a_death() -> None:
    async with Node("a") as a, Puppet() as b:
        a.follow(b)
        first = await b.visit()
        recorded = b.challenge(await first.read(Hello))
        first.send(recorded)
        await first.read(Proof)
        await until(lambda: a.links.linked == {"b"})
        first.cut()
        b.instance = "2"
        again = await b.visit()
        await again.read(Hello)
        again.send(msgspec.structs.replace(recorded, instance="2"))
        assert await again.is_cut()
        assert a.dead == []


async def test_a_recorded_challenge_is_no_answer_to_another_hello() -> None:
    async with Node("a") as a, Puppet() as b:
        a.follow(b)
        first = await b.visit()
        recorded = b.challenge(await first.read(Hello))
        first.send(recorded)
        await first.read(Proof)
        await until(lambda: a.links.linked == {"b"})
        first.cut()
        again = await b.visit()
        await again.read(Hello)
        again.send(recorded)
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(ConnectionResetError):
                assert await again.reader.read() == b"", "it takes the answer for good"


async def test_a_stranger_is_cut_off_in_time_however_slowly_it_speaks() -> None:
    async with Node("a") as a, connected(a.port) as wire:
        wire.raw(b"\0\0")
        assert await wire.is_cut()
        assert a.links.strangers_refused == 1


async def test_who_only_looks_whether_the_port_is_open_is_not_counted_as_a_stranger() -> None:
    async with Node("a") as a:
        with capture_logs() as logs:
            for _ in range(3):
                _, writer = await asyncio.open_connection(HOST, a.port)
                writer.close()
            async with connected(a.port) as wire:
                wire.raw(b"hm")
            await until(lambda: a.links.strangers_refused > 0)
        assert a.links.strangers_refused == 1
        assert [one["event"] for one in logs] == ["peer_stranger_refused"]


async def test_more_strangers_than_there_is_room_for_push_out_the_first() -> None:
    patient = PeerTimes(stranger_s=60.0)
    async with Node("a", times=patient) as a:
        strangers = [
            Wire(*await asyncio.open_connection(HOST, a.port)) for _ in range(STRANGERS_MAX + 3)
        ]
        for wire in strangers[:3]:
            assert await wire.is_cut()
        async with connected(a.port) as node:
            await let_in(node)
            node.send(Told(["in"]))
            await until(lambda: a.heard == [("b", ["in"])])
        for wire in strangers:
            await wire.end()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"\x91\x63",
        b"\x91\x05",
        msgspec.msgpack.encode(Told(["take"])),
        msgspec.msgpack.encode(Proof(bytes(32))),
        msgspec.msgpack.encode(Hello(VERSION + 1, "b", "1", bytes(NONCE_BYTES))),
        msgspec.msgpack.encode(Hello(VERSION, "b", "1", b"")),
        msgspec.msgpack.encode(Hello(VERSION, "a", "9", bytes(NONCE_BYTES))),
        msgspec.msgpack.encode(Hello(VERSION, "b" * 257, "1", bytes(NONCE_BYTES))),
        b"\x95\x01\x01\xa1b\xa1\xff\xc4\x10" + bytes(16),
        b"\x91" * 1000,
    ],
)
async def test_a_stranger_that_begins_with_anything_else_is_cut_off(payload: bytes) -> None:
    async with Node("a", times=PeerTimes(stranger_s=60.0)) as a, connected(a.port) as wire:
        wire.frame(payload)
        assert await wire.is_cut()
        assert a.heard == []


async def test_strangers_do_not_fill_the_log() -> None:
    async with Node("a") as a:
        with capture_logs() as logs:
            for _ in range(5):
                async with connected(a.port) as wire:
                    wire.raw(b"\0\0\0\1\xc1")
                    assert await wire.is_cut()
        assert len([line for line in logs if line["log_level"] != "debug"]) == 1


async def test_a_stranger_may_not_even_announce_a_long_message() -> None:
    async with Node("a", times=PeerTimes(stranger_s=60.0)) as a, connected(a.port) as wire:
        wire.raw(struct.pack("!I", HANDSHAKE_BYTES_MAX + 1))
        assert await wire.is_cut()


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("!I", MESSAGE_BYTES_MAX + 1),
        b"\0\0\0\1\xc1",
        b"\0\0\0\5\x92\x04\x91\x81\x80",
        b"\0\0\0\6\x92\x04\x91\x81\x80\xc0",
        struct.pack("!I", 60_000) + b"\x92\x04" + b"\x91" * 59_998,
        b"\0\0\0\2\x91\x06",
    ],
)
async def test_a_node_that_makes_a_mistake_is_cut_off(data: bytes) -> None:
    async with Node("a") as a, connected(a.port) as wire:
        await let_in(wire)
        wire.send(Told(["before"]))
        await until(lambda: len(a.heard) == 1)
        wire.raw(data)
        assert await wire.is_cut()
        assert len(a.heard) == 1


async def test_the_longest_message_arrives_and_a_longer_one_is_our_own_mistake() -> None:
    async with Node("a") as a, Node("b") as b:
        await a.link(b)
        text = "x" * (MESSAGE_BYTES_MAX - 6)
        assert a.links.send("b", [text])
        await until(lambda: b.heard == [("a", [text])])
        with pytest.raises(AssertionError, match="short"):
            a.links.send("b", [text + "x"])


async def test_a_newer_link_of_the_same_node_takes_the_older_ones_place() -> None:
    async with Node("a") as a, connected(a.port) as first, connected(a.port) as second:
        await let_in(first)
        first.send(Told([1]))
        await until(lambda: len(a.heard) == 1)
        await let_in(second)
        assert await first.is_cut()
        second.send(Told([2]))
        await until(lambda: len(a.heard) == 2)


async def test_a_node_that_pings_stays_for_as_long_as_it_does() -> None:
    async with Node("a") as a, connected(a.port) as wire:
        await let_in(wire)
        for _ in range(2 * TIMES.silent_pings_max):
            wire.send(Ping())
            await wire.read(Pong)
            await asyncio.sleep(TIMES.ping_s)
        wire.send(Told(["still here"]))
        await until(lambda: len(a.heard) == 1)


async def test_a_link_that_is_answered_stands() -> None:
    async with Node("a", times=IMPATIENT) as a, Node("b") as b:
        await a.link(b)
        with capture_logs() as logs:
            await asyncio.sleep(3 * IMPATIENT.unanswered_max * TIMES.ping_s)
        assert logs == []
        assert a.links.linked == {"b"}


async def test_a_node_that_never_pings_is_given_up() -> None:
    async with Node("a") as a, connected(a.port) as wire:
        await let_in(wire)
        assert await wire.is_cut()
        assert a.heard == []


# --- Bursts.


async def test_a_burst_is_read_no_faster_than_the_rate_and_nothing_is_lost() -> None:
    clock = ManualClock()
    async with Node("a", clock=clock) as a, connected(a.port) as wire:
        await let_in(wire)
        for number in range(3_000):
            wire.send(Told([number]))
        await until(lambda: len(a.heard) > 900)
        await asyncio.sleep(0.05)
        assert len(a.heard) <= MESSAGES_BURST, (
            "the clock stands still: no more than the burst is taken"
        )
        clock.ns += 10_000_000_000

        def has_all() -> bool:
            clock.ns += 10_000_000_000
            return len(a.heard) == 3_000

        await until(has_all)
        assert [message[0] for _, message in a.heard] == list(range(3_000))


async def test_who_sends_too_much_is_not_read_until_there_is_room_again() -> None:
    clock = ManualClock()
    async with Node("a", clock=clock) as a, connected(a.port) as wire:
        await let_in(wire)
        for number in range(MESSAGES_BURST):
            wire.send(Told([number]))
        text = "x" * 60_000
        for _ in range(400):
            wire.send(Told([text]))
        await until(lambda: len(a.heard) > MESSAGES_BURST - 10)
        waiting, before = wire.writer.transport.get_write_buffer_size(), -1
        while waiting != before:
            await asyncio.sleep(0.2)
            waiting, before = wire.writer.transport.get_write_buffer_size(), waiting
        assert waiting > 1_000_000, "it reads on"

        def has_all() -> bool:
            clock.ns += 1_000_000_000
            return len(a.heard) == MESSAGES_BURST + 400

        await until(has_all)


async def test_what_cannot_be_sent_is_refused_instead_of_kept() -> None:
    async with Node("a") as a, Puppet() as b:
        a.follow(b)
        wire = await b.answered_visit()
        await until(lambda: a.links.linked == {"b"})
        text = "x" * 60_000
        taken = 0
        while a.links.send("b", [text]):
            taken += 1
            assert taken < 1_000, "nobody reads, and it takes more and more"
        for _ in range(taken):
            assert await wire.told() == [text]
        await until(lambda: a.links.send("b", ["again"]))
        assert await wire.told() == ["again"]


# --- Start and stop.


async def test_a_port_that_is_taken_is_told() -> None:
    async with Node("a") as a:
        with pytest.raises(PortInUse, match=str(a.port)):
            await Node("b").links.start(HOST, a.port)


async def test_a_stop_while_peers_do_not_answer_leaves_no_task_behind() -> None:
    async with Puppet() as b:
        a = Node("a")
        await a.start()
        a.links.follow({"b": (at(b.port), "1"), "c": (at(free_port()), "1"), "d": ("", "1")})
        await b.visit()
        await a.end()
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_links_end_with_whoever_runs_them() -> None:
    async with Node("b") as b:
        a = Node("a")
        await a.start()
        await a.link(b)
        a._running.cancel()
        with suppress(asyncio.CancelledError):
            await a._running
        await b.link()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, a.port)

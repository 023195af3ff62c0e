"""The two ends of a link: who connects to another node, and who is connected to.

Each end takes its part of the handshake and then what may be said. It knows itself and one other;
the cluster, and what the end of a link means, are for `PeerLinks`.
"""

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from gameserver.net.peer_wire import (
    MESSAGE_BYTES_MAX,
    NONCE_BYTES,
    VERSION,
    Broken,
    Challenge,
    Hello,
    Message,
    PeerSocket,
    Ping,
    Pong,
    Proof,
    Told,
    is_proof,
    proof,
)
from gameserver.runtime.clock import Clock

NAME_CHARS_MAX = 256


@dataclass(frozen=True, slots=True)
class Itself:
    """What an end says of itself, and where it gets its time and nonces."""

    name: str
    instance: str
    secret: bytes
    clock: Clock


class Answer(Enum):
    """How an attempt to connect ended."""

    LINKED = "linked"
    REFUSED = "refused"
    ANOTHER = "another instance"
    NONE = "none"


class Hall(Protocol):
    """Where those who connect are let in."""

    def arrived(self, guest: "Guest") -> None:
        """Note that somebody connected, who has not proved anything yet."""

    def proved(self, guest: "Guest", who: tuple[str, str]) -> None:
        """Take in a node, by name and instance."""

    def gone(self, guest: "Guest", who: tuple[str, str] | None) -> None:
        """Forget somebody; ``who`` is None if it never proved anything."""

    def heard(self, name: str, message: list[Any]) -> None:
        """Take what a node tells."""


class Guest:
    """Somebody who connected to us."""

    def __init__(self, itself: Itself, hall: Hall, deadline_s: float) -> None:
        self.socket = PeerSocket(itself.clock, self)
        self.socket.is_strangers = True
        self.silent_pings = 0
        self._itself = itself
        self._hall = hall
        self._deadline_s = deadline_s
        self._hello: Hello | None = None
        self._challenge: Challenge | None = None
        self._who: tuple[str, str] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def opened(self) -> None:
        """Begin to wait for who it is."""
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._deadline_s, self.socket.close)
        self._hall.arrived(self)

    def closed(self) -> None:
        """Let go."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._hall.gone(self, self._who)

    def take(self, message: Message) -> None:
        """Take a message."""
        self.silent_pings = 0
        if self._who is not None:
            self._take_from_node(self._who, message)
        elif self._hello is None and isinstance(message, Hello):
            self._answer(message)
        elif isinstance(message, Proof):
            self._let_in(message)
        else:
            raise Broken("not what begins a link")

    def _answer(self, hello: Hello) -> None:
        itself = self._itself
        if hello.version != VERSION or len(hello.nonce) != NONCE_BYTES:
            raise Broken("another version")
        if hello.name == itself.name:
            raise Broken("it has this node's own name")
        if max(len(hello.name), len(hello.instance)) > NAME_CHARS_MAX:
            raise Broken("a name that is too long")
        answer = (itself.name, itself.instance, itself.clock.entropy(NONCE_BYTES))
        self._hello = hello
        self._challenge = Challenge(*answer, proof(itself.secret, "answer", hello, answer))
        self.socket.send(self._challenge)

    def _let_in(self, message: Proof) -> None:
        hello, challenge = self._hello, self._challenge
        if hello is None or challenge is None:
            raise Broken("a proof of nothing")
        if not is_proof(self._itself.secret, message.proof, "connect", hello, challenge):
            raise Broken("another secret")
        assert self._deadline is not None, "it was opened"
        self._deadline.cancel()
        self.socket.bytes_max = MESSAGE_BYTES_MAX
        self.socket.is_strangers = False
        self._who = (hello.name, hello.instance)
        self._hall.proved(self, self._who)

    def _take_from_node(self, who: tuple[str, str], message: Message) -> None:
        if isinstance(message, Told):
            self._hall.heard(who[0], message.message)
        elif isinstance(message, Ping):
            self.socket.send(Pong())
        else:
            raise Broken("not what a node says")


class Visit:
    """One connection of ours to another node."""

    def __init__(self, itself: Itself, expected: tuple[str, str]) -> None:
        self.socket = PeerSocket(itself.clock, self)
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()
        self.answer = Answer.NONE
        self.cause = "no answer"
        self.unanswered = 0
        self._itself = itself
        self._expected = expected
        nonce = itself.clock.entropy(NONCE_BYTES)
        self._hello = Hello(VERSION, itself.name, itself.instance, nonce)

    def opened(self) -> None:
        """Say who we are."""
        self.socket.send(self._hello)

    def take(self, message: Message) -> None:
        """Take the challenge, and then answers to pings."""
        if self.answer is Answer.LINKED and isinstance(message, Pong):
            self.unanswered = 0
        elif self.answer is Answer.NONE and isinstance(message, Challenge):
            self._check(message)
        else:
            raise Broken("not what answers a node")

    def ping(self) -> None:
        """Ask whether the other node is there."""
        self.unanswered += 1
        self.socket.send(Ping())

    def closed(self) -> None:
        """Let go."""
        self.answered.set()
        self.ended.set()

    def _check(self, challenge: Challenge) -> None:
        secret = self._itself.secret
        if not is_proof(secret, challenge.proof, "answer", self._hello, challenge):
            self.cause = "another secret"
            raise Broken(self.cause)
        if (challenge.name, challenge.instance) != self._expected:
            self.answer = Answer.ANOTHER
            self.cause = f"{challenge.name} answers there, with another instance"
            self.socket.close()
            return
        answer = (challenge.name, challenge.instance, challenge.nonce)
        self.socket.send(Proof(proof(secret, "connect", self._hello, answer)))
        self.answer = Answer.LINKED
        self.answered.set()

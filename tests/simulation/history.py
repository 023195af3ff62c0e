"""What was said and heard, as it happened, for the checkers; some they can already judge here.

The observer sees every message as a server writes it, before the network may lose it: what a
server has written counts as told, whether or not anybody heard it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gameserver.engine.commands import NOT_SEATED, NUMBER_REUSED, NUMBER_TOO_OLD
from gameserver.net.connection import Connection
from protocol import codec
from protocol.client import ClientError
from protocol.messages import (
    AnyOutbound,
    Balance,
    Command,
    Deferred,
    Delta,
    Full,
    Goodbye,
    Joined,
    Left,
    Moved,
    Outcome,
    Outcomes,
    Private,
    Redirect,
    Welcome,
)
from tests.simulation.network import Link
from tests.simulation.store import Database

LEVEL_SLACK = 0.01  # Times are rounded.
ECHOES_ONLY = frozenset({NUMBER_REUSED.code, NUMBER_TOO_OLD.code, NOT_SEATED.code})


@dataclass(frozen=True, slots=True)
class Violation:
    """One promise that was not kept."""

    invariant: str
    at_s: float
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at_s:.3f}: {self.what}"


class Trace:
    """What happened, line by line, as one hash; and as text for whoever wants to read it."""

    def __init__(self, now_s: Callable[[], float], show: Callable[[str], None] | None) -> None:
        self.is_over = False
        self._hash = hashlib.sha256()
        self._now_s = now_s
        self._show = show

    def note(self, *words: object) -> None:
        """Add one line."""
        if self.is_over:
            return
        line = f"{self._now_s():.6f} {' '.join(map(str, words))}"
        self._hash.update(line.encode() + b"\n")
        if self._show is not None:
            self._show(line)

    @property
    def digest(self) -> str:
        """Return the hash of all lines so far."""
        return self._hash.hexdigest()


@dataclass(slots=True)
class Notes:
    """What the observer knows of one link."""

    is_upgraded: bool = False
    account: int = 0
    seats: dict[int, int] = field(default_factory=dict)
    handles: dict[int, int] = field(default_factory=dict)
    ticks: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """A state or a change that a server wrote: to whom, and what was durable then."""

    at_s: float
    node: str
    link: int
    account: int
    room: int
    seat: int
    payload: bytes
    message: Full | Delta | Private
    entries_durable: int


@dataclass(frozen=True, slots=True)
class ToldOutcome:
    """An outcome that a server wrote."""

    at_s: float
    node: str
    room: int
    account: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Heard:
    """A command as it arrived at a server."""

    at_s: float
    node: str
    account: int
    body: bytes


@dataclass(slots=True)
class Asked:
    """A command that a player submitted, and the one answer that it got.

    ``is_doubled`` tells that it was sent a second time behind its client's back, before the answer:
    then the client may be wrong about what a deferral was for.
    """

    room: int
    account: int
    number: int
    body: bytes
    at_s: float
    answer: Outcome | ClientError | None = None
    answered_s: float = 0.0
    is_doubled: bool = False


Key = tuple[int, int, int]  # Room, account, number.


class History:
    """Everything that was said, and the violations found so far."""

    def __init__(self, database: Database, trace: Trace) -> None:
        self.told: list[Told] = []
        self.outcomes: list[ToldOutcome] = []
        self.asked: list[Asked] = []
        self.heard: dict[Key, list[Heard]] = {}
        self.deferred: dict[Key, list[float]] = {}
        self.goodbyes: Counter[int] = Counter()
        self.lefts: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self.is_over = False
        self.is_forgetful = False
        # Told where somebody was sent for a room: which, and the address, "" for anywhere.
        self.on_led: Callable[[str, int, str], None] = lambda word, room, url: None
        self._ignored: set[str] = set()
        self._database = database
        self._trace = trace
        self._holders: dict[tuple[str, int, int], Link] = {}
        self._levels: dict[Connection, tuple[float, float]] = {}
        self._takers: dict[type, Callable[[Link, Notes, Any, bytes], None]] = {
            Welcome: self._welcome,
            Joined: self._joined,
            Left: self._left,
            Full: self._full,
            Delta: self._delta,
            Private: self._private,
            Outcomes: self._outcomes,
            Deferred: self._deferred,
            Balance: self._balance,
            Goodbye: self._goodbye,
            Redirect: self._led,
            Moved: self._moved,
        }

    def violate(self, invariant: str, what: str) -> None:
        """Note that a promise was broken."""
        violation = Violation(invariant, self._database.loop.time(), what)
        self._trace.note("VIOLATION", violation)
        self.violations.append(violation)

    def forget(self, servers: set[str]) -> None:
        """Forget what was told: a restored backup knows nothing of it, nor of these servers."""
        self.is_forgetful = True
        self._ignored |= servers
        self.told.clear()
        self.outcomes.clear()
        self.asked.clear()

    # --- From clients to servers.

    def hear(self, node: str, connection: Connection, command: Command) -> None:
        """Note a command that arrived at a server."""
        key = (command.room, connection.account, command.number)
        heard = Heard(self._database.loop.time(), node, connection.account, bytes(command.body))
        self.heard.setdefault(key, []).append(heard)

    def let_in(self, connection: Connection, rate: int, burst: int) -> None:
        """I19: note that a command was not turned away; no connection has more than its rate."""
        now_s = self._database.loop.time()
        level, at_s = self._levels.get(connection, (0.0, now_s))
        level = max(level - (now_s - at_s) * rate, 0.0) + 1
        self._levels[connection] = (level, now_s)
        if level > burst + LEVEL_SLACK:
            self.violate("I19 rates are kept", f"{connection.account} is at {level} of {burst}")

    # --- From servers to clients.

    def see(self, link: Link, data: bytes) -> None:
        """Take the bytes that a server writes, and judge them."""
        if self.is_over or str(link.server) in self._ignored:
            return
        notes = link.tag
        if notes is None:
            notes = link.tag = Notes()
        if not notes.is_upgraded:
            notes.is_upgraded = True
            assert data.startswith(b"HTTP/1.1"), "The first that a server says is its answer."
            return
        for payload in _payloads(data):
            message = codec.decode_outbound(payload)
            # Sealed bytes and masks differ from run to run, but these do not.
            self._trace.note(link.server, ">", link.client, _described(message, payload))
            take = self._takers.get(type(message))
            if take is not None:
                take(link, notes, message, payload)

    def _welcome(self, _: Link, notes: Notes, message: Welcome, __: bytes) -> None:
        notes.account = message.account

    def _joined(self, link: Link, notes: Notes, message: Joined, _: bytes) -> None:
        notes.seats[message.room] = message.seat
        notes.handles[message.handle] = message.room
        notes.ticks.pop(message.room, None)  # Whoever asks twice is shown the same frames twice.
        if message.seat >= 0:
            self._holders[str(link.server), message.room, message.seat] = link

    def _left(self, _: Link, notes: Notes, message: Left, __: bytes) -> None:
        notes.seats.pop(message.room, None)
        notes.ticks.pop(message.room, None)
        self.lefts[message.name] += 1

    def _full(self, link: Link, notes: Notes, message: Full, payload: bytes) -> None:
        last = notes.ticks.get(message.room, -1)
        if message.tick < last:
            self.violate("I10 ticks never go back", f"{link.client}: {message.tick} after {last}")
        notes.ticks[message.room] = message.tick
        self._tell(link, notes, message.room, message, payload)

    def _delta(self, link: Link, notes: Notes, message: Delta, payload: bytes) -> None:
        room = notes.handles[message.handle]
        last = notes.ticks.get(room, -1)
        if message.tick < last:
            self.violate("I10 ticks never go back", f"{link.client}: {message.tick} after {last}")
        notes.ticks[room] = message.tick
        self._check_durable(link, room, message.tick, "a delta")
        self._tell(link, notes, room, message, payload)

    def _private(self, link: Link, notes: Notes, message: Private, payload: bytes) -> None:
        room = notes.handles[message.handle]
        self._check_durable(link, room, message.tick, "a private change")
        self._tell(link, notes, room, message, payload)
        for outcome in message.outcomes:
            self._outcome(link, notes, room, outcome)

    def _tell(
        self,
        link: Link,
        notes: Notes,
        room: int,
        message: Full | Delta | Private,
        payload: bytes,
    ) -> None:
        seat = notes.seats.get(room)
        if seat is None:
            self.violate("I18 only viewers are shown a room", f"{link.client} is not in {room}")
            return
        if seat >= 0 and self._holders.get((str(link.server), room, seat)) is not link:
            self.violate("one connection a seat", f"{link.client} was replaced on seat {seat}")
        durable = len(self._database.journal.get(room, ()))
        self.told.append(
            Told(
                self._database.loop.time(),
                str(link.server),
                link.number,
                notes.account,
                room,
                seat,
                codec.unzipped(payload),
                message,
                durable,
            )
        )

    def _outcomes(self, link: Link, notes: Notes, message: Outcomes, _: bytes) -> None:
        for outcome in message.outcomes:
            self._outcome(link, notes, message.room, outcome)

    def _outcome(self, link: Link, notes: Notes, room: int, outcome: Outcome) -> None:
        if outcome.code not in ECHOES_ONLY:
            self._check_durable(link, room, outcome.tick, f"an outcome of {outcome.number}")
        now_s = self._database.loop.time()
        told = ToldOutcome(now_s, str(link.server), room, notes.account, outcome)
        self.outcomes.append(told)

    def _deferred(self, link: Link, notes: Notes, message: Deferred, _: bytes) -> None:
        key = (message.room, notes.account, message.number)
        self.deferred.setdefault(key, []).append(self._database.loop.time())

    def _balance(self, link: Link, notes: Notes, message: Balance, _: bytes) -> None:
        if message.balance_minor not in self._database.balances_ever.get(notes.account, ()):
            self.violate(
                "I9 nothing told before durable",
                f"{link.client} has never had a balance of {message.balance_minor}",
            )

    def _goodbye(self, _: Link, __: Notes, message: Goodbye, ___: bytes) -> None:
        self.goodbyes[message.close_code] += 1

    def _led(self, _: Link, __: Notes, message: Redirect, ___: bytes) -> None:
        self.on_led("redirect", message.room, message.url)

    def _moved(self, _: Link, notes: Notes, message: Moved, __: bytes) -> None:
        notes.seats.pop(message.room, None)
        notes.ticks.pop(message.room, None)
        self.on_led("moved", message.room, message.url)

    def _check_durable(self, link: Link, room: int, tick: int, what: str) -> None:
        if not self._database.is_durable(room, tick):
            self.violate(
                "I9 nothing told before durable",
                f"{link.server} told {link.client} {what} of room {room} at tick {tick}",
            )


def _payloads(data: bytes) -> list[bytes]:
    """Return the messages in what a server writes at once: whole frames, never masked."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        opcode, length = data[at] & 0x0F, data[at + 1] & 0x7F
        at += 2
        if length == 126:
            length = int.from_bytes(data[at : at + 2], "big")
            at += 2
        elif length == 127:
            length = int.from_bytes(data[at : at + 8], "big")
            at += 8
        if opcode == 2:
            found.append(data[at : at + length])
        at += length
    return found


def _described(message: AnyOutbound, payload: bytes) -> str:
    name = type(message).__name__
    if isinstance(message, Full):
        name = f"Full {message.room % 1000} tick {message.tick}"
    elif isinstance(message, Delta):
        name = f"Delta {message.handle} tick {message.tick}"
    elif isinstance(message, Private):
        told = [(one.number, one.kind, one.code) for one in message.outcomes]
        name = f"Private {message.handle} tick {message.tick} {told}"
    elif isinstance(message, Outcomes | Deferred | Joined | Left | Goodbye):
        name = str(message)
    return f"{name} {hashlib.blake2b(payload, digest_size=4).hexdigest()}"

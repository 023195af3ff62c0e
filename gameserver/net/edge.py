"""What all connections of a process share: limits, clock, timer, counters, the way inward.

It holds these things together and does nothing with them.
"""

from dataclasses import dataclass, field
from typing import Protocol

from gameserver.net.counters import NetCounters
from gameserver.net.limits import Admission, AdmissionLimits, Rate
from gameserver.net.line import Line
from gameserver.net.outbox import OutboxLimits
from gameserver.net.wheel import Wheel
from gameserver.runtime.clock import Clock

SECOND_NS = 1_000_000_000
WHEEL_SLOT_NS = 50_000_000
# Frames that are no commands for a room are cheap, but not free: pings, requests, fragments, and
# commands that come too fast. So many of them may come beside each command.
OTHERS_PER_COMMAND = 4


class Settings(Protocol):
    """What whoever runs the server tells the edge; `gameserver.config.Config` has all of it."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def worker_port(self) -> int | None: ...
    @property
    def admin_host(self) -> str: ...
    @property
    def admin_port(self) -> int: ...
    @property
    def origin(self) -> tuple[str, ...]: ...
    @property
    def connections_max(self) -> int: ...
    @property
    def connections_per_address_max(self) -> int: ...
    @property
    def connections_unauthenticated_max(self) -> int: ...
    @property
    def handshakes_per_second(self) -> int: ...
    @property
    def message_bytes_max(self) -> int: ...
    @property
    def command_rate(self) -> int: ...
    @property
    def command_burst(self) -> int: ...
    @property
    def outbox_soft_bytes(self) -> int: ...
    @property
    def outbox_hard_bytes(self) -> int: ...
    @property
    def hello_timeout_ns(self) -> int: ...
    @property
    def ping_interval_ns(self) -> int: ...
    @property
    def idle_timeout_ns(self) -> int: ...


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """The bounds and deadlines of one connection."""

    message_bytes_max: int
    command_rate: int
    command_burst: int
    outbox: OutboxLimits
    hello_timeout_ns: int
    ping_interval_ns: int
    idle_timeout_ns: int
    head_bytes_max: int = 16 * 1024
    head_timeout_ns: int = 5 * SECOND_NS
    # From the Hello to the Welcome: our own time, not the client's.
    welcome_timeout_ns: int = 5 * SECOND_NS
    close_timeout_ns: int = 2 * SECOND_NS
    # Messages that a client may send between its Hello and the Welcome; more is flooding.
    held_max: int = 64
    requests_in_flight_max: int = 4
    rooms_max: int = 64

    @classmethod
    def of(cls, settings: Settings) -> "EdgeLimits":
        """Return the limits that the settings ask for."""
        return cls(
            message_bytes_max=settings.message_bytes_max,
            command_rate=settings.command_rate,
            command_burst=settings.command_burst,
            outbox=OutboxLimits(
                soft_bytes=settings.outbox_soft_bytes,
                hard_bytes=settings.outbox_hard_bytes,
                stall_ns=5 * SECOND_NS,
            ),
            hello_timeout_ns=settings.hello_timeout_ns,
            ping_interval_ns=settings.ping_interval_ns,
            idle_timeout_ns=settings.idle_timeout_ns,
        )


def admission_limits(settings: Settings) -> AdmissionLimits:
    """Return the bounds on connections that the settings ask for."""
    return AdmissionLimits(
        connections_max=settings.connections_max,
        per_address_max=settings.connections_per_address_max,
        unauthenticated_max=settings.connections_unauthenticated_max,
        handshakes_per_second=settings.handshakes_per_second,
    )


class Phase(Protocol):
    """A number between 0 and 1, to spread what would happen to all connections at once."""

    def __call__(self) -> float: ...


@dataclass(slots=True)
class Edge:
    """The surroundings of every connection."""

    limits: EdgeLimits
    admission: Admission
    clock: Clock
    wheel: Wheel
    phase: Phase
    origins: tuple[str, ...] = ()
    counters: NetCounters = field(default_factory=NetCounters)
    line: Line = field(default_factory=Line)
    commands: Rate = field(init=False)
    others: Rate = field(init=False)

    def __post_init__(self) -> None:
        """Work out the rates of every connection."""
        rate, burst = self.limits.command_rate, self.limits.command_burst
        self.commands = Rate(rate, burst)
        self.others = Rate(rate * OTHERS_PER_COMMAND, burst * OTHERS_PER_COMMAND)

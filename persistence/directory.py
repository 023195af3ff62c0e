"""What nodes tell each other through a directory, and nothing of how it is kept.

The directory says who is there, who should own each shard, and which rooms may be found. All of it
is a hint: PostgreSQL alone says who may commit, so a directory that is away, wiped or wrong costs
routing and new assignments, never safety. `persistence.redis` and `persistence.memory_directory`
both keep this contract, and one suite of tests holds them to it.

Time is the directory's own: one clock counts what lapses, whatever the nodes' clocks say.

The errors, as a tree::

    DirectoryError
    ├── DirectoryUnavailable   nobody knows whether the call took effect; try again
    ├── DirectoryUnusable      what is there cannot serve as it is; trying again will not help
    └── NameTaken              another live node has this name
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

# A lease that ends later than this from now was given before the directory's clock went back.
LEASE_MS_MAX = 10_000
LIFE_MS_MAX = 600_000
# A cluster that has said nothing for so long leaves its prefix to whoever asks for it.
CLAIM_MS = 60_000
# An operator's word reaches a live node with its next beat; then it says of itself that it drains.
DRAIN_MS = 60_000
assert LEASE_MS_MAX < CLAIM_MS  # Nobody of the old cluster stands any more when another comes.


class DirectoryError(Exception):
    """The directory did not do what it was asked."""


class DirectoryUnavailable(DirectoryError):
    """The call may or may not have taken effect; try again."""


class DirectoryUnusable(DirectoryError):
    """What is there cannot serve: no directory, too old, read-only, locked, or somebody else's."""


class NameTaken(DirectoryError):
    """Another live node has this name."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node as it announces itself.

    ``instance`` is random for each start; ``url`` is where players find it and ``peer`` where other
    nodes do. A ``weight`` of 0 takes nothing new. ``load`` is in thousandths of its core;
    ``rules`` are its games with their rules versions. ``started_ms`` is by the node's own clock.
    """

    name: str
    instance: str
    url: str
    peer: str
    weight: int
    load: int
    rooms: int
    connections: int
    rules: tuple[tuple[str, int], ...]
    started_ms: int
    draining: bool


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Who is there and who should own what, at one moment.

    ``nodes`` are the live ones by name, ``leases`` those that have not lapsed, ``drains`` the nodes
    that an operator asked to drain.
    """

    nodes: tuple[NodeRecord, ...] = ()
    leases: Mapping[int, str] = field(default_factory=dict)
    drains: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RoomLine:
    """A room as lists show it. ``serial`` grows with time: newer rooms have higher ones."""

    room_id: int
    code: str
    game: str
    shard: int
    seats_taken: int
    seats_max: int
    serial: int


class Directory(Protocol):
    """All that nodes know of each other.

    Every method may raise DirectoryUnavailable, within a few seconds at most. To repeat a call
    does no harm.
    """

    async def start(self, cluster_id: str) -> None:
        """Connect, check what is there, and claim the prefix for this cluster.

        DirectoryUnusable if it cannot serve or another cluster has been heard of there within
        ``CLAIM_MS``. What goes wrong with it later is DirectoryUnavailable. May be called again
        until it succeeds.
        """

    async def stop(self) -> None:
        """Let go of connections. Says nothing to the others: `leave` does."""

    async def beat(self, record: NodeRecord, shards: Collection[int], lease_ms: int) -> ClusterView:
        """Announce this node and hold these shards for ``lease_ms`` from now; return all there is.

        Leases of ``shards`` that are this node's are renewed, those that nobody has are taken.
        Others of this node's stay as they are until they lapse. NameTaken, and nothing has
        changed, if another live instance has the name.
        """

    async def take_leases(
        self, node: str, shards: Collection[int], dead: Collection[str], lease_ms: int
    ) -> frozenset[int]:
        """Take leases that nobody has, or this node, or one of the ``dead``; return which."""

    async def pass_leases(
        self, node: str, to: str, shards: Collection[int], lease_ms: int
    ) -> frozenset[int]:
        """Hand over those leases that are this node's; return which are the other's now."""

    async def leave(self, record: NodeRecord) -> None:
        """Forget this instance and free its leases; nothing if another one has the name."""

    async def view(self) -> ClusterView:
        """Return all there is."""

    async def ask_to_drain(self, node: str) -> bool:
        """Let everybody see that a live node is to drain; false if there is none of this name.

        It stands for ``DRAIN_MS``, but no longer than this instance.
        """

    async def publish(self, lines: Sequence[RoomLine], gone: Collection[int], life_ms: int) -> None:
        """Let rooms be found for ``life_ms``, or until published again; drop those ``gone``."""

    async def places(self, game: str, limit: int) -> tuple[RoomLine, ...]:
        """Return a game's rooms with a free seat: most seats taken first, then the newest first."""

    async def lines(self, room_ids: Sequence[int]) -> tuple[RoomLine, ...]:
        """Return the lines of those rooms that can be found, in the order asked."""


def check_ms(asked_ms: int, most_ms: int = LEASE_MS_MAX) -> None:
    """Refuse, as a mistake of the caller, what could not be told from a clock that went back."""
    assert 0 < asked_ms <= most_ms, f"{asked_ms} ms is not between 1 and {most_ms}"

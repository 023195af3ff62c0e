"""Who may write to which shard, and who runs what only one in a cluster may run.

Epochs are what fences: a commit counts under the newest epoch of its shard alone, and an epoch is
raised only by taking the shard. Names say whose turn it is and protect nothing: `pass_shards`
changes a name and leaves the epoch to its owner, until somebody takes the shard.

All ages are told by the storage's own clock, so that no node's clock matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

DEFAULT_SHARDS = 64
# One commit renews all of a node's, and one message between nodes names them.
SHARDS_MAX = 16_384
NOBODY = ""  # The owner's name of a shard that was passed on to nobody.

HEAD_BYTES = 32
NO_HEAD = bytes(HEAD_BYTES)


class Row(msgspec.Struct, frozen=True, gc=False):
    """What a batch is made of, and thousands of a second: quickly made, and plain values alone.

    So none is ever part of a cycle, and the collector of cycles need not know it.
    """


class ShardMark(Row, frozen=True):
    """The right to write to a shard, and where its journal stands before and after the batch.

    ``head`` must be what the database holds: another value under the same epoch means that the
    database went backwards. ``next_head`` is ``chained(head, rows)`` over the shard's rows of
    this batch in their order, or ``head`` again when there are none; storage computes it anew and
    calls anything else poisoned. ``clock_tick`` is the shard's clock; a lower one is ignored.
    """

    shard: int
    epoch: int
    clock_tick: int
    head: bytes
    next_head: bytes


class ShardState(Row, frozen=True):
    """A shard as its new owner takes it over. ``link`` counts the links of its journal."""

    shard: int
    epoch: int
    clock_tick: int
    head: bytes
    link: int = 0


@dataclass(frozen=True, slots=True)
class ShardOwner:
    """Who owns a shard, and for how long the shard was neither committed to, taken nor passed."""

    shard: int
    node: str
    epoch: int
    clock_tick: int
    idle_ms: int


@dataclass(frozen=True, slots=True)
class Succession:
    """From whom a shard may be taken: from these nodes, and from whoever was idle for so long."""

    dead: tuple[str, ...] = ()
    stale_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """What all nodes of a cluster have in common for as long as it lives."""

    cluster_id: str
    shards: int


class TaskFence(NamedTuple):
    """The right to run a task, as `OwnershipStore.claim_task` gave it."""

    task: str
    epoch: int


class OwnershipStore(Protocol):
    """The part of a `Store` that knows nodes."""

    async def cluster(self, shards: int) -> ClusterRow:
        """Return what the cluster was made with: at the first call this many shards, ever after
        those, whatever is asked. A database that was in use before it had clusters has 64.
        """

    async def wall_ms(self) -> int:
        """Return the storage's own time in milliseconds since 1970."""

    async def take_shards(
        self, node: str, shards: Sequence[int], succession: Succession | None = None
    ) -> tuple[ShardState, ...]:
        """Raise the epoch of each shard and become its owner; the answer is in their order.

        A shard that was never taken begins with epoch 1, tick 0 and ``NO_HEAD``. With a
        ``succession`` only those are taken that were never taken before, that are the node's own
        or nobody's, or that the succession names; the others are left out of the answer. Of
        several who take a shard at once one gets it.
        """

    async def pass_shards(self, node: str, to: str, marks: Sequence[ShardMark]) -> frozenset[int]:
        """Make ``to`` the name of the owner where it was ``node``; return where it is now.

        Shards that are not under the marks' epochs are left out. No epoch is raised: whoever has
        it may commit until ``to`` takes the shard. Heads are not compared.
        """

    async def shard_owners(self) -> tuple[ShardOwner, ...]:
        """Return all shards that were ever taken, by number."""

    async def claim_task(self, task: str, node: str, stale_ms: int) -> int | None:
        """Return the epoch under which this node runs the task from now on, None if another does.

        To claim again is to renew; a task that was not renewed for ``stale_ms`` goes to whoever
        claims it next, under the next epoch. ``node`` names a process, not a place: one that was
        started again under the same name would have the epoch of the one before.
        """

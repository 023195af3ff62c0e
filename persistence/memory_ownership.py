"""The memory store's shards and tasks: who has which, under which epoch, and since when.

It knows no rooms and no money. Its clock is the one it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import time_ns

from persistence.checks import check_claim, check_cluster, check_passing, check_taking
from persistence.ownership import (
    NO_HEAD,
    NOBODY,
    ClusterRow,
    Row,
    ShardMark,
    ShardOwner,
    ShardState,
    Succession,
)

CLUSTER_ID = "memory"  # Whoever shares the object is of the same cluster, and nobody else can be.


def system_ms() -> int:
    """Return the machine's time."""
    return time_ns() // 1_000_000


class _Claim(Row, frozen=True):
    """Who said last that a shard or a task is theirs, and when."""

    node: str
    renewed_ms: int


class MemoryOwnership:
    """An `OwnershipStore` that forgets with its object."""

    def __init__(self, now_ms: Callable[[], int] = system_ms) -> None:
        self._now_ms = now_ms
        self._cluster: ClusterRow | None = None
        self._shards: dict[int, ShardState] = {}
        self._owners: dict[int, _Claim] = {}
        self._tasks: dict[str, tuple[int, _Claim]] = {}  # With their epochs.

    async def cluster(self, shards: int) -> ClusterRow:
        """Return what the cluster was made with, at the first call this many shards."""
        check_cluster(shards)
        if self._cluster is None:
            self._cluster = ClusterRow(CLUSTER_ID, shards)
        return self._cluster

    async def wall_ms(self) -> int:
        """Return the store's own time in milliseconds since 1970."""
        return self._now_ms()

    async def take_shards(
        self, node: str, shards: Sequence[int], succession: Succession | None = None
    ) -> tuple[ShardState, ...]:
        """Raise the epoch of each shard that may be taken and become its owner."""
        check_taking(node, shards, succession)
        taken = [s for s in sorted(set(shards)) if self._may_be_taken(node, s, succession)]
        for shard in taken:
            state = self._shards.get(shard, ShardState(shard, 0, 0, NO_HEAD))
            self._shards[shard] = ShardState(
                shard, state.epoch + 1, state.clock_tick, state.head, state.link
            )
            self._claim(shard, node)
        return tuple(self._shards[shard] for shard in taken)

    def _may_be_taken(self, node: str, shard: int, succession: Succession | None) -> bool:
        owner = self._owners.get(shard)
        if succession is None or owner is None:
            return True
        return owner.node in (node, NOBODY, *succession.dead) or (
            succession.stale_ms is not None and self._is_stale(owner, succession.stale_ms)
        )

    async def pass_shards(self, node: str, to: str, marks: Sequence[ShardMark]) -> frozenset[int]:
        """Make ``to`` the name of the owner where it was ``node``; return where it is now."""
        check_passing(node, to, marks)
        passed = frozenset(
            state.shard
            for mark in marks
            if (state := self._shards.get(mark.shard)) is not None
            and state.epoch == mark.epoch
            and self._owners[state.shard].node in (node, to)
        )
        for shard in passed:
            self._claim(shard, to)
        return passed

    async def shard_owners(self) -> tuple[ShardOwner, ...]:
        """Return all shards that were ever taken, by number."""
        return tuple(
            ShardOwner(
                shard,
                self._owners[shard].node,
                state.epoch,
                state.clock_tick,
                max(self._now_ms() - self._owners[shard].renewed_ms, 0),
            )
            for shard, state in sorted(self._shards.items())
        )

    async def claim_task(self, task: str, node: str, stale_ms: int) -> int | None:
        """Return the epoch under which this node runs the task, None if another does."""
        check_claim(task, node, stale_ms)
        epoch, claim = self._tasks.get(task, (0, None))
        if claim is None or claim.node != node:
            if claim is not None and not self._is_stale(claim, stale_ms):
                return None
            epoch += 1
        self._tasks[task] = (epoch, _Claim(node, self._now_ms()))
        return epoch

    def _epoch(self, shard: int) -> int:
        state = self._shards.get(shard)
        return 0 if state is None else state.epoch

    def _claim(self, shard: int, node: str) -> None:
        self._owners[shard] = _Claim(node, self._now_ms())

    def _renew(self, marks: Iterable[ShardMark]) -> None:
        now_ms = self._now_ms()
        for mark in marks:
            self._owners[mark.shard] = _Claim(self._owners[mark.shard].node, now_ms)

    def _is_stale(self, claim: _Claim, stale_ms: int) -> bool:
        return self._now_ms() - claim.renewed_ms >= stale_ms

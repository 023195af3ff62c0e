"""What operators are told of shards: who has them, and whether somebody else should."""

from __future__ import annotations

import pytest

from gameserver.operating_cluster import node_told, shard_told
from persistence.directory import ClusterView, NodeRecord
from persistence.ownership import NOBODY, ShardOwner


def owned_by(node: str) -> ShardOwner:
    """A shard as the database has it."""
    return ShardOwner(shard=7, node=node, epoch=3, clock_tick=40, idle_ms=250)


def test_a_shard_is_told_with_all_that_is_known_of_it() -> None:
    assert shard_told(7, owned_by("a"), {7: "a", 8: "b"}) == {
        "shard": 7,
        "owner": "a",
        "epoch": 3,
        "clock_tick": 40,
        "idle_ms": 250,
        "lease": "a",
        "differs": False,
    }


@pytest.mark.parametrize(
    ("owner", "leases", "differs"),
    [
        (owned_by("a"), {7: "a"}, False),
        (owned_by("a"), {7: "b"}, True),
        (owned_by("a"), {8: "a"}, True),
        (owned_by(NOBODY), {7: "a"}, True),
        (owned_by(NOBODY), {}, False),
        (None, {7: "a"}, True),
        (owned_by("a"), None, False),
    ],
)
def test_a_lease_that_is_not_the_owners_is_a_difference(
    owner: ShardOwner | None, leases: dict[int, str] | None, differs: bool
) -> None:
    assert shard_told(7, owner, leases)["differs"] is differs


@pytest.mark.parametrize(
    ("weight", "draining", "drains", "state"),
    [
        (1, False, frozenset(), "serving"),
        (0, False, frozenset(), "cannot commit"),
        (1, False, frozenset({"a"}), "asked to drain"),
        (0, True, frozenset({"a"}), "draining"),
    ],
)
def test_a_node_is_told_with_what_it_can_do(
    weight: int, draining: bool, drains: frozenset[str], state: str
) -> None:
    record = NodeRecord("a", "a1", "ws://a/ws", "a:1", weight, 0, 0, 0, (), 0, draining)
    assert node_told(record, ClusterView((record,), drains=drains))["state"] == state

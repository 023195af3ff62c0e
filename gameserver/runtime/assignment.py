"""Which node should own which shard: pure functions of what everybody can see.

Nodes that see the same come to the same answer without asking each other. How many shards a node
should have is its quota, by weight; which ones is said by rendezvous hashing; and a standing owner
keeps what it has up to its quota, so that little moves when nodes come and go. Who may write is
decided elsewhere: if two nodes see different things for a moment, nothing is lost but that moment.

Knows no lease, no database, no clock. The caller says who is live: an owner that is not among the
nodes is gone, and its shards are ownerless.
"""

from __future__ import annotations

import hashlib
import heapq
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

# Loads are per mille of a node's core. Up to BUSY loads are ignored and numbers alone count. A node
# sheds shards for its load from HOT on. In between nothing is moved against the load, so that
# what was shed for load does not come back for the numbers.
BUSY_LOAD = 500
HOT_LOAD = 700
assert BUSY_LOAD < HOT_LOAD
# After a shard has moved for load, its new owner must still be this much calmer than the old one:
# more than what loads vary by themselves.
CALMER_BY_LOAD = 100

# More at once would make one who has just come open hundreds of rooms in one beat. A drain does
# not wait for this: it has a deadline.
ARRIVALS_AT_ONCE = 4

SCORE_BYTES = 8
# A quota is compared as shards per weight, in integers; weights are below 2^64.
RATIO_BITS = 128


@dataclass(frozen=True, slots=True)
class Candidate:
    """A live node, as far as it matters for who owns what.

    Weight 0 keeps what it has and takes nothing. ``rules`` are its rules versions by game.
    """

    name: str
    weight: int
    load: int
    rules: Mapping[str, int]
    draining: bool = False


def behind(node: Candidate, other: Candidate) -> bool:
    """Return whether ``node`` has older rules for any game than ``other``, or none."""
    return any(node.rules.get(game, -1) < version for game, version in other.rules.items())


def desired(shards: int, nodes: Sequence[Candidate], owners: Mapping[int, str]) -> dict[int, str]:
    """Return who should own each shard. What nobody can take stays with its owner, if it has one.

    An ownerless shard goes to nodes with the newest rules only, because nobody knows any more under
    which rules its rooms were played; one with an owner to nodes whose rules are not behind those.
    """
    view = _View(shards, nodes, owners)
    plan = {shard: name for name, held in view.held.items() for shard in held}
    if not view.takers:
        return plan
    placing = _Placing(view)
    newest = _newest(view.takers)
    for shard in view.ownerless:
        plan[shard] = placing.with_room(shard, newest) or placing.least_full(shard, newest)
    for node in view.live.values():
        if node.draining:
            fit = view.fit_for(node) or newest
            for shard in view.held[node.name]:
                plan[shard] = placing.with_room(shard, fit) or placing.least_full(shard, fit)
    for node in view.takers:
        loose = placing.above_quota(node)
        if loose:
            fit = view.fit_for(node)
            for shard in loose:
                plan[shard] = placing.with_room(shard, fit) or node.name
    return plan


def claims(
    me: str, shards: int, nodes: Sequence[Candidate], owners: Mapping[int, str]
) -> list[int]:
    """Return the ownerless shards that are this node's to take."""
    live = {node.name for node in nodes}
    return [
        shard
        for shard, name in sorted(desired(shards, nodes, owners).items())
        if name == me and owners.get(shard) not in live
    ]


def handovers(
    me: str,
    shards: int,
    nodes: Sequence[Candidate],
    owners: Mapping[int, str],
    at_most: int,
    activity: Mapping[int, int] | None = None,
) -> list[tuple[int, str]]:
    """Return which of its shards this node should hand over now, and to whom.

    One that drains gives all it can; any other what it has above its quota, gently. ``activity`` is
    anything in proportion to what a shard costs: the least active go first, fewest notice.
    """
    view = _View(shards, nodes, owners)
    node = view.live.get(me)
    if node is None:
        return []
    plan = desired(shards, nodes, owners)
    mine = _least_active_first(me, view, activity or {})
    if node.draining:
        moves = [(shard, plan[shard]) for shard in mine if plan[shard] != me]
    else:
        moves = list(zip(mine, _receivers(view, plan).get(me, []), strict=False))
    return moves[: max(at_most, 0)]


def relief(
    me: str,
    shards: int,
    nodes: Sequence[Candidate],
    owners: Mapping[int, str],
    activity: Mapping[int, int] | None = None,
) -> list[tuple[int, str]]:
    """Return one shard to hand over because this node is hot and another one is calm, or nothing.

    Ask only when loads have settled since the last shard moved. The hottest node gives to the
    calmest, the next to the next, so that not everybody gives to the same one; and only what leaves
    the receiver calmer than the giver, so that nothing ever comes back for that.
    """
    view = _View(shards, nodes, owners)
    node = view.live.get(me)
    if node is None or node.draining or node.load < HOT_LOAD or view.ownerless:
        return []
    if _receivers(view, desired(shards, nodes, owners)):
        return []  # What moves for the numbers changes loads too.
    hot = [one for one in view.live.values() if one.load >= HOT_LOAD and not one.draining]
    rank = sorted(hot, key=lambda one: -one.load).index(node)
    calm = [one for one in view.takers if one.load < HOT_LOAD and not behind(one, node)]
    if rank >= len(calm):
        return []
    receiver = sorted(calm, key=lambda one: one.load)[rank]
    costs = _costs(node, view.held[me], activity or {})
    fitting = [
        (cost, shard)
        for shard, cost in costs.items()
        if cost
        and receiver.load + _cost_at(receiver, node, cost) + CALMER_BY_LOAD <= node.load - cost
    ]
    return [(max(fitting)[1], receiver.name)] if fitting else []


class _View:
    """What everybody sees, in an order of its own: by name, by shard."""

    def __init__(self, shards: int, nodes: Sequence[Candidate], owners: Mapping[int, str]) -> None:
        self.shards = shards
        self.live = {node.name: node for node in sorted(nodes, key=lambda node: node.name)}
        self.takers = [node for node in self.live.values() if node.weight > 0 and not node.draining]
        self._fit: dict[tuple[tuple[str, int], ...], list[Candidate]] = {}
        self.held: dict[str, list[int]] = {name: [] for name in self.live}
        self.ownerless: list[int] = []
        for shard in range(shards):
            self.held.get(owners.get(shard, ""), self.ownerless).append(shard)

    def fit_for(self, owner: Candidate) -> list[Candidate]:
        """Return the takers whose rules are not behind an owner's."""
        kind = _kind(owner)
        if kind not in self._fit:  # Nearly all nodes have the same rules.
            self._fit[kind] = [taker for taker in self.takers if not behind(taker, owner)]
        return self._fit[kind]


class _Placing:
    """How many shards each taker has while shards are given out, up to its quota and beyond."""

    def __init__(self, view: _View) -> None:
        self._view = view
        counts = {name: len(held) for name, held in view.held.items()}
        kept = sum(
            counts[name]
            for name, node in view.live.items()
            if not node.weight and not node.draining
        )
        self._quotas = _quotas(view.shards - kept, view.takers, counts)
        # What is above a quota counts too: it may be that nobody can take it.
        self._counts = counts
        self._scores = {node.name: _scores(node.name, view.shards) for node in view.takers}
        self._full = {name for name, quota in self._quotas.items() if counts[name] >= quota}

    def above_quota(self, node: Candidate) -> list[int]:
        """Return the shards that a taker has too many: those that suit it least."""
        held = self._view.held[node.name]
        count = len(held) - self._quotas[node.name]
        return heapq.nsmallest(count, held, self._scores[node.name].__getitem__)

    def with_room(self, shard: int, fit: Sequence[Candidate]) -> str | None:
        """Give a shard to the best of those below their quota and return its name."""
        full, scores = self._full, self._scores
        names = [node.name for node in fit if node.name not in full]
        if not names:
            return None
        return self._give(max(names, key=lambda name: scores[name][shard]))

    def least_full(self, shard: int, fit: Sequence[Candidate]) -> str:
        """Give a shard to the one with the fewest for its weight, whatever its quota."""

        def fullness(node: Candidate) -> tuple[int, int]:
            ratio = _ratio(self._counts[node.name], node.weight)
            return ratio, -self._scores[node.name][shard]

        return self._give(min(fit, key=fullness).name)

    def _give(self, name: str) -> str:
        self._counts[name] += 1
        if self._counts[name] >= self._quotas[name]:
            self._full.add(name)
        return name


def _quotas(shards: int, takers: Sequence[Candidate], counts: Mapping[str, int]) -> dict[str, int]:
    """Return how many shards each should have: each next one goes where fewest are for the weight.

    This is Adams' way of sharing seats. Nobody gets more than its share rounded up, and when a node
    comes nobody's quota grows but its own, when one leaves nobody's shrinks: so nothing moves
    but what must. Where several are alike, those that have the shard already get it.
    """
    weight = sum(node.weight for node in takers)
    # Nobody ends below this; it leaves at most one shard a node to be given one by one.
    least = max(shards - len(takers), 0)
    quotas = {node.name: -(-least * node.weight // weight) for node in takers}

    def turn(node: Candidate) -> tuple[int, bool, str]:
        quota = quotas[node.name]
        return _ratio(quota, node.weight), counts[node.name] <= quota, node.name

    by_name = {node.name: node for node in takers}
    turns = [turn(node) for node in takers]
    heapq.heapify(turns)
    for _ in range(shards - sum(quotas.values())):
        name = turns[0][-1]
        quotas[name] += 1
        heapq.heapreplace(turns, turn(by_name[name]))
    return quotas


def _ratio(count: int, weight: int) -> int:
    return (count << RATIO_BITS) // weight


@lru_cache(maxsize=1024)
def _scores(name: str, shards: int) -> array[int]:
    """Return how well each shard suits a node: one stream of hashed bits for each name."""
    bits = hashlib.shake_128(b"shards of " + name.encode()).digest(SCORE_BYTES * shards)
    scores = array("Q", bits)
    assert scores.itemsize == SCORE_BYTES, "Scores are numbers of 64 bits."
    if sys.byteorder == "big":
        scores.byteswap()
    return scores


def _newest(takers: Sequence[Candidate]) -> list[Candidate]:
    """Return the nodes that no other one has only newer rules than."""
    kinds = {_kind(node): node for node in takers}
    outdated = {
        kind
        for kind, node in kinds.items()
        if any(behind(node, other) and not behind(other, node) for other in kinds.values())
    }
    return [node for node in takers if _kind(node) not in outdated]


def _kind(node: Candidate) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(node.rules.items()))


def _receivers(view: _View, plan: Mapping[int, str]) -> dict[str, list[str]]:
    """Return to whom each standing owner should hand over one shard now, for the numbers."""
    waiting: dict[str, Counter[str]] = {}
    for giver in view.takers:
        for shard in view.held[giver.name]:
            if plan[shard] != giver.name:
                waiting.setdefault(plan[shard], Counter())[giver.name] += 1
    receivers: dict[str, list[str]] = {}
    for name in sorted(waiting):
        for giver_name in _next_givers(view, view.live[name], waiting[name]):
            receivers.setdefault(giver_name, []).append(name)
    return receivers


def _next_givers(view: _View, receiver: Candidate, waiting: Counter[str]) -> list[str]:
    """Return who gives to a receiver now: the busiest first, nobody against the load."""
    at_once = min(waiting.total(), ARRIVALS_AT_ONCE)
    givers: list[str] = []
    for giver in sorted((view.live[name] for name in waiting), key=lambda node: -node.load):
        cost = giver.load // len(view.held[giver.name])
        load = receiver.load + at_once * _cost_at(receiver, giver, cost)
        if load <= max(BUSY_LOAD, giver.load - cost):
            givers += [giver.name] * waiting[giver.name]
    return givers[:ARRIVALS_AT_ONCE]


def _cost_at(receiver: Candidate, giver: Candidate, cost: int) -> int:
    """Return what a shard's load comes to on a node of another weight."""
    return -(-cost * (giver.weight or receiver.weight) // receiver.weight)


def _costs(node: Candidate, held: Iterable[int], activity: Mapping[int, int]) -> dict[int, int]:
    """Return what each of a node's shards has in its load."""
    shares = {shard: activity.get(shard, 0) for shard in held}
    if not any(shares.values()):
        shares = dict.fromkeys(shares, 1)
    total = sum(shares.values())
    return {shard: node.load * share // total for shard, share in shares.items()}


def _least_active_first(me: str, view: _View, activity: Mapping[int, int]) -> list[int]:
    scores = _scores(me, view.shards)
    return sorted(view.held[me], key=lambda shard: (activity.get(shard, 0), scores[shard]))

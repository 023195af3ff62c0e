"""Who should own which shard: the same for everybody, even, and with few moves."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.runtime.assignment import (
    BUSY_LOAD,
    HOT_LOAD,
    Candidate,
    behind,
    claims,
    desired,
    handovers,
    relief,
)

OLD, NEW = {"keno": 1, "quiz": 1}, {"keno": 2, "quiz": 1}
Owners = dict[int, str]


def node(
    name: str,
    weight: int = 1,
    load: int = 0,
    rules: Mapping[str, int] = OLD,
    draining: bool = False,
) -> Candidate:
    return Candidate(name, weight, load, rules, draining)


def nodes(count: int) -> list[Candidate]:
    return [node(f"n{number}") for number in range(count)]


def quota(shards: int, one: Candidate, among: Sequence[Candidate]) -> int:
    return -(-shards * one.weight // sum(other.weight for other in among))


def moved(before: Mapping[int, str], after: Mapping[int, str]) -> dict[int, tuple[str, str]]:
    return {shard: (name, after[shard]) for shard, name in before.items() if after[shard] != name}


def clusters(most: int = 12) -> st.SearchStrategy[list[Candidate]]:
    weights = st.lists(st.integers(1, 5), min_size=1, max_size=most)
    return weights.map(lambda all_: [node(f"n{at}", weight) for at, weight in enumerate(all_)])


@st.composite
def views(draw: st.DrawFn) -> tuple[int, list[Candidate], Owners]:
    """Anything that can be seen: weights, loads, drains, old rules, owners that are gone."""
    shards = draw(st.integers(1, 96))
    names = [f"n{number}" for number in range(draw(st.integers(1, 8)))]
    live = [
        Candidate(
            name,
            draw(st.sampled_from([1, 1, 1, 2, 5, 0])),
            draw(st.integers(0, 1000)),
            draw(st.sampled_from([OLD, OLD, NEW, {"quiz": 1}])),
            draw(st.integers(0, 4)) == 0,
        )
        for name in names
    ]
    owner = st.sampled_from([*names, "gone"])
    return shards, live, draw(st.dictionaries(st.integers(0, shards - 1), owner))


# ---- every view ----


@given(views(), st.randoms(use_true_random=False))
def test_the_same_view_gives_the_same_answer_whatever_its_order(
    view: tuple[int, list[Candidate], Owners], chance: random.Random
) -> None:
    shards, live, owners = view
    shuffled, items = list(live), list(owners.items())
    chance.shuffle(shuffled)
    chance.shuffle(items)
    assert desired(shards, live, owners) == desired(shards, shuffled, dict(items))
    for one in live:
        first = handovers(one.name, shards, live, owners, 9)
        assert first == handovers(one.name, shards, shuffled, dict(items), 9)
        assert relief(one.name, shards, live, owners) == relief(
            one.name, shards, shuffled, dict(items)
        )


@given(views())
def test_every_shard_has_one_live_target_if_anybody_takes_shards(
    view: tuple[int, list[Candidate], Owners],
) -> None:
    shards, live, owners = view
    plan = desired(shards, live, owners)
    names = {one.name for one in live}
    takers = {one.name for one in live if one.weight and not one.draining}
    assert set(plan.values()) <= names
    if takers:
        assert set(plan) == set(range(shards))
    else:
        assert plan == {shard: name for shard, name in owners.items() if name in names}


@given(views())
def test_each_ownerless_shard_is_claimed_by_exactly_one(
    view: tuple[int, list[Candidate], Owners],
) -> None:
    shards, live, owners = view
    names = {one.name for one in live}
    claimed = [shard for one in live for shard in claims(one.name, shards, live, owners)]
    if any(one.weight and not one.draining for one in live):
        ownerless = [shard for shard in range(shards) if owners.get(shard) not in names]
        assert sorted(claimed) == ownerless
    else:
        assert claimed == []


@given(views(), st.data())
def test_claims_do_not_change_while_others_take_theirs(
    view: tuple[int, list[Candidate], Owners], data: st.DataObject
) -> None:
    shards, live, owners = view
    live = [replace(one, rules=OLD) for one in live]  # Else some get more than their quota.
    wanted = {one.name: claims(one.name, shards, live, owners) for one in live}
    first = data.draw(st.sampled_from(live)).name
    taken = owners | dict.fromkeys(wanted[first], first)
    for one in live:
        if one.name != first:
            assert claims(one.name, shards, live, taken) == wanted[one.name]


@given(views(), st.integers(0, 5))
def test_a_node_hands_over_only_its_own_shards_to_takers_and_never_too_many(
    view: tuple[int, list[Candidate], Owners], at_most: int
) -> None:
    shards, live, owners = view
    by_name = {one.name: one for one in live}
    for one in live:
        moves = handovers(one.name, shards, live, owners, at_most)
        moves += relief(one.name, shards, live, owners)
        assert len({shard for shard, _ in moves}) == len(moves) <= at_most + 1
        for shard, to in moves:
            assert owners[shard] == one.name != to
            assert by_name[to].weight
            assert not by_name[to].draining


@given(views())
def test_older_rules_receive_nothing_that_newer_ones_could_take(
    view: tuple[int, list[Candidate], Owners],
) -> None:
    shards, live, owners = view
    by_name = {one.name: one for one in live}
    takers = [one for one in live if one.weight and not one.draining]
    for shard, to in desired(shards, live, owners).items():
        owner = owners.get(shard)
        if to == owner or not takers:
            continue
        if owner in by_name:
            last = by_name[owner]
            could = [one for one in takers if not behind(one, last)]
            assert by_name[to] in could or not could
        elif any(all(not behind(one, other) for other in takers) for one in takers):
            assert not any(behind(by_name[to], other) for other in takers)


# ---- numbers ----


@given(st.integers(1, 200), clusters())
def test_no_node_gets_more_than_its_quota(shards: int, live: list[Candidate]) -> None:
    counts = Counter(desired(shards, live, {}).values())
    for one in live:
        assert counts[one.name] <= quota(shards, one, live)


@given(st.integers(1, 200), clusters())
def test_nobody_stays_without_while_there_are_enough(shards: int, live: list[Candidate]) -> None:
    counts = Counter(desired(shards, live, {}).values())
    if shards >= len(live):
        assert set(counts) == {one.name for one in live}


@given(st.integers(1, 200), st.integers(1, 40))
def test_nodes_alike_have_alike_many(shards: int, count: int) -> None:
    counts = Counter(desired(shards, nodes(count), {}).values())
    assert {counts[one.name] for one in nodes(count)} <= {shards // count, -(-shards // count)}


@given(st.integers(1, 200), clusters())
def test_what_stands_is_what_is_desired(shards: int, live: list[Candidate]) -> None:
    plan = desired(shards, live, {})
    assert desired(shards, live, plan) == plan


@given(st.integers(1, 200), clusters(), st.integers(1, 5))
def test_a_node_that_comes_receives_its_share_and_nothing_else_moves(
    shards: int, live: list[Candidate], weight: int
) -> None:
    before = desired(shards, live, {})
    new = node("new", weight)
    after = desired(shards, [*live, new], before)
    moves = moved(before, after)
    assert {to for _, to in moves.values()} <= {"new"}
    assert len(moves) <= quota(shards, new, [*live, new])


@given(st.integers(1, 200), clusters(), st.data())
def test_when_a_node_goes_only_its_shards_move(
    shards: int, live: list[Candidate], data: st.DataObject
) -> None:
    before = desired(shards, live, {})
    gone = data.draw(st.sampled_from(live))
    rest = [one for one in live if one is not gone]
    after = desired(shards, rest, before)
    if rest:
        assert {name for name, _ in moved(before, after).values()} <= {gone.name}
        counts = Counter(after.values())
        assert all(counts[one.name] <= quota(shards, one, rest) for one in rest)


@given(views())
def test_standing_owners_keep_what_they_have_up_to_their_quota(
    view: tuple[int, list[Candidate], Owners],
) -> None:
    shards, live, owners = view
    plan = desired(shards, live, owners)
    held = Counter(owners.values())
    kept = Counter(name for shard, name in owners.items() if plan.get(shard) == name)
    planned = Counter(plan.values())
    for one in live:
        if one.draining:
            continue
        # Whoever gives anything away has as many as it should in the end, and received none.
        assert kept[one.name] == held[one.name] or kept[one.name] == planned[one.name]
        assert one.weight or kept[one.name] == planned[one.name] == held[one.name]


def test_a_hundred_nodes_and_4096_shards_are_done_in_a_fraction_of_a_beat() -> None:
    live = nodes(100)
    standing = desired(4096, live, {})
    began_s = time.perf_counter()
    for _ in range(5):
        assert handovers("n7", 4096, live[:-10], standing, 8) == []
    assert (time.perf_counter() - began_s) / 5 < 0.2


# ---- draining, weight, rules ----


def test_a_draining_node_gives_all_away_and_takes_nothing() -> None:
    live = nodes(4)
    owners = desired(64, live, {})
    mine = [shard for shard, name in owners.items() if name == "n2"]
    live[2] = replace(live[2], draining=True)
    moves = handovers("n2", 64, live, owners, 64)
    assert sorted(shard for shard, _ in moves) == mine
    assert {to for _, to in moves} == {"n0", "n1", "n3"}
    assert claims("n2", 64, live, {}) == []
    assert len(handovers("n2", 64, live, owners, 3)) == 3
    owners |= dict(moves)
    assert (
        Counter(owners.values()) == {"n0": 21, "n1": 22, "n3": 21}
        or max(Counter(owners.values()).values()) == 22
    )


def test_who_drains_alone_keeps_what_it_has() -> None:
    alone = [node("a", draining=True), node("b", weight=0)]
    owners = {0: "a", 1: "b"}
    assert desired(3, alone, owners) == owners
    assert handovers("a", 3, alone, owners, 9) == []
    assert claims("b", 3, alone, owners) == []


def test_a_node_of_weight_0_keeps_its_shards_and_takes_none() -> None:
    live = [node("a"), node("b"), node("c", weight=0)]
    owners = dict.fromkeys(range(10), "c")
    plan = desired(30, live, owners)
    assert Counter(plan.values()) == {"a": 10, "b": 10, "c": 10}
    assert handovers("c", 30, live, owners, 30) == []


def test_the_heavier_gets_more() -> None:
    plan = desired(60, [node("a", 1000), node("b", 2000), node("c", 3000)], {})
    assert Counter(plan.values()) == {"a": 10, "b": 20, "c": 30}


def test_after_a_death_only_the_newest_rules_receive() -> None:
    live = [node("a"), node("b"), node("c", rules=NEW)]
    owners: Owners = {shard: "abcd"[shard % 4] for shard in range(40)}
    assert claims("c", 40, live, owners) == list(range(3, 40, 4))
    assert claims("a", 40, live, owners) == []
    owners |= dict.fromkeys(range(3, 40, 4), "c")
    # The new one has more than its quota, and keeps it: nobody else could go on with it.
    assert handovers("c", 40, live, owners, 40) == []


def test_old_rules_go_on_among_themselves() -> None:
    live = [node("a", draining=True), node("b"), node("c", rules=NEW)]
    owners: Owners = {shard: "abc"[shard % 3] for shard in range(30)}
    to = Counter(name for _, name in handovers("a", 30, live, owners, 30))
    assert to == {"b": 5, "c": 5}


def test_if_the_newest_drains_the_older_take_over() -> None:
    live = [node("a"), node("b", rules=NEW, draining=True)]
    owners: Owners = {0: "a", 1: "b"}
    assert handovers("b", 2, live, owners, 9) == [(1, "a")]


def test_a_game_that_a_node_does_not_know_counts_as_oldest() -> None:
    live = [node("a", rules={"quiz": 1}), node("b")]
    assert set(desired(8, live, {}).values()) == {"b"}


# ---- load ----


class Cluster:
    """Shards of fixed cost; each round all nodes hand over by the same view."""

    def __init__(self, costs: Mapping[int, int], live: Sequence[Candidate], owners: Owners):
        self.costs = dict(costs)
        self.live = list(live)
        self.owners = dict(owners)
        self.weigh()

    def weigh(self) -> None:
        loads: Counter[str] = Counter()
        for shard, name in self.owners.items():
            loads[name] += self.costs[shard]
        self.live = [replace(one, load=loads[one.name] // one.weight) for one in self.live]

    def turn(self) -> list[tuple[int, str, str]]:
        """Play a round and return what moved, from whom, to whom."""
        moves = []
        for one in self.live:
            mine = {shard: self.costs[shard] for shard, name in self.owners.items()}
            view = (one.name, len(self.costs), self.live, self.owners)
            for shard, to in handovers(*view, 4, mine) or relief(*view, mine):
                moves.append((shard, one.name, to))
        self.owners |= {shard: to for shard, _, to in moves}
        self.weigh()
        return moves

    def settle(self) -> list[tuple[int, str, str]]:
        every: list[tuple[int, str, str]] = []
        for _ in range(300):
            moves = self.turn()
            if not moves:
                return every
            every += moves
        raise AssertionError("the cluster does not come to rest")


def test_a_converged_cluster_hands_over_nothing_whatever_the_loads_below_hot() -> None:
    chance = random.Random(4)
    live = nodes(7)
    owners = desired(64, live, {})
    for _ in range(50):
        live = [replace(one, load=chance.randrange(HOT_LOAD)) for one in live]
        for one in live:
            assert handovers(one.name, 64, live, owners, 64) == []
            assert relief(one.name, 64, live, owners) == []


def test_nodes_that_are_all_hot_do_not_move_shards_about() -> None:
    live = [replace(one, load=900 + number * 20) for number, one in enumerate(nodes(5))]
    owners = desired(64, live, {})
    assert all(relief(one.name, 64, live, owners) == [] for one in live)


def test_a_hot_node_is_relieved_by_the_calmest_one_shard_at_a_time() -> None:
    live = [node("a", load=900), node("b", load=400), node("c", load=100)]
    owners: Owners = {shard: "abc"[shard % 3] for shard in range(9)}
    assert relief("a", 9, live, owners, {0: 5, 3: 1, 6: 3}) == [(6, "c")]
    assert relief("b", 9, live, owners) == []


def test_a_shard_that_would_only_carry_the_heat_elsewhere_stays() -> None:
    live = [node("a", load=900), node("b", load=300)]
    owners: Owners = {0: "a", 1: "b", 2: "a", 3: "b"}
    assert relief("a", 4, live, owners, {0: 890, 2: 10}) == [(2, "b")]


def test_what_moves_for_the_numbers_is_what_fewest_notice() -> None:
    owners = dict.fromkeys(range(10), "a")
    activity = {shard: 100 - shard for shard in range(10)}
    first = handovers("a", 10, [node("a"), node("b")], owners, 2, activity)
    assert first == [(9, "b"), (8, "b")]


def test_nobody_hands_over_to_a_busier_one_for_the_numbers() -> None:
    owners = dict.fromkeys(range(10), "a")
    live = [node("a", load=300), node("b", load=BUSY_LOAD + 1)]
    assert handovers("a", 10, live, owners, 9) == []
    calm = [node("a", load=300), node("b", load=100)]
    assert len(handovers("a", 10, calm, owners, 9)) == 4


@pytest.mark.parametrize("weight", [1, 2])
def test_a_hot_shard_does_not_wander(weight: int) -> None:
    costs = {shard: 800 if shard == 5 else 10 for shard in range(32)}
    live = [node(f"n{number}", weight) for number in range(4)]
    cluster = Cluster(costs, live, desired(32, live, {}))
    last = cluster.owners[5]
    for _ in range(100):
        cluster.turn()
        assert cluster.owners[5] == last


@given(
    st.lists(st.one_of(st.integers(0, 30), st.integers(0, 400)), min_size=8, max_size=40),
    st.lists(st.integers(1, 3), min_size=2, max_size=6),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_balancing_comes_to_rest_and_never_moves_a_shard_back_and_forth(
    costs: list[int], weights: list[int], chance: random.Random, all_on_one: bool
) -> None:
    live = [node(f"n{at}", weight) for at, weight in enumerate(weights)]
    names = ["n0"] if all_on_one else [one.name for one in live]
    owners = {shard: chance.choice(names) for shard in range(len(costs))}
    cluster = Cluster(dict(enumerate(costs)), live, owners)
    moves = cluster.settle()
    most = Counter((shard, to) for shard, _, to in moves)
    assert max(most.values(), default=0) <= 2  # Once for the numbers and once for the load.


def test_relief_ends_when_no_shard_would_leave_somebody_calmer() -> None:
    costs = {shard: 40 + 30 * (shard % 4 == 0) for shard in range(48)}
    owners = {shard: f"n{shard % 4}" for shard in range(48)}
    cluster = Cluster(costs, nodes(4), owners)
    assert [one.load for one in cluster.live] == [840, 480, 480, 480]
    moves = cluster.settle()
    assert sorted(one.load for one in cluster.live) == [480, 550, 550, 700]
    assert len(moves) == 2

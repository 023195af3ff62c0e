"""Rates and counts, without a socket or a clock."""

from heapq import heappop, heappush
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.net.edge import OTHERS_PER_COMMAND
from gameserver.net.limits import Admission, AdmissionLimits, Bucket, Rate, Refusal, address_group

SECOND_NS = 1_000_000_000


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    bucket = Bucket(Rate(per_second=10, burst=3))
    now_ns = 5 * SECOND_NS
    assert [bucket.take(now_ns) for _ in range(4)] == [0, 0, 0, SECOND_NS // 10]
    assert bucket.take(now_ns + SECOND_NS // 10 - 1) == 1
    assert bucket.take(now_ns + SECOND_NS // 10) == 0
    assert [bucket.take(now_ns + 10 * SECOND_NS) for _ in range(4)][:3] == [0, 0, 0]


@given(
    st.integers(1, 1000),
    st.integers(1, 50),
    st.lists(st.integers(0, SECOND_NS), min_size=1, max_size=200),
)
def test_no_second_lets_more_through_than_burst_and_rate(
    per_second: int, burst: int, gaps_ns: list[int]
) -> None:
    bucket = Bucket(Rate(per_second, burst))
    now_ns, passed_ns = 0, []
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        wait_ns = bucket.take(now_ns)
        if wait_ns == 0:
            passed_ns.append(now_ns)
        else:
            assert bucket.take(now_ns + wait_ns - 1) > 0, "waiting less than said is too little"
    for first_ns in passed_ns:
        within = [at_ns for at_ns in passed_ns if first_ns <= at_ns < first_ns + SECOND_NS]
        assert len(within) <= burst + per_second


def test_each_that_is_turned_away_is_given_a_moment_of_its_own() -> None:
    bucket = Bucket(Rate(per_second=10, burst=2))
    now_ns, interval_ns = 5 * SECOND_NS, SECOND_NS // 10
    assert [bucket.take(now_ns) for _ in range(2)] == [0, 0]
    turns_ns = []
    for _ in range(3):
        assert bucket.take(now_ns) == interval_ns
        turns_ns.append(bucket.turn(now_ns))
    assert turns_ns == [interval_ns, 2 * interval_ns, 3 * interval_ns]
    assert [bucket.take(now_ns + turn_ns) for turn_ns in turns_ns] == [0, 0, 0]
    # Long afterwards nobody has to wait for those of then.
    later_ns = now_ns + 60 * SECOND_NS
    assert [bucket.take(later_ns) for _ in range(3)] == [0, 0, interval_ns]
    assert bucket.turn(later_ns) == interval_ns


@given(st.integers(1, 192), st.integers(0, 2**32))
def test_who_comes_when_told_to_is_never_too_fast(commands: int, seed: int) -> None:
    """As many commands as a client may have unanswered in three rooms, put off for a minute."""
    chance = Random(seed)
    rate, burst, outage_ns = 20, 60, 60 * SECOND_NS
    others = Bucket(Rate(rate * OTHERS_PER_COMMAND, burst * OTHERS_PER_COMMAND))
    taken = Bucket(Rate(rate, burst))
    coming = [(0, number) for number in range(commands)]
    done_ns = 0
    while coming:
        now_ns, number = heappop(coming)
        if taken.take(now_ns):
            assert others.take(now_ns) == 0, "this would have been flooding"
            wait_ns = taken.turn(now_ns)
        elif now_ns < outage_ns:
            wait_ns = SECOND_NS  # Put off because storage is away.
        else:
            done_ns = now_ns
            continue
        # As protocol.client does: half as long again at most.
        heappush(coming, (now_ns + int(wait_ns * chance.uniform(1.0, 1.5)), number))
    assert done_ns < outage_ns + 4 * commands * SECOND_NS // rate + 2 * SECOND_NS


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_addresses_count_alone_or_by_their_64_bits(host: str, group: str) -> None:
    assert address_group(host) == group


def test_a_connection_that_is_released_makes_room_for_another() -> None:
    admission = Admission(AdmissionLimits(2, 1, 2, 100))
    assert admission.admit("a", 0) is None
    assert admission.admit("a", 0) is Refusal.ADDRESS
    assert admission.admit("b", 0) is None
    assert admission.admit("c", 0) is Refusal.CONNECTIONS
    admission.authenticate()
    admission.release("a", is_authenticated=True)
    assert admission.admit("a", 0) is None
    assert admission.connections == 2
    assert admission.unauthenticated == 2


def test_nodes_that_pass_on_their_players_are_not_counted_as_one_of_them() -> None:
    admission = Admission(AdmissionLimits(100, 1, 100, 1))
    admission.nodes = frozenset({"10.0.0.2"})
    assert [admission.admit("10.0.0.2", 0) for _ in range(5)] == [None] * 5
    assert [admission.admit("10.0.0.3", 0) for _ in range(2)] == [None, Refusal.ADDRESS]
    for _ in range(94):
        assert admission.admit("10.0.0.2", 0) is None
    assert admission.admit("10.0.0.2", 0) is Refusal.CONNECTIONS, "all have their places"

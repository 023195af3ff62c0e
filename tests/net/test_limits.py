"""Rates and counts, without a socket or a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.net.limits import Admission, AdmissionLimits, Bucket, Refusal, address_group

SECOND_NS = 1_000_000_000


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    bucket = Bucket(per_second=10, burst=3)
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
    bucket = Bucket(per_second, burst)
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

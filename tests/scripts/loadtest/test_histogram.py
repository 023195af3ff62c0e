"""Quantiles from buckets are those of the values, a little too high at most."""

import math

from hypothesis import given
from hypothesis import strategies as st

from scripts.loadtest.histogram import Histogram, bucket_of, highest_of

durations_us = st.one_of(st.integers(0, 100), st.integers(0, 60_000_000), st.integers(0, 2**50))
shares = st.sampled_from([0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0])


def histogram_of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(durations_us)
def test_a_bucket_holds_its_value_and_is_narrow(value: int) -> None:
    highest = highest_of(bucket_of(value))
    assert value <= highest <= value + value // 32
    assert bucket_of(highest) == bucket_of(value)
    assert bucket_of(highest + 1) == bucket_of(value) + 1


@given(st.lists(durations_us, min_size=1), shares)
def test_a_quantile_is_never_too_low_and_at_most_a_thirty_second_too_high(
    values: list[int], share: float
) -> None:
    exact = sorted(values)[max(1, math.ceil(share * len(values) - 1e-9)) - 1]
    found = histogram_of(values).quantile(share)
    assert found is not None
    assert exact <= found <= exact + exact // 32


@given(st.lists(durations_us), st.lists(durations_us))
def test_two_histograms_add_up_to_one(ours: list[int], theirs: list[int]) -> None:
    merged = histogram_of(ours)
    merged.merge(histogram_of(theirs))
    whole = histogram_of(ours + theirs)
    assert merged.buckets == whole.buckets
    assert merged.summary_ms() == whole.summary_ms()


def test_nothing_has_no_quantiles() -> None:
    assert Histogram().summary_ms() == {
        "count": 0,
        "p50": None,
        "p90": None,
        "p99": None,
        "p99_9": None,
        "max": None,
    }


def test_the_ninety_ninth_of_a_hundred_is_not_the_hundredth() -> None:
    assert histogram_of([*range(1, 60), *[60] * 40, 63]).quantile(0.99) == 60

"""How long a worker waits before it is started again."""

from gameserver.supervising.backoff import BackOff
from tests.net.rig import SECOND_NS, ManualClock


def waits(clock: ManualClock, backoff: BackOff, *ran_s: float) -> list[float]:
    """Let a worker fail after each of these times; return how long it waited."""
    waited = []
    for seconds in ran_s:
        backoff.started()
        clock.ns += int(seconds * SECOND_NS)
        waited.append(backoff.ended(in_order=False))
        clock.ns += int(waited[-1] * SECOND_NS)
    return waited


def test_each_wait_is_twice_as_long_as_the_one_before_up_to_half_a_minute() -> None:
    clock = ManualClock()
    waited = waits(clock, BackOff(clock), *[1.0] * 10)
    assert waited == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_who_ran_for_a_minute_begins_with_a_short_wait_again() -> None:
    clock = ManualClock()
    assert waits(clock, BackOff(clock), 1, 1, 59.9, 60, 1) == [0.2, 0.4, 0.8, 0.2, 0.4]


def test_who_was_asked_to_go_comes_back_at_once() -> None:
    clock = ManualClock()
    backoff = BackOff(clock)
    waits(clock, backoff, 1, 1)
    assert backoff.ended(in_order=True) == 0.0
    assert waits(clock, backoff, 1) == [0.2]

"""Deadlines on one timer: never early, at most a slot late, each thing at most once."""

from hypothesis import given
from hypothesis import strategies as st

from gameserver.net.wheel import Wheel

SLOT_NS = 50


class Alarm:
    """Notes when it was asked, and wants to be asked again as told."""

    def __init__(self, again_ns: list[int] | None = None) -> None:
        self.asked_ns: list[int] = []
        self._again_ns = again_ns or []

    def due(self, now_ns: int) -> int | None:
        self.asked_ns.append(now_ns)
        return self._again_ns.pop(0) if self._again_ns else None


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=30), st.integers(1, 300))
def test_nothing_is_asked_early_and_nothing_more_than_a_step_and_a_slot_late(
    dues_ns: list[int], step_ns: int
) -> None:
    wheel = Wheel(0, SLOT_NS)
    alarms = [Alarm() for _ in dues_ns]
    for alarm, due_ns in zip(alarms, dues_ns, strict=True):
        wheel.put(alarm, due_ns)
    for now_ns in range(0, 2_000 + 2 * step_ns + 2 * SLOT_NS, step_ns):
        wheel.advance(now_ns)
    for alarm, due_ns in zip(alarms, dues_ns, strict=True):
        assert len(alarm.asked_ns) == 1
        assert due_ns <= alarm.asked_ns[0] < due_ns + 2 * SLOT_NS + step_ns
    assert len(wheel) == 0


def test_a_thing_is_asked_at_the_time_it_was_put_to_last() -> None:
    wheel, alarm = Wheel(0, SLOT_NS), Alarm()
    wheel.put(alarm, 100)
    wheel.put(alarm, 500)
    wheel.advance(400)
    assert alarm.asked_ns == []
    wheel.advance(500)
    assert alarm.asked_ns == [500]


def test_a_thing_that_asks_again_is_asked_again_even_if_its_time_has_passed() -> None:
    wheel, alarm = Wheel(0, SLOT_NS), Alarm([10, 900])
    wheel.put(alarm, 100)
    for now_ns in (100, 150, 900):
        wheel.advance(now_ns)
    assert alarm.asked_ns == [100, 150, 900]


def test_what_is_asked_may_take_others_out() -> None:
    wheel, other = Wheel(0, SLOT_NS), Alarm()

    class Remover(Alarm):
        def due(self, now_ns: int) -> int | None:
            wheel.remove(other)
            return super().due(now_ns)

    wheel.put(Remover(), 100)
    wheel.put(other, 100)
    wheel.advance(200)
    assert other.asked_ns == []
    assert len(wheel) == 0


def test_time_may_jump_by_hours_at_once() -> None:
    wheel, alarm = Wheel(0, SLOT_NS), Alarm()
    wheel.put(alarm, 10**12)
    wheel.advance(10**15)
    assert alarm.asked_ns == [10**15]

"""The mirror and the client's view read the same stream alike, and both alike to the truth."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codec
from protocol.messages import Delta, Full, Private
from protocol.view import Desync, View
from scripts.loadtest.mirror import Mirror, MirrorBroken, differences
from tests.scripts.loadtest.streams import Stream


def read(payload: bytes) -> tuple[Any, ...]:
    message: tuple[Any, ...] = msgpack.unpackb(payload, use_list=False)
    return message


def feed(mirror: Mirror, view: View, payload: bytes) -> bool:
    """Let both take a frame in; tell whether they could, which must be the same for both."""
    message = read(payload)
    take = {5: mirror.take_full, 6: mirror.take_delta, 7: mirror.take_private}[message[0]]
    typed = codec.decode_outbound(payload)
    assert isinstance(typed, Full | Delta | Private)
    try:
        take(message)
    except MirrorBroken:
        with pytest.raises(Desync):
            view.apply(typed)
        return False
    view.apply(typed)
    return True


@given(st.integers(), st.integers(0, 12), st.integers(0, 6))
def test_mirror_and_view_agree_with_each_other_and_with_a_later_full_state(
    seed: int, ticks: int, steps: int
) -> None:
    stream, mirror, view = Stream(seed), Mirror(), View()
    feed(mirror, view, stream.full())
    for _ in range(ticks):
        for payload in stream.tick(steps):
            feed(mirror, view, payload)
    whole = Mirror()
    whole.take_full(read(stream.full()))
    assert differences(mirror.rows(), view.dump()) == []
    assert differences(mirror.rows(), whole.rows()) == []
    assert mirror.shared_tick == view.shared_tick
    assert mirror.private_tick == view.private_tick
    assert mirror.closed_tick == view.closed_tick


@given(st.integers(), st.lists(st.sampled_from(["pass", "lose", "repeat"]), max_size=12))
def test_what_is_lost_is_a_gap_for_both_and_what_is_repeated_changes_nothing(
    seed: int, fates: list[str]
) -> None:
    stream, mirror, view = Stream(seed), Mirror(), View()
    feed(mirror, view, stream.full())
    for fate in fates:
        for payload in stream.tick():
            # After a lost tick a frame may tell of a record that nobody has heard of.
            if fate != "lose" and not feed(mirror, view, payload):
                return
            if fate == "repeat":
                feed(mirror, view, payload)
        assert differences(mirror.rows(), view.dump()) == []
        assert (mirror.shared_tick, mirror.private_tick) == (view.shared_tick, view.private_tick)


def test_a_field_of_a_record_that_is_not_there_breaks_the_mirror() -> None:
    mirror = Mirror()
    mirror.take_full((5, 1, 10, (), ()))
    with pytest.raises(MirrorBroken, match="record 9"):
        mirror.take_delta((6, 0, 11, 1, (9, 1, 5)))


def test_differences_name_what_differs_and_true_is_not_one() -> None:
    ours, theirs = Mirror(), Mirror()
    ours.take_full((5, 1, 10, (2, 1, 1, 3, 0, (2, 4, "a"), 4, 0, (2, 4, "b")), ()))
    theirs.take_full((5, 1, 10, (2, 1, True, 3, 0, (2, 4, "z"), 5, 0, (2, 4, "c")), ()))
    assert differences(ours.rows(), theirs.rows()) == [
        "record 2 field 1 is 1, not True",
        "record 3 hangs at (2, 4, 'a'), not (2, 4, 'z')",
        "record 4 is only in ours",
        "record 5 is only in theirs",
    ]

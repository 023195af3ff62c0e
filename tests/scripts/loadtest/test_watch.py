"""The watch finds what is wrong in a stream, and blames nobody for what is not."""

from typing import Any

import pytest

from protocol import codec
from protocol.messages import Delta, Full, Joined, LeftCode, Private
from protocol.view import View
from scripts.loadtest.tally import Tally
from scripts.loadtest.watch import Watch
from tests.scripts.loadtest.streams import ROOM, Stream


class Eyes:
    """A watch and a client's view that get the same messages, in the client's order."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.view = View()
        self.watch = Watch("bot 1", self.tally, lambda room_id: self.view)

    def take(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.watch.take(payload)
            message = codec.decode_outbound(payload)
            if isinstance(message, Full | Delta | Private):
                self.view.apply(message)

    @property
    def desyncs(self) -> int:
        return self.tally.counts["desyncs"]

    @property
    def verified(self) -> int:
        return self.tally.counts["verified"]


@pytest.fixture
def eyes() -> Eyes:
    eyes = Eyes()
    eyes.take(joined(resume=0))
    return eyes


def joined(*, resume: int) -> bytes:
    return codec.joined(Joined(1, ROOM, "CODE", "game", 1, 0, 0, resume, "", 0))


def changed_full(stream: Stream) -> bytes:
    """Return a full state with a change that no frame has told."""
    stream.fields[2][1] = "told nobody"
    return stream.full()


def test_a_full_state_that_says_what_the_frames_said_is_verified(eyes: Eyes) -> None:
    stream = Stream(1)
    eyes.take(stream.full())
    for _ in range(5):
        eyes.take(*stream.tick(), stream.full())
    eyes.watch.conclude()
    assert (eyes.verified, eyes.desyncs) == (5, 0)
    assert eyes.tally.counts["views_compared"] == 5


def test_a_full_state_with_a_change_that_no_frame_told_is_a_desync(eyes: Eyes) -> None:
    stream = Stream(1)
    eyes.take(stream.full(), *stream.tick(), changed_full(stream))
    assert eyes.desyncs == 0  # The next frame may show that the server had dropped some.
    eyes.take(*stream.tick(8))
    assert eyes.desyncs == 1
    assert "'told nobody'" in eyes.tally.texts[0]


def test_at_the_end_a_difference_is_a_desync_without_a_next_frame(eyes: Eyes) -> None:
    stream = Stream(1)
    eyes.take(stream.full(), *stream.tick(), changed_full(stream))
    eyes.watch.conclude()
    assert eyes.desyncs == 1


def test_a_room_that_ends_does_not_hide_a_desync(eyes: Eyes) -> None:
    stream = Stream(1)
    eyes.take(stream.full(), *stream.tick(), changed_full(stream))
    eyes.take(codec.left(ROOM, LeftCode.ENDED))
    assert eyes.desyncs == 1


def test_frames_that_were_dropped_for_a_slow_reader_are_no_desync(eyes: Eyes) -> None:
    stream = Stream(1)
    eyes.take(stream.full(), *stream.tick())
    stream.tick(8)  # Dropped: it reaches nobody.
    eyes.take(stream.full(), *stream.tick(8))
    eyes.watch.conclude()
    assert (eyes.verified, eyes.desyncs) == (0, 0)
    assert eyes.tally.counts["skipped_behind"] == 1


def test_a_full_state_may_come_before_the_frames_of_its_own_tick(eyes: Eyes) -> None:
    stream = Stream(1)
    eyes.take(stream.full())
    frames = stream.tick(8)
    eyes.take(stream.full(), *frames, *stream.tick(8))
    assert (eyes.verified, eyes.desyncs) == (1, 0)


def test_a_room_that_goes_back_in_time_is_a_desync(eyes: Eyes) -> None:
    stream = Stream(1)
    early = stream.full()
    eyes.take(early, *stream.tick(), codec.welcome(1, "ann", "", 0), joined(resume=0), early)
    assert eyes.desyncs == 1
    assert "went back" in eyes.tally.texts[0]


def test_after_a_resume_with_a_full_state_nothing_is_compared(eyes: Eyes) -> None:
    stream = Stream(1)
    eyes.take(stream.full(), *stream.tick())
    stream.tick()
    eyes.take(codec.welcome(1, "ann", "", 0), joined(resume=0), stream.full(), *stream.tick(8))
    assert (eyes.verified, eyes.desyncs) == (0, 0)


def test_after_a_resume_without_a_gap_the_stream_goes_on_and_is_checked(eyes: Eyes) -> None:
    stream = Stream(1)
    eyes.take(stream.full(), *stream.tick())
    missed = stream.tick()
    eyes.take(codec.welcome(1, "ann", "", 0), joined(resume=1), *missed, stream.full())
    assert (eyes.verified, eyes.desyncs) == (1, 0)


def test_a_lost_frame_is_a_gap_and_until_the_next_full_state_nothing_is_compared(
    eyes: Eyes,
) -> None:
    stream = Stream(1)
    eyes.take(stream.full())
    stream.tick(8)
    eyes.take(*stream.tick(8), stream.full(), *stream.tick(8))
    assert eyes.tally.counts["gaps"] > 0
    assert eyes.desyncs == 0


def test_a_view_of_the_client_that_went_wrong_is_a_desync(eyes: Eyes) -> None:
    stream = Stream(1)
    eyes.take(stream.full(), *stream.tick())
    eyes.view.records[2][1] = "wrong"
    eyes.take(stream.full())
    assert eyes.desyncs == 1
    assert "the client's view differs" in eyes.tally.texts[0]


def test_a_frame_about_a_record_that_is_not_there_is_a_desync(eyes: Eyes) -> None:
    stream = Stream(1)
    eyes.watch.take(stream.full())
    eyes.watch.take(codec.delta(0, codec.delta_tail(11, 1, codec.packed([999, 1, 1]))))
    assert eyes.desyncs == 1


def test_compressed_messages_are_read_too(eyes: Eyes) -> None:
    stream = Stream(1)
    stream.fields[1][2] = "x" * 5000
    payload = codec.zipped(stream.full())
    assert len(payload) < 1000
    eyes.take(payload, *stream.tick(), codec.zipped(stream.full()))
    assert (eyes.verified, eyes.desyncs) == (1, 0)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x05", b"\x93\x0f\x01\xc4\x01x", b"\x92\x01"])
def test_what_cannot_be_read_is_an_error_and_no_crash(eyes: Eyes, payload: bytes) -> None:
    eyes.watch.take(payload)
    assert eyes.tally.errors == {"unreadable": 1}


def test_the_last_frame_that_changed_anything_is_remembered(eyes: Eyes) -> None:
    stream = Stream(1)
    eyes.take(stream.full())
    told: Any = codec.private(0, codec.private_tail(11, 1, codec.packed([]), [], more=False))
    eyes.take(told)
    assert eyes.watch.changed_tick == -1
    eyes.take(codec.delta(0, codec.delta_tail(12, 2, codec.packed([2, 1, 5]))))
    assert eyes.watch.changed_tick == 12

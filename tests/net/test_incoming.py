"""Frames of clients, cut anywhere: what we read of them is what the library would read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from gameserver.net.incoming import SHORT_MAX, Incoming, library_log, lone_message
from tests.net.rig import BINARY, CLOSE, PING, PONG, TEXT, client_frame

BYTES_MAX = 300
CONT = 0
MASK = b"\x11\x22\x33\x44"
assert SHORT_MAX < BYTES_MAX  # As the settings have it too.


@dataclass
class Heard:
    """What was read of a stream, and what was answered."""

    frames: list[bytes | Opcode] = field(default_factory=list)
    answers: bytes = b""
    has_ended: bool = False


def heard_by_library(stream: bytes) -> Heard:
    """Read byte by byte, so that one frame is told before the next is begun."""
    library = ServerProtocol(state=State.OPEN, max_size=BYTES_MAX, logger=library_log)
    heard, parts = Heard(), b""
    for byte in stream:
        library.receive_data(bytes((byte,)))
        for event in library.events_received():
            assert isinstance(event, Frame)
            if event.opcode in (Opcode.BINARY, Opcode.CONT, Opcode.TEXT):
                parts += event.data
            if event.fin and event.opcode in (Opcode.BINARY, Opcode.CONT):
                heard.frames.append(parts)
            else:
                heard.frames.append(event.opcode)
            if event.opcode is Opcode.TEXT:
                return heard  # The connection ends here, whatever follows.
            if event.fin and event.opcode < Opcode.CLOSE:
                parts = b""
        if library.eof_sent:
            if heard.frames[-1:] != [Opcode.CLOSE]:
                heard.frames.append(Opcode.CLOSE)
            heard.has_ended = True
            break
    heard.answers = b"".join(library.data_to_send())
    return heard


def heard_by_us(reads: Sequence[bytes]) -> Heard:
    """Read as a connection does, which keeps nothing between two frames."""
    heard = Heard()
    incoming: Incoming | None = None
    for data in reads:
        message = lone_message(data) if incoming is None else None
        if message is not None:
            heard.frames.append(message)
            continue
        incoming = incoming or Incoming(BYTES_MAX)
        for frame in incoming.frames(data):
            heard.frames.append(frame)
            if frame is Opcode.TEXT:
                heard.answers = b""  # Whether a ping got one first is up to who cut the stream.
                return heard
        heard.answers += b"".join(incoming.take_answers())
        heard.has_ended = incoming.has_ended
        if incoming.is_between_frames:
            incoming = None
    return heard


def cut(stream: bytes, places: Sequence[int]) -> Iterator[bytes]:
    """Return the stream in pieces."""
    inner = sorted({place % len(stream) for place in places} - {0}) if stream else []
    for first, last in zip([0, *inner], [*inner, len(stream)], strict=True):
        yield stream[first:last]


@st.composite
def raw_frames(draw: st.DrawFn) -> bytes:
    """Return a frame that may be wrong in any way, or not."""
    opcode = draw(st.one_of(st.sampled_from([CONT, BINARY, PING, PONG, CLOSE]), st.integers(0, 15)))
    bits = draw(st.one_of(st.sampled_from([0x80, 0x80, 0x00]), st.integers(0, 15).map(_high)))
    payload = draw(st.binary(max_size=20) | st.integers(100, 320).map(bytes))
    masked = draw(st.sampled_from([0x80] * 7 + [0]))
    widths = [0] * (len(payload) < 126) + [2, 8]
    width = draw(st.sampled_from(widths[:1] * 4 + widths))
    if width == 0:
        length = bytes((masked | len(payload),))
    else:
        length = bytes((masked | {2: 126, 8: 127}[width],)) + len(payload).to_bytes(width, "big")
    body = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes((bits | opcode,)) + length + (MASK + body if masked else payload)


def _high(bits: int) -> int:
    return bits << 4


good_frames = st.one_of(
    st.binary(max_size=200).map(lambda payload: client_frame(BINARY, payload)),
    st.binary(max_size=20).map(lambda payload: client_frame(PING, payload)),
    st.just(client_frame(PONG, b"")),
    st.binary(max_size=20).map(
        lambda payload: (
            client_frame(BINARY, payload, is_last=False)
            + client_frame(PING, b"between")
            + client_frame(CONT, payload)
        )
    ),
)
streams = st.lists(
    st.one_of(good_frames, good_frames, good_frames, raw_frames(), st.binary(max_size=12)),
    max_size=8,
).map(b"".join)
places = st.lists(st.integers(0, 2000), max_size=12)
THREE = client_frame(BINARY, b"a") + client_frame(BINARY, bytes(200)) + client_frame(BINARY, b"c")


@given(streams, places)
@example(client_frame(BINARY, b""), [])
@example(client_frame(BINARY, bytes(SHORT_MAX)), [])
@example(client_frame(BINARY, bytes(SHORT_MAX + 1)), [])
@example(client_frame(BINARY, bytes(BYTES_MAX)) * 2, [])
@example(client_frame(BINARY, bytes(BYTES_MAX + 1)), [8])
@example(THREE, [3, 9, 215])
@example(client_frame(BINARY, b"a", is_last=False) + client_frame(BINARY, b"b"), [])
@example(client_frame(BINARY, b"a", is_last=False) + client_frame(BINARY, b"b"), [7])
@example(client_frame(CONT, b"a"), [])
@example(client_frame(CLOSE, b"\x03\xe8") + client_frame(BINARY, b"late"), [])
@example(client_frame(TEXT, b"a") + client_frame(BINARY, b"late"), [])
@example(b"\xc2\x81" + MASK + b"a", [3])
@example(b"\x82\x01a", [1])
@example(client_frame(BINARY, b"") + client_frame(PING, b"") + b"\x01\x80" + bytes(4), [12])
def test_any_bytes_cut_anywhere_are_read_as_the_library_reads_them(
    stream: bytes, places: list[int]
) -> None:
    assert heard_by_us(list(cut(stream, places))) == heard_by_library(stream)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=9), places)
def test_messages_in_whole_frames_need_no_library(payloads: list[bytes], places: list[int]) -> None:
    incoming = Incoming(BYTES_MAX)
    stream = b"".join(client_frame(BINARY, payload) for payload in payloads)
    taken = [frame for data in cut(stream, places) for frame in incoming.frames(data)]
    assert taken == payloads
    assert incoming.is_between_frames
    assert incoming.take_answers() == []


def test_between_two_frames_nothing_is_kept_of_a_client() -> None:
    incoming = Incoming(BYTES_MAX)
    ping = client_frame(PING, b"hello")
    assert list(incoming.frames(ping[:4])) == []
    assert not incoming.is_between_frames
    assert list(incoming.frames(ping[4:] + client_frame(BINARY, b"a", is_last=False))) == [
        Opcode.PING,
        Opcode.BINARY,
    ]
    assert incoming.take_answers() == [b"\x8a\x05hello"]
    assert not incoming.is_between_frames, "half a message is kept"
    assert list(incoming.frames(client_frame(CONT, b"b"))) == [b"ab"]
    assert incoming.is_between_frames


def test_after_our_own_close_the_client_is_read_until_it_closes() -> None:
    incoming = Incoming(BYTES_MAX)
    incoming.close(1000, "enough")
    assert incoming.take_answers() == [b"\x88\x08\x03\xe8enough"]
    assert list(incoming.frames(client_frame(BINARY, b"more"))) == [b"more"]
    assert list(incoming.frames(b"")) == []
    assert not incoming.is_between_frames
    assert list(incoming.frames(client_frame(CLOSE, b"\x03\xe8") * 2)) == [Opcode.CLOSE]
    assert incoming.has_ended
    assert incoming.is_closed_by_client
    assert incoming.take_answers() == [b""]

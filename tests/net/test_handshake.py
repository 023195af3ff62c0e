"""Requests for an upgrade: what we answer ourselves is what the library would answer."""

from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from gameserver.net.handshake import BAD_REQUEST, answer
from gameserver.net.incoming import library_log
from tests.net.rig import upgrade_request

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ORIGINS = ("https://play.example",)
GOOD = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "gs.v1",
}


def head_of(lines: Sequence[str]) -> bytes:
    """Return a request for an upgrade."""
    return "".join(f"{line}\r\n" for line in ["GET /ws HTTP/1.1", *lines, ""]).encode("latin-1")


def answered_by_library(head: bytes, origins: Sequence[str]) -> tuple[int, Headers]:
    """Return the status and the fields of the library's answer."""
    library = ServerProtocol(
        origins=[*map(Origin, origins), None] if origins else None,
        subprotocols=[Subprotocol("gs.v1")],
        logger=library_log,
    )
    library.receive_data(head)
    events = library.events_received()
    if not events:
        return 400, Headers({"Connection": "close", "Content-Length": "0"})
    assert isinstance(events[0], Request)
    response = library.accept(events[0])
    return response.status_code, response.headers


def fields_of(response: bytes) -> dict[str, str]:
    """Return the fields of an answer, but for the date."""
    lines = response.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")[1:]
    fields = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    fields.pop("Date", None)
    return fields


values = st.one_of(
    st.sampled_from(["websocket", "WebSocket", "h2c", "Upgrade", "keep-alive, Upgrade", "close"]),
    st.sampled_from([KEY, KEY[:-1], "x" * 24, "A" * 22 + "==", "13", "8", "gs.v1", "gs.v1, x"]),
    st.sampled_from(["https://play.example", "https://evil.example", "0", "1", "chunked", ""]),
    st.text(st.characters(codec="latin-1"), max_size=12),
)
names = st.one_of(
    st.sampled_from([*GOOD, "Origin", "Content-Length", "Transfer-Encoding"]),
    st.sampled_from(["Sec-WebSocket-Extensions", "Cookie", "upgrade", "CONNECTION", "", "a b"]),
    st.text(st.characters(codec="ascii"), max_size=8),
)
spaces = st.sampled_from([" ", "", "\t ", "  "])
lines = st.builds(lambda *parts: "".join(parts), names, st.just(":"), spaces, values, spaces)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Return a good request with some fields changed, left out, doubled or added."""
    good = [f"{name}: {value}" for name, value in GOOD.items()]
    left_out = draw(st.sets(st.integers(0, 20)))
    kept = [line for at, line in enumerate(good) if at not in left_out]
    return head_of(draw(st.permutations([*kept, *draw(st.lists(lines, max_size=3))])))


@given(heads(), st.sampled_from([(), ORIGINS]))
@example(head_of([f"{name}: {value}" for name, value in GOOD.items()]), ())
@example(upgrade_request(), ORIGINS)
@example(upgrade_request("Origin: https://play.example"), ORIGINS)
@example(upgrade_request("Origin: https://evil.example"), ORIGINS)
@example(upgrade_request("Sec-WebSocket-Key: " + KEY), ())
@example(upgrade_request(*(f"X-{number}: x" for number in range(200))), ())
@example(upgrade_request("Cookie: " + "x" * 9_000), ())
@example(upgrade_request("Transfer-Encoding: chunked"), ())
@example(upgrade_request("Content-Length: 3"), ())
@example(upgrade_request(path="/ws?a=b"), ())
def test_any_request_is_answered_as_the_library_answers_it(
    head: bytes, origins: Sequence[str]
) -> None:
    status, response = answer(head, origins)
    expected, fields = answered_by_library(head, origins)
    assert status == expected
    assert response == BAD_REQUEST or response.startswith(b"HTTP/1.1 %d " % status)
    assert fields_of(response) == {
        name: value for name, value in fields.raw_items() if name != "Date"
    }


def test_the_usual_request_is_answered_with_the_proof_of_the_specification() -> None:
    status, response = answer(upgrade_request(), ())
    assert status == 101
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response
    assert b"Date" not in response, "the library would have said when"

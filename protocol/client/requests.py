"""Questions over one link that have no answer yet.

Each has a number of its own, and fails when the connection breaks under it. Whether it is asked
again, and where, is for whoever asks. It knows nothing of what is asked or of how messages travel.
"""

import asyncio
from collections.abc import Callable

import msgspec

from protocol.client.errors import ClientError, RequestRefused
from protocol.codec import RemoteProtocolError, decode_inbound, encode_inbound
from protocol.messages import (
    ErrorBody,
    Inbound,
    JoinBy,
    Joined,
    Redirect,
    Reply,
    ReplyCode,
)

REQUEST_NUMBERS = 2**31

Answer = Reply | Joined | Redirect
Make = Callable[[int], Inbound]  # Makes the question under its number.

_error_body = msgspec.msgpack.Decoder(ErrorBody)


class Requests:
    """Numbers questions and hands out their answers."""

    def __init__(self, post: Callable[[bytes], None]) -> None:
        # Bounded by the callers, each of which waits for one.
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._next_number = 0
        self._post = post

    def __len__(self) -> int:
        """Return how many have no answer yet."""
        return len(self._asked)

    async def ask(self, make: Make) -> Answer:
        """Ask and return the answer, or raise what ``fail`` gives; the caller sets a deadline."""
        number = self._next_number
        self._next_number = (number + 1) % REQUEST_NUMBERS
        payload = _checked(make(number))
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = answered
        self._post(payload)
        try:
            return await answered
        finally:
            del self._asked[number]

    def fail(self, error: ClientError) -> None:
        """Answer everything that waits with ``error``."""
        for answered in self._asked.values():
            if not answered.done():
                answered.set_exception(error)

    def take(self, answer: Answer) -> bool:
        """Hand an answer to whoever waits for it; tell whether somebody does."""
        answered = self._asked.get(answer.request)
        if answered is None or answered.done():
            return False
        answered.set_result(answer)
        return True


def _checked(message: Inbound) -> bytes:
    """Encode what somebody typed, perhaps: the server would end the connection over a mistake."""
    payload = encode_inbound(message)
    try:
        decode_inbound(payload)
    except RemoteProtocolError as error:
        raise ValueError(f"not a {type(message).__name__}: {error.text}") from error
    return payload


def refusal(reply: Reply) -> RequestRefused:
    """Return the error that a Reply with a code stands for."""
    try:
        body = _error_body.decode(reply.body)
    except msgspec.DecodeError as error:  # A later server may put something else there.
        return RequestRefused(reply.code, "UNREADABLE", str(error), -1)
    return RequestRefused(reply.code, body.name, body.detail, body.retry_ms)


def unavailable(detail: str, retry_ms: int) -> RequestRefused:
    """Return the error of what cannot be had now, and perhaps can a little later."""
    code = ReplyCode.UNAVAILABLE
    return RequestRefused(code, code.name, detail, retry_ms)


def join_by(code: str | None, room_id: int | None, game: str | None) -> tuple[JoinBy, str | int]:
    """Return the two fields of a Join that say which room is meant."""
    ways: list[tuple[JoinBy, str | int]] = []
    if code is not None:
        ways.append((JoinBy.CODE, code))
    if room_id is not None:
        ways.append((JoinBy.ID, room_id))
    if game is not None:
        ways.append((JoinBy.ANY, game))
    if len(ways) != 1:
        raise ValueError("join by a code, an id or a game: one of them")
    return ways[0]

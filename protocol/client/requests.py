"""Questions to the server that have no answer yet, and asking them again.

Each has a number of its own. A question that may be asked twice is asked again after a
reconnection; one that may not fails when the connection breaks under it. It knows nothing of what
is asked or of how messages travel.
"""

import asyncio
from collections.abc import Callable

import msgspec

from protocol.client.errors import (
    AnswerTimeout,
    ClientError,
    ConnectionLost,
    Redirected,
    RequestRefused,
)
from protocol.client.options import Options
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

_error_body = msgspec.msgpack.Decoder(ErrorBody)


class _Asked:
    """One question without an answer."""

    __slots__ = ("again", "answered", "payload")

    def __init__(self, payload: bytes, answered: asyncio.Future[Answer], *, again: bool) -> None:
        self.payload = payload
        self.answered = answered
        self.again = again


class Requests:
    """Numbers questions and hands out their answers."""

    def __init__(self, options: Options) -> None:
        self._options = options
        # Bounded by the callers, each of which waits for one.
        self._asked: dict[int, _Asked] = {}
        self._next_number = 0
        self._post: Callable[[bytes], None] | None = None
        self._ended: ClientError | None = None

    async def ask(
        self, make: Callable[[int], Inbound], *, again: bool, timeout_ms: int
    ) -> Reply | Joined:
        """Ask and return the answer; while the server says *later*, ask again later.

        ``again`` allows to ask twice when the connection breaks. Raises RequestRefused,
        Redirected, ConnectionLost, AnswerTimeout, ClientStopped.
        """
        refused: RequestRefused | None = None
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while True:
                    answer = await self._once(make, again)
                    if isinstance(answer, Redirect):
                        raise Redirected(answer.url, answer.ticket)
                    if isinstance(answer, Joined) or answer.code == ReplyCode.OK:
                        return answer
                    refused = _refusal(answer)
                    if refused.retry_ms < 0:
                        raise refused
                    retry_s = refused.retry_ms / 1000
                    await asyncio.sleep(retry_s + self._options.jitter(max(retry_s / 2, 0.01)))
        except TimeoutError as error:
            if refused is not None:
                raise refused from error
            raise AnswerTimeout("no answer to a request") from error

    async def _once(self, make: Callable[[int], Inbound], again: bool) -> Answer:
        if self._ended is not None:
            raise self._ended
        number = self._next_number
        self._next_number = (number + 1) % REQUEST_NUMBERS
        payload = _checked(make(number))
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = _Asked(payload, answered, again=again)
        if self._post is not None:
            self._post(payload)
        try:
            return await answered
        finally:
            del self._asked[number]

    def resume(self, post: Callable[[bytes], None]) -> None:
        """Send what waits over a new connection, and what is asked from now on."""
        self._post = post
        for asked in self._asked.values():
            if not asked.answered.done():
                post(asked.payload)

    def pause(self) -> None:
        """Keep what may be asked again and fail the rest: all of it had been sent."""
        self._post = None
        for asked in self._asked.values():
            if not asked.again and not asked.answered.done():
                asked.answered.set_exception(ConnectionLost("the connection broke"))

    def end(self, error: ClientError) -> None:
        """Answer everything with ``error``, now and from now on."""
        self._ended = error
        for asked in self._asked.values():
            if not asked.answered.done():
                asked.answered.set_exception(error)

    def take(self, answer: Answer) -> bool:
        """Hand an answer to whoever waits for it; tell whether somebody does."""
        asked = self._asked.get(answer.request)
        if asked is None or asked.answered.done():
            return False
        asked.answered.set_result(answer)
        return True


def _checked(message: Inbound) -> bytes:
    """Encode what somebody typed, perhaps: the server would end the connection over a mistake."""
    payload = encode_inbound(message)
    try:
        decode_inbound(payload)
    except RemoteProtocolError as error:
        raise ValueError(f"not a {type(message).__name__}: {error.text}") from error
    return payload


def _refusal(reply: Reply) -> RequestRefused:
    try:
        body = _error_body.decode(reply.body)
    except msgspec.DecodeError as error:  # A later server may put something else there.
        return RequestRefused(reply.code, "UNREADABLE", str(error), -1)
    return RequestRefused(reply.code, body.name, body.detail, body.retry_ms)


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

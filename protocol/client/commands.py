"""The commands of one room that have no answer yet: numbers, repeats, deadlines.

Exactly once: a command keeps its number until it is answered, and is sent again under it after a
deferral and after every reconnection; the server recognises the number. No more numbers may be
open than the server remembers. It knows nothing of views or connections.
"""

import asyncio
from collections.abc import Callable

import msgspec

from protocol.client.errors import (
    AnswerTimeout,
    ClientError,
    CommandDeferred,
    CommandInvalid,
    TooManyCommands,
)
from protocol.client.options import Counters, Options
from protocol.codec import encode_inbound
from protocol.messages import (
    COMMANDS_UNANSWERED_MAX,
    INBOUND_BYTES_MAX,
    Command,
    Deferred,
    Invalid,
    InvalidCode,
    Outcome,
)

Answer = Outcome | ClientError
OnAnswer = Callable[[Answer], None]
Body = bytes | list[object] | tuple[object, ...] | msgspec.Struct


_OF_THIS_SENDING = frozenset({InvalidCode.NOT_IN_ROOM, InvalidCode.NOT_SEATED})


class _Open:
    """One command without an answer."""

    __slots__ = ("deferral", "is_doubtful", "on_answer", "payload", "retry", "sent", "timer")

    def __init__(self, payload: bytes, on_answer: OnAnswer | None) -> None:
        self.payload = payload
        self.on_answer = on_answer
        self.sent = False
        self.timer: asyncio.TimerHandle | None = None
        self.retry: asyncio.TimerHandle | None = None
        # The server's last word, if it was a deferral; None once the command is on its way again.
        self.deferral: Deferred | None = None
        # Sent over a connection that broke before any word on it: a tick may have taken it then,
        # whatever becomes of it when it is sent again.
        self.is_doubtful = False


class Commands:
    """Numbers and sends the commands of one room and hands out their answers.

    ``send`` puts a message on the way; it is called only between ``resume`` and ``pause``.
    """

    def __init__(
        self, room_id: int, options: Options, counters: Counters, send: Callable[[bytes], None]
    ) -> None:
        self._room_id = room_id
        self._options = options
        self._counters = counters
        self._send = send
        # By number, in ascending order. Bounded by COMMANDS_UNANSWERED_MAX; one more is refused.
        self._open: dict[int, _Open] = {}
        self._next_number = 0  # Below any number; the first join says where to begin.
        self._live = False
        self._ended: ClientError | None = None

    @property
    def unanswered(self) -> int:
        """Return how many commands have no answer yet."""
        return len(self._open)

    def submit(self, body: Body, on_answer: OnAnswer | None, timeout_ms: int) -> int:
        """Send a command and return its number; ``on_answer`` is called once, with the answer."""
        if self._ended is not None:
            raise self._ended
        number = self._next_number
        if self._open and number - next(iter(self._open)) >= COMMANDS_UNANSWERED_MAX:
            raise TooManyCommands(f"{len(self._open)} commands are unanswered")
        raw = body if isinstance(body, bytes) else msgspec.msgpack.encode(body)
        payload = encode_inbound(Command(self._room_id, number, msgspec.Raw(raw)))
        if not raw or len(payload) > INBOUND_BYTES_MAX:
            raise CommandInvalid(InvalidCode.MALFORMED, InvalidCode.MALFORMED.name, "body")
        self._next_number += 1
        command = _Open(payload, on_answer)
        self._open[number] = command
        loop = asyncio.get_running_loop()
        command.timer = loop.call_later(timeout_ms / 1000, self._expire, number)
        self._counters.commands_sent += 1
        if self._live:
            self._put(command)
        return number

    def resume(self, highest_number: int) -> None:
        """Go on after a join: send what is unanswered, number on above both sides' highest.

        Where other devices may have numbered, it goes on somewhere above: two devices that chose
        the same number would each take the outcome of the other's command for its own.
        """
        self._live = True
        if highest_number >= self._next_number:
            self._next_number = highest_number + 1 + self._options.number_gap()
        for command in self._open.values():
            self._put(command)

    def pause(self) -> None:
        """Send nothing until ``resume``: the connection is gone."""
        self._live = False
        for command in self._open.values():
            command.is_doubtful |= command.sent and command.deferral is None

    def end(self, error: ClientError) -> None:
        """Answer everything with ``error``, now and from now on."""
        self._live = False
        self._ended = error
        for number in list(self._open):
            self._answer(number, error)

    def take_outcome(self, outcome: Outcome) -> None:
        """Hand an outcome to whoever waits for it; one that was answered before is ignored."""
        self._answer(outcome.number, outcome)

    def take_invalid(self, message: Invalid) -> None:
        """Take the server's word that a command never reached the room.

        Of who is not there (any more) that word is on this sending alone: an earlier one, over a
        connection that broke, may have reached the room. Then only the deadline answers.
        """
        command = self._open.get(message.number)
        if command is not None and command.is_doubtful and message.code in _OF_THIS_SENDING:
            return
        self._answer(message.number, CommandInvalid(message.code, message.name, message.field))

    def take_deferred(self, message: Deferred) -> None:
        """Send the command again, a little later than the server asks for, under its number."""
        self._counters.deferrals += 1
        command = self._open.get(message.number)
        if command is None:
            return
        command.deferral = message
        if command.retry is not None:
            command.retry.cancel()
        retry_s = max(message.retry_ms, 0) / 1000
        # A jitter of half the wait keeps all those who were deferred together from coming together.
        delay_s = retry_s + self._options.jitter(max(retry_s / 2, 0.01))
        command.retry = asyncio.get_running_loop().call_later(delay_s, self._retry, command)

    def _retry(self, command: _Open) -> None:
        command.retry = None
        if self._live:
            self._put(command)

    def _put(self, command: _Open) -> None:
        if command.retry is not None:
            command.retry.cancel()
            command.retry = None
        command.deferral = None
        if command.sent:
            self._counters.commands_sent_again += 1
        command.sent = True
        self._send(command.payload)

    def _expire(self, number: int) -> None:
        command = self._open[number]
        deferral = command.deferral
        if deferral is not None and not command.is_doubtful:
            self._answer(number, CommandDeferred(deferral.code, deferral.retry_ms))
        else:
            self._answer(number, AnswerTimeout(f"no answer to command {number}"))

    def _answer(self, number: int, answer: Answer) -> None:
        command = self._open.pop(number, None)
        if command is None:
            return
        for timer in (command.timer, command.retry):
            if timer is not None:
                timer.cancel()
        if command.on_answer is not None:
            command.on_answer(answer)

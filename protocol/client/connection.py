"""One connection of a client, from Hello to its end.

It writes what is posted, hands out what comes, answers pings and notices silence. It does not know
rooms or requests, and it does not come back: that is for the client.

    Exception
      Ended      the connection is over; only between a connection's own tasks
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from protocol.client.errors import TransportClosed
from protocol.client.options import Counters, Options
from protocol.client.transport import ABNORMAL, Transport
from protocol.codec import RemoteProtocolError, encode_inbound
from protocol.messages import AnyOutbound, Bye, Goodbye, Hello, Ping, Pong, ServerPing
from protocol.session import ClientSession, State

OUTBOX_MESSAGES_MAX = 8_192
SILENT = "SILENT"
PROBES = 5  # Looks into a silence before it is taken for an end.

_BYE = encode_inbound(Bye())
_PING = encode_inbound(Ping(0))


class Ended(Exception):
    """The connection is over, with the code that says what to do next."""

    def __init__(self, code: int, name: str, retry_ms: int = -1) -> None:
        super().__init__(f"{code} {name}")
        self.code = code
        self.name = name
        self.retry_ms = retry_ms


class Connection:
    """Runs one transport. ``take`` gets every message of the server but pings and Goodbye.

    While ``is_awaited`` says that an answer is waited for which others could give, silence ends the
    connection soon.
    """

    def __init__(
        self,
        transport: Transport,
        options: Options,
        counters: Counters,
        take: Callable[[AnyOutbound], None],
        is_awaited: Callable[[], bool],
    ) -> None:
        self._transport = transport
        self._options = options
        self._counters = counters
        self._take = take
        self._session = ClientSession()
        # A server that takes nothing for so long is gone: when it is full, the connection ends,
        # and what matters is sent again over the next one.
        self._outbox: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._heard_ns = options.now_ns()
        self._is_awaited = is_awaited
        self._probe: asyncio.TimerHandle | None = None
        self._probed_ns = 0  # When the timer was set.
        self._asked_ns = 0
        self._alarm = asyncio.Event()

    def post(self, payload: bytes) -> None:
        """Put a message on its way."""
        self._outbox.append(payload)
        self._wake.set()
        if self._probe is None and self._session.state is State.OPEN:
            self._asked_ns = self._options.now_ns()
            self._plan_probe()

    async def run(self, hello: Hello, timeout_ms: int) -> Ended:
        """Say hello and carry messages until the connection is over; then it is to be closed.

        Without a Welcome in ``timeout_ms`` it is over. Cancelled, it says goodbye and closes.
        """
        self.post(encode_inbound(hello))
        ended: Ended | None = None
        try:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._write())
                    tasks.create_task(self._watch())
                    await self._read(timeout_ms)
            except* Ended as ends:
                ended = next(end for end in ends.exceptions if isinstance(end, Ended))
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # Before Python 3.13 a group whose body fails as it is cancelled forgets the cancel.
                raise asyncio.CancelledError
        finally:
            if self._probe is not None:
                self._probe.cancel()
            if ended is None:
                await self._close(bye=True)
        assert ended is not None, "Reading ends by an exception only."
        return ended

    async def close(self) -> None:
        """Close what is over; takes a while if the server does not answer."""
        await self._close(bye=False)

    async def _read(self, timeout_ms: int) -> None:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while self._session.state is State.NEW:
                    await self._read_one()
        except TimeoutError as error:
            raise Ended(ABNORMAL, "NO_WELCOME") from error
        while True:
            await self._read_one()  # The deadline is that of _watch.

    async def _read_one(self) -> None:
        try:
            payload = await self._transport.recv()
        except TransportClosed as error:
            raise Ended(error.code, error.reason) from error
        options, counters = self._options, self._counters
        if options.on_message is not None:
            options.on_message(payload)
        counters.messages_received += 1
        counters.bytes_received += len(payload)
        self._heard_ns = options.now_ns()
        try:
            message = self._session.receive(payload)
        except RemoteProtocolError as error:
            # A server that speaks otherwise will do so again: the code says not to come back.
            raise Ended(error.close_code, error.text) from error
        if type(message) is ServerPing:
            self.post(encode_inbound(Pong(message.echo)))
        elif type(message) is Goodbye:
            raise Ended(message.close_code, message.name, message.retry_ms)
        else:
            self._take(message)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                async with asyncio.timeout(self._options.idle_timeout_ms / 1000):
                    while self._outbox:
                        if len(self._outbox) > OUTBOX_MESSAGES_MAX:
                            raise Ended(ABNORMAL, "STUCK")
                        await self._transport.send(self._outbox.popleft())
            except TransportClosed:
                return  # The reader learns of it too, and knows the close code.
            except TimeoutError as error:
                raise Ended(ABNORMAL, "STUCK") from error

    async def _watch(self) -> None:
        options = self._options
        period_ms = options.idle_timeout_ms // 3
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(period_ms / 1000):
                    await self._alarm.wait()
            silent_ms = (options.now_ns() - self._heard_ns) // 1_000_000
            if silent_ms >= options.idle_timeout_ms or self._alarm.is_set():
                raise Ended(ABNORMAL, SILENT)
            if silent_ms >= period_ms and self._session.state is State.OPEN:
                self.post(_PING)

    def _plan_probe(self) -> None:
        self._probed_ns = self._options.now_ns()
        delay_s = self._options.silence_ms / PROBES / 1000
        self._probe = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _look(self) -> None:
        """Look whether what was asked had any echo."""
        now_ns, silence_ns = self._options.now_ns(), self._options.silence_ms * 1_000_000
        if not self._is_awaited():
            self._probe = None
            return
        if now_ns - self._probed_ns > 2 * silence_ns // PROBES:
            self._asked_ns = now_ns  # It was this side that stood still, and has not read yet.
        silent_ns = now_ns - max(self._heard_ns, self._asked_ns)
        self._plan_probe()
        if silent_ns >= silence_ns:
            self._alarm.set()
        elif silent_ns >= 2 * silence_ns // PROBES:
            self.post(_PING)

    async def _close(self, *, bye: bool) -> None:
        with contextlib.suppress(OSError):  # Time-outs among them: it was over anyway.
            async with asyncio.timeout(self._options.close_timeout_ms / 1000):
                if bye and self._session.state is State.OPEN:
                    while self._outbox:
                        await self._transport.send(self._outbox.popleft())
                    await self._transport.send(_BYE)
                await self._transport.close()

"""What a client may be told instead of what it asked for.

Exception
  ClientError
    ClientStopped        the server said not to come back, or the client was left
    ConnectionLost       the connection broke; whether the request was done is not known
    AnswerTimeout        nobody answered in time (also a TimeoutError)
    RequestRefused       the server answered with an error
    RoomClosed           the room is no longer seen
    CommandInvalid       the command did not reach the room, and never will as it is
    CommandDeferred      time ran out, and no tick had taken the command
    TooManyCommands      as many commands are unanswered as the server remembers
  OSError
    TransportClosed      the transport ended; only between a transport and its client
"""

from protocol.closes import close_name


class ClientError(Exception):
    """A client did not get what it asked for."""


class ClientStopped(ClientError):
    """The client does not connect again: ``code`` and ``name`` are those of the close."""

    def __init__(self, code: int, name: str = "") -> None:
        self.code = code
        self.name = name or close_name(code)
        super().__init__(f"stopped: {code} {self.name}".rstrip())


class ConnectionLost(ClientError):
    """The connection broke while a request was under way that must not be sent twice."""


class AnswerTimeout(ClientError, TimeoutError):
    """Nobody answered in time. A command may still have been taken."""


class RequestRefused(ClientError):
    """The server answered with an error; the codes are those of ``ReplyCode``."""

    def __init__(self, code: int, name: str, detail: str, retry_ms: int) -> None:
        super().__init__(f"{name}: {detail}" if detail else name)
        self.code = code
        self.name = name
        self.detail = detail
        self.retry_ms = retry_ms


class RoomClosed(ClientError):
    """The room is no longer seen; the codes are those of ``LeftCode``, 0 if it did not resume."""

    def __init__(self, code: int, name: str) -> None:
        super().__init__(name)
        self.code = code
        self.name = name


class CommandInvalid(ClientError):
    """The command did not reach the room; the codes are those of ``InvalidCode``."""

    def __init__(self, code: int, name: str, field: str) -> None:
        super().__init__(f"{name}: {field}" if field else name)
        self.code = code
        self.name = name
        self.field = field


class CommandDeferred(ClientError):
    """Time ran out, and no tick had taken the command; the codes are those of ``DeferralCode``."""

    def __init__(self, code: int, retry_ms: int) -> None:
        super().__init__(f"deferred: {code}")
        self.code = code
        self.retry_ms = retry_ms


class TooManyCommands(ClientError):
    """As many commands are unanswered as the server remembers: one more might be done twice."""


class TransportClosed(OSError):
    """The transport ended, with the close code that was received; 1006 if there was none."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason

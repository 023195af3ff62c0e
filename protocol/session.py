"""What may be said when: one connection's protocol state, for either side.

Sans-I/O: bytes come in, typed messages or a ``RemoteProtocolError`` come out. It knows nothing of
sockets, tokens or rooms. The tables say what is legal; a pair that is missing is an error.
"""

from enum import Enum

from protocol.closes import CloseCode
from protocol.codec import RemoteProtocolError, decode_inbound, decode_outbound
from protocol.messages import (
    VERSION,
    AnyInbound,
    AnyOutbound,
    Balance,
    Bye,
    Command,
    Deferred,
    Delta,
    Full,
    Goodbye,
    Hello,
    Invalid,
    Join,
    Joined,
    Leave,
    Left,
    Moved,
    Nodes,
    Outcomes,
    Ping,
    Pong,
    Private,
    Redirect,
    Reply,
    Request,
    Resume,
    Resync,
    Roster,
    ServerPing,
    ServerPong,
    Welcome,
)


class State(Enum):
    """Where a session stands. It only moves forward."""

    __hash__ = object.__hash__  # An Enum's own is written in Python, and every message needs it.

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


# What the server accepts from a client.
ON_RECEIVE: dict[State, dict[type, State]] = {
    State.NEW: {Hello: State.OPEN},
    State.OPEN: {
        Ping: State.OPEN,
        Pong: State.OPEN,
        Request: State.OPEN,
        Join: State.OPEN,
        Resume: State.OPEN,
        Leave: State.OPEN,
        Command: State.OPEN,
        Resync: State.OPEN,
        Bye: State.CLOSED,
    },
    State.CLOSED: {},
}

# What a client accepts from the server.
ON_CLIENT_RECEIVE: dict[State, dict[type, State]] = {
    State.NEW: {
        Welcome: State.OPEN,
        ServerPing: State.NEW,  # Checking a token may take the server longer than its ping.
        Goodbye: State.CLOSED,
    },
    State.OPEN: {
        ServerPong: State.OPEN,
        Reply: State.OPEN,
        Joined: State.OPEN,
        Full: State.OPEN,
        Delta: State.OPEN,
        Private: State.OPEN,
        Deferred: State.OPEN,
        Roster: State.OPEN,
        Left: State.OPEN,
        Redirect: State.OPEN,
        Balance: State.OPEN,
        ServerPing: State.OPEN,
        Invalid: State.OPEN,
        Outcomes: State.OPEN,
        Moved: State.OPEN,
        Nodes: State.OPEN,
        Goodbye: State.CLOSED,
    },
    State.CLOSED: {},
}


class ServerSession:
    """The server's side of one connection.

    Hello opens it. Who opened it and what that allows is for the caller to find out, before it
    answers with Welcome.
    """

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = State.NEW

    def receive(self, payload: bytes) -> AnyInbound:
        """Return the client's message if it is legal now, or raise ``RemoteProtocolError``."""
        message = decode_inbound(payload)
        state = ON_RECEIVE[self.state].get(type(message))
        if state is None:
            raise _illegal(self.state, message)
        if type(message) is Hello and VERSION not in message.versions:
            raise RemoteProtocolError(
                CloseCode.VERSION_UNSUPPORTED, f"this server speaks version {VERSION}"
            )
        self.state = state
        return message

    def close(self) -> None:
        """Take nothing more from the client."""
        self.state = State.CLOSED


class ClientSession:
    """The client's side of one connection: Welcome opens it, Goodbye ends it."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = State.NEW

    def receive(self, payload: bytes) -> AnyOutbound:
        """Return the server's message if it is legal now, or raise ``RemoteProtocolError``."""
        message = decode_outbound(payload)
        state = ON_CLIENT_RECEIVE[self.state].get(type(message))
        if state is None:
            raise _illegal(self.state, message)
        self.state = state
        return message


def _illegal(state: State, message: AnyInbound | AnyOutbound) -> RemoteProtocolError:
    text = f"{type(message).__name__} is not legal when {state.value}"
    return RemoteProtocolError(CloseCode.PROTOCOL_ERROR, text)

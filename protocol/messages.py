"""The closed set of messages of gs.v1: what may be said, with the bounds of every field.

Each message is one MessagePack array: its tag, then the fields in the order in which they stand
here. What is inside a body is not known here: its game or its service types it.

Inbound is what a client sends; unknown fields are refused. Outbound is what the server sends; a
later server may append fields, which are ignored.
"""

from enum import IntEnum
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

VERSION = 1
SUBPROTOCOL = "gs.v1"
TICK_MS = 50
INT_MAX = 2**53 - 1  # What every client language can hold exactly in a double.
INBOUND_BYTES_MAX = 4096
COMMANDS_UNANSWERED_MAX = 64  # The server remembers as many command numbers of a seat.
TOKEN_CHARS_MAX = 2048  # Of tokens and of tickets: both travel in Hello.
NODES_MAX = 64  # Enough to find a way in; which node owns what is told by Redirect.

Id = Annotated[int, Meta(ge=1, le=INT_MAX)]
Tick = Annotated[int, Meta(ge=0, le=INT_MAX)]
Count = Annotated[int, Meta(ge=0, le=INT_MAX)]
Signed = Annotated[int, Meta(ge=-INT_MAX, le=INT_MAX)]
RequestId = Annotated[int, Meta(ge=0, le=2**31)]
Seat = Annotated[int, Meta(ge=-1, le=INT_MAX)]
Code = Annotated[int, Meta(ge=0, le=2**31)]
RetryMs = Annotated[int, Meta(ge=-1, le=INT_MAX)]
Changes = list[Any]  # record, field, value, record, field, value, ...


class JoinBy(IntEnum):
    """What the value of a Join names."""

    CODE = 1
    ID = 2
    ANY = 3


class ReplyCode(IntEnum):
    """How a request ended."""

    OK = 0
    BAD_REQUEST = 1
    UNKNOWN_METHOD = 2
    NOT_FOUND = 3
    ROOM_FULL = 4
    ROOM_ENDED = 5
    ROOM_SET_ASIDE = 6
    BAD_SETTINGS = 7
    BAD_NAME = 8
    UNAVAILABLE = 9
    RATE_LIMITED = 10
    TOO_MANY_ROOMS = 11
    UNKNOWN_GAME = 12
    ALREADY_JOINED = 13  # Reserved: a second join is answered with the full state again.
    REFUSED = 14
    BUSY = 15


class OutcomeKind(IntEnum):
    """The one final word on a command."""

    ACCEPTED = 0
    REFUSED = 1
    FAILED = 2


class DeferralCode(IntEnum):
    """Why no tick took a command; its number stays free."""

    UNAVAILABLE = 1
    BUSY = 2
    RATE_LIMITED = 3


class LeftCode(IntEnum):
    """Why a viewer no longer sees a room."""

    LEFT = 1
    REPLACED = 2
    ENDED = 3
    SET_ASIDE = 4
    REMOVED = 5


class InvalidCode(IntEnum):
    """Why a command did not reach a room, and never will as it is."""

    NOT_IN_ROOM = 1
    NOT_SEATED = 2
    MALFORMED = 3
    UNKNOWN_COMMAND = 4


class Inbound(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What a client may say."""


class Hello(Inbound, frozen=True, tag=1):
    """Say who one is, by a token or a ticket: first, and once. An empty token makes a guest."""

    versions: Annotated[list[Annotated[int, Meta(ge=0, le=255)]], Meta(min_length=1, max_length=8)]
    token: Annotated[str, Meta(max_length=TOKEN_CHARS_MAX)]
    name: Annotated[str, Meta(max_length=32)]
    client: Annotated[str, Meta(max_length=64)]


class Ping(Inbound, frozen=True, tag=2):
    """Ask for a ServerPong with the same number and the server's time."""

    echo: Signed


class Request(Inbound, frozen=True, tag=3):
    """Ask a service, outside rooms."""

    request: RequestId
    method: Annotated[str, Meta(max_length=32)]
    body: Raw


class Join(Inbound, frozen=True, tag=4):
    """Take a seat in a room, or watch it."""

    request: RequestId
    by: JoinBy
    value: Annotated[str, Meta(min_length=1, max_length=64)] | Id
    watch: bool

    def __post_init__(self) -> None:
        if isinstance(self.value, int) != (self.by == JoinBy.ID):
            raise ValueError("the value does not fit what it joins by")


class Resume(Inbound, frozen=True, tag=5):
    """See a room again, from the tick after the last closed one."""

    request: RequestId
    room: Id
    closed_tick: Tick
    watch: bool


class Leave(Inbound, frozen=True, tag=6):
    """Give the seat up, or stop watching."""

    request: RequestId
    room: Id


class Command(Inbound, frozen=True, tag=7):
    """Ask to change a room, under a number of the client's own."""

    room: Id
    number: Id
    body: Raw


class Resync(Inbound, frozen=True, tag=8):
    """Ask for the full state after a gap."""

    room: Id


class Bye(Inbound, frozen=True, tag=9):
    """Announce the end: the server closes with 1000."""


class Pong(Inbound, frozen=True, tag=10):
    """Answer the server's Ping."""

    echo: Signed


AnyInbound = Hello | Ping | Request | Join | Resume | Leave | Command | Resync | Bye | Pong


class Outbound(Struct, frozen=True, array_like=True, gc=False):
    """What the server may say."""


class Welcome(Outbound, frozen=True, tag=1):
    """Answer Hello: who one is from now on. An empty token means: keep yours."""

    version: Count
    account: Id
    name: str
    token: str
    server_time_ms: Signed
    tick_ms: Count


class ServerPong(Outbound, frozen=True, tag=2):
    """Answer Ping."""

    echo: Signed
    server_time_ms: Signed


class Reply(Outbound, frozen=True, tag=3):
    """Answer a Request, a Leave, or a Join that failed. With a code the body is an ErrorBody."""

    request: RequestId
    code: Code
    body: Raw


class ErrorBody(Struct, frozen=True, array_like=True, gc=False):
    """What a Reply with a code other than 0 holds."""

    name: str
    detail: str
    retry_ms: RetryMs


class Joined(Outbound, frozen=True, tag=4):
    """Answer Join or Resume: the room is seen from now on, and is called ``handle`` here."""

    request: RequestId
    room: Id
    code: str
    game: str
    rules_version: Count
    seat: Seat
    highest_number: Count
    resume: Annotated[int, Meta(ge=0, le=1)]
    reason: str
    handle: Count


class Full(Outbound, frozen=True, tag=5):
    """Show all that this viewer may see at a tick."""

    room: Id
    tick: Tick
    public_changes: Changes
    private_changes: Changes


class Change(Outbound, frozen=True):
    """What changed in a tick since the one that was ``step`` ticks before."""

    handle: Count
    tick: Tick
    step: Tick
    changes: Changes


class Delta(Change, frozen=True, tag=6):
    """Show what changed for everybody."""


class Outcome(Struct, frozen=True, array_like=True, gc=False):
    """The final word on one command."""

    number: Id
    tick: Tick
    kind: Code
    code: Code
    name: str
    field: str

    @property
    def accepted(self) -> bool:
        """Tell whether the command did what it asked for."""
        return self.kind == OutcomeKind.ACCEPTED


class Private(Change, frozen=True, tag=7):
    """Show one seat what changed for it alone, and the outcomes of its commands."""

    outcomes: list[Outcome]
    more: bool


class Deferred(Outbound, frozen=True, tag=8):
    """Say that no tick took the command: its number stays free."""

    room: Id
    number: Id
    code: Code
    retry_ms: RetryMs


class Sitter(Struct, frozen=True, array_like=True, gc=False):
    """Who sits on a seat."""

    seat: Seat
    account: Id
    name: str


class Roster(Outbound, frozen=True, tag=9):
    """Name everybody who has a seat."""

    room: Id
    sitters: list[Sitter]


class Left(Outbound, frozen=True, tag=10):
    """Say that the room is no longer seen."""

    room: Id
    code: Code
    name: str


class Redirect(Outbound, frozen=True, tag=11):
    """Answer Join or Resume: the room lives at ``url``."""

    request: RequestId
    room: Id
    url: str
    ticket: str


class Balance(Outbound, frozen=True, tag=12):
    """Say what the wallet holds."""

    balance_minor: Signed


class Goodbye(Outbound, frozen=True, tag=13):
    """Say why the connection is about to be closed."""

    close_code: Count
    name: str
    retry_ms: RetryMs


class ServerPing(Outbound, frozen=True, tag=14):
    """Ask for a Pong with the same number."""

    echo: Signed
    server_time_ms: Signed


class Zip(Outbound, frozen=True, tag=15):
    """Hold any other message, compressed with zlib; ``size`` is its length when unpacked."""

    size: Count
    data: bytes


class Invalid(Outbound, frozen=True, tag=16):
    """Say that a command did not reach a room and never will as it is."""

    room: Id
    number: Id
    code: Code
    name: str
    field: str


class Outcomes(Outbound, frozen=True, tag=17):
    """Give outcomes outside the chain of ticks: of repeats, and of those that awaited a verdict."""

    room: Id
    outcomes: list[Outcome]


class Moved(Outbound, frozen=True, tag=18):
    """Say that a room goes on at ``url``; "" means: ask for it again where you are."""

    room: Id
    url: str
    ticket: str


class Nodes(Outbound, frozen=True, tag=19):
    """Name other addresses under which the same rooms are reached, at most ``NODES_MAX``."""

    urls: list[str]


AnyOutbound = (
    Welcome
    | ServerPong
    | Reply
    | Joined
    | Full
    | Delta
    | Private
    | Deferred
    | Roster
    | Left
    | Redirect
    | Balance
    | Goodbye
    | ServerPing
    | Zip
    | Invalid
    | Outcomes
    | Moved
    | Nodes
)

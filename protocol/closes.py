"""Why a connection ends, as a number that tells the client what to do next.

It knows the close codes and their three classes. It does not know who closes, when, or how long
to wait before connecting again.
"""

from enum import Enum, IntEnum


class CloseCode(IntEnum):
    """The codes this protocol gives a meaning to. Those under 4000 belong to WebSocket itself."""

    NORMAL = 1000
    WEBSOCKET_ERROR = 1002
    TEXT_FRAME = 1003
    TOO_BIG = 1009

    GOING_AWAY = 4000
    IDLE = 4001
    OVERLOADED = 4002
    INTERNAL = 4003
    SLOW_CONSUMER = 4008

    PROTOCOL_ERROR = 4400
    TOKEN_INVALID = 4401
    TOKEN_EXPIRED = 4402
    FORBIDDEN = 4403
    HELLO_TIMEOUT = 4404
    VERSION_UNSUPPORTED = 4405
    REPLACED = 4409
    FLOODING = 4429

    MOVED = 4600


class CloseClass(Enum):
    """What a client does after the close."""

    STOP = "stop"
    RECONNECT = "reconnect"
    ELSEWHERE = "elsewhere"


# Of the codes that are not ours, those that the same client would meet again.
_STANDARD_STOP = frozenset({1000, 1002, 1003, 1007, 1009, 1010})


def close_class(code: int) -> CloseClass:
    """Return what a client does after ``code``; unknown codes go by their hundred."""
    if 4400 <= code < 4600 or code in _STANDARD_STOP:
        return CloseClass.STOP
    if 4600 <= code < 4700:
        return CloseClass.ELSEWHERE
    # Also 1006 and the like: the network broke, nobody said why. Back-off bounds the attempts.
    return CloseClass.RECONNECT


def close_name(code: int) -> str:
    """Return the name of a close code, for a Goodbye or a log; "" when it has none."""
    try:
        return CloseCode(code).name
    except ValueError:
        return ""

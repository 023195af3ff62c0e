"""How a client waits, retries and measures: everything about it that is not what it does."""

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.client.transport import Dial, dial_websocket

NUMBER_GAP_MAX = 2**20  # Of 2**53 numbers: enough for as many devices as a seat will ever see.


def _jitter(top: float) -> float:
    return random.uniform(0, top)


def _number_gap() -> int:
    return random.randrange(NUMBER_GAP_MAX)


def _fresh_key() -> bytes:
    return secrets.token_bytes(16)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of a client, with what it takes from the outside: time, chance and the network.

    ``jitter(top)`` returns a number between 0 and ``top``. ``number_gap()`` returns how many
    command numbers to leave out where another device may be numbering too. ``on_message`` sees
    each message as it came, before it is decoded.
    """

    open_timeout_ms: int = 30_000
    dial_timeout_ms: int = 10_000
    answer_timeout_ms: int = 10_000
    close_timeout_ms: int = 2_000
    # The server pings every 10 s: this is three pings missed.
    idle_timeout_ms: int = 30_000
    # With a question open and other nodes to ask: a server that is silent for so long, pings and
    # all, is stopped or cut off, and by then another has taken its rooms.
    silence_ms: int = 2_500
    backoff_ms: int = 250
    backoff_max_ms: int = 15_000
    # A connection that lived as long as this was a good one: the next wait is short again.
    steady_ms: int = 5_000
    program: str = "python"
    dial: Dial = dial_websocket
    jitter: Callable[[float], float] = _jitter
    now_ns: Callable[[], int] = time.monotonic_ns
    fresh_key: Callable[[], bytes] = _fresh_key
    number_gap: Callable[[], int] = _number_gap
    on_message: Callable[[bytes], None] | None = None

    def backoff_s(self, attempt: int) -> float:
        """Return how long to wait before connecting again, with full jitter."""
        top_ms = min(self.backoff_max_ms, self.backoff_ms << min(attempt, 16))
        return self.jitter(top_ms / 1000)


@dataclass(slots=True)
class Counters:
    """What a client has seen since it was made."""

    bytes_received: int = 0
    messages_received: int = 0
    deltas_received: int = 0
    commands_sent: int = 0
    commands_sent_again: int = 0
    deferrals: int = 0
    disconnects: int = 0
    redirects: int = 0
    moved: int = 0
    resumed_gapless: int = 0
    resumed_full: int = 0
    gaps: int = 0
    desyncs: int = 0
    strays: int = 0  # Messages for rooms and requests that are over on this side.
    closes: dict[int, int] = field(
        default_factory=dict
    )  # Times each close code ended a connection.

"""What the edge counts, as plain numbers that `/metrics` reads when somebody asks."""

from collections import Counter
from dataclasses import dataclass, field

from protocol.closes import CloseCode

CLOSE_LABELS = frozenset({"lost", *map(str, (*range(1000, 1016), *map(int, CloseCode)))})


@dataclass(slots=True)
class NetCounters:
    """Numbers since the start of the process. Only the event loop's thread writes them."""

    bytes_in: int = 0
    bytes_out: int = 0
    # By the name of the message type.
    messages_in: Counter[str] = field(default_factory=Counter)
    frames_out: int = 0
    merges: int = 0
    commands_rate_limited: int = 0
    requests_refused_busy: int = 0
    redirects: int = 0
    # By close code as text; "lost" where no close frame passed.
    closes: dict[str, int] = field(default_factory=dict)
    # By `Refusal`'s value, or the HTTP status that was answered to a handshake.
    handshakes_refused: dict[str, int] = field(default_factory=dict)
    handshakes_accepted: int = 0

    def count_close(self, cause: str) -> None:
        """Count a close by its code or as lost; a client may make up any code that it likes."""
        count(self.closes, cause if cause in CLOSE_LABELS else "other")


def count(counts: dict[str, int], key: str) -> None:
    """Add one under ``key``. The keys come from closed sets, so the dict stays small."""
    counts[key] = counts.get(key, 0) + 1

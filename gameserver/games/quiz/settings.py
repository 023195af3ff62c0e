"""What the creator of a quiz room may choose, and how long things take in ticks."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

TICKS_PER_SECOND = 20

READING_TICKS_MIN = 20  # However short a clue is, nobody takes it in within less than a second.


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a quiz room."""

    mode: Literal["board", "choice"] = "board"
    categories: Annotated[int, Meta(ge=1, le=6)] = 6
    questions: Annotated[int, Meta(ge=1, le=50)] = 10
    players_min: Annotated[int, Meta(ge=1, le=30)] = 2
    start_seconds: Annotated[int, Meta(ge=1, le=600)] = 20
    select_seconds: Annotated[int, Meta(ge=1, le=60)] = 10
    reading_chars_per_second: Annotated[int, Meta(ge=5, le=200)] = 20
    buzz_seconds: Annotated[int, Meta(ge=1, le=60)] = 6
    answer_seconds: Annotated[int, Meta(ge=1, le=60)] = 8
    reveal_seconds: Annotated[int, Meta(ge=1, le=60)] = 4
    standings_seconds: Annotated[int, Meta(ge=1, le=600)] = 20
    rounds_max: Annotated[int, Meta(ge=1, le=1000)] = 100
    absent_seconds: Annotated[int, Meta(ge=5, le=3600)] = 120
    empty_seconds: Annotated[int, Meta(ge=10, le=3600)] = 300


def ticks_of(seconds: int) -> int:
    """Return a time in ticks."""
    return seconds * TICKS_PER_SECOND


def reading_ticks(text: str, settings: Settings) -> int:
    """Return how long a clue is read before anybody may answer, rounded up."""
    ticks = -(-len(text) * TICKS_PER_SECOND // settings.reading_chars_per_second)
    return max(ticks, READING_TICKS_MIN)

"""What the creator of a room may choose, and within which bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

TICKS_PER_SECOND = 20
TICK_MS = 50


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a room of Conquest."""

    world: Literal["halcyra", "tarn"] = "halcyra"
    fog: bool = False
    players_min: Annotated[int, Meta(ge=2, le=8)] = 2
    start_seconds: Annotated[int, Meta(ge=0, le=600)] = 15
    start_troops: Annotated[int, Meta(ge=1, le=50)] = 3
    start_reserve: Annotated[int, Meta(ge=0, le=200)] = 5
    neutral_troops: Annotated[int, Meta(ge=1, le=50)] = 2
    income_seconds: Annotated[int, Meta(ge=1, le=120)] = 10
    income_base: Annotated[int, Meta(ge=0, le=50)] = 3
    attack_rest_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1000
    move_rest_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1000
    allies_max: Annotated[int, Meta(ge=0, le=6)] = 2
    notice_seconds: Annotated[int, Meta(ge=0, le=300)] = 10
    victory_percent: Annotated[int, Meta(ge=40, le=100)] = 70
    time_limit_seconds: Annotated[int, Meta(ge=10, le=14_400)] = 1800
    absent_seconds: Annotated[int, Meta(ge=5, le=3600)] = 120
    rematch_seconds: Annotated[int, Meta(ge=1, le=300)] = 20
    rounds_max: Annotated[int, Meta(ge=1, le=1000)] = 100
    empty_seconds: Annotated[int, Meta(ge=10, le=3600)] = 300


def ticks_of_seconds(seconds: int) -> int:
    """Return a time in ticks."""
    return seconds * TICKS_PER_SECOND


def ticks_of_ms(ms: int) -> int:
    """Return a time in ticks, rounded up: a rest is never shorter than it was said to be."""
    return -(-ms // TICK_MS)

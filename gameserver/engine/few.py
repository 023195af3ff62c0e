"""Lists that are made when something first comes: most ticks of most rooms have nothing for them.

A list that stays empty costs its making, and a look whether it is empty costs a cache miss; the
empty tuple is one and the same for all.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

Few = list[T] | tuple[()]


def add_to(few: Few[T], one: T) -> list[T]:
    """Add one at the end; return the list, which the caller keeps: there may have been none yet."""
    if few:
        few.append(one)
        return few
    return [one]

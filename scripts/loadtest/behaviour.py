"""What a game's bots have to tell the rest: how to play it, and when enough was played."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from scripts.loadtest.sight import Move, Sight

# Tells whether no command of this name was accepted so far: then it is worth trying first.
Wanted = Callable[[str], bool]


class Behaviour(Protocol):
    """One bot's way of playing in one room. It sees what its client sees and nothing else."""

    def choose(self, sight: Sight) -> Move | None:
        """Return what to do now, legal or not, or None if there is nothing to do."""

    def look(self, sight: Sight) -> list[str]:
        """Look around, a few times a second; return what is against the rules of the game."""

    def is_over(self, sight: Sight) -> bool:
        """Tell whether this room's game has come to its end."""

    def rounds(self, sight: Sight) -> int:
        """Return how many rounds of this room have been settled so far."""

    def lost_minor(self, sight: Sight) -> int | None:
        """Return what the wallet must lack by now; None if nothing is known of money."""


@dataclass(frozen=True)
class GameBots:
    """How one game is played by bots.

    ``settings`` are those of a room; the number it is given grows with each of a run's rooms.
    When ``players_for_all`` bots have played for ``long_enough_s`` in each of ``rooms_for_all``
    rooms, or for longer in fewer, every kind of command must have been accepted once.
    """

    game: str
    make: Callable[[Random, Wanted], Behaviour]
    settings: Callable[[Random, int], Mapping[str, Any]]
    players_for_all: int
    long_enough_s: float
    rooms_for_all: int = 1
    uses_money: bool = False

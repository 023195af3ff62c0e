"""What a game is to the engine: its state, its commands, and what it does when time passes.

A game object is made once and shared by all of its rooms; it may hold content (clues, maps, pay
tables) that never changes, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import msgspec

from gameserver.engine.commands import Command, Reason
from gameserver.engine.records import Record

if TYPE_CHECKING:  # A game acts on rooms, and a room calls its game: only the names meet here.
    from gameserver.engine.room import Room

S = TypeVar("S", bound=Record)


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a game that has none."""


class Game(Generic[S]):
    """A kind of game. Override what the game needs; the hooks do nothing by themselves.

    ``rules_version`` is raised whenever the same entries would give another result. A room that was
    played under older ones, from ``continues_from`` on, goes on under these from its last snapshot;
    none of its entries is done again.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    rules_version: ClassVar[int] = 1
    continues_from: ClassVar[int] = 1
    seats_max: ClassVar[int]
    state: type[S]
    settings: ClassVar[type[msgspec.Struct]] = NoSettings
    commands: ClassVar[tuple[type[Command], ...]]
    reasons: ClassVar[tuple[Reason, ...]] = ()

    def open(self, room: Room[S]) -> None:
        """Set up a new room; ``room.settings`` are those its creator chose."""

    def sit(self, room: Room[S], seat: int) -> Reason | None:
        """Take in a new player, or say why not. The seat's record is there already.

        A player begins with nothing: the seat's bit is clear in every ``seen_by``, and records that
        are the seat's from before belong to no seat once the player is in. What is shown to the
        player, or belongs to the player, is given here or later.
        """

    def leave(self, room: Room[S], seat: int) -> None:
        """Let a player go for good. The seat's record is still there."""

    def lose(self, room: Room[S], seat: int) -> None:
        """Note that a player's connection is gone; the seat stays."""

    def regain(self, room: Room[S], seat: int) -> None:
        """Note that a player is back."""

    def due(self, room: Room[S]) -> int | None:
        """Return the tick at which something passes by itself, or None."""

    def pass_time(self, room: Room[S]) -> None:
        """Do what is due at ``room.now``; called before the commands of that tick."""

    def choose(self, ask: str, room_settings: msgspec.Struct, seed: bytes) -> bytes:
        """Choose outside of any room what one asked for, from 32 bytes that nobody can predict.

        What it returns is recorded, so content that is read from files belongs here. By default
        the answer is the seed itself.
        """
        return seed

    def drawn(self, room: Room[S], ask: str, data: bytes) -> None:
        """Take in what the room had asked for."""

"""Conquest as the engine sees it: which state, which commands, and what each happening leads to."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gameserver.engine.commands import Command, Reason
from gameserver.engine.game import Game
from gameserver.engine.room import Room
from gameserver.games.conquest import board, rules
from gameserver.games.conquest.commands import COMMANDS
from gameserver.games.conquest.reasons import REASONS
from gameserver.games.conquest.settings import Settings, ticks_of_seconds
from gameserver.games.conquest.state import (
    BATTLES_SHOWN,
    SEATS_MAX,
    Battle,
    FoggedBattle,
    FoggedTerritory,
    Player,
    State,
    Territory,
)
from gameserver.games.conquest.worlds import WORLDS


class Conquest(Game[State]):
    """Two to eight players fight over a world, all at the same time."""

    name: ClassVar[str] = "conquest"
    title: ClassVar[str] = "Conquest"
    rules_version: ClassVar[int] = 1
    seats_max: ClassVar[int] = SEATS_MAX
    state = State
    settings: ClassVar[type[msgspec.Struct]] = Settings
    commands: ClassVar[tuple[type[Command], ...]] = COMMANDS
    reasons: ClassVar[tuple[Reason, ...]] = REASONS

    def open(self, room: Room[State]) -> None:
        """Lay out the world, which nobody owns yet."""
        state, settings = room.state, room.settings
        world, atlas = WORLDS[settings.world], state.atlas
        atlas.name, atlas.version = world.name, world.version
        atlas.region_names = world.region_names
        atlas.region_bonuses = world.region_bonuses
        atlas.territory_names = world.territory_names
        atlas.territory_regions = world.territory_regions
        atlas.places = world.places
        atlas.neighbours = world.neighbours
        state.fog = settings.fog
        for index in range(len(world.territory_names)):
            if settings.fog:
                state.fogged_territories.add(index, FoggedTerritory())
            else:
                state.territories.add(index, Territory())
        for place in range(BATTLES_SHOWN):
            if settings.fog:
                state.fogged_battles.add(place, FoggedBattle())
            else:
                state.battles.add(place, Battle())
        state.empty_tick = room.now + ticks_of_seconds(settings.empty_seconds)

    def sit(self, room: Room[State], seat: int) -> Reason | None:
        """Take a player in at any time; whoever comes during a round waits for the next."""
        state = room.state
        state.players.add(seat, Player(), seat=seat)
        board.show(state, range(len(state.fogged_territories)))
        rules.come(room, seat)
        return None

    def regain(self, room: Room[State], seat: int) -> None:
        """Let an absent player go on."""
        rules.come(room, seat)

    def lose(self, room: Room[State], seat: int) -> None:
        """Give an absent player time to come back."""
        rules.go_missing(room, seat)

    def leave(self, room: Room[State], seat: int) -> None:
        """Count leaving during a round as surrender."""
        rules.go_for_good(room, seat)

    def due(self, room: Room[State]) -> int | None:
        """Return the earliest of the ticks that the state names."""
        return rules.due_tick(room.state)

    def pass_time(self, room: Room[State]) -> None:
        """Start and end rounds, pay income, end alliances and absences."""
        rules.pass_time(room)

"""What a player may ask for: troops placed, sent and moved, alliances made and ended.

Each ``validate`` checks in the order in which its reasons stand in the README, so that a command
with several faults always gets the same reason. A reason never tells what the fog hides: whether a
territory is one's own, and what lies beside it, is known to its owner anyway.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from gameserver.engine.commands import Command, Reason
from gameserver.engine.room import Room
from gameserver.games.conquest import alliances, board, reasons, rules
from gameserver.games.conquest.settings import ticks_of_ms
from gameserver.games.conquest.state import (
    SEATS_MAX,
    Exit,
    Phase,
    State,
    Status,
    territories_of,
)

TERRITORIES_MAX = 128

TerritoryNumber = Annotated[int, Meta(ge=0, lt=TERRITORIES_MAX)]
Troops = Annotated[int, Meta(ge=1, le=board.TROOPS_MAX)]
SeatNumber = Annotated[int, Meta(ge=0, lt=SEATS_MAX)]


def _check_playing(state: State, seat: int) -> Reason | None:
    if state.phase is not Phase.PLAYING:
        return reasons.NOT_PLAYING
    if state.players[seat].status is not Status.ALIVE:
        return reasons.NOT_IN_ROUND
    return None


class Ready(Command, frozen=True, tag=1):
    """Say that one is ready for the round to begin, or that one is not."""

    ready: bool

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check that there is something to be ready for."""
        if room.state.phase is not Phase.LOBBY:
            return reasons.NOT_IN_LOBBY
        if room.state.players[seat].ready == self.ready:
            return reasons.READY_UNCHANGED
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Note it; when all are ready the round begins with the next tick."""
        room.state.players[seat].ready = self.ready
        rules.set_countdown(room, rules.present_seats(room))


class Reinforce(Command, frozen=True, tag=2):
    """Place troops of one's reserve."""

    territory: TerritoryNumber
    troops: Troops

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check the round, the territory, and then the troops."""
        state = room.state
        reason = _check_playing(state, seat)
        if reason is not None:
            return reason
        territory = territories_of(state).get(self.territory)
        if territory is None:
            return reasons.NO_SUCH_TERRITORY
        if territory.owner != seat:
            return reasons.TERRITORY_NOT_YOURS
        if self.troops > state.players[seat].reserve:
            return reasons.RESERVE_TOO_SMALL
        if territory.troops + self.troops > board.TROOPS_MAX:
            return reasons.TERRITORY_FULL
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Let the troops take their place; they need no rest."""
        state = room.state
        state.players[seat].reserve -= self.troops
        territories_of(state)[self.territory].troops += self.troops


class _March(Command, frozen=True):
    """Troops that go from one territory to a neighbouring one."""

    source: TerritoryNumber
    target: TerritoryNumber
    troops: Troops

    def _check_way(self, state: State, seat: int) -> Reason | None:
        """Check the round, that the source is one's own, and that the target is beside it."""
        reason = _check_playing(state, seat)
        if reason is not None:
            return reason
        territories = territories_of(state)
        if self.source not in territories:
            return reasons.NO_SUCH_SOURCE
        if self.target not in territories:
            return reasons.NO_SUCH_TARGET
        if territories[self.source].owner != seat:
            return reasons.SOURCE_NOT_YOURS
        if self.target not in state.atlas.neighbours[self.source]:
            return reasons.NOT_NEIGHBOURS
        return None

    def _check_troops(self, room: Room[Any]) -> Reason | None:
        """Check that the source is rested, and that somebody stays behind."""
        source = territories_of(room.state)[self.source]
        if source.rest_tick > room.now:
            return reasons.SOURCE_RESTS
        if self.troops >= source.troops:
            return reasons.TOO_FEW_TROOPS
        return None


class Attack(_March, frozen=True, tag=3):
    """Send troops against a territory of somebody else, or of nobody."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check the way, then whose the target is, then the troops."""
        state = room.state
        reason = self._check_way(state, seat)
        if reason is not None:
            return reason
        owner = territories_of(state)[self.target].owner
        if owner == seat:
            return reasons.TARGET_YOURS
        if owner >= 0 and alliances.are_allied(state, seat, owner):
            return reasons.TARGET_ALLIED
        return self._check_troops(room)

    def execute(self, room: Room[Any], seat: int) -> None:
        """Fight until one side is spent."""
        loser = board.fight(room, self.source, self.target, self.troops)
        if loser is not None:
            rules.conquer(room, seat, loser)


class Move(_March, frozen=True, tag=4):
    """Move troops to a neighbouring territory of one's own."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check the way, then whose the target is, then the troops and their room."""
        state = room.state
        reason = self._check_way(state, seat)
        if reason is not None:
            return reason
        target = territories_of(state)[self.target]
        if target.owner != seat:
            return reasons.TARGET_NOT_YOURS
        reason = self._check_troops(room)
        if reason is None and target.troops + self.troops > board.TROOPS_MAX:
            return reasons.TERRITORY_FULL
        return reason

    def execute(self, room: Room[Any], seat: int) -> None:
        """Let the troops arrive; both territories rest, or troops would cross the world at once."""
        territories = territories_of(room.state)
        source, target = territories[self.source], territories[self.target]
        source.troops -= self.troops
        target.troops += self.troops
        source.rest_tick = room.now + ticks_of_ms(room.settings.move_rest_ms)
        target.rest_tick = max(target.rest_tick, source.rest_tick)


class _Word(Command, frozen=True):
    """Something said to another player of the round."""

    other: SeatNumber

    def _check_other(self, state: State, seat: int) -> Reason | None:
        reason = _check_playing(state, seat)
        if reason is not None:
            return reason
        if self.other == seat:
            return reasons.YOURSELF
        player = state.players.get(self.other)
        if player is None or player.status is not Status.ALIVE:
            return reasons.NO_SUCH_PLAYER
        return None

    def _check_place(self, room: Room[Any], seat: int) -> Reason | None:
        """Check that both may have one ally more, and that somebody is left to fight."""
        state, most = room.state, room.settings.allies_max
        if alliances.allies_count(state, seat) >= most:
            return reasons.YOUR_ALLIES_FULL
        if alliances.allies_count(state, self.other) >= most:
            return reasons.THEIR_ALLIES_FULL
        if alliances.would_unite_all(state, seat, self.other):
            return reasons.ALL_WOULD_BE_ALLIED
        return None


class OfferAlliance(_Word, frozen=True, tag=5):
    """Offer an alliance to another player; nobody else learns of it."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check the other player, what was said before, and then the limits."""
        state = room.state
        reason = self._check_other(state, seat)
        if reason is not None:
            return reason
        if alliances.are_allied(state, seat, self.other):
            return reasons.ALREADY_ALLIED
        if alliances.has_offered(state, seat, self.other):
            return reasons.ALREADY_OFFERED
        if alliances.has_offered(state, self.other, seat):
            return reasons.OFFER_AWAITS_YOU
        return self._check_place(room, seat)

    def execute(self, room: Room[Any], seat: int) -> None:
        """Let the other know; the offer stands until it is answered or taken back."""
        alliances.offer(room.state, seat, self.other)


class AcceptAlliance(_Word, frozen=True, tag=6):
    """Accept what another player has offered."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check the other player, the offer, and then the limits, which may be reached by now."""
        reason = self._check_other(room.state, seat)
        if reason is not None:
            return reason
        if not alliances.has_offered(room.state, self.other, seat):
            return reasons.NO_OFFER
        return self._check_place(room, seat)

    def execute(self, room: Room[Any], seat: int) -> None:
        """Make the two allies."""
        alliances.ally(room.state, seat, self.other)


class DeclineAlliance(_Word, frozen=True, tag=7):
    """Decline what another player has offered, or take back what one has offered them."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check the other player, and that there is an offer."""
        state = room.state
        reason = self._check_other(state, seat)
        if reason is not None:
            return reason
        offered = alliances.has_offered(state, seat, self.other)
        if not offered and not alliances.has_offered(state, self.other, seat):
            return reasons.NO_OFFER
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Drop the offer."""
        alliances.withdraw(room.state, seat, self.other)


class EndAlliance(_Word, frozen=True, tag=8):
    """End an alliance. It stands until the notice has run out, for both alike."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check the other player and the alliance."""
        state = room.state
        reason = self._check_other(state, seat)
        if reason is not None:
            return reason
        if not alliances.are_allied(state, seat, self.other):
            return reasons.NOT_ALLIED
        if alliances.is_ending(state, seat, self.other):
            return reasons.ALREADY_ENDING
        return None

    def execute(self, room: Room[Any], seat: int) -> None:
        """Give notice."""
        alliances.give_notice(room, seat, self.other)


class Surrender(Command, frozen=True, tag=9):
    """Give up the round and stay in the room."""

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check that there is something to give up."""
        return _check_playing(room.state, seat)

    def execute(self, room: Room[Any], seat: int) -> None:
        """Leave one's territories to nobody, with the troops on them."""
        rules.drop_out(room, seat, Exit.SURRENDERED)


COMMANDS = (
    *(Ready, Reinforce, Attack, Move),
    *(OfferAlliance, AcceptAlliance, DeclineAlliance, EndAlliance, Surrender),
)

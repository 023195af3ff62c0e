"""Keno as the engine sees it: what there is, and which rule answers which hook."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gameserver.engine.commands import Command, Reason
from gameserver.engine.game import Game
from gameserver.engine.room import Room
from gameserver.games.keno import absence, bets, paytable, rounds
from gameserver.games.keno.commands import REASONS, Bet, Cancel
from gameserver.games.keno.settings import Settings
from gameserver.games.keno.state import Keno, Player


class KenoGame(Game[Keno]):
    """Bets on 20 numbers of 80, a round every few seconds, for as long as anybody has a seat."""

    name = "keno"
    title = "Keno"
    rules_version = 1
    seats_max = 5_000
    state = Keno
    settings: ClassVar[type[msgspec.Struct]] = Settings
    commands: ClassVar[tuple[type[Command], ...]] = (Bet, Cancel)
    reasons: ClassVar[tuple[Reason, ...]] = REASONS

    def open(self, room: Room[Keno]) -> None:
        """Show the terms and ask for the first seed; the room sleeps until someone sits."""
        terms, chosen = room.state.terms, room.settings
        terms.round_ticks = chosen.round_ticks
        terms.betting_ticks = chosen.betting_ticks
        terms.stake_min_minor = chosen.stake_min_minor
        terms.stake_max_minor = chosen.stake_max_minor
        terms.stake_total_max_minor = chosen.stake_total_max_minor
        terms.bets_per_round_max = chosen.bets_per_round_max
        terms.payout_max_minor = chosen.payout_max_minor
        terms.pays = paytable.PAYS
        terms.returns_ppm = tuple(
            paytable.in_ppm(paytable.return_to_player(spots))
            for spots in range(1, paytable.SPOTS_MAX + 1)
        )
        room.ask(rounds.ASK_SEED)
        absence.note_empty(room)

    def sit(self, room: Room[Keno], seat: int) -> Reason | None:
        """Take a player in, with the bets left behind if there are any."""
        room.state.players.add(seat, Player(), seat=seat)
        room.state.empty_tick = 0
        bets.bring_home(room.state, seat, room.account(seat))
        rounds.wake(room)
        return None

    def leave(self, room: Room[Keno], seat: int) -> None:
        """Let a player go; bets of the round stay in play and are paid to the account."""
        bets.send_astray(room.state, seat, room.account(seat))
        room.state.players.remove(seat)
        absence.note_empty(room)

    def lose(self, room: Room[Keno], seat: int) -> None:
        """Keep the seat of an absent player for a while."""
        absence.go(room, seat)

    def regain(self, room: Room[Keno], seat: int) -> None:
        """Go on with the rounds if the room slept."""
        absence.come_back(room, seat)
        rounds.wake(room)

    def due(self, room: Room[Keno]) -> int | None:
        """Return when the round moves on by itself, seats are freed, or the room ends."""
        ticks = (rounds.due(room.state), absence.due(room.state))
        return min((tick for tick in ticks if tick is not None), default=None)

    def pass_time(self, room: Room[Keno]) -> None:
        """Free seats, end a room that nobody wants, and move the round on."""
        absence.pass_time(room)
        rounds.pass_time(room)

    def drawn(self, room: Room[Keno], ask: str, data: bytes) -> None:
        """Take in the seed of the round to come."""
        rounds.take_seed(room, data)


GAME = KenoGame

"""The quiz as the engine sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import msgspec

from gameserver.engine.commands import Command, Reason
from gameserver.engine.game import Game
from gameserver.engine.room import Room
from gameserver.games.quiz import choosing, clues, pace, rounds, seats
from gameserver.games.quiz.bank import Bank
from gameserver.games.quiz.commands import COMMANDS, REASONS
from gameserver.games.quiz.settings import Settings
from gameserver.games.quiz.state import SEATS_MAX, Mode, Phase, State

WHEN_PHASE_ENDS: dict[Phase, Callable[[Room[State]], None]] = {
    Phase.LOBBY: rounds.start,
    Phase.SELECTING: rounds.select_by_itself,
    Phase.READING: clues.open_clue,
    Phase.OPEN: clues.reveal,
    Phase.ANSWERING: clues.time_out,
    Phase.CHOOSING: clues.reveal,
    Phase.REVEAL: rounds.next_clue,
    Phase.STANDINGS: rounds.after_standings,
}


class QuizGame(Game[State]):
    """A quiz that asks clues of one bank: ``QuizGame(parse_bank(files))``."""

    name: ClassVar[str] = "quiz"
    title: ClassVar[str] = "Quiz"
    seats_max: ClassVar[int] = SEATS_MAX
    state = State
    settings: ClassVar[type[msgspec.Struct]] = Settings
    commands: ClassVar[tuple[type[Command], ...]] = COMMANDS
    reasons: ClassVar[tuple[Reason, ...]] = REASONS

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    def open(self, room: Room[State]) -> None:
        """Open the lobby."""
        room.state.mode = Mode.CHOICE if room.settings.mode == "choice" else Mode.BOARD
        room.state.players_min = room.settings.players_min
        pace.wait_for_players(room)

    def sit(self, room: Room[State], seat: int) -> Reason | None:
        """Take in a new player at any time; nobody is refused."""
        seats.sit(room, seat)
        return None

    def leave(self, room: Room[State], seat: int) -> None:
        """Let a player go for good."""
        seats.leave(room, seat)

    def lose(self, room: Room[State], seat: int) -> None:
        """Go on without a player, or stop the clock with the last."""
        seats.lose(room, seat)

    def regain(self, room: Room[State], seat: int) -> None:
        """Let a player go on."""
        seats.regain(room, seat)

    def due(self, room: Room[State]) -> int | None:
        """Return when the phase ends, or the room for want of players, or a seat is freed."""
        state = room.state
        ticks = (state.phase_tick or state.empty_tick, seats.vacated_tick(state))
        return min((tick for tick in ticks if tick), default=None)

    def pass_time(self, room: Room[State]) -> None:
        """Free seats if it is time; end the phase, or the room if nobody came back."""
        state = room.state
        if 0 < seats.vacated_tick(state) <= room.now:
            seats.free_absent(room)
        if state.empty_tick:
            if state.empty_tick <= room.now:
                room.end()
        elif state.phase_tick and state.phase_tick <= room.now:
            WHEN_PHASE_ENDS[state.phase](room)

    def choose(self, ask: str, room_settings: msgspec.Struct, seed: bytes) -> bytes:
        """Draw the clues of a round, avoiding those that the ask names."""
        assert isinstance(room_settings, Settings)
        return choosing.chosen(self.bank, ask, room_settings, seed)

    def drawn(self, room: Room[State], ask: str, data: bytes) -> None:
        """Begin the round."""
        rounds.begin(room, data)

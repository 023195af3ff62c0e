"""What players may ask, and the reasons why they may not.

Each ``validate`` checks in the order in which its docstring names the reasons. ``clue`` is the
number of the clue that a command means, or 0 for whichever is played: a command that is sent
again after an outage must not count for a later clue.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from gameserver.engine.commands import Command, Reason
from gameserver.engine.room import Room
from gameserver.games.quiz import clues, rounds
from gameserver.games.quiz.state import NOBODY, Mode, Phase, State, bit
from gameserver.games.quiz.texts import is_showable

GIVEN_CHARS_MAX = 100
ClueNumber = Annotated[int, Meta(ge=0, le=2**53 - 1)]

NOT_BETWEEN_ROUNDS = Reason(100, "NOT_BETWEEN_ROUNDS")
READY_ALREADY = Reason(101, "READY_ALREADY")
NOT_SELECTING = Reason(102, "NOT_SELECTING")
NOT_IN_CONTROL = Reason(103, "NOT_IN_CONTROL")
NO_SUCH_CATEGORY = Reason(104, "NO_SUCH_CATEGORY", "category")
CLUE_TAKEN = Reason(105, "CLUE_TAKEN", "level")
NO_BUZZERS = Reason(106, "NO_BUZZERS")
BUZZED_ALREADY = Reason(107, "BUZZED_ALREADY")
BEATEN = Reason(108, "BEATEN")
BUZZERS_CLOSED = Reason(109, "BUZZERS_CLOSED")
OUT_OF_CLUE = Reason(110, "OUT_OF_CLUE")
LOCKED_OUT = Reason(111, "LOCKED_OUT")
NOT_ANSWERING = Reason(112, "NOT_ANSWERING")
TEXT_BLANK = Reason(113, "TEXT_BLANK", "text")
TEXT_UNSHOWABLE = Reason(114, "TEXT_UNSHOWABLE", "text")
NOT_CHOOSING = Reason(115, "NOT_CHOOSING")
CHOSEN_ALREADY = Reason(116, "CHOSEN_ALREADY")
CLUE_OVER = Reason(117, "CLUE_OVER", "clue")

REASONS = (
    NOT_BETWEEN_ROUNDS,
    READY_ALREADY,
    NOT_SELECTING,
    NOT_IN_CONTROL,
    NO_SUCH_CATEGORY,
    CLUE_TAKEN,
    NO_BUZZERS,
    BUZZED_ALREADY,
    BEATEN,
    BUZZERS_CLOSED,
    OUT_OF_CLUE,
    LOCKED_OUT,
    NOT_ANSWERING,
    TEXT_BLANK,
    TEXT_UNSHOWABLE,
    NOT_CHOOSING,
    CHOSEN_ALREADY,
    CLUE_OVER,
)


class Ready(Command, frozen=True, tag=1):
    """The next round may begin."""

    def validate(self, room: Room[State], seat: int) -> Reason | None:
        """NOT_BETWEEN_ROUNDS, READY_ALREADY."""
        if not rounds.is_between_rounds(room):
            return NOT_BETWEEN_ROUNDS
        if room.state.ready_seats & bit(seat):
            return READY_ALREADY
        return None

    def execute(self, room: Room[State], seat: int) -> None:
        """Start at once when all who are present are ready and enough."""
        room.state.ready_seats |= bit(seat)
        rounds.look_at_lobby(room)


class Select(Command, frozen=True, tag=2):
    """Select a clue of the board: the category by its place from 0, the level from 1."""

    category: Annotated[int, Meta(ge=0, le=5)]
    level: Annotated[int, Meta(ge=1, le=5)]

    def validate(self, room: Room[State], seat: int) -> Reason | None:
        """NOT_SELECTING, NOT_IN_CONTROL, NO_SUCH_CATEGORY, CLUE_TAKEN."""
        state = room.state
        if state.phase is not Phase.SELECTING:
            return NOT_SELECTING
        if state.control != seat:
            return NOT_IN_CONTROL
        category = state.categories.get(self.category)
        if category is None:
            return NO_SUCH_CATEGORY
        if not category.open_levels & bit(self.level - 1):
            return CLUE_TAKEN
        return None

    def execute(self, room: Room[State], seat: int) -> None:
        """Show the clue."""
        rounds.select(room, self.category, self.level)


class Buzz(Command, frozen=True, tag=3):
    """Ask for the word. Before the buzzers are open it is accepted, and locks the player out."""

    clue: ClueNumber = 0

    def validate(self, room: Room[State], seat: int) -> Reason | None:
        """NO_BUZZERS, CLUE_OVER, BUZZED_ALREADY, BEATEN, BUZZERS_CLOSED, OUT_OF_CLUE,
        LOCKED_OUT.
        """
        state = room.state
        if state.mode is not Mode.BOARD:
            return NO_BUZZERS
        if _is_over(self.clue, state):
            return CLUE_OVER
        if state.answering != NOBODY:
            return BUZZED_ALREADY if state.answering == seat else BEATEN
        if state.phase is not Phase.OPEN and state.phase is not Phase.READING:
            return BUZZERS_CLOSED
        if state.out_seats & bit(seat):
            return OUT_OF_CLUE
        if state.phase is Phase.OPEN and room.now < state.players[seat].locked_tick:
            return LOCKED_OUT
        return None

    def execute(self, room: Room[State], seat: int) -> None:
        """Take the word, or the lockout."""
        if room.state.phase is Phase.OPEN:
            clues.buzz(room, seat)
        else:
            clues.press_early(room, seat)


class Answer(Command, frozen=True, tag=4):
    """Say the answer, after a buzz."""

    text: Annotated[str, Meta(min_length=1, max_length=GIVEN_CHARS_MAX)]
    clue: ClueNumber = 0

    def validate(self, room: Room[State], seat: int) -> Reason | None:
        """CLUE_OVER, NOT_ANSWERING, TEXT_BLANK, TEXT_UNSHOWABLE."""
        if _is_over(self.clue, room.state):
            return CLUE_OVER
        if room.state.answering != seat:
            return NOT_ANSWERING
        if not self.text.strip():
            return TEXT_BLANK
        if not is_showable(self.text):
            return TEXT_UNSHOWABLE
        return None

    def execute(self, room: Room[State], seat: int) -> None:
        """Have it judged, and shown with the judgement."""
        clues.answer(room, seat, self.text)


class Pass(Command, frozen=True, tag=5):
    """Do without the present clue; when all who wait pass, the answer is revealed at once."""

    clue: ClueNumber = 0

    def validate(self, room: Room[State], seat: int) -> Reason | None:
        """NO_BUZZERS, CLUE_OVER, BUZZERS_CLOSED, OUT_OF_CLUE."""
        state = room.state
        if state.mode is not Mode.BOARD:
            return NO_BUZZERS
        if _is_over(self.clue, state):
            return CLUE_OVER
        if state.phase is not Phase.OPEN:
            return BUZZERS_CLOSED
        if state.out_seats & bit(seat):
            return OUT_OF_CLUE
        return None

    def execute(self, room: Room[State], seat: int) -> None:
        """Step out of the clue; it costs nothing."""
        clues.step_out(room, seat)


class Choose(Command, frozen=True, tag=6):
    """Choose one of the options shown, from 0; once for a clue."""

    option: Annotated[int, Meta(ge=0, le=3)]
    clue: ClueNumber = 0

    def validate(self, room: Room[State], seat: int) -> Reason | None:
        """CLUE_OVER, NOT_CHOOSING, OUT_OF_CLUE, CHOSEN_ALREADY."""
        state = room.state
        if _is_over(self.clue, state):
            return CLUE_OVER
        if state.phase is not Phase.CHOOSING:
            return NOT_CHOOSING
        if state.out_seats & bit(seat):
            return OUT_OF_CLUE
        if state.chosen_seats & bit(seat):
            return CHOSEN_ALREADY
        return None

    def execute(self, room: Room[State], seat: int) -> None:
        """Keep the choice for the reveal, which comes at once when everybody has chosen."""
        clues.choose(room, seat, self.option)


def _is_over(clue: int, state: State) -> bool:
    return clue != 0 and clue != state.shown.number


COMMANDS: tuple[type[Command], ...] = (Ready, Select, Buzz, Answer, Pass, Choose)

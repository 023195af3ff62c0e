"""The state of a quiz room, and who may see what of it.

Knows no rule. Fields that end in ``_seats`` are sets of seats as bits. A tick that is 0 does not
come.
"""

from __future__ import annotations

from enum import IntEnum

from gameserver.engine.fields import Visibility, part, private, public, secret, table
from gameserver.engine.records import Record, Table

SEATS_MAX = 30
LEVELS_PER_CATEGORY = 5
OPTIONS = 4
NOBODY = -1  # Stands where a seat would.
NONE = -1  # Stands where a number would that is not there (yet).


class Mode(IntEnum):
    """How the clues are played."""

    BOARD = 0
    CHOICE = 1


class Phase(IntEnum):
    """Where a round stands."""

    LOBBY = 0
    DRAWING = 1
    SELECTING = 2
    READING = 3
    OPEN = 4
    ANSWERING = 5
    CHOOSING = 6
    REVEAL = 7
    STANDINGS = 8


class Player(Record):
    """A seated player, with the score and the statistics of this round.

    ``gained`` is what the present clue brought or cost. ``choice`` is the player's own business
    until it is copied into ``revealed_choice``. Buzzes are refused before ``locked_tick``. Who is
    absent has no seat any more from ``absent_tick`` on, once no round is played.
    """

    score: int = public(1, default=0)
    gained: int = public(2, default=0)
    right: int = public(3, default=0)
    wrong: int = public(4, default=0)
    buzzes: int = public(5, default=0)
    early: int = public(6, default=0)
    fastest_ticks: int = public(7, default=NONE)
    streak: int = public(8, default=0)
    best_streak: int = public(9, default=0)
    locked_tick: int = public(10, default=0)
    revealed_choice: int = public(11, default=NONE)
    choice: int = private(12, default=NONE)
    choice_tick: int = private(13, default=0)
    absent_tick: int = public(14, default=0)


class Gone(Record, audience=Visibility.SECRET):
    """What a player had who left during this round, for the standings and in case of a return."""

    account: int = secret(1)
    score: int = secret(2, default=0)
    right: int = secret(3, default=0)
    wrong: int = secret(4, default=0)
    buzzes: int = secret(5, default=0)
    early: int = secret(6, default=0)
    fastest_ticks: int = secret(7, default=NONE)
    streak: int = secret(8, default=0)
    best_streak: int = secret(9, default=0)


STATISTICS = (
    *("score", "right", "wrong", "buzzes", "early"),
    *("fastest_ticks", "streak", "best_streak"),
)


class Category(Record):
    """A category of the board. Bit 0 of ``open_levels`` is level 1, worth 100 points."""

    name: str = public(1)
    open_levels: int = public(2, default=(1 << LEVELS_PER_CATEGORY) - 1)


class Attempt(Record):
    """A player's try at the present clue, judged. ``text`` is empty if there was none in time.

    The seat may be another's by now, hence the account.
    """

    by_seat: int = public(1)
    account: int = public(2)
    text: str = public(3)
    right: bool = public(4)


class Placing(Record):
    """How the last round went for somebody; the key is the line. Equal scores share a place.

    ``by_seat`` is NOBODY for a player who had left.
    """

    place: int = public(1)
    by_seat: int = public(2)
    account: int = public(3)
    score: int = public(4)
    right: int = public(5)
    wrong: int = public(6)
    buzzes: int = public(7)
    early: int = public(8)
    fastest_ticks: int = public(9)
    best_streak: int = public(10)


class DrawnClue(Record, audience=Visibility.SECRET):
    """A clue of this round. Its words are copied into public fields when it is played."""

    category: str = secret(1)
    level: int = secret(2)
    text: str = secret(3)
    answer: str = secret(4)
    accept: tuple[str, ...] = secret(5)
    wrong: tuple[str, ...] = secret(6)
    mark: bytes = secret(7)


class Shown(Record):
    """The present clue as far as it is shown. ``place`` is its place in the round, or NONE.

    ``number`` counts the clues of the room, so that a command can say which one it means.
    ``options`` appear when players may choose, ``answer`` and ``answer_option`` with the reveal.
    ``open_tick`` is when the buzzers opened, or the options appeared.
    """

    place: int = public(1, default=NONE)
    category: str = public(2, default="")
    value: int = public(3, default=0)
    text: str = public(4, default="")
    options: tuple[str, ...] = public(5, default=())
    answer: str = public(6, default="")
    answer_option: int = public(7, default=NONE)
    open_tick: int = public(8, default=0)
    number: int = public(9, default=0)
    right_option: int = secret(10, default=NONE)


class State(Record):
    """A quiz room. The phase ends by itself at ``phase_tick``.

    While nobody is present time stands still: ``paused_ticks`` is what is left of the phase, and
    the room ends at ``empty_tick``. ``out_seats`` are those who cannot (any more) answer the
    present clue, ``chosen_seats`` those who have chosen an option.
    """

    phase: Phase = public(1, default=Phase.LOBBY)
    mode: Mode = public(2, default=Mode.BOARD)
    round_number: int = public(3, default=0)
    phase_tick: int = public(4, default=0)
    paused_ticks: int = public(5, default=0)
    empty_tick: int = public(6, default=0)
    players_min: int = public(7, default=0)
    clues_total: int = public(8, default=0)
    clues_played: int = public(9, default=0)
    control: int = public(10, default=NOBODY)
    answering: int = public(11, default=NOBODY)
    ready_seats: int = public(12, default=0)
    out_seats: int = public(13, default=0)
    chosen_seats: int = public(14, default=0)
    # The same as in the engine's seats, so that no rule has to count them.
    present_seats: int = secret(15, default=0)
    asked: bytes = secret(16, default=b"")
    gone_count: int = secret(17, default=0)
    # The earliest of the players', so that due times need no search.
    absent_tick: int = secret(18, default=0)
    shown: Shown = part(20)
    players: Table[int, Player] = table(21)
    categories: Table[int, Category] = table(22)
    attempts: Table[int, Attempt] = table(23)
    placings: Table[int, Placing] = table(24)
    clues: Table[int, DrawnClue] = table(25)
    gone: Table[int, Gone] = table(26)


def bit(seat: int) -> int:
    """Return a set of seats that holds this one alone."""
    return 1 << seat


def waiting_seats(state: State) -> int:
    """Return who is present and can still answer the present clue."""
    return state.present_seats & ~state.out_seats & ~state.chosen_seats

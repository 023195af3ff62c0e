"""One clue from being shown to its answer: reading, buzzing, answering, choosing, revealing.

Every function here must succeed; the commands and the clock have checked whether it may be.
"""

from __future__ import annotations

from gameserver.engine.room import Room
from gameserver.games.quiz import scoring
from gameserver.games.quiz.choosing import remembered
from gameserver.games.quiz.judging import is_right
from gameserver.games.quiz.pace import enter
from gameserver.games.quiz.settings import reading_ticks, ticks_of
from gameserver.games.quiz.state import (
    NOBODY,
    NONE,
    OPTIONS,
    Attempt,
    Mode,
    Phase,
    State,
    bit,
    waiting_seats,
)

LOCKOUT_TICKS = 5  # 250 ms, as on television.


def show(room: Room[State], place: int) -> None:
    """Show a clue; whoever is seated may answer it later."""
    state = room.state
    clue = state.clues[place]
    hide(room)
    state.clues_played += 1
    state.asked = remembered(state.asked, clue.mark)
    shown = state.shown
    shown.place = place
    shown.number += 1
    shown.category = clue.category
    shown.value = scoring.value_of(clue.level)
    shown.text = clue.text
    enter(room, Phase.READING, reading_ticks(clue.text, room.settings))


def hide(room: Room[State]) -> None:
    """Clear away all that belonged to the clue before."""
    state = room.state
    shown = state.shown
    shown.place, shown.value, shown.open_tick = NONE, 0, 0
    shown.category = shown.text = shown.answer = ""
    shown.options = ()
    shown.answer_option = shown.right_option = NONE
    state.attempts.clear()
    state.out_seats = state.chosen_seats = 0
    for player in state.players:
        player.gained = player.choice_tick = 0
        player.choice = player.revealed_choice = NONE


def open_clue(room: Room[State]) -> None:
    """The clue has been read: open the buzzers, or show the options."""
    state = room.state
    state.shown.open_tick = room.now
    if state.mode is Mode.BOARD:
        enter(room, Phase.OPEN, ticks_of(room.settings.buzz_seconds))
        return
    clue = state.clues[state.shown.place]
    texts = (clue.answer, *clue.wrong)
    order = room.dice.shuffled(tuple(range(OPTIONS)))
    state.shown.options = tuple(texts[one] for one in order)
    state.shown.right_option = order.index(0)
    enter(room, Phase.CHOOSING, ticks_of(room.settings.answer_seconds))


def press_early(room: Room[State], seat: int) -> None:
    """Lock out a player who pressed before the buzzers were open."""
    player = room.state.players[seat]
    player.early += 1
    player.locked_tick = room.now + LOCKOUT_TICKS


def buzz(room: Room[State], seat: int) -> None:
    """Give the word to the player who was first."""
    state = room.state
    player = state.players[seat]
    player.buzzes += 1
    scoring.note_ticks(player, room.now - state.shown.open_tick)
    state.answering = seat
    enter(room, Phase.ANSWERING, ticks_of(room.settings.answer_seconds))


def answer(room: Room[State], seat: int, text: str) -> None:
    """Judge what the answering player typed."""
    state = room.state
    clue = state.clues[state.shown.place]
    if not is_right(text, clue.answer, clue.accept):
        _miss(room, seat, text)
        return
    _show_attempt(room, seat, text, right=True)
    scoring.right(state.players[seat], state.shown.value)
    state.answering = NOBODY
    state.control = seat
    reveal(room)


def time_out(room: Room[State]) -> None:
    """The answering player said nothing in time, or left: that is a wrong answer."""
    _miss(room, room.state.answering, "")


def step_out(room: Room[State], seat: int) -> None:
    """Let a player pass on the present clue."""
    room.state.out_seats |= bit(seat)
    end_if_nobody_waits(room)


def choose(room: Room[State], seat: int, option: int) -> None:
    """Take a player's choice, which nobody else is shown yet."""
    state = room.state
    player = state.players[seat]
    player.choice = option
    player.choice_tick = room.now
    state.chosen_seats |= bit(seat)
    end_if_nobody_waits(room)


def end_if_nobody_waits(room: Room[State]) -> None:
    """Reveal at once when nobody who is present can answer any more."""
    state = room.state
    if state.present_seats == 0 or waiting_seats(state):
        return
    if state.phase in (Phase.OPEN, Phase.CHOOSING):
        reveal(room)


def reveal(room: Room[State]) -> None:
    """Show the answer, and in multiple choice who chose what."""
    state = room.state
    shown = state.shown
    shown.answer = state.clues[shown.place].answer
    if state.mode is Mode.CHOICE:
        shown.answer_option = shown.right_option
        _judge_choices(room)
    enter(room, Phase.REVEAL, ticks_of(room.settings.reveal_seconds))


def _miss(room: Room[State], seat: int, text: str) -> None:
    state = room.state
    _show_attempt(room, seat, text, right=False)
    scoring.wrong(state.players[seat], state.shown.value)
    state.answering = NOBODY
    state.out_seats |= bit(seat)
    if waiting_seats(state):
        state.shown.open_tick = room.now
        enter(room, Phase.OPEN, ticks_of(room.settings.buzz_seconds))
    else:
        reveal(room)


def _show_attempt(room: Room[State], seat: int, text: str, *, right: bool) -> None:
    attempts = room.state.attempts
    account = room.account(seat)
    attempts.add(len(attempts), Attempt(by_seat=seat, account=account, text=text, right=right))


def _judge_choices(room: Room[State]) -> None:
    state, shown = room.state, room.state.shown
    total = ticks_of(room.settings.answer_seconds)
    for player in state.players:
        if player.choice == NONE:
            player.streak = 0
            continue
        player.revealed_choice = player.choice
        if player.choice != shown.right_option:
            scoring.wrong(player, 0)
            continue
        ticks = player.choice_tick - shown.open_tick
        scoring.note_ticks(player, ticks)
        bonus = scoring.speed_bonus(shown.value, max(total - ticks, 0), total)
        scoring.right(player, shown.value + bonus)

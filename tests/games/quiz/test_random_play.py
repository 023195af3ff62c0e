"""Random play of whole rooms, legal and illegal, and what must hold whatever happens.

Every tick is looked at: a model keeps the scores from the answers that were judged in public, and
every new frame of every viewer is searched for words that must not have been shown yet.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gameserver.engine.output import TickOutput
from gameserver.games.quiz import QuizGame, scoring
from gameserver.games.quiz.commands import Answer, Buzz, Choose, Pass, Ready, Select
from gameserver.games.quiz.pace import RESUME_TICKS_MIN
from gameserver.games.quiz.state import NOBODY, NONE, Mode, Phase, State
from tests.games.play import Play, Watcher, account_of
from tests.games.quiz.setting import make_bank, the_answer

NAMES = ("ann", "ben", "cat", "dan")
ROUNDS_MAX = 3


class Watched(Play[State]):
    """A room of which every tick is checked."""

    def __init__(self, **chosen: Any) -> None:
        self.scores_by_account: dict[int, int] = {}
        self.accounts: dict[int, int] = {}
        self.judged = (0, 0, 0)
        self.choices: dict[int, tuple[int, int]] = {}
        self.frames_seen: dict[Watcher, int] = {}
        self.hidden: dict[bytes, tuple[int, str]] = {}
        self.hidden_round = 0
        self.told: set[bytes] = set()
        super().__init__(QuizGame(make_bank(2, 2)), settings={"rounds_max": ROUNDS_MAX, **chosen})

    def tick_at(self, now: int) -> TickOutput:
        """Tick, then look at everything."""
        was = self.state.phase
        self.accounts |= {one.seat: one.account for one in self.room.seats}
        out = super().tick_at(now)
        self.check_words()
        self.check_shape()
        self.check_scores(was)
        return out

    # --- Scores follow from what everybody could see being judged.

    def check_scores(self, was: Phase) -> None:
        """The scores are the sum of the judged answers of the round."""
        state = self.state
        if state.round_number != self.judged[0]:
            self.scores_by_account = {}
            self.judged = (state.round_number, 0, 0)
        if state.clues_played != self.judged[1]:
            self.judged = (state.round_number, state.clues_played, 0)
            self.choices = {}
        if state.mode is Mode.BOARD:
            self.judge_attempts()
        else:
            self.judge_choices(was)
        for seat, player in ((one.seat, one) for one in state.players):
            expected = self.scores_by_account.get(self.room.account(seat), 0)
            assert player.score == expected, f"seat {seat}"
        for gone in state.gone:
            assert gone.score == self.scores_by_account.get(gone.account, 0)

    def judge_attempts(self) -> None:
        """Add up the attempts that are new."""
        state = self.state
        round_number, played, known = self.judged
        for order in range(known, len(state.attempts)):
            attempt = state.attempts[order]
            account = attempt.account
            assert account == self.accounts[attempt.by_seat]
            points = state.shown.value if attempt.right else -state.shown.value
            self.scores_by_account[account] = self.scores_by_account.get(account, 0) + points
        self.judged = (round_number, played, len(state.attempts))

    def judge_choices(self, was: Phase) -> None:
        """Note choices as they are made, and add up their points when they are revealed."""
        state, shown = self.state, self.state.shown
        for player in state.players:
            account = self.room.account(player.seat)
            if player.choice != NONE and account not in self.choices:
                self.choices[account] = (player.choice, self.now)
        present = {self.room.account(player.seat) for player in state.players}
        if state.phase is not Phase.REVEAL or was is Phase.REVEAL:
            return
        total = 20 * self.room.settings.answer_seconds
        for account, (option, tick) in self.choices.items():
            if account in present and option == shown.answer_option:
                left = max(total - (tick - shown.open_tick), 0)
                points = shown.value + shown.value * left // (2 * total)
                before = self.scores_by_account.get(account, 0)
                self.scores_by_account[account] = before + points

    # --- No word is seen before its time.

    def check_words(self) -> None:
        """Search what every viewer got in this tick for words that are not shown yet."""
        if self.state.round_number != self.hidden_round:
            self.hidden_round = self.state.round_number
            self.hide_words()
        self.release_words()
        for watcher in self.watchers.values():
            begin = self.frames_seen.get(watcher, 0)
            self.frames_seen[watcher] = len(watcher.frames)
            for payload in watcher.frames[begin:]:
                assert not self.hidden or not re.search(b"|".join(self.hidden), payload)

    def hide_words(self) -> None:
        """Add the words of this round's clues, each with the clue and what must be shown first."""
        for word, (_, after) in self.hidden.items():
            self.hidden[word] = (NONE, after)
        for number, clue in enumerate(self.state.clues):
            words = {clue.text: "text", clue.answer: "answer"}
            words |= dict.fromkeys(clue.wrong, "options") | dict.fromkeys(clue.accept, "never")
            for text, after in words.items():
                if text.encode() not in self.told:
                    self.hidden[text.encode()] = (number, after)

    def release_words(self) -> None:
        """Let go of the words that the present clue shows."""
        shown = self.state.shown
        visible = {"text"} if shown.text else set()
        if shown.options:
            visible |= {"options", "answer"}
        if shown.answer:
            visible.add("answer")
        for word, (number, after) in list(self.hidden.items()):
            if number == shown.place != NONE and after in visible:
                self.told.add(word)
                del self.hidden[word]

    # --- The state is whole.

    def check_shape(self) -> None:
        """Whatever the phase, the fields fit together."""
        state, room = self.state, self.room
        present = sum(1 << one.seat for one in room.seats if one.present)
        assert state.present_seats == present
        assert state.players.keys_in_order() == room.seats.keys_in_order()
        seated = sum(1 << one.seat for one in room.seats)
        assert not (state.ready_seats | state.out_seats | state.chosen_seats) & ~seated
        assert (state.empty_tick > 0) is (present == 0)
        assert not (present == 0 and state.phase_tick)
        assert (state.answering != NOBODY) == (state.phase is Phase.ANSWERING)
        assert state.answering == NOBODY or state.answering in state.players
        assert len(state.attempts) <= len(NAMES) * 2
        assert len(state.gone) <= scoring.GONE_MAX
        if state.phase is Phase.SELECTING and present:
            assert state.control in state.players
        if state.phase not in (Phase.LOBBY, Phase.DRAWING):
            assert bool(state.phase_tick) is (present != 0)
            assert bool(state.paused_ticks) is (present == 0)
        if state.phase is Phase.REVEAL:
            assert state.shown.answer == the_answer(self)
        if room.is_open and room.due_tick is not None:
            assert room.due_tick > self.now


Step = tuple[str, int, int, int]

# What may happen, and how often compared with the others.
ACTIONS = (
    *("end of phase",) * 8,
    *("buzz",) * 4,
    *("right", "wrong", "choose", "ready", "select") * 2,
    *("few ticks", "pass", "lose", "return", "return", "leave", "crash", "both buzz"),
)
STEP = st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3), st.integers(0, 5), st.integers(1, 5))


def act(play: Watched, step: Step) -> None:
    """Do one thing, if it can be tried at all."""
    action, who, one, _ = step
    name = NAMES[who]
    seat = play.room.seat_of(account_of(name))
    if action == "end of phase":
        if play.room.due_tick is None:
            play.tick()
        else:
            play.run_to_due()
    elif action == "few ticks":
        play.ticks(one * 2)
    elif action == "crash":
        play.recover(play.snapshot() if one % 2 else None)
    elif action == "return":
        if play.room.is_open:
            play.sit(name)
    elif seat is not None:
        act_seated(play, seat, step)


def act_seated(play: Watched, seat: int, step: Step) -> None:
    """Let a seated player do something, present or not."""
    action, _, one, other = step
    state = play.state
    answering = seat if state.answering == NOBODY or one == 0 else state.answering
    selecting = seat if state.control not in state.players or one == 0 else state.control
    if action == "lose":
        play.lose(seat)
    elif action == "leave":
        play.leave(seat)
    elif action == "both buzz":
        check_both_buzz(play, seat)
    elif action == "select":
        play.command(selecting, Select(one, other))
    elif action == "right":
        text = the_answer(play) if state.shown.place != NONE else "x"
        play.command(answering, Answer(text))
    elif action == "wrong":
        play.command(answering, Answer(("quite wrong", "\x07", " ")[one % 3]))
    else:
        command = {"buzz": Buzz(), "pass": Pass(), "ready": Ready(), "choose": Choose(one % 4)}
        play.command(seat, command[action])


def check_both_buzz(play: Watched, seat: int) -> None:
    """Everybody buzzes in one tick; the first who may has the word."""
    state = play.state
    seats = state.players.keys_in_order()
    order = seats[seats.index(seat) :] + seats[: seats.index(seat)]
    for one in order:
        play.submit(one, Buzz())
    play.tick()
    if state.answering != NOBODY and state.players[state.answering].buzzes:
        before = order[: order.index(state.answering)]
        for one in before:
            locked = play.now < state.players[one].locked_tick
            missed = state.out_seats >> one & 1
            assert locked or missed or state.shown.open_tick < play.now


def play_out(play: Watched) -> None:
    """Let time pass until the room has ended, which it must."""
    for _ in range(ROUNDS_MAX * 120 + 50):
        if not play.room.is_open:
            return
        if play.room.due_tick is not None:
            play.run_to_due()
        elif play.room.asks():
            play.tick()
        else:  # The lobby waits for players who do not come; so the others go too.
            for seat in list(play.state.players.keys_in_order()):
                play.lose(seat)
    raise AssertionError("The room does not end.")


@pytest.mark.parametrize("mode", ["board", "choice"])
@settings(max_examples=60)
@given(
    steps=st.lists(STEP, max_size=70),
    begin=st.integers(0, 4),
    taken_at=st.integers(0, 70),
    reading=st.sampled_from([20, 200]),
)
def test_whatever_happens_the_room_stays_whole_and_ends(
    mode: str, steps: list[Step], begin: int, taken_at: int, reading: int
) -> None:
    play = Watched(
        mode=mode,
        questions=6,
        categories=1,
        start_seconds=2,
        select_seconds=3,
        answer_seconds=4,
        empty_seconds=20,
        standings_seconds=5,
        reading_chars_per_second=reading,
    )
    for name in NAMES[:begin]:
        play.sit(name)
    if begin > 1:
        play.run_to_due()
        play.tick()
    taken = play.snapshot()
    for number, step in enumerate(steps):
        if number == taken_at:
            taken = play.snapshot()
        act(play, step)
    play_out(play)
    play.check_all()
    play.check_replay(taken)
    assert play.state.round_number <= ROUNDS_MAX
    assert len(play.results()) <= play.state.round_number


@pytest.mark.parametrize("mode", ["board", "choice"])
def test_a_round_that_nobody_plays_ends_by_itself(mode: str) -> None:
    play = Watched(mode=mode, categories=2, questions=10)
    play.sit("ann")
    play.sit("ben")
    play_out(play)
    assert len(play.results()) == ROUNDS_MAX
    assert play.now < 20 * 60 * 15
    play.check_all()


@pytest.mark.parametrize("mode", ["board", "choice"])
def test_the_search_for_words_that_were_told_too_soon_finds_them(mode: str) -> None:
    play = Watched(mode=mode)
    play.sit("ann")
    play.sit("ben")
    play.run_to_due()
    play.tick()
    told = play.state.clues[1].answer
    play.state.shown.category = told  # As if a rule had shown the wrong text.
    with pytest.raises(AssertionError):
        play.lose(1)


def test_a_pause_is_no_way_to_gain_much_time() -> None:
    play = Watched(mode="board", empty_seconds=60)
    play.sit("ann")
    play.sit("ben")
    play.run_to_due()
    play.tick()
    ends = play.state.phase_tick
    for _ in range(3):
        play.lose(0)
        play.lose(1)
        play.sit("ann")
        play.sit("ben")
    assert play.state.phase_tick <= max(ends + 3 * 4, play.now + RESUME_TICKS_MIN)

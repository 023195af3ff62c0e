"""Bots that play a real room of each game, tick by tick and without a network."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import pytest

from gameserver.engine.game import Game
from gameserver.engine.schema import describe
from gameserver.games.conquest import GAME as CONQUEST
from gameserver.games.keno import GAME as KENO
from gameserver.games.quiz import GAME as QUIZ
from gameserver.games.quiz import parse_bank
from scripts.loadtest.behaviour import Behaviour
from scripts.loadtest.catalog import GAMES
from scripts.loadtest.keno import commitment, draw
from scripts.loadtest.quiz import CONTENT, known_answers
from scripts.loadtest.sight import Move, Schema, Sight
from tests.games.play import ROOM_ID, Play

TICKS_PER_MOVE = 10  # Two moves a second.
LOOK_TICKS = 20


@dataclass
class Trial:
    """Bots in one room, and what came of it."""

    play: Play[Any]
    schema: Schema
    bots: dict[int, Behaviour]
    rng: Random
    said: Counter[str] = field(default_factory=Counter)
    malformed: int = 0
    faults: list[str] = field(default_factory=list)

    def sight(self, seat: int) -> Sight:
        view = self.play.watcher(seat).view
        return Sight(self.schema, view, seat, ROOM_ID)

    def go_on(self, ticks: int) -> None:
        """Let every bot move about twice a second."""
        for _ in range(ticks):
            if not self.play.room.system.open:
                return
            for seat, bot in self.bots.items():
                if self.rng.randrange(TICKS_PER_MOVE) == 0:
                    move = bot.choose(self.sight(seat))
                    if move is not None:
                        self._submit(seat, move)
            self.play.tick()
            if self.play.now % LOOK_TICKS == 0:
                for seat, bot in self.bots.items():
                    self.faults += bot.look(self.sight(seat))

    def _submit(self, seat: int, move: Move) -> None:
        body = move.body or msgspec.msgpack.encode(self.schema.body(move))
        try:
            command = self.play.room.decode(body)
        except msgspec.ValidationError:
            self.malformed += 1
            return
        assert type(command).__name__ == move.command
        self.play.submit(seat, command)

    def accepted(self) -> set[str]:
        """Return the kinds of command that were accepted so far."""
        return {name for name, count in self.said.items() if count}


def trial(game: Game[Any], players: int, number: int = 0, seed: int = 1) -> Trial:
    """Seat bots in a new room whose settings are those of a run."""
    bots = GAMES[game.name]
    rng = Random(seed)
    play: Play[Any] = Play(game, settings=bots.settings(rng, number))
    seats = [play.sit(f"bot {at}", balance_minor=100_000) for at in range(players)]
    made = Trial(play, Schema(describe(game)), {}, rng)
    made.bots = {seat: bots.make(Random(seat), lambda kind: not made.said[kind]) for seat in seats}
    commit = play._commit

    def counted(out: Any, commands: Any) -> None:
        made.said.update(name for name, code, _ in out.counts if code in (0, -2))
        commit(out, commands)

    play._commit = counted  # type: ignore[method-assign]
    return made


def quiz() -> Game[Any]:
    return QUIZ(parse_bank({path.name: path.read_text() for path in CONTENT.glob("*.jsonl")}))


def commands_of(name: str, game: Game[Any]) -> set[str]:
    return {command.__name__ for command in game.commands}


@pytest.mark.parametrize("seed", [1, 2])
def test_keno_bots_use_every_command_and_keep_true_books(seed: int) -> None:
    game = KENO()
    made = trial(game, players=4, seed=seed)
    made.go_on(1600)
    assert made.accepted() == commands_of("keno", game)
    assert made.faults == []
    assert made.malformed > 0
    reasons = {said.name for said in made.play.outcomes.values() if said is not None}
    assert reasons >= {"SPOTS_REPEATED", "STAKE_TOO_LOW", "INSUFFICIENT_FUNDS"}
    made.play.ticks(2)  # The last verdicts.
    for seat, bot in made.bots.items():
        bot.look(made.sight(seat))
        balance_minor = made.play.wallet.balances[made.play.room.account(seat)]
        assert bot.lost_minor(made.sight(seat)) == 100_000 - balance_minor
        assert bot.rounds(made.sight(seat)) > 3
    made.play.check_all()


def test_a_payout_that_is_wrong_is_noticed() -> None:
    made = trial(KENO(), players=1)
    made.go_on(200)
    player = made.play.state.players[0]
    assert player.last
    rows = [(row[0], row[1], row[2], row[3] + 1, row[4]) for row in player.last]
    (bot,) = made.bots.values()
    sight = made.sight(0)
    shown = sight.game.row("players", 0)
    assert shown is not None
    last = made.schema.fields[shown.type]["last"].number
    sight.view.records[shown.number][last] = tuple(rows)
    bot = GAMES["keno"].make(Random(1), lambda kind: False)
    assert len(bot.look(sight)) == len(rows)


def test_a_draw_that_is_not_that_of_its_seed_is_noticed() -> None:
    made = trial(KENO(), players=1)
    made.go_on(200)
    sight = made.sight(0)
    number = sight.game.get("round_number") - 1
    result = sight.game.row("results", number)
    assert result is not None
    sight.view.records[result.number][made.schema.fields[result.type]["seed"].number] = b"x" * 32
    bot = GAMES["keno"].make(Random(1), lambda kind: False)
    faults = bot.look(sight)
    assert f"round {number}: the seed is not what was committed to" in faults
    assert f"round {number}: the seed gives other numbers" in faults


def test_after_rounds_that_nobody_saw_the_books_are_not_trusted() -> None:
    made = trial(KENO(), players=1)
    made.go_on(100)
    (bot,) = made.bots.values()
    assert bot.lost_minor(made.sight(0)) is not None
    made.play.ticks(400)
    bot.look(made.sight(0))
    assert bot.lost_minor(made.sight(0)) is None


def test_the_draw_is_the_one_that_the_games_page_works_out() -> None:
    seed = bytes(range(32))
    digest = "0e6357d87957bf75e2ceba9eb5845bdef2d7af4e4c40800c477a73ffdbbc6ddc"
    assert commitment(4242424242, 7, seed).hex() == digest
    assert draw(4242424242, 7, seed)[:5] == [42, 31, 62, 6, 54]


@pytest.mark.parametrize("seed", [1, 2, 3])  # With fog and without.
def test_conquest_bots_use_every_command_and_play_to_the_end(seed: int) -> None:
    game = CONQUEST()
    made = trial(game, players=5, seed=seed)
    made.go_on(20 * 25)
    assert made.accepted() == commands_of("conquest", game)
    made.go_on(20 * 120)
    assert made.faults == []
    assert made.malformed > 0
    (bot, *_) = made.bots.values()
    assert bot.is_over(made.sight(0))
    assert bot.rounds(made.sight(0)) == made.play.room.settings.rounds_max
    made.play.check_all()


def test_a_count_of_territories_that_is_wrong_is_noticed() -> None:
    made = trial(CONQUEST(), players=3, seed=1)
    made.go_on(100)
    sight = made.sight(0)
    assert not sight.game.get("fog")
    player = sight.game.row("players", 1)
    assert player is not None
    held = made.schema.fields[player.type]["territories"].number
    sight.view.records[player.number][held] = 99
    assert any("seat 1 owns" in fault for fault in made.bots[0].look(sight))


def test_quiz_bots_use_every_command_over_two_rooms_and_know_some_answers() -> None:
    game = quiz()
    accepted: set[str] = set()
    for number in (0, 1):
        made = trial(game, players=6, number=number)
        made.go_on(20 * 20)
        accepted |= made.accepted()
        made.go_on(20 * 300)
        assert made.faults == []
        assert made.malformed > 0
        assert not made.play.room.system.open
        assert made.bots[0].is_over(made.sight(0))
        assert made.bots[0].rounds(made.sight(0)) == made.play.room.settings.rounds_max
        placings = made.sight(0).game.rows("placings").values()
        assert sum(row.get("right") for row in placings) > 0
        assert sum(row.get("wrong") for row in placings) > 0
        made.play.check_all()
    assert accepted == commands_of("quiz", game)


def test_the_bundled_answers_are_known() -> None:
    assert len(known_answers()) >= 150


def test_an_answer_that_is_shown_too_early_is_noticed() -> None:
    made = trial(quiz(), players=2, number=1)
    sight = made.sight(0)
    while sight.game.enum("phase") != "CHOOSING":
        made.go_on(1)
        sight = made.sight(0)
    shown = sight.game.part("shown")
    assert shown is not None
    sight.view.records[shown.number][made.schema.fields[shown.type]["answer"].number] = "Rome"
    assert made.bots[0].look(sight) == ["the answer 'Rome' is shown in phase CHOOSING"]

"""What players try: mostly what the rules allow, sometimes what they do not.

Each mind looks at a room as its player sees it and returns one command.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from gameserver.engine.commands import Command
from gameserver.games.conquest import commands as war
from gameserver.games.conquest.state import Phase as WarPhase
from gameserver.games.keno import commands as keno
from gameserver.games.keno.state import Phase as KenoPhase
from gameserver.games.quiz import commands as quiz
from gameserver.games.quiz.state import Phase as QuizPhase
from protocol.client import ClientRoom
from protocol.view import GAME_RECORD, View
from tests.simulation import games as mill

PHASE = 1
KENO_BETS, WAR_ATLAS, WAR_TERRITORIES, WAR_FOGGED, ATLAS_NEIGHBOURS = 18, 20, 22, 23, 8
OWNER, TROOPS = 1, 2

SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "keno": ({"round_seconds": 2}, {"round_seconds": 3, "bets_per_round_max": 4}),
    "quiz": (
        {
            "categories": 2,
            "start_seconds": 1,
            "select_seconds": 1,
            "reading_chars_per_second": 200,
            "buzz_seconds": 2,
            "answer_seconds": 1,
            "reveal_seconds": 1,
            "standings_seconds": 1,
            "empty_seconds": 600,
        },
        {
            "mode": "choice",
            "questions": 4,
            "players_min": 1,
            "start_seconds": 1,
            "reading_chars_per_second": 200,
            "buzz_seconds": 1,
            "answer_seconds": 1,
            "reveal_seconds": 1,
            "standings_seconds": 1,
            "empty_seconds": 600,
        },
    ),
    "conquest": (
        {"world": "tarn", "start_seconds": 1, "income_seconds": 1, "time_limit_seconds": 10},
        {
            "world": "tarn",
            "fog": True,
            "start_seconds": 0,
            "income_seconds": 1,
            "attack_rest_ms": 100,
            "rematch_seconds": 1,
            "absent_seconds": 5,
        },
    ),
    "mill": ({},),
}


def _keno(chance: Random, view: View) -> Command:
    bets = tuple(view.children(GAME_RECORD, KENO_BETS))
    is_locked = view.value(GAME_RECORD, PHASE) == KenoPhase.LOCKED
    if bets and chance.random() < (0.6 if is_locked else 0.15):
        return keno.Cancel(chance.choice(bets))
    spots = chance.randrange(1, 11)
    numbers = tuple(chance.sample(range(1, 81), spots))
    if spots > 1 and chance.random() < 0.05:
        numbers = (numbers[0], *numbers[:-1])
    stake_minor = chance.choice((100, 100, 137, 200, 500, 1_000, 50, 9_000))
    return keno.Bet(numbers, stake_minor)


def _quiz(chance: Random, view: View) -> Command:
    phase = view.value(GAME_RECORD, PHASE)
    if chance.random() < 0.1:
        phase = chance.choice(tuple(QuizPhase))
    if phase in (QuizPhase.LOBBY, QuizPhase.STANDINGS):
        return quiz.Ready()
    if phase == QuizPhase.SELECTING:
        return quiz.Select(chance.randrange(2), chance.randrange(1, 6))
    if phase == QuizPhase.ANSWERING:
        return quiz.Answer(chance.choice(("Paris", "oxygen", "7", " ", "who knows")))
    if phase == QuizPhase.CHOOSING:
        return quiz.Choose(chance.randrange(4))
    return quiz.Pass() if chance.random() < 0.1 else quiz.Buzz()


def _conquest(chance: Random, view: View) -> Command:
    if view.value(GAME_RECORD, PHASE) != WarPhase.PLAYING:
        return war.Ready(chance.random() < 0.8)
    territories = view.children(GAME_RECORD, WAR_TERRITORIES)
    territories = territories or view.children(GAME_RECORD, WAR_FOGGED)
    atlas = view.child(GAME_RECORD, WAR_ATLAS)
    roll = chance.random()
    if roll < 0.12 or not territories or atlas is None:
        words = (war.OfferAlliance, war.AcceptAlliance, war.DeclineAlliance, war.EndAlliance)
        return chance.choice(words)(chance.randrange(4))
    source = chance.choice(tuple(territories))
    troops = view.value(territories[source], TROOPS, 0)
    if roll < 0.3:
        return war.Reinforce(source, chance.randrange(1, 4))
    target = chance.choice(view.value(atlas, ATLAS_NEIGHBOURS)[source])
    march = war.Move if roll < 0.4 else war.Attack
    return march(source, target, max(1, troops - 1))


def _mill(chance: Random, _: View) -> Command:
    roll = chance.random()
    if roll < 0.45:
        return mill.Pour(chance.randrange(1, 12))
    if roll < 0.7:
        return mill.Stake(chance.choice((50, 100, 700, 15_000)))
    if roll < 0.85:
        return mill.Turn(chance.randrange(1, 40))
    return mill.Trip() if roll < 0.98 else mill.End()


MINDS: dict[str, Callable[[Random, View], Command]] = {
    "keno": _keno,
    "quiz": _quiz,
    "conquest": _conquest,
    "mill": _mill,
}


def command_for(chance: Random, room: ClientRoom) -> Command:
    """Return what a player tries next."""
    return MINDS[room.game](chance, room.view)

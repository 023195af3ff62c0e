"""The games that bots can play."""

from scripts.loadtest import conquest, keno, quiz
from scripts.loadtest.behaviour import GameBots

GAMES: dict[str, GameBots] = {bots.game: bots for bots in (quiz.BOTS, keno.BOTS, conquest.BOTS)}

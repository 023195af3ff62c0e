"""Quiz: clues that are buzzed for on a board, or answered by choice.

The game is made with its clues: ``GAME(parse_bank({file name: text, ...}))``.
"""

from gameserver.games.quiz.bank import Bank, ContentError, parse_bank
from gameserver.games.quiz.game import QuizGame

GAME = QuizGame

__all__ = ["GAME", "Bank", "ContentError", "QuizGame", "parse_bank"]

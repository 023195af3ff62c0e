"""Keno: bets on 20 numbers drawn of 80, round after round.

It knows the rules of the bets, the draw and the payouts. It does not hold money: stakes are held,
settled and released by effects. ``GAME`` is what the server is given.
"""

from gameserver.games.keno.game import GAME

__all__ = ["GAME"]

"""Conquest: territory fought over in real time, with dice, alliances and, if wanted, fog.

Knows the rules (see README.md), two worlds and what each player may see of them. Pure: it knows
no clock, no socket and no storage, only the engine.
"""

from gameserver.games.conquest.game import Conquest

GAME = Conquest

__all__ = ["GAME", "Conquest"]

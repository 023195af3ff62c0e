"""How a battle goes: the classic dice, thrown from a stream of the battle's own.

The attacker throws up to three dice and the defender up to two; the highest meet, then the second
highest, and a tie is the defender's. Five dice are one number below 7776, so that one word of the
stream is two throws. Knows nothing of territories or players.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import product

from gameserver.engine.dice import WORD_LIMIT, block_at

ATTACK_DICE_MAX = 3
DEFENCE_DICE_MAX = 2
SIDES = 6

THROWS = SIDES ** (ATTACK_DICE_MAX + DEFENCE_DICE_MAX)
# Words from here on are thrown away, so that any two throws are exactly as likely as any others.
_FAIR_BELOW = WORD_LIMIT - WORD_LIMIT % THROWS**2


def attacker_loses(attack: tuple[int, ...], defence: tuple[int, ...]) -> int:
    """Return how many of the dice that meet cost the attacker a troop; the others cost one too."""
    meeting = zip(sorted(attack, reverse=True), sorted(defence, reverse=True), strict=False)
    return sum(ours <= theirs for ours, theirs in meeting)


def losses(attack_dice: int, defence_dice: int) -> bytes:
    """Return the attacker's loss for every way in which so many dice can fall."""
    fallen = product(range(SIDES), repeat=attack_dice + defence_dice)
    return bytes(attacker_loses(dice[:attack_dice], dice[attack_dice:]) for dice in fallen)


# By attack dice, then defence dice: the losses, and how many of the dice meet. The number of ways
# always divides THROWS, so that the remainder of a throw is fair too.
LOSSES = {
    attack: {
        defence: (losses(attack, defence), min(attack, defence))
        for defence in range(1, DEFENCE_DICE_MAX + 1)
    }
    for attack in range(1, ATTACK_DICE_MAX + 1)
}


def throws(seed: bytes, battle: int) -> Iterator[int]:
    """Yield the throws of a battle, each a number below ``THROWS`` and equally likely."""
    label = b"battle" + struct.pack(">Q", battle)
    counter = 0
    while True:
        for word in block_at(seed, label, counter):
            if word < _FAIR_BELOW:
                both, first = divmod(word, THROWS)
                yield first
                yield both % THROWS
        counter += 1


def fought(attackers: int, defenders: int, thrown: Iterator[int]) -> tuple[int, int]:
    """Return how many of each are left when one side is spent."""
    assert attackers >= 1, "Somebody has to attack."
    for throw in thrown:
        attack, defence = min(attackers, ATTACK_DICE_MAX), min(defenders, DEFENCE_DICE_MAX)
        table, meeting = LOSSES[attack][defence]
        lost = table[throw % len(table)]
        attackers -= lost
        defenders -= meeting - lost
        if not attackers or not defenders:
            break
    return attackers, defenders

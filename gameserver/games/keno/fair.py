"""The public algorithm of the draw: anybody can compute a round again and compare.

Before a round's betting opens, the SHA-256 of its seed is public. The seed becomes public with the
result. Both the commitment and the draw are bound to the room and the number of the round, so that
a seed cannot be passed off as another round's. The folder's README has it step by step with a
worked example, and says what this proves and what it does not.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Sequence
from hashlib import sha256

from gameserver.engine.dice import SEED_BYTES, drawn
from gameserver.games.keno.paytable import BALLS, DRAWN

SCHEME = b"gs keno 1"


def label(room_id: int, round_number: int) -> bytes:
    """Return what binds a seed to one round of one room: scheme, then two big-endian uint64."""
    return SCHEME + struct.pack(">QQ", room_id, round_number)


def commitment(room_id: int, round_number: int, seed: bytes) -> bytes:
    """Return the SHA-256 that is shown before the round's betting opens."""
    return sha256(label(room_id, round_number) + seed).digest()


def draw(room_id: int, round_number: int, seed: bytes) -> tuple[int, ...]:
    """Return the round's 20 different numbers of 1..80, in the order in which they are drawn."""
    return drawn(seed, label(room_id, round_number), DRAWN, BALLS)


def verify(
    room_id: int, round_number: int, seed: bytes, committed: bytes, numbers: Sequence[int]
) -> bool:
    """Tell whether a round's numbers are those that its commitment had fixed."""
    if len(seed) != SEED_BYTES:
        return False
    if not hmac.compare_digest(commitment(room_id, round_number, seed), committed):
        return False
    return draw(room_id, round_number, seed) == tuple(numbers)

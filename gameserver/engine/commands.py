"""Commands, the reasons to refuse them, and what became of them."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:  # The room executes commands and commands act on the room: only names meet here.
    from gameserver.engine.room import Room


GAME_CODE_MIN = 100  # The codes below are the engine's.
CODE_MIN, CODE_MAX = -2, 32_767


class Reason(NamedTuple):
    """Why the rules refuse something. ``field`` names the part of the command that is at fault.

    A code that a game has once used is never used for anything else.
    """

    code: int
    name: str
    field: str = ""


INSUFFICIENT_FUNDS = Reason(1, "INSUFFICIENT_FUNDS")
NO_WALLET = Reason(2, "NO_WALLET")
WALLET_BUSY = Reason(3, "WALLET_BUSY")
NUMBER_REUSED = Reason(4, "NUMBER_REUSED", "number")
NUMBER_TOO_OLD = Reason(5, "NUMBER_TOO_OLD", "number")
NOT_SEATED = Reason(6, "NOT_SEATED")
ROOM_FULL = Reason(7, "ROOM_FULL")
ROOM_ENDED = Reason(8, "ROOM_ENDED")

ENGINE_REASONS = (
    INSUFFICIENT_FUNDS,
    NO_WALLET,
    WALLET_BUSY,
    NUMBER_REUSED,
    NUMBER_TOO_OLD,
    NOT_SEATED,
    ROOM_FULL,
    ROOM_ENDED,
)


class Code(IntEnum):
    """What stands for an outcome in entries and windows; a positive code is a Reason's."""

    ACCEPTED = 0
    FAILED = -1
    PENDING = -2


# As plain numbers, under these names, they cost a tick a third.
ACCEPTED, FAILED, PENDING = Code.ACCEPTED.value, Code.FAILED.value, Code.PENDING.value
assert min(Code) == CODE_MIN


class Command(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a player may ask of a room. Subclasses are declared with ``tag=<int>``.

    The body on the wire is the array [tag, field, ...]. Bound every field with ``msgspec.Meta``.
    """

    def validate(self, room: Room[Any], seat: int) -> Reason | None:
        """Check everything, in a stated order, and write nothing."""
        raise NotImplementedError

    def execute(self, room: Room[Any], seat: int) -> None:
        """Do it. What raises here is undone, and the outcome is *failed*."""
        raise NotImplementedError

    def granted(self, room: Room[Any], seat: int, reference: str) -> None:
        """Note, in a later tick, that the hold was granted. By default there is nothing to do."""

    def rollback(self, room: Room[Any], seat: int, reference: str) -> None:
        """Take back what the command had claimed, because its hold was not granted.

        Called in a later tick, if ``execute`` asked for a hold. It must take back exactly what
        the command did and nothing that came after it. The player may have left since, and the
        seat may be another's: find what was claimed by ``reference``.
        """
        raise NotImplementedError


class Outcome(NamedTuple):
    """The one final word on a command, as it goes to the player."""

    number: int
    tick: int
    kind: int
    code: int
    name: str
    field: str


_new = tuple.__new__  # What ``Outcome(...)`` comes to, in a third of the time.


def outcome(number: int, tick: int, code: int, reasons: dict[int, Reason]) -> Outcome:
    """Return the outcome that a recorded code stands for."""
    if code == ACCEPTED:
        return _new(Outcome, (number, tick, 0, 0, "", ""))
    if code == FAILED:
        return Outcome(number, tick, 2, 0, "FAILED", "")
    reason = reasons[code]
    return Outcome(number, tick, 1, code, reason.name, reason.field)

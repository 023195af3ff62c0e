"""What can go wrong with storage, in the words of its contract.

The errors, as a tree::

    StorageError
    ├── StorageUnavailable   nobody knows whether the call took effect; send the same again
    ├── StorageBusy          a lock was not free in time; nothing took effect; send the same again
    ├── Poisoned             the data are malformed; nothing took effect and no repeat will help
    └── SchemaMismatch       the database is of another version than this code

and what storage does properly when it says no::

    Declined
    ├── TooManyRooms         whoever makes this room has as many as they may have
    └── TaskFenced           another runs the task by now; nothing took effect
"""

from __future__ import annotations


class StorageError(Exception):
    """Storage did not do what it was asked."""


class StorageUnavailable(StorageError):
    """The call may or may not have taken effect; send the same batch again to find out."""


class StorageBusy(StorageError):
    """A lock was not free in time; nothing took effect.

    ``rooms`` are those of a batch whose rows wait for what somebody else does not let go: without
    them the others could be committed. None are named where nobody knows.
    """

    def __init__(self, text: str, rooms: frozenset[int] = frozenset()) -> None:
        super().__init__(text)
        self.rooms = rooms


class Poisoned(StorageError):
    """The data can never be committed; nothing took effect."""


class SchemaMismatch(StorageError):
    """The database's schema is newer or older than this code can use."""


class Declined(Exception):
    """Storage works, and what it was asked for may not be."""


class TooManyRooms(Declined):
    """The creator has as many rooms that have not ended as they may have."""


class TaskFenced(Declined):
    """Somebody else has claimed the task since; nothing took effect."""

"""What went wrong in PostgreSQL or on the way to it, in the words of the contract.

The rule behind the table: only what is certain to have had no effect may be called busy or
poisoned. All else is unavailable, and the caller finds out by sending the same again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from persistence.interfaces import (
    Poisoned,
    SchemaMismatch,
    StorageBusy,
    StorageError,
    StorageUnavailable,
)

# All that asyncpg and the network raise. InternalClientError is what a session says that was ended
# by the server between two calls, until its socket is seen to close.
FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)

_BUSY = {
    "40001": "serialization_failure",
    "40P01": "deadlock_detected",
    "55P03": "lock_not_available",
}
_POISONED_CLASSES = {
    "21": "cardinality_violation",
    "22": "data_exception",
    "23": "integrity_constraint_violation",
    "54": "program_limit_exceeded",
    "GS": "raised by our own functions and triggers",
}
_OF_ANOTHER_VERSION = {
    "42P01": "undefined_table",
    "42703": "undefined_column",
    "42883": "undefined_function",
    "42704": "undefined_object",
}
# Two batches ruled on the same hold at once; the ruling stands when the loser comes again.
_RACED_CONSTRAINTS = {"hold_pkey"}


def translated(error: Exception) -> StorageError:
    """Return the contract's error for what was raised by asyncpg or by the network."""
    if isinstance(error, StorageError):
        return error
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(error)
    if isinstance(error, asyncpg.DataError):  # Its arguments did not fit: nothing was sent.
        return Poisoned(str(error))
    if isinstance(error, TimeoutError):
        return StorageUnavailable("PostgreSQL did not answer in time")
    return StorageUnavailable(f"{type(error).__name__}: {error}")


def _of_server(error: asyncpg.PostgresError) -> StorageError:
    # Codes that asyncpg does not know arrive as UnknownPostgresError, with their code intact.
    code = str(error.sqlstate or "")
    message = f"{error} (SQLSTATE {code})"
    if code in _BUSY or getattr(error, "constraint_name", None) in _RACED_CONSTRAINTS:
        return StorageBusy(message)
    if code[:2] in _POISONED_CLASSES:
        return Poisoned(message)
    if code in _OF_ANOTHER_VERSION:
        return SchemaMismatch(f"the database is not of this version: {message}")
    return StorageUnavailable(message)


@contextmanager
def translating() -> Iterator[None]:
    """Let the contract's errors out of a block in place of any others."""
    try:
        yield
    except FAILURES as error:
        raise translated(error) from error

"""What Redis and its client say went wrong, in the words of the directory's contract."""

from __future__ import annotations

import re

from redis import exceptions

from persistence.directory import (
    DirectoryError,
    DirectoryUnavailable,
    DirectoryUnusable,
    NameTaken,
)

NO_REDIS = "what answers there is no Redis"
TOO_OLD = "it is older than Redis 6.2"

# Redis begins an error with its kind, but puts it somewhere inside when a script ran into it, and
# the client cuts off those that it knows.
_KIND = re.compile(r"\b[A-Z]{3,}\b")

_LASTING = {
    "OTHERCLUSTER": "another cluster uses this prefix",
    "READONLY": "it is a replica that cannot be written to",
    "NOAUTH": "it asks for a password",
    "WRONGPASS": "it refuses the user or the password",
    "NOPERM": "its user may not do what is needed",
    "DENIED": "it lets in nobody from elsewhere without a password",
}
_PASSING = {"ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "OOM", "TRYAGAIN"}
_LOST = exceptions.ConnectionError | exceptions.TimeoutError | OSError | TimeoutError


def translated(error: Exception) -> DirectoryError:
    """Return the contract's error for whatever a call came to."""
    if isinstance(error, exceptions.RedisError) and (known := _of_kind(error)) is not None:
        return known
    if isinstance(error, exceptions.ResponseError):
        return DirectoryUnusable(str(error))
    if isinstance(error, _LOST):
        return DirectoryUnavailable(str(error) or "it did not answer in time")
    return DirectoryUnusable(f"{NO_REDIS} ({type(error).__name__})")


def _of_kind(error: exceptions.RedisError) -> DirectoryError | None:
    said = str(error)
    kinds = [error.status_code or "", *_KIND.findall(said)]
    if "NAMETAKEN" in kinds:
        return NameTaken("another live node has this name")
    for kind in kinds:
        if kind in _LASTING:
            return DirectoryUnusable(_LASTING[kind])
        if kind in _PASSING:
            return DirectoryUnavailable(f"{kind} {said}")
    if "unknown command" in said:
        return DirectoryUnusable(f"{TOO_OLD}: {said}")
    return None

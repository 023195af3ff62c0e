"""How a service says no: as a value, with the code that the protocol has for it."""

from dataclasses import dataclass

from persistence.interfaces import StorageError
from protocol.messages import ReplyCode

# What the world fails at: whoever asked is told to ask again.
UNAVAILABLE_ERRORS = (StorageError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not done. ``retry_ms`` -1 means that asking again is of no use."""

    code: ReplyCode
    detail: str = ""
    retry_ms: int = -1

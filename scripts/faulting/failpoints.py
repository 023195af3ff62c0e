"""A server that kills itself at a named point: ``python -m scripts.faulting.failpoints POINT:N …``.

The rest of the arguments is the server's command line. The point is wrapped around the server's
own functions here, in a launcher that nothing else imports: the server has no failpoints. At the
N-th time that the point is met the process ends by SIGKILL, as it would by a crash.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gameserver import cli
from gameserver.runtime.recovery import Recovery
from gameserver.runtime.release import Releaser
from persistence.interfaces import Batch
from persistence.postgres.store import PostgresStore

# Time enough for the commit's bytes to leave the process, and too little for the answer to be told.
SENT_S = 0.0005
# Time enough for whatever was told too early to reach those who write it down.
LEAKED_S = 0.01

Call = Callable[..., Awaitable[Any]]


class Fuse:
    """Burns at each call; at the last one the process is gone."""

    def __init__(self, times: int) -> None:
        self._left = times

    def burns_out(self) -> bool:
        """Count one more time; tell whether it was the last."""
        self._left -= 1
        return self._left == 0


def die() -> None:
    """End this process as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)


def before(fuse: Fuse, call: Call, counts: Callable[[Any], bool]) -> Call:
    """Return ``call`` that dies before it begins, when all that was written by then has gone."""

    async def wrapped(self: Any, first: Any, *rest: Any, **named: Any) -> Any:
        if counts(first) and fuse.burns_out():
            await asyncio.sleep(LEAKED_S)
            die()
        return await call(self, first, *rest, **named)

    return wrapped


def after(fuse: Fuse, call: Call, counts: Callable[[Any], bool]) -> Call:
    """Return ``call`` that dies when it is done, before anybody is told."""

    async def wrapped(self: Any, first: Any, *rest: Any, **named: Any) -> Any:
        answer = await call(self, first, *rest, **named)
        if counts(first) and fuse.burns_out():
            die()
        return answer

    return wrapped


def amid(fuse: Fuse, call: Call, counts: Callable[[Any], bool]) -> Call:
    """Return ``call`` that dies when its question is on the way; its fate is nobody's to know."""

    async def wrapped(self: Any, first: Any, *rest: Any, **named: Any) -> Any:
        if counts(first) and fuse.burns_out():
            asyncio.get_running_loop().call_later(SENT_S, die)
        return await call(self, first, *rest, **named)

    return wrapped


def always(_: Any) -> bool:
    """Count every call."""
    return True


def has_entries(batch: Batch) -> bool:
    """Count commits that decide something; the others only keep the clocks."""
    return bool(batch.entries)


def has_holds(batch: Batch) -> bool:
    """Count commits that rule on money."""
    return bool(batch.holds)


def has_settles(batch: Batch) -> bool:
    """Count commits that pay out."""
    return bool(batch.settles)


# Whose function, its name, on which side of it, and which calls count.
POINTS: dict[str, tuple[type, str, Callable[..., Call], Callable[[Any], bool]]] = {
    "before_commit": (PostgresStore, "commit", before, has_entries),
    "amid_commit": (PostgresStore, "commit", amid, has_entries),
    "after_commit": (PostgresStore, "commit", after, has_entries),
    "before_hold": (PostgresStore, "commit", before, has_holds),
    "after_hold": (PostgresStore, "commit", after, has_holds),
    "before_settle": (PostgresStore, "commit", before, has_settles),
    "after_settle": (PostgresStore, "commit", after, has_settles),
    "while_telling": (Releaser, "_conclude", after, always),
    "before_snapshot": (PostgresStore, "save_snapshots", before, always),
    "after_snapshot": (PostgresStore, "save_snapshots", after, always),
    "after_takeover": (PostgresStore, "take_shards", after, always),
    "while_recovering": (Recovery, "open", after, always),
}


def arm(point: str, times: int) -> None:
    """Let the process die at the ``times``-th meeting of the point."""
    owner, name, side, counts = POINTS[point]
    setattr(owner, name, side(Fuse(times), getattr(owner, name), counts))


def main(arguments: Sequence[str]) -> None:
    """Arm the point that is named first, and run the server's command line with the rest."""
    point, _, times = arguments[0].partition(":")
    arm(point, int(times))
    cli.main(list(arguments[1:]))


if __name__ == "__main__":
    main(sys.argv[1:])

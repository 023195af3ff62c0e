"""Signs the heads of our journals now and then, so that nobody can shorten them unseen.

A head is signed only after its commit is known: it is what this node itself has made. It goes
into the database, and to whoever keeps it elsewhere; a signature that is late or lost costs nothing
but that the next one has more to vouch for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gameserver.runtime.clock import Clock
from gameserver.runtime.keeper import ShardKeeper
from persistence.auditing import HeadStore, ShardHead, SignedHead, signed_head
from persistence.interfaces import StorageError

log = structlog.get_logger(__name__)

SAVE_TIMEOUT_S = 5.0

KeepElsewhere = Callable[[Sequence[SignedHead]], Awaitable[None]]


class HeadSigner:
    """Signs what has changed since it last signed. ``keep_elsewhere`` is outside the database."""

    def __init__(
        self,
        store: HeadStore,
        key: Ed25519PrivateKey,
        clock: Clock,
        interval_s: float,
        keep_elsewhere: KeepElsewhere,
    ) -> None:
        self._store = store
        self._key = key
        self._clock = clock
        self._interval_s = interval_s
        self._keep_elsewhere = keep_elsewhere
        self._signed: dict[int, int] = {}  # The last link that was signed, by shard.

    async def run(self, keeper: ShardKeeper) -> None:
        """Sign at intervals, for ever."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.sign(keeper)

    async def sign(self, keeper: ShardKeeper) -> None:
        """Sign the heads that are new."""
        now_ms = self._clock.wall_ms()
        rows = [
            signed_head(
                self._key, ShardHead(owned.shard, owned.epoch, owned.link, owned.head), now_ms
            )
            for _, owned in sorted(keeper.owned.items())
            if owned.link > self._signed.get(owned.shard, 0)
        ]
        if not rows:
            return
        try:
            async with asyncio.timeout(SAVE_TIMEOUT_S):
                await self._keep_elsewhere(rows)
                await self._store.save_heads(rows)
        except (StorageError, TimeoutError, OSError) as error:
            log.error("heads_not_kept", count=len(rows), error=repr(error))
            return
        self._signed |= {row.shard: row.link for row in rows}

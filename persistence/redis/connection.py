"""The way to one Redis: connections, deadlines, scripts. Knows nothing of what scripts do.

Every call has a deadline. A connection whose call was cut short, by the deadline or by its caller,
is thrown away: nobody may read the answer to another's question from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from redis import exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, NoScriptError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from persistence.directory import DirectoryUnusable, NameTaken
from persistence.redis.errors import translated
from persistence.redis.scripts import Script

Word: TypeAlias = bytes | str | int

CALL_TIMEOUT_S = 1.0
# A call takes well under a millisecond. More than these wait for a turn, within their deadline.
CALLS_AT_ONCE_MAX = 8

NO_ADDRESS = "no address of a Redis; those begin with redis://, rediss:// or unix://"


class Connections:
    """Connections to the server at an address, or to the one in its cluster that has our keys."""

    def __init__(self, url: str) -> None:
        try:
            # Only to read the address and to make connections. As a pool it may lose count of one
            # whose call was cancelled while it is given back.
            self._maker = ConnectionPool.from_url(
                url,
                protocol=3,
                legacy_responses=False,
                retry=Retry(NoBackoff(), 0),  # The client's own would take a minute.
                # The deadline is ours. The client's own is a wait_for, which in Python 3.11 may
                # swallow that its caller was cancelled.
                socket_timeout=None,
                socket_connect_timeout=None,
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
            )
            self._moved_to: dict[str, Any] = {}
            self._idle: list[AbstractConnection] = [self._made()]
        except (ValueError, TypeError):
            # Without what is wrong with it, which may be a part of the password.
            raise DirectoryUnusable(NO_ADDRESS) from None
        self._is_open = False
        self._turns = asyncio.Semaphore(CALLS_AT_ONCE_MAX)

    def open(self) -> None:
        """Keep connections from one call to the next."""
        self._is_open = True

    async def close(self) -> None:
        """Let go of all connections, and of those in use when their calls are done."""
        self._is_open = False
        await self._begin_anew()

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Word]) -> Any:
        """Run a script, which the server knows or learns now; return what it answers."""
        rest = (len(keys), *keys, *arguments)
        try:
            return await self.call("EVALSHA", script.sha, *rest)
        except NoScriptError:
            return await self.call("EVAL", script.text, *rest)

    async def call(self, *words: Word) -> Any:
        """Return the answer to a command; errors are the directory's, but for NoScriptError."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                try:
                    return await self._ask(words)
                except MovedError as moved:
                    await self._follow(moved)
                except (exceptions.ConnectionError, OSError):
                    # It was closed while it was idle, perhaps by a restart. If it was not, to ask
                    # twice does no harm: all that we ask for has one effect.
                    await self._begin_anew()
                return await self._ask(words)
        except NoScriptError:
            raise
        except Exception as error:
            # Of any class: the client's parser stumbles in many ways over what is not Redis.
            failure = translated(error)
            if not isinstance(failure, NameTaken):
                # Whatever it is, it may be better elsewhere: behind a name that leads to another
                # server by now, or back where the address says.
                await self._begin_anew()
            raise failure from error

    async def _ask(self, words: Sequence[Word]) -> Any:
        async with self._turns:
            connection = self._idle.pop() if self._idle else self._made()
            try:
                await connection.send_command(*words)
                answer = await connection.read_response()
            except ResponseError:
                await self._keep(connection)
                raise
            except BaseException:
                await _discard(connection)
                raise
            await self._keep(connection)
            return answer

    def _made(self) -> AbstractConnection:
        return self._maker.connection_class(**self._maker.connection_kwargs | self._moved_to)

    async def _keep(self, connection: AbstractConnection) -> None:
        if self._is_open:
            self._idle.append(connection)
        else:
            await _discard(connection)

    async def _begin_anew(self) -> None:
        self._moved_to = {}
        idle, self._idle = self._idle, []
        for connection in idle:
            await _discard(connection)

    async def _follow(self, moved: MovedError) -> None:
        await self._begin_anew()
        self._moved_to = {"port": moved.port}
        if moved.host:  # Else the same one, as this server was told.
            self._moved_to["host"] = moved.host


async def _discard(connection: AbstractConnection) -> None:
    # It may be in any state, and nothing of it is of use any more.
    with suppress(exceptions.RedisError, OSError):
        await connection.disconnect(nowait=True)

"""What has to wait for storage on behalf of a client: so many at a time, and not for ever.

The tasks belong to the group of whoever runs the server. A mistake of ours in one of them closes
the connection that asked, and ends nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from gameserver.net.connection import Connection
from gameserver.services.refusals import UNAVAILABLE_ERRORS
from protocol.closes import CloseCode

IN_FLIGHT_MAX = 1024
DEADLINE_S = 5.0

log = structlog.get_logger()


class Jobs:
    """The tasks that wait."""

    def __init__(self, tasks: asyncio.TaskGroup, deadline_s: float = DEADLINE_S) -> None:
        self.in_flight = 0
        self._tasks = tasks
        self._deadline_s = deadline_s

    @property
    def is_full(self) -> bool:
        """Whether nothing more is taken on; who asks is told that we are busy."""
        return self.in_flight >= IN_FLIGHT_MAX

    def start(
        self,
        connection: Connection,
        job: Callable[[], Coroutine[Any, Any, None]],
        on_unavailable: Callable[[], None],
    ) -> None:
        """Run ``job``; call ``on_unavailable`` if storage fails or the deadline passes."""
        self.in_flight += 1
        connection.requests_in_flight += 1
        self._tasks.create_task(self._run(connection, job, on_unavailable))

    async def _run(
        self,
        connection: Connection,
        job: Callable[[], Awaitable[None]],
        on_unavailable: Callable[[], None],
    ) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                await job()
        except UNAVAILABLE_ERRORS as error:
            log.warning("request_unanswered", cause=type(error).__name__)
            on_unavailable()
        except Exception:
            # The edge of what one client can touch: without this its request would end the group
            # and with it the server.
            log.exception("request_failed", account=connection.account)
            connection.close(CloseCode.INTERNAL, "internal error")
        finally:
            self.in_flight -= 1
            connection.requests_in_flight -= 1

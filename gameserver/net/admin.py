"""The operator's port: whether the process lives, whether it can serve, what it has counted.

It listens on loopback unless told otherwise, because it asks nobody who they are.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from gameserver.net.exposition import CONTENT_TYPE
from gameserver.net.http_log import http_log
from gameserver.net.listener import listen_failure

SHUTDOWN_S = 1.0


class Admin:
    """The HTTP server of the second port.

    ``metrics`` returns all numbers in Prometheus' text form; ``readiness`` whether players can be
    served just now, and what to say about it.
    """

    def __init__(
        self,
        metrics: Callable[[], Awaitable[bytes]],
        readiness: Callable[[], tuple[bool, str]],
    ) -> None:
        self._take_metrics = metrics
        self._readiness = readiness
        application = web.Application(client_max_size=4096)
        application.router.add_get("/livez", _alive)
        application.router.add_get("/readyz", self._ready)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(
            application,
            handle_signals=False,
            access_log=None,
            logger=http_log,
            shutdown_timeout=SHUTDOWN_S,
        )

    async def start(self, host: str, port: int, *, shared: bool = False) -> int:
        """Listen, perhaps on a port that is reserved; return the port, or raise ListenFailed."""
        async with asyncio.timeout(5.0):
            await self._runner.setup()
            try:
                await web.TCPSite(self._runner, host, port, reuse_port=shared).start()
            except OSError as error:
                await self._runner.cleanup()
                raise listen_failure(host, port, error) from error
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Close the port."""
        async with asyncio.timeout(SHUTDOWN_S + 4.0):
            await self._runner.cleanup()

    async def _ready(self, _request: web.Request) -> web.Response:
        is_ready, told = self._readiness()
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return web.Response(status=status, text=f"{told}\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = await self._take_metrics()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n")

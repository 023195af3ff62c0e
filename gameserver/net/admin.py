"""The operator's port: whether the process lives, whether it can serve, what it has counted.

It listens on loopback unless told otherwise, because it asks nobody who they are.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from gameserver.net.exposition import CONTENT_TYPE, Exposition
from gameserver.net.http_log import http_log
from gameserver.net.listener import listen_failure

SHUTDOWN_S = 1.0


class Admin:
    """The HTTP server of the second port.

    ``unready`` returns why players cannot be served just now, or "" if they can.
    """

    def __init__(self, exposition: Exposition, unready: Callable[[], str]) -> None:
        self._exposition = exposition
        self._unready = unready
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

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, or raise ListenFailed."""
        async with asyncio.timeout(5.0):
            await self._runner.setup()
            try:
                await web.TCPSite(self._runner, host, port).start()
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
        unready = self._unready()
        if unready:
            return web.Response(
                status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"not ready: {unready}\n"
            )
        return web.Response(text="ready\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._exposition.text(), headers={"Content-Type": CONTENT_TYPE})


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n")

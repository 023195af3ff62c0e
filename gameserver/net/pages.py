"""What the players' port says over HTTP: what this is, that it is alive, and nothing else.

Also the way in for an upgrade on a connection that served HTTP before: proxies keep connections
open and may send one client's upgrade after another client's request.
"""

import asyncio
from http import HTTPStatus

from aiohttp import web

from gameserver import __version__
from gameserver.net.http_log import http_log
from gameserver.net.listener import Front
from protocol.messages import SUBPROTOCOL

BODY_BYTES_MAX = 64 * 1024
# How long aiohttp keeps reading what a client sends after its answer.
LINGERING_S = 2.0
KEEPALIVE_S = 15.0
SHUTDOWN_S = 1.0

ABOUT = f"""\
gameserver {__version__}

This is a real-time game server. Clients connect with a WebSocket:

  address      ws://<this host and port>/ws
  subprotocol  {SUBPROTOCOL}
  messages     binary, one MessagePack array each; the first is [1, [1], "", "a name", "a client"]

protocol/README.md in the source explains the messages. Alive: /livez
"""


class Pages:
    """The HTTP side of the players' port."""

    def __init__(self) -> None:
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_get("/", _about)
        application.router.add_get("/livez", _alive)
        application.router.add_get("/ws", _upgrade)
        self._runner = web.AppRunner(
            application,
            handle_signals=False,
            access_log=None,
            logger=http_log,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGERING_S,
            shutdown_timeout=SHUTDOWN_S,
        )

    async def start(self) -> None:
        """Prepare to serve."""
        async with asyncio.timeout(5.0):
            await self._runner.setup()

    def __call__(self) -> asyncio.Protocol:
        """Return what speaks HTTP on one socket."""
        server = self._runner.server
        assert server is not None, "pages are started before the port is opened"
        return server()

    async def stop(self) -> None:
        """End all conversations."""
        async with asyncio.timeout(SHUTDOWN_S + 4.0):
            await self._runner.cleanup()


async def _about(_request: web.Request) -> web.Response:
    return web.Response(text=ABOUT, headers={"X-Content-Type-Options": "nosniff"})


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n")


async def _upgrade(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() != "websocket" or request.body_exists:
        return web.Response(
            status=HTTPStatus.UPGRADE_REQUIRED,
            text="A WebSocket is spoken here.\n",
            headers={"Upgrade": "websocket"},
        )
    transport = request.transport
    if transport is None:
        raise asyncio.CancelledError  # The client has gone.
    front = transport.get_protocol()
    assert isinstance(front, Front), "every socket of this port began with a front"
    target = request.raw_path.encode("ascii")
    fields = [name + b": " + value for name, value in request.raw_headers]
    head = b"\r\n".join([b"GET " + target + b" HTTP/1.1", *fields, b"\r\n"])
    gone = asyncio.Event()
    front.upgrade(head, gone.set)
    await gone.wait()  # No deadline here: the connection has its own.
    return web.Response()  # For nobody: the transport is closed.

"""Asking at home, following where redirects lead, and asking again later.

It knows how an answer is had, and nothing of what is asked but what has to be said to ask.
"""

import asyncio

from protocol.client.errors import AnswerTimeout, ConnectionLost, RequestRefused
from protocol.client.link import Link
from protocol.client.links import Links, Unreachable
from protocol.client.options import Counters, Options
from protocol.client.requests import Make, refusal, unavailable
from protocol.messages import Joined, Redirect, Reply, ReplyCode

HOPS_MAX = 4  # One leads to the owner; a few more, if rooms move meanwhile.
RETRY_MS = 250  # Servers that disagree about an owner agree within a second or two.


class Asking:
    """Gets answers, from whichever server has them."""

    def __init__(self, links: Links, options: Options, counters: Counters) -> None:
        self._links = links
        self._options = options
        self._counters = counters

    async def ask(self, make: Make, *, again: bool, timeout_ms: int) -> Reply | Joined:
        """Ask at home and return the answer; while the server says *later*, ask again later.

        ``again`` allows to ask twice when the connection breaks. Raises RequestRefused,
        ConnectionLost, AnswerTimeout, ClientStopped.
        """
        refused: RequestRefused | None = None
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while True:
                    home = await self._links.at_home()
                    try:
                        return await self.follow(home, make)
                    except ConnectionLost:
                        if not again:
                            raise
                        continue
                    except RequestRefused as error:
                        if error.retry_ms < 0:
                            raise
                        refused = error
                    except Unreachable as error:
                        refused = unavailable(str(error), RETRY_MS)
                    await self.wait(refused)
        except TimeoutError as error:
            if refused is not None:
                raise refused from error
            raise AnswerTimeout("no answer to a request") from error

    async def follow(self, link: Link, make: Make) -> Reply | Joined:
        """Ask at ``link`` and where it leads; the caller sets the deadline.

        Raises RequestRefused, ConnectionLost if the connection to ``link`` itself breaks, and
        Unreachable if that happens farther on, or if there is no end to it.
        """
        hops = 0
        while True:
            try:
                answer = await link.requests.ask(make)
            except ConnectionLost as error:
                if not hops:
                    raise
                raise Unreachable(str(error)) from error
            if not isinstance(answer, Redirect):
                if isinstance(answer, Joined) or answer.code == ReplyCode.OK:
                    return answer
                raise refusal(answer)
            self._counters.redirects += 1
            if hops == HOPS_MAX:
                raise Unreachable("redirected too often")
            hops += 1
            link = await self._links.reach(answer.url, answer.ticket)

    async def wait(self, refused: RequestRefused) -> None:
        """Wait as long as a refusal asks for, and a random part of that more."""
        retry_s = refused.retry_ms / 1000
        await asyncio.sleep(retry_s + self._options.jitter(max(retry_s / 2, 0.01)))

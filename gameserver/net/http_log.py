"""What aiohttp logs for both ports, less what a client alone has done wrong.

A client that sends nonsense gets an answer. A traceback with its bytes in it would tell an
operator nothing, and would let anybody fill the log.
"""

import logging

from aiohttp.http import HttpProcessingError
from aiohttp.web import RequestPayloadError

CLIENTS_MISTAKES = (HttpProcessingError, RequestPayloadError)

http_log = logging.getLogger("gameserver.http")


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], CLIENTS_MISTAKES))


http_log.addFilter(_is_ours)

"""How the log is written: one line an event, JSON for machines or text on a terminal.

It knows forms and levels. It does not know what happens; an event is a past-tense name with
fields. Whatever could be a secret is masked here, in case a caller forgets.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import BinaryIO

import msgspec
import structlog

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
MASK = "********"
# Fields by these names are never written out, whoever logs them.
SECRET_FIELDS = frozenset(
    {"token", "ticket", "payload", "body", "seed", "key", "secret", "password", "dsn", "postgres"}
)

_encoder = msgspec.json.Encoder(enc_hook=str)


def configure(level: str, form: str, stream: BinaryIO | None = None) -> None:
    """Send the log to ``stream`` (standard error) in ``form``: auto, text or json."""
    stream = stream or sys.stderr.buffer
    if form == "auto":
        form = "text" if stream.isatty() else "json"
    threshold = LEVELS[level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            masked,
            structlog.processors.format_exc_info,
            _as_text if form == "text" else _as_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    _adopt_libraries(max(threshold, logging.WARNING))


def masked(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Replace the values of secret fields, and bytes under any name."""
    for name, value in event.items():
        if name in SECRET_FIELDS:
            event[name] = MASK
        elif isinstance(value, (bytes, bytearray, memoryview)):
            event[name] = f"<{len(value)} bytes>"
    return event


def _as_json(_logger: object, _method: str, event: Mapping[str, object]) -> bytes:
    return _encoder.encode(event)


def _as_text(_logger: object, _method: str, event: MutableMapping[str, object]) -> bytes:
    at, level, name = event.pop("timestamp"), event.pop("level"), event.pop("event")
    exception = event.pop("exception", None)
    fields = " ".join(f"{field}={_text(value)}" for field, value in event.items())
    line = f"{at} {level:<7} {name}  {fields}".rstrip()
    return (line if exception is None else f"{line}\n{exception}").encode(errors="replace")


def _text(value: object) -> str:
    written = str(value)
    # A value must not be able to start a line of its own or colour the terminal.
    return written if written.isprintable() and " " not in written else repr(written)


class _Forwarder(logging.Handler):
    """Hands what libraries log through `logging` on to our log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            structlog.get_logger().log(
                record.levelno,
                "library_logged",
                library=record.name,
                message=record.getMessage(),
                exc_info=record.exc_info,
            )
        except Exception:
            self.handleError(record)


def _adopt_libraries(threshold: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Forwarder()]
    root.setLevel(threshold)

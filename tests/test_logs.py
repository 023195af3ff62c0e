"""The log: one line an event, and no secret in it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from gameserver import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def written(form: str, level: str = "info") -> io.BytesIO:
    """Send the log into memory."""
    stream = io.BytesIO()
    logs.configure(level, form, stream)
    return stream


def test_an_event_is_one_line_of_json() -> None:
    stream = written("json")
    structlog.get_logger().info("room_opened", tick=7, entries=None)
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["tick"]) == ("room_opened", "info", 7)
    assert event["timestamp"].endswith("Z")


def test_what_is_no_terminal_gets_json() -> None:
    stream = written("auto")
    structlog.get_logger().info("room_opened")
    assert json.loads(stream.getvalue())["event"] == "room_opened"


def test_text_stays_on_its_line_whatever_it_holds() -> None:
    stream = written("text")
    structlog.get_logger().info("player_renamed", name="ann\n\x1b[31mERROR", count=2)
    (line,) = stream.getvalue().decode().splitlines()
    assert "player_renamed" in line
    assert "\x1b" not in line
    assert "count=2" in line


def test_an_exception_is_written_with_its_traceback() -> None:
    for form in ("json", "text"):
        stream = written(form)
        try:
            raise RuntimeError("a bug")
        except RuntimeError:
            structlog.get_logger().exception("request_failed")
        assert b"RuntimeError: a bug" in stream.getvalue()


def test_levels_below_the_chosen_one_are_left_out() -> None:
    stream = written("json", "warning")
    structlog.get_logger().info("room_opened")
    assert stream.getvalue() == b""
    structlog.get_logger().warning("storage_slow")
    assert b"storage_slow" in stream.getvalue()


def test_secrets_and_payloads_are_masked_by_name_and_by_type() -> None:
    for form in ("json", "text"):
        stream = written(form)
        structlog.get_logger().info(
            "hello_received", token="eyJhbGci", payload="hunter2", frame=b"hidden card", account=5
        )
        text = stream.getvalue().decode()
        for secret in ("eyJhbGci", "hunter2", "hidden"):
            assert secret not in text
        assert "<11 bytes>" in text


def test_what_libraries_log_becomes_an_event() -> None:
    stream = written("json")
    logging.getLogger("aiohttp.server").error("Error handling %s", "request")
    logging.getLogger("aiohttp.access").info("GET /")
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["library"]) == ("library_logged", "aiohttp.server")
    assert event["message"] == "Error handling request"

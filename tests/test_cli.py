"""The command line: what it prints, and the codes that it exits with."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gameserver import __version__, cli, operating_cluster
from gameserver.config import ConfigError, settings
from gameserver.exits import exit_code
from gameserver.net.listener import ListenFailed, PortInUse
from persistence.directory import DirectoryUnavailable, DirectoryUnusable, NameTaken
from persistence.embedded import (
    BinariesMissing,
    DataDirInUse,
    DataDirUnusable,
    ServerFailed,
    WrongMajor,
)
from persistence.interfaces import SchemaMismatch, StorageUnavailable
from persistence.sealing import KeysUnusable

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 30


def run(*arguments: str, **environ: str) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(cli.command_line, arguments, env=environ)


def serve(*arguments: str) -> subprocess.Popen[str]:
    """Start a server with the memory store on free ports, unless told otherwise."""
    return subprocess.Popen(
        [sys.executable, "-m", "gameserver", "--store", "memory", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("GS_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(*arguments: str) -> tuple[int, str]:
    """Start a server that cannot start; return its code and the last line that it printed."""
    with serve(*arguments) as process:
        _, errors = process.communicate(timeout=START_TIMEOUT_S)
    assert "Traceback" not in errors
    return process.returncode, errors.splitlines()[-1]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run a server; give its process and what it said when it was ready."""
    with serve("--log-format", "json", *arguments) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                event = json.loads(line)
                if event["event"] == "server_ready":
                    yield process, event
                    break
            else:
                pytest.fail("the server ended before it was ready")
        finally:
            process.kill()


def test_help_names_every_command_and_every_exit_code() -> None:
    text = run("--help").output
    for word in ("serve", "migrate", "rooms", "nodes", "shards", "drain", "config", "health"):
        assert f"\n  {word} " in text
    for code in ("0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "143 "):
        assert f"\n    {code}" in text


def test_help_of_serve_names_every_flag_with_its_variable() -> None:
    text = run("serve", "--help").output
    for setting in settings():
        assert setting.flag in text
        assert setting.variable in text


def test_a_list_without_nodes_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating_cluster, "nodes", lambda config: [])
    told = run("nodes", "--redis", "redis://h", "--redis-prefix", "typo")
    assert (told.exit_code, "'typo'" in told.stderr) == (0, True)
    assert json.loads(run("nodes", "--redis", "redis://h", "--json").stdout) == []


def test_version_is_printed_as_text_and_as_json() -> None:
    assert __version__ in run("version").output
    versions = json.loads(run("version", "--json").output)
    assert versions["gameserver"] == __version__
    assert versions["python"].startswith("3.")
    assert versions["websockets"]


def test_config_prints_values_sources_and_warnings_and_masks_secrets() -> None:
    result = run("config", "--json", "--port", "1", GS_POSTGRES="postgresql://u:pw@h/d", GS_PRT="x")
    printed = json.loads(result.output)
    lines = {line["name"]: line for line in printed["settings"]}
    assert lines["port"] == {"name": "port", "value": "1", "source": "--port"}
    assert lines["postgres"]["value"] == "********"
    assert lines["postgres"]["source"] == "GS_POSTGRES"
    assert lines["idle_timeout"]["value"] == "30s"
    assert printed["warnings"] == ["unknown variable GS_PRT; did you mean 'GS_PORT'?"]
    text = run("config", GS_POSTGRES="postgresql://u:pw@h/d").output
    assert "********" in text
    assert "pw" not in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("serve", "--port", "99999"), "error: --port: '99999' is not allowed; expected a whole"),
        (("--port", "99999"), "error: --port: "),
        (("config", "--config", "/nowhere.toml"), "error: /nowhere.toml: cannot be read"),
        (("serve", "--store", "memory", "--games", "chess"), "error: games: 'chess'"),
        (("serve", "--nonsense"), "No such option"),
        (("helth",), "No such command 'helth'"),
        (("health", "--admin-port", "0"), "error: admin_port is 0"),
        (("serve", "--workers", "2"), "error: workers need redis"),
        (("serve", "--redis", "redis://h"), "error: redis needs postgres"),
        (("nodes",), "error: redis is not given"),
        (("drain", "a", "--redis", "redis://h", "--timeout", "1"), "error: --timeout: '1' is not"),
    ],
)
def test_a_mistake_in_usage_or_settings_exits_with_2(
    arguments: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    result = run(*arguments, GS_DATA_DIR=str(tmp_path))
    assert result.exit_code == 2
    assert told in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (ListenFailed("x"), 2),
        (PortInUse("x"), 4),
        (StorageUnavailable("x"), 3),
        (SchemaMismatch("x"), 3),
        (ServerFailed("x"), 3),
        (WrongMajor("x"), 3),
        (DataDirUnusable("x"), 2),
        (DataDirInUse("x"), 2),
        (BinariesMissing("x"), 2),
        (KeysUnusable("x"), 2),
        (DirectoryUnavailable("x"), 5),
        (DirectoryUnusable("x"), 5),
        (NameTaken("x"), 2),
        (PermissionError(13, "Permission denied", "/data"), 2),
        (RuntimeError("a bug"), None),
        (TimeoutError(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_that_a_person_can_mend_has_its_code(
    error: Exception, code: int | None
) -> None:
    assert exit_code(error) == code


def test_a_database_that_does_not_answer_exits_with_3(tmp_path: Path) -> None:
    result = run(
        "rooms", "--postgres", "postgresql://nobody@127.0.0.1:1/x", "--data-dir", str(tmp_path)
    )
    assert result.exit_code == 3
    assert "error: database: " in result.output


def test_a_data_directory_that_cannot_be_made_exits_with_2(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, line = ended("--data-dir", str(tmp_path / "file" / "data"), "--admin-port", "0")
    assert code == 2
    assert line.startswith("error: ")
    assert str(tmp_path) in line


def test_a_port_in_use_exits_with_4(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for flags in (("--port", port, "--admin-port", "0"), ("--port", "0", "--admin-port", port)):
            code, line = ended("--data-dir", str(tmp_path), *flags)
            assert code == 4
            assert line == f"error: port {port} on 127.0.0.1 is in use"


def test_a_server_is_healthy_while_it_runs_and_sigterm_ends_it_with_0(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    arguments = ("--data-dir", str(tmp_path), "--port", "0", "--admin-port", port)
    with running(*arguments) as (process, ready):
        assert ready["bots"] == f"./scripts/bots {ready['play']}"
        result = run("health", "--admin-port", port)
        assert (result.exit_code, result.output) == (0, "ready\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_TIMEOUT_S) == 0
    result = run("health", "--admin-port", port)
    assert result.exit_code == 1
    assert "no answer" in result.output


@pytest.mark.parametrize(
    "words",
    [
        *(("ledger", "check"), ("journal", "verify"), ("rooms",), ("rooms", "show", "1")),
        *(("shards",), ("nodes", "--redis", "redis://h")),
    ],
)
def test_where_nothing_is_kept_there_is_nothing_to_look_at(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    result = run(*words, "--data-dir", str(tmp_path / "none"))
    assert result.exit_code == 2
    assert "error: data_dir: there is no" in result.stderr
    assert not (tmp_path / "none").exists()


def test_the_memory_store_has_no_books() -> None:
    result = run("ledger", "check", "--store", "memory")
    assert result.exit_code == 2
    assert "nothing is kept" in result.stderr


def test_commands_for_operators_explain_themselves() -> None:
    for words in (("ledger",), ("journal",), ("journal", "prune"), ("rooms", "reopen"), ("drain",)):
        result = run(*words, "--help")
        assert result.exit_code == 0
        assert "Usage: " in result.output


@pytest.mark.parametrize(
    "words", [("rooms", "show"), ("rooms", "reopen"), ("journal", "verify", "--room")]
)
@pytest.mark.parametrize("number", ["0", "99999999999999999999999"])
def test_a_number_that_no_room_can_have_is_told_as_such(
    tmp_path: Path, words: tuple[str, ...], number: str
) -> None:
    result = run(*words, number, "--data-dir", str(tmp_path / "none"))
    assert result.exit_code == 2
    assert "is not in the range" in result.stderr

"""The bots against a real server, each in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.loadtest import cli
from scripts.loadtest.catalog import GAMES
from scripts.loadtest.conductor import ask_server
from scripts.loadtest.keno import Keno
from scripts.loadtest.plan import Plan, placed
from scripts.loadtest.sight import Move, Schema, Sight
from scripts.loadtest.worker import Shift
from tests.e2e.server import ROOT, running

pytestmark = pytest.mark.slow


def report_of(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def started(url: str, path: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scripts.loadtest", url, "--json", str(path), *options]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_live_line(bots: subprocess.Popen[str], part: str) -> None:
    assert bots.stderr is not None
    for line in bots.stderr:
        if part in line:
            return
    raise AssertionError(f"no line with {part!r}")


@pytest.mark.parametrize("procs", [1, 2])
def test_all_games_are_played_and_all_that_is_shown_is_true(tmp_path: Path, procs: int) -> None:
    path = tmp_path / "report.json"
    with running(tmp_path / "data", "--store", "memory") as server:
        options = ("--clients", "18", "--rooms", "6", "--duration", "5", "--procs", str(procs))
        code = cli.main([server.url, *options, "--json", str(path), "--verify-interval", "1"])
        report = report_of(path)
        assert code == cli.EXIT_OK, (report["faults"], report["texts"])
        assert server.errors() == []
    assert (report["clients"], report["rooms"], report["procs"]) == (18, 6, procs)
    assert report["desyncs"] == report["errors"] == report["disconnects"] == 0
    assert report["verified"] > 18
    assert report["views_compared"] >= report["verified"]
    assert report["books_checked"] == 6
    assert {name.partition(".")[0] for name in report["accepted"]} == {"quiz", "keno", "conquest"}
    assert report["refused"]["MALFORMED"] > 0
    assert report["command_to_outcome_ms"]["count"] > 100
    assert 0 < report["command_to_outcome_ms"]["p50"] <= report["command_to_outcome_ms"]["max"]
    assert 0 < report["command_to_delta_ms"]["p50"] <= report["command_to_delta_ms"]["max"]


@pytest.mark.timeout(120)  # On a busy machine a database takes its time to come back.
def test_a_server_that_is_killed_and_started_again_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with running(tmp_path / "data") as server:
        bots = started(server.url, path, "--clients", "12", "--rooms", "3", "--duration", "0")
        try:
            wait_for_live_line(bots, " 00:03/")
            server.kill()
            wait_for_live_line(bots, " away 12 ")
            server.start()
            wait_for_live_line(bots, " away 0 ")
            wait_for_live_line(bots, " away 0 ")
            os.kill(bots.pid, signal.SIGINT)
            bots.communicate(timeout=50)
        finally:
            bots.kill()
        report = report_of(path)
        assert report["faults"] == [], report["texts"]
        assert bots.returncode == cli.EXIT_INTERRUPTED
        assert server.errors() == []
    assert report["disconnects"] == 12
    assert report["resumed_gapless"] + report["resumed_full"] == 12
    assert report["desyncs"] == report["errors"] == 0
    assert report["verified"] >= 12
    assert report["command_to_outcome_over_reconnect_ms"]["count"] > 0


def test_ctrl_c_ends_the_run_in_order_with_a_report(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with running(tmp_path / "data", "--store", "memory") as server:
        bots = started(server.url, path, "--clients", "6", "--game", "keno", "--duration", "0")
        try:
            wait_for_live_line(bots, " 00:02/")
            began_s = time.monotonic()
            os.kill(bots.pid, signal.SIGINT)
            bots.communicate(timeout=20)
        finally:
            bots.kill()
        assert time.monotonic() - began_s < 15
        assert bots.returncode == cli.EXIT_INTERRUPTED
    report = report_of(path)
    assert report["interrupted"]
    assert report["ok"]
    assert report["verified"] >= 6
    assert report["books_checked"] == 6


class Clumsy(Keno):
    """A bot with a mistake in it."""

    def choose(self, sight: Sight) -> Move | None:
        raise RuntimeError("a mistake")


async def test_a_mistake_in_a_bot_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path, "--store", "memory", "--games", "keno") as server:
        described = await ask_server(server.url, ["keno"])
        plan = placed(Plan(server.url, ("keno",), 2, 1, 5.0, 1.0, 1, 1, 0.0), {"keno": 10})
        games = {"keno": replace(GAMES["keno"], make=Clumsy)}
        shift = Shift(plan, {"keno": Schema(described["keno"])}, games)
        await shift.run(lambda said: None)
    assert shift.tally.errors["bots"] > 2
    assert any("a mistake" in text for text in shift.tally.texts)
    assert shift.tally.errors.keys() == {"bots"}
    assert shift.tally.counts["verified"] == 2


def test_a_game_that_is_not_offered_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path, "--store", "memory", "--games", "keno") as server:
        assert cli.main([server.url, "--game", "quiz"]) == cli.EXIT_WRONG
    assert "there is no game 'quiz'" in capsys.readouterr().err

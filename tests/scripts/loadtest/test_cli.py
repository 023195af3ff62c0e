"""What the command line means, and what it refuses."""

import socket
from pathlib import Path

import pytest

from scripts.loadtest import cli
from scripts.loadtest.catalog import GAMES
from scripts.loadtest.plan import Plan


def plan_of(*arguments: str) -> Plan:
    return cli.plan_of(cli.parser().parse_args(arguments))


def test_without_options_all_games_are_played_on_this_machine() -> None:
    plan = plan_of()
    assert plan.url == "ws://127.0.0.1:7350/ws"
    assert plan.games == tuple(GAMES) == ("quiz", "keno", "conquest")
    assert (plan.clients, plan.rooms, plan.rate, plan.duration_s) == (30, 3, 2.0, 30.0)


def test_options_are_taken() -> None:
    plan = plan_of(
        *("ws://localhost:1/ws", "--game", "keno", "--clients", "50", "--rooms", "2"),
        *("--rate", "0.5", "--duration", "90s", "--procs", "3", "--seed", "7"),
        *("--verify-interval", "0"),
    )
    assert (plan.url, plan.games, plan.clients, plan.rooms) == (
        "ws://localhost:1/ws",
        ("keno",),
        50,
        2,
    )
    assert (plan.rate, plan.duration_s, plan.procs, plan.seed) == (0.5, 90.0, 3, 7)
    assert plan.verify_interval_s == 0


def test_without_a_seed_one_is_chosen_and_kept_in_the_plan() -> None:
    assert len({plan_of().seed for _ in range(20)}) > 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--clients", "0"),
        ("--clients", "many"),
        ("--rate", "0"),
        ("--rate", "nan"),
        ("--duration", "-1"),
        ("--game", "chess"),
        ("--no-such-option",),
        ("http://127.0.0.1:7350/",),
        ("ws://example.com/ws",),
        ("ws://192.168.1.20:7350/ws",),
        ("ws://127.0.0.1.example.com/ws",),
    ],
)
def test_what_makes_no_sense_or_is_elsewhere_is_a_usage_error(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == cli.EXIT_USAGE
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:1/ws", "ws://127.8.8.8/ws", "ws://localhost/ws", "wss://[::1]:9/ws"]
)
def test_loopback_is_recognised(url: str) -> None:
    assert cli.is_loopback(url)


def test_without_a_server_there_is_one_line_and_exit_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("scripts.loadtest.conductor.PREFLIGHT_TIMEOUT_MS", 200)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # Bound and not listening: nobody answers there.
        url = f"ws://127.0.0.1:{held.getsockname()[1]}/ws"
        assert cli.main([url, "--json", str(tmp_path / "report.json")]) == cli.EXIT_WRONG
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert f"no answer from {url}" in printed.err
    assert not list(tmp_path.iterdir())

"""The settings that a supervisor gives its workers."""

from dataclasses import replace
from pathlib import Path

import pytest

from gameserver.config import Config, load
from gameserver.supervising.settings_of import variables, worker_config

ALL = Config(
    redis="redis://h:6379",
    workers=4,
    port=0,
    games=("keno", "a.b:C"),
    data_dir=Path("/d"),
    idle_timeout_ns=45 * 10**9,
    accept_rollback=True,
)


def of(config: Config, number: int) -> Config:
    """The settings of a worker."""
    return worker_config(config, number, "postgresql:///x", 7350, 40_000 + number)


def test_a_worker_reads_from_its_environment_exactly_what_it_was_given() -> None:
    for number in (0, 3):
        own = of(ALL, number)
        assert load({}, variables(own, {})).config == own
        assert load({}, variables(own, {})).warnings == ()


def test_nothing_else_of_the_environment_is_a_setting() -> None:
    environ = {
        "PATH": "/bin",
        "GS_CONFIG": "/etc/gs.toml",
        "GS_REDIS_FILE": "/secret",
        "GS_WORKERS": "4",
        "GS_TEST_REDIS": "kept",
    }
    found = variables(of(ALL, 1), environ)
    assert (found["PATH"], found["GS_TEST_REDIS"], found["GS_WORKERS"]) == ("/bin", "kept", "1")
    assert "GS_CONFIG" not in found
    assert "GS_REDIS_FILE" not in found


def test_workers_share_a_port_and_have_one_for_themselves() -> None:
    first, last = of(ALL, 0), of(ALL, 3)
    assert (first.port, last.port) == (7350, 7350)
    assert (first.worker_port, last.worker_port) == (7400, 7403)
    assert (first.admin_host, first.admin_port, last.admin_port) == ("127.0.0.1", 40_000, 40_003)
    assert (first.node_name, first.advertise, first.peer_address) == (None, None, None)
    assert (first.data_dir, first.keys) == (last.data_dir, last.keys)


@pytest.mark.parametrize(
    ("advertise", "expected"),
    [
        ("ws://a.example.org:7350/ws", "ws://a.example.org:7502/ws"),
        ("wss://a.example.org/ws", "wss://a.example.org:7502/ws"),
        ("ws://[::1]/ws", "ws://[::1]:7502/ws"),
        ("ws://[::1]:9/ws", "ws://[::1]:7502/ws"),
    ],
)
def test_what_is_said_of_one_node_counts_up_for_several(advertise: str, expected: str) -> None:
    config = replace(
        ALL,
        worker_port=7500,
        node_name="a",
        advertise=advertise,
        peer_port=7600,
        peer_address="[::1]:7600",
    )
    own = of(config, 2)
    assert own.node_name == "a-2"
    assert own.advertise == expected
    assert (own.peer_port, own.peer_address) == (7602, "[::1]:7602")
    assert of(ALL, 2).peer_port == 0

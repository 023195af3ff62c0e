"""What a run comes to: what counts as wrong, and what the JSON holds."""

import json
from random import Random
from typing import Any

import pytest

from scripts.loadtest.behaviour import Behaviour, GameBots, Wanted
from scripts.loadtest.plan import Plan, placed
from scripts.loadtest.report import Run, as_json, as_text, faults
from scripts.loadtest.sight import Schema
from scripts.loadtest.tally import Tally

SCHEMA = Schema(
    {
        "game": "toy",
        "seats_max": 10,
        "roots": ["System", "Toy"],
        "records": {},
        "commands": [[1, "Push", []], [2, "Pull", []]],
    }
)


def make(rng: Random, wanted: Wanted) -> Behaviour:
    raise AssertionError("nobody plays here")


TOY = GameBots("toy", make, lambda rng, number: {}, players_for_all=2, long_enough_s=10.0)


def run_of(
    *, duration_s: float = 20.0, clients: int = 4, interrupted: bool = False, **changed: Any
) -> Run:
    """Return a run in which all was well, but for what is changed."""
    tally = Tally()
    tally.counts.update({"played_ms": int(duration_s * 1000), "outcomes": 5, "verified": 5})
    tally.accepted.update({"toy.Push": 3, "toy.Pull": 1})
    plan = Plan("ws://127.0.0.1:1/ws", ("toy",), clients, 1, 2.0, duration_s, 1, 1, 5.0)
    run = Run(
        plan=placed(plan, {"toy": 10}),
        tally=tally,
        procs=1,
        games={"toy": TOY},
        schemas={"toy": SCHEMA},
        command=("scripts/bots", "--game", "toy"),
        interrupted=interrupted,
    )
    for name, value in changed.items():
        getattr(tally, name).update(value)
    return run


def test_a_good_run_has_no_faults() -> None:
    assert faults(run_of()) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"counts": {"desyncs": 2}}, "2 desyncs"),
        ({"errors": {"unanswered": 3}}, "3 × unanswered"),
        ({"closes": {"4003": 1}}, "1 connections closed with INTERNAL"),
        ({"counts": {"outcomes": -5}}, "no command had an outcome"),
        ({"counts": {"verified": -5}}, "nothing was verified"),
        ({"accepted": {"toy.Pull": -1}}, "never accepted: toy.Pull"),
    ],
)
def test_each_fault_is_told(changed: dict[str, Any], told: str) -> None:
    run = run_of(**changed)
    assert faults(run) == [told]
    assert as_json(run)["ok"] is False
    assert as_text(run).splitlines()[-1] == f"WRONG: {told}"


def test_lost_connections_that_came_back_are_no_fault() -> None:
    run = run_of(counts={"disconnects": 4, "resumed_gapless": 4}, closes={"1006": 9, "4000": 4})
    assert faults(run) == []


@pytest.mark.parametrize("few", [{"duration_s": 9.0}, {"clients": 1}])
def test_a_short_or_lonely_run_need_not_have_every_command(few: dict[str, Any]) -> None:
    run = run_of(accepted={"toy.Pull": -1}, **few)
    assert faults(run) == []
    assert "too short a run, or too few in a room, for toy.Pull" in as_text(run)


def test_of_an_interrupted_run_only_what_went_wrong_is_told() -> None:
    assert faults(run_of(interrupted=True, counts={"verified": -5, "outcomes": -5})) == []
    assert faults(run_of(interrupted=True, counts={"desyncs": 1})) == ["1 desyncs"]


def test_slow_bots_are_a_warning() -> None:
    run = run_of()
    run.tally.times["lag"].add(30_000)
    assert run.is_saturated
    assert faults(run) == []
    assert "warning: the bots themselves were too slow" in as_text(run)


def test_busy_bots_are_a_warning_too() -> None:
    assert run_of(counts={"cpu_ms": 19_000}).is_saturated
    assert not run_of(counts={"cpu_ms": 10_000}).is_saturated


def test_the_json_has_what_users_rely_on_and_can_be_written() -> None:
    report = json.loads(json.dumps(as_json(run_of())))
    assert report.keys() >= {
        *("clients", "rooms", "duration_s", "commands_sent", "accepted", "refused", "deferred"),
        *("games_finished", "rounds_settled", "command_to_outcome_ms", "command_to_delta_ms"),
        *("deltas_received", "bytes_received", "desyncs", "errors", "disconnects"),
        *("redirects", "moved"),
        *("resumed_gapless", "resumed_full", "generator_lag_ms_p99", "closes_by_code", "seed"),
        *("command", "versions"),
    }
    assert report["command_to_outcome_ms"].keys() >= {"p50", "p90", "p99", "p99_9", "max"}
    assert report["accepted"] == {"toy.Pull": 1, "toy.Push": 3}
    assert report["command"] == "scripts/bots --game toy"


def test_a_tally_survives_its_way_and_two_add_up() -> None:
    run = run_of(errors={"room": 1}, refused={"NO": 2}, closes={"4000": 1})
    run.tally.times["outcome"].add(1234)
    run.tally.desync("something")
    copy = Tally.from_plain(json.loads(json.dumps(run.tally.to_plain())))
    assert copy.to_plain() == run.tally.to_plain()
    copy.merge(run.tally)
    assert copy.accepted["toy.Push"] == 6
    assert copy.times["outcome"].count == 2
    assert copy.texts == ["desync  something"] * 2

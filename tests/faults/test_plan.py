"""What a campaign sets out to do, and when it may say that it proved something."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from scripts.faulting.bots import Wallet, doubted, judged
from scripts.faulting.campaign import Outcome, Plan
from scripts.faulting.cli import main
from scripts.faulting.failpoints import POINTS, Fuse, after, amid, before
from scripts.faulting.faults import FAULTS, KILLS, Measures
from scripts.faulting.machine import Machine
from scripts.faulting.report import NEEDED, as_json, summary, targets, wrong
from scripts.faulting.servers import ROOT

PROCESS_S = 30.0


def test_a_plan_has_as_many_of_each_fault_as_was_asked_for() -> None:
    plan = Plan(kills=50, postgres_stops=10, outages=2, zombies=5, cuts=8, backends=6)
    wanted = plan.wanted
    assert sum(wanted[name] for name in KILLS) == 50
    assert wanted["kill"] == 25
    assert all(wanted[name] >= 1 for name in KILLS)
    assert (wanted["postgres_stopped"], wanted["outage"], wanted["zombie"]) == (10, 2, 5)
    assert set(wanted) <= set(FAULTS)


def test_a_plan_goes_through_all_its_faults_in_the_order_of_its_seed() -> None:
    plan = Plan(kills=20, faults_per_phase=7)
    names = [name for _, phase in plan.phases() for name in phase]
    assert Counter(names) == plan.wanted
    assert names == [name for _, phase in plan.phases() for name in phase]
    other = Plan(kills=20, faults_per_phase=7, seed=2)
    assert names != [name for _, phase in other.phases() for name in phase]
    assert all(len(phase) <= 7 for _, phase in plan.phases())


def test_named_faults_take_place_in_their_order() -> None:
    plan = Plan(names=("zombie", "kill", "zombie"))
    assert [list(phase) for _, phase in plan.phases()] == [["zombie", "kill", "zombie"]]
    assert plan.wanted == {"zombie": 2, "kill": 1}


def _outcome() -> Outcome:
    outcome = Outcome(Plan(names=("kill",)), Measures(after_kill_ms=[900]))
    outcome.run["kill"] = 1
    outcome.counts.update(dict.fromkeys(NEEDED, 1))
    outcome.counts["resumed_gapless"] = 95
    outcome.counts["resumed_full"] = 5
    return outcome


def test_a_campaign_that_did_all_and_found_nothing_proves_its_point() -> None:
    outcome = _outcome()
    assert wrong(outcome) == []
    assert as_json(outcome)["ok"] is True
    assert all(targets(outcome).values())


def test_a_fault_that_did_not_take_place_leaves_the_point_unproven() -> None:
    outcome = _outcome()
    outcome.run.clear()
    assert wrong(outcome) == ["1 × kill did not take place"]


@pytest.mark.parametrize("name", NEEDED)
def test_a_campaign_that_never_compared_something_proves_nothing(name: str) -> None:
    outcome = _outcome()
    outcome.counts[name] = 0
    assert wrong(outcome) == [f"nothing was counted as {name}"]


def test_too_many_clients_with_a_gap_are_a_finding() -> None:
    outcome = _outcome()
    outcome.counts["resumed_full"] = 6
    assert "without a gap" in wrong(outcome)[0]


def test_a_slow_machine_misses_a_target_and_loses_nothing() -> None:
    outcome = _outcome()
    outcome.measures.after_kill_ms += [4_000, 5_000]
    assert targets(outcome)["after_kill_ms_p50"] is False
    assert wrong(outcome) == []


def test_a_summary_has_the_middle_and_the_longest() -> None:
    times = list(range(1, 101))
    assert summary(times) == {"count": 100, "p50": 50.5, "p90": 91, "max": 100}
    assert summary([]) == {"count": 0, "p50": None, "p90": None, "max": None}


# --- Bots.


def _report(**changed: object) -> dict[str, object]:
    sound: dict[str, object] = {
        "faults": [],
        "errors_by_kind": {},
        "desyncs": 0,
        "closes_by_code": {},
        "commands_sent": 10,
        "verified": 3,
        "books_checked": 1,
        "games": ["keno"],
        "texts": [],
    }
    return sound | changed


def test_bots_that_found_nothing_are_content() -> None:
    assert judged(_report(), waited=False) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"desyncs": 1},
        {"errors_by_kind": {"rules": 1}},
        {"errors_by_kind": {"unanswered": 1}},
        {"closes_by_code": {"4003": 1}},
        {"commands_sent": 0},
        {"verified": 0},
        {"books_checked": 0},
    ],
)
def test_what_bots_found_is_told(changed: dict[str, object]) -> None:
    assert judged(_report(**changed), waited=False) != []


def test_long_waiting_is_no_finding_after_an_outage() -> None:
    waiting = _report(errors_by_kind={"unanswered": 2, "deferred_too_long": 1})
    assert judged(waiting, waited=True) == []
    assert judged({"faults": ["no report: killed"]}, waited=True) == ["no report: killed"]


def test_a_wallet_that_was_cleared_is_no_finding_and_another_is() -> None:
    text = "error  books: bot 23, room 6386: 98550 left of 100000, but lost 1350"
    report = _report(errors_by_kind={"books": 2}, texts=[text, "error  join: bot 1: late"])
    assert doubted(report) == [Wallet("bot 23", 6386, 98_550, 100_000)]
    assert judged(report, waited=False, cleared=1)[0] == "1 × books"
    only = _report(errors_by_kind={"books": 1}, texts=[text])
    assert judged(only, waited=False, cleared=1) == []


# --- Failpoints.


async def _answer(_: object, first: str) -> str:
    return first


@pytest.mark.parametrize("side", [before, after, amid])
async def test_a_failpoint_counts_what_it_is_to_count_and_burns_once(
    side: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[str] = []
    monkeypatch.setattr("scripts.faulting.failpoints.die", lambda: died.append("here"))
    assert callable(side)
    call = side(Fuse(2), _answer, lambda first: first == "yes")
    for first, deaths in (("no", 0), ("yes", 0), ("no", 0), ("yes", 1), ("yes", 1)):
        assert await call(None, first) == first
        await asyncio.sleep(0.005)
        assert len(died) == deaths


@pytest.mark.parametrize("point", POINTS)
def test_every_failpoint_is_a_place_in_the_server(point: str) -> None:
    owner, name, _, _ = POINTS[point]
    assert callable(getattr(owner, name))
    assert f"kill_{point}" in KILLS


def test_a_server_at_a_failpoint_ends_as_by_a_crash() -> None:
    program = (
        "import asyncio\n"
        "from scripts.faulting import failpoints\n"
        "from persistence.postgres.store import PostgresStore\n"
        "failpoints.arm('after_takeover', 1)\n"
        "async def take(*_): print('taken', flush=True)\n"
        "call = failpoints.after(failpoints.Fuse(1), take, failpoints.always)\n"
        "asyncio.run(call(None, 'node', [1]))\n"
        "print('alive')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "taken\n"


# --- The command line.


@pytest.mark.parametrize(
    "arguments", [["--kills", "-1"], ["--players", "0"], ["--rooms", "9", "--clients", "3"]]
)
def test_a_wrong_option_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err


# --- The machine.


def test_a_machine_that_stands_still_is_noticed(tmp_path: Path) -> None:
    now_ms = 0
    machine = Machine(tmp_path / "written", lambda: now_ms * 1_000_000)
    for took_ms in (250, 400, 1_200, 250, 31_250):
        now_ms += took_ms
        machine.note(0.25)
    assert machine.stalls_ms == [31_000]

"""What a campaign with several nodes sets out to do, and when it has proved something."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from scripts.faulting.cli import main
from scripts.faulting.cluster_campaign import ClusterOutcome, ClusterPlan
from scripts.faulting.cluster_faults import FAULTS, ClusterMeasures
from scripts.faulting.cluster_report import as_json, as_text, p99, summary, targets, wrong
from scripts.faulting.relay import Balancer, Relay
from scripts.faulting.report import NEEDED


def test_a_plan_has_each_fault_as_often_as_was_asked_for_in_the_order_of_its_seed() -> None:
    plan = ClusterPlan(each=3)
    assert plan.wanted == dict.fromkeys(FAULTS, 3)
    assert plan.order == ClusterPlan(each=3).order != ClusterPlan(each=3, seed=2).order


def test_named_faults_take_place_in_their_order() -> None:
    assert ClusterPlan(names=("rolling", "kill")).order == ["rolling", "kill"]


def _outcome() -> ClusterOutcome:
    measures = ClusterMeasures(after_kill_ms=[300], after_stop_ms=[3_000], gaps_ms=[150])
    outcome = ClusterOutcome(ClusterPlan(names=("kill",)), measures)
    outcome.run["kill"] = 1
    outcome.counts.update(dict.fromkeys(NEEDED, 1))
    return outcome


def test_a_campaign_that_did_all_and_found_nothing_proves_its_point() -> None:
    outcome = _outcome()
    assert wrong(outcome) == []
    assert as_json(outcome)["ok"] is True
    assert all(targets(outcome).values())
    assert "nothing that a player saw is lost" in as_text(outcome)


def test_a_fault_that_did_not_take_place_leaves_the_point_unproven() -> None:
    outcome = _outcome()
    outcome.run = Counter()
    assert wrong(outcome) == ["1 × kill did not take place"]
    assert "1 FAULTS" in as_text(outcome)


@pytest.mark.parametrize("name", NEEDED)
def test_a_campaign_that_never_compared_something_proves_nothing(name: str) -> None:
    outcome = _outcome()
    outcome.counts[name] = 0
    assert wrong(outcome) == [f"nothing was counted as {name}"]


@pytest.mark.parametrize(
    ("times", "target"),
    [
        ({"after_kill_ms": [900, 900]}, "after_kill_ms_p50"),
        ({"after_kill_ms": [300] * 9 + [2_600]}, "after_kill_ms_p99"),
        ({"after_stop_ms": [4_600]}, "after_stop_ms_p99"),
        ({"after_cut_ms": [4_600]}, "after_cut_ms_p99"),
        ({"gaps_ms": [100] * 98 + [450] * 2}, "rolling_gap_ms_p99"),
    ],
)
def test_a_slow_machine_misses_a_target_and_loses_nothing(
    times: dict[str, list[int]], target: str
) -> None:
    outcome = _outcome()
    for name, values in times.items():
        getattr(outcome.measures, name)[:] = values
    missed = [name for name, met in targets(outcome).items() if not met]
    assert target in missed
    assert wrong(outcome) == []


def test_one_in_a_hundred_is_above_the_99th_of_them() -> None:
    assert p99(range(1, 101)) == 99
    assert p99([5]) == 5
    assert summary([1, 2, 3]) == {"count": 3, "p50": 2, "p99": 3, "max": 3}
    assert summary([]) == {"count": 0, "p50": None, "p99": None, "max": None}


@pytest.mark.parametrize(
    "arguments",
    [["--nodes", "0"], ["--nodes", "10"], ["--nodes", "3", "--only", "kill,storm"]],
)
def test_a_wrong_option_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err


async def test_a_relay_that_refuses_keeps_its_connections_and_may_listen_again() -> None:
    async with asyncio.TaskGroup() as tasks:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        relay = Relay(tasks)
        relay.target = ("127.0.0.1", server.sockets[0].getsockname()[1])
        await relay.start()
        port = relay.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await _echoed(reader, writer)
        relay.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert await _echoed(reader, writer)
        await relay.start()
        assert relay.port == port
        again = await asyncio.open_connection("127.0.0.1", port)
        assert await _echoed(*again)
        for one in (writer, again[1]):
            one.close()
        await relay.stop()
        server.close()


async def test_a_balancer_leads_to_each_in_turn_and_to_none_that_goes() -> None:
    async with asyncio.TaskGroup() as tasks:
        balancer = Balancer(tasks)
        balancer.targets.extend([("a", 1), ("b", 1), ("c", 1)])
        assert {balancer.ways()[0] for _ in range(3)} == {("a", 1), ("b", 1), ("c", 1)}
        balancer.is_going = lambda target: target == ("b", 1)
        assert all(sorted(balancer.ways()) == [("a", 1), ("c", 1)] for _ in range(3))


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(16):
        writer.write(data)
    writer.close()


async def _echoed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"hello")
    async with asyncio.timeout(5):
        return await reader.readexactly(5) == b"hello"

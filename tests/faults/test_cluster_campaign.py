"""A short campaign with three nodes, a Redis and a PostgreSQL under players who are at all nodes.

The long one is ``scripts/faults --nodes 3``. Here one of each sort takes place, in a fixed order
from a fixed seed, and every test looks at what it came to.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from scripts.faulting.cluster import ClusterSize
from scripts.faulting.cluster_campaign import ClusterOutcome, ClusterPlan, run
from scripts.faulting.cluster_report import as_json, as_text, wrong

# The first test pays for the whole campaign; a busy machine takes several times as long.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NAMES = ("kill", "redis_killed", "cut_all", "rolling")
PLAN = ClusterPlan(names=NAMES, pause_s=0.3, size=ClusterSize(tables=6))
PLAYERS = PLAN.size.tables * PLAN.size.seats


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> ClusterOutcome:
    folder = tmp_path_factory.mktemp("cluster")
    folder.chmod(0o711)
    return asyncio.run(run(PLAN, folder, lambda line: None))


def test_every_fault_takes_place_and_nothing_is_found_wrong(outcome: ClusterOutcome) -> None:
    assert wrong(outcome) == [], as_text(outcome)
    assert outcome.run == dict.fromkeys(NAMES, 1)


def test_what_players_were_told_is_in_the_journal_once_and_as_told(outcome: ClusterOutcome) -> None:
    assert outcome.counts["outcomes_compared"] > 500
    assert outcome.counts["sightings_compared"] > 20
    names = ("lost", "duplicated", "altered", "commands_failed")
    assert [outcome.counts[name] for name in names] == [0, 0, 0, 0]


def test_every_room_replays_from_its_journal_and_from_its_snapshots(
    outcome: ClusterOutcome,
) -> None:
    assert outcome.counts["rooms_replayed"] == PLAN.size.tables
    assert outcome.counts["snapshots_replayed"] > PLAN.size.tables
    assert outcome.counts["links_checked"] > 500
    assert outcome.counts["settlements_compared"] > 500


def test_others_take_over_the_rooms_of_a_node_that_was_killed_or_is_cut_off(
    outcome: ClusterOutcome,
) -> None:
    assert outcome.measures.nodes_killed == 1
    assert outcome.measures.after_kill_ms != []
    assert outcome.measures.after_cut_ms != []


def test_a_redis_that_was_restarted_empty_is_noticed_by_nobody(outcome: ClusterOutcome) -> None:
    assert outcome.measures.owners_changed == {"redis_killed": 0}


def test_a_rolling_restart_is_measured_for_every_client_and_node(outcome: ClusterOutcome) -> None:
    assert len(outcome.measures.drain_ms) == PLAN.size.nodes
    assert len(outcome.measures.gaps_ms) == PLAN.size.nodes * PLAYERS


def test_the_report_is_plain_data(outcome: ClusterOutcome) -> None:
    report = json.loads(json.dumps(as_json(outcome)))
    assert report["ok"] is True
    assert report["after_kill_ms"]["count"] == len(outcome.measures.after_kill_ms)
    assert "nothing that a player saw is lost" in as_text(outcome)

"""A short campaign: real processes, killed, frozen and cut off under players and bots.

The long one is ``scripts/faults``. Here one of each sort takes place, in a fixed order from a fixed
seed, and every test looks at what it came to.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from persistence.ownership import DEFAULT_SHARDS
from scripts.faulting.campaign import Outcome, Plan, run
from scripts.faulting.faults import KILLS
from scripts.faulting.report import as_json, as_text, wrong
from scripts.faulting.world import Size

# The first test pays for the whole campaign; a busy machine takes several times as long.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NAMES = (
    *("kill", "kill_before_commit", "kill_amid_commit", "kill_after_hold", "commit_answer_reset"),
    *("commit_request_lost", "backend_terminated", "postgres_stopped", "outage"),
    *("zombie", "freeze", "clients_reset"),
)
PLAN = Plan(
    names=NAMES,
    disks=0,
    outage_s=5.0,
    pause_s=0.3,
    clients=8,
    rooms=2,
    faults_per_phase=len(NAMES),
    size=Size(players=4),
    seed=1,
)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("faults")
    return asyncio.run(run(PLAN, folder, lambda line: None))


def test_every_fault_takes_place_and_nothing_is_found_wrong(outcome: Outcome) -> None:
    assert wrong(outcome) == [], as_text(outcome)
    assert outcome.run == dict.fromkeys(NAMES, 1)
    assert outcome.not_run == []


def test_what_players_were_told_is_in_the_journal_once_and_as_told(outcome: Outcome) -> None:
    assert outcome.counts["outcomes_compared"] > 100
    assert outcome.counts["sightings_compared"] > 20
    names = ("lost", "duplicated", "altered")
    assert [outcome.counts[name] for name in names] == [0, 0, 0]


def test_every_room_replays_from_its_journal_and_from_its_snapshots(outcome: Outcome) -> None:
    assert outcome.counts["rooms_replayed"] >= PLAN.rooms + PLAN.size.players // PLAN.size.seats
    assert outcome.counts["entries_replayed"] > 200
    assert outcome.counts["snapshots_replayed"] >= outcome.counts["rooms_replayed"]
    assert outcome.counts["links_checked"] > 200


def test_money_is_where_the_journal_says(outcome: Outcome) -> None:
    assert outcome.counts["holds_compared"] > 50
    assert outcome.counts["settlements_compared"] > 50
    assert outcome.counts["bots_books_checked"] > 0


def test_clients_come_back_without_a_gap_after_each_crash(outcome: Outcome) -> None:
    assert outcome.counts["resumed_gapless"] > PLAN.size.players
    assert outcome.gapless_share >= 0.95


def test_a_server_that_was_frozen_while_another_took_over_is_fenced_on_every_shard(
    outcome: Outcome,
) -> None:
    assert outcome.counts["shards_fenced"] == DEFAULT_SHARDS
    assert len(outcome.measures.after_takeover_ms) == 1


def test_commands_that_no_tick_takes_are_put_off_in_time(outcome: Outcome) -> None:
    assert outcome.measures.deferred_ms != []
    assert max(outcome.measures.deferred_ms) < 3_000


def test_play_goes_on_after_every_kill_and_every_stop_of_the_database(outcome: Outcome) -> None:
    kills = sum(name in KILLS for name in NAMES)
    assert len(outcome.measures.after_kill_ms) == kills
    assert len(outcome.measures.after_postgres_ms) == 2


def test_the_report_is_plain_data(outcome: Outcome, tmp_path: Path) -> None:
    report = json.loads(json.dumps(as_json(outcome)))
    assert report["ok"] is True
    assert report["kills"] == sum(name in KILLS for name in NAMES)
    assert report["processes_killed"] >= report["kills"]
    assert "nothing that a player saw is lost" in as_text(outcome)

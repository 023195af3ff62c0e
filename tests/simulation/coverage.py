"""What a campaign must have met to count: each fault, and each branch that only faults lead to.

A campaign that never fenced anybody proves nothing about fences.
"""

from __future__ import annotations

from collections import Counter

from tests.simulation.awaits import AWAITS
from tests.simulation.nemesis import RARE, WEIGHTS
from tests.simulation.store import Fate

FAULTS = tuple(f"fault_{name}" for name in (*WEIGHTS, *RARE))
STORAGE = (
    *(fate.value for fate in Fate),
    *("batch_repeated", "call_failed", "call_slow", "call_stalled", "call_lost", "poisoned"),
    *("snapshot_flipped", "snapshot_restated", "snapshot_swapped", "entry_forged"),
    *("verdicts_fetched", "heads_signed"),
)
BRANCHES = (
    # Commits and owners.
    *("shards_fenced", "shards_regressed", "commits_repeated_total", "commits_poisoned_total"),
    *("rooms_stalled_total", "slots_skipped_total", "beats_paused_total"),
    "server_without_shards_ended",
    # Recovery.
    *("rooms_recovered_total", "entries_replayed_total", "log_snapshot_refused"),
    *("log_room_set_aside", "room_reopened", "rings_refilled_total"),
    # Clients that were away, slow, or doubled.
    *("client_resumed_gapless", "client_resumed_full", "caught_up_total", "merges"),
    *("left_LEFT", "left_REPLACED", "left_REMOVED", "left_ENDED", "left_SET_ASIDE"),
    *("commands_sent_again", "deferred_UNAVAILABLE", "deferred_BUSY", "rate_limited"),
    *("close_1000", "close_4000", "close_4001", "close_4002", "close_4008", "close_lost"),
    # Commands.
    *("outcome_accepted", "outcome_refused", "outcome_failed", "outcome_pending"),
    *("told_NUMBER_REUSED", "told_NUMBER_TOO_OLD", "told_NOT_SEATED", "told_FAILED"),
    *("hold_granted", "hold_refused", "hold_settled", "hold_released"),
    *("answer_CommandDeferred", "answer_AnswerTimeout", "answer_RoomClosed"),
)
CRASHES = tuple(f"died_at {place}" for place in AWAITS)
REQUIRED = (*FAULTS, *STORAGE, *BRANCHES, *CRASHES)


def missing(counts: Counter[str]) -> list[str]:
    """Return what a campaign should have met and never did."""
    return [name for name in REQUIRED if not counts[name]]

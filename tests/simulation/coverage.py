"""What a campaign must have met to count: each fault, and each branch that only faults lead to.

A campaign that never fenced anybody proves nothing about fences.
"""

from __future__ import annotations

from collections import Counter

from tests.simulation.awaits import AWAITS, NODE_AWAITS
from tests.simulation.directory import Loss
from tests.simulation.nemesis import RARE, WEIGHTS
from tests.simulation.nemesis_nodes import NODE_WEIGHTS
from tests.simulation.store import Fate

FAULTS = tuple(f"fault_{name}" for name in (*WEIGHTS, *RARE, *NODE_WEIGHTS))
STORAGE = (
    *(fate.value for fate in Fate),
    *("batch_repeated", "call_failed", "call_slow", "call_stalled", "call_lost", "poisoned"),
    *("snapshot_flipped", "snapshot_restated", "snapshot_swapped", "entry_forged"),
    *("verdicts_fetched", "heads_signed"),
)
BRANCHES = (
    # Commits and owners.
    *("shards_fenced", "shards_regressed", "commits_repeated_total", "commits_poisoned_total"),
    *("rooms_stalled_total", "slots_skipped_total", "slots_paused_total"),
    *("overloads_total", "turned_away_total"),
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
NODES = (
    # The directory, lost in each way and found again.
    *(loss.value for loss in Loss),
    *("directory_call_lost", "directory_answer_lost", "directory_call_failed"),
    *("directory_restarted_empty", "log_directory_lost", "log_directory_found"),
    *("log_index_not_written", "log_drain_asked", "log_leave_not_heard"),
    # Who is there.
    *("node_started_twice", "machine_lost", "log_member_not_started", "log_member_ended"),
    *("log_peer_linked", "log_peer_died", "log_peer_unreachable", "log_node_died"),
    # How shards come and go.
    *("shard_taken_by_link", "shard_taken_by_lapse", "shard_taken_as_own"),
    *("shards_by_free", "shards_by_takeover", "shards_by_handover", "log_shards_given"),
    # Where handing over fails.
    *("log_rooms_not_at_rest", "log_shards_not_passed", "log_leases_not_passed"),
    *("log_taking_not_heard", "log_shards_not_taken", "log_shards_not_given"),
    # How players follow.
    *("redirect_rightly", "redirect_wrongly", "client_redirects", "close_4600"),
    *("moved_rightly", "moved_wrongly", "moved_nowhere", "client_moves"),
    *("nodes_rolled_calmly", "calm_commands", "calm_resumed_gapless"),
)
CRASHES = tuple(f"died_at {place}" for place in (*AWAITS, *NODE_AWAITS))
REQUIRED = (*FAULTS, *STORAGE, *BRANCHES, *NODES, *CRASHES)


def missing(counts: Counter[str]) -> list[str]:
    """Return what a campaign should have met and never did."""
    return [name for name in REQUIRED if not counts[name]]

"""What a campaign with several nodes came to: a verdict, a page for people, JSON for machines."""

import statistics
from collections.abc import Sequence
from typing import Any

from scripts.faulting.cluster_campaign import ClusterOutcome
from scripts.faulting.report import FAULTS_SHOWN, NEEDED
from scripts.loadtest.report import versions

SCHEMA = 1  # Raised when a key of the JSON gets another meaning.

KILL_P50_MS, KILL_P99_MS = 800, 2_500
GONE_P99_MS = 4_500
GAP_P99_MS = 400


def wrong(outcome: ClusterOutcome) -> list[str]:
    """Return what does not hold, a line each; nothing means that the campaign proved its point."""
    found = list(outcome.faults)
    found += [f"nothing was counted as {name}" for name in NEEDED if not outcome.counts[name]]
    missing = outcome.plan.wanted - outcome.run
    found += [f"{count} × {name} did not take place" for name, count in sorted(missing.items())]
    return list(dict.fromkeys(found))


def as_json(outcome: ClusterOutcome) -> dict[str, Any]:
    """Return the report as plain data."""
    found, measures, counts = wrong(outcome), outcome.measures, outcome.counts
    return {
        "schema": SCHEMA,
        "ok": not found,
        "faults": found,
        "seed": outcome.plan.seed,
        "nodes": outcome.plan.size.nodes,
        "duration_s": round(outcome.duration_s, 1),
        "run": dict(sorted(outcome.run.items())),
        "not_run": outcome.not_run,
        "nodes_killed": measures.nodes_killed,
        "lost": counts["lost"],
        "duplicated": counts["duplicated"],
        "altered": counts["altered"],
        "commands_failed": counts["commands_failed"],
        "owners_changed": dict(sorted(measures.owners_changed.items())),
        "counts": dict(sorted(counts.items())),
        **{f"{name}_ms": summary(values) for name, values in _times(outcome).items()},
        "targets": targets(outcome),
        "versions": versions(),
    }


def targets(outcome: ClusterOutcome) -> dict[str, bool]:
    """Return which figures were reached; a busy machine misses some, and nothing is lost by it."""
    measures, reached = outcome.measures, dict[str, bool]()
    if measures.after_kill_ms:
        reached["after_kill_ms_p50"] = statistics.median(measures.after_kill_ms) < KILL_P50_MS
    for name, values, most_ms in (
        ("after_kill_ms_p99", measures.after_kill_ms, KILL_P99_MS),
        ("after_stop_ms_p99", measures.after_stop_ms, GONE_P99_MS),
        ("after_cut_ms_p99", measures.after_cut_ms, GONE_P99_MS),
        ("rolling_gap_ms_p99", measures.gaps_ms, GAP_P99_MS),
    ):
        if values:
            reached[name] = p99(values) < most_ms
    return reached


def p99(values: Sequence[int]) -> int:
    """Return what one in a hundred is above; of fewer than a hundred, the longest."""
    return sorted(values)[max(0, -(-len(values) * 99 // 100) - 1)]


def summary(values: Sequence[int]) -> dict[str, float | int | None]:
    """Return how many there are, the middle one, that which one in a hundred is above, the last."""
    if not values:
        return {"count": 0, "p50": None, "p99": None, "max": None}
    middle = statistics.median(values)
    return {"count": len(values), "p50": middle, "p99": p99(values), "max": max(values)}


def as_text(outcome: ClusterOutcome) -> str:
    """Return the report as people read it."""
    report, counts = as_json(outcome), outcome.counts
    ran = "  ".join(f"{name} {count}" for name, count in report["run"].items())
    changed = "  ".join(f"{name} {count}" for name, count in report["owners_changed"].items())
    lines = [
        f"faults      {sum(outcome.run.values())} on {report['nodes']} nodes in"
        f" {outcome.duration_s:.0f} s, {report['nodes_killed']} killed, seed {report['seed']}",
        f"  {ran}",
        *(f"not run     {one}" for one in outcome.not_run),
        f"told        {counts['outcomes_compared']} outcomes and {counts['sightings_compared']}"
        f" views: {report['lost']} lost, {report['duplicated']} done twice,"
        f" {report['altered']} altered, {report['commands_failed']} failed",
        f"replayed    {counts['entries_replayed']} entries of {counts['rooms_replayed']} rooms,"
        f" {counts['snapshots_replayed']} snapshots, {counts['links_checked']} links of the chain",
        f"money       {counts['holds_compared']} holds, {counts['settlements_compared']}"
        f" settlements, {counts['releases_compared']} releases compared",
        f"bots        {counts['bots_commands_sent']} commands, {counts['bots_verified']} views"
        f" verified, {counts['bots_books_checked']} wallets, {counts['bots_desyncs']} desyncs",
        f"resumed     {counts['resumed_gapless']} without a gap, {counts['resumed_full']} anew",
        f"owners      changed though nobody should notice: {changed or 'not tried'}",
        *(
            f"{LABELS[name]:27} p50 {times['p50']} ms  p99 {times['p99']} ms  max {times['max']} ms"
            f"  ({times['count']})"
            for name, times in ((name, report[f"{name}_ms"]) for name in LABELS)
            if times["count"]
        ),
        *(f"target      {name} missed" for name, met in report["targets"].items() if not met),
    ]
    found = report["faults"]
    lines += [f"  {one}" for one in found[:FAULTS_SHOWN]]
    lines.append("ok: nothing that a player saw is lost" if not found else f"{len(found)} FAULTS")
    return "\n".join(lines)


LABELS = {
    "after_kill": "kill → new outcome",
    "after_stop": "process stopped → …",
    "after_cut": "cut off PostgreSQL → …",
    "after_redis": "Redis back after a kill → …",
    "after_postgres": "PostgreSQL back → …",
    "let_go": "woken → lets clients go",
    "drain": "SIGTERM → end",
    "rolling_gap": "rolling: longest gap",
    "undisturbed_gap": "undisturbed: longest gap",
    "machine_stalls": "the machine stood still",
}


def _times(outcome: ClusterOutcome) -> dict[str, list[int]]:
    measures = outcome.measures
    return {
        "after_kill": measures.after_kill_ms,
        "after_stop": measures.after_stop_ms,
        "after_cut": measures.after_cut_ms,
        "after_redis": measures.after_redis_ms,
        "after_postgres": measures.after_postgres_ms,
        "let_go": measures.let_go_ms,
        "drain": measures.drain_ms,
        "rolling_gap": measures.gaps_ms,
        "undisturbed_gap": measures.gaps_undisturbed_ms,
        "machine_stalls": measures.stalls_ms,
    }

"""What a campaign came to: a verdict, a page for people, and JSON for machines."""

import statistics
from collections.abc import Sequence
from typing import Any

from scripts.faulting.campaign import Outcome
from scripts.faulting.faults import KILLS
from scripts.loadtest.report import versions

SCHEMA = 1  # Raised when a key of the JSON gets another meaning.

AFTER_KILL_MS_MAX, AFTER_CROWD_MS_MAX, AFTER_POSTGRES_MS_MAX = 1_500, 5_000, 2_000
GAPLESS_SHARE_MIN = 0.95
# Without these a campaign has proven nothing.
NEEDED = (
    *("outcomes_compared", "sightings_compared", "commands_recorded", "entries_replayed"),
    *("snapshots_replayed", "links_checked", "holds_compared", "settlements_compared"),
)
FAULTS_SHOWN = 40


def wrong(outcome: Outcome) -> list[str]:
    """Return what does not hold, a line each; nothing means that the campaign proved its point."""
    found = list(outcome.faults)
    found += [f"nothing was counted as {name}" for name in NEEDED if not outcome.counts[name]]
    wanted = outcome.plan.wanted
    missing = wanted - outcome.run
    found += [f"{count} × {name} did not take place" for name, count in sorted(missing.items())]
    if outcome.gapless_share < GAPLESS_SHARE_MIN:
        found.append(f"only {outcome.gapless_share:.1%} of the clients came back without a gap")
    return list(dict.fromkeys(found))


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the report as plain data."""
    found, measures = wrong(outcome), outcome.measures
    return {
        "schema": SCHEMA,
        "ok": not found,
        "faults": found,
        "seed": outcome.plan.seed,
        "duration_s": round(outcome.duration_s, 1),
        "run": dict(sorted(outcome.run.items())),
        "not_run": outcome.not_run,
        "kills": sum(outcome.run[name] for name in KILLS),
        "processes_killed": measures.processes_killed,
        "lost": outcome.counts["lost"],
        "duplicated": outcome.counts["duplicated"],
        "altered": outcome.counts["altered"],
        "desyncs": outcome.counts["bots_desyncs"],
        "counts": dict(sorted(outcome.counts.items())),
        "resumed_without_gap_share": round(outcome.gapless_share, 4),
        "after_kill_ms": summary(measures.after_kill_ms),
        "after_kill_with_a_crowd_ms": summary(outcome.crowd_ms),
        "after_postgres_ms": summary(measures.after_postgres_ms),
        "after_takeover_ms": summary(measures.after_takeover_ms),
        "after_drain_ms": summary(measures.after_drain_ms),
        "after_network_ms": summary(measures.after_network_ms),
        "deferred_ms": summary(measures.deferred_ms),
        "start_to_ready_ms": summary(measures.ready_ms),
        "machine_stalls_ms": summary(measures.stalls_ms),
        "targets": targets(outcome),
        "versions": versions(),
    }


def targets(outcome: Outcome) -> dict[str, bool]:
    """Return which figures were reached; a busy machine misses some, and nothing is lost by it."""
    reached = {"resumed_without_gap_share": outcome.gapless_share >= GAPLESS_SHARE_MIN}
    for name, values, most_ms in (
        ("after_kill_ms_p50", outcome.measures.after_kill_ms, AFTER_KILL_MS_MAX),
        ("after_kill_with_a_crowd_ms_p50", outcome.crowd_ms, AFTER_CROWD_MS_MAX),
        ("after_postgres_ms_p50", outcome.measures.after_postgres_ms, AFTER_POSTGRES_MS_MAX),
    ):
        if values:
            reached[name] = statistics.median(values) < most_ms
    return reached


def summary(values: Sequence[int]) -> dict[str, float | int | None]:
    """Return how many there are, the middle one, one in ten, and the longest."""
    if not values:
        return {"count": 0, "p50": None, "p90": None, "max": None}
    ordered = sorted(values)
    p90 = ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)]
    return {
        "count": len(ordered),
        "p50": statistics.median(ordered),
        "p90": p90,
        "max": ordered[-1],
    }


def as_text(outcome: Outcome) -> str:
    """Return the report as people read it."""
    report, counts = as_json(outcome), outcome.counts
    ran = "  ".join(f"{name} {count}" for name, count in report["run"].items())
    lines = [
        f"faults      {sum(outcome.run.values())} in {outcome.duration_s:.0f} s,"
        f" {report['processes_killed']} servers killed, seed {report['seed']}",
        f"  {ran}",
        *(f"not run     {one}" for one in outcome.not_run),
        f"told        {counts['outcomes_compared']} outcomes and {counts['sightings_compared']}"
        f" views: {report['lost']} lost, {report['duplicated']} done twice,"
        f" {report['altered']} altered",
        f"replayed    {counts['entries_replayed']} entries of {counts['rooms_replayed']} rooms,"
        f" {counts['snapshots_replayed']} snapshots, {counts['links_checked']} links of the chain",
        f"money       {counts['holds_compared']} holds, {counts['settlements_compared']}"
        f" settlements, {counts['releases_compared']} releases compared",
        f"bots        {counts['bots_commands_sent']} commands, {counts['bots_verified']} views"
        f" verified, {counts['bots_books_checked']} wallets, {counts['bots_desyncs']} desyncs",
        f"resumed     {report['resumed_without_gap_share']:.1%} without a gap of"
        f" {counts['resumed_gapless'] + counts['resumed_full']}",
        *(
            f"{name:26} p50 {times['p50']} ms  p90 {times['p90']} ms  max {times['max']} ms"
            f"  ({times['count']})"
            for name, times in (
                ("kill → new outcome", report["after_kill_ms"]),
                ("… with very many rooms", report["after_kill_with_a_crowd_ms"]),
                ("PostgreSQL → new outcome", report["after_postgres_ms"]),
                ("freeze → taken over", report["after_takeover_ms"]),
                ("drain → new outcome", report["after_drain_ms"]),
                ("network, sessions", report["after_network_ms"]),
                ("outage: put off after", report["deferred_ms"]),
                ("start of a server", report["start_to_ready_ms"]),
                ("the machine stood still", report["machine_stalls_ms"]),
            )
            if times["count"]
        ),
        *(f"target      {name} missed" for name, met in report["targets"].items() if not met),
    ]
    found = report["faults"]
    lines += [f"  {one}" for one in found[:FAULTS_SHOWN]]
    lines.append("ok: nothing that a player saw is lost" if not found else f"{len(found)} FAULTS")
    return "\n".join(lines)

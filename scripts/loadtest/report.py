"""What a run comes to: a verdict, a page for people, and JSON for machines."""

import os
import platform
import shlex
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gameserver
from scripts.loadtest.behaviour import GameBots
from scripts.loadtest.plan import Plan
from scripts.loadtest.sight import Schema
from scripts.loadtest.tally import Tally

SCHEMA = 1  # Raised when a key of the JSON gets another meaning.

LIBRARIES = ("websockets", "msgpack", "msgspec", "uvloop")
INTERNAL_CLOSE = "4003"

# A generator that is later than this, or busier, measures itself.
LAG_P99_MAX_MS = 20.0
CPU_SHARE_MAX = 0.85


@dataclass(frozen=True)
class Run:
    """A run that is over."""

    plan: Plan
    tally: Tally
    procs: int
    games: dict[str, GameBots]
    schemas: dict[str, Schema]
    command: tuple[str, ...]
    interrupted: bool = False

    @property
    def duration_s(self) -> float:
        """How long the bots played."""
        return self.tally.counts["played_ms"] / 1000 / max(self.procs, 1)

    @property
    def cpu_share(self) -> float:
        """How busy the processes of the bots were, of one core each."""
        return self.tally.counts["cpu_ms"] / max(self.tally.counts["played_ms"], 1)

    @property
    def is_saturated(self) -> bool:
        """Whether the bots could not keep up, so that their figures say little of the server."""
        lag_us = self.tally.times["lag"].quantile(0.99) or 0
        return lag_us / 1000 > LAG_P99_MAX_MS or self.cpu_share > CPU_SHARE_MAX


def faults(run: Run) -> list[str]:
    """Return what was wrong, a line each; an empty list means that nothing was."""
    tally = run.tally
    found = []
    if tally.counts["desyncs"]:
        found.append(f"{tally.counts['desyncs']} desyncs")
    found += [f"{count} × {kind}" for kind, count in sorted(tally.errors.items())]
    if tally.closes[INTERNAL_CLOSE]:
        found.append(f"{tally.closes[INTERNAL_CLOSE]} connections closed with INTERNAL")
    if run.interrupted:
        return found  # Of a run that was cut short nothing more can be asked.
    if not tally.counts["outcomes"]:
        found.append("no command had an outcome")
    if not tally.counts["verified"]:
        found.append("nothing was verified")
    missing = [name for name in _missing(run) if _was_long_enough(run, name.partition(".")[0])]
    if missing:
        found.append(f"never accepted: {', '.join(missing)}")
    return found


def _missing(run: Run) -> list[str]:
    return [
        f"{game}.{command}"
        for game in run.plan.games
        for command in run.schemas[game].commands
        if not run.tally.accepted[f"{game}.{command}"]
    ]


def _was_long_enough(run: Run, game: str) -> bool:
    bots = run.games[game]
    rooms = sum(
        place.game == game and place.bots >= bots.players_for_all for place in run.plan.places
    )
    # Fewer rooms than it takes have to be played one after the other, and slow bots need longer.
    share = min(rooms / bots.rooms_for_all, 1.0) * min(run.plan.rate, 1.0)
    return run.duration_s * share >= bots.long_enough_s


def as_json(run: Run) -> dict[str, Any]:
    """Return the report as plain data."""
    tally, counts = run.tally, run.tally.counts
    found = faults(run)
    outcome, delta = tally.times["outcome"].summary_ms(), tally.times["delta"].summary_ms()
    lag = tally.times["lag"].summary_ms()
    return {
        "schema": SCHEMA,
        "ok": not found,
        "faults": found,
        "interrupted": run.interrupted,
        "command": shlex.join(run.command),
        "url": run.plan.url,
        "games": list(run.plan.games),
        "clients": run.plan.clients,
        "rooms": run.plan.rooms,
        "procs": run.procs,
        "rate": run.plan.rate,
        "seed": run.plan.seed,
        "duration_s": round(run.duration_s, 3),
        "commands_sent": counts["commands_sent"],
        "commands_sent_again": counts["commands_sent_again"],
        "commands_held_back": counts["commands_held_back"],
        "commands_cut_off": counts["commands_cut_off"],
        "accepted": dict(sorted(tally.accepted.items())),
        "refused": dict(sorted(tally.refused.items())),
        "deferred": counts["deferrals"],
        "games_finished": counts["games_finished"],
        "rounds_settled": counts["rounds_settled"],
        "rooms_made": counts["rooms_made"],
        "command_to_outcome_ms": outcome,
        "command_to_delta_ms": delta,
        "command_to_outcome_over_reconnect_ms": tally.times["outcome_over_reconnect"].summary_ms(),
        "join_ms": tally.times["join"].summary_ms(),
        "accepted_without_delta": counts["accepted_without_delta"],
        "messages_received": counts["messages_received"],
        "deltas_received": counts["deltas_received"],
        "bytes_received": counts["bytes_received"],
        "desyncs": counts["desyncs"],
        "errors": tally.errors.total(),
        "errors_by_kind": dict(sorted(tally.errors.items())),
        "verified": counts["verified"],
        "views_compared": counts["views_compared"],
        "skipped_behind": counts["skipped_behind"],
        "gaps": counts["gaps"],
        "books_checked": counts["books_checked"],
        "books_unsure": counts["books_unsure"],
        "disconnects": counts["disconnects"],
        "redirects": counts["redirects"],
        "moved": counts["moved"],
        "closes_by_code": dict(sorted(tally.closes.items())),
        "resumed_gapless": counts["resumed_gapless"],
        "resumed_full": counts["resumed_full"],
        "generator_lag_ms_p99": lag["p99"],
        "generator_cpu_share": round(run.cpu_share, 3),
        "generator_saturated": run.is_saturated,
        "texts": tally.texts,
        "counts": dict(sorted(counts.items())),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return what the figures were measured with."""
    found = {
        "bots": gameserver.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(os.cpu_count()),
    }
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found


def as_text(run: Run) -> str:
    """Return the report as people read it."""
    report = as_json(run)
    seconds = max(run.duration_s, 0.001)
    accepted, refused = sum(report["accepted"].values()), sum(report["refused"].values())
    lines = [
        f"{'+'.join(run.plan.games)}   {report['clients']} bots, {report['rooms']} rooms,"
        f" {seconds:.1f} s, {report['procs']} processes, seed {report['seed']}",
        f"commands    {report['commands_sent']} sent ({report['commands_sent'] / seconds:.0f}/s),"
        f" {accepted} accepted, {refused} refused, {report['deferred']} deferred",
        f"received    {report['deltas_received']} deltas"
        f" ({report['deltas_received'] / seconds:.0f}/s),"
        f" {report['bytes_received'] / 1024:.0f} KiB"
        f" ({report['bytes_received'] / 1024 / seconds:.0f} KiB/s)",
        f"games       {report['games_finished']} finished,"
        f" {report['rounds_settled']} rounds settled, {report['rooms_made']} rooms made",
        "",
        f"{'':24}{'p50':>10}{'p90':>10}{'p99':>10}{'p99.9':>10}{'max':>10}   count",
        _times("command → outcome", report["command_to_outcome_ms"]),
        _times("command → delta", report["command_to_delta_ms"]),
        _times("… over a reconnect", report["command_to_outcome_over_reconnect_ms"]),
        _times("join", report["join_ms"]),
        "",
        *_named("accepted", report["accepted"]),
        *_named("refused", report["refused"]),
        *_named("closes", report["closes_by_code"]),
        f"checks      {report['verified']} full states verified, {report['desyncs']} desyncs,"
        f" {report['errors']} errors, {report['books_checked']} wallets checked",
        f"connections {report['disconnects']} lost, {report['resumed_gapless']} resumed without"
        f" a gap, {report['resumed_full']} with the full state;"
        f" {report['redirects']} redirects, {report['moved']} moves",
        f"generator   lag p99 {_ms(report['generator_lag_ms_p99'])},"
        f" {run.cpu_share * 100:.0f} % of a core each",
        *(f"  {text}" for text in run.tally.texts),
        *_warnings(run),
        f"{'OK' if report['ok'] else 'WRONG: ' + '; '.join(report['faults'])}",
    ]
    return "\n".join(lines)


def _warnings(run: Run) -> list[str]:
    warnings = []
    if run.is_saturated:
        warnings.append("warning: the bots themselves were too slow; the times above are theirs")
    missing = [name for name in _missing(run) if not _was_long_enough(run, name.partition(".")[0])]
    if missing and not run.interrupted:
        warnings.append(f"note: too short a run, or too few in a room, for {', '.join(missing)}")
    return warnings


def _named(title: str, counts: dict[str, int]) -> list[str]:
    if not counts:
        return []
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    return [f"{title:<12}{listed}"]


def _times(title: str, summary: dict[str, Any]) -> str:
    values = "".join(f"{_ms(summary[name]):>10}" for name in ("p50", "p90", "p99", "p99_9", "max"))
    return f"{title:<24}{values}   {summary['count']}"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"

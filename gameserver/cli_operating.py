"""The commands for operators: proving books and journal, looking at rooms, opening them again.

Like `gameserver.cli` it does not know how anything is done. A proof that fails exits with 1.
"""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from gameserver import operating, operating_cluster
from gameserver.cli_parts import (
    DATABASE,
    DIRECTORY,
    LOGGING,
    as_json,
    configured,
    fail,
    one_line_errors,
    options,
    print_json,
    print_table,
)
from gameserver.exits import EXIT_CODES, EXIT_FAILED, EXIT_OK
from gameserver.services.audit.report import Report

ROOM_ID = click.IntRange(1, 2**53 - 1)
ROOM_HEADS = ("room", "code", "game", "status", "note")


@click.group()
def ledger() -> None:
    """Look after the book of money."""


@ledger.command("check", epilog=EXIT_CODES)
@options(DATABASE | LOGGING)
@as_json
def check_ledger(config_file: Path | None, is_json: bool, **flags: object) -> None:
    """Prove the books: every balance, hold and escrow follows from the transfers."""
    with one_line_errors():
        report = operating.check_ledger(configured(config_file, flags))
    _tell(report, is_json=is_json)


@click.group()
def journal() -> None:
    """Look after the journal of all rooms."""


@journal.command("verify", epilog=EXIT_CODES)
@options(DATABASE | LOGGING | {"games", "content_dir"})
@click.option("--room", "room_id", type=ROOM_ID, help="Look closer at one room alone.")
@click.option("--replay", is_flag=True, help="Replay rooms too, and compare what they come to.")
@as_json
def verify(
    config_file: Path | None, room_id: int | None, replay: bool, is_json: bool, **flags: object
) -> None:
    """Prove that nothing recorded was edited, removed, reordered or cut off."""
    with one_line_errors():
        report = operating.verify(configured(config_file, flags), room_id, replay=replay)
    _tell(report, is_json=is_json)


@journal.command("prune", epilog=EXIT_CODES)
@options(DATABASE | LOGGING | {"journal_keep"})
@as_json
def prune(config_file: Path | None, is_json: bool, **flags: object) -> None:
    """Remove the oldest of the journal: what no room needs and is older than --journal-keep."""
    with one_line_errors():
        pruned = operating.prune_journal(configured(config_file, flags))
    told = msgspec.to_builtins(pruned)
    if is_json:
        print_json(told)
    else:
        click.echo("removed: " + ", ".join(f"{number} {what}" for what, number in told.items()))


@click.group(invoke_without_command=True, epilog=EXIT_CODES)
@options(DATABASE | DIRECTORY | LOGGING)
@as_json
def rooms(config_file: Path | None, is_json: bool, **flags: object) -> None:
    """List the rooms in the database that have not ended, with --redis also where they are."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    heads: tuple[str, ...] = ROOM_HEADS
    with one_line_errors():
        config = configured(config_file, flags)
        lines = operating.rooms(config)
        if config.redis is not None:
            heads = (*ROOM_HEADS, "node")
            owners = operating_cluster.leases(config)
            lines = [line | {"node": owners.get(line["shard"], "")} for line in lines]
    if is_json:
        print_json(lines)
        return
    print_table(heads, ([line[head] for head in heads] for line in lines))


@rooms.command("show", epilog=EXIT_CODES)
@click.argument("room_id", metavar="ID", type=ROOM_ID)
@options(DATABASE | LOGGING | {"games", "content_dir"})
@as_json
def show_room(config_file: Path | None, room_id: int, is_json: bool, **flags: object) -> None:
    """Show what is kept of a room: its row, snapshots and last entries, without secrets."""
    with one_line_errors():
        told = operating.room(configured(config_file, flags), room_id)
    if told is None:
        fail(EXIT_FAILED, f"there is no room {room_id}")
    if is_json:
        print_json(told)
        return
    snapshots, entries = told.pop("snapshots"), told.pop("entries")
    print_table(("field", "value"), told.items())
    click.echo()
    print_table(("snapshot of entry", "tick", "rules", "bytes", "hash"), map(_values, snapshots))
    click.echo()
    print_table(
        ("entry", "tick", "bytes", "inputs"),
        ([*_values(entry)[:3], _inputs(entry)] for entry in entries),
    )


@rooms.command("reopen", epilog=EXIT_CODES)
@click.argument("room_id", metavar="ID", type=ROOM_ID)
@options(DATABASE | LOGGING)
def reopen_room(config_file: Path | None, room_id: int, **flags: object) -> None:
    """Open a room again that was set aside because of an error."""
    with one_line_errors():
        is_open = operating.reopen(configured(config_file, flags), room_id)
    if not is_open:
        fail(EXIT_FAILED, f"room {room_id} was not set aside")
    click.echo(f"room {room_id} is open")


def _tell(report: Report, *, is_json: bool) -> None:
    if is_json:
        print_json({"sound": report.is_sound} | msgspec.to_builtins(report))
    else:
        for finding in report.findings:
            click.echo(f"WRONG: {_placed(finding)}")
        if report.findings_left_out:
            click.echo(f"... and {report.findings_left_out} more")
        for note in report.notes:
            click.echo(f"note: {note}")
        counts = (f"{number} {what.replace('_', ' ')}" for what, number in report.counts.items())
        click.echo(("sound: " if report.is_sound else "looked at: ") + ", ".join(counts))
    sys.exit(EXIT_OK if report.is_sound else EXIT_FAILED)


def _placed(finding: Any) -> str:
    places = ("shard", "link", "room", "entry")
    named = [f"{place} {getattr(finding, place)}" for place in places]
    known = [name for name, place in zip(named, places, strict=True) if _has(finding, place)]
    return f"{', '.join(known)}: {finding.what}" if known else str(finding.what)


def _has(finding: Any, place: str) -> bool:
    return getattr(finding, place) is not None


def _values(told: dict[str, Any]) -> list[Any]:
    return list(told.values())


def _inputs(entry: dict[str, Any]) -> str:
    if "unreadable" in entry:
        return f"unreadable: {entry['unreadable']}"
    return "; ".join(
        " ".join([one["input"], *(f"{name}={one[name]}" for name in one if name != "input")])
        for one in entry["inputs"]
    )

"""The commands for operators of several nodes: who is there, who has which shard, who shall go."""

import time
from pathlib import Path
from typing import Any

import click

from gameserver import operating_cluster
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
from gameserver.config import ConfigError
from gameserver.config.kinds import duration
from gameserver.exits import EXIT_CODES, EXIT_FAILED

PLACES = DATABASE | DIRECTORY | LOGGING
NODE_HEADS = ("node", "state", "shards", "rooms", "connections", "load", "up", "url")
SHARD_HEADS = ("shard", "owner", "epoch", "idle", "lease", "note")
TIMEOUT = duration("0s", "1h")


@click.command(epilog=EXIT_CODES)
@options(PLACES)
@as_json
def nodes(config_file: Path | None, is_json: bool, **flags: object) -> None:
    """List the nodes that share the shards through --redis."""
    with one_line_errors():
        config = configured(config_file, flags)
        lines = operating_cluster.nodes(config)
    if is_json:
        print_json(lines)
        return
    if not lines:
        _say(f"nobody is there under the prefix {config.redis_prefix!r}")
    now_ms = time.time_ns() // 1_000_000
    for line in lines:
        line["load"] = f"{line['load_permille'] / 10:.1f}%"
        line["up"] = _for_people((now_ms - line["started_ms"]) // 1000)
    print_table(NODE_HEADS, ([line[head] for head in NODE_HEADS] for line in lines))


@click.command(epilog=EXIT_CODES)
@options(PLACES)
@as_json
def shards(config_file: Path | None, is_json: bool, **flags: object) -> None:
    """List the shards: the owner in PostgreSQL, and with --redis who holds the lease.

    The owner alone can commit. Where another node holds the lease, or nobody does, the note says
    so: for a moment that is how a shard moves.
    """
    with one_line_errors():
        config = configured(config_file, flags)
        lines = operating_cluster.shards(config)
    if is_json:
        print_json(lines)
        return
    for line in lines:
        line["idle"] = "" if line["idle_ms"] is None else f"{line['idle_ms'] / 1000:.1f}s"
        line["note"] = _note(line)
        line["lease"] = line["lease"] or ""
    print_table(SHARD_HEADS, ([line[head] for head in SHARD_HEADS] for line in lines))
    if config.redis is not None:
        click.echo(f"\n{sum(line['differs'] for line in lines)} of {len(lines)} differ")


@click.command(epilog=EXIT_CODES)
@click.argument("node")
@options(PLACES)
@click.option(
    "--timeout",
    default="60s",
    metavar=TIMEOUT.metavar,
    help="Time for the node to leave.  [default: 60s]",
)
def drain(config_file: Path | None, node: str, timeout: str, **flags: object) -> None:
    """Have NODE hand all its rooms over to others and end; wait until it has left.

    A worker is started again by its supervisor; anything else stays away until somebody starts it.
    """
    with one_line_errors():
        config = configured(config_file, flags)
        why = operating_cluster.drain(config, node, _seconds(timeout), _say)
    if why:
        fail(EXIT_FAILED, why)
    click.echo(f"{node} has left")


def _seconds(timeout: str) -> float:
    try:
        read = TIMEOUT.read(timeout)
    except ValueError:
        raise ConfigError(
            f"--timeout: {timeout!r} is not allowed; expected {TIMEOUT.allowed}"
        ) from None
    assert isinstance(read, int), "a duration is a whole number of nanoseconds"
    return read / 1e9


def _say(told: str) -> None:
    click.echo(f"note: {told}", err=True)


def _note(line: dict[str, Any]) -> str:
    if not line["differs"]:
        return ""
    return "lease is another's" if line["lease"] else "no lease"


def _for_people(seconds: int) -> str:
    if seconds < 60:
        return f"{max(seconds, 0)}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m"

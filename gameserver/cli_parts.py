"""What all commands of the command line share: settings as flags, tables, failures in one line.

Which failures a person can do something about, and their codes, is in `gameserver.exits`.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Never

import click
import msgspec

from gameserver import logs
from gameserver.config import Config, Loaded, Setting, load, settings
from gameserver.exits import EXIT_DATABASE, EXIT_OK, EXIT_REDIS, exit_code

DATABASE = frozenset({"store", "postgres", "data_dir"})
DIRECTORY = frozenset({"redis", "redis_prefix"})
LOGGING = frozenset({"log_level", "log_format"})


def options(names: Iterable[str] | None = None) -> Callable[[Any], Any]:
    """Give a command ``--config`` and the flags of the settings (all, or those in ``names``)."""
    wanted = None if names is None else frozenset(names)

    def decorate(command: Any) -> Any:
        for setting in reversed(settings()):
            if wanted is None or setting.name in wanted:
                command = _option(setting)(command)
        return click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="TOML file with settings.  [env var: GS_CONFIG]",
        )(command)

    return decorate


def _option(setting: Setting) -> Callable[[Any], Any]:
    default = setting.default()
    told = "none" if default in (None, ()) else setting.kind.written(default)
    return click.option(
        setting.flag,
        setting.name,
        metavar=setting.kind.metavar,
        multiple=setting.kind.repeatable,
        help=f"{setting.help}  [env var: {setting.variable}; default: {told}]",
    )


as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON.")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print what a person can mend as one line, and exit with its code."""
    try:
        yield
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise  # A mistake of ours: it is shown whole, and Python exits with 1.
        fail(code, _told(error))


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    text = str(error) or type(error).__name__
    places = {EXIT_DATABASE: "database: ", EXIT_REDIS: "redis: "}
    return places.get(exit_code(error) or EXIT_OK, "") + text


def loaded(config_file: Path | None, flags: dict[str, object]) -> Loaded:
    """Return the settings of a command, and where each comes from."""
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    return load(given, os.environ, config_file)


def configured(config_file: Path | None, flags: dict[str, object]) -> Config:
    """Return the settings of a command that logs, and begin to log by them."""
    found = loaded(config_file, flags)
    config = found.config
    logs.configure(config.log_level, config.log_format)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    return config


def fail(code: int, message: str) -> Never:
    """Print an error as one line and exit."""
    one_line = " ".join(message.split())
    click.echo(f"error: {one_line}", err=True)
    sys.exit(code)


def print_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def print_table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Print rows under their heads, in columns."""
    lines = [tuple(heads), *(tuple(map(str, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())

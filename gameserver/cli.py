"""The command line: reads settings, calls the application, turns failures into exit codes.

It knows every error that a person can do something about, and prints each as one line. It does
not know how anything is done.
"""

import http.client
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Never

import click
import msgspec

from gameserver import __version__, app, logs
from gameserver.config import Config, ConfigError, Loaded, Setting, load, settings, shown

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DATABASE = 3
EXIT_PORT = 4
EXIT_DRAIN_RAN_OUT = 143
EXIT_CODES = """\b
Exit codes:
  0    ok
  1    failed while running
  2    usage or configuration
  3    database unreachable, or its schema is newer than this server
  4    port in use
  143  ended by SIGTERM before everything was handed over"""

# By package and name, because the command line knows the application and nothing below it.
ERROR_CODES = {
    ("gameserver", "ConfigError"): EXIT_USAGE,
    ("gameserver", "PortInUse"): EXIT_PORT,
    ("gameserver", "ListenFailed"): EXIT_USAGE,
    ("persistence", "StorageError"): EXIT_DATABASE,
    ("persistence", "ServerFailed"): EXIT_DATABASE,
    ("persistence", "WrongMajor"): EXIT_DATABASE,
    ("persistence", "EmbeddedError"): EXIT_USAGE,
    ("persistence", "KeysUnusable"): EXIT_USAGE,
}

HEALTH_TIMEOUT_S = 2.0
DATABASE = frozenset({"store", "postgres", "data_dir"})
LOGGING = frozenset({"log_level", "log_format"})
LIBRARIES = ("websockets", "msgspec", "aiohttp", "uvloop", "asyncpg", "cryptography")


class ServeByDefault(click.Group):
    """A group whose first argument may be left out: then it is ``serve``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``serve`` in front of arguments that name no command."""
        first = args[0] if args else ""
        is_own = first in ("--help", "-h", "--version") or first in self.commands
        # A word that is no command stays, so that a typing error is told as one.
        if not is_own and (not first or first.startswith("-")):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


def main(arguments: Sequence[str] | None = None) -> Never:
    """Run the command line and exit with its code."""
    command_line.main(args=arguments, prog_name="gameserver")
    raise AssertionError("click exits by itself")


@click.group(
    cls=ServeByDefault,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="gameserver")
def command_line() -> None:
    """An authoritative, tick-based, real-time game server.

    Without a command it serves. A setting is taken from its flag, else from its GS_ variable,
    else from the file given with --config, else from its default.
    """


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


@command_line.command(epilog=EXIT_CODES)
@options()
def serve(config_file: Path | None, **flags: object) -> None:
    """Run the server until SIGTERM or SIGINT; a second signal ends it at once."""
    with one_line_errors():
        config = _configured(config_file, flags)
        sys.exit(app.serve(config))


@command_line.command(epilog=EXIT_CODES)
@options(DATABASE | LOGGING)
def migrate(config_file: Path | None, **flags: object) -> None:
    """Bring the database's schema up to this server's."""
    with one_line_errors():
        config = _configured(config_file, flags)
        sys.exit(app.migrate(config))


@command_line.command(epilog=EXIT_CODES)
@options(DATABASE | LOGGING)
@as_json
def rooms(config_file: Path | None, is_json: bool, **flags: object) -> None:
    """List the rooms in the database that have not ended."""
    with one_line_errors():
        rows = app.rooms(_configured(config_file, flags))
    lines = [
        {
            "room": row.room_id,
            "code": row.code,
            "game": row.game,
            "status": row.status.name.lower(),
            "listed": row.listed,
            "creator": row.creator,
            "shard": row.shard,
            "rules_version": row.rules_version,
            "note": row.note,
        }
        for row in rows
    ]
    if is_json:
        _print_json(lines)
        return
    heads = ("room", "code", "game", "status", "note")
    _print_table(heads, ([line[head] for head in heads] for line in lines))


@command_line.command("config", epilog=EXIT_CODES)
@options()
@as_json
def show_config(config_file: Path | None, is_json: bool, **flags: object) -> None:
    """Print the settings in effect and where each comes from; secrets are masked."""
    with one_line_errors():
        loaded = _loaded(config_file, flags)
    lines = [
        {
            "name": setting.name,
            "value": shown(setting, loaded.config),
            "source": loaded.sources[setting.name],
        }
        for setting in settings()
    ]
    if is_json:
        _print_json({"settings": lines, "warnings": loaded.warnings})
        return
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    _print_table(("name", "value", "source"), (tuple(line.values()) for line in lines))


@command_line.command(epilog=EXIT_CODES)
@as_json
def version(is_json: bool) -> None:
    """Print the versions of the server, of Python and of the libraries that matter."""
    versions = {"gameserver": __version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = ""
    if is_json:
        _print_json(versions)
    else:
        _print_table(("part", "version"), versions.items())


@command_line.command(epilog=EXIT_CODES)
@options({"admin_host", "admin_port"})
def health(config_file: Path | None, **flags: object) -> None:
    """Ask a running server whether it is ready; exit with 0 if it is, else with 1."""
    with one_line_errors():
        config = _loaded(config_file, flags).config
        if config.admin_port == 0:
            raise ConfigError("admin_port is 0: there is nothing to ask")
    is_ready, answer = _asked(config)
    click.echo(answer)
    sys.exit(EXIT_OK if is_ready else EXIT_FAILED)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print what a person can mend as one line, and exit with its code."""
    try:
        yield
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise  # A mistake of ours: it is shown whole, and Python exits with 1.
        _fail(code, _told(error))


def exit_code(error: Exception) -> int | None:
    """Return the code to exit with because of ``error``, or None if nobody can mend it."""
    for kind in type(error).__mro__:
        code = ERROR_CODES.get((kind.__module__.partition(".")[0], kind.__qualname__))
        if code is not None:
            return code
    # A directory or file that was named in a setting: the data directory, most often.
    return EXIT_USAGE if isinstance(error, OSError) and error.filename else None


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _loaded(config_file: Path | None, flags: dict[str, object]) -> Loaded:
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    return load(given, os.environ, config_file)


def _configured(config_file: Path | None, flags: dict[str, object]) -> Config:
    loaded = _loaded(config_file, flags)
    config = loaded.config
    logs.configure(config.log_level, config.log_format)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    return config


def _fail(code: int, message: str) -> Never:
    one_line = " ".join(message.split())
    click.echo(f"error: {one_line}", err=True)
    sys.exit(code)


def _asked(config: Config) -> tuple[bool, str]:
    host = config.admin_host
    # What listens everywhere is asked here.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    connection = http.client.HTTPConnection(host, config.admin_port, timeout=HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status == 200, response.read(1024).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return False, f"no answer from {host}:{config.admin_port}: {error}"
    finally:
        connection.close()


def _print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def _print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    lines = [tuple(heads), *(tuple(map(str, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())

"""The command line: reads settings, calls the application, turns failures into exit codes.

It does not know how anything is done. What all commands share is in `gameserver.cli_parts`, the
commands for operators are in `gameserver.cli_operating`.
"""

import http.client
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Never

import click

from gameserver import __version__, app, cli_cluster, cli_operating
from gameserver.cli_parts import (
    DATABASE,
    LOGGING,
    as_json,
    configured,
    loaded,
    one_line_errors,
    options,
    print_json,
    print_table,
)
from gameserver.config import Config, ConfigError, settings, shown
from gameserver.exits import EXIT_CODES, EXIT_FAILED, EXIT_OK
from gameserver.supervising import leash
from gameserver.supervising.supervisor import supervise

HEALTH_TIMEOUT_S = 2.0
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


@command_line.command(epilog=EXIT_CODES)
@options()
def serve(config_file: Path | None, **flags: object) -> None:
    """Run the server until SIGTERM or SIGINT; a second signal ends it at once."""
    with one_line_errors():
        config = configured(config_file, flags)
        config.check_serving()
        if config.workers != 1:
            sys.exit(supervise(config))
        leash.hold(os.environ, config.drain_timeout_ns / 1e9)
        sys.exit(app.serve(config))


@command_line.command(epilog=EXIT_CODES)
@options(DATABASE | LOGGING)
def migrate(config_file: Path | None, **flags: object) -> None:
    """Bring the database's schema up to this server's."""
    with one_line_errors():
        config = configured(config_file, flags)
        sys.exit(app.migrate(config))


@command_line.command("config", epilog=EXIT_CODES)
@options()
@as_json
def show_config(config_file: Path | None, is_json: bool, **flags: object) -> None:
    """Print the settings in effect and where each comes from; secrets are masked."""
    with one_line_errors():
        found = loaded(config_file, flags)
    lines = [
        {
            "name": setting.name,
            "value": shown(setting, found.config),
            "source": found.sources[setting.name],
        }
        for setting in settings()
    ]
    if is_json:
        print_json({"settings": lines, "warnings": found.warnings})
        return
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    print_table(("name", "value", "source"), (tuple(line.values()) for line in lines))


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
        print_json(versions)
    else:
        print_table(("part", "version"), versions.items())


@command_line.command(epilog=EXIT_CODES)
@options({"admin_host", "admin_port"})
def health(config_file: Path | None, **flags: object) -> None:
    """Ask a running server whether it is ready; exit with 0 if it is, else with 1."""
    with one_line_errors():
        config = loaded(config_file, flags).config
        if config.admin_port == 0:
            raise ConfigError("admin_port is 0: there is nothing to ask")
    is_ready, answer = _asked(config)
    click.echo(answer)
    sys.exit(EXIT_OK if is_ready else EXIT_FAILED)


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


for command in (
    *(cli_operating.ledger, cli_operating.journal, cli_operating.rooms),
    *(cli_cluster.nodes, cli_cluster.shards, cli_cluster.drain),
):
    command_line.add_command(command)

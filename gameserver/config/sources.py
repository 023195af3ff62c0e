"""Where settings come from: a flag, else a variable, else the file, else the default.

A mistake is a ConfigError that names the place and what is allowed there. What is merely
unexpected in the environment is a warning: others put variables there too.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gameserver.config.settings import Config, ConfigError, Setting, settings

PREFIX = "GS_"
FILE_VARIABLE = "GS_CONFIG"
# Set for the test suite, not for the server.
TEST_PREFIX = "GS_TEST_"
SECRET_FILE_SUFFIX = "_FILE"
SECRET_BYTES_MAX = 64 * 1024

# Kubernetes gives every pod variables for every service of its namespace. A service that is
# called "gs" yields GS_PORT=tcp://10.0.0.1:7350, GS_SERVICE_HOST and others.
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, where each came from (by name), and what a person should be told."""

    config: Config
    sources: Mapping[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    value: object
    source: str


def load(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None = None
) -> Loaded:
    """Read all settings; ``flags`` holds those given on the command line, by setting name."""
    if file is None and environ.get(FILE_VARIABLE):
        file = Path(environ[FILE_VARIABLE])
    from_file = {} if file is None else _file_values(file)
    from_environ, warnings = _environ_values(environ)

    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for setting in settings():
        if setting.name in flags:
            found = _Found(flags[setting.name], setting.flag)
        elif setting.name in from_environ:
            found = from_environ[setting.name]
        elif setting.name in from_file:
            found = from_file[setting.name]
        else:
            values[setting.field] = setting.default()
            sources[setting.name] = "default"
            continue
        values[setting.field] = _read(setting, found)
        sources[setting.name] = found.source

    config = Config(**values)  # type: ignore[arg-type]  # Each kind gives its field's type.
    config.check()
    return Loaded(config, sources, warnings)


def shown(setting: Setting, config: Config) -> str:
    """Return a setting's value as it may be printed: secrets are masked."""
    value = getattr(config, setting.field)
    if value is None or value == ():
        return ""
    return "********" if setting.secret else setting.kind.written(value)


def _read(setting: Setting, found: _Found) -> object:
    try:
        return setting.kind.read(found.value)
    except ValueError:
        what = "the value" if setting.secret else f"{found.value!r}"
        raise ConfigError(
            f"{found.source}: {what} is not allowed; expected {setting.kind.allowed}"
        ) from None


def _file_values(file: Path) -> dict[str, _Found]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from error
    names = [setting.name for setting in settings()]
    for key in table:
        if key not in names:
            raise ConfigError(f"{file}: unknown key {key!r}{_suggestion(key, names)}")
    return {key: _Found(value, f"{file}: {key}") for key, value in table.items()}


def _environ_values(environ: Mapping[str, str]) -> tuple[dict[str, _Found], tuple[str, ...]]:
    values: dict[str, _Found] = {}
    warnings: list[str] = []
    by_variable = {setting.variable: setting for setting in settings()}
    secret_files = {
        variable + SECRET_FILE_SUFFIX: setting
        for variable, setting in by_variable.items()
        if setting.secret
    }
    for variable in sorted(environ):
        value = environ[variable]
        if not variable.startswith(PREFIX) or not value:  # Empty is the same as not there.
            continue
        if setting := by_variable.get(variable):
            if _SERVICE_LINK.match(value):
                warnings.append(f"{variable} looks like a Kubernetes service link and is ignored")
                continue
            values[setting.name] = _Found(value, variable)
        elif setting := secret_files.get(variable):
            # The variable itself, if it is there as well, comes earlier in the order and stands.
            if setting.name not in values:
                values[setting.name] = _Found(_secret(variable, Path(value)), variable)
        elif variable != FILE_VARIABLE and not variable.startswith(TEST_PREFIX):
            warnings.append(f"unknown variable {variable}{_suggestion(variable, by_variable)}")
    return values, tuple(warnings)


def _secret(variable: str, file: Path) -> str:
    try:
        with file.open("rb") as stream:
            secret = stream.read(SECRET_BYTES_MAX).decode()
    except OSError as error:
        raise ConfigError(f"{variable}: {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{variable}: {file} is not text") from error
    return secret.rstrip(os.linesep)


def _suggestion(word: str, known: "list[str] | Mapping[str, Setting]") -> str:
    close = difflib.get_close_matches(word.replace("-", "_"), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

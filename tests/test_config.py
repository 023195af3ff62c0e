"""Settings: where they come from, what is allowed, and what is said when it is not."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.config import Config, ConfigError, load, settings, shown
from gameserver.config.kinds import duration, size

SECOND_NS = 1_000_000_000


def fails(flags: dict[str, object], environ: dict[str, str], file: Path | None = None) -> str:
    """Return the error that these settings give; it is one line."""
    with pytest.raises(ConfigError) as caught:
        load(flags, environ, file)
    message = str(caught.value)
    assert "\n" not in message
    return message


def toml(folder: Path, text: str) -> Path:
    """Write a settings file."""
    path = folder / "gameserver.toml"
    path.write_text(text)
    return path


def test_without_anything_the_defaults_hold() -> None:
    loaded = load({}, {})
    assert loaded.config == Config()
    assert set(loaded.sources.values()) == {"default"}
    assert (loaded.config.host, loaded.config.port, loaded.config.admin_port) == (
        "127.0.0.1",
        7350,
        7351,
    )
    assert loaded.config.games == ("quiz", "keno", "conquest")


def test_a_flag_goes_before_a_variable_before_the_file_before_the_default(tmp_path: Path) -> None:
    file = toml(tmp_path, "port = 1\nadmin_port = 2\nrooms_max = 3\n")
    environ = {"GS_PORT": "10", "GS_ADMIN_PORT": "20", "GS_CONFIG": "/not/this/one"}
    loaded = load({"port": "100"}, environ, file)
    config = loaded.config
    assert (config.port, config.admin_port, config.rooms_max) == (100, 20, 3)
    assert loaded.sources["port"] == "--port"
    assert loaded.sources["admin_port"] == "GS_ADMIN_PORT"
    assert loaded.sources["rooms_max"] == f"{file}: rooms_max"
    assert loaded.sources["host"] == "default"
    assert load({}, {"GS_CONFIG": str(file)}).config.rooms_max == 3


def test_every_setting_can_be_given_in_every_place(tmp_path: Path) -> None:
    addresses = {
        "redis": "redis://h",
        "advertise": "ws://h/ws",
        "peer_address": "h:1",
        "postgres": "postgresql:///x",
        "worker_port": "7400",
    }
    needed = {"worker_port": {"GS_REDIS": "redis://h"}}
    for setting in settings():
        default = setting.default()
        others = needed.get(setting.name, {})
        if default in (None, ()):
            written = addresses.get(setting.name, "something")
        else:
            written = setting.kind.written(default)
        for loaded in (
            load({setting.name: written}, others),
            load({}, {setting.variable: written, **others}),
            load({}, others, toml(tmp_path, f'{setting.name} = "{written}"')),
        ):
            assert loaded.sources[setting.name] != "default"
            value = getattr(loaded.config, setting.field)
            assert default in (None, ()) or value == default


def test_units_and_lists_are_understood(tmp_path: Path) -> None:
    file = toml(
        tmp_path,
        'idle_timeout = "2m"\noutbox_hard_bytes = "1MiB"\ngames = ["keno"]\nuvloop = false',
    )
    config = load({"games": ("quiz,keno", "a.b:C")}, {"GS_ORIGIN": "https://a, https://b"}).config
    assert config.games == ("quiz", "keno", "a.b:C")
    assert config.origin == ("https://a", "https://b")
    config = load({}, {"GS_HELLO_TIMEOUT": "1500ms"}, file).config
    assert config.idle_timeout_ns == 120 * SECOND_NS
    assert config.hello_timeout_ns == 1_500_000_000
    assert config.outbox_hard_bytes == 2**20
    assert config.games == ("keno",)
    assert config.uvloop is False


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("GS_PORT", "70000", "a whole number from 0 to 65535"),
        ("GS_PORT", "seven", "a whole number from 0 to 65535"),
        ("GS_PORT", "\u0667", "a whole number"),
        ("GS_PORT", "1.5", "a whole number"),
        ("GS_HELLO_TIMEOUT", "3", "a duration such as"),
        ("GS_HELLO_TIMEOUT", "3 weeks", "a duration such as"),
        ("GS_HELLO_TIMEOUT", "1h", "from 100ms to 5m"),
        ("GS_MESSAGE_BYTES_MAX", "1MiB", "from 1KiB to 4KiB"),
        ("GS_MESSAGE_BYTES_MAX", "4KB", "a size such as 64KiB"),
        ("GS_STORE", "sqlite", "one of postgres, memory"),
        ("GS_ROUTE", "guess", "one of redirect, relay"),
        ("GS_ADVERTISE", "https://h/ws", "an address that begins with ws:// or wss://"),
        ("GS_ADVERTISE", "ws://h:port/ws", "an address that begins with ws:// or wss://"),
        ("GS_ADVERTISE", "ws://", "an address that begins with ws:// or wss://"),
        ("GS_PEER_ADDRESS", "h", "HOST:PORT, such as"),
        ("GS_PEER_ADDRESS", "h:0", "HOST:PORT, such as"),
        ("GS_PEER_ADDRESS", "h:70000", "HOST:PORT, such as"),
        ("GS_PEER_ADDRESS", ":7360", "HOST:PORT, such as"),
        ("GS_PEER_ADDRESS", "ws://h:7360", "HOST:PORT, such as"),
        ("GS_NODE_NAME", "n" * 191, "text of at most 190 characters"),
        ("GS_LOG_LEVEL", "INFO", "one of debug, info, warning, error"),
        ("GS_UVLOOP", "yes", "on or off"),
        ("GS_GAMES", ",", "names of bundled games"),
        ("GS_DATA_DIR", "~nobody-of-that-name/x", "a path"),
    ],
)
def test_a_wrong_value_is_told_with_its_place_and_what_is_allowed(
    variable: str, value: str, allowed: str, tmp_path: Path
) -> None:
    message = fails({}, {variable: value})
    assert message.startswith(f"{variable}: {value!r} is not allowed; expected ")
    assert allowed in message
    name = variable.removeprefix("GS_").lower()
    flag = "--" + name.replace("_", "-")
    assert fails({name: value}, {}).startswith(f"{flag}: ")
    file = toml(tmp_path, f'{name} = "{value}"')
    assert fails({}, {}, file).startswith(f"{file}: {name}: ")


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:hunter2@h:port/d",
        "postgresql://u:hunter2@h:1,i:x/d",
        "http://hunter2@h/d",
        "host=h password=hunter2",
        "hunter2",
        "postgresql://u:hunter2@[::1/d",
    ],
)
def test_a_dsn_that_is_none_is_refused_and_not_repeated(dsn: str) -> None:
    message = fails({}, {"GS_POSTGRES": dsn})
    assert message.startswith("GS_POSTGRES: the value is not allowed; expected a PostgreSQL DSN")
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql:///d?host=/run/postgresql",
        "postgres://u:p%40x@h:5432/d",
        "postgresql://u@[::1]:5432/d",
        "postgresql://u@[::1]/d",
        "postgresql://u:p@h:5432,i:5433/d",
        "postgresql://h",
    ],
)
def test_every_form_of_a_dsn_is_taken(dsn: str) -> None:
    assert load({}, {"GS_POSTGRES": dsn}).config.postgres == dsn


@pytest.mark.parametrize("line", ["port = true", "port = 1.0", "host = 5", "idle_timeout = 30"])
def test_a_value_of_another_type_in_the_file_is_wrong(line: str, tmp_path: Path) -> None:
    assert "is not allowed" in fails({}, {}, toml(tmp_path, line))


def test_an_unknown_key_of_the_file_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    for line, suggestion in (
        ("prot = 1", "; did you mean 'port'?"),
        ("admin-port = 1", "; did you mean 'admin_port'?"),
        ("[server]\nport = 1", ""),
    ):
        message = fails({}, {}, toml(tmp_path, line))
        assert "unknown key" in message
        assert message.endswith(suggestion)


def test_a_file_that_is_not_there_or_not_toml_is_an_error(tmp_path: Path) -> None:
    assert "cannot be read" in fails({}, {}, tmp_path / "none.toml")
    assert "cannot be read" in fails({}, {}, tmp_path)
    assert "is not TOML" in fails({}, {}, toml(tmp_path, "port ="))
    (tmp_path / "gameserver.toml").write_bytes(b"\xff")
    assert "is not TOML" in fails({}, {}, tmp_path / "gameserver.toml")


def test_an_unknown_variable_is_a_warning_and_kubernetes_links_are_ignored() -> None:
    environ = {
        "GS_PRT": "1",
        "GS_PORT": "tcp://10.0.0.1:7350",
        "GS_TEST_POSTGRES": "x",
        "GS_HOST": "",
        "OTHER": "x",
    }
    loaded = load({}, environ)
    assert loaded.config == Config()
    assert loaded.warnings == (
        "GS_PORT looks like a Kubernetes service link and is ignored",
        "unknown variable GS_PRT; did you mean 'GS_PORT'?",
    )


def test_a_secret_comes_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "dsn"
    secret.write_text("postgresql://u:hunter2@h/d\n")
    loaded = load({}, {"GS_POSTGRES_FILE": str(secret)})
    assert loaded.config.postgres == "postgresql://u:hunter2@h/d"
    assert loaded.sources["postgres"] == "GS_POSTGRES_FILE"
    texts = [shown(setting, loaded.config) for setting in settings()]
    assert "********" in texts
    assert not any("hunter2" in text for text in texts)
    both = load({}, {"GS_POSTGRES_FILE": str(secret), "GS_POSTGRES": "postgresql:///x"})
    assert both.config.postgres == "postgresql:///x"
    assert "hunter2" not in fails({"store": "memory"}, {"GS_POSTGRES_FILE": str(secret)})
    assert "cannot be read" in fails({}, {"GS_POSTGRES_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"outbox_soft_bytes": "512KiB"}, "outbox_soft_bytes must be less"),
        ({"idle_timeout": "20s"}, "more than twice ping_interval"),
        ({"port": "7351"}, "port and admin_port must differ"),
        ({"store": "memory", "postgres": "postgresql:///x"}, "no meaning with store memory"),
        ({"store": "memory", "redis": "redis://h"}, "redis has no meaning with store memory"),
        ({"worker_port": "7400"}, "worker_port needs redis"),
        ({"worker_port": "65535", "redis": "redis://h", "workers": "2"}, "too few ports"),
        ({"peer_port": "65535", "redis": "redis://h", "workers": "2"}, "too few ports"),
        ({"worker_port": "1", "redis": "redis://h", "port": "0"}, "worker_port needs a port"),
        ({"worker_port": "7350", "redis": "redis://h"}, "port and worker_port must differ"),
        ({"worker_port": "7349", "redis": "redis://h", "workers": "2"}, "count up by worker"),
        ({"peer_port": "7350", "redis": "redis://h"}, "port and peer_port must differ"),
        ({"peer_port": "7351", "redis": "redis://h"}, "admin_port and peer_port must differ"),
        ({"workers": "2"}, "workers need redis"),
        ({"workers": "0"}, "workers need redis"),
    ],
)
def test_settings_that_contradict_each_other_are_an_error(
    flags: dict[str, object], told: str
) -> None:
    assert told in fails(flags, {})


def test_whoever_serves_in_a_cluster_shares_its_database_and_operators_may_look_at_their_own() -> (
    None
):
    config = load({"redis": "redis://h"}, {}).config
    with pytest.raises(ConfigError, match="redis needs postgres"):
        config.check_serving()
    for others in ({"workers": "2"}, {"postgres": "postgresql:///x"}):
        load({"redis": "redis://h", **others}, {}).config.check_serving()


def test_names_are_words_that_every_place_can_spell() -> None:
    names = [setting.name for setting in settings()]
    assert len(set(names)) == len(names)
    for setting in settings():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", setting.name)
        assert setting.help.endswith(".")
        assert setting.flag == "--" + setting.name.replace("_", "-")


@given(st.integers(0, 2**40))
def test_a_size_is_read_back_as_it_is_written(value: int) -> None:
    kind = size(0, 2**40)
    assert kind.read(kind.written(value)) == value


@given(st.integers(0, 10**7))
def test_a_duration_is_read_back_as_it_is_written(value_ms: int) -> None:
    kind = duration("0s", "10000h")
    value_ns = value_ms * 1_000_000
    assert kind.read(kind.written(value_ns)) == value_ns


@given(st.text(max_size=20))
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    for setting in settings():
        try:
            setting.kind.read(text)
        except ValueError:
            continue

"""The declaration of every setting: its name, its kind, its default, and what it is for.

Flags, ``GS_`` variables, keys of the TOML file and the help text all come from the fields of
`Config`. A setting's name is the field's, less the unit ``_ns``: ``hello_timeout_ns`` is the flag
``--hello-timeout``, the variable ``GS_HELLO_TIMEOUT`` and the key ``hello_timeout``.
"""

import os
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Annotated, get_type_hints

from gameserver.config.kinds import (
    Kind,
    address,
    choice,
    dsn,
    duration,
    name,
    path,
    place,
    size,
    switch,
    text,
    texts,
    whole,
)
from persistence.ownership import DEFAULT_SHARDS, SHARDS_MAX

ROOT_DATA_DIR = Path("/var/lib/gameserver")
WORKER_PORT = 7400  # The first worker's own.
NODE_NAME_CHARS_MAX = 190  # Storage keeps 200; a worker's number comes on top.
BUNDLED_GAMES = ("quiz", "keno", "conquest")

SECOND_NS = 1_000_000_000
KIB = 1024


class ConfigError(Exception):
    """A setting is wrong. The message is one line and says which, where, and what is allowed."""


@dataclass(frozen=True, slots=True)
class About:
    """What is said about a setting beside its field."""

    kind: Kind
    help: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as all sources see it. ``field`` is its attribute in `Config`."""

    field: str
    name: str
    kind: Kind
    help: str
    secret: bool
    default: Callable[[], object]

    @property
    def flag(self) -> str:
        """The flag of the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The variable of the environment."""
        return "GS_" + self.name.upper()


def default_data_dir() -> Path:
    """Return where data are kept when nobody says where."""
    if os.geteuid() == 0:
        return ROOT_DATA_DIR
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "gameserver"


@dataclass(frozen=True, slots=True)
class Config:
    """The settings that one run of the server goes by."""

    host: Annotated[str, About(text("ADDRESS"), "Address that players connect to.")] = "127.0.0.1"
    port: Annotated[int, About(whole(0, 65535), "Port for players; 0 takes a free one.")] = 7350
    admin_host: Annotated[str, About(text("ADDRESS"), "Address of health and metrics.")] = (
        "127.0.0.1"
    )
    admin_port: Annotated[
        int, About(whole(0, 65535), "Port of /livez, /readyz and /metrics; 0 turns it off.")
    ] = 7351
    origin: Annotated[
        tuple[str, ...],
        About(
            texts("ORIGIN", "origins such as https://play.example.org"),
            "Web origin that may connect, besides clients that send none. May be repeated; "
            "without it every origin may.",
        ),
    ] = ()

    store: Annotated[
        str,
        About(choice("postgres", "memory"), "Where everything is kept; memory is for trials only."),
    ] = "postgres"
    postgres: Annotated[
        str | None,
        About(
            dsn(),
            "PostgreSQL to use. Without it an own server runs in the data directory. "
            "Others on the machine can read flags: prefer GS_POSTGRES_FILE.",
            secret=True,
        ),
    ] = None
    data_dir: Annotated[
        Path,
        About(path(), "Directory for the own database and keys."),
    ] = field(default_factory=default_data_dir)
    keys: Annotated[
        Path | None,
        About(
            path(),
            "File with the keys, the same for all nodes; made if it is not there. "
            "Without it keys.json in the data directory.",
        ),
    ] = None

    redis: Annotated[
        str | None,
        About(
            address("redis", "rediss", "unix"),
            "Redis (6.2 or newer) or Valkey through which nodes share the shards. Without it there "
            "is one node. Others on the machine can read flags: prefer GS_REDIS_FILE.",
            secret=True,
        ),
    ] = None
    redis_prefix: Annotated[
        str, About(text("PREFIX"), "What the keys of this cluster begin with in Redis.")
    ] = "gs"
    shards: Annotated[
        int, About(whole(1, SHARDS_MAX), "Groups of rooms that nodes share; fixed for a cluster.")
    ] = DEFAULT_SHARDS
    node_name: Annotated[
        str | None,
        About(
            name(NODE_NAME_CHARS_MAX),
            "Name of this node; without it made of its address and process.",
        ),
    ] = None
    advertise: Annotated[
        str | None,
        About(
            address("ws", "wss"),
            "Address under which players reach this very node; without it made of host and port.",
        ),
    ] = None
    peer_port: Annotated[
        int, About(whole(0, 65535), "Port for other nodes; 0 takes a free one.")
    ] = 0
    peer_address: Annotated[
        str | None,
        About(
            place(),
            "Address under which other nodes reach this one; without it the host of advertise and "
            "the peer port.",
        ),
    ] = None
    route: Annotated[
        str,
        About(
            choice("redirect", "relay"),
            "What a node does with a player whose room is on another: send them there, or, behind "
            "one address for all nodes, pass everything on.",
        ),
    ] = "redirect"
    workers: Annotated[
        int, About(whole(0, 256), "Nodes to run on this machine; 0 is one for each core.")
    ] = 1
    worker_port: Annotated[
        int | None,
        About(
            whole(1, 65535),
            "Port of the first worker for itself, 7400 if none is given; the others count up from "
            "it. A single node that is given one shares its other port with workers.",
        ),
    ] = None

    games: Annotated[
        tuple[str, ...],
        About(
            texts("GAME", "names of bundled games, or package.module:Game"),
            "Game to offer: a bundled one by its name, another as package.module:Game. "
            "May be repeated.",
        ),
    ] = BUNDLED_GAMES
    content_dir: Annotated[
        Path | None, About(path(), "Directory with clue files that replace the bundled ones.")
    ] = None
    play_money_minor: Annotated[
        int, About(whole(0, 2**53 - 1), "Play money of a new wallet, in minor units.")
    ] = 100_000

    connections_max: Annotated[int, About(whole(1, 1_000_000), "Connections at a time.")] = 4000
    # Generous, because the bots of a trial all come from one address.
    connections_per_address_max: Annotated[
        int, About(whole(1, 1_000_000), "Connections at a time from one address (IPv6: one /64).")
    ] = 4096
    connections_unauthenticated_max: Annotated[
        int, About(whole(1, 1_000_000), "Connections at a time that have not said who they are.")
    ] = 1000
    handshakes_per_second: Annotated[
        int, About(whole(1, 100_000), "New connections a second; twice as many in a burst.")
    ] = 500
    rooms_max: Annotated[int, About(whole(1, 1_000_000), "Rooms open in this process.")] = 20_000
    rooms_per_account_max: Annotated[
        int, About(whole(1, 1_000_000), "Rooms an account has created and that have not ended.")
    ] = 32

    message_bytes_max: Annotated[
        int, About(size(KIB, 4 * KIB), "Size of a message from a client; a token must fit.")
    ] = 4 * KIB
    command_rate: Annotated[
        int, About(whole(1, 10_000), "Commands a second and connection, in the long run.")
    ] = 20
    # More than the 64 that a client may have unanswered, and sends again when it comes back.
    command_burst: Annotated[int, About(whole(1, 100_000), "Commands of a connection at once.")] = (
        80
    )
    outbox_soft_bytes: Annotated[
        int, About(size(4 * KIB, 2**30), "Unsent bytes above which updates are merged.")
    ] = 64 * KIB
    outbox_hard_bytes: Annotated[
        int, About(size(8 * KIB, 2**31), "Unsent bytes above which a client is cut off.")
    ] = 512 * KIB

    hello_timeout_ns: Annotated[
        int, About(duration("100ms", "5m"), "Time for a client to say who it is.")
    ] = 3 * SECOND_NS
    ping_interval_ns: Annotated[
        int, About(duration("1s", "10m"), "Time between pings to a client.")
    ] = 10 * SECOND_NS
    idle_timeout_ns: Annotated[
        int, About(duration("3s", "1h"), "Silence after which a client is given up.")
    ] = 30 * SECOND_NS
    drain_timeout_ns: Annotated[
        int, About(duration("0s", "1h"), "Time to hand everything over after SIGTERM.")
    ] = 20 * SECOND_NS

    snapshot_entries: Annotated[
        int, About(whole(1, 100_000), "Entries of a room after which it is stored whole.")
    ] = 100
    snapshot_interval_ns: Annotated[
        int, About(duration("1s", "1h"), "Time of activity after which a room is stored whole.")
    ] = 30 * SECOND_NS
    ring_seconds: Annotated[
        int, About(whole(1, 600), "Seconds of updates kept for clients that come back.")
    ] = 30

    head_interval_ns: Annotated[
        int, About(duration("1s", "24h"), "Time between signed heads of the journal.")
    ] = 60 * SECOND_NS
    journal_keep_ns: Annotated[
        int,
        About(
            duration("0s", "87600h"),
            "Age from which a server removes from the journal, every hour; 0s keeps all.",
        ),
    ] = 0
    accept_rollback: Annotated[
        bool,
        About(switch(), "Serve a database that is older than what was signed: a restored backup."),
    ] = False
    accept_other_keys: Annotated[
        bool,
        About(switch(), "Serve rooms sealed with keys that are lost: they are set aside."),
    ] = False

    log_level: Annotated[
        str, About(choice("debug", "info", "warning", "error"), "Least level that is logged.")
    ] = "info"
    log_format: Annotated[
        str, About(choice("auto", "text", "json"), "Form of the log; auto is text on a terminal.")
    ] = "auto"
    uvloop: Annotated[bool, About(switch(), "Run on uvloop where it is installed.")] = True

    def check(self) -> None:
        """Raise ConfigError where two settings contradict each other."""
        for is_sound, message in (
            (
                self.outbox_soft_bytes < self.outbox_hard_bytes,
                "outbox_soft_bytes must be less than outbox_hard_bytes",
            ),
            (
                self.message_bytes_max <= self.outbox_soft_bytes,
                "message_bytes_max must not exceed outbox_soft_bytes",
            ),
            (
                # Two lost pings must not end a session.
                self.ping_interval_ns * 2 < self.idle_timeout_ns,
                "idle_timeout must be more than twice ping_interval",
            ),
            (
                self.store == "postgres" or self.postgres is None,
                "postgres has no meaning with store memory",
            ),
            (
                self.redis is None or self.store == "postgres",
                "redis has no meaning with store memory",
            ),
            (
                self.redis is not None or self.workers == 1,
                "workers need redis: through it they share the shards",
            ),
            (
                self.redis is not None or self.worker_port is None,
                "worker_port needs redis: nodes that share a port must share the shards",
            ),
            (
                self.port != 0 or self.worker_port is None or self.workers != 1,
                "worker_port needs a port that is not 0: one that is free is shared with nobody",
            ),
            (
                (self.worker_port or WORKER_PORT) + self.workers <= 65536,
                "worker_port leaves too few ports for the workers",
            ),
            (
                self.peer_port + self.workers <= 65536,
                "peer_port leaves too few ports for the workers",
            ),
        ):
            if not is_sound:
                raise ConfigError(message)
        for (one, ports), (other, others) in combinations(self._ports().items(), 2):
            if max(ports.start, others.start) < min(ports.stop, others.stop):
                raise ConfigError(f"{one} and {other} must differ{self._counting_up()}")

    def _ports(self) -> dict[str, range]:
        """Return the ports at the address for players that are asked for, by their setting."""
        count = max(self.workers, 1)
        has_own = self.workers != 1 or self.worker_port is not None
        asked = {
            "port": (self.port, 1),
            "admin_port": (self.admin_port if self.admin_host == self.host else 0, 1),
            "worker_port": ((self.worker_port or WORKER_PORT) if has_own else 0, count),
            "peer_port": (0 if self.redis is None else self.peer_port, count),
        }
        return {what: range(port, port + many) for what, (port, many) in asked.items() if port}

    def _counting_up(self) -> str:
        return "" if self.workers == 1 else ": worker_port and peer_port count up by worker"

    def check_serving(self) -> None:
        """Raise ConfigError where the settings do not do for a server; operators may ask so."""
        if self.redis is not None and self.postgres is None and self.workers == 1:
            raise ConfigError("redis needs postgres: all nodes share one database")


@cache
def settings() -> tuple[Setting, ...]:
    """Return every setting, in the order of its declaration."""
    hints = get_type_hints(Config, include_extras=True)
    return tuple(_setting(one, hints[one.name].__metadata__[0]) for one in fields(Config))


def _setting(one: "Field[object]", about: About) -> Setting:
    return Setting(
        field=one.name,
        name=one.name.removesuffix("_ns"),
        kind=about.kind,
        help=about.help,
        secret=about.secret,
        default=_default(one),
    )


def _default(one: "Field[object]") -> Callable[[], object]:
    if one.default_factory is not MISSING:
        return one.default_factory
    assert one.default is not MISSING, "every setting has a default"
    value = one.default
    return lambda: value

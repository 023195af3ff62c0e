"""One embedded PostgreSQL, from its lock to its end, in blocking calls.

Makes the cluster, starts the server or takes over one that a killed game server left, and stops it.
Every wait has a deadline. It knows nothing of what is stored. `persistence.embedded` is the same
for asyncio; tests use this one, because it needs no event loop.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from persistence import embedded_watchdog as watchdog
from persistence.embedded_host import (
    Account,
    DataDirUnusable,
    Places,
    ServerFailed,
    WrongMajor,
    account_for,
    give,
    laid_out,
    make_data_dir,
)
from persistence.embedded_process import (
    DATABASE,
    USER,
    Postmaster,
    Watchdog,
    failure,
    failure_said,
    held_lock,
)

PORT = 5432  # Only part of the socket's name: the server listens on no address.

START_S = 60.0  # After a crash the journal is read again, at worst a gigabyte of it.
INITDB_S = 120.0
RETRY_S = 0.05

NO_PROCESS = 2**31 - 1  # Above every process id; PostgreSQL reads a signed 32-bit number.

SETTINGS = {
    "port": str(PORT),
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",  # Six for each worker, and some for operators.
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "min_wal_size": "80MB",
    "wal_level": "replica",  # pg_basebackup needs it.
    "wal_compression": "on",
    "checkpoint_timeout": "5min",
    "max_worker_processes": "4",
    "max_parallel_workers_per_gather": "0",  # Queries are short and the cores busy with rooms.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Statements and rows hold payloads, which do not belong into a log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
SAFEGUARDS = ("fsync", "full_page_writes", "synchronous_commit")
SETTINGS_BY_MAJOR: dict[int, dict[str, str]] = {
    16: {},
    18: {"io_method": "sync"},  # Without it, three more processes only to read.
}
# Both compare text by its bytes.
LOCALE_BY_MAJOR = {
    16: ("--no-locale",),
    18: ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
}


class Cluster:
    """A PostgreSQL of our own in `data_dir`; not `durable`, for tests, a crash loses its data."""

    def __init__(self, data_dir: Path, *, durable: bool = True, major: int = 18) -> None:
        self.data_dir = data_dir.absolute()
        self.durable = durable
        self.major = major
        self.adopted = False  # Whether the server was already running, left by a killed process.
        self._account: Account | None = None
        self._places: Places | None = None
        self._lock: int | None = None
        self._server: Postmaster | None = None
        self._watchdog: Watchdog | None = None
        # `start`, `revive` and `stop` may be called in different threads.
        self._turn = threading.Lock()

    @property
    def dsn(self) -> str:
        """The address of the server's own database."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """Return the address of a database of this server."""
        directory = quote(str(self.places.socket_dir), safe="/")
        return f"postgresql://{USER}@/{quote(database)}?host={directory}&port={PORT}"

    @property
    def places(self) -> Places:
        """Where everything lies; known from the first start on."""
        assert self._places is not None, "The embedded PostgreSQL has not been started."
        return self._places

    @property
    def server_pid(self) -> int | None:
        """The process id of the server, while it runs."""
        return self._server.pid if self._server is not None and self._server.is_alive() else None

    @property
    def watchdog_pid(self) -> int | None:
        """The process id of the watchdog, while it runs."""
        kept = self._watchdog
        return kept.pid if kept is not None and kept.is_alive() else None

    @property
    def is_whole(self) -> bool:
        """Whether the server and its watchdog both run."""
        return self.server_pid is not None and self.watchdog_pid is not None

    def start(self) -> None:
        """Hold the data directory and have a server accept connections on it."""
        with self._turn, plainly(self.data_dir):
            assert self._lock is None, "The embedded PostgreSQL is started once."
            make_data_dir(self.data_dir)
            self._lock = held_lock(self.data_dir / watchdog.LOCK)
            try:
                self._start_held()
            except BaseException:
                self._stop_held()
                raise

    def revive(self) -> bool:
        """Start again what ended by itself; say whether that was the server."""
        with self._turn, plainly(self.data_dir):
            if self._lock is None:
                return False
            if self.watchdog_pid is None:
                self._watch()
            if self.server_pid is not None:
                return False
            self._server = self._launched()
            return True

    def stop(self) -> None:
        """Shut the server down and let the data directory go; harmless if it did not run."""
        with self._turn, plainly(self.data_dir):
            if self._lock is not None:
                self._stop_held()

    def _start_held(self) -> None:
        # At once, because the watchdog of a killed game server leaves when the lock is taken.
        self._watch()
        self._account = account_for(self.data_dir / watchdog.CLUSTER)
        self._places = laid_out(self.data_dir, self.major, self._account)
        self._make_cluster()
        self._server = self._left_running()
        self.adopted = self._server is not None
        if self._server is None:
            self._server = self._launched()

    def _stop_held(self) -> None:
        assert self._lock is not None, "Only who holds the data directory may stop its server."
        try:
            if self._server is not None:
                self._server.stop()
            else:  # The start failed; what a killed game server left must not go on unwatched.
                watchdog.end_postmaster(self.data_dir / watchdog.CLUSTER)
            self._server = None
            watchdog.remove_private(self.data_dir)
        finally:
            if self._watchdog is not None:
                self._watchdog.stop()
            self._watchdog = None
            os.close(self._lock)
            self._lock = None

    def _watch(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
        self._watchdog = Watchdog(self.data_dir)

    def _make_cluster(self) -> None:
        cluster = self.places.cluster
        for half_made in self.data_dir.glob("cluster.new-*"):
            shutil.rmtree(half_made, ignore_errors=True)
        try:
            made_by = (cluster / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            made_by = None
        if made_by is None and cluster.exists() and any(cluster.iterdir()):
            raise DataDirUnusable(f"{cluster} is neither empty nor made by PostgreSQL")
        if made_by is None:
            self._initialise()
        elif made_by != str(self.major):
            raise WrongMajor(
                f"{cluster} was made by PostgreSQL {made_by}, which version {self.major} cannot "
                f"use: start it with {made_by}, or use another data directory"
            )

    def _initialise(self) -> None:
        # Under another name until it is complete, so that a half-made cluster is never mistaken.
        cluster = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=self.data_dir))
        give(cluster, self._runs_as)
        binaries, named = self.places.binaries, ["-D", self._name_of(cluster)]
        initdb = [str(binaries / "initdb"), *named, "-U", USER, "-A", "trust", "-E", "UTF8"]
        initdb += [*LOCALE_BY_MAJOR[self.major], "--data-checksums", "--no-instructions"]
        if not self.durable:
            initdb.append("--no-sync")
        self._run_once(initdb, "", cluster)
        # A server without connections, because the real one shall find the database in place.
        alone = [str(binaries / "postgres"), "--single", *named, "postgres"]
        self._run_once(alone, f'CREATE DATABASE "{DATABASE}"\n', cluster)
        cluster.rename(self.places.cluster)
        directory = os.open(self.data_dir, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _run_once(self, command: list[str], text: str, cluster: Path) -> None:
        done = subprocess.run(
            command,
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=INITDB_S,
            check=False,
            **self._process_arguments(cluster),
        )
        # A server without connections reports an error and still ends with 0.
        if done.returncode != 0 or b"ERROR:" in done.stdout:
            said = done.stdout.decode(errors="replace").splitlines()
            raise ServerFailed(failure_said("PostgreSQL could not make its data", said))

    def _left_running(self) -> Postmaster | None:
        pid = watchdog.running_postmaster(self.places.cluster)
        if pid is None:
            return None
        server = Postmaster(pid, self.places)
        wanted = watchdog.recorded_form([os.fsencode(word) for word in self._arguments()])
        recorded = (self.places.cluster / "postmaster.opts").read_bytes()
        if recorded.endswith(wanted) and server.answers(START_S):
            return server
        server.stop()  # It runs with other settings, which may be unsafe ones.
        return None

    def _launched(self) -> Postmaster:
        deadline_s = time.monotonic() + START_S
        while True:
            disown_recorded_pid(self.places.cluster)
            server = self._spawned()
            if server.answers(deadline_s - time.monotonic()):
                return server
            late = server.is_alive() or time.monotonic() > deadline_s
            server.stop()
            message = failure("PostgreSQL did not start", self.places.log)
            # Connections outlive a killed server until they notice; nothing may start beside them.
            if late or "pre-existing shared memory block" not in message:
                raise ServerFailed(message)
            time.sleep(RETRY_S)

    def _spawned(self) -> Postmaster:
        log = self.places.log
        if log.exists():
            log.replace(log.with_name(log.name + ".old"))
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            process = subprocess.Popen(
                [str(self.places.binaries / "postgres"), *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                **self._process_arguments(self.places.cluster),
            )
        finally:
            os.close(said)
        return Postmaster(process.pid, self.places, process)

    def _arguments(self) -> list[str]:
        # As arguments, because then nothing that is stored in the cluster can override them.
        settings = SETTINGS | SETTINGS_BY_MAJOR[self.major]
        settings |= dict.fromkeys(SAFEGUARDS, "on" if self.durable else "off")
        settings["unix_socket_directories"] = str(self.places.socket_dir)
        arguments = ["-D", self._name_of(self.places.cluster)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        return arguments

    def _name_of(self, cluster: Path) -> str:
        return str(self.places.cluster_argument or cluster)

    def _process_arguments(self, cluster: Path) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "cwd": cluster,
            "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},  # Ours could change much.
            "start_new_session": True,  # The terminal's Ctrl-C is for the game server.
            "umask": 0o077,
        }
        if not self._runs_as.is_ours:
            uid, gid = self._runs_as.uid, self._runs_as.gid
            arguments |= {"user": uid, "group": gid, "extra_groups": []}
        return arguments

    @property
    def _runs_as(self) -> Account:
        assert self._account is not None, "The account is chosen before anything is run under it."
        return self._account


@contextlib.contextmanager
def plainly(data_dir: Path) -> Iterator[None]:
    """Turn what the system refuses into an `EmbeddedError` of one line."""
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise ServerFailed(f"PostgreSQL took longer than {INITDB_S:.0f} s to be made") from error
    except OSError as error:
        raise DataDirUnusable(
            f"cannot use {error.filename or data_dir}: {error.strerror}"
        ) from error


def disown_recorded_pid(cluster: Path) -> None:
    """Let PostgreSQL start although its former process id now belongs to somebody else.

    Only the number is replaced: the rest of the file tells it whether connections of the former
    server are still at work, in which case it rightly refuses.
    """
    pid = watchdog.recorded_pid(cluster)
    if pid is None or watchdog.is_postmaster(pid, cluster) or not watchdog.is_alive(pid):
        return
    file = cluster / "postmaster.pid"
    _, rest = file.read_text().split("\n", 1)
    file.write_text(f"{NO_PROCESS}\n{rest}")

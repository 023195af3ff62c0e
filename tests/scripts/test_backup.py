"""A database comes back from its archive and its copies: all of it, or as it was at a moment."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from persistence.embedded_host import BinariesMissing, account_for, installed, may_reach

SCRIPTS = Path(__file__).parents[2] / "scripts" / "deploy" / "postgres"
# The wheel's pg_verifybackup of the other version does not run.
MAJOR = 16
COMMAND_S = 60
ARCHIVED_S = 30.0
KEPT = 2
# Each time it is asked it is the next day.
DATE = """#!/bin/sh
day=$(($(cat "{place}" 2>/dev/null || echo 10) + 1))
echo $day > "{place}"
echo "2026-01-${{day}}T030000Z"
"""

# Whole databases are copied, on machines that may be busy.
pytestmark = pytest.mark.timeout(180)


class Database:
    """A PostgreSQL that archives, in a directory of its own, and the scripts beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.backups = folder / "backups"
        self._account = account_for(self.data)
        self._binaries = installed(MAJOR) / "bin"
        # Whoever runs PostgreSQL may be unable to reach the tree.
        self.scripts = Path(shutil.copytree(SCRIPTS, folder / "scripts"))
        if not may_reach(self._binaries / "postgres", self._account):
            pytest.skip(f"{self._account.name}, who runs PostgreSQL, cannot reach its binaries")
        for made in (self.backups / "wal", self.backups / "base", folder / "bin"):
            made.mkdir(parents=True)
        date = folder / "bin" / "date"
        date.write_text(DATE.format(place=folder / "today"))
        date.chmod(0o755)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self._account.uid, self._account.gid)

    def run(self, *command: str | Path, check: bool = True) -> str:
        """Run a command as the user of the database."""
        arguments: dict[str, object] = {}
        if not self._account.is_ours:
            uid, gid = self._account.uid, self._account.gid
            arguments = {"user": uid, "group": gid, "extra_groups": []}
        environment = {
            "PATH": f"{self.folder / 'bin'}:{self._binaries}:{os.defpath}",
            "LC_ALL": "C",
            "PGHOST": str(self.folder),
            "PGUSER": "gameserver",
            "PGDATABASE": "postgres",
        }
        with tempfile.TemporaryFile() as said:  # No pipe: a server that stays would keep it open.
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.folder,
                umask=0o077,
                timeout=COMMAND_S,
                check=False,
                **arguments,  # type: ignore[call-overload]  # Of the types that it takes.
            )
            said.seek(0)
            told = said.read().decode().strip()
        assert not check or done.returncode == 0, told
        return f"{done.returncode} {told}" if not check else told

    def make(self) -> None:
        """Make an empty database."""
        self.run("initdb", "-D", self.data, "-U", "gameserver", "-A", "trust", "--no-locale", "-N")

    def start(self) -> None:
        """Start the server and wait until it has recovered."""
        archive = f'{self.scripts / "archive-wal"} "%p" "%f" {self.backups / "wal"}'
        settings = f"-k {self.folder} -c listen_addresses= -c archive_mode=on -c fsync=off"
        settings += f" -c 'archive_command={archive}'"
        self.run(
            *("pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "-o", settings, "start")
        )
        self.wait_for("SELECT NOT pg_is_in_recovery()")

    def stop(self) -> None:
        """End the server as a loss of its machine would."""
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "stop", check=False)

    def sql(self, statement: str) -> str:
        """Return what a statement answers."""
        return self.run("psql", "-Atqc", statement)

    def wait_for(self, statement: str) -> None:
        """Wait until a statement answers true."""
        deadline_s = time.monotonic() + ARCHIVED_S
        while self.sql(statement) != "t":
            assert time.monotonic() < deadline_s, statement
            time.sleep(0.05)

    def add(self, number: int) -> None:
        """Add so many rows, and see that they are in the archive."""
        self.sql(f"INSERT INTO bet SELECT generate_series(1, {number})")
        name = self.sql("SELECT pg_walfile_name(pg_switch_wal())")
        self.wait_for(f"SELECT last_archived_wal >= '{name}' FROM pg_stat_archiver")

    def bets(self) -> int:
        """Return how many rows there are."""
        return int(self.sql("SELECT count(*) FROM bet"))

    def moment(self) -> str:
        """Return a moment that has no change beside it."""
        return self.sql("SELECT pg_sleep(0.01)") or self.sql("SELECT clock_timestamp()")

    def backup(self) -> Path:
        """Make a copy."""
        told = self.run(self.scripts / "base-backup", self.backups, str(KEPT))
        return Path(told.splitlines()[-1])

    def restore(self, *which: str) -> str:
        """Lose the machine, and bring the database back from its backups."""
        self.stop()
        told = self.run(self.scripts / "restore", self.backups, self.data, *which)
        self.start()
        return told


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a short name, because a socket lies in it."""
    made = Path(tempfile.mkdtemp(prefix="gs-backup-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def database(folder: Path) -> Iterator[Database]:
    """A database with a table, which archives."""
    try:
        database = Database(folder)
    except BinariesMissing as error:
        pytest.skip(str(error))
    try:
        database.make()
        database.start()
        database.sql("CREATE TABLE bet (number int)")
        yield database
    finally:
        database.stop()


@pytest.mark.slow
def test_a_lost_database_comes_back_from_a_copy_and_the_archive(database: Database) -> None:
    database.add(1)
    database.backup()
    database.add(10)
    database.restore()
    assert database.bets() == 11
    database.add(100)
    assert database.bets() == 111
    assert len(list(database.folder.glob("data.before-*"))) == 1, "what was there stays"


@pytest.mark.slow
def test_a_database_can_go_back_to_a_moment_and_be_copied_again(database: Database) -> None:
    database.backup()
    database.add(1)
    moment = database.moment()
    database.add(10)
    database.restore(moment)
    assert database.bets() == 1
    database.backup()
    database.add(100)
    # The moment of last time does not count this time.
    database.restore()
    assert database.bets() == 101


@pytest.mark.slow
def test_old_copies_go_with_the_archive_that_only_they_needed(database: Database) -> None:
    made = []
    for _ in range(KEPT + 1):
        made.append(database.backup())
        database.add(1)
    left = sorted((database.backups / "base").iterdir())
    assert left == made[1:]
    # A log's name has 24 letters; notes of copies and of histories are small and stay.
    logs = {path.name for path in (database.backups / "wal").iterdir() if len(path.name) == 24}
    assert min(logs) == _first_log(left[0])
    database.restore("", left[0].name)
    assert database.bets() == KEPT + 1


def _first_log(copy: Path) -> str:
    line = (copy / "backup_label").read_text().splitlines()[0]
    return line.rpartition("file ")[2].rstrip(")")


@pytest.mark.slow
def test_a_copy_that_was_damaged_is_not_restored(database: Database) -> None:
    copy = database.backup()
    with (copy / "global" / "pg_control").open("r+b") as file:
        file.seek(64)
        file.write(b"\xff\xff\xff\xff")
    told = database.run(database.scripts / "restore", database.backups, database.data, check=False)
    assert told.startswith("1 ")
    assert "checksum mismatch" in told
    assert (database.data / "postmaster.pid").exists(), "nothing was moved"


@pytest.mark.slow
def test_a_database_whose_server_runs_is_not_replaced(database: Database) -> None:
    database.backup()
    told = database.run(database.scripts / "restore", database.backups, database.data, check=False)
    assert told.startswith("1 ")
    assert "stop the server" in told
    assert database.bets() == 0


def archive(path: Path, kept: Path) -> int:
    """Archive a file; return the exit code."""
    command: list[str | Path] = [SCRIPTS / "archive-wal", path, kept.name, kept.parent]
    return subprocess.run(command, check=False, timeout=30).returncode


def test_a_log_that_comes_again_is_accepted_only_if_it_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    log, kept = tmp_path / "log", tmp_path / "wal" / "000000010000000000000001"
    log.write_bytes(b"what was written")
    assert archive(log, kept) == 0
    assert archive(log, kept) == 0
    log.write_bytes(b"what another server wrote")
    assert archive(log, kept) != 0
    assert kept.read_bytes() == b"what was written"
    assert list(kept.parent.iterdir()) == [kept]


def test_a_log_that_cannot_be_kept_is_not_said_to_be(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"what was written")
    assert archive(log, tmp_path / "nowhere" / "1") != 0
    assert archive(tmp_path / "nothing", tmp_path / "1") != 0
    assert not (tmp_path / "1").exists()

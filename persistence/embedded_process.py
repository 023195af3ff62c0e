"""The processes of an embedded PostgreSQL: the server, its watchdog, and who holds the lock.

Knows how to start, ask and end a process; decides nothing about when.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from persistence import embedded_watchdog as watchdog
from persistence.embedded_host import DataDirInUse, Places, ServerFailed

USER = "gameserver"
DATABASE = "gameserver"

FAST_S = 20.0
IMMEDIATE_S = 10.0
KILL_S = 2.0
# The watchdog holds the lock for as long as it takes to end an abandoned server.
LOCK_S = watchdog.FAST_S + watchdog.IMMEDIATE_S + watchdog.KILL_S + 2.0
LIVE_HOLDER_S = 0.5  # A killed process keeps its lock for a moment.
POLL_S = 0.005
PROBE_S = 1.0

LINES_SHOWN = 8


class Postmaster:
    """A running server: our own child, or one that another game server left."""

    def __init__(
        self, pid: int, places: Places, process: "subprocess.Popen[bytes] | None" = None
    ) -> None:
        self.pid = pid
        self._places = places
        self._process = process

    def is_alive(self) -> bool:
        """Say whether the server still runs."""
        if self._process is not None:
            return self._process.poll() is None
        return watchdog.is_postmaster(self.pid, self._places.cluster)

    def answers(self, patience_s: float) -> bool:
        """Wait until the server lets us in, and say whether it did before it ended."""
        deadline_s = time.monotonic() + patience_s
        while self.is_alive() and time.monotonic() < deadline_s:
            if accepts_connections(self._places.socket):
                return True
            time.sleep(POLL_S)
        return False

    def stop(self) -> None:
        """End the server: in order at first, by force at last."""
        steps = ((signal.SIGINT, FAST_S), (signal.SIGQUIT, IMMEDIATE_S), (signal.SIGKILL, KILL_S))
        for ending, patience_s in steps:
            if self._ended(0.0):
                return
            os.kill(self.pid, ending)
            if self._ended(patience_s):
                return
        raise ServerFailed(failure("PostgreSQL does not end", self._places.log))

    def _ended(self, patience_s: float) -> bool:
        deadline_s = time.monotonic() + patience_s
        while self.is_alive():
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(POLL_S)
        return True


class Watchdog:
    """The process that ends an abandoned server, and the pipe by which it knows."""

    def __init__(self, data_dir: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, data_dir, str(watchdog.GRACE_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # What ends the game server's group or terminal spares it.
            cwd="/",
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Say whether it still watches."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it without letting it end the server."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None, "It was started with a pipe."
        self._process.stdin.close()


def held_lock(path: Path) -> int:
    """Take the lock of the data directory, which the system releases when this process ends."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    asked_s = time.monotonic()
    try:
        while not watchdog.lock_taken(lock, watchdog.HOLDER_SERVER):
            holder, _, pid = os.pread(lock, 100, 0).decode(errors="replace").strip().partition(" ")
            waited_s = time.monotonic() - asked_s
            patience_s = LOCK_S if holder == watchdog.HOLDER_WATCHDOG else LIVE_HOLDER_S
            if waited_s > patience_s:
                raise DataDirInUse(
                    f"{path.parent} is used by another game server, or by a command"
                    f" (process {pid or 'unknown'})"
                )
            time.sleep(POLL_S)
    except BaseException:
        os.close(lock)
        raise
    return lock


def accepts_connections(path: Path) -> bool:
    """Say whether a server on this socket lets us in."""
    words = b"".join(
        word + b"\0" for word in (b"user", USER.encode(), b"database", DATABASE.encode(), b"")
    )
    start = (8 + len(words)).to_bytes(4) + (196608).to_bytes(4) + words  # Protocol 3.0.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PROBE_S)
        try:
            connection.connect(str(path))
            connection.sendall(start)
            if connection.recv(1) != b"R":  # "Authentication", here always "ok".
                return False
            connection.sendall(b"X\0\0\0\x04")
        except OSError:
            return False
    return True


def failure(what: str, log: Path) -> str:
    """Return a message that ends with the last words of a log."""
    try:
        said = log.read_text(errors="replace").splitlines()
    except OSError:
        said = []
    return failure_said(what, said)


def failure_said(what: str, said: list[str]) -> str:
    """Return a message that ends with PostgreSQL's last words."""
    return "\n  ".join([f"{what}; it said:", *said[-LINES_SHOWN:]])

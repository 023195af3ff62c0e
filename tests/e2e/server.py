"""A server in a process of its own, that can be killed and started again on the same data."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
READY_S = 30.0
STOP_S = 30.0


class ServerProcess:
    """`gameserver serve` with its own data directory. The first start chooses the port."""

    def __init__(self, data_dir: Path, *flags: str, games_dir: Path = ROOT) -> None:
        self.data_dir = data_dir
        self.flags = flags
        self.games_dir = games_dir
        self.port = 0
        self.admin_port = 0
        self.events: list[dict[str, Any]] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Return where clients connect."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def pid(self) -> int:
        """Return the process id of the server that runs."""
        assert self._process is not None, "The server was not started."
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it serves."""
        command = [sys.executable, "-m", "gameserver", "serve", "--log-format", "json"]
        command += ["--data-dir", str(self.data_dir), "--port", str(self.port), *self.flags]
        if "--admin-port" not in self.flags:
            command += ["--admin-port", "0"]
        lines: Queue[str | None] = Queue()
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{self.games_dir}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, args=(self._process, lines), daemon=True).start()
        self._await_ready(lines)

    def _await_ready(self, lines: Queue[str | None]) -> None:
        seen: list[str] = []
        with contextlib.suppress(Empty):
            while (line := lines.get(timeout=READY_S)) is not None:
                seen.append(line)
                if '"server_ready"' in line:
                    ready = json.loads(line)
                    self.port = int(ready["play"].rpartition(":")[2].partition("/")[0])
                    return
        self.kill()
        raise AssertionError("the server did not become ready:\n" + "".join(seen[-20:]))

    def _read(self, process: subprocess.Popen[str], lines: Queue[str | None]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                with contextlib.suppress(ValueError):
                    self.events.append(json.loads(line))
                lines.put(line)
        lines.put(None)

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_S)

    def stop(self) -> int:
        """Ask the process to end, and return its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_S)

    def errors(self) -> list[dict[str, Any]]:
        """Return what was logged as an error since the first start."""
        return [event for event in self.events if event.get("level") in ("error", "critical")]


@contextlib.contextmanager
def running(data_dir: Path, *flags: str, games_dir: Path = ROOT) -> Iterator[ServerProcess]:
    """Give a server that runs, and end it afterwards whatever happened."""
    server = ServerProcess(data_dir, *flags, games_dir=games_dir)
    server.start()
    try:
        yield server
    finally:
        server.stop()

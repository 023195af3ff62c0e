"""What the benchmarks share: cores, processor time, medians, the environment, reports.

It knows nothing of what is measured. A figure that cannot be had is `Withheld`, with its reason.
"""

import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
STOP_TIMEOUT_S = 10.0
# What others use of a core, above which a figure is not to be trusted.
DISTURBED_SHARE = 0.10


class Withheld(Exception):
    """A figure cannot be had here. The message says why."""


@dataclass(frozen=True)
class Cores:
    """Where the server runs, and where what loads it and what stores for it."""

    server: int
    load: int


def two_cores() -> Cores:
    """Return a core for the server and another one for the rest, or raise Withheld."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise Withheld("one core alone: the load would take the server's time")
    return Cores(*allowed[:2])


@contextmanager
def on_cores(cores: Collection[int]) -> Iterator[None]:
    """Run on these cores; processes that are started meanwhile stay there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(command: Sequence[str], core: int, ready: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run a server on its core; give its process id and what it said when it was ready.

    Ready is a line of JSON with ``"event": ready``.
    """
    with on_cores({core}):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    with process:
        try:
            event = _awaited(process, ready)
            # What it says later is read, so that it is never held up by a full pipe.
            reader = threading.Thread(target=_read_on, args=(process,))
            reader.start()
            yield process.pid, event
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
        reader.join()


def _awaited(process: "subprocess.Popen[str]", ready: str) -> dict[str, Any]:
    assert process.stdout is not None
    said: deque[str] = deque(maxlen=5)
    for line in process.stdout:
        said.append(line)
        event = event_of(line)
        if event.get("event") == ready:
            return event
    raise Withheld(f"a server did not become ready: {''.join(said).strip()}")


def _read_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    for _ in process.stdout:
        pass


def event_of(line: str) -> dict[str, Any]:
    """Return the JSON object that a line holds, or an empty one."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def free_port() -> int:
    """Return a port that nobody has just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def cpu_s(pid: int) -> float:
    """Return how much processor time a process has used, all of its threads together."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().partition(" ")[0]) for one in threads) / 1e9


def resident_bytes(pid: int) -> int:
    """Return how much memory of its own a process has in use: no files, nothing shared."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise Withheld("the system does not tell how much memory a process uses")


def busy_s(core: int, stat: str | None = None) -> float:
    """Return for how long a core has worked, whoever it worked for."""
    text = Path("/proc/stat").read_text() if stat is None else stat
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if name == f"cpu{core}":
            fields = [int(one) for one in rest.split()]
            idle = fields[3] + fields[4]
            return (sum(fields[:8]) - idle) / CLOCK_TICKS
    raise Withheld(f"/proc/stat does not tell of core {core}")


@dataclass(frozen=True)
class Use:
    """What was used of the cores between two moments."""

    seconds: float
    server_s: float
    server_core_s: float
    load_core_s: float

    @property
    def server_share(self) -> float:
        """How much of its core the server used."""
        return self.server_s / self.seconds

    @property
    def others_share(self) -> float:
        """How much of the server's core others used."""
        return max(self.server_core_s - self.server_s, 0.0) / self.seconds

    @property
    def load_core_share(self) -> float:
        """How much of the other core was used."""
        return self.load_core_s / self.seconds


class Watch:
    """Takes the time of a server and of both cores."""

    def __init__(self, pid: int, cores: Cores) -> None:
        self._pid = pid
        self._cores = cores
        self._began = self._now()

    def used(self) -> Use:
        """Return what was used since the watch was made."""
        now = self._now()
        return Use(*(after - before for before, after in zip(self._began, now, strict=True)))

    def _now(self) -> tuple[float, float, float, float]:
        return (
            time.monotonic(),
            cpu_s(self._pid),
            busy_s(self._cores.server),
            busy_s(self._cores.load),
        )


@dataclass(frozen=True)
class Range:
    """The median of several runs, with the least and the greatest."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Range":
        """Return that of the figures."""
        return cls(statistics.median(figures), min(figures), max(figures))

    def text(self, digits: int = 1) -> str:
        """Return it for a table."""
        median = f"{self.median:.{digits}f}"
        if self.least == self.most:
            return median
        return f"{median} ({self.least:.{digits}f} to {self.most:.{digits}f})"


def environment() -> dict[str, str]:
    """Return what the figures were measured on."""
    found = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("uvloop", "websockets")},
        "load": " ".join(f"{one:.2f}" for one in os.getloadavg()),
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    for name in ("cc", "node"):
        said = _version(name)
        if said:
            found[name] = said
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        return ""
    said = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=20, check=False
    )
    return said.stdout.partition("\n")[0].strip()


def head(module: str, argv: Sequence[str]) -> dict[str, Any]:
    """Print the command and the environment; return them for the report."""
    command = f"python -m {module} {' '.join(argv)}".rstrip()
    print(f"command: {command}")
    found = environment()
    print(", ".join(f"{name} {value}" for name, value in found.items()))
    return {"command": command, "environment": found}


def cache_folder() -> Path:
    """Return where is kept what can be made again: programs, packages."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "gameserver-bench"


def write_report(path: Path | None, report: dict[str, Any]) -> None:
    """Write a report as JSON, if that is wanted."""
    if path is not None:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

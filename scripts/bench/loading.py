"""Runs the load client against a server and puts together what both of them used.

It knows the client's flags and its report, and when the client was itself the bottleneck.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.bench.measuring import (
    DISTURBED_SHARE,
    Cores,
    Use,
    Watch,
    Withheld,
    event_of,
    on_cores,
    resident_bytes,
)
from scripts.bench.native import built

UPDATES_EACH_S = 20
# From here on the client would be measured instead of the server.
LOAD_CPU_SHARE_MAX = 0.85
LOAD_LAG_MS_MAX = 15.0


@dataclass(frozen=True)
class Played:
    """What a run of the client came to."""

    report: dict[str, Any] = field(repr=False)
    use: Use = field(repr=False)
    memory_bytes: int = 0  # What the server's memory grew by.

    @property
    def rate(self) -> float:
        """The share of 20 updates a second that a player got, on the average."""
        each_s: float = self.report["deltas_each_s"]
        return each_s / UPDATES_EACH_S

    @property
    def p99_ms(self) -> float:
        """Within which time 99 % of commands were visible; those that never were count."""
        seen: int = self.report["seen"]
        if seen < 0.99 * self.report["commands"]:
            return float("inf")
        found: float = self.report["visible_ms_p99"]
        return found

    @property
    def us_per_delta(self) -> float:
        """Microseconds of the server's processor time for each update that arrived."""
        deltas: int = self.report["deltas"]
        return 1e6 * self.use.server_s / max(deltas, 1)

    @property
    def bytes_each(self) -> float:
        """How much memory the server took for each connection, and what belongs to it."""
        connections: int = self.report["connections"]
        return self.memory_bytes / connections

    @property
    def doubts(self) -> list[str]:
        """Why the figures should not be trusted, if there is a reason."""
        found = []
        cpu_share, lag_ms = self.report["load_cpu_share"], self.report["load_lag_ms_p99"]
        if cpu_share > LOAD_CPU_SHARE_MAX:
            found.append(f"the load client used {cpu_share:.0%} of its core")
        if lag_ms > LOAD_LAG_MS_MAX:
            found.append(f"the load client was {lag_ms:.0f} ms late (p99)")
        if self.use.others_share > DISTURBED_SHARE:
            found.append(f"others used {self.use.others_share:.0%} of the server's core")
        return found

    def figures(self) -> dict[str, Any]:
        """Return all of it for a report."""
        return {
            "rate": self.rate,
            "us_per_delta": self.us_per_delta,
            "memory_bytes_each": self.bytes_each,
            "server_cpu_share": self.use.server_share,
            "others_on_server_core": self.use.others_share,
            "load_core_share": self.use.load_core_share,
            "doubts": self.doubts,
            **{name: value for name, value in self.report.items() if name != "event"},
        }


def played(flags: Sequence[str], pid: int, cores: Cores) -> Played:
    """Run the client on its core while the server with ``pid`` is watched; or raise Withheld."""
    command = [str(built("load")), *flags]
    before_bytes, memory_bytes = resident_bytes(pid), 0
    watch: Watch | None = None
    use: Use | None = None
    report: dict[str, Any] | None = None
    with (
        on_cores({cores.load}),
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as client,
    ):
        assert client.stdout is not None
        assert client.stderr is not None
        for line in client.stdout:
            event = event_of(line)
            match event.get("event"):
                case "begin":
                    watch = Watch(pid, cores)
                case "end" if watch is not None:
                    use = watch.used()
                    memory_bytes = resident_bytes(pid) - before_bytes
                case "report":
                    report = event
        complaint = client.stderr.read().strip()
    if client.returncode or use is None or report is None:
        raise Withheld(f"the load client gave up: {complaint}")
    return Played(report, use, memory_bytes)

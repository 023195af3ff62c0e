"""The names under which what is counted is published for Prometheus.

It reads plain numbers when somebody asks and keeps none. Labels are of closed sets: never a room,
an account or an address.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gameserver.net.counters import NetCounters
from gameserver.net.limits import Admission
from gameserver.runtime.metrics import Histogram, Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "gameserver_"
GAUGES = {
    "nodes_live": "Nodes live.",
    "shards": "Shards.",
    "shards_owned": "Shards owned.",
    "lease_lag_ms": "Lease lag ms.",
    "beat_ms": "Between two ticks of a room that is due in each, smoothed; 50 when all is well.",
    "late_ms": "By how much slots are late, on the average of about a second.",
    "overloaded": "Whether newcomers are turned away because slots are late.",
}


class Exposition(Collector):
    """All metrics of the process."""

    def __init__(self, metrics: Metrics, counters: NetCounters, admission: Admission) -> None:
        self._metrics = metrics
        self._counters = counters
        self._admission = admission
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Return everything in Prometheus' text form."""
        return generate_latest(self._registry)

    async def page(self) -> bytes:
        """Return it for whoever asks over HTTP."""
        return self.text()

    def collect(self) -> Iterator[Metric]:
        """Yield every family with its numbers of this moment."""
        yield from self._required()
        yield from self._rooms()
        yield from self._net()

    def _required(self) -> Iterator[Metric]:
        # These four have names that others chose.
        metrics = self._metrics
        yield _by_label(
            GaugeMetricFamily("game_active_count", "Open rooms, by game.", labels=["game"]),
            metrics.rooms_open,
        )
        players = self._admission.connections - self._admission.unauthenticated
        yield GaugeMetricFamily("player_connected_count", "Connections welcomed.", players)
        processed = CounterMetricFamily(
            "message_processed_total",
            "Commands answered, by command and outcome.",
            labels=["command", "outcome"],
        )
        for (command, outcome), number in sorted(metrics.commands_total.items()):
            processed.add_metric([command, outcome], number)
        yield processed
        latency = HistogramMetricFamily(
            "command_latency_ms",
            "From a command's arrival to its durable outcome, in milliseconds.",
            labels=["command"],
        )
        for command, histogram in sorted(metrics.command_latency_ms.items()):
            _add(latency, [command], histogram)
        yield latency

    def _rooms(self) -> Iterator[Metric]:
        for name, value in vars(self._metrics).items():
            if name in GAUGES:
                yield GaugeMetricFamily(PREFIX + name, GAUGES[name], value)
            elif isinstance(value, int):
                yield _counter(name, value)
            elif isinstance(value, Histogram):
                family = HistogramMetricFamily(PREFIX + name, _told(name), labels=[])
                _add(family, [], value)
                yield family
        for name, told, numbers in (
            ("commands_deferred", "Commands put off, by cause.", self._metrics.deferred_total),
            ("takeovers", "Shards taken, by cause.", self._metrics.takeovers_total),
        ):
            yield _by_label(CounterMetricFamily(PREFIX + name, told, labels=["cause"]), numbers)

    def _net(self) -> Iterator[Metric]:
        counters, admission = self._counters, self._admission
        yield GaugeMetricFamily(
            PREFIX + "connections", "Connections of any kind.", admission.connections
        )
        yield GaugeMetricFamily(
            PREFIX + "connections_max", "Connections that there may be.", admission.connections_max
        )
        for name in (
            "bytes_in",
            "bytes_out",
            "frames_out",
            "merges",
            "commands_rate_limited",
            "requests_refused_busy",
            "redirects",
            "handshakes_accepted",
        ):
            yield _counter(name, getattr(counters, name))
        for name, label, numbers in (
            ("messages_in", "message", counters.messages_in),
            ("closes", "code", counters.closes),
            ("handshakes_refused", "cause", counters.handshakes_refused),
        ):
            yield _by_label(
                CounterMetricFamily(PREFIX + name, _told(name), labels=[label]), numbers
            )


def _counter(name: str, value: int) -> Metric:
    return CounterMetricFamily(PREFIX + name.removesuffix("_total"), _told(name), value)


def _by_label(family: CounterMetricFamily | GaugeMetricFamily, numbers: dict[str, int]) -> Metric:
    for label, number in sorted(numbers.items()):
        family.add_metric([label], number)
    return family


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    family.add_metric(labels, list(_buckets(histogram)), histogram.total)


def _buckets(histogram: Histogram) -> Iterable[tuple[str, float]]:
    """Yield cumulative counts, as Prometheus wants them."""
    number = 0
    bounds = [*map(str, histogram.bounds), "+Inf"]
    for bound, count in zip(bounds, histogram.counts, strict=True):
        number += count
        yield bound, number


def _told(name: str) -> str:
    return name.removesuffix("_total").replace("_", " ").capitalize() + "."

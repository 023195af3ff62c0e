"""The metrics of several workers on one page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gameserver.net.counters import NetCounters, count
from gameserver.runtime.metrics import Metrics
from gameserver.supervising.merging import labelled, merged
from tests.scripts.scraped import exposition


def page(commands: int) -> str:
    """The page of a worker that has counted something."""
    metrics, counters = Metrics(), NetCounters()
    for _ in range(commands):
        metrics.count_command("Bet", "accepted", 7)
        count(counters.messages_in, "Command")
    return exposition(metrics, counters).text().decode()


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Every sample of a page, by its name and labels; none is there twice."""
    found = [
        ((one.name, *(f"{name}={value}" for name, value in sorted(one.labels.items()))), one.value)
        for family in text_string_to_metric_families(text)
        for one in family.samples
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_every_sample_of_every_worker_is_there_once_under_its_worker() -> None:
    pages = {"0": page(1), "1": page(3), "2": page(0)}
    together = samples(merged(pages))
    for worker, alone in pages.items():
        for (name, *labels), value in samples(alone).items():
            assert together[(name, *sorted([*labels, f"worker={worker}"]))] == value
    assert len(together) == sum(len(samples(alone)) for alone in pages.values())
    assert together["message_processed_total", "command=Bet", "outcome=accepted", "worker=1"] == 3
    assert together["command_latency_ms_bucket", "command=Bet", "le=+Inf", "worker=1"] == 3


def test_a_family_stands_together_and_is_described_once() -> None:
    text = merged({"0": page(1), "1": page(1)})
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert len(set(heads)) == len(heads)
    lines = text.splitlines()
    first = lines.index("# TYPE gameserver_connections gauge")
    assert lines[first + 1 : first + 3] == [
        'gameserver_connections{worker="0"} 0.0',
        'gameserver_connections{worker="1"} 0.0',
    ]


def test_what_only_one_worker_has_is_described_too() -> None:
    other = "# HELP odd What is odd.\n# TYPE odd gauge\nodd 1.0\n"
    text = merged({"0": page(0), "1": page(0) + other})
    assert text.endswith('# HELP odd What is odd.\n# TYPE odd gauge\nodd{worker="1"} 1.0\n')


def test_without_workers_there_is_nothing() -> None:
    assert merged({}) == ""


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("up 1.0", 'up{worker="7"} 1.0'),
        ("up{} 1.0", 'up{worker="7"} 1.0'),
        ('up{a="b"} 1.0 1700', 'up{worker="7",a="b"} 1.0 1700'),
        ('up{a="x } y { z"} NaN', 'up{worker="7",a="x } y { z"} NaN'),
    ],
)
def test_the_label_comes_before_all_others(sample: str, expected: str) -> None:
    assert labelled(sample, "7") == expected


class Odd(Collector):
    """One sample with any value of a label."""

    def __init__(self, value: str) -> None:
        self.value = value

    def collect(self) -> list[Metric]:
        family = GaugeMetricFamily("odd", "What is odd.", labels=["kind"])
        family.add_metric([self.value], 1)
        return [family]


@given(value=st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_a_label_holds_comes_through(value: str) -> None:
    registry = CollectorRegistry()
    registry.register(Odd(value))
    text = merged({"0": generate_latest(registry).decode()})
    (family,) = text_string_to_metric_families(text)
    assert [one.labels for one in family.samples] == [{"worker": "0", "kind": value}]

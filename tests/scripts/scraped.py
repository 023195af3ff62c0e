"""What a server shows to Prometheus, and what an expression of Prometheus asks for."""

import re
from dataclasses import dataclass
from functools import cache

from prometheus_client.parser import text_string_to_metric_families

from gameserver.net.counters import NetCounters, count
from gameserver.net.exposition import Exposition
from gameserver.net.limits import Admission, AdmissionLimits, Refusal
from gameserver.runtime.metrics import Metrics
from protocol.closes import CloseCode

# What Prometheus adds to everything that it scrapes.
SCRAPED = {"job", "instance"}
WORDS = {"and", "by", "on", "or", "unless", "vector"}


def exposition(metrics: Metrics | None = None, counters: NetCounters | None = None) -> Exposition:
    """The metrics of a server, of one that has just started unless told otherwise."""
    limits = AdmissionLimits(10, 10, 10, 10)
    return Exposition(metrics or Metrics(), counters or NetCounters(), Admission(limits))


@cache
def shown() -> dict[str, dict[str, set[str]]]:
    """Every series of a server that has counted something: its labels, and some of their values."""
    metrics, counters = Metrics(), NetCounters()
    metrics.rooms_open["quiz"] = 1
    for outcome in ("accepted", "refused", "failed", "pending"):
        metrics.count_command("Buzz", outcome, 3)
    metrics.count_deferred("BUSY")
    count(counters.messages_in, "Hello")
    for code in CloseCode:
        count(counters.closes, str(int(code)))
    for refusal in Refusal:
        count(counters.handshakes_refused, refusal.value)
    return _series(exposition(metrics, counters))


@cache
def shown_at_first() -> dict[str, dict[str, set[str]]]:
    """Every series of a server that has just started."""
    return _series(exposition())


def _series(source: Exposition) -> dict[str, dict[str, set[str]]]:
    found: dict[str, dict[str, set[str]]] = {"up": {}}
    for family in text_string_to_metric_families(source.text().decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


@dataclass(frozen=True)
class Asked:
    """What an expression names."""

    series: frozenset[str]
    labels: frozenset[str]
    # (series, label, value) of every comparison with a plain value, or with several of them.
    values: frozenset[tuple[str, str, str]]


def asked(expression: str) -> Asked:
    """Take an expression apart, as far as that takes no parser."""
    for pair in ("()", "{}", "[]"):
        assert expression.count(pair[0]) == expression.count(pair[1]), expression
    labels: set[str] = set()
    values: set[tuple[str, str, str]] = set()
    for series, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        for label, sign, value in re.findall(r"(\w+)(=~|!=|!~|=)\"([^\"]*)\"", matchers):
            labels.add(label)
            if not value.startswith("$") and value:
                values |= {(series, label, one) for one in value.split("|")}
            assert sign
    rest = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"", "", expression)
    for names in re.findall(r"\bby \(([^)]*)\)", rest):
        labels |= set(re.findall(r"\w+", names))
    rest = re.sub(r"\bby \([^)]*\)", "", rest)
    series_named = set(re.findall(r"\b[a-z_]\w*\b(?! *\()", rest)) - WORDS
    return Asked(frozenset(series_named), frozenset(labels), frozenset(values))

"""Alerts, dashboard and autoscaler ask for what a server shows; alerts see what happens once."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from gameserver.runtime.metrics import LATENCY_BOUNDS_MS
from tests.scripts.deployed import DEPLOY, compose, documents, kind
from tests.scripts.scraped import SCRAPED, asked, shown, shown_at_first

# Needs named by those who run such servers, and the alert that answers each.
NEEDED = {
    "CommandsFail": "failed",
    "CommandsSlow": "> 500",
    "ConnectionsNearCapacity": "0.8 *",
    "CommandsRateLimited": "> 1000",
    "TokensRejected": "> 0.05",
    "StorageAway": "gameserver_slots_paused_total",
    "ShardsWithoutOwner": "gameserver_shards_owned",
    "ShardsTakenOver": "gameserver_takeovers_total",
    "LeasesLag": "gameserver_lease_lag_ms",
    "SlotsSkipped": "gameserver_slots_skipped_total",
    "Overloaded": "gameserver_overloaded == 1",
}
RANGES = re.compile(r"\$__(rate_interval|range)")


def alerts() -> list[dict[str, Any]]:
    """Every alert."""
    (document,) = documents(DEPLOY / "prometheus" / "alerts.yaml")
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    found = json.loads((DEPLOY / "grafana" / "dashboards" / "gameserver.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def targets() -> Iterator[dict[str, Any]]:
    """Every query of the dashboard."""
    for panel in dashboard()["panels"]:
        yield from panel.get("targets", [])


def expressions() -> dict[str, str]:
    """Every expression, by where it stands."""
    found = {rule["alert"]: rule["expr"] for rule in alerts()}
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


@pytest.mark.parametrize("place", expressions())
def test_an_expression_asks_for_what_a_server_shows(place: str) -> None:
    named = asked(expressions()[place])
    assert named.series
    assert named.series <= shown().keys()
    labels = {label for series in named.series for label in shown()[series]}
    assert named.labels <= labels | SCRAPED
    for series, label, value in named.values:
        assert label in SCRAPED or value in shown()[series][label], (label, value)


def test_a_name_that_no_server_shows_would_be_noticed() -> None:
    named = asked('sum by (job, odd) (rate(gameserver_odd_total{cause="x", job=~"$job"}[5m])) > 1')
    assert named.series == {"gameserver_odd_total"}
    assert named.labels == {"job", "odd", "cause"}
    assert named.values == {("gameserver_odd_total", "cause", "x")}
    assert not named.series <= shown().keys()


def test_all_alerts_that_are_needed_are_there() -> None:
    told = {rule["alert"]: rule["expr"] for rule in alerts()}
    assert len(told) == len(alerts()), "each has a name of its own"
    assert {name for name, part in NEEDED.items() if part not in told[name]} == set()


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "action"}
    shown_labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    # What is summed up has lost its other labels.
    kept = re.match(r"(?:sum|min|max) by \(([^)]*)\)", rule["expr"].strip())
    if kept:
        assert shown_labels <= set(re.findall(r"\w+", kept[1]))


def test_what_happens_for_the_first_time_is_seen_to_increase() -> None:
    # A series that begins with its first event never rises from zero, and nobody is told.
    for rule in alerts():
        if "increase(" in rule["expr"] and re.search(r"> 0\s*$", rule["expr"]):
            assert asked(rule["expr"]).series <= shown_at_first().keys(), rule["alert"]


def test_a_quantile_is_compared_with_a_bound_that_is_counted() -> None:
    for rule in alerts():
        if "histogram_quantile" in rule["expr"]:
            (bound,) = re.findall(r"> (\d+)\s*$", rule["expr"])
            assert int(bound) in LATENCY_BOUNDS_MS, rule["alert"]


def test_the_dashboard_uses_the_datasource_that_is_provided() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    (datasources,) = documents(folder / "datasources" / "prometheus.yaml")
    (source,) = datasources["datasources"]
    written = json.dumps(dashboard())
    assert set(re.findall(r'"uid": "([^"]*)"', written)) == {source["uid"], dashboard()["uid"]}
    assert source["url"] == "http://prometheus:9090"
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {variable["name"] for variable in dashboard()["templating"]["list"]}
    for target in targets():
        without_ranges = RANGES.sub("", target["expr"])
        assert set(re.findall(r"\$(\w+)", without_ranges)) <= variables


def test_grafana_and_prometheus_find_their_files() -> None:
    services = compose()["services"]
    (provider,) = documents(DEPLOY / "grafana/provisioning/dashboards/gameserver.yaml")
    path = provider["providers"][0]["options"]["path"]
    mounts = [volume.split(":") for volume in services["grafana"]["volumes"]]
    places = {inside: outside for outside, inside, *_ in mounts}
    assert (DEPLOY / places[path] / "gameserver.json").exists()
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{path}/gameserver.json"
    (prometheus,) = documents(DEPLOY / "prometheus" / "prometheus.yaml")
    assert [(DEPLOY / "prometheus" / name).exists() for name in prometheus["rule_files"]] == [True]
    assert prometheus["scrape_configs"][0]["job_name"] == "gameserver"
    command = services["prometheus"]["command"]
    assert "--config.file=/etc/prometheus/prometheus.yaml" in command


def test_the_autoscaler_goes_by_what_a_server_shows() -> None:
    (metric,) = kind("HorizontalPodAutoscaler")["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert name in shown_at_first()
    (adapter,) = documents(DEPLOY / "kubernetes" / "prometheus-adapter.yaml")
    assert [rule["seriesQuery"].partition("{")[0] for rule in adapter["rules"]["custom"]] == [name]
    target = int(metric["pods"]["target"]["averageValue"])
    assert target < int(kind("ConfigMap")["data"]["GS_CONNECTIONS_MAX"])

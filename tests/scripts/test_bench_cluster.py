"""The cluster on paper runs in small, and its figures are what they must be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.bench.cluster import main
from scripts.bench.cluster_model import Cluster, Speeds


def test_a_small_cluster_is_simulated_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    flags = ["--nodes", "10", "--shards", "200", "--rooms-per-shard", "2", "--load", "600"]
    assert main([*flags, "--json", str(path)]) == 0
    assert "processes killed" in capsys.readouterr().out
    report = json.loads(path.read_text("utf-8"))
    start, *changes = report["changes"]
    assert start["moved"] == 200
    assert start["most_over_mean"] == 1
    for change in changes:
        assert change["moved"] == change["share"], change
        assert change["most_over_mean"] < 1.1
    killed, frozen = report["outages"]
    assert killed["rooms"] == killed["shards"] * 2 == frozen["shards"] * 2 > 0
    assert killed["shards_taken_s"] < 0.3 < 1.5 < frozen["shards_taken_s"] < 3
    assert report["load"]["hottest_after"] <= report["load"]["hottest_before"]


def test_a_slower_database_brings_rooms_back_later() -> None:
    def last_ms(rooms_s: float) -> float:
        speeds = Speeds(database_rooms_s=rooms_s, rooms_per_shard=20)
        cluster = Cluster(60, speeds, seed=3)
        cluster.start(["a", "b", "c"])
        cluster.settle()
        died_ms = cluster.now_ms
        cluster.kill(["b"], seen=True)
        cluster.settle()
        assert len(cluster.room_open_ms) == 20 * 20
        return max(cluster.room_open_ms) - died_ms

    assert last_ms(100) > 4_000 > 1_500 > last_ms(1_000)


def test_the_same_seed_gives_the_same_cluster() -> None:
    def owners() -> dict[int, str]:
        cluster = Cluster(64, Speeds(), seed=5)
        cluster.start([f"n{number}" for number in range(6)])
        cluster.settle()
        cluster.kill(["n2"], seen=False)
        cluster.settle()
        return cluster.owners

    assert owners() == owners()

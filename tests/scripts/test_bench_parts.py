"""The benchmarks of single parts run in small, and all of them are listed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bench import commit, engine, recovery, slots
from scripts.bench.__main__ import benchmarks

ROOT = Path(__file__).resolve().parents[2]


def test_every_benchmark_is_listed_with_a_line_about_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    listed = dict(benchmarks())
    for name in ("rooms", "fanout", "connections", "wide", "many", "big_state"):
        assert name in listed
    for name, about in listed.items():
        assert callable(importlib.import_module(f"scripts.bench.{name}").main)
        assert about.endswith((".", ":"))
        assert f"{name:12} {about}\n" in done.stdout


def test_the_engine_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TICKS", 20)
    path = tmp_path / "report.json"
    assert engine.main(["--runs", "1", "--json", str(path)]) == 0
    figures = json.loads(path.read_text())["figures"]
    assert len(figures) == 7
    assert all(0 < one["best_us"] <= one["median_us"] for one in figures.values())


def test_a_slot_is_measured_with_and_without_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "BEATS", 20)
    path = tmp_path / "report.json"
    assert slots.main(["--rooms", "3", "--runs", "1", "--json", str(path)]) == 0
    figures = json.loads(path.read_text())["figures"]
    assert len(figures) == 4
    assert all(0 < one["best"] <= one["median"] for one in figures)


@pytest.mark.slow
def test_commits_are_measured_in_every_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "WARM_UP", 1)
    path = tmp_path / "report.json"
    few = ["--runs", "1", "--commits", "3", "--rounds", "3"]
    commit.main(["--sizes", "1,20", *few, "--json", str(path)])
    found = json.loads(path.read_text())["commits"]
    sizes = [(one["store"], one["kind"], one["size"]) for one in found]
    kinds = (commit.ENTRIES, commit.HOLDS, commit.SETTLEMENTS)
    assert sizes == [
        (store, kind, size) for store in commit.STORES for kind in kinds for size in (1, 20)
    ]
    assert all(one["commits"] == 3 and one["rows_s"] > 0 for one in found)


@pytest.mark.slow
def test_recovery_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "STARTS", 1)
    path = tmp_path / "report.json"
    assert recovery.main(["--entries", "50", "--runs", "2", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert len(report["entries_s"]) == 2
    assert len(report["starts_s"]) == 1

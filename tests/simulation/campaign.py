"""Many runs, spread over processes, added up; or one safeguard less, until somebody notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

from tests.simulation.ablations import without
from tests.simulation.cluster_world import world_of
from tests.simulation.world import KNOWN_AWAITS, Report

SEEDS_PER_TASK = 5


@dataclass
class Totals:
    """What came of a campaign."""

    seeds: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    virtual_s: float = 0.0
    failed: list[Report] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)

    def add(self, report: Report) -> None:
        """Take in one run."""
        self.seeds += 1
        self.counts.update(report.counts)
        self.faults += sum(report.faults.values())
        self.virtual_s += report.virtual_s
        self.digests[report.seed] = report.digest
        if report.violations:
            self.failed.append(report)


def run_seed(seed: int, ablation: str | None = None) -> Report:
    """Run one seed, perhaps without one of the safeguards."""
    if ablation is None:
        return world_of(seed).run()
    with without(ablation):
        report = world_of(seed).run()
    # What was replaced waits elsewhere than the product does; that is not what is missing.
    report.violations = [one for one in report.violations if one.invariant != KNOWN_AWAITS]
    return report


def run_seeds(seeds: Sequence[int], ablation: str | None = None) -> list[Report]:
    """Run some seeds in this process."""
    return [run_seed(seed, ablation) for seed in seeds]


def reports(seeds: range, processes: int, ablation: str | None = None) -> Iterator[Report]:
    """Yield the reports of a campaign in the order of its seeds."""
    if processes <= 1:
        for seed in seeds:
            yield run_seed(seed, ablation)
        return
    parts = [seeds[at : at + SEEDS_PER_TASK] for at in range(0, len(seeds), SEEDS_PER_TASK)]
    context: Any = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        try:
            for part in pool.map(run_seeds, parts, [ablation] * len(parts)):
                yield from part
        finally:
            pool.shutdown(cancel_futures=True)


def first_failure(seeds: range, processes: int, ablation: str) -> Report | None:
    """Return the first run in which somebody noticed that a safeguard is missing."""
    for report in reports(seeds, processes, ablation):
        if report.violations:
            return report
    return None

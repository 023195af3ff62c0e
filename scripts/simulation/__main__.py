"""The command line of the simulation; see ``--help``."""

from __future__ import annotations

import argparse
import resource
import sys
import time

from tests.simulation.ablations import ABLATIONS, without
from tests.simulation.campaign import Totals, first_failure, reports
from tests.simulation.cluster_world import world_of
from tests.simulation.coverage import REQUIRED, missing
from tests.simulation.history import Violation
from tests.simulation.world import Report

VIOLATIONS_SHOWN = 8
ABLATION_SEEDS = range(500)
SEEDS_THAT_COUNT = 200  # Fewer need not have met everything.


def main() -> int:
    """Run what was asked for; return the exit code."""
    options = _parser().parse_args()
    if options.seed is not None:
        return _run_one(options.seed, trace=options.trace, ablation=options.ablation)
    if options.ablation is not None:
        names = list(ABLATIONS) if options.ablation == "all" else [options.ablation]
        return _run_ablations(names, options.seeds or ABLATION_SEEDS, options.procs)
    return _run_campaign(options.seeds or range(1000), options.procs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Runs whole clusters on virtual time, each from one seed, with faults, and "
        "checks every promise. Exit code 1 if one was broken.",
    )
    parser.add_argument("--seeds", type=_seeds, metavar="A:B", help="seeds A to B-1 (0:1000)")
    parser.add_argument("--seed", type=int, metavar="N", help="one seed, with all it found")
    parser.add_argument("--trace", action="store_true", help="with --seed: tell all that happens")
    parser.add_argument(
        "--ablation",
        choices=[*ABLATIONS, "all"],
        metavar="NAME",
        help="switch one safeguard off (or each in turn: all) and expect it to be noticed: "
        + ", ".join(ABLATIONS),
    )
    parser.add_argument("--procs", type=int, default=2, metavar="P", help="processes (2)")
    return parser


def _seeds(text: str) -> range:
    first, _, after = text.partition(":")
    seeds = range(int(first), int(after) if after else int(first) + 1)
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text} names no seed")
    return seeds


def _run_one(seed: int, *, trace: bool, ablation: str | None) -> int:
    show = print if trace else None
    if ablation is None:
        report = world_of(seed, show=show).run()
    else:
        with without(ablation):
            report = world_of(seed, show=show).run()
    _tell_faults(report)
    print(f"trace  {report.digest}")
    for violation in report.violations:
        print(violation)
    print("every promise was kept" if not report.violations else f"{len(report.violations)} broken")
    return int(bool(report.violations) != (ablation is not None))


def _run_campaign(seeds: range, processes: int) -> int:
    began_s = time.monotonic()
    totals = Totals()
    for report in reports(seeds, processes):
        totals.add(report)
        if report.violations:
            _tell_failure(report)
    took_s = time.monotonic() - began_s
    used = resource.getrusage(resource.RUSAGE_CHILDREN if processes > 1 else resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime
    lacking = missing(totals.counts) if len(seeds) >= SEEDS_THAT_COUNT else []
    for name in REQUIRED:
        print(f"{totals.counts[name]:9}  {name}")
    print(
        f"{totals.seeds} seeds, {totals.faults} faults, {totals.virtual_s:.0f} virtual seconds "
        f"in {took_s:.1f} s ({cpu_s / totals.seeds:.2f} s of processor time a seed)"
    )
    if lacking:
        print(f"never met, so this campaign does not count: {', '.join(lacking)}")
    if totals.failed:
        print(f"promises broken in seeds {', '.join(str(one.seed) for one in totals.failed)}")
    else:
        print("every promise was kept")
    return int(bool(totals.failed or lacking))


def _run_ablations(names: list[str], seeds: range, processes: int) -> int:
    unnoticed = []
    for name in names:
        report = first_failure(seeds, processes, name)
        if report is None:
            unnoticed.append(name)
            print(f"{name:28} not noticed in {len(seeds)} seeds")
        else:
            print(f"{name:28} seed {report.seed:4}  {_short(report.violations[0])}")
        sys.stdout.flush()
    print(f"{len(names) - len(unnoticed)} of {len(names)} missing safeguards were noticed")
    return int(bool(unnoticed))


def _tell_failure(report: Report) -> None:
    print(f"seed {report.seed}: see it with scripts/simulate --seed {report.seed} --trace")
    for violation in report.violations[:VIOLATIONS_SHOWN]:
        print(f"  {_short(violation)}")
    more = len(report.violations) - VIOLATIONS_SHOWN
    if more > 0:
        print(f"  and {more} more")
    sys.stdout.flush()


def _tell_faults(report: Report) -> None:
    faults = ", ".join(f"{count} {name}" for name, count in sorted(report.faults.items()))
    print(f"seed {report.seed}: {report.virtual_s:.1f} virtual seconds with {faults}")


def _short(violation: Violation) -> str:
    return str(violation)[:200]


if __name__ == "__main__":
    sys.exit(main())

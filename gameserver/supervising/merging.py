"""The metrics of several workers as one page, each sample with the worker that it is of.

It knows Prometheus' text form, line by line, and none of the names in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Family:
    """What is said of a family, and its samples so far."""

    heads: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)


def merged(pages: Mapping[str, str]) -> str:
    """Return the pages of workers, by what they are called, as one.

    A family stands together, as Prometheus wants it; it is described by whoever has it first.
    """
    families: dict[str, _Family] = {}
    for worker, page in pages.items():
        _add(page, worker, families)
    lines = [line for one in families.values() for line in (*one.heads, *one.samples)]
    return "".join(f"{line}\n" for line in lines)


def _add(page: str, worker: str, families: dict[str, _Family]) -> None:
    own: dict[str, _Family] = {}
    family = _Family()  # Samples before any head belong to nothing that we know.
    for line in page.split("\n"):  # A label's value may hold other characters that end lines.
        if line.startswith(("# HELP ", "# TYPE ")):
            name = line.split(" ", 3)[2]
            family = own.setdefault(name, _Family())
            family.heads.append(line)
        elif line and not line.startswith("#"):
            family.samples.append(labelled(line, worker))
    for name, found in own.items():
        families.setdefault(name, _Family(found.heads)).samples.extend(found.samples)


def labelled(sample: str, worker: str) -> str:
    """Return a sample's line with the label of a worker before all others."""
    for place, character in enumerate(sample):
        if character == "{":
            rest = sample[place + 1 :]
            comma = "" if rest.startswith("}") else ","
            return f'{sample[:place]}{{worker="{worker}"{comma}{rest}'
        if character == " ":
            return f'{sample[:place]}{{worker="{worker}"}}{sample[place:]}'
    return sample

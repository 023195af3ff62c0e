"""What an audit found: sentences about what is wrong, each with the place where it is."""

from __future__ import annotations

from dataclasses import dataclass, field

FINDINGS_MAX = 1_000  # Whoever needs more knows enough.


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. Places that do not apply are None."""

    what: str
    shard: int | None = None
    link: int | None = None
    room: int | None = None
    entry: int | None = None


@dataclass(slots=True)
class Report:
    """All that was found, and how much was looked at. ``notes`` are no faults."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    findings_left_out: int = 0

    @property
    def is_sound(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.findings

    def find(
        self,
        what: str,
        *,
        shard: int | None = None,
        link: int | None = None,
        room: int | None = None,
        entry: int | None = None,
    ) -> None:
        """Note that something is wrong."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(what, shard, link, room, entry))
        else:
            self.findings_left_out += 1

    def note(self, text: str) -> None:
        """Note what whoever reads the report should know."""
        if len(self.notes) < FINDINGS_MAX:
            self.notes.append(text)

    def count(self, what: str, number: int = 1) -> None:
        """Count what was looked at."""
        self.counts[what] = self.counts.get(what, 0) + number

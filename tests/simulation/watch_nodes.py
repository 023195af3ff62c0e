"""Looks at nodes while they run: who has which shard, who robs whom, and who lets go in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gameserver.runtime.moving import STALE_MS
from persistence.ownership import NOBODY, Succession
from tests.simulation.directory import Hub
from tests.simulation.member import Member, url_of
from tests.simulation.store import Database

LETS_GO_WITHIN_S = 2.0
# By then everybody has heard of a node's start.
KNOWN_AFTER_S = 3.0

Violate = Callable[[str, str], None]


@dataclass
class NodeWatch:
    """Sees all nodes of a run. ``count`` notes what is rare."""

    database: Database
    hub: Hub
    members: Callable[[], Sequence[Member]]
    violate: Violate
    count: Callable[[str], None]
    # Since when a process could know that a newer owner has a shard of its.
    lost_since_s: dict[tuple[str, int], float] = field(default_factory=dict)
    told: set[tuple[str, int]] = field(default_factory=set)

    def _now_s(self) -> float:
        return self.database.loop.time()

    # --- At every taking.

    def on_take(self, node: str, shards: Sequence[int], succession: Succession | None) -> None:
        """Look at who takes shards from whom, before it happens."""
        for shard in shards:
            owner = self.database.claim_of(shard)
            if owner is None or succession is None:
                continue
            name, idle_ms = owner
            if name in (node, NOBODY):
                self.count("shard_taken_as_own")
            elif name in succession.dead:
                self.count("shard_taken_by_link")
            elif idle_ms >= STALE_MS:
                self.count("shard_taken_by_lapse")
            if name != node and idle_ms < STALE_MS:
                self._check_robbed(node, shard, name)

    def _check_robbed(self, node: str, shard: int, name: str) -> None:
        epoch = self.database.shard_states[shard].epoch
        for member in self.members():
            owned = member.node.keeper.owned.get(shard)
            if (
                member.node_name == name
                and member.is_serving
                and not member.process.is_frozen
                and self._now_s() - member.started_s > KNOWN_AFTER_S
                and owned is not None
                and owned.epoch == epoch
            ):
                self.violate("nobody is robbed", f"{node} takes {shard} of {member.name}")

    # --- All the time.

    def look(self) -> None:
        """See to it that whoever has lost a shard lets go of it, and of those who see its rooms."""
        lost: dict[tuple[str, int], float] = {}
        now_s = self._now_s()
        for member in self.members():
            is_hindered = member.process.is_frozen or not member.is_serving or self._is_bad(member)
            for shard, owned in member.node.keeper.owned.items():
                if owned.epoch >= self.database.shard_states[shard].epoch:
                    continue
                key = (member.name, shard)
                lost[key] = now_s if is_hindered else self.lost_since_s.get(key, now_s)
                if now_s - lost[key] > LETS_GO_WITHIN_S and key not in self.told:
                    self.told.add(key)
                    self.violate("who is fenced lets go", f"{member.name} keeps shard {shard}")
        self.lost_since_s = lost

    def _is_bad(self, member: Member) -> bool:
        """Tell whether storage cannot tell a process anything just now."""
        weather, now_s = self.database.weather, self._now_s()
        until_s = max(weather.slow_until_s, weather.away_until_s, weather.stalled_until_s)
        return until_s > now_s or member.link.is_deaf or member.node.committer.is_behind(100)

    # --- When all should be well.

    def disorder(self) -> str:
        """Return what is not yet as it should be, or nothing."""
        members = [one for one in self.members() if one.is_serving and one.cluster is not None]
        owners: dict[int, list[Member]] = {}
        for member in members:
            for shard in member.node.keeper.owned:
                owners.setdefault(shard, []).append(member)
        for shard in range(self.database.shards_of_cluster):
            having = owners.get(shard, [])
            if len(having) != 1:
                return f"shard {shard} has {[one.name for one in having]}"
            why = self._misjudged(shard, having[0], members)
            if why:
                return why
        return ""

    def _misjudged(self, shard: int, owner: Member, members: Sequence[Member]) -> str:
        """Return who is wrong about the owner of a shard."""
        if owner.node.keeper.owned[shard].epoch != self.database.shard_states[shard].epoch:
            return f"{owner.name} has lost shard {shard}"
        lease = self.hub.world.leases.get(shard)
        if lease is None or lease[0] != owner.node_name:
            return f"the lease of shard {shard} of {owner.name} is {lease}"
        for member in members:
            assert member.cluster is not None, "Only those who are members are asked."
            place = member.cluster.place_of(shard)
            expected = None if member is owner else url_of(owner.node_name)
            if (None if place is None else place.url) != expected:
                return f"{member.name} seeks shard {shard} at {place}, and it is at {owner.name}"
        return ""

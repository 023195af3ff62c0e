"""Looks at nodes while they run: who has which shard, who robs whom, and who lets go in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gameserver.runtime.moving import STALE_MS
from persistence.ownership import NOBODY, Succession
from tests.simulation.directory import Hub
from tests.simulation.member import Member, url_of
from tests.simulation.nemesis import THIEF
from tests.simulation.store import Database

LETS_GO_WITHIN_S = 2.0
TAKES_OVER_WITHIN_S = 4.5  # Of when its owner is known to be silent; others may die meanwhile.
STEADY_MS = 2_000
ALL_WELL_S = 0.5  # After an outage of storage: who waits longer is hindered by something else.
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
    ill_s: float = 0.0  # When storage was last out of order for all.
    # When each process was last hindered by what hindered not all.
    hindered_s: dict[str, float] = field(default_factory=dict)
    # Since when somebody could have taken a shard whose owner is silent.
    silent_since_s: dict[int, float] = field(default_factory=dict)

    def _now_s(self) -> float:
        return self.database.loop.time()

    # --- At every taking.

    def on_take(self, node: str, shards: Sequence[int], succession: Succession | None) -> None:
        """Look at who takes shards from whom, before it happens."""
        for shard in shards:
            owner = self.database.claim_of(shard)
            if owner is None or node == THIEF:
                continue
            name, idle_ms = owner
            if name in (node, NOBODY):
                self.count("shard_taken_as_own")
            elif succession is not None and name in succession.dead:
                self.count("shard_taken_by_link")
            else:
                self.count("shard_taken_by_lapse")
            # Who could not say that it lives, because nobody could, has not been silent. What was
            # asked for before anybody knew how storage is may come late all the same.
            is_ill = self.database.asked_s <= self.ill_s
            well_ms = idle_ms if is_ill else (self._now_s() - self.ill_s) * 1000
            if name not in (node, NOBODY) and min(idle_ms, well_ms) < STALE_MS:
                self._check_robbed(node, shard, name)

    def _check_robbed(self, node: str, shard: int, name: str) -> None:
        epoch = self.database.shard_states[shard].epoch
        for member in self.members():
            owned = member.node.keeper.owned.get(shard)
            if (
                member.node_name == name
                and member.is_serving
                and self._now_s() - self.hindered_s.get(member.name, 0.0) > KNOWN_AFTER_S
                and self._now_s() - member.started_s > KNOWN_AFTER_S
                and owned is not None
                and owned.epoch == epoch
            ):
                self.violate("nobody is robbed", f"{node} takes {shard} of {member.name}")

    def on_led(self, word: str, room_id: int, url: str) -> None:
        """Note whether somebody was sent to where a room is."""
        shard = room_id % self.database.shards_of_cluster
        there = [one for one in self.members() if url == url_of(one.node_name)]
        if not url:
            self.count(f"{word}_nowhere")
        elif any(shard in one.node.keeper.owned for one in there):
            self.count(f"{word}_rightly")
        else:
            self.count(f"{word}_wrongly")

    # --- All the time.

    def look(self) -> None:
        """See to it that whoever has lost a shard lets go of it, and of those who see its rooms."""
        lost: dict[tuple[str, int], float] = {}
        now_s, weather = self._now_s(), self.database.weather
        if max(weather.away_until_s, weather.stalled_until_s) > now_s:
            self.ill_s = now_s
        for member in self.members():
            is_alone_behind = (
                member.node.committer.is_behind(STALE_MS) and now_s - self.ill_s > ALL_WELL_S
            )
            if member.process.is_frozen or member.link.is_deaf or is_alone_behind:
                self.hindered_s[member.name] = now_s
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

        self._look_for_silent()

    def _look_for_silent(self) -> None:
        """See to it that whoever can takes what its owner does not serve any more."""
        now_s = self._now_s()
        can = any(self._is_sound(member) for member in self.members())
        silent: dict[int, float] = {}
        for shard in range(self.database.shards_of_cluster) if can else ():
            owner = self.database.claim_of(shard)
            if owner is not None and owner[1] >= STALE_MS:
                silent[shard] = since_s = self.silent_since_s.get(shard, now_s)
                if now_s - since_s > TAKES_OVER_WITHIN_S and ("", shard) not in self.told:
                    self.told.add(("", shard))
                    self.violate("what is silent is taken over", f"shard {shard} of {owner}")
        self.silent_since_s = silent

    def _is_sound(self, member: Member) -> bool:
        """Tell whether a process could take shards."""
        cluster, committer = member.cluster, member.node.committer
        return (
            cluster is not None
            and cluster.is_current
            and not cluster.is_draining
            and member.is_serving
            and not member.process.is_frozen
            and not self._is_bad(member)
            and committer.is_steady(STEADY_MS)
            and self._now_s() - member.started_s > KNOWN_AFTER_S
            and self.hub.away_until_s < self._now_s()
        )

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

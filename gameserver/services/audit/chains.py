"""Proves each shard's journal: nothing was edited, removed, put in another order, or cut off.

Links and entries are read side by side, in the order in which they were committed. A link's head
is computed anew from its entries; it must be what the link says, what the next link begins with,
what the shard's row ends with, and what a node has signed. Each entry must open under the identity
of its row, which names the very one that was touched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from gameserver.engine import inputs as i
from gameserver.runtime.batching import Seals, entry_identity
from gameserver.services.audit.heads import Heads
from gameserver.services.audit.report import Report
from persistence.auditing import (
    ChainedEntry,
    FloorRow,
    LinkRow,
    Records,
    ShardHead,
    SignedHead,
)
from persistence.interfaces import NO_HEAD, chained

Place = tuple[int, int]  # Shard and link.


@dataclass(slots=True)
class _Chain:
    """How far the chain of one shard was followed.

    ``signed`` are the heads that a node has signed, ``heads`` what is kept of the same links.
    """

    shard: int
    link: int = 0
    head: bytes = NO_HEAD
    floor_link: int = 0
    signed: list[SignedHead] = field(default_factory=list)
    heads: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class _Progress:
    """How far all rooms were followed, and the chain that is followed now."""

    chain: _Chain | None = None
    floors: dict[int, FloorRow] = field(default_factory=dict)
    ends: dict[int, ShardHead] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    last_numbers: dict[int, int] = field(default_factory=dict)
    last_ticks: dict[int, int] = field(default_factory=dict)


class ChainCheck:
    """Follows all chains of a database, and compares them with what was signed."""

    def __init__(self, records: Records, seals: Seals, report: Report) -> None:
        self._records = records
        self._seals = seals
        self._report = report
        self._progress = _Progress()

    async def run(self, heads: Heads) -> dict[int, int]:
        """Check everything; return the number of each room's last entry."""
        progress, records = self._progress, self._records
        progress.floors = {row.shard: row for row in await records.floors()}
        progress.ends = {row.shard: row for row in await records.shards()}
        for floor in progress.floors.values():
            self._report.note(f"shard {floor.shard}: verified from link {floor.link + 1} on")
        async for link, rows in self._grouped():
            shard = link[0] if isinstance(link, tuple) else link.shard
            chain = progress.chain
            if chain is None or chain.shard != shard:
                if chain is not None:
                    self._end(chain)
                chain = progress.chain = await self._begun(shard, heads)
            self._follow(chain, link, rows)
        if progress.chain is not None:
            self._end(progress.chain)
        others = progress.ends.keys() | progress.floors.keys() | await heads.shards()
        for shard in sorted(others - progress.done):
            self._end(await self._begun(shard, heads))
        return progress.last_numbers

    async def _begun(self, shard: int, heads: Heads) -> _Chain:
        chain = _Chain(shard, signed=await heads.of(shard))
        chain.heads = {row.link: NO_HEAD for row in chain.signed}
        floor = self._progress.floors.get(shard)
        if floor is not None:
            chain.link = chain.floor_link = floor.link
            chain.head = chain.heads[floor.link] = floor.head
        return chain

    def _end(self, chain: _Chain) -> None:
        self._progress.done.add(chain.shard)
        end = self._progress.ends.get(chain.shard)
        if end is not None or chain.link:
            self._check_end(end, chain)
        self._check_signed(chain)

    async def _grouped(self) -> AsyncIterator[tuple[LinkRow | Place, list[ChainedEntry]]]:
        """Yield each link with its entries; only its place where the link itself is missing."""
        links = self._records.links()
        link = await anext(links, None)
        async for rows in _by_link(self._records.chained()):
            place = (rows[0].entry.shard, rows[0].link)
            while link is not None and (link.shard, link.link) < place:
                yield link, []
                link = await anext(links, None)
            if link is not None and (link.shard, link.link) == place:
                yield link, rows
                link = await anext(links, None)
            else:
                yield place, rows
        while link is not None:
            yield link, []
            link = await anext(links, None)

    def _follow(self, chain: _Chain, link: LinkRow | Place, rows: list[ChainedEntry]) -> None:
        report = self._report
        report.count("entries", len(rows))
        for row in rows:
            self._check_entry(chain, row)
        if isinstance(link, tuple):
            first = rows[0].entry
            report.find(
                f"the link of {len(rows)} entries is missing",
                shard=chain.shard,
                link=link[1],
                room=first.room_id,
                entry=first.number,
            )
            return
        report.count("links")
        self._check_link(chain, link, rows)
        chain.link, chain.head = link.link, link.head
        if link.link in chain.heads:
            chain.heads[link.link] = link.head

    def _check_link(self, chain: _Chain, link: LinkRow, rows: list[ChainedEntry]) -> None:
        report = self._report
        if link.link <= chain.floor_link:
            report.find("what was pruned is still there", shard=link.shard, link=link.link)
            return
        if link.link != chain.link + 1:
            missing = f"{chain.link + 1} to {link.link - 1}"
            report.find(f"links {missing} are missing", shard=link.shard, link=chain.link + 1)
        elif link.prev_head != chain.head:
            report.find("it does not follow the link before it", shard=link.shard, link=link.link)
        if link.rows != len(rows):
            report.find(
                f"it was made of {link.rows} entries, and has {len(rows)}",
                shard=link.shard,
                link=link.link,
            )
        if chained(link.prev_head, (row.entry for row in rows)) != link.head:
            rooms = ", ".join(map(str, dict.fromkeys(row.entry.room_id for row in rows)))
            report.find(
                f"its entries (of rooms {rooms or 'none'}) are not those that were committed",
                shard=link.shard,
                link=link.link,
            )

    def _check_entry(self, chain: _Chain, row: ChainedEntry) -> None:
        entry, progress = row.entry, self._progress
        last = progress.last_numbers.get(entry.room_id)
        # Where the journal was pruned, a room may begin with any number.
        first = entry.number if last is None and chain.floor_link else 1
        expected = first if last is None else last + 1
        if entry.number > expected:
            told = f"entry {expected} is"
            if entry.number - 1 > expected:
                told = f"entries {expected} to {entry.number - 1} are"
            self._find(row, f"{told} missing before it")
        elif entry.number < expected:
            self._find(row, f"it stands after entry {last}")
        if entry.tick <= progress.last_ticks.get(entry.room_id, -1):
            self._find(row, "its tick is not later than that of the entry before it")
        progress.last_numbers[entry.room_id] = entry.number
        progress.last_ticks[entry.room_id] = entry.tick
        try:
            identity = entry_identity(entry.room_id, entry.number)
            read = i.read_entry(self._seals.open(entry.payload, identity))
        except Exception as error:  # Whatever seals and decoders think of altered bytes.
            self._find(row, f"it cannot be opened: {error}")
            return
        if read.tick != entry.tick:
            self._find(row, f"it was decided at tick {read.tick}, and is kept as of {entry.tick}")

    def _find(self, row: ChainedEntry, what: str) -> None:
        entry = row.entry
        self._report.find(
            what, shard=entry.shard, link=row.link, room=entry.room_id, entry=entry.number
        )

    def _check_end(self, end: ShardHead | None, chain: _Chain) -> None:
        report = self._report
        report.count("shards")
        if end is None:
            report.find("the shard's row is missing", shard=chain.shard)
        elif end.link > chain.link:
            what = f"links {chain.link + 1} to {end.link} are cut off"
            report.find(what, shard=chain.shard, link=chain.link + 1)
        elif end.link < chain.link:
            what = f"the shard's row ends with link {end.link}, and there are more"
            report.find(what, shard=chain.shard, link=end.link)
        elif end.head != chain.head:
            what = "the shard's row has another head than its last link"
            report.find(what, shard=chain.shard, link=end.link)

    def _check_signed(self, chain: _Chain) -> None:
        for row in chain.signed:
            if row.link < chain.floor_link:
                continue  # What it vouched for was pruned.
            self._report.count("signed_heads")
            if row.link > chain.link:
                what = f"links up to {row.link} were signed, and the last kept is {chain.link}"
                self._report.find(what, shard=row.shard, link=chain.link + 1)
            elif chain.heads[row.link] != row.head:
                what = "a node has signed another head for it"
                self._report.find(what, shard=row.shard, link=row.link)


async def _by_link(rows: AsyncIterator[ChainedEntry]) -> AsyncIterator[list[ChainedEntry]]:
    group: list[ChainedEntry] = []
    async for row in rows:
        if group and (row.entry.shard, row.link) != (group[0].entry.shard, group[0].link):
            yield group
            group = []
        group.append(row)
    if group:
        yield group

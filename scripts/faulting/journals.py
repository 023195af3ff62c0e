"""Every entry done again: what players were told must follow from the journal, and nothing else.

Each room is replayed from its journal alone and from each of its snapshots; the results are
compared with each other, with the money in the database, and with what players wrote down. The
hash chain of each shard is computed anew with the function that servers use.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from gameserver.engine.game import Game
from gameserver.runtime.batching import Seals
from persistence.interfaces import NO_HEAD, EntryRow, SnapshotRow, chained
from protocol.messages import Outcome, OutcomeKind
from scripts.faulting.database import Connection
from scripts.faulting.players import History, Sent, Sighting
from scripts.faulting.replays import Replayed, replay

ROWS_AT_ONCE = 1_000


@dataclass
class Findings:
    """What was compared, how often, and what did not hold."""

    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


async def examined(
    connection: Connection, games: Mapping[str, Game[Any]], seals: Seals, history: History
) -> Findings:
    """Compare everything; nothing may write to the database meanwhile."""
    findings = Findings()
    await check_chains(connection, findings)
    told: dict[int, list[Sent]] = {}
    for sent in history.sent:
        told.setdefault(sent.room, []).append(sent)
    seen: dict[int, list[Sighting]] = {}
    for sighting in history.sightings:
        seen.setdefault(sighting.room, []).append(sighting)
    rooms = await connection.fetch("SELECT room_id, game FROM room ORDER BY serial")
    for room_id, game in rooms:
        entries = await _entries(connection, room_id)
        snapshots = await _snapshots(connection, room_id)
        done = replay(games[game], seals, entries, snapshots, seen.pop(room_id, []))
        findings.faults += [f"room {room_id} ({game}): {fault}" for fault in done.faults]
        findings.counts.update(done.counts)
        findings.counts["rooms_replayed"] += 1
        await _check_money(connection, room_id, done, findings)
        check_history(done, told.pop(room_id, []), findings)
    for room_id in (*told, *seen):
        findings.faults.append(f"room {room_id}, which players saw, is not there")
    return findings


# --- The chain.


async def check_chains(connection: Connection, findings: Findings) -> None:
    """Compute each shard's heads anew from its entries."""
    heads: dict[int, tuple[int, bytes]] = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        links = {
            (row["shard"], row["link"]): (row["prev_head"], row["head"], row["rows"])
            for row in await connection.fetch("SELECT * FROM journal_link")
        }
        async for shard, link, rows in _linked(connection):
            last_link, last_head = heads.get(shard, (0, NO_HEAD))
            stored = links.pop((shard, link), None)
            head = chained(last_head, rows)
            if link != last_link + 1 or stored != (last_head, head, len(rows)):
                findings.faults.append(f"shard {shard}: link {link} does not follow")
            heads[shard] = (link, head)
            findings.counts["links_checked"] += 1
        shards = await connection.fetch("SELECT shard, link, head FROM shard")
    for shard, link in links:
        findings.faults.append(f"shard {shard}: link {link} has no entries")
    for row in shards:
        if heads.get(row["shard"], (0, NO_HEAD)) != (row["link"], row["head"]):
            findings.faults.append(f"shard {row['shard']}: the head is not that of the journal")


async def _linked(connection: Connection) -> AsyncIterator[tuple[int, int, list[EntryRow]]]:
    """Yield each link's entries in their order."""
    rows: list[EntryRow] = []
    at = (-1, 0)
    sql = (
        "SELECT shard, link, room_id, number, tick, payload FROM journal"
        " ORDER BY shard, link, place"
    )
    async for shard, link, *entry in connection.cursor(sql, prefetch=ROWS_AT_ONCE):
        if (shard, link) != at and rows:
            yield (*at, rows)
            rows = []
        at = (shard, link)
        rows.append(EntryRow(shard, *entry))
    if rows:
        yield (*at, rows)


async def _entries(connection: Connection, room_id: int) -> list[EntryRow]:
    sql = (
        "SELECT shard, room_id, number, tick, payload FROM journal WHERE room_id = $1"
        " ORDER BY number"
    )
    return [EntryRow(*row) for row in await connection.fetch(sql, room_id)]


async def _snapshots(connection: Connection, room_id: int) -> list[SnapshotRow]:
    sql = (
        "SELECT room_id, number, tick, rules_version, state_hash, payload FROM snapshot"
        " WHERE room_id = $1 ORDER BY number"
    )
    return [SnapshotRow(*row) for row in await connection.fetch(sql, room_id)]


# --- Money.


async def _check_money(
    connection: Connection, room_id: int, done: Replayed, findings: Findings
) -> None:
    """Expect in the database the holds, endings, bookings and results of the journal, no others."""
    rows = await connection.fetch(
        "SELECT reference, account, amount, ruling, state, payout FROM hold WHERE room_id = $1",
        room_id,
    )
    stored = {row["reference"]: (row["account"], row["amount"]) for row in rows}
    rulings = {row["reference"]: int(row["ruling"]) for row in rows}
    settled = {row["reference"]: row["payout"] for row in rows if row["state"] == "settled"}
    released = {row["reference"] for row in rows if row["state"] == "released"}
    results = await connection.fetch(
        "SELECT round_number, tick, payload FROM result WHERE room_id = $1", room_id
    )
    booked = await connection.fetch(
        "SELECT reference, CASE debit_kind WHEN 'escrow' THEN amount ELSE -amount END AS amount"
        " FROM transfer WHERE kind = 'book' AND reference LIKE $1",
        f"{room_id}#%",
    )
    for what, journal, database in (
        ("holds", done.holds, stored),
        ("settlements", done.settled, settled),
        ("releases", done.released, released),
        ("results", done.results, {row[0]: (row[1], row[2]) for row in results}),
        ("bookings", done.booked, {row[0]: row[1] for row in booked}),
    ):
        findings.counts[f"{what}_compared"] += len(journal)
        if journal != database:
            findings.faults.append(f"room {room_id}: {what} are others than in the journal")
    for reference, code in done.verdicts.items():
        if rulings.get(reference) != code + 1:
            findings.faults.append(f"room {room_id}: another verdict on {reference}")
    done.rule({reference: ruling - 1 for reference, ruling in rulings.items()})


# --- What players were told.


def check_history(done: Replayed, sent: Sequence[Sent], findings: Findings) -> None:
    """Expect each outcome in the journal as it was told, and of a deferral nothing."""
    for one in sent:
        recorded = done.commands.get((one.account, one.number))
        if isinstance(one.answer, Outcome):
            findings.counts["outcomes_compared"] += 1
            if recorded is None:
                findings.faults.append(f"lost: {one}")
                findings.counts["lost"] += 1
            elif recorded != (_code_of(one.answer), one.answer.tick):
                findings.faults.append(f"told otherwise than recorded as {recorded}: {one}")
                findings.counts["altered"] += 1
        elif type(one.answer).__name__ in ("CommandDeferred", "CommandInvalid"):
            findings.counts["refusals_before_a_tick"] += 1
            if recorded is not None:
                findings.faults.append(f"put off, and done all the same: {one}")
                findings.counts["altered"] += 1
        else:
            findings.counts["fates_unknown"] += 1
    for (account, number), times in groupby(sorted(done.repeats)):
        count = 1 + len(list(times))
        findings.faults.append(f"done {count} times: command {number} of {account}")
        findings.counts["duplicated"] += 1
    findings.counts["commands_recorded"] += len(done.commands)


def _code_of(outcome: Outcome) -> int:
    return -1 if outcome.kind == OutcomeKind.FAILED else outcome.code

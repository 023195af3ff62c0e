"""The whole proof of the journal, put together: chains, signed heads, snapshots, replays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gameserver.engine.game import Game
from gameserver.runtime.batching import Seals
from gameserver.services.audit.chains import ChainCheck
from gameserver.services.audit.heads import Heads
from gameserver.services.audit.replays import ReplayCheck
from gameserver.services.audit.report import Report
from persistence.auditing import Records


@dataclass(frozen=True, slots=True)
class Trust:
    """What a journal is checked with: keys, games, and the lines of the file of heads."""

    seals: Seals
    key: Ed25519PublicKey
    games: Mapping[str, Game[Any]]
    lines: Iterable[str] = ()


async def verify_journal(
    records: Records, trust: Trust, *, room_id: int | None = None, replay: bool = False
) -> Report:
    """Return what is wrong with the journal; with ``room_id`` snapshots and replays of one room."""
    report = Report()
    heads = Heads(records, trust.lines, trust.key, report)
    last_numbers = await ChainCheck(records, trust.seals, report).run(heads)
    rooms = [row async for row in records.rooms()]
    check = ReplayCheck(records, trust.games, trust.seals, report)
    for row in rooms:
        if room_id in (None, row.room_id):
            await check.check_snapshots(row, last_numbers.get(row.room_id, 0))
            if replay:
                await check.replay(row)
    if replay:
        await check.money.compare(records)
    if room_id is not None and room_id not in {row.room_id for row in rooms}:
        report.find("there is no such room", room=room_id)
    return report

"""Hands on a database: changes past all guards, and the proofs that should notice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import asyncpg

from gameserver.services.audit.books import check_books
from gameserver.services.audit.journal import Trust, verify_journal
from gameserver.services.audit.report import Report
from persistence.postgres.records import reading
from tests.services.audit.rounds import GAMES, KEY, SEALER


async def tamper(dsn: str, *statements: str, values: Iterable[Any] = ()) -> None:
    """Run statements as a superuser whom no trigger stops."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET session_replication_role = replica")
        for sql in statements:
            await connection.execute(sql, *values)
    finally:
        await connection.close()


async def fetch(dsn: str, sql: str, *values: Any) -> list[asyncpg.Record]:
    """Return rows."""
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(sql, *values))
    finally:
        await connection.close()


async def books(dsn: str) -> Report:
    """Prove the books."""
    async with reading(dsn) as records:
        return await check_books(records)


async def journal(
    dsn: str, *, replay: bool = True, lines: Iterable[str] = (), room_id: int | None = None
) -> Report:
    """Prove the journal."""
    trust = Trust(SEALER, KEY.public_key(), GAMES, lines)
    async with reading(dsn) as records:
        return await verify_journal(records, trust, room_id=room_id, replay=replay)


def told(report: Report) -> str:
    """Return all findings as text."""
    return "\n".join(map(str, report.findings))

"""What is pruned from the journal, what stays, and that what stays is still proven."""

from __future__ import annotations

import asyncpg
import pytest

from gameserver.runtime.clock import SystemClock
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.recovery import Recovery
from gameserver.services.audit.heads import head_line
from persistence.auditing import Pruned, SignedHead
from persistence.postgres.records import prune
from tests.services.audit.rounds import GAMES, SEALER, Stake, recorder
from tests.services.audit.tampering import books, fetch, journal, tamper, told

DAY_S = 86_400.0
AGED = "UPDATE journal_link SET made_at = now() - interval '2 days' WHERE {}"


async def _numbers(dsn: str, room_id: int) -> list[int]:
    rows = await fetch(
        dsn, "SELECT number FROM journal WHERE room_id = $1 ORDER BY number", room_id
    )
    return [row["number"] for row in rows]


async def test_nothing_young_is_pruned(own_dsn: str) -> None:
    assert await prune(own_dsn, DAY_S) == Pruned(0, 0, 0, 0)
    assert told(await journal(own_dsn)) == ""


async def test_open_rooms_keep_what_their_snapshots_need(
    own_dsn: str, heads: list[SignedHead]
) -> None:
    """Room 1 has two snapshots, room 65 of its shard only one, and room 2 has none."""
    await tamper(own_dsn, AGED.format("true"))
    assert await prune(own_dsn, DAY_S) == Pruned(1, 1, 0, 0)  # Only before room 65 began.
    assert (await _numbers(own_dsn, 65))[0] == 1
    await tamper(own_dsn, "UPDATE room SET status = 2 WHERE room_id = 65")
    oldest = (await fetch(own_dsn, "SELECT min(number) FROM snapshot WHERE room_id = 1"))[0][0]
    pruned = await prune(own_dsn, DAY_S)
    assert pruned.entries > 10
    assert (await _numbers(own_dsn, 1))[0] == oldest + 1
    assert (await _numbers(own_dsn, 2))[0] == 1
    report = await journal(own_dsn, lines=[head_line(row) + "\n" for row in heads])
    assert told(report) == ""
    ((link,),) = await fetch(own_dsn, "SELECT max(link) FROM journal_floor WHERE shard = 1")
    assert f"shard 1: verified from link {link + 1} on" in report.notes
    assert await fetch(own_dsn, "SELECT * FROM broken_link") == []
    assert told(await books(own_dsn)) == ""


async def test_a_pruned_journal_still_finds_what_is_done_to_the_rest(own_dsn: str) -> None:
    await tamper(
        own_dsn, AGED.format("true"), "UPDATE room SET status = 2 WHERE room_id IN (65, 2)"
    )
    await prune(own_dsn, DAY_S)
    first, *_, last = await _numbers(own_dsn, 1)
    await tamper(own_dsn, f"DELETE FROM journal WHERE room_id = 1 AND number = {first}")
    assert "are not those that were committed" in told(await journal(own_dsn, replay=False))
    await tamper(own_dsn, f"UPDATE journal SET payload = '' WHERE room_id = 1 AND number = {last}")
    assert f"entry={last}" in told(await journal(own_dsn, replay=False))
    await tamper(own_dsn, "DELETE FROM journal_floor")
    assert "are missing" in told(await journal(own_dsn, replay=False))


async def test_a_young_link_stops_the_pruning_though_older_ones_follow_it(own_dsn: str) -> None:
    await tamper(
        own_dsn, AGED.format("link <> 4"), "UPDATE room SET status = 2 WHERE room_id IN (1, 65, 2)"
    )
    assert (await prune(own_dsn, DAY_S)).links == 2 * 3
    ((first,),) = await fetch(own_dsn, "SELECT min(link) FROM journal_link")
    assert first == 4


async def test_rooms_that_have_ended_lose_their_snapshots_with_their_last_entry(
    own_dsn: str,
) -> None:
    await tamper(own_dsn, "UPDATE room SET status = 2", AGED.format("link < 30"))
    assert (await prune(own_dsn, DAY_S)).snapshots == 0
    await tamper(own_dsn, AGED.format("true"))
    assert (await prune(own_dsn, DAY_S)).snapshots == 3
    assert await fetch(own_dsn, "SELECT 1 FROM journal") == []
    assert await prune(own_dsn, DAY_S) == Pruned(0, 0, 0, 0)
    assert told(await journal(own_dsn)) == ""
    assert await fetch(own_dsn, "SELECT * FROM broken_link") == []


async def test_a_pruned_room_is_recovered_and_goes_on(empty_dsn: str) -> None:
    async with recorder(empty_dsn) as played:
        opened = await played.open(1, 101, 102)
        await played.round(1)
        await played.snapshot(1)
        await played.round(1)
        await played.snapshot(1)
        await tamper(empty_dsn, AGED.format("true"))
        assert (await prune(empty_dsn, DAY_S)).entries > 0
        row = await played.store.room(1)
        assert row is not None
        recovery = Recovery(played.store, GAMES, SEALER, SystemClock(), Metrics())
        right = played.keeper.right(played.keeper.owned[1])
        again = await recovery.open(row, 0, 600, right)
        assert again.room.digest == opened.room.digest
        await played.command(1, 0, Stake(5))
        await played.round(1)
        owned = played.keeper.owned[1]
        assert owned.link == (await played.store.take_shards("other", [1]))[0].link
    assert told(await journal(empty_dsn)) == ""


async def test_old_answers_are_swept(own_dsn: str) -> None:
    await tamper(own_dsn, "UPDATE batch SET stored_at = now() - interval '2 hours'")
    assert (await prune(own_dsn, DAY_S)).answers > 50
    assert await fetch(own_dsn, "SELECT 1 FROM batch") == []


async def test_nobody_but_the_pruning_removes_anything(own_dsn: str) -> None:
    for table in ("journal", "journal_link", "transfer", "result", "signed_head", "journal_floor"):
        column = "amount" if table == "transfer" else "shard"
        for sql in ("DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET {} = 1"):
            with pytest.raises(asyncpg.PostgresError, match="append-only"):
                await fetch(own_dsn, sql.format(table, column))
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await fetch(own_dsn, "WITH p AS (SELECT prune_journal('0 s')) DELETE FROM transfer")

"""Whatever is done to money or journal behind the server's back is found and named."""

from __future__ import annotations

import random

import pytest

from gameserver.services.audit.heads import accepted_line, head_line
from gameserver.services.audit.report import Report
from persistence.auditing import SignedHead
from tests.services.audit.rounds import Stake, recorder
from tests.services.audit.tampering import books, fetch, journal, tamper, told

FLIP = "set_byte(payload, {at}, get_byte(payload, {at}) # 1)"
ENTRY = "UPDATE journal SET {} WHERE room_id = 1 AND number = 7"


async def test_what_was_only_recorded_is_sound(own_dsn: str, heads: list[SignedHead]) -> None:
    report = await books(own_dsn)
    assert told(report) == ""
    assert report.counts["transfers"] > 50
    report = await journal(own_dsn, lines=[head_line(row) + "\n" for row in heads])
    assert told(report) == ""
    assert report.counts["results"] == 8
    assert report.counts["signed_heads"] == 4
    assert report.counts["rooms_replayed"] == 3
    assert report.counts["entries_replayed"] > report.counts["entries"]


async def test_money_that_stands_in_a_round_is_sound(empty_dsn: str) -> None:
    async with recorder(empty_dsn) as played:
        await played.open(1, 101, 102)
        await played.command(1, 0, Stake(10))
        await played.command(1, 1, Stake(2000))
    assert told(await books(empty_dsn)) == ""
    assert told(await journal(empty_dsn)) == ""


# --- Money.


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        (
            "UPDATE account SET balance = balance + 5 WHERE kind = 'player' AND number = 101",
            ["account 101 has", "all balances together come to 5"],
        ),
        (
            "UPDATE account SET balance = balance + CASE number WHEN 101 THEN 5 ELSE -5 END"
            " WHERE kind = 'player' AND number IN (101, 103)",
            ["account 101 has", "account 103 has"],
        ),
        (
            "UPDATE transfer SET amount = amount + 7 WHERE kind = 'settle' AND reference = '1.2'",
            ["hold '1.2' of account 102 is settled: its settle should be 40", "account 102 has"],
        ),
        (
            "DELETE FROM transfer WHERE kind = 'hold' AND reference = '65.1'",
            ["hold '65.1' of account 103 is settled, but its hold of 10 was never transferred"],
        ),
        (
            "DELETE FROM hold WHERE reference = '65.1'",
            ["there is no hold '65.1'"],
        ),
        (
            "UPDATE hold SET state = 'released', payout = NULL WHERE reference = '1.2'",
            ["its release of 20 was never transferred", "is released, but there is a settle of 40"],
        ),
        (
            "UPDATE hold SET state = 'held', payout = NULL WHERE reference = '1.1'; "
            "UPDATE room SET status = 2 WHERE room_id = 1",
            ["the room has ended, but 1 of its holds stand"],
        ),
        (
            "UPDATE hold SET payout = 41 WHERE reference = '1.2'",
            ["its settle should be 41 from the escrow of room 1 to account 102, but is 40"],
        ),
        (
            "UPDATE transfer SET credit_number = 103 WHERE kind = 'settle' AND reference = '1.2';"
            "UPDATE account SET balance = balance - 40 WHERE kind = 'player' AND number = 102;"
            "UPDATE account SET balance = balance + 40 WHERE kind = 'player' AND number = 103",
            ["hold '1.2' of account 102"],
        ),
        (
            "ALTER TABLE account DROP CONSTRAINT players_owe_nothing; "
            "UPDATE account SET balance = -1 WHERE kind = 'player' AND number = 104",
            ["account 104 has less than nothing: -1"],
        ),
        (
            "UPDATE account SET balance = 9 WHERE kind = 'escrow' AND number = 2",
            ["the escrow of room 2 has 9", "room=2"],
        ),
        (
            "INSERT INTO transfer (kind, reference, debit_kind, debit_number, credit_kind,"
            " credit_number, amount) VALUES ('settle', 'forged', 'house', 1, 'player', 101, 50)",
            ["a settle of 50 cannot move money from the house of shard 1", "no hold 'forged'"],
        ),
        (
            "DELETE FROM account WHERE kind = 'player' AND number = 106",
            ["account 106 is missing"],
        ),
    ],
)
async def test_an_edit_of_the_books_is_named(own_dsn: str, sql: str, named: list[str]) -> None:
    await tamper(own_dsn, sql)
    found = told(await books(own_dsn))
    for part in named:
        assert part in found


# --- The journal.


def _names(report: Report, room: int, entry: int) -> bool:
    return any((one.room, one.entry) == (room, entry) for one in report.findings)


@pytest.mark.parametrize(
    "change",
    [
        f"payload = {FLIP.format(at=40)}",
        f"payload = {FLIP.format(at=0)}",
        f"payload = {FLIP.format(at=3)}",
        "payload = payload || ''::bytea || '\\x00'",
        "payload = ''",
        "tick = tick - 1",
        "number = 70",
        "payload = (SELECT payload FROM journal WHERE room_id = 1 AND number = 8)",
    ],
)
async def test_an_edited_entry_is_named(own_dsn: str, change: str) -> None:
    await tamper(own_dsn, ENTRY.format(change))
    report = await journal(own_dsn, replay=False)
    entry = 70 if change.startswith("number") else 7
    assert _names(report, 1, entry)
    assert "are not those that were committed" in told(report)


async def test_a_removed_entry_is_named_with_its_link(own_dsn: str) -> None:
    ((link,),) = await fetch(own_dsn, "SELECT link FROM journal WHERE room_id = 1 AND number = 7")
    await tamper(own_dsn, "DELETE FROM journal WHERE room_id = 1 AND number = 7")
    report = await journal(own_dsn)
    assert "entry 7 is missing before it" in told(report)
    assert any((one.shard, one.link) == (1, link) for one in report.findings)


async def test_a_removed_link_is_named_even_with_its_entries(own_dsn: str) -> None:
    gone = "WHERE shard = 1 AND link BETWEEN 5 AND 6"
    await tamper(own_dsn, f"DELETE FROM journal_link {gone}", f"DELETE FROM journal {gone}")
    report = await journal(own_dsn)
    assert "links 5 to 6 are missing" in told(report)
    assert "entries 4 to 5 are missing before it" in told(report)


async def test_entries_in_another_order_are_named(own_dsn: str) -> None:
    swap = "UPDATE journal SET number = CASE number {} ELSE number END WHERE room_id = 1"
    await tamper(
        own_dsn,
        swap.format("WHEN 7 THEN 1008 WHEN 8 THEN 1007"),
        swap.format("WHEN 1008 THEN 8 WHEN 1007 THEN 7"),
    )
    report = await journal(own_dsn)
    assert _names(report, 1, 7)
    assert _names(report, 1, 8)
    assert "it stands after entry 8" in told(report)


async def test_a_journal_that_was_cut_off_is_found(own_dsn: str) -> None:
    ((last,),) = await fetch(own_dsn, "SELECT link FROM shard WHERE shard = 1")
    await tamper(own_dsn, f"DELETE FROM journal WHERE shard = 1 AND link > {last - 3}")
    assert f"{last - 3 + 1}" in told(await journal(own_dsn))
    await tamper(own_dsn, f"DELETE FROM journal_link WHERE shard = 1 AND link > {last - 3}")
    assert f"links {last - 2} to {last} are cut off" in told(await journal(own_dsn))


async def _rewound(dsn: str) -> None:
    """Cut a shard's journal off, together with all that the database says of it."""
    cut = "WHERE shard = 1 AND link > 9"
    await tamper(
        dsn,
        "DELETE FROM snapshot WHERE number > 5",
        f"DELETE FROM journal {cut}",
        f"DELETE FROM journal_link {cut}",
        "DELETE FROM result WHERE shard = 1 AND (room_id <> 1 OR round_number > 1)",
        "UPDATE shard SET link = 9, head ="
        " (SELECT head FROM journal_link WHERE shard = 1 AND link = 9) WHERE shard = 1",
        "DELETE FROM signed_head WHERE shard = 1",
    )


async def test_only_the_file_of_heads_finds_a_journal_that_was_cut_off_without_a_trace(
    own_dsn: str, heads: list[SignedHead]
) -> None:
    await _rewound(own_dsn)
    assert told(await journal(own_dsn, replay=False)) == ""
    assert "nobody asked for the hold '1.12'" in told(await journal(own_dsn))
    lines = [head_line(row) + "\n" for row in heads]
    report = await journal(own_dsn, lines=lines, replay=False)
    (finding,) = report.findings
    assert (finding.shard, finding.link) == (1, 10)
    assert f"links up to {heads[0].link} were signed" in finding.what
    accepted = [*lines, accepted_line([1], 1) + "\n", '{"shard": 1, "li']
    assert told(await journal(own_dsn, lines=accepted, replay=False)) == ""


async def test_a_snapshot_without_its_entries_finds_a_journal_that_was_cut_off(
    own_dsn: str,
) -> None:
    (kept,) = await fetch(own_dsn, "SELECT * FROM snapshot WHERE room_id = 65")
    await _rewound(own_dsn)
    await tamper(
        own_dsn,
        "INSERT INTO snapshot VALUES ($1, $2, $3, $4, $5, $6)",
        values=tuple(kept.values()),
    )
    report = await journal(own_dsn)
    assert f"a snapshot of entry {kept['number']}, and the last kept is" in told(report)


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("UPDATE journal_link SET head = sha256('x') WHERE shard = 1 AND link = 4", "link=4"),
        ("UPDATE journal_link SET prev_head = sha256('x') WHERE shard = 1 AND link = 4", "link=4"),
        ("UPDATE journal_link SET rows = 9 WHERE shard = 1 AND link = 4", "made of 9 entries"),
        ("DELETE FROM journal_link WHERE shard = 1 AND link = 4", "the link of 1 entries is miss"),
        ("DELETE FROM shard WHERE shard = 1", "the shard's row is missing"),
        ("UPDATE shard SET head = sha256('x') WHERE shard = 1", "another head than its last link"),
        ("UPDATE shard SET link = link - 1 WHERE shard = 1", "and there are more"),
        ("UPDATE signed_head SET head = sha256('x') WHERE shard = 1", "not its own"),
        ("UPDATE signed_head SET link = link + 1 WHERE shard = 1", "not its own"),
        ("UPDATE signed_head SET key_id = sha256('x') WHERE shard = 1", "made with another key"),
        (
            "UPDATE snapshot SET payload = set_byte(payload, 30, 1 # get_byte(payload, 30))",
            "its snapshot cannot be used",
        ),
        ("UPDATE snapshot SET state_hash = sha256('x')", "its snapshot cannot be used"),
    ],
)
async def test_an_edit_around_the_entries_is_found(own_dsn: str, sql: str, named: str) -> None:
    await tamper(own_dsn, sql)
    assert named in told(await journal(own_dsn, replay=False))


async def test_a_chain_that_was_made_anew_is_not_what_was_signed(own_dsn: str) -> None:
    """Who knows the keys that seal, and not the one that signs, still is found out."""
    again = """
        DO $$ DECLARE l record; before bytea; now bytea; BEGIN
            before := decode(repeat('00', 32), 'hex');
            FOR l IN SELECT shard, link FROM journal_link WHERE shard = 1 ORDER BY link LOOP
                SELECT sha256(before || string_agg(
                    link_bytes(room_id, number, tick, payload), ''::bytea ORDER BY place))
                INTO now FROM journal WHERE shard = 1 AND link = l.link;
                UPDATE journal_link SET prev_head = before, head = now
                WHERE shard = 1 AND link = l.link;
                before := now;
            END LOOP;
            UPDATE shard SET head = before WHERE shard = 1;
        END $$"""
    await tamper(own_dsn, again)
    assert told(await journal(own_dsn)) == ""  # The very same, for nothing was edited.
    swap = "UPDATE journal SET payload = $1, tick = $2 WHERE room_id = 1 AND number = $3"
    rows = await fetch(
        own_dsn, "SELECT payload, tick FROM journal WHERE room_id = 1 AND number IN (7, 8)"
    )
    await tamper(own_dsn, swap, values=(rows[0]["payload"], rows[0]["tick"] - 1, 7))
    await tamper(own_dsn, again)
    found = told(await journal(own_dsn, replay=False))
    assert "a node has signed another head for it" in found


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("UPDATE result SET payload = 'won' WHERE room_id = 65 AND round_number = 2", "is not the"),
        ("UPDATE result SET tick = 1 WHERE room_id = 65 AND round_number = 2", "is not the one"),
        ("DELETE FROM result WHERE room_id = 65 AND round_number = 2", "is missing"),
        ("INSERT INTO result VALUES (65, 9, 1, 9, 'won')", "was never recorded"),
    ],
)
async def test_an_edited_result_is_found_by_replay(own_dsn: str, sql: str, named: str) -> None:
    await tamper(own_dsn, sql)
    report = await journal(own_dsn)
    (finding,) = report.findings
    assert finding.room == 65
    assert named in finding.what
    assert told(await journal(own_dsn, room_id=1)) == ""
    assert told(await journal(own_dsn, room_id=65)) == told(report)


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        (
            "UPDATE transfer SET amount = 50 WHERE kind = 'settle' AND reference = '1.2';"
            "UPDATE hold SET payout = 50 WHERE reference = '1.2';"
            "UPDATE account SET balance = balance + 10 WHERE kind = 'player' AND number = 102;"
            "UPDATE transfer SET amount = 20, debit_kind = 'house', debit_number = 1,"
            " credit_kind = 'escrow', credit_number = 1 WHERE reference = '1#1';"
            "UPDATE account SET balance = balance - 10 WHERE kind = 'house' AND number = 1",
            ["'1.2' should have been settled with 40, and was settled with 50", "'1#1' was asked"],
        ),
        (
            "UPDATE transfer SET credit_number = 101 WHERE kind = 'settle' AND reference = '1.2';"
            "UPDATE transfer SET debit_number = 101 WHERE kind = 'hold' AND reference = '1.2';"
            "UPDATE hold SET account = 101 WHERE reference = '1.2';"
            "UPDATE account SET balance = balance + 20 WHERE kind = 'player' AND number = 101;"
            "UPDATE account SET balance = balance - 20 WHERE kind = 'player' AND number = 102",
            ["the hold '1.2' was asked for 20 of account 102, and is kept as another"],
        ),
        (
            "UPDATE hold SET reference = 'other' WHERE reference = '1.2';"
            "UPDATE transfer SET reference = 'other' WHERE reference = '1.2'",
            ["nobody asked for the hold 'other'", "the hold '1.2' that was asked for is missing"],
        ),
    ],
)
async def test_books_that_were_made_to_fit_are_found_by_replay(
    own_dsn: str, sql: str, named: list[str]
) -> None:
    await tamper(own_dsn, sql)
    assert told(await books(own_dsn)) == ""
    found = told(await journal(own_dsn))
    for part in named:
        assert part in found


async def test_a_room_that_is_not_there_is_told(own_dsn: str) -> None:
    assert "there is no such room" in told(await journal(own_dsn, room_id=4711))


@pytest.mark.parametrize("seed", range(3))
async def test_a_random_byte_anywhere_is_found(own_dsn: str, seed: int) -> None:
    chance = random.Random(seed)
    rows = await fetch(own_dsn, "SELECT room_id, number, octet_length(payload) FROM journal")
    for room_id, number, length in chance.sample(rows, 5):
        flipped = FLIP.format(at=chance.randrange(length)).replace(
            "# 1", f"# {1 << chance.randrange(8)}"
        )
        where = f"WHERE room_id = {room_id} AND number = {number}"
        await tamper(own_dsn, f"UPDATE journal SET payload = {flipped} {where}")
        assert _names(await journal(own_dsn, replay=False), room_id, number)
    account = chance.choice(await fetch(own_dsn, "SELECT kind::text, number FROM account"))
    change = chance.choice([-3, -1, 1, 2])
    await tamper(
        own_dsn,
        "ALTER TABLE account DROP CONSTRAINT players_owe_nothing",
        f"UPDATE account SET balance = balance + {change}"
        f" WHERE kind = '{account['kind']}' AND number = {account['number']}",
    )
    assert f" {account['number']} has" in told(await books(own_dsn))

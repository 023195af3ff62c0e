"""What must hold of the money and the fences in the database at every moment, asked of SQL.

All questions are asked of one snapshot, so that they may be asked while games are played.
"""

from scripts.faulting.bots import Wallet
from scripts.faulting.database import Connection

# Each lists what is wrong, a row each; a sound database answers all of them with nothing.
ALWAYS = {
    "an account is not the sum of its transfers": "SELECT * FROM drifted_account",
    "money came from nowhere": (
        "SELECT sum(balance) AS sum FROM account HAVING coalesce(sum(balance), 0) <> 0"
    ),
    "a player owes money": "SELECT * FROM account WHERE kind = 'player' AND balance < 0",
    "an escrow keeps money that nobody holds": """
        SELECT number, balance FROM account AS a
        WHERE kind = 'escrow' AND balance <> 0 AND NOT EXISTS (
            SELECT 1 FROM hold WHERE room_id = a.number AND state = 'held')""",
    "an escrow is overdrawn": (
        "SELECT number, balance FROM account WHERE kind = 'escrow' AND balance < 0"
    ),
    "a hold and its transfers differ": """
        SELECT h.reference, h.state, h.amount, h.payout, t.held, t.settled, t.released
        FROM hold AS h LEFT JOIN (
            SELECT reference,
                coalesce(sum(amount) FILTER (WHERE kind = 'hold'), 0) AS held,
                coalesce(sum(amount) FILTER (WHERE kind = 'settle'), 0) AS settled,
                coalesce(sum(amount) FILTER (WHERE kind = 'release'), 0) AS released
            FROM transfer WHERE kind IN ('hold', 'settle', 'release') GROUP BY reference
        ) AS t USING (reference)
        WHERE coalesce(t.held, 0) <> CASE WHEN h.ruling = 1 THEN h.amount ELSE 0 END
            OR coalesce(t.settled, 0) <> CASE WHEN h.state = 'settled' THEN h.payout ELSE 0 END
            OR coalesce(t.released, 0)
                <> CASE WHEN h.state = 'released' THEN h.amount ELSE 0 END""",
    "a transfer moves money that nobody held": """
        SELECT t.reference, t.kind FROM transfer AS t
        WHERE t.kind IN ('hold', 'settle', 'release')
            AND NOT EXISTS (SELECT 1 FROM hold AS h WHERE h.reference = t.reference)""",
    "a room was set aside": "SELECT room_id, game, note FROM room WHERE status = 3",
    "a shard's chain does not end at its head": """
        SELECT s.shard FROM shard AS s LEFT JOIN journal_link AS l USING (shard, link)
        WHERE s.head <> coalesce(l.head, decode(repeat('00', 32), 'hex'))""",
    "a room's entries have a gap": """
        SELECT room_id FROM journal GROUP BY room_id
        HAVING min(number) <> 1 OR max(number) <> count(*)""",
}
AT_THE_END = {
    "a hold of a finished round stands": "SELECT reference FROM hold WHERE state = 'held'",
    "a link of the chain is broken": "SELECT shard, link FROM broken_link",
}
ROWS_SHOWN = 3


async def faults(connection: Connection, *, at_the_end: bool = False) -> list[str]:
    """Return what does not hold, a line each."""
    questions = ALWAYS | (AT_THE_END if at_the_end else {})
    found: list[str] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for wrong, sql in questions.items():
            rows = await connection.fetch(f"SELECT * FROM ({sql}) AS wrong LIMIT {ROWS_SHOWN}")
            found += [f"{wrong}: {dict(row)}" for row in rows]
    return found


WALLET = """
SELECT a.balance, coalesce(sum(h.amount), 0) - coalesce(sum(h.payout), 0)
    - coalesce(sum(h.amount) FILTER (WHERE h.state = 'released'), 0) AS lost
FROM hold AS h JOIN person AS p USING (account)
    JOIN account AS a ON a.kind = 'player' AND a.number = h.account
WHERE h.room_id = $1 AND p.name = $2 AND h.ruling = 1
GROUP BY h.account, a.balance"""


async def is_right(connection: Connection, wallet: Wallet) -> bool:
    """Tell whether a wallet that a bot complains of is what its holds came to, to the penny.

    A bot counts the ten last bets that it is shown. If it was away while more were settled it
    counts too few, and cannot know.
    """
    rows = await connection.fetch(WALLET, wallet.room, wallet.name)
    start_minor, left_minor = wallet.start_minor, wallet.left_minor
    return [(left_minor, start_minor - left_minor)] == [tuple(row) for row in rows]


async def standing_holds(connection: Connection) -> int:
    """Count holds that no round has ended yet."""
    return int(await connection.fetchval("SELECT count(*) FROM hold WHERE state = 'held'"))

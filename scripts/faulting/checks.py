"""Everything that is checked when nobody writes any more, whichever servers there were."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gameserver.app import load_games
from gameserver.config import Config
from persistence.sealing import load_keys
from scripts.faulting import books, journals
from scripts.faulting.database import Database
from scripts.faulting.journals import Findings
from scripts.faulting.players import History, Player

REPORTED = (
    "commands_sent",
    "verified",
    "views_compared",
    "books_checked",
    "books_unsure",
    "desyncs",
    "errors",
    "disconnects",
    "rounds_settled",
    "games_finished",
)
REPORTED_AS = {"resumed_gapless": "resumed_gapless", "resumed_full": "resumed_full"}


async def checked(database: Database, keys: Path, history: History) -> Findings:
    """Check all that was kept and told; nobody writes any more."""
    async with database.connection() as connection:
        wrong = await books.faults(connection, at_the_end=True)
        sealer = load_keys(keys).sealer()
        findings = await journals.examined(connection, load_games(Config()), sealer, history)
    findings.faults = wrong + history.faults + findings.faults
    return findings


def count_people(
    counts: Counter[str], players: Sequence[Player], reports: Sequence[Mapping[str, Any]]
) -> None:
    """Add up what players and bots have been through."""
    for player in players:
        counters = player.client.counters
        for name in ("resumed_gapless", "resumed_full", "deferrals", "commands_sent_again"):
            counts[name] += getattr(counters, name)
    for report in reports:
        for name in (*REPORTED, *REPORTED_AS):
            counts[REPORTED_AS.get(name, f"bots_{name}")] += int(report.get(name, 0))

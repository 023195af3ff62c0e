"""Kill -9 and restart: every room is where it was, and nobody misses or repeats anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gameserver.games.keno.state import Phase
from protocol.client import Client, ClientRoom, Options
from protocol.view import GAME_RECORD
from tests.e2e.server import running

pytestmark = pytest.mark.slow

BET, STAKE_MINOR = 1, 1_000
PHASE = 1
SPOTS = [3, 17, 44, 60]
PATIENT_MS = 30_000


def bet() -> list[Any]:
    return [BET, SPOTS, STAKE_MINOR]


async def accepted_bets(room: ClientRoom, count: int) -> int:
    """Bet until ``count`` bets were accepted, whatever the round's phase; return how many."""
    done = 0
    while done < count:
        await room.until(lambda view: view.value(GAME_RECORD, PHASE) == Phase.OPEN, PATIENT_MS)
        outcome = await room.command(bet(), timeout_ms=PATIENT_MS)
        done += outcome.accepted
        assert outcome.accepted or outcome.name == "BETTING_CLOSED"
    return done


async def test_a_killed_server_comes_back_with_every_room_where_it_was(tmp_path: Path) -> None:
    options = Options(backoff_ms=50, backoff_max_ms=400)
    with running(tmp_path) as server:
        async with Client(server.url, name="ann", options=options) as ann:
            room_id, code = await ann.create("keno", settings={"round_seconds": 2})
            room = await ann.join(room_id=room_id)
            placed = 0
            for _ in range(3):
                placed += await accepted_bets(room, 3)
                server.kill()
                server.start()
            placed += await accepted_bets(room, 1)
            assert ann.counters.disconnects == 3
            assert ann.counters.resumed_gapless == 3
            assert ann.counters.desyncs == 0
            # Every bet holds money once; what came back are payouts and nothing else.
            history = await ann.request("wallet", [100])
            stakes = [-row[3] for row in history if row[1] == "hold"]
            assert stakes == [STAKE_MINOR] * placed
            assert await ann.request("balance", []) == [sum(row[3] for row in history)]
            assert (await ann.request("find", [code]))[0] == room_id
        assert server.stop() == 0
        assert server.errors() == []

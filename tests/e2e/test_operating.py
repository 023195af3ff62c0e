"""What operators do beside a server, with real processes on a database of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from persistence.embedded import EmbeddedPostgres, running_dsn
from protocol.client import Client, Options, RequestRefused
from tests.e2e.server import ROOT, ServerProcess, running
from tests.e2e.test_kill import accepted_bets
from tests.persistence.postgres_fixture import run_sql

pytestmark = pytest.mark.slow

OPTIONS = Options(backoff_ms=50, backoff_max_ms=400)


def told(data_dir: Path, *words: str, code: int = 0) -> Any:
    """Run a command on a data directory; return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "gameserver", *words, "--data-dir", str(data_dir)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if "--json" in words else done.stdout + done.stderr


def tamper(dsn: str, sql: str) -> None:
    """Change what is kept, past all guards."""
    run_sql(dsn, f"DO $$ BEGIN SET LOCAL session_replication_role = replica; {sql}; END $$")


def copy(folder: Path, to: Path) -> None:
    """Copy a folder with its owners and permissions."""
    subprocess.run(["cp", "-a", str(folder), str(to)], check=True, timeout=60)


async def played(server: ServerProcess, bets: int) -> int:
    """Play a little; return the room."""
    async with Client(server.url, name="ann", options=OPTIONS) as ann:
        room_id, _ = await ann.create("keno", settings={"round_seconds": 2})
        room = await ann.join(room_id=room_id)
        await accepted_bets(room, bets)
        return int(room_id)


async def test_operators_look_at_a_server_that_runs_was_killed_or_has_stopped(
    tmp_path: Path,
) -> None:
    with running(tmp_path, "--head-interval", "1s") as server:
        room_id = await played(server, 3)
        assert told(tmp_path, "ledger", "check", "--json")["counts"]["holds"] == 3
        report = told(tmp_path, "journal", "verify", "--replay", "--json")
        assert report["sound"]
        assert report["counts"]["rooms_replayed"] == 1
        assert room_id in [row["room"] for row in told(tmp_path, "rooms", "--json")]
        shown = told(tmp_path, "rooms", "show", str(room_id), "--json")
        assert shown["status"] == "open"
        assert {"opened", "sat", "command", "verdict"} <= {
            one["input"] for entry in shown["entries"] for one in entry["inputs"]
        }
        assert "not set aside" in told(tmp_path, "rooms", "reopen", str(room_id), code=1)
        dsn = running_dsn(tmp_path / "postgres")
        assert dsn is not None
        run_sql(dsn, f"UPDATE room SET status = 3, note = 'broken' WHERE room_id = {room_id}")
        assert "is open" in told(tmp_path, "rooms", "reopen", str(room_id))
        server.kill()
        server.start()
        await played(server, 2)
        assert told(tmp_path, "ledger", "check", "--json")["sound"]
        assert server.stop() == 0
    report = told(tmp_path, "journal", "verify", "--replay", "--json")
    assert report["sound"]
    assert report["counts"]["signed_heads"] > 2
    assert "sound:" in told(tmp_path, "ledger", "check")
    assert "removed: 0 links" in told(tmp_path, "journal", "prune", "--journal-keep", "1h")
    assert "everything is kept" in told(tmp_path, "journal", "prune", code=2)
    assert "no room 4711" in told(tmp_path, "rooms", "show", "4711", code=1)
    shown_text = told(tmp_path, "rooms", "show", str(room_id))
    assert "command=Bet" in shown_text
    assert "drawn ask=" in shown_text
    assert "seed=" not in shown_text


async def test_what_was_tampered_with_is_told_with_exit_code_1(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        room_id = await played(server, 1)
        dsn = running_dsn(tmp_path / "postgres")
        assert dsn is not None
        tamper(dsn, "UPDATE account SET balance = balance + 1 WHERE kind = 'player'")
        assert "all balances together come to 1" in told(tmp_path, "ledger", "check", code=1)
        tamper(dsn, f"DELETE FROM journal WHERE room_id = {room_id} AND number = 2")
        found = told(tmp_path, "journal", "verify", code=1)
        assert f"room {room_id}, entry 3: entry 2 is missing before it" in found


async def test_a_restored_backup_is_not_served_until_an_operator_accepts_it(
    tmp_path: Path,
) -> None:
    cluster, backup = tmp_path / "postgres" / "cluster", tmp_path / "backup"
    with running(tmp_path) as server:
        await played(server, 1)
        assert server.stop() == 0
        copy(cluster, backup)
        server.start()
        await played(server, 1)
        assert server.stop() == 0
        shutil.rmtree(cluster)
        backup.rename(cluster)
        server.events.clear()
        server.start()
        refused = [one for one in server.events if one["event"] == "shard_refused"]
        assert refused
        assert "was signed" in refused[0]["why"]
        server.stop()
        report = told(tmp_path, "journal", "verify", "--json", code=1)
        assert {one["shard"] for one in report["findings"]} == {one["shard"] for one in refused}
        server.flags = ("--accept-rollback", "on")
        server.events.clear()
        server.start()
        assert [one for one in server.events if one["event"] == "rollback_accepted"]
        await played(server, 1)
        assert server.stop() == 0
        server.flags = ()
        server.events.clear()
        server.start()
        assert not [one for one in server.events if one["event"] == "shard_refused"]
        assert server.stop() == 0
    assert told(tmp_path, "journal", "verify", "--json")["sound"]


async def test_rooms_are_not_given_up_because_the_keys_are_other_ones(tmp_path: Path) -> None:
    keys, lost = tmp_path / "keys.json", tmp_path / "lost.json"
    with running(tmp_path) as server:
        room_id = await played(server, 1)
        assert server.stop() == 0
        keys.rename(lost)
        with pytest.raises(AssertionError, match="sealed with other keys"):
            server.start()
        assert told(tmp_path, "rooms", "show", str(room_id), "--json")["status"] == "open"
        lost.replace(keys)
        server.start()
        async with Client(server.url, name="ann", options=OPTIONS) as ann:
            await ann.join(room_id=room_id)
        assert server.stop() == 0
        keys.rename(lost)
        server.flags = ("--accept-other-keys", "on")
        server.start()
        async with Client(server.url, name="ann", options=OPTIONS) as ann:
            with pytest.raises(RequestRefused, match="ROOM_SET_ASIDE"):
                await ann.join(room_id=room_id)
        assert server.stop() == 0


async def test_rooms_of_a_game_that_is_not_offered_wait_until_it_is(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        room_id = await played(server, 1)
        assert server.stop() == 0
        server.flags = ("--games", "quiz")
        server.start()
        async with Client(server.url, name="bob", options=OPTIONS) as bob:
            with pytest.raises(RequestRefused, match="UNKNOWN_GAME: keno"):
                await bob.join(room_id=room_id)
        assert server.stop() == 0
        assert not server.errors()
        server.flags = ()
        server.start()
        async with Client(server.url, name="bob", options=OPTIONS) as bob:
            assert (await bob.join(room_id=room_id)).game == "keno"
        assert server.stop() == 0


async def test_a_server_that_cannot_have_its_port_takes_no_rooms_from_who_has_it(
    tmp_path: Path,
) -> None:
    async with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        with running(tmp_path / "one", "--postgres", postgres.dsn) as server:
            async with Client(server.url, name="ann", options=OPTIONS) as ann:
                room = await ann.join(game="keno")
                shutil.copytree(tmp_path / "one", tmp_path / "two")
                second = ServerProcess(tmp_path / "two", "--postgres", postgres.dsn)
                second.port = server.port
                with pytest.raises(AssertionError, match="is in use"):
                    await asyncio.to_thread(second.start)
                await accepted_bets(room, 1)
            assert server.stop() == 0
            assert not server.errors()


def test_there_is_no_address_of_a_server_that_does_not_run(tmp_path: Path) -> None:
    assert running_dsn(tmp_path) is None
    assert EmbeddedPostgres(tmp_path).pid is None
    assert running_dsn(tmp_path) is None

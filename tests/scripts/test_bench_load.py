"""The benchmarks of sending and of rooms run in small; their arithmetic is right."""

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

from gameserver.engine import inputs as i
from gameserver.engine.room import Room
from gameserver.engine.window import body_digest
from gameserver.net.connection import Connection
from gameserver.net.listener import Listener
from protocol.closes import CloseCode
from protocol.messages import AnyInbound
from scripts.bench import (
    big_state,
    connections,
    fanout,
    inbound,
    many,
    measuring,
    native,
    rooms,
    wide,
    wire,
)
from scripts.bench.beat_game import Beat
from scripts.bench.contestants import Scene
from scripts.bench.fanout_edge import Everybody, edge_for, payload_of
from scripts.bench.loading import Played, played
from scripts.bench.measuring import (
    Cores,
    Range,
    Use,
    Withheld,
    busy_s,
    cpu_s,
    event_of,
    on_cores,
    resident_bytes,
)
from scripts.bench.peers import PEERS, installed

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(one) for one in native.COMPILERS), reason="no C compiler"
)
needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core alone")


def run(use: Use | None = None, **report: Any) -> Played:
    """Return a run in which all was well, but for what is given."""
    sound = {
        "connections": 10,
        "deltas_each_s": 20.0,
        "deltas": 1_000,
        "commands": 100,
        "seen": 100,
        "lost": 0,
        "visible_ms_p99": 60.0,
        "load_cpu_share": 0.2,
        "load_lag_ms_p99": 1.0,
    }
    return Played(sound | report, use or Use(10.0, 5.0, 5.2, 3.0))


# --- Arithmetic.


def test_a_range_is_the_median_with_the_least_and_the_most() -> None:
    assert Range.of([3.0, 1.0, 2.0]) == Range(2.0, 1.0, 3.0)
    assert Range.of([3.0, 1.0, 2.0]).text() == "2.0 (1.0 to 3.0)"
    assert Range.of([2.0]).text(0) == "2"


def test_the_busy_time_of_a_core_leaves_waiting_out() -> None:
    ticks = measuring.CLOCK_TICKS
    stat = f"cpu  9 9 9 9 9 9 9 9\ncpu0 {ticks} 0 {ticks} 700 300 0 {ticks} 0 0 0\ncpu1 1\n"
    assert busy_s(0, stat) == 3.0
    with pytest.raises(Withheld):
        busy_s(7, stat)


def test_a_process_is_seen_to_use_time() -> None:
    before_s = cpu_s(os.getpid())
    while cpu_s(os.getpid()) == before_s:
        pass
    assert cpu_s(os.getpid()) > before_s


def test_a_process_that_takes_memory_is_seen_to() -> None:
    # One that does nothing else: ours may give memory back meanwhile.
    code = "input(); taken = bytearray(b'x') * 32_000_000; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        before = resident_bytes(child.pid)
        print(file=child.stdin, flush=True)
        child.stdout.readline()
        assert 30_000_000 < resident_bytes(child.pid) - before < 40_000_000
        print(file=child.stdin, flush=True)


def test_cores_are_given_back() -> None:
    before = os.sched_getaffinity(0)
    with on_cores({min(before)}):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("line", ["", "listening", "[1]", '{"event": '])
def test_a_line_that_tells_of_no_event_is_none(line: str) -> None:
    assert event_of(line) == {}


def test_the_cost_of_an_update_is_the_servers_time_over_what_arrived() -> None:
    one = run(Use(10.0, 5.0, 5.2, 3.0), deltas=500_000)
    assert one.us_per_delta == 10.0
    assert one.use.server_share == 0.5
    assert one.doubts == []
    assert one.rate == 1.0


def test_a_load_client_that_was_the_bottleneck_is_told() -> None:
    assert run(load_cpu_share=0.9).doubts == ["the load client used 90% of its core"]
    assert run(load_lag_ms_p99=40.0).doubts == ["the load client was 40 ms late (p99)"]
    assert run(Use(10.0, 5.0, 8.0, 3.0)).doubts == ["others used 30% of the server's core"]


def test_updates_that_are_few_late_or_missing_do_not_hold() -> None:
    assert rooms.holds(run())
    assert not rooms.holds(run(deltas_each_s=18.9))
    assert not rooms.holds(run(visible_ms_p99=151.0))
    assert not rooms.holds(run(seen=98))
    assert not rooms.holds(run(lost=1))


@pytest.mark.parametrize(
    ("limit", "expected"), [(5_400, 5_000), (5_500, 5_500), (999, 0), (99_999, 8_000)]
)
def test_the_number_of_players_grows_until_it_does_not_hold(limit: int, expected: int) -> None:
    assert rooms.capacity(lambda players: players <= limit, 1_000, 1_000, 8_000) == expected


def test_players_who_do_not_come_in_are_more_than_a_server_carries(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def contestant(scene: Scene, _: Cores) -> Played:
        if scene.players > 2_000:
            raise Withheld("only 2100 of 3000 came in")
        return run(visible_ms_p50=30.0, delta_bytes=20.0, bytes_each_s=400.0)

    contest = rooms.Contest(rooms.parsed([]), Cores(0, 1))
    assert contest.grown("one", contestant) == 2_000
    assert "3,000 do not come in" in capsys.readouterr().out
    contest.runs.clear()
    with pytest.raises(Withheld):
        contest.grown("one", lambda *_: contestant(Scene(9_000, 10, 2.0, 1.0, 1.0), Cores(0, 1)))


def test_an_unknown_contestant_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        rooms.parsed(["--contestants", "nobody"])
    assert "nobody" in capsys.readouterr().err
    named = rooms.parsed(["--contestants", "durable,peers,ws"]).contestants
    assert named == ["durable", *(peer.name for peer in PEERS)]
    assert rooms.parsed([]).contestants == ["memory", "durable"]


# --- What cannot be had is withheld.


def test_without_a_compiler_the_programs_are_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Withheld, match="no C compiler"):
        native.built("load")


def test_without_node_or_npm_their_peers_are_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(Withheld, match="node"):
        PEERS[0].command(1, 10)
    with pytest.raises(Withheld, match="npm"):
        installed()


def test_the_lock_pins_what_the_peers_ask_for() -> None:
    folder = Path(rooms.__file__).parent / "peers"
    asked = json.loads((folder / "package.json").read_text())["dependencies"]
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in asked} == asked
    for place, package in packages.items():
        assert not place or package["integrity"].startswith("sha512-"), place
        assert "resolved" not in package, "no host is named: npm's own setting decides"


# --- The game.


def test_the_game_changes_in_every_tick_and_a_command_sets_one_field() -> None:
    room: Room[Any] = Room(Beat(), 7)
    room.tick(1, [i.Opened(b"", bytes(32), 0), i.Sat(1), i.Sat(2)])
    assert room.next_due() == 2
    out = room.tick(2, [])
    assert out.shared is not None
    body = b"\x92\x01\xce\x40\x00\x00\x01"
    room.tick(3, [], [i.Commanded(1, 1, 0, body, body_digest(body), room.decode(body))])
    assert room.state.players[1].value == 0x40000001
    assert room.state.beat == 2
    room.tick(4, [i.Lost(0), i.Lost(1)])
    assert room.next_due() is None


def test_rooms_in_which_nothing_happens_do_not_tick(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    flags = ["--rooms", "60", "--active", "10", "--seconds", "1", "--runs", "1"]
    assert many.main([*flags, "--json", str(path)]) == 0
    (one,) = json.loads(path.read_text())["runs"]
    assert 60 <= one["ticks_s"] <= 130  # Six rooms, twenty times a second.
    assert one["slot_ms_p99"] > 0
    assert "10 % active" in capsys.readouterr().out


def test_a_tick_costs_what_it_changes_however_large_the_room_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    assert big_state.main(["--records", "20,2000", "--runs", "3", "--json", str(path)]) == 0
    best = {
        (one["what"], one["records"]): one["best"]
        for one in json.loads(path.read_text())["figures"]
    }
    tick, snapshot = "a tick with one command and two changes", "a snapshot"
    assert best[tick, 2000] < 3 * best[tick, 20]
    assert best[snapshot, 2000] > 10 * best[snapshot, 20]  # This one is as large as the room.
    assert "2000 records: full state" in capsys.readouterr().out


# --- The programs, and servers under them.


@needs_compiler
@pytest.mark.parametrize("name", ["load", "fanout"])
def test_a_program_compiles_without_a_warning_and_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = native.built(name, "-Werror", "-O0")
    made_ns = program.stat().st_mtime_ns
    assert native.built(name, "-Werror", "-O0").stat().st_mtime_ns == made_ns
    with pytest.raises(Withheld, match="does not compile"):
        native.built(name, "--no-such-flag")


@pytest.mark.slow
@needs_compiler
@needs_two_cores
def test_both_senders_reach_everybody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    flags = ["--connections", "20", "--hz", "20", "--runs", "1", "--seconds", "0.5"]
    assert fanout.main([*flags, "--ways", "edge,write", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert [one["sender"] for one in report["fanout"]] == [fanout.LIMIT, "edge", "write"]
    for one in report["fanout"]:
        assert 300 <= one["frames_s"]["median"] <= 500, one
    assert "withheld" not in report
    assert "ratio" in capsys.readouterr().out
    assert len(payload_of(200)) == 200


@pytest.mark.slow
@needs_compiler
@needs_two_cores
def test_players_of_a_room_see_their_commands_in_its_updates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    flags = ["--players", "20", "--contestants", "memory,websockets", "--rate", "10"]
    flags += ["--seconds", "1", "--warm", "0.2", "--json", str(path)]
    assert rooms.main(flags) == 0
    report = json.loads(path.read_text())
    assert [one["contestant"] for one in report["runs"]] == ["ours, memory", "websockets"]
    for one in report["runs"]:
        assert one["commands"] == one["seen"] > 100
        assert one["rate"] > 0.8
        assert 0 < one["visible_ms_p50"] < 500
        assert one["lost"] == 0
        assert one["memory_bytes_each"] > 1_000
    assert report["withheld"] == {}
    assert "µs an update" in capsys.readouterr().out


@needs_compiler
@needs_two_cores
def test_all_viewers_of_a_room_are_told_of_every_tick(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    flags = ["--viewers", "40", "--contestants", "memory", "--runs", "1", "--seconds", "1"]
    assert wide.main([*flags, "--json", str(path)]) == 0
    runs = json.loads(path.read_text())["runs"]
    (one,), (keno,) = runs["ours, memory, bench10"], runs["ours, memory, keno"]
    assert one["deltas_each_s_worst"] > 15
    assert 0 < one["spread_ms_p99"] < 1000
    assert one["commands"] == keno["commands"] == 0
    assert keno["connections"] == 40
    assert "40 viewers" in capsys.readouterr().out


@needs_compiler
@needs_two_cores
def test_commands_reach_both_takers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    flags = ["--connections", "20", "--rates", "400", "--runs", "1", "--seconds", "0.5"]
    assert inbound.main([*flags, "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert "withheld" not in report
    assert [one["taker"] for one in report["inbound"]] == [inbound.LIMIT, inbound.OURS]
    assert all(0 < one["us_per_command"]["median"] < 1_000 for one in report["inbound"])
    assert "target" in capsys.readouterr().out


@needs_compiler
@needs_two_cores
def test_bytes_on_the_wire_are_counted_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    flags = ["--players", "20", "--contestants", "memory,websockets", "--runs", "1"]
    assert wire.main([*flags, "--seconds", "1", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert report["withheld"] == {}
    for one in report["summary"].values():
        assert 5 < one["bytes an update"]["median"] < 100
        assert 15 < one["frames a second"]["median"] < 45
        assert one["bytes a player and second"]["median"] > 100
    assert "times the least" in capsys.readouterr().out


@pytest.mark.slow
@needs_compiler
@needs_two_cores
def test_the_memory_of_connections_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    flags = ["--connections", "50", "--idle", "0.2", "--playing", "0.2", "--json", str(path)]
    assert connections.main([*flags, "--contestants", "durable,websockets"]) == 0
    runs = json.loads(path.read_text())["runs"]
    assert [(one["contestant"], one["state"]) for one in runs] == [
        ("ours, durable", "idle"),
        ("ours, durable", "playing"),
        ("websockets", "playing"),
        ("ours, durable", "storm"),
    ]
    idle, playing, other, storm = runs
    assert all(one["memory_bytes_each"] > 0 for one in (idle, playing, other)), runs
    assert idle["deltas"] == 0 < playing["deltas"]
    assert storm["gapless"] == 50
    assert 0 < storm["back_ms_p50"] <= storm["back_ms_max"] < 10_000
    assert "KiB each" in capsys.readouterr().out


@needs_compiler
@needs_two_cores
async def test_a_server_that_turns_players_away_is_told() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        flags = ["--port", str(port), "--connections", "1", "--duration", "1"]
        cores = Cores(*sorted(os.sched_getaffinity(0))[:2])
        with pytest.raises(Withheld, match="503"):
            await asyncio.to_thread(played, flags, os.getpid(), cores)


class Reluctant(Everybody):
    """Turns everybody away once."""

    def __init__(self, expected: int) -> None:
        super().__init__(expected)
        self.turned_away = 0

    def hello(self, connection: Connection, message: AnyInbound) -> None:
        """Welcome those who come again."""
        if self.turned_away < 3:
            self.turned_away += 1
            connection.close(CloseCode.OVERLOADED, "busy")
        else:
            super().hello(connection, message)


@needs_compiler
@needs_two_cores
async def test_players_who_are_turned_away_come_again() -> None:
    everybody = Reluctant(3)
    listener = Listener(edge_for(100), everybody, asyncio.Protocol)
    port = await listener.start("127.0.0.1", 0)
    flags = ["--port", str(port), "--connections", "3", "--play", "no", "--rate", "0"]
    flags += ["--duration", "0.1", "--warm", "0"]
    cores = Cores(*sorted(os.sched_getaffinity(0))[:2])
    try:
        one = await asyncio.to_thread(played, flags, os.getpid(), cores)
    finally:
        listener.stop()
        await asyncio.sleep(0)
    assert everybody.turned_away == one.report["turned_away"] == 3
    assert everybody.complete.is_set()

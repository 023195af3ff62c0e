"""What goes wrong in a run: each fault is a short story, drawn from the seed.

A run has a repertoire of its own, a part of all faults, so that rare combinations come about.
Every fault undoes itself, or is undone when the world is healed.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from random import Random
from typing import Any, ClassVar

import msgpack
from msgspec import structs

from gameserver.engine.inputs import packed
from gameserver.runtime.batching import entry_identity, snapshot_identity
from persistence.interfaces import RoomStatus, SnapshotRow
from protocol.client import ClientError, ClientRoom
from tests.simulation import awaits
from tests.simulation import games as mill
from tests.simulation.network import Link
from tests.simulation.players import Player
from tests.simulation.server import SEALER, Server
from tests.simulation.store import Fate
from tests.simulation.worldly import WorldParts

Fault = Callable[[], Coroutine[Any, Any, None]]
WEIGHTS = {
    "store_slow": 3,
    "commit_meets_fate": 8,
    "store_stalled": 2,
    "store_away": 2,
    "store_restarted": 2,
    "server_killed": 5,
    "killed_in_commit": 4,
    "killed_at_await": 5,
    "server_taken_over": 5,
    "frozen_in_commit": 4,
    "server_frozen": 3,
    "server_cut_off": 3,
    "server_drained": 1,
    "shards_stolen": 2,
    "link_cut": 4,
    "links_all_cut": 2,
    "cut_while_slow": 3,
    "link_half_open": 2,
    "link_clogged": 3,
    "reader_slow": 3,
    "latency_high": 1,
    "player_killed": 2,
    "player_gone": 1,
    "second_device": 3,
    "seat_swapped": 2,
    "snapshot_damaged": 3,
    "room_poisoned": 2,
    "rule_broken": 1,
    "burst": 2,
}
REPERTOIRE_MIN = 6
NOTICED_AFTER_S = 1.2  # When an operator sees that shards are not served.
PLAYERS_STAY = 3  # Fewer than these, and nobody goes.
THIEF = "thief"  # A node that takes shards and never serves them.
RARE = {"database_regressed": 0.08, "entry_forged": 0.08}


class Nemesis:
    """Makes things go wrong in one world."""

    weights: ClassVar[dict[str, int]] = WEIGHTS
    rates: ClassVar[dict[str, float]] = RARE
    places: ClassVar[tuple[str, ...]] = (*awaits.AWAITS, *awaits.SELDOM)

    def __init__(self, parts: WorldParts, chance: Random, only: tuple[str, ...] = ()) -> None:
        self.parts = parts
        self._chance = chance
        self._tasks: asyncio.TaskGroup | None = None
        names = list(self.weights)
        count = chance.randrange(REPERTOIRE_MIN, len(names) + 1)
        self.repertoire = list(only) or chance.sample(names, count)
        self.rare = [name for name, rate in self.rates.items() if chance.random() < rate]
        if only:
            self.rare = [name for name in only if name in self.rates]
            self.repertoire = [name for name in only if name not in self.rates]

    async def run(self) -> None:
        """Bring one fault after the other, until cancelled."""
        parts, chance = self.parts, self._chance
        await asyncio.sleep(chance.uniform(0.8, 1.6))
        rare = list(self.rare)
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                if rare and chance.random() < 0.35:
                    name = rare.pop()
                else:
                    weights = [self.weights[one] for one in self.repertoire]
                    name = chance.choices(self.repertoire, weights)[0]
                parts.fault(name)
                self._tasks.create_task(getattr(self, f"_{name}")())
                await asyncio.sleep(chance.choice((0.05, 0.4, 0.8, 1.2, 2.0)))

    def _after(self, delay_s: float, what: Callable[[], None]) -> None:
        self.parts.loop.call_at(self.parts.loop.time() + delay_s, what)

    # --- The database.

    async def _store_slow(self) -> None:
        weather = self.parts.database.weather
        weather.slow_until_s = self.parts.loop.time() + self._chance.uniform(0.5, 2.5)
        weather.slow_most_s = self._chance.choice((0.03, 0.1, 0.6))

    async def _commit_meets_fate(self) -> None:
        fate = self._chance.choice(tuple(Fate))
        count = self._chance.randrange(1, 4) if fate is not Fate.REPLY_SWALLOWED else 1
        self.parts.database.weather.fates += [fate] * count

    async def _store_stalled(self) -> None:
        until_s = self.parts.loop.time() + self._chance.uniform(0.3, 4.5)
        self.parts.database.weather.stalled_until_s = until_s

    async def _store_away(self) -> None:
        until_s = self.parts.loop.time() + self._chance.choice((0.3, 1.0, 2.5, 4.0))
        self.parts.database.weather.away_until_s = until_s

    async def _store_restarted(self) -> None:
        self.parts.database.restart()
        until_s = self.parts.loop.time() + self._chance.uniform(0.1, 1.5)
        self.parts.database.weather.away_until_s = until_s

    async def _snapshot_damaged(self) -> None:
        stored = self.parts.database.stored_snapshots
        rooms = [room_id for room_id in stored if stored[room_id]]
        if not rooms:
            return
        room_id = self._chance.choice(rooms)
        newest = max(stored[room_id])
        kind = self._chance.choice(("flipped", "restated", "swapped"))
        others = [one for one in rooms if one != room_id]
        row = self.parts.database.kept_snapshots[room_id][newest]  # It may be damaged already.
        if kind == "swapped" and others:
            other = self._chance.choice(others)
            number = max(stored[other])
            theirs = stored[other][number]
            stored[room_id][newest] = _with(row, theirs.payload, theirs.state_hash)
            stored[other][number] = _with(theirs, row.payload, row.state_hash)
        elif kind == "restated":
            stored[room_id][newest] = _with(row, _restated(row, self._chance), row.state_hash)
        else:
            stored[room_id][newest] = _with(row, _flipped(row.payload, self._chance))
        self.parts.count(f"snapshot_{kind}")
        await self._server_killed()

    async def _room_poisoned(self) -> None:
        database = self.parts.database
        rooms = [row.room_id for row in database.room_rows.values() if row.status is _OPEN]
        if rooms:
            room_id = self._chance.choice(rooms)
            self.parts.expected_aside.setdefault(room_id, "poisoned")
            database.weather.poisoned_rooms.add(room_id)

    async def _entry_forged(self) -> None:
        """Change what an entry says, with the right seal: only its digest can tell."""
        database = self.parts.database
        for room_id, rows in database.journal.items():
            newest = max(database.stored_snapshots.get(room_id, {0: None}))
            for at in range(newest, len(rows)):
                forged = _forged(rows[at])
                if forged is not None and room_id not in self.parts.forged:
                    self.parts.forged[room_id] = (at, rows[at])
                    self.parts.expected_aside.setdefault(room_id, "forged")
                    rows[at] = forged
                    self.parts.count("entry_forged")
                    await self._server_killed()
                    return

    async def _database_regressed(self) -> None:
        """Restore a backup that is some seconds old, and have the server started again later.

        Perhaps while snapshots of the time that is lost are on their way.
        """
        database = self.parts.database
        backup = database.backup()

        def restore() -> None:
            self.parts.regress(backup)
            self.parts.restart_due_s = self.parts.loop.time() + NOTICED_AFTER_S

        await asyncio.sleep(self._chance.uniform(0.3, 2.0))
        if self._chance.random() < 0.5:
            restore()
        else:
            database.on_next_snapshots.append(restore)

    # --- Servers.

    async def _server_killed(self) -> None:
        server = self.parts.some_server()
        if server is not None:
            self._kill(server)

    async def _killed_at_await(self) -> None:
        """Kill the next servers that begin to wait at these places of the product."""
        self.parts.doomed |= set(self._chance.sample(self.places, 2))

    async def _killed_in_commit(self) -> None:
        """Kill a server in the moment in which its commit happens, before it knows."""

        self.parts.database.on_next_commit.append(self._kill_by_name)

    def _kill_by_name(self, name: str) -> None:
        server = self._by_name(name)
        if server is not None:
            self._kill(server)

    async def _frozen_in_commit(self) -> None:
        """Freeze a server while its commit happens, and let another take over."""
        self.parts.database.on_next_commit.append(self._freeze_by_name)

    def _freeze_by_name(self, name: str) -> None:
        server = self._by_name(name)
        if server is None or server.process.is_frozen:
            return
        process = server.process
        process.is_frozen = True
        self.parts.start_rival(server)
        thaw_s = self._chance.choice((0.3, 1.0, 2.5))
        self._after(thaw_s, lambda: self.parts.loop.thaw(process))

    def _by_name(self, name: str) -> Server | None:
        return next((one for one in self.parts.servers if one.name == name and one.is_up), None)

    def _kill(self, server: Server) -> None:
        self.parts.kill_server(server)
        silent = self._chance.random() < 0.25
        for link in self.parts.network.of(server.process):
            if silent:
                link.go_silent()
            else:
                link.reset()

    async def _server_taken_over(self) -> None:
        """Freeze the server, let another take over, and wake the first: a zombie."""
        server = self.parts.some_server()
        if server is None or server.process.is_frozen:
            return
        server.process.is_frozen = True
        self.parts.start_rival(server)
        await asyncio.sleep(self._chance.choice((0.2, 0.7, 1.5, 3.0, 5.0)))
        self.parts.loop.thaw(server.process)

    async def _server_frozen(self) -> None:
        server = self.parts.some_server()
        if server is None or server.process.is_frozen:
            return
        server.process.is_frozen = True
        await asyncio.sleep(self._chance.choice((0.04, 0.3, 1.0, 2.5)))
        self.parts.loop.thaw(server.process)

    async def _server_cut_off(self) -> None:
        """Cut a server off from the database, though not from its players; another may take over.

        What it asked last may be done and never answered, and it learns late that it owns nothing.
        """
        server = self.parts.some_server()
        if server is None:
            return
        until_s = self.parts.loop.time() + self._chance.choice((0.4, 1.5, 3.5, 6.0))
        server.link.cut_until_s = until_s
        if self._chance.random() < 0.7:
            await asyncio.sleep(self._chance.uniform(0.0, 1.0))
            self.parts.start_rival(server)

    async def _server_drained(self) -> None:
        server = self.parts.some_server()
        if server is not None:
            server.drain()

    async def _shards_stolen(self) -> None:
        """Raise the epoch of some shards for a node that never serves them."""
        database = self.parts.database
        rows = list(database.room_rows.values())
        shards = {row.shard for row in rows if self._chance.random() < 0.6}
        if not shards:
            return
        with contextlib.suppress(StopIteration):
            database.take_shards(THIEF, sorted(shards)).send(None)
        self.parts.restart_due_s = self.parts.loop.time() + NOTICED_AFTER_S

    # --- The network.

    def _link(self) -> Link | None:
        links = list(self.parts.network.links)
        return self._chance.choice(links) if links else None

    async def _link_cut(self) -> None:
        link = self._link()
        if link is not None:
            link.reset()

    async def _links_all_cut(self) -> None:
        for link in tuple(self.parts.network.links):
            link.reset()

    async def _cut_while_slow(self) -> None:
        """Have clients come back and repeat themselves while commits are still under way."""
        weather = self.parts.database.weather
        weather.slow_until_s = self.parts.loop.time() + 1.5
        weather.slow_most_s = 0.8
        await asyncio.sleep(self._chance.uniform(0.1, 0.4))
        await self._links_all_cut()

    async def _link_half_open(self) -> None:
        link = self._link()
        if link is not None:
            link.go_silent()

    async def _link_clogged(self) -> None:
        link = self._link()
        if link is not None:
            link.hold()
            self._after(self._chance.uniform(0.2, 2.5), link.release)

    async def _reader_slow(self) -> None:
        link = self._link()
        if link is not None:
            link.down.is_held = True
            self._after(self._chance.uniform(0.8, 4.5), link.down.release)

    async def _latency_high(self) -> None:
        network = self.parts.network
        usual_s, high_s = network.latency_s, self._chance.uniform(0.03, 0.3)
        network.latency_s = high_s
        for link in network.links:
            link.up.latency_s = link.down.latency_s = high_s
        await asyncio.sleep(self._chance.uniform(0.5, 2.0))
        network.latency_s = usual_s
        for link in network.links:
            link.up.latency_s = link.down.latency_s = usual_s

    # --- Players.

    def _player(self) -> Player:
        return self._chance.choice(self.parts.players)

    def _seated(self) -> tuple[Player, ClientRoom] | None:
        found = [
            (player, room)
            for player in self.parts.players
            for room in player.rooms
            if not room.watching and room.is_open
        ]
        return self._chance.choice(found) if found else None

    async def _player_killed(self) -> None:
        player = self._player()
        for link in self.parts.network.of(player.process):
            if self._chance.random() < 0.5:
                link.reset()
            else:
                link.go_silent()
        player.kill()
        await asyncio.sleep(self._chance.uniform(0.1, 2.0))
        if player.process.is_dead and not player.is_gone:
            player.start()

    async def _player_gone(self) -> None:
        """Let a player go for good, perhaps in the same moment as the server."""
        here = [player for player in self.parts.players if not player.is_gone]
        if len(here) < PLAYERS_STAY:
            return
        player = self._chance.choice(here)
        player.is_gone = True
        if self._chance.random() < 0.7:
            await self._server_killed()
        for link in self.parts.network.of(player.process):
            link.reset()
        player.kill()

    async def _second_device(self) -> None:
        seated = self._seated()
        if seated is not None:
            player, room = seated
            player.use_second_device(room.id, leaves=self._chance.random() < 0.4)

    async def _seat_swapped(self) -> None:
        """Give a player's seat up from another device, while the first cannot hear of it."""
        seated = self._seated()
        if seated is None:
            return
        player, room = seated
        process = player.process
        process.is_frozen = True
        for link in self.parts.network.of(process):
            link.reset()
        player.use_second_device(room.id, leaves=True)
        await asyncio.sleep(self._chance.uniform(1.0, 2.5))
        self.parts.loop.thaw(process)

    async def _rule_broken(self) -> None:
        """Let a mill's own rule raise; its room is then given up."""
        seated = self._seated()
        if seated is not None and seated[1].game == "mill":
            _, room = seated
            self.parts.expected_aside[room.id] = "broken"
            with contextlib.suppress(ClientError):
                room.submit(mill.Turn(self._chance.randrange(1, 10), breaks=True))

    async def _burst(self) -> None:
        seated = self._seated()
        if seated is not None:
            player, room = seated
            for _ in range(self._chance.choice((25, 70))):
                if room.closed is None and player.client is not None:
                    player.submit(player.client, room, self._chance.choice((400, 5_000)))


_OPEN = RoomStatus.OPEN


def _with(row: SnapshotRow, payload: bytes, state_hash: bytes | None = None) -> SnapshotRow:
    return replace(row, payload=payload, state_hash=state_hash or row.state_hash)


def _flipped(payload: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(payload))
    return payload[:at] + bytes([payload[at] ^ 0x40]) + payload[at + 1 :]


def _restated(row: SnapshotRow, chance: Random) -> bytes:
    """Return a snapshot that is sealed well and says something else."""
    identity = snapshot_identity(row.room_id, row.number)
    stored = msgpack.unpackb(zlib.decompress(SEALER.open(row.payload, identity)))
    _, (row_of_root, *_), _ = stored[-1]
    _, _, _, *values = row_of_root  # Its key, number and seat come first.
    row_of_root[3 + chance.choice([at for at, one in enumerate(values) if type(one) is int])] += 1
    return SEALER.seal(zlib.compress(packed(stored), 1), identity)


def _forged(row: Any) -> Any:
    """Return the entry with a change to a command that was accepted, or None if it has none."""
    identity = entry_identity(row.room_id, row.number)
    tick, inputs, digest = msgpack.unpackb(SEALER.open(row.payload, identity))
    for one in inputs:
        if one[0] == 1 and one[5] == 0:
            one[3] += 1  # When it came.
            payload = packed([tick, inputs, digest])
            return structs.replace(row, payload=SEALER.seal(payload, identity))
    return None

"""Who plays the benchmark of rooms: our server with either store, and the peers.

Each is started for a run and gone after it. The server has a core of its own; PostgreSQL shares
the load client's, and starts empty.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from persistence.embedded import EmbeddedPostgres
from scripts.bench.loading import Played, played
from scripts.bench.measuring import Cores, Withheld, free_port, on_cores, running
from scripts.bench.peers import PEERS, Peer

OURS = {"memory": "ours, memory", "durable": "ours, durable"}
GROUPS = {"ours": list(OURS), "peers": [peer.name for peer in PEERS]}
GAMES = {10: "bench10", 50: "bench50"}  # In larger rooms all but the first player watch.
CALM_GAME = "bench10calm"
GAME_CLASSES = ("Beat", "Beat50", "Calm")


@dataclass(frozen=True)
class Scene:
    """How many players there are, in rooms of which size, and for how long.

    Those who do not play say hello and are in no room. In a storm all connections break at once,
    and all come back at once; only our server is asked for what was missed meanwhile. The game is
    that of the benchmark, which changes in every tick, unless ours is told of another.
    """

    players: int
    room_size: int
    rate: float
    duration_s: float
    warm_s: float
    plays: bool = True
    storm: bool = False
    game: str = ""

    def flags(self) -> list[str]:
        """Return what the load client is told of it."""
        return [
            *("--connections", str(self.players), "--group", str(self.room_size)),
            *("--rate", str(self.rate), "--duration", str(self.duration_s)),
            *("--warm", str(self.warm_s), "--play", "yes" if self.plays else "no"),
            *("--storm", "yes" if self.storm else "no"),
        ]


Contestant = Callable[[Scene, Cores], Played]


def names_in(text: str) -> list[str]:
    """Return the contestants that a list names, by themselves or as `ours` or `peers`."""
    names: list[str] = []
    for name in text.split(","):
        if name not in GROUPS and name not in (known := [*GROUPS["ours"], *GROUPS["peers"]]):
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join([*GROUPS, *known])}")
        names += GROUPS.get(name, [name])
    return list(dict.fromkeys(names))


def add_flag(parser: argparse.ArgumentParser, default: str = "ours") -> None:
    """Let a benchmark be told whom to measure."""
    parser.add_argument("--contestants", type=names_in, default=names_in(default))


def contestants(names: Sequence[str]) -> dict[str, Contestant]:
    """Return those that were named, by what tables call them."""
    ours = {"memory": _in_memory, "durable": _durable}
    found = {OURS[name]: ours[name] for name in names if name in OURS}
    return found | {peer.name: _of_peer(peer) for peer in PEERS if peer.name in names}


def server_command(scene: Scene, folder: Path, *flags: str) -> list[str]:
    """Return the command of our server, with its bounds on strangers out of the way."""
    many = str(scene.players + 1000)
    command = [sys.executable, "-m", "gameserver", "serve", "--data-dir", str(folder)]
    command += ["--port", "0", "--admin-port", "0", "--log-format", "json", *flags]
    for one in GAME_CLASSES:
        command += ["--games", f"scripts.bench.beat_game:{one}"]
    command += ["--games", "keno"]
    for bound in ("connections-max", "connections-per-address-max"):
        command += [f"--{bound}", many]
    for bound in ("connections-unauthenticated-max", "handshakes-per-second"):
        command += [f"--{bound}", many]
    return command


def _of_peer(peer: Peer) -> Contestant:
    def plays(scene: Scene, cores: Cores) -> Played:
        port = free_port()
        command = peer.command(port, scene.room_size)
        with running(command, cores.server, "listening") as (pid, _):
            flags = ["--dialect", peer.dialect, "--port", str(port), *scene.flags()]
            return played(flags, pid, cores)

    return plays


def _in_memory(scene: Scene, cores: Cores) -> Played:
    return _ours(scene, cores, "--store", "memory")


def _durable(scene: Scene, cores: Cores) -> Played:
    async def with_database() -> Played | Withheld:
        with tempfile.TemporaryDirectory(prefix="gs-bench-") as folder:
            async with EmbeddedPostgres(Path(folder) / "postgres") as server:
                try:
                    return await asyncio.to_thread(_ours, scene, cores, "--postgres", server.dsn)
                except Withheld as why:  # It would come out of here as a group of errors.
                    return why

    with on_cores({cores.load}):
        found = asyncio.run(with_database())
    if isinstance(found, Withheld):
        raise found
    return found


def _ours(scene: Scene, cores: Cores, *flags: str) -> Played:
    with tempfile.TemporaryDirectory(prefix="gs-bench-") as folder:
        command = server_command(scene, Path(folder), *flags)
        with running(command, cores.server, "server_ready") as (pid, ready):
            port = urlsplit(ready["play"]).port
            load = ["--dialect", "gs", "--port", str(port), *scene.flags()]
            load += ["--game", scene.game or GAMES.get(scene.room_size, GAMES[10])]
            load += ["--watch", "no" if scene.room_size in GAMES else "yes"]
            return played(load, pid, cores)

"""What the nemesis may use of a world, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tests.simulation.loop import SimLoop
from tests.simulation.network import Network
from tests.simulation.players import Player
from tests.simulation.server import Server
from tests.simulation.store import Database


class WorldParts(Protocol):
    """The parts of a world that things happen to.

    ``expected_aside`` are rooms that were made to break, with the reason; ``forged`` has the true
    row of each entry that was changed; ``restart_due_s`` is when the server will be started anew,
    because it cannot serve some of its shards; ``doomed`` are the places where the next server dies
    that begins to wait there.
    """

    loop: SimLoop
    database: Database
    network: Network
    players: list[Player]
    expected_aside: dict[int, str]
    forged: dict[int, tuple[int, Any]]
    restart_due_s: float | None
    doomed: set[str]

    @property
    def servers(self) -> Sequence[Server]:
        """Return all servers that were ever started."""

    def fault(self, name: str) -> None:
        """Note that something goes wrong now."""

    def count(self, what: str) -> None:
        """Note that something rare happened."""

    def some_server(self) -> Server | None:
        """Return a server for something to happen to, if one is up."""

    def start_rival(self, server: Server) -> None:
        """Have somebody start where a server seems to be gone."""

    def kill_server(self, server: Server) -> None:
        """End a server at once."""

    def regress(self, backup: dict[str, Any]) -> None:
        """Restore a backup of the database."""

"""What tests of the directory begin with: records, lines, and worlds to put them in."""

from dataclasses import replace
from typing import Any, Protocol

from persistence.directory import Directory, NodeRecord, RoomLine
from persistence.memory_directory import DirectoryWorld, MemoryDirectory

CLUSTER = "c1"
LEASE_MS = 8_000  # More than a test ever takes.

_RECORD = NodeRecord(
    name="a",
    instance="a1",
    url="ws://a/ws",
    peer="a:7000",
    weight=100,
    load=0,
    rooms=0,
    connections=0,
    rules=(("keno", 1), ("quiz", 3)),
    started_ms=1_000,
    draining=False,
)
_LINE = RoomLine(
    room_id=1, code="ABCDEF", game="quiz", shard=0, seats_taken=1, seats_max=4, serial=1
)


def record(name: str = "a", instance: str = "", **changes: Any) -> NodeRecord:
    """Return a node's record; its instance is the name and a 1 unless given."""
    return replace(_RECORD, name=name, instance=instance or f"{name}1", **changes)


def line(room_id: int = 1, **changes: Any) -> RoomLine:
    """Return a room's line; newer rooms have higher ids unless told otherwise."""
    return replace(_LINE, **{"room_id": room_id, "serial": room_id, **changes})


class Directories(Protocol):
    """A directory service under test: what nodes open, and its time."""

    async def open(self, cluster_id: str = CLUSTER, prefix: str = "gs") -> Directory:
        """Return a directory as another node has it, started."""

    async def pass_ms(self, ms: int) -> None:
        """Let the service's time pass."""

    async def wipe(self) -> None:
        """Make the service forget everything."""

    async def stop(self) -> None:
        """Stop what was opened."""


class MemoryDirectories:
    """Worlds by prefix, on a manual clock."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self._worlds: dict[str, DirectoryWorld] = {}

    async def open(self, cluster_id: str = CLUSTER, prefix: str = "gs") -> Directory:
        """Return a directory as another node has it, started."""
        world = self._worlds.setdefault(prefix, DirectoryWorld())
        directory = MemoryDirectory(world, lambda: self.now_ms)
        await directory.start(cluster_id)
        return directory

    async def pass_ms(self, ms: int) -> None:
        """Move the clock."""
        self.now_ms += ms

    async def wipe(self) -> None:
        """Make all worlds forget everything."""
        for world in self._worlds.values():
            world.wipe()

    async def stop(self) -> None:
        """There is nothing to let go of."""

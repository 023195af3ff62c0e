"""Which rooms there are: making them, finding them, placing somebody who takes any.

It writes a room's row. It knows no state of rooms: whoever hosts them here opens those that were
made, and says how many seats are taken; the index says so of those that other nodes have.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random, SystemRandom
from typing import Any, Protocol

import msgspec
import structlog

from gameserver.engine.game import Game
from gameserver.engine.room import decode_settings
from gameserver.services.refusals import Refusal
from persistence.directory import DirectoryUnavailable, RoomLine
from persistence.interfaces import (
    ROOM_CODE_CHARS,
    RoomRow,
    RoomStatus,
    StorageUnavailable,
    Store,
    TooManyRooms,
)
from protocol.messages import ReplyCode

# No vowels, so that no words arise; none of the letters that are taken for digits or each other.
CODE_LETTERS = "BCDFGHJKMNPQRSTVWXZ"
LIST_MAX = 100
CREATE_ATTEMPTS = 8
CREATE_KEY_BYTES = 16
# How long a list of rooms is used again when many ask for any room at once.
LIST_LIFE_NS = 1_000_000_000
PLACES_MAX = 8
INDEX_TIMEOUT_S = 1.0

log = structlog.get_logger(__name__)


class Occupancy(Protocol):
    """Whoever hosts rooms and knows how full they are."""

    def seats(self, room_id: int) -> tuple[int, int] | None:
        """Return seats taken and seats there are, or None if the room is not open here."""

    def seats_claimed(self, room_id: int) -> int:
        """Return the seats that are taken or about to be, durable or not: to place people by."""

    def has_seat(self, room_id: int, account: int) -> bool:
        """Tell whether an account sits in the room, or is about to."""

    def new_room(self, chance: Random) -> tuple[int, int]:
        """Return an id for a new room, and its shard: one that this node has, if it has any."""

    def has(self, shard: int) -> bool:
        """Tell whether this node has a shard."""

    @property
    def is_overloaded(self) -> bool:
        """Tell whether newcomers must wait, so that those who play are served."""

    def turned_away(self) -> int:
        """Count a newcomer who must wait, and return for how many milliseconds."""

    async def prepare(self, row: RoomRow) -> None:
        """Open the room now, if it can be, and not when somebody first comes."""


class Index(Protocol):
    """Where the rooms of all nodes can be found. May raise DirectoryUnavailable."""

    async def places(self, game: str, limit: int) -> tuple[RoomLine, ...]: ...
    async def lines(self, room_ids: Sequence[int]) -> tuple[RoomLine, ...]: ...


@dataclass(frozen=True, slots=True)
class LobbyLimits:
    """Bounds on rooms that have not ended."""

    rooms_max: int
    rooms_per_account_max: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A room as lists show it."""

    room_id: int
    code: str
    game: str
    seats_taken: int
    seats_max: int


class Lobby:
    """The rooms of this server, and of the other nodes if it is given their ``index``.

    ``chance`` is the system's, which nobody can predict, but in simulations.
    """

    def __init__(
        self,
        store: Store,
        games: Mapping[str, Game[Any]],
        occupancy: Occupancy,
        limits: LobbyLimits,
        now_ns: Callable[[], int],
        *,
        chance: Random | None = None,
    ) -> None:
        self.games = games
        self._store = store
        self._occupancy = occupancy
        self._limits = limits
        self._now_ns = now_ns
        self._chance = chance or SystemRandom()
        self.index: Index | None = None
        # Open rooms that this node had, with their shards; about as many as rooms_max allows.
        self._known: dict[int, RoomRow] = {}
        # By game: the newest listed rooms and when they were asked for.
        self._listed: dict[str, tuple[int, list[RoomRow]]] = {}
        self._placing_locks = {name: asyncio.Lock() for name in games}
        # Seats given out to players who have not reached their room yet.
        self._placing: dict[int, int] = {}

    @property
    def known(self) -> list[RoomRow]:
        """Return the open rooms of this node, those included that nobody has joined yet."""
        gone = [one.room_id for one in self._known.values() if not self._occupancy.has(one.shard)]
        for room_id in gone:
            del self._known[room_id]
        return list(self._known.values())

    def note(self, rows: Collection[RoomRow]) -> None:
        """Learn of open rooms that this node has."""
        self._known.update((row.room_id, row) for row in rows)

    async def create(
        self, account: int, game_name: str, key: bytes, *, listed: bool, settings: bytes
    ) -> RoomRow | Refusal:
        """Make a room, or find the one that this account made under this key."""
        game = self.games.get(game_name)
        if game is None:
            return Refusal(ReplyCode.UNKNOWN_GAME, game_name)
        try:
            chosen = msgspec.msgpack.encode(decode_settings(game, settings))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
            return Refusal(ReplyCode.BAD_SETTINGS, str(error))
        is_full = len(self._known) >= self._limits.rooms_max <= len(self.known)
        is_overloaded = self._occupancy.is_overloaded
        # A repeat finds its room even then.
        most = 0 if is_full or is_overloaded else self._limits.rooms_per_account_max
        try:
            row = await self._create(self._row(account, game, key, chosen, listed=listed), most)
        except TooManyRooms:
            if is_overloaded:
                return self._turned_away()
            what = "the server has no room for another one" if is_full else "yours have not ended"
            return Refusal(ReplyCode.TOO_MANY_ROOMS, what)
        if row.status == RoomStatus.OPEN:
            self.note((row,))
            # Else a room to which nobody ever comes would never know that it is empty, and stand
            # for ever: a few guests who make rooms and go would use up all that a server may have.
            await self._occupancy.prepare(row)
        return row

    async def any(
        self, account: int, game_name: str, tried: frozenset[int], *, watch: bool
    ) -> RoomRow | Refusal:
        """Find a listed room with a free seat, but for those in ``tried``, or make one.

        Who only watches needs no seat. Who has a seat already is led back to it, so that asking
        again after a lost answer takes no second one. The seat is kept until `placed` is called.
        """
        if game_name not in self.games:
            return Refusal(ReplyCode.UNKNOWN_GAME, game_name)
        # One at a time: else a hundred who come together would make a hundred rooms.
        async with self._placing_locks[game_name]:
            rows = [
                row
                for row in await self._newest(game_name)
                if row.room_id not in tried and self._is_open_to(account, row, watch=watch)
            ] or await self._elsewhere(game_name, tried)
            if rows:
                # The fullest, so that people meet; of several the newest.
                row = max(rows, key=partial(self._attraction, account, watch=watch))
            elif self._occupancy.is_overloaded:
                return self._turned_away()
            else:
                key = self._chance.randbytes(CREATE_KEY_BYTES)
                made = await self.create(account, game_name, key, listed=True, settings=b"")
                if isinstance(made, Refusal):
                    return made
                row = made
                self._listed[game_name][1].insert(0, row)
            self._placing[row.room_id] = self._placing.get(row.room_id, 0) + 1
            return row

    def placed(self, room_id: int) -> None:
        """Count a seat that `any` gave out no longer: its player is in the room, or gave up."""
        left = self._placing[room_id] - 1
        if left:
            self._placing[room_id] = left
        else:
            del self._placing[room_id]

    def admit(self, account: int, row: RoomRow) -> Refusal | None:
        """Return why an account may not come into a room just now; whoever sits there may."""
        if self._occupancy.is_overloaded and not self._sits(account, row):
            return self._turned_away()
        return None

    async def by_code(self, code: str) -> RoomRow | None:
        """Return the room with this code; capitals do not matter."""
        return await self._store.room_by_code(code.strip().upper())

    async def by_id(self, room_id: int) -> RoomRow | None:
        """Return the room with this id, whatever became of it."""
        row = self._known.get(room_id)
        # Of a row nothing changes but the status; who has the room open here knows that better.
        if row is not None and self._occupancy.seats(room_id) is not None:
            return row
        return await self._store.room(room_id)

    async def list(self, game_name: str) -> tuple[Listing, ...] | Refusal:
        """Return listed rooms of a game, or of all games for "", newest first."""
        if game_name and game_name not in self.games:
            return Refusal(ReplyCode.UNKNOWN_GAME, game_name)
        rows = await self._store.rooms(game_name or None, listed=True, limit=LIST_MAX)
        rows = tuple(
            row for row in rows if row.status == RoomStatus.OPEN and row.game in self.games
        )
        return await self.listings(rows)

    async def listings(self, rows: Sequence[RoomRow]) -> tuple[Listing, ...]:
        """Return the lines of rooms in a list."""
        remote = [row.room_id for row in rows if not self._occupancy.has(row.shard)]
        lines = {line.room_id: line for line in await self._lines(remote)}
        return tuple(self._listing(row, lines.get(row.room_id)) for row in rows)

    def is_here(self, shard: int) -> bool:
        """Tell whether the rooms of a shard are this node's."""
        return self._occupancy.has(shard)

    def closed(self, room_id: int) -> None:
        """Learn that a room is closed for good: it has ended, durably, or was set aside."""
        self._known.pop(room_id, None)

    def line(self, row: RoomRow) -> Listing:
        """Return the line of a room that is here."""
        return self._listing(row, None)

    def _listing(self, row: RoomRow, line: RoomLine | None) -> Listing:
        game = self.games.get(row.game)
        seats_max = game.seats_max if game else 0
        here = self._occupancy.seats(row.room_id)
        seats = here or ((line.seats_taken, line.seats_max) if line else (0, seats_max))
        return Listing(row.room_id, row.code, row.game, *seats)

    def _row(
        self, account: int, game: Game[Any], key: bytes, settings: bytes, *, listed: bool
    ) -> RoomRow:
        room_id, shard = self._occupancy.new_room(self._chance)
        return RoomRow(
            room_id=room_id,
            shard=shard,
            code="".join(self._chance.choices(CODE_LETTERS, k=ROOM_CODE_CHARS)),
            game=game.name,
            rules_version=game.rules_version,
            creator=account,
            create_key=key,
            listed=listed,
            settings=settings,
        )

    async def _create(self, wanted: RoomRow, creator_rooms_max: int) -> RoomRow:
        for _ in range(CREATE_ATTEMPTS):
            row = await self._store.create_room(wanted, creator_rooms_max)
            if row is not None:
                return row
            room_id, shard = self._occupancy.new_room(self._chance)
            code = "".join(self._chance.choices(CODE_LETTERS, k=ROOM_CODE_CHARS))
            wanted = replace(wanted, room_id=room_id, shard=shard, code=code)
        raise StorageUnavailable("no free room code was found")

    async def _elsewhere(self, game_name: str, tried: frozenset[int]) -> Sequence[RoomRow]:
        """Return a room with a free seat that another node has, if the index knows any."""
        if self.index is None:
            return ()
        try:
            async with asyncio.timeout(INDEX_TIMEOUT_S):
                lines = await self.index.places(game_name, PLACES_MAX)
        except (DirectoryUnavailable, TimeoutError) as error:
            log.warning("index_not_read", error=repr(error))
            return ()
        for line in lines:
            if line.room_id in tried or self._placing.get(line.room_id, 0) + line.seats_taken >= (
                line.seats_max
            ):
                continue
            row = await self._store.room(line.room_id)
            if row is not None and row.status == RoomStatus.OPEN and row.listed:
                return (row,)
        return ()

    async def _lines(self, room_ids: Sequence[int]) -> tuple[RoomLine, ...]:
        if self.index is None or not room_ids:
            return ()
        try:
            async with asyncio.timeout(INDEX_TIMEOUT_S):
                return await self.index.lines(room_ids)
        except (DirectoryUnavailable, TimeoutError) as error:
            log.warning("index_not_read", error=repr(error))
            return ()

    async def _newest(self, game_name: str) -> tuple[RoomRow, ...]:
        now_ns = self._now_ns()
        asked_ns, rows = self._listed.get(game_name, (None, []))
        if asked_ns is None or now_ns - asked_ns >= LIST_LIFE_NS:
            rows = list(await self._store.rooms(game_name, listed=True, limit=LIST_MAX))
            self._listed[game_name] = (now_ns, rows)
        return tuple(rows)

    def _is_open_to(self, account: int, row: RoomRow, *, watch: bool) -> bool:
        is_here = self._occupancy.has(row.shard)
        if row.status != RoomStatus.OPEN or not (watch or is_here):
            return False  # How full it is elsewhere, the index knows.
        if self._sits(account, row):
            return True
        if is_here and self._occupancy.is_overloaded:
            return False
        return watch or self._claimed(row) < self.line(row).seats_max

    def _attraction(self, account: int, row: RoomRow, *, watch: bool) -> tuple[bool, int]:
        return not watch and self._sits(account, row), self._claimed(row)

    def _turned_away(self) -> Refusal:
        retry_ms = self._occupancy.turned_away()
        return Refusal(ReplyCode.BUSY, "the server has too much to do", retry_ms)

    def _sits(self, account: int, row: RoomRow) -> bool:
        return self._occupancy.has_seat(row.room_id, account)

    def _claimed(self, row: RoomRow) -> int:
        return self._occupancy.seats_claimed(row.room_id) + self._placing.get(row.room_id, 0)

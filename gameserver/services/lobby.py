"""Which rooms there are: making them, finding them, placing somebody who takes any.

It writes a room's row and knows who made how many. It knows no state of rooms; whoever hosts them
opens those that were made, and says how many seats are taken.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random, SystemRandom
from typing import Any, Protocol

import msgspec

from gameserver.engine.game import Game
from gameserver.engine.room import decode_settings
from gameserver.runtime.keeper import shard_of
from gameserver.services.refusals import Refusal
from persistence.interfaces import (
    ROOM_CODE_CHARS,
    RoomRow,
    RoomStatus,
    StorageUnavailable,
    Store,
    TooManyRooms,
)
from protocol.messages import INT_MAX, ReplyCode

# No vowels, so that no words arise; none of the letters that are taken for digits or each other.
CODE_LETTERS = "BCDFGHJKMNPQRSTVWXZ"
LIST_MAX = 100
CREATE_ATTEMPTS = 8
CREATE_KEY_BYTES = 16
# How long a list of rooms is used again when many ask for any room at once.
LIST_LIFE_NS = 1_000_000_000


class Occupancy(Protocol):
    """Whoever hosts rooms and knows how full they are."""

    def seats(self, room_id: int) -> tuple[int, int] | None:
        """Return seats taken and seats there are, or None if the room is not open here."""

    def seats_claimed(self, room_id: int) -> int:
        """Return the seats that are taken or about to be, durable or not: to place people by."""

    def has_seat(self, room_id: int, account: int) -> bool:
        """Tell whether an account sits in the room, or is about to."""

    async def prepare(self, row: RoomRow) -> None:
        """Open the room now, if it can be, and not when somebody first comes."""


@dataclass(frozen=True, slots=True)
class LobbyLimits:
    """Bounds on rooms that have not ended."""

    rooms_max: int
    rooms_per_account_max: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A room as lists show it."""

    row: RoomRow
    seats_taken: int
    seats_max: int


class Lobby:
    """The rooms of this server.

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
        # Rooms that have not ended, by the creator's key; as many as rooms_max allows.
        self._rows: dict[int, RoomRow] = {}
        self._room_by_key: dict[tuple[int, bytes], int] = {}
        self._count_by_account: dict[int, int] = {}
        # By game: the newest listed rooms and when they were asked for.
        self._listed: dict[str, tuple[int, list[RoomRow]]] = {}
        self._placing_locks = {name: asyncio.Lock() for name in games}
        # Seats given out to players who have not reached their room yet.
        self._placing: dict[int, int] = {}

    async def start(self) -> None:
        """Learn which rooms there are."""
        limit = self._limits.rooms_max
        for row in await self._store.rooms(None, listed=False, limit=limit):
            self._note(row)

    async def create(
        self, account: int, game_name: str, key: bytes, *, listed: bool, settings: bytes
    ) -> RoomRow | Refusal:
        """Make a room, or find the one that this account made under this key."""
        game = self.games.get(game_name)
        if game is None:
            return Refusal(ReplyCode.UNKNOWN_GAME, game_name)
        standing = self._room_by_key.get((account, key))
        if standing is not None:
            return self._rows[standing]
        try:
            chosen = msgspec.msgpack.encode(decode_settings(game, settings))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
            return Refusal(ReplyCode.BAD_SETTINGS, str(error))
        if len(self._rows) >= self._limits.rooms_max:
            return Refusal(ReplyCode.TOO_MANY_ROOMS, "the server has no room for another one")
        if self._count_by_account.get(account, 0) >= self._limits.rooms_per_account_max:
            return Refusal(ReplyCode.TOO_MANY_ROOMS, "rooms you made before have not ended")

        # Counted before the wait, so that requests at the same time do not pass together.
        self._add_to_count(account, 1)
        try:
            row = await self._create(account, game, key, listed=listed, settings=chosen)
        except TooManyRooms:
            return Refusal(ReplyCode.TOO_MANY_ROOMS, "rooms you made before have not ended")
        finally:
            self._add_to_count(account, -1)
        self._note(row)
        # Else a room to which nobody ever comes would never know that it is empty, and stand for
        # ever: a few guests who make rooms and go would use up all that a server may have.
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
            ]
            if rows:
                # The fullest, so that people meet; of several the newest.
                row = max(rows, key=partial(self._attraction, account, watch=watch))
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

    async def by_code(self, code: str) -> RoomRow | None:
        """Return the room with this code; capitals do not matter."""
        return await self._store.room_by_code(code.strip().upper())

    async def by_id(self, room_id: int) -> RoomRow | None:
        """Return the room with this id, whatever became of it."""
        return await self._store.room(room_id)

    async def list(self, game_name: str) -> tuple[Listing, ...] | Refusal:
        """Return listed rooms of a game, or of all games for "", newest first."""
        if game_name and game_name not in self.games:
            return Refusal(ReplyCode.UNKNOWN_GAME, game_name)
        rows = await self._store.rooms(game_name or None, listed=True, limit=LIST_MAX)
        return tuple(
            self.listing(row)
            for row in rows
            if row.status == RoomStatus.OPEN and row.game in self.games
        )

    def listing(self, row: RoomRow) -> Listing:
        """Return a room's line in a list."""
        game = self.games.get(row.game)
        seats = self._occupancy.seats(row.room_id)
        return Listing(row, *(seats or (0, game.seats_max if game else 0)))

    def ended(self, room_id: int) -> None:
        """Learn that a room has ended, durably."""
        row = self._rows.pop(room_id, None)
        if row is not None:
            del self._room_by_key[row.creator, row.create_key]
            self._add_to_count(row.creator, -1)

    async def _create(
        self, account: int, game: Game[Any], key: bytes, *, listed: bool, settings: bytes
    ) -> RoomRow:
        for _ in range(CREATE_ATTEMPTS):
            room_id = 1 + self._chance.randrange(INT_MAX)
            row = await self._store.create_room(
                RoomRow(
                    room_id=room_id,
                    shard=shard_of(room_id),
                    code="".join(self._chance.choices(CODE_LETTERS, k=ROOM_CODE_CHARS)),
                    game=game.name,
                    rules_version=game.rules_version,
                    creator=account,
                    create_key=key,
                    listed=listed,
                    settings=settings,
                ),
                self._limits.rooms_per_account_max,
            )
            if row is not None:
                return row
        raise StorageUnavailable("no free room code was found")

    async def _newest(self, game_name: str) -> tuple[RoomRow, ...]:
        now_ns = self._now_ns()
        asked_ns, rows = self._listed.get(game_name, (None, []))
        if asked_ns is None or now_ns - asked_ns >= LIST_LIFE_NS:
            rows = list(await self._store.rooms(game_name, listed=True, limit=LIST_MAX))
            self._listed[game_name] = (now_ns, rows)
        return tuple(rows)

    def _is_open_to(self, account: int, row: RoomRow, *, watch: bool) -> bool:
        if row.status != RoomStatus.OPEN or watch:
            return row.status == RoomStatus.OPEN
        return self._sits(account, row) or self._claimed(row) < self.listing(row).seats_max

    def _attraction(self, account: int, row: RoomRow, *, watch: bool) -> tuple[bool, int]:
        return not watch and self._sits(account, row), self._claimed(row)

    def _sits(self, account: int, row: RoomRow) -> bool:
        return self._occupancy.has_seat(row.room_id, account)

    def _claimed(self, row: RoomRow) -> int:
        return self._occupancy.seats_claimed(row.room_id) + self._placing.get(row.room_id, 0)

    def _note(self, row: RoomRow) -> None:
        if row.status != RoomStatus.ENDED and row.room_id not in self._rows:
            self._rows[row.room_id] = row
            self._room_by_key[row.creator, row.create_key] = row.room_id
            self._add_to_count(row.creator, 1)

    def _add_to_count(self, account: int, difference: int) -> None:
        count = self._count_by_account.get(account, 0) + difference
        if count:
            self._count_by_account[account] = count
        else:
            del self._count_by_account[account]

"""What can be asked outside rooms: a closed table of methods, each with its typed body.

A method is looked up in the table and nowhere else. Its answer is plain data for the reply, or a
Refusal. Which room somebody sits in is not asked here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from gameserver.engine.schema import describe
from gameserver.services.lobby import Listing, Lobby
from gameserver.services.names import BadName, cleaned
from gameserver.services.refusals import Refusal
from gameserver.services.wallet import Wallet
from persistence.interfaces import Store
from protocol.messages import ReplyCode

GameName = Annotated[str, Meta(max_length=32)]
RoomId = Annotated[int, Meta(ge=1, le=2**53 - 1)]
RoomCode = Annotated[str, Meta(min_length=1, max_length=16)]
Limit = Annotated[int, Meta(ge=1, le=100)]

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)


class Body(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is asked with."""


class Nothing(Body, frozen=True):
    """A request that needs no more than its name."""


class Create(Body, frozen=True):
    """Make a room; the same key finds the same room."""

    game: GameName
    key: Annotated[bytes, Meta(min_length=1, max_length=64)]
    listed: bool
    settings: Raw


class ListRooms(Body, frozen=True):
    """List rooms of a game, or of all games."""

    game: GameName


class Find(Body, frozen=True):
    """Find a room by its code."""

    code: RoomCode


class OfGame(Body, frozen=True):
    """Ask about a game."""

    game: GameName


class Newest(Body, frozen=True):
    """Ask for the newest of something."""

    limit: Limit


class Results(Body, frozen=True):
    """Ask for the newest results of a room."""

    room: RoomId
    limit: Limit


class Leaders(Body, frozen=True):
    """Ask for the best of a game."""

    game: GameName
    limit: Limit


class Rename(Body, frozen=True):
    """Take another name."""

    name: Annotated[str, Meta(max_length=64)]


Answer = object  # Plain data, or a Refusal.


@dataclass(frozen=True, slots=True)
class Method:
    """One method: how its body is read, and who answers."""

    body: msgspec.msgpack.Decoder[Any]
    answer: Callable[[int, Any], Awaitable[Answer]]


class Requests:
    """Answers requests of accounts."""

    def __init__(self, store: Store, lobby: Lobby, wallet: Wallet) -> None:
        self._store = store
        self._lobby = lobby
        self._wallet = wallet
        # Descriptions never change; they are made when first asked for.
        self._descriptions: dict[str, dict[str, Any]] = {}
        table: Mapping[str, tuple[type[Body], Callable[[int, Any], Awaitable[Answer]]]] = {
            "create": (Create, self._create),
            "list": (ListRooms, self._list),
            "find": (Find, self._find),
            "games": (Nothing, self._games),
            "schema": (OfGame, self._schema),
            "balance": (Nothing, self._balance),
            "wallet": (Newest, self._history),
            "results": (Results, self._results),
            "leaders": (Leaders, self._leaders),
            "rename": (Rename, self._rename),
        }
        self._methods = {
            name: Method(msgspec.msgpack.Decoder(body), answer)
            for name, (body, answer) in table.items()
        }

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of all methods."""
        return tuple(self._methods)

    async def answer(self, account: int, method_name: str, body: bytes) -> Answer:
        """Return the reply's body, or a Refusal. May raise StorageError."""
        method = self._methods.get(method_name)
        if method is None:
            return Refusal(ReplyCode.UNKNOWN_METHOD, method_name)
        try:
            question = method.body.decode(body)
        except _UNREADABLE as error:
            return Refusal(ReplyCode.BAD_REQUEST, str(error))
        return await method.answer(account, question)

    async def _create(self, account: int, body: Create) -> Answer:
        row = await self._lobby.create(
            account, body.game, body.key, listed=body.listed, settings=bytes(body.settings)
        )
        return row if isinstance(row, Refusal) else (row.room_id, row.code)

    async def _list(self, _account: int, body: ListRooms) -> Answer:
        listings = await self._lobby.list(body.game)
        if isinstance(listings, Refusal):
            return listings
        return [_line(listing) for listing in listings]

    async def _find(self, _account: int, body: Find) -> Answer:
        row = await self._lobby.by_code(body.code)
        if row is None:
            return Refusal(ReplyCode.NOT_FOUND)
        return _line((await self._lobby.listings((row,)))[0])

    async def _games(self, _account: int, _body: Nothing) -> Answer:
        return [(game.name, game.seats_max, game.title) for game in self._lobby.games.values()]

    async def _schema(self, _account: int, body: OfGame) -> Answer:
        game = self._lobby.games.get(body.game)
        if game is None:
            return Refusal(ReplyCode.UNKNOWN_GAME, body.game)
        if game.name not in self._descriptions:
            self._descriptions[game.name] = describe(game)
        return self._descriptions[game.name]

    async def _balance(self, account: int, _body: Nothing) -> Answer:
        return (await self._wallet.balance(account),)

    async def _history(self, account: int, body: Newest) -> Answer:
        rows = await self._wallet.history(account, body.limit)
        return [(row.transfer_id, row.kind, row.reference, row.amount_minor) for row in rows]

    async def _results(self, _account: int, body: Results) -> Answer:
        rows = await self._store.results(body.room, body.limit)
        return [(row.round_number, row.tick, row.payload) for row in rows]

    async def _leaders(self, _account: int, body: Leaders) -> Answer:
        if body.game not in self._lobby.games:
            return Refusal(ReplyCode.UNKNOWN_GAME, body.game)
        scores = await self._store.scores(body.game, body.limit)
        persons = await self._store.persons([account for account, _ in scores])
        names = {person.account: person.name for person in persons}
        return [(account, names.get(account, ""), points) for account, points in scores]

    async def _rename(self, account: int, body: Rename) -> Answer:
        try:
            name = cleaned(body.name)
        except BadName as error:
            return Refusal(ReplyCode.BAD_NAME, str(error))
        if not await self._store.rename_person(account, name):
            return Refusal(ReplyCode.NOT_FOUND, "the account is not known")
        return (name,)


def _line(listing: Listing) -> tuple[int, str, str, int, int]:
    return (
        *(listing.room_id, listing.code, listing.game),
        *(listing.seats_taken, listing.seats_max),
    )

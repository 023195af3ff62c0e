"""What can be asked outside rooms, and what comes back."""

from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.services.lobby import Lobby, LobbyLimits
from gameserver.services.refusals import Refusal
from gameserver.services.requests import Requests
from gameserver.services.wallet import Wallet
from persistence.interfaces import RoomRow
from persistence.memory import MemoryStore
from protocol import codec
from protocol.messages import ReplyCode
from tests.services.games import TinyGame

ANN, BOB = 11, 12


class NoSeats:
    """A host without a room."""

    is_overloaded = False

    def seats(self, room_id: int) -> tuple[int, int] | None:
        return None

    def seats_claimed(self, room_id: int) -> int:
        return 0

    def has_seat(self, room_id: int, account: int) -> bool:
        return False

    def new_room(self, chance: Random) -> tuple[int, int]:
        return 1 + chance.randrange(2**40), 1

    def has(self, shard: int) -> bool:
        return True

    async def prepare(self, row: RoomRow) -> None:
        pass

    def turned_away(self) -> int:
        return 0


class Rig:
    """All services, and two accounts."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        lobby = Lobby(self.store, {"tiny": TinyGame()}, NoSeats(), LobbyLimits(100, 10), lambda: 0)
        self.requests = Requests(self.store, lobby, Wallet(self.store))

    async def ask(self, method: str, *body: Any, account: int = ANN) -> Any:
        """Ask, and return what the client would read; a refusal becomes its code."""
        await self.store.create_person(ANN, "ann", 700)
        await self.store.create_person(BOB, "bob", 300)
        answer = await self.requests.answer(account, method, codec.packed(body))
        if isinstance(answer, Refusal):
            return answer.code
        reply: Any = codec.decode_outbound(codec.reply_ok(1, answer))
        return msgpack.unpackb(reply.body)


async def test_a_room_is_created_found_and_listed() -> None:
    rig = Rig()
    room, code = await rig.ask("create", "tiny", b"k", True, {"pace": 2})
    assert await rig.ask("create", "tiny", b"k", True, {}) == [room, code]
    line = [room, code, "tiny", 0, 2]
    assert await rig.ask("find", code) == line
    assert await rig.ask("list", "") == await rig.ask("list", "tiny") == [line]
    assert await rig.ask("find", "NOSUCH") is ReplyCode.NOT_FOUND


async def test_games_are_listed_and_described() -> None:
    rig = Rig()
    assert await rig.ask("games") == [["tiny", 2, "Tiny"]]
    description = await rig.ask("schema", "tiny")
    assert description["game"] == "tiny"
    assert await rig.ask("schema", "chess") is ReplyCode.UNKNOWN_GAME


async def test_a_wallet_answers_its_owner() -> None:
    rig = Rig()
    assert await rig.ask("balance") == [700]
    assert await rig.ask("balance", account=BOB) == [300]
    assert await rig.ask("balance", account=99) == [0]
    ((_, _, _, amount_minor),) = await rig.ask("wallet", 10)
    assert amount_minor == 700


async def test_a_name_is_changed_by_the_rules_for_names() -> None:
    rig = Rig()
    assert await rig.ask("rename", "Zoe\u0308") == ["Zoë"]
    assert [row.name for row in await rig.store.persons([ANN])] == ["Zoë"]
    assert await rig.ask("rename", "a\u202eb") is ReplyCode.BAD_NAME
    assert await rig.ask("rename", "x", account=99) is ReplyCode.NOT_FOUND


async def test_results_and_leaders_of_nothing_are_empty() -> None:
    rig = Rig()
    assert await rig.ask("results", 5, 10) == []
    assert await rig.ask("leaders", "tiny", 10) == []
    assert await rig.ask("leaders", "chess", 10) is ReplyCode.UNKNOWN_GAME


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("balance", (1,)),
        ("wallet", ()),
        ("wallet", (0,)),
        ("wallet", (101,)),
        ("wallet", ("ten",)),
        ("results", (0, 10)),
        ("find", ("",)),
        ("find", ("X" * 17,)),
        ("create", ("tiny", b"", True, {})),
        ("create", ("tiny", b"k" * 65, True, {})),
        ("create", ("tiny", "k", True, {})),
        ("create", ("tiny", b"k", 1, {})),
        ("create", ("x" * 33, b"k", True, {})),
        ("create", ("tiny", b"k", True, {}, 1)),
    ],
)
async def test_a_body_that_does_not_fit_is_refused(method: str, body: tuple[Any, ...]) -> None:
    assert await Rig().ask(method, *body) is ReplyCode.BAD_REQUEST


@pytest.mark.parametrize("method", ["", "answer", "_create", "__init__", "Create", "nothing"])
async def test_only_what_is_in_the_table_can_be_called(method: str) -> None:
    assert await Rig().ask(method) is ReplyCode.UNKNOWN_METHOD


@given(st.sampled_from(Rig().requests.methods), st.binary(max_size=200))
async def test_any_bytes_give_an_answer_or_a_refusal(method: str, body: bytes) -> None:
    answer = await Rig().requests.answer(ANN, method, body)
    if not isinstance(answer, Refusal):
        codec.reply_ok(1, answer)

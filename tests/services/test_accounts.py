"""Tokens: who gets in, and everybody who does not."""

import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gameserver.services.accounts import (
    GUEST_LIFE_S,
    LEEWAY_S,
    TICKET_KEPT_S,
    TICKET_LIFE_S,
    Accounts,
    TokenExpired,
    TokenInvalid,
)
from gameserver.services.names import BadName
from persistence.memory import MemoryStore

NOW_S = 1_800_000_000
DAY_S = 24 * 3600
KEY = Ed25519PrivateKey.generate()


class Clock:
    """Seconds since 1970, as a test likes."""

    def __init__(self) -> None:
        self.s = NOW_S

    def __call__(self) -> int:
        return self.s


def make(clock: Callable[[], int] | None = None, store: MemoryStore | None = None) -> Accounts:
    """Return accounts on a store of their own."""
    return Accounts(store or MemoryStore(), KEY, clock or Clock(), play_money_minor=500)


def claims(**changes: Any) -> dict[str, Any]:
    """Return sound claims but for what is changed; None takes a claim out."""
    sound = {
        "iss": "gameserver",
        "aud": "gameserver:play",
        "sub": "42",
        "iat": NOW_S,
        "exp": NOW_S + DAY_S,
        "jti": "x",
    }
    return {name: value for name, value in (sound | changes).items() if value is not None}


def signed(key: Any = KEY, algorithm: str = "EdDSA", **changes: Any) -> str:
    """Return a token."""
    return jwt.encode(claims(**changes), key, algorithm=algorithm)


async def test_a_guest_gets_play_money_and_comes_back() -> None:
    store = MemoryStore()
    accounts = make(store=store)
    guest = await accounts.guest("Zoe\u0308")
    assert guest.name == "Zoë"
    assert await store.balance(guest.account) == 500
    assert accounts.verify(guest.token) == guest.account
    assert await accounts.returning(guest.token) == guest


async def test_a_guest_with_a_bad_name_leaves_nothing() -> None:
    store = MemoryStore()
    with pytest.raises(BadName):
        await make(store=store).guest("a\u202eb")
    assert store.book_balances() == {}


async def test_a_token_past_half_its_life_is_replaced_by_one_for_the_same_account() -> None:
    clock = Clock()
    accounts = make(clock)
    guest = await accounts.guest("ann")
    clock.s += GUEST_LIFE_S // 2 - 10
    assert (await accounts.returning(guest.token)).token == guest.token
    clock.s += 20
    again = await accounts.returning(guest.token)
    assert again.token != guest.token
    clock.s += GUEST_LIFE_S // 2 + 100
    assert accounts.verify(again.token) == guest.account
    with pytest.raises(TokenExpired):
        accounts.verify(guest.token)


async def test_a_ticket_lets_in_once_and_at_its_own_node_alone() -> None:
    store, clock = MemoryStore(), Clock()
    here, there, elsewhere = (make(clock, store) for _ in range(3))
    there.node, elsewhere.node = "there", "elsewhere"
    guest = await here.guest("Ann")
    ticket = here.ticket(guest.account, "there")
    for accounts in (here, elsewhere):
        with pytest.raises(TokenInvalid):
            await accounts.returning(ticket)
    assert (await there.returning(ticket)).token == "", "it is no reason for a new token"
    with pytest.raises(TokenInvalid, match="used already"):
        await there.returning(ticket)
    again = here.ticket(guest.account, "there")
    assert (await there.returning(again)).account == guest.account
    clock.s += TICKET_LIFE_S + LEEWAY_S
    with pytest.raises(TokenExpired):
        await there.returning(again)


async def test_used_tickets_are_forgotten_when_none_of_them_can_be_good() -> None:
    store, clock = MemoryStore(), Clock()
    accounts = make(clock, store)
    accounts.node = "there"
    guest = await accounts.guest("Ann")
    for _ in range(200):
        await accounts.returning(accounts.ticket(guest.account, "there"))
        clock.s += 1
    assert len(accounts._used_tickets) == TICKET_KEPT_S + 1


async def test_a_token_of_an_account_that_is_not_there_is_invalid() -> None:
    with pytest.raises(TokenInvalid):
        await make().returning(signed())


def test_a_sound_token_is_sound() -> None:
    assert make().verify(signed()) == 42


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("iss", "aud", "sub", "iat", "exp", "jti")),
        {"iss": "somebody"},
        {"aud": "gameserver:admin"},
        {"sub": "0"},
        {"sub": "-1"},
        {"sub": "4.2"},
        {"sub": "٤٢"},
        {"sub": str(2**53)},
        {"sub": "9" * 40},
        {"iat": NOW_S + 31},
        {"iat": str(NOW_S)},
        {"exp": str(NOW_S + DAY_S)},
        {"exp": float("inf")},
        {"exp": True},
    ],
    ids=str,
)
def test_a_token_with_other_claims_is_invalid(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenInvalid):
        make().verify(signed(**changes))


def test_clocks_may_differ_by_thirty_seconds() -> None:
    accounts = make()
    assert accounts.verify(signed(iat=NOW_S + 30)) == 42
    assert accounts.verify(signed(exp=NOW_S - 29)) == 42
    with pytest.raises(TokenExpired):
        accounts.verify(signed(exp=NOW_S - 30))


def unsigned(header: dict[str, Any]) -> str:
    """Return a token without a signature, with any header."""
    parts = (json.dumps(part).encode() for part in (header, claims()))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def test_a_token_signed_in_any_other_way_is_invalid() -> None:
    public = KEY.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    accounts = make()
    head, body, signature = signed().split(".")
    for token in (
        "",
        "x",
        "a.b.c",
        signed(Ed25519PrivateKey.generate()),
        jwt.encode(claims(), public, algorithm="HS256"),
        unsigned({"alg": "none", "typ": "JWT"}),
        unsigned({"alg": "None"}),
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-6]}AAAAAA",
        f"{head}.{signed(sub='43').split('.')[1]}.{signature}",
        "é" * 100,
        "." * 2000,
    ):
        with pytest.raises(TokenInvalid):
            accounts.verify(token)

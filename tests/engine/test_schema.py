"""Tests of a game's description for clients: all that they may see has a name, and nothing else."""

from __future__ import annotations

import json

import msgspec

from gameserver.engine.schema import describe
from tests.engine.playing import GAME


def test_what_clients_may_see_has_a_name() -> None:
    described = describe(GAME)
    assert described["roots"] == ["System", "Toy"]
    records = described["records"]
    assert records["Item"]["fields"] == [
        [1, "name", "str", "public"],
        [2, "note", "str", "private"],
    ]
    assert [11, "lamp", "Lamp", False] in records["Toy"]["children"]
    assert [4, "items", "Item", True] in records["Shelf"]["children"]
    assert [100, "TOLD_TO", "then"] in described["reasons"]
    assert [command[:2] for command in described["commands"]] == [[1, "Act"], [2, "Buy"]]


def test_what_nobody_may_see_is_not_even_named() -> None:
    described = describe(GAME)
    assert not {"Vault", "Dice", "Pending", "Ask"} & described["records"].keys()
    text = json.dumps(described)
    for name in ("riddle", "core", "ink", "gold", "vaults", "spent_minor", "asks"):
        assert f'"{name}"' not in text


def test_a_description_is_plain_data() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(describe(GAME))) == describe(GAME)

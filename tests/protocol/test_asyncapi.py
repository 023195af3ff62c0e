"""The machine-readable description does not drift from the types, and says what they say."""

from typing import Any, get_args

import msgspec

from protocol import asyncapi
from protocol.messages import AnyInbound, AnyOutbound
from tests.protocol.rewrite import ASYNCAPI


def made() -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(asyncapi.document())
    return document


def test_the_committed_description_is_the_one_that_the_types_give() -> None:
    assert ASYNCAPI.read_bytes() == asyncapi.document(), "run python -m tests.protocol.rewrite"


def test_every_message_is_described_with_its_type_and_the_names_of_its_fields() -> None:
    components = made()["components"]
    for kind in (*get_args(AnyInbound), *get_args(AnyOutbound)):
        message = components["messages"][kind.__name__]
        assert message["x-type"] == kind.__struct_config__.tag
        assert message["summary"].endswith(".")
        schema = components["schemas"][kind.__name__]
        titles = [item["title"] for item in schema["prefixItems"]]
        assert titles == ["type", *kind.__struct_fields__]
        assert schema["prefixItems"][0]["enum"] == [message["x-type"]]


def test_every_reference_leads_somewhere() -> None:
    document = made()

    def check(node: Any) -> int:
        if isinstance(node, list):
            return sum(map(check, node))
        if not isinstance(node, dict):
            return 0
        if "$ref" in node:
            target = document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
        return ("$ref" in node) + sum(map(check, node.values()))

    assert check(document) > 50


def test_what_may_be_said_is_told_apart_by_direction() -> None:
    operations = made()["operations"]
    for name, kinds in (("receive", AnyInbound), ("send", AnyOutbound)):
        listed = [one["$ref"].rpartition("/")[2] for one in operations[name]["messages"]]
        assert listed == [kind.__name__ for kind in get_args(kinds)]

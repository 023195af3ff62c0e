"""The protocol as an AsyncAPI 3.0 document, made from the message types alone.

``document()`` returns it as JSON. ``protocol/asyncapi.json`` holds it for people and tools that do
not run Python; a test compares the two, and ``python -m tests.protocol.rewrite`` renews the file.
"""

from typing import Any, get_args

import msgspec

from protocol.closes import CloseCode
from protocol.messages import SUBPROTOCOL, AnyInbound, AnyOutbound, ErrorBody


def document() -> bytes:
    """Return the document, indented, the same bytes for the same types."""
    inbound, outbound = get_args(AnyInbound), get_args(AnyOutbound)
    _, schemas = msgspec.json.schema_components(
        (*inbound, *outbound, ErrorBody), ref_template="#/components/schemas/{name}"
    )
    channel = "#/channels/game"
    messages = {kind.__name__: _message(kind) for kind in (*inbound, *outbound)}
    made = {
        "asyncapi": "3.0.0",
        "info": {
            "title": SUBPROTOCOL,
            "version": SUBPROTOCOL.removeprefix("gs.v") + ".0.0",
            "description": "Rooms, commands and deltas over a binary WebSocket of the subprotocol "
            f"{SUBPROTOCOL}. Each message is one MessagePack array whose first element is the "
            "message type. protocol/README.md explains the rules.",
        },
        "defaultContentType": "application/vnd.msgpack",
        "channels": {
            "game": {
                "address": "/ws",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            "receive": _operation("receive", "What a client sends.", channel, inbound),
            "send": _operation("send", "What the server sends.", channel, outbound),
        },
        "components": {"messages": messages, "schemas": _named_fields(schemas)},
        "x-close-codes": {code.name: code.value for code in CloseCode},
    }
    return msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n"


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "name": kind.__name__,
        "summary": (kind.__doc__ or "").partition("\n")[0],
        "x-type": kind.__struct_config__.tag,
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }


def _operation(
    action: str, summary: str, channel: str, kinds: tuple[type[msgspec.Struct], ...]
) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{kind.__name__}"} for kind in kinds],
    }


def _named_fields(schemas: dict[str, Any]) -> dict[str, Any]:
    """Add the names of fields: in an array JSON Schema has places alone."""
    kinds = {
        kind.__name__: kind
        for kind in (*get_args(AnyInbound), *get_args(AnyOutbound))
        if kind.__name__ in schemas
    }
    for name, schema in schemas.items():
        if name in kinds:
            names = ("type", *kinds[name].__struct_fields__)
            for item, field in zip(schema["prefixItems"], names, strict=True):
                item["title"] = field
    return dict(sorted(schemas.items()))

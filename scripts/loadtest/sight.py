"""What a bot sees, by name: the client's view read with the server's answer to "schema".

It knows how records, fields and commands are called and nothing of what they mean.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from protocol.view import GAME_RECORD, ROOM_RECORD, View

Key = Any


class Move(NamedTuple):
    """A command that a bot wants to send, by names. ``body`` is sent instead if it is given."""

    command: str
    fields: Mapping[str, Any] = {}
    body: bytes = b""


class Field(NamedTuple):
    """A field's number, and the names of its values if it is an enum."""

    number: int
    names: Mapping[int, str]


class Child(NamedTuple):
    """A table or a single record below a record."""

    number: int
    type: str


class Schema:
    """The names of one game."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        self.game: str = described["game"]
        self.seats_max: int = described["seats_max"]
        self.roots: tuple[str, str] = tuple(described["roots"])
        self.fields: dict[str, dict[str, Field]] = {}
        self.children: dict[str, dict[str, Child]] = {}
        for name, record in described["records"].items():
            self.fields[name] = {
                field: Field(number, _enum_names(kind))
                for number, field, kind, *_ in record["fields"]
            }
            self.children[name] = {
                child: Child(number, kind) for number, child, kind, *_ in record["children"]
            }
        self.commands: dict[str, tuple[int, tuple[str, ...]]] = {
            name: (tag, tuple(field for field, *_ in fields))
            for tag, name, fields, *_ in described["commands"]
        }
        settings = described.get("settings") or {}
        self.settings: Mapping[str, Any] = settings

    def body(self, move: Move) -> list[Any]:
        """Return the array that stands for a move on the wire; last fields may be left out."""
        tag, names = self.commands[move.command]
        given = names[: len(move.fields)]
        if move.fields.keys() != set(given):
            raise KeyError(f"{move.command} takes {names}, not {tuple(move.fields)}")
        return [tag, *(move.fields[name] for name in given)]


def _enum_names(kind: str) -> dict[int, str]:
    """Read ``enum 1=OPEN 2=CLOSED``."""
    if not kind.startswith("enum "):
        return {}
    pairs = (pair.split("=") for pair in kind.split()[1:])
    return {int(number): name for number, name in pairs}


class Node:
    """One record of a view, read by name."""

    __slots__ = ("_schema", "_view", "number", "type")

    def __init__(self, schema: Schema, view: View, type_: str, number: int) -> None:
        self._schema = schema
        self._view = view
        self.type = type_
        self.number = number

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field's value, or ``default`` if this viewer does not see it."""
        return self._view.value(self.number, self._schema.fields[self.type][name].number, default)

    def enum(self, name: str) -> str:
        """Return the name of an enum's value; "" if it is not seen."""
        field = self._schema.fields[self.type][name]
        return field.names.get(self._view.value(self.number, field.number, -1), "")

    def rows(self, name: str) -> dict[Key, "Node"]:
        """Return the records of a table by key."""
        child = self._schema.children[self.type][name]
        numbers = self._view.children(self.number, child.number)
        return {
            key: Node(self._schema, self._view, child.type, number)
            for key, number in numbers.items()
        }

    def row(self, name: str, key: Key) -> "Node | None":
        """Return one record of a table, or None if it is not seen."""
        child = self._schema.children[self.type][name]
        number = self._view.child(self.number, child.number, key)
        return None if number is None else Node(self._schema, self._view, child.type, number)

    def part(self, name: str) -> "Node | None":
        """Return a single record below this one."""
        return self.row(name, None)

    def count(self, name: str) -> int:
        """Return how many records of a table are seen."""
        child = self._schema.children[self.type][name]
        return len(self._view.children(self.number, child.number))


class Sight:
    """A room as the player on ``seat`` sees it."""

    __slots__ = ("game", "room", "room_id", "schema", "seat", "view")

    def __init__(self, schema: Schema, view: View, seat: int, room_id: int) -> None:
        self.room_id = room_id
        self.schema = schema
        self.view = view
        self.seat = seat
        self.room = Node(schema, view, schema.roots[0], ROOM_RECORD)
        self.game = Node(schema, view, schema.roots[1], GAME_RECORD)

    @property
    def tick(self) -> int:
        """The last tick that was seen to its end."""
        return self.view.closed_tick or 0

    @property
    def is_open(self) -> bool:
        """Whether the engine still takes commands for this room."""
        return bool(self.room.get("open", True))

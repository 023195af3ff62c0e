"""What the numbers of a view are called, from the answer to the request "schema".

It knows how a schema is laid out and no game. A view works without it; people read better with it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from protocol.view import GAME_RECORD, ROOM_RECORD, View


class Names:
    """Names for the records and fields of one game."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._roots = dict(zip((ROOM_RECORD, GAME_RECORD), schema["roots"], strict=True))
        records: Mapping[str, Any] = schema["records"]
        # By type: number -> (name, type of the value).
        self._fields: dict[str, dict[int, tuple[str, str]]] = {
            kind: {number: (name, value) for number, name, value, _ in record["fields"]}
            for kind, record in records.items()
        }
        # By type: number -> (name, type of the record, whether it is a table).
        self._children: dict[str, dict[int, tuple[str, str, bool]]] = {
            kind: {
                number: (name, child, table) for number, name, child, table in record["children"]
            }
            for kind, record in records.items()
        }

    def type_of(self, view: View, record: int) -> str | None:
        """Return the name of a record's type, or None if the schema does not know it."""
        place = view.places.get(record)
        if place is None:
            return self._roots.get(record)
        parent = self.type_of(view, place.parent)
        child = self._children.get(parent or "", {}).get(place.field)
        return None if child is None else child[1]

    def records(self, view: View, kind: str) -> list[int]:
        """Return the records of a type that the view has, by number."""
        return [record for record in sorted(view.records) if self.type_of(view, record) == kind]

    def number(self, kind: str, name: str) -> int:
        """Return the number of a field or child by its name; KeyError if there is none."""
        for numbers in (self._fields[kind], self._children[kind]):
            for number, named in numbers.items():
                if named[0] == name:
                    return number
        raise KeyError(f"{kind} has no {name}")

    def named(self, view: View, record: int = GAME_RECORD) -> dict[str, Any]:
        """Return a record and all below it by names; what has no name keeps its number."""
        kind = self.type_of(view, record) or ""
        named = dict(self._named_fields(view, record, kind))
        for field, (name, _, is_table) in self._children.get(kind, {}).items():
            children = view.children(record, field)
            if is_table:
                named[name] = {key: self.named(view, number) for key, number in children.items()}
            elif children:
                named[name] = self.named(view, next(iter(children.values())))
        return named

    def _named_fields(self, view: View, record: int, kind: str) -> Iterator[tuple[str, Any]]:
        fields = self._fields.get(kind, {})
        for number, value in view.records[record].items():
            name, type_name = fields.get(number, (str(number), ""))
            yield name, _member(type_name, value)


def _member(type_name: str, value: Any) -> Any:
    """Return an enum's value by its name; its type is written ``enum 0=OPEN 1=LOCKED``."""
    kind, *members = type_name.split(" ")
    if kind != "enum":
        return value
    names = dict(member.split("=", 1) for member in members)
    return names.get(str(value), value)

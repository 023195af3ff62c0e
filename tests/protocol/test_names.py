"""A view told in names, by what the server says about a game."""

from typing import Any

import pytest

from protocol.messages import Full
from protocol.names import Names
from protocol.view import View

SCHEMA: dict[str, Any] = {
    "roots": ["System", "Board"],
    "records": {
        "System": {
            "fields": [[1, "open", "bool", "public"]],
            "children": [[4, "seats", "Seat", True]],
        },
        "Seat": {"fields": [[1, "account", "int", "public"]], "children": []},
        "Board": {
            "fields": [[1, "phase", "enum 0=OPEN 1=LOCKED", "public"]],
            "children": [[2, "cells", "Cell", True], [3, "clock", "Clock", False]],
        },
        "Cell": {"fields": [[1, "owner", "int", "public"]], "children": []},
        "Clock": {"fields": [[1, "ends_tick", "int", "public"]], "children": []},
    },
}

SEEN = [
    *(1, 1, True),
    *(3, 0, [1, 4, 0], 3, 1, 77),
    *(2, 1, 1),
    *(4, 0, [2, 2, "a"], 4, 1, 0),
    *(5, 0, [2, 2, "b"], 5, 1, 1),
    *(6, 0, [2, 3, None], 6, 1, 500, 6, 9, "new"),
]


def view() -> View:
    seen = View()
    seen.apply(Full(5, 10, SEEN, []))
    return seen


def test_a_room_is_told_in_names() -> None:
    names = Names(SCHEMA)
    assert names.named(view()) == {
        "phase": "LOCKED",
        "cells": {"a": {"owner": 0}, "b": {"owner": 1}},
        "clock": {"ends_tick": 500, "9": "new"},
    }
    assert names.named(view(), 1) == {"open": True, "seats": {0: {"account": 77}}}


def test_records_are_found_by_type_and_numbers_by_name() -> None:
    names = Names(SCHEMA)
    assert names.records(view(), "Cell") == [4, 5]
    assert names.records(view(), "Board") == [2]
    assert (names.number("Board", "phase"), names.number("Board", "cells")) == (1, 2)
    with pytest.raises(KeyError, match="Board has no suits"):
        names.number("Board", "suits")


def test_what_the_schema_does_not_know_keeps_its_number() -> None:
    seen = view()
    seen.apply(Full(5, 11, [2, 1, 7, 2, 8, "x", 7, 0, [2, 44, 1], 7, 1, 1], []))
    names = Names(SCHEMA)
    assert names.named(seen) == {"phase": 7, "8": "x", "cells": {}}
    assert names.type_of(seen, 7) is None
    assert names.named(seen, 7) == {"1": 1}

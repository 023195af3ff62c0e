"""The written protocol is the one that is spoken: its tables and every byte of its exchange."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, get_args

import msgpack
import msgspec
import pytest

import protocol
from protocol import messages
from protocol.closes import CloseClass, CloseCode, close_class
from protocol.codec import decode_inbound, decode_outbound, encode_inbound
from protocol.messages import AnyInbound, AnyOutbound, Delta, Full, Private
from protocol.session import ON_CLIENT_RECEIVE, ON_RECEIVE, ClientSession, ServerSession, State
from protocol.view import Applied, Place, View

README = Path(protocol.__file__).with_name("README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return what stands below a heading, up to the next one of any level."""
    _, _, rest = README.partition(f"# {title}\n")
    assert rest, f"there is no heading {title}"
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the tables in ``text``, but for the rules below heads."""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("title", "kinds"), [("From the client", AnyInbound), ("From the server", AnyOutbound)]
)
def test_the_tables_of_messages_list_every_type_and_field(title: str, kinds: Any) -> None:
    written = [row[:3] for row in rows(section(title)) if row[0].isdigit()]
    spoken = [
        [str(kind.__struct_config__.tag), kind.__name__, ", ".join(kind.__struct_fields__)]
        for kind in get_args(kinds)
    ]
    assert written == spoken


def test_the_tables_of_codes_list_every_code() -> None:
    enums: tuple[type[IntEnum], ...] = (
        messages.ReplyCode,
        messages.DeferralCode,
        messages.LeftCode,
        messages.InvalidCode,
        messages.OutcomeKind,
    )
    written: list[list[tuple[int, str]]] = [[] for _ in enums]
    for row in list(rows(section("Codes")))[1:]:
        for column, listed in enumerate(written):
            code, name = row[2 * column : 2 * column + 2]
            if code:
                listed.append((int(code), name))
    assert written == [[(member.value, member.name) for member in enum] for enum in enums]


def test_the_tables_of_states_are_those_of_the_sessions() -> None:
    tables: list[dict[tuple[str, str], str]] = []
    for before, kinds, after in rows(section("3. Sessions")):
        if before.endswith("state"):
            tables.append({})
        else:
            tables[-1] |= {(before, kind): after for kind in kinds.split(", ")}
    spoken = [
        {
            (state.value, kind.__name__): then.value
            for state, takes in table.items()
            for kind, then in takes.items()
        }
        for table in (ON_RECEIVE, ON_CLIENT_RECEIVE)
    ]
    assert tables == spoken


def test_the_table_of_close_codes_lists_every_code() -> None:
    written = [(int(row[0]), row[1]) for row in rows(section("8. Closing")) if row[0].isdigit()]
    assert written == [(code.value, code.name) for code in CloseCode]


def test_the_classes_of_close_codes_are_as_written() -> None:
    written = {row[0]: row[1] for row in rows(section("8. Closing")) if "xx" in row[1]}
    assert list(written) == [CloseClass.RECONNECT.value, "stop", "elsewhere"]
    for name, codes in written.items():
        for hundred in re.findall(r"(\d\d)xx", codes):
            assert close_class(int(hundred) * 100).value == name
        for code in re.findall(r"\b\d{4}\b", codes):
            assert close_class(int(code)).value == name


@dataclass(frozen=True)
class Line:
    """One message of the worked exchange."""

    side: str
    name: str
    payload: bytes
    value: list[Any]


def exchange() -> list[list[Line]]:
    """Return the messages of each connection of the worked exchange."""
    connections: list[list[Line]] = []
    for block in re.findall(r"```exchange\n(.*?)```", README, flags=re.DOTALL):
        for side, name, digits, value in re.findall(
            r"^([CS]) (\w+)\n((?:  [0-9a-f ]+\n)+)  = (.*)\n", block, flags=re.MULTILINE
        ):
            if name == "Hello":
                connections.append([])
            payload = bytes.fromhex("".join(digits.split()))
            connections[-1].append(Line(side, name, payload, json.loads(value)))
    return connections


LINES = [line for connection in exchange() for line in connection]


def test_the_exchange_was_read_whole() -> None:
    blocks = "".join(re.findall(r"```exchange\n(.*?)```", README, flags=re.DOTALL))
    assert len(LINES) == blocks.count("  = ") == len(re.findall("^[CS] ", blocks, re.MULTILINE))
    assert len(exchange()) == 3
    assert len({line.name for line in LINES}) >= 21


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.side}-{line.name}")
def test_every_message_of_the_exchange_says_what_is_written_beside_it(line: Line) -> None:
    assert msgpack.unpackb(line.payload) == line.value
    message: AnyInbound | AnyOutbound
    if line.side == "C":
        message = decode_inbound(line.payload)
        assert encode_inbound(message) == line.payload
    else:
        message = decode_outbound(line.payload)
        assert msgspec.msgpack.encode(message) == line.payload
    assert type(message).__name__ == line.name


def test_the_exchange_is_legal_on_both_sides() -> None:
    ends: list[tuple[State, State]] = []
    for connection in exchange():
        server, client = ServerSession(), ClientSession()
        for line in connection:
            (server if line.side == "C" else client).receive(line.payload)
        ends.append((server.state, client.state))
    opened = (State.OPEN, State.OPEN)
    assert ends == [opened, opened, (State.CLOSED, State.CLOSED)]


def test_the_exchange_leads_to_the_view_that_is_written_below_it() -> None:
    view = View()
    closed: list[int] = []
    for line in LINES:
        message = decode_outbound(line.payload) if line.side == "S" else None
        if isinstance(message, Full | Delta | Private):
            applied = view.apply(message)
            assert isinstance(applied, Applied)
            assert not applied.repeat
            closed += [applied.tick] if applied.closes else []
    end = re.findall(
        r"record (\d): `(\{.*?\})`", README.partition("At the end of it")[2]
    ) + re.findall(r"(\d): `(\{.*?\})`", README.partition("below it seats")[2])
    for number, fields in end:
        written = {
            int(field): json.loads(value) for field, value in re.findall(r"(\d+): (\w+)", fields)
        }
        assert view.records[int(number)] == written
    assert sorted(view.records) == sorted(int(number) for number, _ in end)
    assert view.places == {3: Place(1, 4, 0), 4: Place(1, 4, 1)}
    assert view.closed_tick == 1222 == int(re.findall(r"closed\s+tick (\d+)\.", README)[-1])
    resumed = next(line.value for line in LINES if line.name == "Resume")
    assert resumed[3] == closed[closed.index(1210)]


def test_each_command_of_the_exchange_has_one_final_answer() -> None:
    sent = {line.value[2] for line in LINES if line.name == "Command"}
    told: dict[int, list[Any]] = {}
    for line in LINES:
        if line.name in ("Private", "Outcomes"):
            for outcome in line.value[5 if line.name == "Private" else 2]:
                assert told.setdefault(outcome[0], outcome) == outcome
    assert set(told) == sent

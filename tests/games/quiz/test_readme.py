"""What the quiz's README says of settings, commands and reasons is what the code has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from gameserver.games import quiz
from gameserver.games.quiz.commands import COMMANDS, REASONS
from gameserver.games.quiz.settings import Settings

assert quiz.__file__ is not None
README = (Path(quiz.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_there_with_its_default_and_bounds() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (.+?) \| .*\|$", _part("Settings"), re.MULTILINE)
    told = {name: (default, bounds) for name, default, bounds in rows}
    assert told == _settings()


def _settings() -> dict[str, tuple[str, str]]:
    schema: dict[str, Any] = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    return {
        name: (
            f'`"{one["default"]}"`' if "enum" in one else str(one["default"]),
            ", ".join(f'`"{choice}"`' for choice in one["enum"])
            if "enum" in one
            else f"{one['minimum']} to {one['maximum']}",
        )
        for name, one in schema.items()
    }


def test_every_command_is_there_with_its_tag_and_fields() -> None:
    rows = re.findall(r"^\| (\d) \| `(\w+)` \| (.*)\|$", _part("Commands"), re.MULTILINE)
    assert [(int(tag), name) for tag, name, _ in rows] == [
        (command.__struct_config__.tag, command.__name__) for command in COMMANDS
    ]
    for (_, _, fields), command in zip(rows, COMMANDS, strict=True):
        assert re.findall(r"`(\w+)`", fields) == list(command.__struct_fields__)


def test_every_reason_is_there_with_its_code() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", _part("Commands"), re.MULTILINE)
    assert [(int(code), name) for code, name in rows] == [
        (reason.code, reason.name) for reason in REASONS
    ]


def test_the_order_of_the_reasons_is_that_of_the_commands() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`[A-Z_`, ]+) \|$", _part("Commands"), re.MULTILINE)
    assert [name for name, _ in rows] == [command.__name__ for command in COMMANDS]
    for (_, reasons), command in zip(rows, COMMANDS, strict=True):
        documented = re.findall(r"[A-Z_]{2,}", command.validate.__doc__ or "")
        assert re.findall(r"[A-Z_]{2,}", reasons) == documented


def _part(title: str) -> str:
    return re.split(r"^## ", README.split(f"## {title}\n", 1)[1], flags=re.MULTILINE)[0]

"""The README: its example is a game that works as written, its claims have the tests they name."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from gameserver import app
from gameserver.config import Config
from protocol.client import Client
from protocol.view import GAME_RECORD
from tests.e2e.server import running

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
WINNER = 4
ROW = re.compile(r"^\| .* \| .* \| \[([^\]]+)\]\((tests/[^)]+)\) \|$", re.MULTILINE)


def test_every_row_of_what_happens_when_has_its_test() -> None:
    rows = ROW.findall(README)
    assert len(rows) >= 20
    for words, path in rows:
        name = "test_" + words.replace(" ", "_")
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), name


def test_every_script_and_benchmark_that_is_named_is_there() -> None:
    for name in re.findall(r"\./(scripts/[a-z]+)", README):
        assert (ROOT / name).exists(), name
    for module in re.findall(r"-m (scripts\.[a-z.]+)", README):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module


def example(name: str) -> str:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return next(block for block in blocks if name in block)


def test_the_example_game_is_short_and_is_loaded_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = example("class Nim(")
    code = [line for line in text.splitlines() if line.strip()]
    assert len(code) <= 70
    (tmp_path / "nim.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nim", raising=False)
    assert list(app.load_games(Config(games=("nim:Nim",)))) == ["nim"]


async def test_the_example_game_is_played_over_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nim.py").write_text(example("class Nim("))
    with running(
        tmp_path / "data", "--store", "memory", "--games", "nim:Nim", games_dir=tmp_path
    ) as server:
        async with Client(server.url, name="ann") as ann, Client(server.url, name="bob") as bob:
            first = await ann.join(game="nim")
            alone = await first.command([1, 1])
            assert alone.name == "ONE_IS_MISSING"
            second = await bob.join(room_id=first.id)
            rooms = {first.seat: first, second.seat: second}
            await first.until(lambda view: view.value(GAME_RECORD, 3) > 0)
            turn = first.view.value(GAME_RECORD, 2)
            wrong = await rooms[1 - turn].command([1, 1])
            assert wrong.name == "NOT_YOUR_TURN"
            for stones in (3,) * 6 + (2,):
                assert (await rooms[turn].command([1, stones])).accepted
                turn = 1 - turn
            late = await rooms[turn].command([1, 3])
            assert (late.name, late.field) == ("TOO_MANY_STONES", "stones")
            last = await rooms[turn].command([1, 1])
            assert last.accepted
            assert first.view.value(GAME_RECORD, WINNER) == turn
            leaders = await ann.request("leaders", ["nim", 10])
            assert [row[2] for row in leaders] == [1]


def test_the_python_example_compiles_as_written() -> None:
    compile(example("Client("), "README.md", "exec")

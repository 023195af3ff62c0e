"""A file of heads that was damaged is told as such, whatever stands in it now."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gameserver.services.audit import heads as audit_heads
from gameserver.services.audit.heads import (
    BadLine,
    HeadsFile,
    head_line,
    read_heads,
)
from persistence.auditing import SignedHead

HEAD = SignedHead(
    shard=1, link=7, epoch=2, head=bytes(32), signed_ms=5, key_id=bytes(8), signature=bytes(64)
)
GOOD = head_line(HEAD) + "\n"


def with_value(name: str, value: object) -> str:
    """Return a line in which one value is another."""
    return json.dumps({**json.loads(GOOD), name: value}) + "\n"


def test_a_line_that_was_written_is_read_again() -> None:
    assert read_heads([GOOD]) == [HEAD]


@pytest.mark.parametrize("name", ["shard", "link", "epoch", "signed_ms"])
@pytest.mark.parametrize("value", [-1, 2**64, 10**40, 1.5, float("inf"), float("nan"), True, "1"])
def test_a_number_that_no_head_can_have_is_told(name: str, value: object) -> None:
    with pytest.raises(BadLine, match="line 2 is not a signed head"):
        read_heads([GOOD, with_value(name, value)])


@pytest.mark.parametrize(
    "line", ["", "null", "5", "[]", '"accepted"', '{"accepted": 5}', "[" * 100_000, "\0\ufffd"]
)
def test_what_is_no_head_at_all_is_told(line: str) -> None:
    with pytest.raises(BadLine, match="line 2 is not a signed head"):
        read_heads([GOOD, f"{line}\n"])


async def test_the_files_of_nodes_that_share_a_folder_are_read_as_one_in_the_order_of_their_times(
    tmp_path: Path,
) -> None:
    first, second = HeadsFile(tmp_path, 7400), HeadsFile(tmp_path, 7401)
    heads = [replace(HEAD, link=link, signed_ms=10 * link) for link in range(1, 6)]
    for head in heads:
        await (first if head.link % 2 else second).keep([head])
    assert read_heads(HeadsFile(tmp_path).lines()) == heads
    assert first.lines() == second.lines()
    await second.accept([HEAD.shard], 45)  # All but what was signed afterwards, by whomever.
    assert read_heads(first.lines()) == [heads[-1]]


async def test_a_clock_that_was_set_back_does_not_undo_what_was_accepted(tmp_path: Path) -> None:
    only = HeadsFile(tmp_path)
    await only.keep([replace(HEAD, signed_ms=100)])
    await only.accept([HEAD.shard], 90)
    assert read_heads(only.lines()) == []
    await only.keep([replace(HEAD, signed_ms=80)])
    assert len(read_heads(only.lines())) == 1


async def test_the_file_in_which_a_line_is_damaged_is_named(tmp_path: Path) -> None:
    await HeadsFile(tmp_path, 7400).keep([HEAD])
    damaged = HeadsFile(tmp_path, 7401)
    await damaged.keep([HEAD])
    assert damaged.bad_line() == ""
    path = tmp_path / "journal-heads-7401.jsonl"
    path.write_text(path.read_text() + "nonsense\n")
    with pytest.raises(BadLine):
        read_heads(HeadsFile(tmp_path, 7400).lines())
    told = HeadsFile(tmp_path, 7400).bad_line()
    assert told.startswith(f"{path}: line 2 is not a signed head")


async def test_a_long_file_keeps_the_newest_heads_of_each_shard_and_all_that_is_no_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_heads, "LINES_KEPT", 3)
    file = HeadsFile(tmp_path)
    await file.accept([5], 1)
    for link in range(1, 9):
        await file.keep([replace(HEAD, shard=link % 2, link=link, signed_ms=link)])
    with (tmp_path / "journal-heads.jsonl").open("a") as damaged:
        damaged.write("damaged\n")
    monkeypatch.setattr(audit_heads, "FILE_BYTES_MAX", 1000)
    await file.keep([replace(HEAD, shard=2, link=9, signed_ms=9)])
    lines = file.lines()
    lines.remove("damaged\n")
    assert "accepted" in lines[0]
    assert [row.link for row in read_heads(lines)] == [4, 6, 8, 3, 5, 7, 9]

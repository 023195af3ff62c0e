"""A file of heads that was damaged is told as such, whatever stands in it now."""

from __future__ import annotations

import json

import pytest

from gameserver.services.audit.heads import BadLine, head_line, read_heads
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

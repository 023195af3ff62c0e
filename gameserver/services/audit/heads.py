"""Heads that nodes have signed, and the file beside the database in which they stand as well.

The file is what finds a journal that was cut off together with all that the database says of it.
Each line is a JSON object. A node adds lines, and when there are very many keeps the newest of each
shard: those find what was cut off, and the database has them all. A line with ``accepted`` says
that an operator has taken a database that had gone backwards: what was signed before is history.
"""

from __future__ import annotations

import asyncio
import base64
import heapq
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gameserver.services.audit.report import Report
from persistence.auditing import Records, SignedHead, is_signed, key_id
from persistence.interfaces import INTEGER_MAX

TAIL_BYTES = 64 * 1024  # More than the lines that are added at once.
STEM = "journal-heads"
FILE_BYTES_MAX = 16 * 2**20  # Then it is made shorter; 64 busy shards come to that in a day.
LINES_KEPT = 100  # Of each shard.


class BadLine(ValueError):
    """A line of the file is not one that a node wrote."""


def head_line(row: SignedHead) -> str:
    """Return a signed head as a line of the file."""
    return json.dumps(
        {
            "shard": row.shard,
            "link": row.link,
            "epoch": row.epoch,
            "head": row.head.hex(),
            "signed_ms": row.signed_ms,
            "key": row.key_id.hex(),
            "signature": base64.b64encode(row.signature).decode(),
        }
    )


def accepted_line(shards: Sequence[int], accepted_ms: int) -> str:
    """Return the line which says that shards that went backwards were accepted."""
    return json.dumps({"accepted": list(shards), "accepted_ms": accepted_ms})


def read_heads(lines: Iterable[str]) -> list[SignedHead]:
    """Return the heads of a file that still count; BadLine if a line is none.

    A last line without its end is what a crash has left of it, and is passed over.
    """
    heads: dict[int, list[SignedHead]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            break
        try:
            found = json.loads(line)
            if "accepted" in found:
                for shard in found["accepted"]:
                    heads.pop(shard, None)
                continue
            row = SignedHead(
                shard=_number(found["shard"]),
                link=_number(found["link"]),
                epoch=_number(found["epoch"]),
                head=bytes.fromhex(found["head"]),
                signed_ms=_number(found["signed_ms"]),
                key_id=bytes.fromhex(found["key"]),
                signature=base64.b64decode(found["signature"], validate=True),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadLine(f"line {number} is not a signed head: {error!r}") from error
        heads.setdefault(row.shard, []).append(row)
    return [row for shard in sorted(heads) for row in heads[shard]]


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= INTEGER_MAX:
        raise ValueError(f"{value!r} is no number of a head")
    return value


def _whole_lines(path: Path) -> list[str]:
    text = path.read_text("utf-8", "replace")
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _shard_of(line: str) -> int | None:
    """Return the shard of a head; None for any other line, which is for whoever reads the file."""
    try:
        return _number(json.loads(line)["shard"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _written_ms(line: str) -> int:
    """Return when a line was written, as far as it says so."""
    try:
        found = json.loads(line)
        return _number(found["accepted_ms" if "accepted" in found else "signed_ms"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0  # Whoever reads it says what is wrong with it.


class Heads:
    """The heads of database and file, shard by shard, with signatures that are good."""

    def __init__(
        self, records: Records, lines: Iterable[str], key: Ed25519PublicKey, report: Report
    ) -> None:
        self._records = records
        self._key = key
        self._report = report
        self._in_file: dict[int, list[SignedHead]] = {}
        try:
            for row in read_heads(lines):
                self._in_file.setdefault(row.shard, []).append(row)
        except BadLine as error:
            report.find(f"file of heads: {error}")

    async def shards(self) -> frozenset[int]:
        """Return all shards of which a head was signed."""
        return await self._records.shards_signed() | self._in_file.keys()

    async def of(self, shard: int) -> list[SignedHead]:
        """Return the heads of a shard; find fault with those that nobody has signed."""
        rows = [("database", row) async for row in self._records.signed_heads(shard)]
        rows += [("file", row) for row in self._in_file.get(shard, ())]
        good: list[SignedHead] = []
        for where, row in rows:
            if row.key_id != key_id(self._key):
                what = f"the signed head in the {where} was made with another key"
            elif not is_signed(row, self._key):
                what = f"the signed head in the {where} has a signature that is not its own"
            else:
                good.append(row)
                continue
            self._report.find(what, shard=row.shard, link=row.link)
        return good


async def gone_backwards(
    records: Records, lines: Iterable[str], key: Ed25519PublicKey
) -> dict[int, str]:
    """Return, by shard, why the database is not the one that the file of heads was signed for."""
    newest: dict[int, SignedHead] = {}
    for row in read_heads(lines):
        if is_signed(row, key) and row.link >= newest.get(row.shard, row).link:
            newest[row.shard] = row
    links = {row.shard: row.link for row in await records.shards()}
    floors = {row.shard: row for row in await records.floors()}
    wrong: dict[int, str] = {}
    for shard, row in sorted(newest.items()):
        last = links.get(shard, 0)
        if last < row.link:
            wrong[shard] = f"its journal ends with link {last}, and link {row.link} was signed"
            continue
        floor = floors.get(shard)
        if floor is not None and row.link <= floor.link:
            continue
        found = await records.link(shard, row.link)
        if found is None or found.head != row.head:
            wrong[shard] = f"its link {row.link} is not the one that was signed"
    return wrong


class HeadsFile:
    """The file that a node adds to. What a crash left half written at its end is cut off.

    Nodes that share a folder have a file each, and all of them count: shards pass from node to
    node.
    """

    def __init__(self, folder: Path, worker: int | None = None) -> None:
        self._folder = folder
        self._path = folder / (f"{STEM}.jsonl" if worker is None else f"{STEM}-{worker}.jsonl")

    def lines(self) -> list[str]:
        """Return the whole lines of all files in the order of their times."""
        files = [_whole_lines(path) for path in self._paths()]
        return list(heapq.merge(*files, key=_written_ms))

    def bad_line(self) -> str:
        """Return which line of which file is none that a node wrote, "" if all are."""
        for path in self._paths():
            try:
                read_heads(_whole_lines(path))
            except BadLine as error:
                return f"{path}: {error}"
        return ""

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob(f"{STEM}*.jsonl"))

    async def keep(self, rows: Sequence[SignedHead]) -> None:
        """Add signed heads; they are on the disk afterwards."""
        await asyncio.to_thread(self._add, [head_line(row) for row in rows])

    async def accept(self, shards: Sequence[int], accepted_ms: int) -> None:
        """Note that shards which went backwards were accepted."""
        await asyncio.to_thread(self._add, [accepted_line(shards, accepted_ms)])

    def _add(self, lines: list[str]) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        with open(os.open(self._path, flags, 0o600), "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL_BYTES, 0))
            tail = file.read()
            if tail and not tail.endswith(b"\n"):
                file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
            file.seek(0, os.SEEK_END)
            file.write("".join(f"{line}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
            is_long = file.tell() > FILE_BYTES_MAX
        if is_long:
            self._shorten()

    def _shorten(self) -> None:
        """Keep the newest lines of each shard; a crash leaves the old file or the new one."""
        kept: list[str] = []
        counts: Counter[int] = Counter()
        for line in reversed(_whole_lines(self._path)):
            shard = _shard_of(line)
            if shard is None or counts[shard] < LINES_KEPT:
                kept.append(line)
                counts[shard or 0] += shard is not None
        path = self._path.with_suffix(".new")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines(reversed(kept))
            file.flush()
            os.fsync(file.fileno())
        path.replace(self._path)

"""What a tick takes in and records, and the journal entry that keeps it.

An entry is the MessagePack array [tick, inputs, digest]; each input is an array whose first
element is its kind. The digest chains over the inputs, the outcomes and every change of state,
secret fields included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from gameserver.engine.commands import Command

OPENED, COMMAND, SAT, LEFT, LOST, VERDICT, DRAWN, REOPENED = range(8)

DIGEST_BYTES = 32


class BadEntry(Exception):
    """Stored bytes are no entry, or not one of this room."""


class Opened(NamedTuple):
    """The room begins, with its settings and the seed of its dice."""

    settings: bytes
    seed: bytes
    wall_ms: int


class Commanded(msgspec.Struct, frozen=True, gc=False):
    """A player's command. ``command`` is the decoded ``body``."""

    seat: int
    number: int
    arrival_ms: int
    body: bytes
    digest: int
    command: Command


class Sat(NamedTuple):
    """An account asks for a seat, or comes back to the one that it has."""

    account: int


class Left(NamedTuple):
    """A player gives up the seat."""

    seat: int


class Lost(NamedTuple):
    """The player's connection is gone; the seat stays."""

    seat: int


class Ruled(NamedTuple):
    """The database's verdict on a hold: 0 granted, or the code of the reason why not."""

    reference: str
    code: int


class Drawn(NamedTuple):
    """What the room had asked for and something outside has chosen."""

    ask: str
    data: bytes


class Reopened(NamedTuple):
    """The room was recovered: nobody is connected."""

    wall_ms: int


Input = Opened | Sat | Left | Lost | Ruled | Drawn | Reopened

# Gives the canonical MessagePack bytes of plain values.
packed: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode


def entry_payload(tick: bytes, inputs: bytes, digest: bytes) -> bytes:
    """Return an entry's bytes from its tick and inputs, which are packed already."""
    return b"".join((b"\x93", tick, inputs, b"\xc4\x20", digest))


class Entry(NamedTuple):
    """An entry as read back; inputs are arrays as recorded."""

    tick: int
    inputs: list[list[Any]]
    digest: bytes


_entry = msgspec.msgpack.Decoder(Entry)


def read_entry(payload: bytes) -> Entry:
    """Return the entry that the bytes hold; BadEntry if they hold none."""
    try:
        entry = _entry.decode(payload)
    except Exception as error:  # Whatever a decoder may think of damaged bytes.
        raise BadEntry(f"{len(payload)} bytes are no entry: {error}") from error
    if len(entry.digest) != DIGEST_BYTES:
        raise BadEntry(f"a digest of {len(entry.digest)} bytes")
    return entry

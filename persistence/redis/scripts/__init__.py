"""The scripts that run inside Redis: whole, with the contract's figures and what they share.

Each `.lua` file says at its head what it takes and answers. Redis learns a script by its first use
and keeps it under its SHA-1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from persistence.directory import CLAIM_MS, DRAIN_MS, LEASE_MS_MAX, LIFE_MS_MAX

_FOLDER = Path(__file__).parent
_FIGURES = {
    "CLAIM_MS": CLAIM_MS,
    "DRAIN_MS": DRAIN_MS,
    "LEASE_MS_MAX": LEASE_MS_MAX,
    "LIFE_MS_MAX": LIFE_MS_MAX,
}


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis knows it."""

    text: str
    sha: str


def _script(*names: str) -> Script:
    parts = [f"local {name} = {figure}\n" for name, figure in _FIGURES.items()]
    parts += [(_FOLDER / f"{name}.lua").read_text(encoding="utf-8") for name in names]
    text = "\n".join(parts)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


CLAIM = _script("prelude", "claim")

BEAT = _script("prelude", "nodes", "beat")
TAKE = _script("prelude", "nodes", "take")
PASS = _script("prelude", "nodes", "pass")
LEAVE = _script("prelude", "nodes", "leave")
VIEW = _script("prelude", "nodes", "view")
DRAIN = _script("prelude", "nodes", "drain")

PUBLISH = _script("prelude", "rooms", "publish")
FOUND = _script("prelude", "rooms", "found")
LINES = _script("prelude", "rooms", "lines")

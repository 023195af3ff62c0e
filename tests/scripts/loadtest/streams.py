"""A room's stream of frames for one seat, made at random: a full state and what follows it.

Fields 1 to 3 are for everybody, field 9 is for the seat alone. The frames are packed by the
server's own packers.
"""

from __future__ import annotations

from random import Random
from typing import Any

from protocol import codec

ROOM = 7
SEEN_BY_ALL, OWN = (1, 2, 3), 9

Flat = list[Any]


class Stream:
    """The server's side of a room; ``tick`` changes it and returns the packed frames."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.places: dict[int, tuple[int, int, Any]] = {}
        self.fields: dict[int, dict[int, Any]] = {1: {1: True}, 2: {1: 0, 9: "own"}}
        self.now = 10
        self.shared_tick = self.private_tick = 10
        self._next_number = 3

    def full(self) -> bytes:
        """Return the packed full state."""
        return codec.full(ROOM, self.now, *map(codec.packed, self._all()))

    def _all(self) -> tuple[Flat, Flat]:
        public: Flat = []
        own: Flat = []
        for number in sorted(self.fields):
            if number in self.places:
                public += [number, 0, self.places[number]]
            for field, value in self.fields[number].items():
                (own if field == OWN else public).extend([number, field, value])
        return public, own

    def tick(self, steps: int = 4) -> list[bytes]:
        """Change some things and return the frames of the tick, the private one first."""
        self.now += self.rng.randint(1, 3)
        public: Flat = []
        own: Flat = []
        for _ in range(steps):
            chance = self.rng.random()
            if chance < 0.25:
                self._add(public, own)
            elif chance < 0.4:
                self._remove(public)
            else:
                self._write(public, own)
        return self._frames(public, own)

    def _value(self) -> Any:
        rng = self.rng
        return rng.choice([rng.randint(-9, 9), rng.random() < 0.5, "ü", b"\x00", (1, (2, 3)), ()])

    def _write(self, public: Flat, own: Flat) -> None:
        number = self.rng.choice(sorted(self.fields))
        field = self.rng.choice([*SEEN_BY_ALL, OWN])
        if field == OWN and number in public[::3]:
            return  # A record of this tick may not be there yet when the private frame comes.
        self.fields[number][field] = value = self._value()
        (own if field == OWN else public).extend([number, field, value])

    def _add(self, public: Flat, own: Flat) -> None:
        number, self._next_number = self._next_number, self._next_number + 1
        parent = self.rng.choice(sorted(self.fields))
        place = self.places[number] = (parent, 4, self.rng.choice([None, number, "k", (1, "x")]))
        self.fields[number] = {1: self._value(), OWN: self._value()}
        own += [number, 0, place, number, OWN, self.fields[number][OWN]]
        public += [number, 0, place, number, 1, self.fields[number][1]]

    def _remove(self, public: Flat) -> None:
        leaves = [n for n in self.places if all(place[0] != n for place in self.places.values())]
        old = [number for number in leaves if number not in public[::3]]
        if old:
            number = self.rng.choice(old)
            del self.fields[number], self.places[number]
            public += [number, 0, None]

    def _frames(self, public: Flat, own: Flat) -> list[bytes]:
        frames = []
        gone = {
            public[at] for at in range(0, len(public), 3) if public[at + 1 : at + 3] == [0, None]
        }
        kept: Flat = []
        for at in range(0, len(own), 3):
            if own[at] not in gone:
                kept += own[at : at + 3]
        if kept:
            base, self.private_tick = self.private_tick, self.now
            changes = codec.packed(kept)
            tail = codec.private_tail(self.now, self.now - base, changes, [], bool(public))
            frames.append(codec.private(0, tail))
        if public:
            base, self.shared_tick = self.shared_tick, self.now
            tail = codec.delta_tail(self.now, self.now - base, codec.packed(public))
            frames.append(codec.delta(0, tail))
        return frames

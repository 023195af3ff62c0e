"""The steps that the toy game's commands are made of: small numbers that become writes.

A step is (what, which, value). Each adds, writes or removes records of one kind; keys and seats
are so few that the same ones come again and again. A step without an object does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gameserver.engine.records import NO_SEAT
from gameserver.engine.room import Room
from tests.engine.toy_state import Card, Diary, Item, Mood, Shelf, Stall, Toy, Vault, mark

SEATS_MAX = 4
KEYS = 3


def take_steps(room: Room[Any], steps: tuple[tuple[int, int, int], ...]) -> None:
    """Take steps: what, of what, and with what. A step without an object does nothing."""
    for what, which, value in steps:
        STEPS[what % len(STEPS)](room, which, value)


def _seat(which: int) -> int:
    return which % (SEATS_MAX + 1) - 1  # Sometimes NO_SEAT.


assert _seat(0) == NO_SEAT


def _write_root(room: Room[Toy], which: int, value: int) -> None:
    state = room.state
    writes: list[tuple[str, Any]] = [
        ("number", value),
        ("flag", value % 8 == 0),
        ("text", f"text {value}"),
        ("data", b"%d" % value),
        ("mood", Mood(value % 2)),
        ("pairs", ((value, "pair"),) * (value % 3)),
        ("riddle", mark(room)),
    ]
    name, written = writes[which % len(writes)]
    setattr(state, name, written)


def _write_lamp(room: Room[Toy], which: int, value: int) -> None:
    shelf = _shelf(room, which)
    lamp = room.state.lamp if shelf is None else shelf.lamp
    lamp.lit = not lamp.lit
    lamp.oil, lamp.wick = mark(room), mark(room)


def _set_bell(room: Room[Toy], which: int, value: int) -> None:
    room.state.bell_tick = room.now + 1 + value % 5


def _ask(room: Room[Toy], which: int, value: int) -> None:
    room.ask(f"ask {which % KEYS}")


def _roll(room: Room[Toy], which: int, value: int) -> None:
    room.state.number = room.dice.roll(6)
    for seat in room.seats.keys_in_order()[:1]:
        room.score(value % 7, seat, 1)


def _turn_stall(room: Room[Toy], which: int, value: int) -> None:
    """Put a stall up, or take it down with all that is in it, or one after the other."""
    stalls, key = room.state.stalls, which % KEYS
    if key in stalls:
        stalls.remove(key)
    if value % 3:
        stalls.add(key, Stall())


def _turn_shelf(room: Room[Toy], which: int, value: int) -> None:
    stall = room.state.stalls.get(which % KEYS)
    if stall is None:
        return
    key = value % KEYS
    if key in stall.shelves:
        stall.shelves.remove(key)
    if value % 5:
        shelf = Shelf(label=f"shelf {value}", price=mark(room))
        stall.shelves.add(key, shelf, seat=_seat(value))


def _shelf(room: Room[Toy], which: int) -> Shelf | None:
    stall = room.state.stalls.get(which % KEYS)
    return None if stall is None else stall.shelves.get(which // KEYS % KEYS)


def _turn_item(room: Room[Toy], which: int, value: int) -> None:
    shelf = _shelf(room, which)
    if shelf is None:
        return
    item = shelf.items.get(value % KEYS)
    if item is None:
        item = Item(name=f"item {value}", note=mark(room), core=mark(room))
        shelf.items.add(value % KEYS, item, seat=_seat(value) if value % 2 else None)
    elif value % 4:
        item.name, item.note, item.core = f"item {value}", mark(room), mark(room)
    else:
        shelf.items.clear()


def _turn_diary(room: Room[Toy], which: int, value: int) -> None:
    """Keys are marks, so the step finds its record by place."""
    shelf = _shelf(room, value)
    diaries = room.state.diaries if shelf is None or value % 2 else shelf.diaries
    if value % 3 == 0 or not len(diaries):
        diary = Diary(title=mark(room), page=mark(room), ink=mark(room))
        diaries.add(mark(room), diary, seat=_seat(which))
        return
    diary = list(diaries)[which % len(diaries)]
    if value % 3 == 1:
        diary.title, diary.page, diary.ink = mark(room), mark(room), mark(room)
    else:
        diaries.remove(str(diary.key))


def _turn_card(room: Room[Toy], which: int, value: int) -> None:
    """Deal a card, seen by the bits of ``value`` and backed by the seat of ``which``."""
    shelf = _shelf(room, which)
    cards = room.state.cards if shelf is None or value % 2 else shelf.cards
    card = Card(face=mark(room), back=mark(room), core=mark(room), seen_by=value % 2**SEATS_MAX)
    cards.add(mark(room), card, seat=_seat(which))


def _write_card(room: Room[Toy], which: int, value: int) -> None:
    shelf = _shelf(room, which)
    for cards in (room.state.cards, *([shelf.cards] if shelf else [])):
        if not len(cards):
            continue
        card = list(cards)[which % len(cards)]
        if value % 3 == 0:
            card.seen_by = value // 3 % 2**SEATS_MAX
        elif value % 3 == 1:
            card.face, card.back, card.core = mark(room), mark(room), mark(room)
        elif value % 9 == 2:
            cards.remove(str(card.key))
        else:
            card.seen_by ^= value // 9 % 2**SEATS_MAX
            card.back = mark(room)


def _turn_vault(room: Room[Toy], which: int, value: int) -> None:
    vaults = room.state.vaults
    if len(vaults) < KEYS:
        vault = Vault(door=mark(room), lock=mark(room), gold=mark(room))
        vaults.add(mark(room), vault, seat=_seat(which))
    elif value % 2:
        vault = list(vaults)[which % len(vaults)]
        vault.door, vault.lock, vault.gold = mark(room), mark(room), mark(room)
    else:
        vaults.clear()


STEPS: tuple[Callable[[Room[Any], int, int], None], ...] = (
    *(_write_root, _write_lamp, _set_bell, _ask, _roll, _turn_stall, _turn_shelf, _turn_diary),
    *(_turn_card, _turn_item, _write_card, _turn_vault),
)

"""Bots that play conquest: they reinforce, attack, move, make and break alliances, give up.

A bot looks at a few territories at a time, as a person would, so that a thousand bots cost little.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import msgpack

from scripts.loadtest.behaviour import GameBots, Wanted
from scripts.loadtest.sight import Move, Node, Sight

SEATS_MAX = 8
NOBODY = -1
BAD_MOVES_SHARE = 0.1
TALK_SHARE = 0.15
SURRENDER_SHARE = 0.003
WORDS = ("OfferAlliance", "AcceptAlliance", "DeclineAlliance", "EndAlliance")
SURRENDER_AFTER_TICKS = 60
LOOKED_AT_MAX = 16


class Conquest:
    """One player."""

    def __init__(self, rng: Random, wanted: Wanted) -> None:
        self._rng = rng
        self._wanted = wanted

    def choose(self, sight: Sight) -> Move | None:
        """Do what the phase asks for."""
        game, rng = sight.game, self._rng
        player = game.row("players", sight.seat)
        if player is None:
            return None
        if game.enum("phase") == "LOBBY":
            if not player.get("ready") and rng.random() < 0.7:
                return Move("Ready", {"ready": True})
            return self._bad_move(sight) if rng.random() < 0.2 else None
        if game.enum("phase") == "ENDED" or player.enum("status") != "ALIVE":
            return self._bad_move(sight) if rng.random() < 0.2 else None
        if rng.random() < BAD_MOVES_SHARE:
            return self._bad_move(sight)
        return self._play(sight, player)

    def _play(self, sight: Sight, player: Node) -> Move | None:
        rng = self._rng
        alive = self._alive(sight)
        wants_to_talk = rng.random() < TALK_SHARE or any(map(self._wanted, WORDS))
        if len(alive) > 2 and wants_to_talk:
            word = self._talk(sight, player, alive)
            if word is not None:
                return word
        if len(alive) > 2 and self._gives_up(sight):
            return Move("Surrender")
        if player.get("reserve", 0) > 0 and (rng.random() < 0.4 or self._wanted("Reinforce")):
            return self._reinforce(sight, player)
        return self._march(sight, player) or self._reinforce(sight, player)

    def _gives_up(self, sight: Sight) -> bool:
        if sight.tick - sight.game.get("began_tick", 0) < SURRENDER_AFTER_TICKS:
            return False
        if self._wanted("Surrender") and not any(map(self._wanted, WORDS)):
            return True
        return self._rng.random() < SURRENDER_SHARE

    # --- Troops.

    def _own(self, sight: Sight) -> Iterator[tuple[int, Node]]:
        """Go through own territories, beginning anywhere."""
        table = "fogged_territories" if sight.game.get("fog") else "territories"
        count = len(_neighbours(sight))
        start = self._rng.randrange(count)
        for step in range(count):
            number = (start + step) % count
            territory = sight.game.row(table, number)
            if territory is not None and territory.get("owner") == sight.seat:
                yield number, territory

    def _reinforce(self, sight: Sight, player: Node) -> Move | None:
        reserve = player.get("reserve", 0)
        for number, territory in self._own(sight):
            troops = min(reserve, 500 - territory.get("troops"), 500)
            if troops >= 1:
                troops = self._rng.randint(1, troops)
                return Move("Reinforce", {"territory": number, "troops": troops})
            break
        return None

    def _march(self, sight: Sight, player: Node) -> Move | None:
        """Attack or move from the first territory that allows it."""
        table = "fogged_territories" if sight.game.get("fog") else "territories"
        allies = player.get("allies", 0)
        wants_move = self._wanted("Move") or self._rng.random() < 0.15
        neighbours = _neighbours(sight)
        looked = 0
        for number, territory in self._own(sight):
            looked += 1
            if looked > LOOKED_AT_MAX:
                break
            troops = territory.get("troops")
            if troops < 2 or territory.get("rest_tick") > sight.tick + 1:
                continue
            for beside in self._rng.sample(neighbours[number], len(neighbours[number])):
                target = sight.game.row(table, beside)
                owner = NOBODY if target is None else target.get("owner")
                if (owner == sight.seat) != wants_move:
                    continue
                if owner not in (NOBODY, sight.seat) and allies >> owner & 1:
                    continue
                kind = "Move" if wants_move else "Attack"
                sent = self._rng.randint((troops + 1) // 2, troops - 1)
                return Move(kind, {"source": number, "target": beside, "troops": sent})
        return None

    # --- Words.

    def _alive(self, sight: Sight) -> list[int]:
        players = sight.game.rows("players")
        return [seat for seat, player in players.items() if player.enum("status") == "ALIVE"]

    def _talk(self, sight: Sight, player: Node, alive: list[int]) -> Move | None:
        """Answer an offer, end an alliance, or make an offer."""
        rng, seat = self._rng, sight.seat
        offers = [(o.get("by_seat"), o.get("to_seat")) for o in sight.game.rows("offers").values()]
        notices = [
            (n.get("by_seat"), n.get("to_seat")) for n in sight.game.rows("notices").values()
        ]
        others = [other for other in alive if other != seat]
        allies = [other for other in others if player.get("allies", 0) >> other & 1]
        words: list[Move] = []
        for by_seat, to_seat in offers:
            if to_seat == seat:
                kind = "DeclineAlliance" if rng.random() < 0.3 else "AcceptAlliance"
                if self._wanted("AcceptAlliance"):
                    kind = "AcceptAlliance"
                words.append(Move(kind, {"other": by_seat}))
            elif by_seat == seat and (self._wanted("DeclineAlliance") or rng.random() < 0.2):
                words.append(Move("DeclineAlliance", {"other": to_seat}))
        for other in allies:
            ending = (seat, other) in notices or (other, seat) in notices
            if not ending and (self._wanted("EndAlliance") or rng.random() < 0.3):
                words.append(Move("EndAlliance", {"other": other}))
        asked = {other for pair in offers for other in pair}
        free = [other for other in others if other not in asked and other not in allies]
        if free and len(alive) > 2 and not words:
            words.append(Move("OfferAlliance", {"other": rng.choice(free)}))
        return rng.choice(words) if words else None

    def _bad_move(self, sight: Sight) -> Move:
        rng = self._rng
        count = len(_neighbours(sight))
        source, target = rng.randrange(count), rng.randrange(count)
        makers: tuple[Callable[[], Move], ...] = (
            lambda: Move("Attack", {"source": source, "target": target, "troops": 3}),
            lambda: Move("Move", {"source": source, "target": target, "troops": 1}),
            lambda: Move("Attack", {"source": 120, "target": target, "troops": 1}),
            lambda: Move("Reinforce", {"territory": source, "troops": 500}),
            lambda: Move("OfferAlliance", {"other": sight.seat}),
            lambda: Move("AcceptAlliance", {"other": rng.randrange(SEATS_MAX)}),
            lambda: Move("EndAlliance", {"other": rng.randrange(SEATS_MAX)}),
            lambda: Move("Ready", {"ready": False}),
            lambda: Move("Attack", body=msgpack.packb([3, source, -1, 0])),
            lambda: Move("Attack", body=msgpack.packb([77, source])),
        )
        return rng.choice(makers)()

    # --- The rest.

    def look(self, sight: Sight) -> list[str]:
        """Check that the numbers of territories add up, where all of them are seen."""
        if sight.game.get("fog"):
            return []
        held: dict[int, int] = {}
        for territory in sight.game.rows("territories").values():
            owner = territory.get("owner")
            held[owner] = held.get(owner, 0) + 1
        return [
            f"seat {seat} owns {held.get(seat, 0)} territories, not {player.get('territories')}"
            for seat, player in sight.game.rows("players").items()
            if player.get("territories") != held.get(seat, 0)
        ]

    def is_over(self, sight: Sight) -> bool:
        """Tell whether the last round of the room was played."""
        return not sight.is_open

    def rounds(self, sight: Sight) -> int:
        """Return how many rounds were played to their end."""
        number = sight.game.get("round_number", 0)
        return int(number) - (sight.game.enum("phase") == "PLAYING")

    def lost_minor(self, sight: Sight) -> int | None:
        """Conquest is played for points alone."""
        return None


def _neighbours(sight: Sight) -> tuple[tuple[int, ...], ...]:
    atlas = sight.game.part("atlas")
    assert atlas is not None, "everybody sees the atlas"
    beside: tuple[tuple[int, ...], ...] = atlas.get("neighbours")
    return beside


def _settings(rng: Random, _number: int) -> Mapping[str, Any]:
    return {
        "world": rng.choice(("halcyra", "tarn")),
        "fog": rng.random() < 0.5,
        "start_seconds": 2,
        "income_seconds": rng.choice((2, 3, 4)),
        "income_base": 6,
        "attack_rest_ms": 300,
        "move_rest_ms": 300,
        "notice_seconds": rng.choice((0, 1, 3)),
        "victory_percent": 60,
        "time_limit_seconds": rng.choice((12, 18, 25)),
        "absent_seconds": 30,
        "rematch_seconds": 2,
        "rounds_max": rng.choice((1, 2, 3)),
        "empty_seconds": 20,
    }


BOTS = GameBots(
    game="conquest",
    make=Conquest,
    settings=_settings,
    players_for_all=3,
    long_enough_s=25.0,
)

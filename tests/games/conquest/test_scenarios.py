"""Stories of a room of Conquest, told in ``scenarios/*.txt``; ``pytest --rewrite`` tells them anew.

A story whose name begins with ``fog`` is played in the fog. The world is the small one, rests and
waits are short. What is shown after a step: phase, and how many territories everybody owns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gameserver.games.conquest.commands import (
    AcceptAlliance,
    Attack,
    DeclineAlliance,
    EndAlliance,
    Move,
    OfferAlliance,
    Ready,
    Reinforce,
    Surrender,
)
from gameserver.games.conquest.state import NOBODY, Ending, Phase, State
from tests.games.conquest.rooms import lobby_of, owned, troops
from tests.games.play import Play, account_of
from tests.games.scenarios import Story, check_scenario

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))

NAMES = ("ann", "bob", "cat", "dan")
SETTINGS = {
    "start_seconds": 5,
    "start_troops": 3,
    "start_reserve": 10,
    "neutral_troops": 2,
    "attack_rest_ms": 500,
    "move_rest_ms": 500,
    "notice_seconds": 2,
    "absent_seconds": 10,
    "rematch_seconds": 5,
    "empty_seconds": 30,
    "time_limit_seconds": 60,
}


class ConquestStory(Story):
    """Steps of Conquest."""

    play: Play[State]

    def __init__(self, *, fog: bool) -> None:
        super().__init__(lobby_of(fog=fog, **SETTINGS))

    def steps(self) -> Mapping[str, Callable[..., str]]:
        place = r"([A-Z]\w+)"
        return {
            r"(\w+) is (ready|not ready)": self._ready,
            rf"(\w+) reinforces {place} with (\d+)": self._reinforce,
            rf"(\w+) attacks {place} from {place} with (\d+)": self._attack,
            rf"(\w+) moves (\d+) from {place} to {place}": self._move,
            r"(\w+) offers (\w+) an alliance": self._say(OfferAlliance),
            r"(\w+) accepts (\w+)'s alliance": self._say(AcceptAlliance),
            r"(\w+) declines (\w+)'s alliance": self._say(DeclineAlliance),
            r"(\w+) ends the alliance with (\w+)": self._say(EndAlliance),
            r"(\w+) surrenders": lambda name: self.command(name, Surrender()),
            r"(\w+)'s territories": self._territories,
            r"(\w+)'s reserve": self._reserve,
            r"what (\w+) sees": self._sees,
            r"what (\w+) does not see": self._hidden,
            r"the last battle": self._battle,
            r"the placings": self._placings,
            r"the room": lambda: "open" if self.play.room.is_open else "ended",
        }

    def shown(self) -> str:
        state = self.play.state
        if state.phase is Phase.LOBBY:
            start = state.start_tick - self.play.now if state.start_tick else 0
            return f"lobby, starts in {start} ticks" if start else "lobby"
        held = ", ".join(
            f"{self._name(seat)} {state.players[seat].territories}"
            for seat in state.players.keys_in_order()
        )
        if state.phase is Phase.PLAYING:
            return f"round {state.round_number}: {held}"
        how = Ending(state.ending).name.lower().replace("_", " ")
        return f"round {state.round_number} ended by {how}: {held}"

    def _name(self, seat: int) -> str:
        names = {account_of(name): name for name in NAMES}
        return "nobody" if seat == NOBODY else names[self.play.room.account(seat)]

    def _at(self, name: str) -> int:
        return self.play.state.atlas.territory_names.index(name)

    def _ready(self, name: str, how: str) -> str:
        return self.command(name, Ready(ready=how == "ready"))

    def _reinforce(self, name: str, territory: str, count: str) -> str:
        return self.command(name, Reinforce(territory=self._at(territory), troops=int(count)))

    def _attack(self, name: str, target: str, source: str, count: str) -> str:
        there, here = self._at(target), self._at(source)
        return self.command(name, Attack(source=here, target=there, troops=int(count)))

    def _move(self, name: str, count: str, source: str, target: str) -> str:
        there, here = self._at(target), self._at(source)
        return self.command(name, Move(source=here, target=there, troops=int(count)))

    def _say(
        self,
        word: type[OfferAlliance | AcceptAlliance | DeclineAlliance | EndAlliance],
    ) -> Callable[[str, str], str]:
        return lambda name, other: self.command(name, word(other=self.play.seat(other)))

    def _territories(self, name: str) -> str:
        seat = NOBODY if name == "nobody" else self.play.seat(name)
        names = self.play.state.atlas.territory_names
        return ", ".join(
            f"{names[index]} {troops(self.play, index)}" for index in owned(self.play, seat)
        )

    def _reserve(self, name: str) -> str:
        return str(self.play.state.players[self.play.seat(name)].reserve)

    def _sees(self, name: str) -> str:
        """Read it from the view that the player's client has, kept by frames."""
        view = self.play.watcher(self.play.seat(name)).view
        state = self.play.state
        shown = {one.key: one.record_number for one in state.fogged_territories}
        names = state.atlas.territory_names
        return ", ".join(
            f"{names[index]} {view.value(shown[index], 2)}"
            for index in range(len(names))
            if shown[index] in view.records
        )

    def _hidden(self, name: str) -> str:
        shown = [one.partition(" ")[0] for one in self._sees(name).split(", ")]
        return ", ".join(one for one in self.play.state.atlas.territory_names if one not in shown)

    def _battle(self) -> str:
        state = self.play.state
        battles = state.fogged_battles if state.fog else state.battles
        battle = battles[state.battles_fought % 8]
        return (
            f"{self._name(battle.attacker)} loses {battle.attackers_lost} of {battle.sent}, "
            f"{self._name(battle.defender)} {battle.defenders_lost}"
        )

    def _placings(self) -> str:
        names = {account_of(name): name for name in NAMES}
        return ", ".join(
            f"{one.key}. {names[one.account]} ({one.how.name.lower()}, {one.points} points)"
            for one in self.play.state.placings
        )


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path, rewrite: bool) -> None:
    check_scenario(path, ConquestStory(fog=path.stem.startswith("fog")), rewrite=rewrite)


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 4

"""What answers come to: points, statistics, standings, and what is recorded of a round."""

from __future__ import annotations

from gameserver.engine.inputs import packed
from gameserver.engine.room import Room
from gameserver.games.quiz.state import (
    NOBODY,
    NONE,
    STATISTICS,
    Gone,
    Placing,
    Player,
    State,
)

POINTS_PER_LEVEL = 100

# Those who came, played and left are remembered for the standings; with so many, the first ones
# are forgotten.
GONE_MAX = 60

SCORED_PLAYERS_MIN = 2  # Nobody climbs the board by playing alone.


def value_of(level: int) -> int:
    """Return what a clue of a level is worth."""
    return level * POINTS_PER_LEVEL


def speed_bonus(value: int, ticks_left: int, ticks_total: int) -> int:
    """Return what a right choice brings beyond the value: half of it at once, nothing at the end.

    The steps are ticks: value × ticks left / (2 × ticks in all), rounded down.
    """
    return value * ticks_left // (2 * ticks_total)


def right(player: Player, points: int) -> None:
    """Credit a right answer."""
    player.score += points
    player.gained = points
    player.right += 1
    player.streak += 1
    player.best_streak = max(player.best_streak, player.streak)


def wrong(player: Player, points: int) -> None:
    """Charge a wrong answer, or one that did not come."""
    player.score -= points
    player.gained = -points
    player.wrong += 1
    player.streak = 0


def note_ticks(player: Player, ticks: int) -> None:
    """Keep the shortest time that a player took."""
    if player.fastest_ticks == NONE or ticks < player.fastest_ticks:
        player.fastest_ticks = ticks


def clear(player: Player) -> None:
    """Begin a round with nothing."""
    for name in STATISTICS:
        setattr(player, name, NONE if name == "fastest_ticks" else 0)
    player.gained = 0


def keep_gone(room: Room[State], seat: int) -> None:
    """Remember what a player had who leaves, unless it was nothing."""
    state = room.state
    had = {name: getattr(state.players[seat], name) for name in STATISTICS}
    if not (had["right"] or had["wrong"] or had["buzzes"] or had["early"]):
        return
    if len(state.gone) >= GONE_MAX:
        state.gone.remove(state.gone.keys_in_order()[0])
    state.gone.add(state.gone_count, Gone(account=room.account(seat), **had))
    state.gone_count += 1


def take_gone(room: Room[State], seat: int) -> Player:
    """Return the record of a player who comes, with what the account had in this round."""
    account = room.account(seat)
    player = Player()
    for order in room.state.gone.keys_in_order():
        gone = room.state.gone[order]
        if gone.account == account:
            for name in STATISTICS:
                setattr(player, name, getattr(gone, name))
            room.state.gone.remove(order)
            break
    return player


def finish(room: Room[State]) -> None:
    """Make up the standings, record the result, and give points for the game's board."""
    state = room.state
    placings = _placings(room)
    for line, placing in enumerate(placings):
        state.placings.add(line, placing)
    room.result(state.round_number, _payload(state, placings))
    if len(placings) < SCORED_PLAYERS_MIN:
        return
    for placing in placings:
        if placing.by_seat != NOBODY and placing.score > 0:
            room.score(state.round_number, placing.by_seat, placing.score)


def _placings(room: Room[State]) -> list[Placing]:
    state = room.state
    rows: list[tuple[int, int, int, Player | Gone]] = [
        (-gone.score, gone.account, NOBODY, gone) for gone in state.gone
    ]
    for seat in state.players.keys_in_order():
        player = state.players[seat]
        rows.append((-player.score, room.account(seat), seat, player))
    rows.sort(key=lambda row: row[:2])
    placings: list[Placing] = []
    for line, (_, account, seat, had) in enumerate(rows):
        shared = placings and placings[-1].score == had.score
        placings.append(
            Placing(
                place=placings[-1].place if shared else line + 1,
                by_seat=seat,
                account=account,
                score=had.score,
                right=had.right,
                wrong=had.wrong,
                buzzes=had.buzzes,
                early=had.early,
                fastest_ticks=had.fastest_ticks,
                best_streak=had.best_streak,
            )
        )
    return placings


def _payload(state: State, placings: list[Placing]) -> bytes:
    """Pack [mode, clues played, standings]; nothing that people typed is in it."""
    rows = [
        [
            *(one.place, one.account, one.score, one.right, one.wrong),
            *(one.buzzes, one.early, one.fastest_ticks, one.best_streak),
        ]
        for one in placings
    ]
    return packed([int(state.mode), state.clues_played, rows])

"""What must hold in each game, seen from its journal, its results and the book."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgpack

from gameserver.engine import inputs as i
from gameserver.engine.room import Room
from gameserver.games.conquest.state import territories_of
from gameserver.games.keno import fair
from gameserver.games.keno.paytable import PAYS
from gameserver.games.keno.state import Phase as KenoPhase
from gameserver.games.quiz.state import NOBODY, Phase
from persistence.interfaces import Release, Ruling, Settle
from tests.simulation.oracle import Story, Violate
from tests.simulation.store import Database

BUZZ_TAG, ANSWER_TAG = 3, 4


class Watch(Protocol):
    """Looks at a room while its journal is replayed, and at its end."""

    def see(self, room: Room[Any], entry: i.Entry, is_done: bool) -> None:
        """Look before an entry is replayed, and after."""

    def check_end(self, story: Story) -> None:
        """Look when all is replayed."""


def watch_of(game: str, database: Database, violate: Violate) -> Watch:
    """Return who watches a game."""
    watches: dict[str, Callable[[Database, Violate], Watch]] = {
        "keno": KenoWatch,
        "quiz": QuizWatch,
        "conquest": ConquestWatch,
    }
    return watches.get(game, NoWatch)(database, violate)


class NoWatch:
    """Nothing special."""

    def __init__(self, database: Database, violate: Violate) -> None:
        self.database = database
        self.violate = violate

    def see(self, room: Room[Any], entry: i.Entry, is_done: bool) -> None:
        """Look at nothing."""

    def check_end(self, story: Story) -> None:
        """Look at nothing."""


class KenoWatch(NoWatch):
    """I12 to I15: rounds, draws, and what each bet was paid.

    ``locked`` are the bets of each round that were there when it locked, ``commitments`` what was
    public of its draw while it could be bet on.
    """

    def __init__(self, database: Database, violate: Violate) -> None:
        super().__init__(database, violate)
        self.bets: dict[str, tuple[int, tuple[int, ...], int]] = {}
        self.locked: dict[int, set[str]] = {}
        self.commitments: dict[int, bytes] = {}
        self.round_number = 0

    def see(self, room: Room[Any], entry: i.Entry, is_done: bool) -> None:
        """Note which bet was made in which round, and which were there when it locked."""
        if not is_done:
            return
        state = room.state
        number = state.round_number
        if number not in (self.round_number, self.round_number + 1):
            self.violate("I12 rounds go on", f"round {number} after {self.round_number}")
        self.round_number = number
        there = (*state.bets, *state.strays)
        for bet in there:
            if bet.key not in self.bets:
                self.bets[bet.key] = (number, bet.spots, bet.stake_minor)
        if state.phase is KenoPhase.OPEN:
            self.commitments.setdefault(number, state.commitment)
        if state.phase is KenoPhase.LOCKED:
            self.locked.setdefault(number, {bet.key for bet in there})
        if len(room.system.pending) != state.pending + len(state.doomed):
            self.violate("I13 every bet ends once", f"tick {room.now}: pending bets differ")

    def check_end(self, story: Story) -> None:
        """Compute every draw and every payout again."""
        room_id = story.room.room_id
        rounds = {
            number: msgpack.unpackb(row.payload)
            for number, row in self.database.result_rows(room_id).items()
        }
        for number, result in rounds.items():
            _, committed, seed, numbers, _, _, _, void = result
            if not void and not fair.verify(room_id, number, seed, committed, numbers):
                self.violate("I15 draws are fair", f"room {room_id} round {number}")
            if committed != self.commitments.get(number):
                self.violate("I15 draws are fair", f"room {room_id} round {number}: not as shown")
        self._check_locked(rounds)
        paid = {
            transfer.reference: transfer.amount_minor
            for transfer in self.database.ledger.transfers
            if transfer.kind == "settle"
        }
        for reference, (number, spots, stake_minor) in self.bets.items():
            held = self.database.ledger.holds.get(reference)
            if held is None or held.ruling is not Ruling.GRANTED or held.ended_by is not Settle:
                continue
            if number not in rounds:
                self.violate("I13 every bet ends once", f"{reference} was paid before the draw")
                continue
            hits = len(set(spots) & set(rounds[number][3]))
            expected = PAYS[len(spots) - 1][hits] * stake_minor // 4
            if paid.get(reference, 0) != expected:
                self.violate(
                    "I13 every bet ends once",
                    f"{reference} got {paid.get(reference, 0)} and not {expected}",
                )

    def _check_locked(self, rounds: dict[int, Any]) -> None:
        """I14: of the bets that were granted, those of the lock are settled, the others go back."""
        settled: dict[int, int] = dict.fromkeys(rounds, 0)
        for reference, (number, _, _) in self.bets.items():
            held = self.database.ledger.holds.get(reference)
            if held is None or held.ruling is not Ruling.GRANTED or held.ended_by is None:
                continue
            is_in = reference in self.locked.get(number, ())
            is_paid = is_in and number in rounds and not rounds[number][7]
            if held.ended_by is not (Settle if is_paid else Release):
                self.violate("I14 the locked bets are settled", f"{reference} of round {number}")
            if is_in and number in rounds:
                settled[number] += 1
        for number, result in rounds.items():
            if not result[7] and result[4] != settled[number]:
                self.violate("I14 the locked bets are settled", f"round {number}: {result[4]} bets")


class QuizWatch(NoWatch):
    """I16: the first buzz in the journal's order has the word."""

    def __init__(self, database: Database, violate: Violate) -> None:
        super().__init__(database, violate)
        self.answering = NOBODY

    def see(self, room: Room[Any], entry: i.Entry, is_done: bool) -> None:
        """Compare who answers with who buzzed first."""
        if not room.entry_number:
            return
        state = room.state
        if is_done and state.phase is Phase.ANSWERING and self.answering == NOBODY:
            buzzed: list[int] = []
            for row in entry.inputs:
                if row[0] == i.COMMAND and row[5] == 0:
                    tag = msgpack.unpackb(row[4])[0]
                    if tag == BUZZ_TAG:
                        buzzed.append(row[1])
                    elif tag == ANSWER_TAG:  # A wrong one opens the buzzers again.
                        buzzed.clear()
            if buzzed[:1] != [state.answering]:
                self.violate("I16 the first buzz wins", f"{buzzed} and {state.answering} answers")
        self.answering = state.answering


class ConquestWatch(NoWatch):
    """I17: every territory has one owner who plays, and troops are where they are counted."""

    def check_end(self, story: Story) -> None:
        """Count the world."""
        room = story.room
        if not room.entry_number:
            return
        owned: dict[int, int] = {}
        for territory in territories_of(room.state):
            owned[territory.owner] = owned.get(territory.owner, 0) + 1
            if territory.troops < 0:
                self.violate("I17 territories", f"room {room.room_id}: troops below zero")
        for player in room.state.players:
            if player.territories != owned.get(player.seat, 0):
                self.violate("I17 territories", f"room {room.room_id}: seat {player.seat} differs")

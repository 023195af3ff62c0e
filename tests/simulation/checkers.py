"""The invariants of a run, checked when it is over: what was told, done and kept must agree.

The names begin with the numbers under which reference pages list them: I1 no acknowledged command
lost, I2 exactly once, I3 and I4 money, I5 single writer (and I7: who owns), I6 chained journal,
I8 memory is the replayed journal, I9 views, I10 ticks, I11 deferral means no effect, I12 to I17
games, I18 privacy, I19 rates, I20 resources, I21 mistakes and secrets, I22 evidence, I23 liveness,
I24 coverage.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gameserver.engine import commands as c
from gameserver.engine import snapshot
from gameserver.engine.room import Room
from gameserver.engine.window import body_digest
from gameserver.net.heads import tail
from gameserver.runtime.merging import merged
from gameserver.runtime.ring import Frames
from persistence.auditing import is_signed
from persistence.interfaces import NO_HEAD, Release, RoomStatus, Ruling, Settle, chained
from protocol import codec
from protocol.client import CommandDeferred, CommandInvalid
from protocol.messages import Full, Outcome, Private
from tests.simulation.checkers_games import watch_of
from tests.simulation.history import ECHOES_ONLY, History, Told
from tests.simulation.oracle import Story, Wanted, check_snapshots, story_of
from tests.simulation.players import Seen
from tests.simulation.server import GRANT_MINOR, SIGNING_KEY, games
from tests.simulation.store import Database, Taken

CODES = {
    Ruling.GRANTED: 0,
    Ruling.INSUFFICIENT_FUNDS: c.INSUFFICIENT_FUNDS.code,
    Ruling.NO_ACCOUNT: c.NO_WALLET.code,
    Ruling.ACCOUNT_BUSY: c.WALLET_BUSY.code,
}
TICK_S = 0.05
CLOCK_SLACK_TICKS = 2  # The clock goes on one tick after the last; a beat is rounded.


class Checker:
    """Looks at a run that is over."""

    def __init__(self, database: Database, history: History, seen: list[Seen]) -> None:
        self.database = database
        self.history = history
        self.seen = seen
        self.stories: dict[int, Story] = {}

    def violate(self, invariant: str, what: str) -> None:
        """Note a violation."""
        self.history.violate(invariant, what)

    def check(self) -> None:
        """Check everything that a journal, a book and a history can tell."""
        self.check_journal()
        self.check_money()
        for room_id in self.database.journal:
            self.stories[room_id] = self._story(room_id)
        for told in self.history.told:
            self._check_told(told)
        if not self.history.is_forgetful:
            # After a restored backup a client may go on from a state that has never been.
            for view in self.seen:
                self._check_view(view)
        self._check_actors()
        self._check_outcomes()
        self._check_answers()
        self._check_holds()

    # --- Journals.

    def check_journal(self) -> None:
        """I5, I6: one writer at a time, and a chain without a gap."""
        heads: dict[int, bytes] = {}
        epochs: dict[int, int] = {}
        clocks: dict[int, int] = {}
        numbers: dict[int, int] = {}
        for one in self.database.committed:
            shard = one.shard
            if one.epoch < epochs.get(shard, 0):
                self.violate("I5 single writer", f"shard {shard}: epoch {one.epoch} came back")
            epochs[shard] = one.epoch
            if one.clock_tick < clocks.get(shard, 0) and not self.history.is_forgetful:
                self.violate("clocks never go back", f"shard {shard}: {one.clock_tick}")
            clocks[shard] = one.clock_tick
            if one.head != heads.get(shard, NO_HEAD):
                self.violate("I6 chained journal", f"shard {shard} does not go on from its head")
            expected = chained(one.head, one.rows) if one.rows else one.head
            if one.next_head != expected:
                self.violate("I6 chained journal", f"shard {shard} has another head than its rows")
            heads[shard] = one.next_head
            for row in one.rows:
                if row.number != numbers.get(row.room_id, 0) + 1:
                    self.violate("I6 chained journal", f"room {row.room_id}: entry {row.number}")
                numbers[row.room_id] = row.number
        self._check_owners()
        self._check_signed()
        for shard, state in self.database.shard_states.items():
            if state.head != heads.get(shard, NO_HEAD):
                self.violate("I6 chained journal", f"shard {shard} ends with another head")

    def _check_owners(self) -> None:
        """I5: nobody writes after a newer owner came; no clock runs faster than time."""
        taken: dict[int, list[Taken]] = {}
        for take in self.database.takes:
            taken.setdefault(take.state.shard, []).append(take)
        for one in self.database.committed:
            takes = taken.get(one.shard, [])
            mine = [take for take in takes if take.state.epoch == one.epoch]
            if any(take.state.epoch > one.epoch and take.at_s < one.at_s for take in takes):
                self.violate("I5 single writer", f"shard {one.shard}: {one.node} wrote after all")
            if self.history.is_forgetful and one.node not in {take.node for take in mine}:
                continue  # Epochs come again after a restored backup; then heads tell.
            if len(mine) != 1 or mine[0].node != one.node:
                self.violate("I5 single writer", f"shard {one.shard}: {one.node} never took it")
                continue
            passed = (one.at_s - mine[0].at_s) / TICK_S + CLOCK_SLACK_TICKS
            if one.clock_tick - mine[0].state.clock_tick > passed:
                self.violate("outages run nobody's time out", f"shard {one.shard} of {one.node}")

    def _check_signed(self) -> None:
        """I22: whatever head was signed, the journal has been there, and is not behind it."""
        if self.history.is_forgetful:
            return
        links: dict[int, list[bytes]] = {}
        for one in self.database.committed:
            if one.rows:
                links.setdefault(one.shard, []).append(one.next_head)
        for row in self.database.signed:
            heads = links.get(row.shard, [])
            if not is_signed(row, SIGNING_KEY.public_key()):
                self.violate("I22 signed heads are true", f"shard {row.shard}: no good signature")
            if row.link > len(heads) or heads[row.link - 1] != row.head:
                self.violate("I22 signed heads are true", f"shard {row.shard} link {row.link}")

    # --- Money.

    def check_money(self) -> None:
        """I3, I4: every balance is the sum of its transfers, and no player owes anything."""
        ledger = self.database.ledger
        balances: dict[Any, int] = dict.fromkeys(ledger.balances, 0)
        for transfer in ledger.transfers:
            if type(transfer.amount_minor) is not int or transfer.amount_minor <= 0:
                self.violate("I3 money is conserved", f"{transfer} moves no whole amount")
            balances[transfer.debit] = balances.get(transfer.debit, 0) - transfer.amount_minor
            balances[transfer.credit] = balances.get(transfer.credit, 0) + transfer.amount_minor
            if transfer.debit[0] == "player" and balances[transfer.debit] < 0:
                self.violate("I4 no player owes", f"{transfer}")
        if balances != ledger.balances:
            self.violate("I3 money is conserved", "a balance is not the sum of its transfers")
        players = sum(1 for kind, _ in balances if kind == "player")
        if sum(balances.values()) or -balances.get(("issue", 0), 0) != players * GRANT_MINOR:
            self.violate("I3 money is conserved", f"the sum is {sum(balances.values())}")
        for kind, number in balances:
            if kind == "escrow" and balances[kind, number] and self._is_finished(number):
                self.violate("I3 money is conserved", f"{balances[kind, number]} left in {number}")

    def _is_finished(self, room_id: int) -> bool:
        """Tell whether a room's money has all gone its way; a broken room's is an operator's."""
        return self.database.room_rows[room_id].status is not RoomStatus.SET_ASIDE

    def _check_holds(self) -> None:
        """I13: every granted hold ends exactly once; what the wallet ruled, the room was told."""
        endings: dict[str, int] = {}
        for transfer in self.database.ledger.transfers:
            if transfer.kind in ("settle", "release"):
                endings[transfer.reference] = endings.get(transfer.reference, 0) + 1
        for reference, held in self.database.ledger.holds.items():
            story = self.stories.get(held.hold.room_id)
            if endings.get(reference, 0) > 1:
                self.violate("I13 a hold ends once", f"{reference} was paid out twice")
            if not self._is_finished(held.hold.room_id):
                continue
            if held.ruling is Ruling.GRANTED and held.ended_by not in (Settle, Release):
                self.violate("I13 a hold ends once", f"{reference} never ended")
            told = None if story is None else story.verdicts.get(reference)
            if told != CODES[held.ruling]:
                self.violate("I13 a hold ends once", f"{reference}: {held.ruling!r} told as {told}")

    # --- What was told.

    def _story(self, room_id: int) -> Story:
        database = self.database
        rows = database.journal[room_id]
        kept = database.kept_snapshots.get(room_id, {})
        wanted = Wanted(set(self._wanted_fulls(room_id)), {*kept, len(rows)})
        game = games()[database.room_rows[room_id].game]
        watch = watch_of(game.name, database, self.violate)
        story = story_of(Room(game, room_id), rows, wanted, watch.see, self.violate)
        if not self.history.is_forgetful:  # Else some may be of a time that was lost.
            check_snapshots(story, rows, kept, self.violate)
        watch.check_end(story)
        results = database.result_rows(room_id)
        if {number: (row.tick, row.payload) for number, row in results.items()} != story.results:
            self.violate("I12 a result never changes", f"room {room_id}: others were recorded")
        return story

    def _wanted_fulls(self, room_id: int) -> Iterator[tuple[int, int]]:
        for told in self.history.told:
            if isinstance(told.message, Full) and told.message.room == room_id:
                yield told.message.tick, told.seat
        for view in self.seen:
            if view.room == room_id:
                yield view.tick, view.seat

    def _check_told(self, told: Told) -> None:
        """I9, I18: each state and change is that of the journal, for the seat that it went to."""
        message = told.message
        story = self.stories.get(told.room)
        if story is None:
            self.violate("I9 views are true", f"room {told.room} has no journal")
            return
        where = f"{told.node} link {told.link} seat {told.seat} tick {message.tick}"
        if isinstance(message, Full):
            expected = story.fulls.get((message.tick, told.seat))
            if expected is None or _full(message, expected) != told.payload:
                self.violate("I9 views are true", f"{where}: another full state")
            durable = sum(tick <= message.tick for tick in story.ticks)
            if durable > told.entries_durable:
                self.violate("I9 nothing told before durable", f"{where}: a full state")
            return
        if isinstance(message, Private):
            single = story.private.get(message.tick, {}).get(told.seat)
            addressee = story.addressees.get(message.tick, {}).get(told.seat, told.account)
            if addressee != told.account:
                self.violate("I18 what is private stays so", f"{where}: it is of {addressee}")
        else:
            single = story.shared.get(message.tick)
        if single != _tail(told) and not _is_merged(story, told):
            self.violate("I9 views are true", f"{where}: another {type(message).__name__}")

    def _check_view(self, seen: Seen) -> None:
        """I9: what a player saw at a tick is what there was to see."""
        story = self.stories.get(seen.room)
        at = (seen.tick, seen.seat)
        if story is None or at not in story.fulls or seen.dump != story.view(*at).dump():
            self.violate("I9 views are true", f"room {seen.room} seat {seen.seat} at {seen.tick}")

    # --- Commands.

    def _check_actors(self) -> None:
        """I18: whatever was done in an account's name, that account had asked for."""
        if self.database.regressed_at_s is not None:
            return
        for room_id, story in self.stories.items():
            for (account, number), done in story.decided.items():
                heard = self.history.heard.get((room_id, account, number), ())
                if not any(one.body == done.body for one in heard):
                    self.violate("I18 nobody acts for another", f"{account} {number}: {done}")

    def _check_outcomes(self) -> None:
        """I1, I2: all that was said of a number agrees with the journal."""
        for told in self.history.outcomes:
            why = self._difference(told.room, told.account, told.outcome, None)
            if why:
                self.violate(
                    "I1 no acknowledged command is lost",
                    f"{told.node} room {told.room} account {told.account} {told.outcome}: {why}",
                )

    def _check_answers(self) -> None:
        """I1, I11: what players were answered is so, and what was deferred was not done."""
        for asked in self.history.asked:
            story = self.stories.get(asked.room)
            key = (asked.account, asked.number)
            done = None if story is None else story.decided.get(key)
            same = done is not None and body_digest(done.body) == body_digest(asked.body)
            if isinstance(asked.answer, CommandDeferred | CommandInvalid):
                if (
                    same
                    and not asked.is_doubled
                    and not self._has_twin(asked.room, key, asked.body)
                ):
                    self.violate(
                        "I11 deferral means no effect",
                        f"room {asked.room} {key} was {asked.answer!r}, and done at {done}",
                    )
            elif isinstance(asked.answer, Outcome):
                why = self._difference(asked.room, asked.account, asked.answer, asked.body)
                if why:
                    self.violate("I1 no acknowledged command is lost", f"{asked}: {why}")

    def _has_twin(self, room: int, key: tuple[int, int], body: bytes) -> bool:
        """Tell whether the same number and content were also sent by another device."""
        twins = [
            one
            for one in self.history.asked
            if (one.room, one.account, one.number, one.body) == (room, *key, body)
        ]
        return len(twins) > 1

    def _difference(
        self, room: int, account: int, outcome: Outcome, body: bytes | None
    ) -> str | None:
        story = self.stories.get(room)
        if story is None:
            return "the room has no journal"
        key = (account, outcome.number)
        done = story.decided.get(key)
        if outcome.code in ECHOES_ONLY and outcome.kind == 1:
            return None if outcome.code != c.NUMBER_REUSED.code or done else "never used"
        if done is None:
            return "not in the journal"
        code = done.code
        if code == c.Code.PENDING:
            reference = story.references[key]
            held = self.database.ledger.holds.get(reference)
            if held is None:
                return f"no ruling on {reference}"
            code = CODES[held.ruling]
        expected = c.outcome(outcome.number, done.tick, code, story.room.reasons)
        if tuple(expected) != tuple(outcome_row(outcome)):
            return f"the journal has {expected}"
        if body is not None and body_digest(body) != body_digest(done.body):
            return "the journal has other content"
        return None

    # --- Memory.

    def check_memory(self, rooms: dict[int, Any]) -> None:
        """I8: what a process holds at its end is what its journal gives."""
        for room_id, opened in rooms.items():
            story = self.stories.get(room_id)
            if story is None:
                continue
            room = opened.room
            if room.changes.items or room.entry_number != story.room.entry_number:
                self.violate("I8 memory is the replayed journal", f"room {room_id}: other entries")
            elif snapshot.dump(room) != snapshot.dump(story.room):
                self.violate("I8 memory is the replayed journal", f"room {room_id}: another state")


def outcome_row(outcome: Outcome) -> tuple[Any, ...]:
    """Return an outcome as the engine has it."""
    return (
        outcome.number,
        outcome.tick,
        outcome.kind,
        outcome.code,
        outcome.name,
        outcome.field,
    )


def _full(message: Full, parts: tuple[bytes, bytes]) -> bytes:
    return codec.full(message.room, message.tick, *parts)


def _tail(told: Told) -> bytes:
    """Return a change without its head, which differs from connection to connection."""
    return tail(told.payload)


def _is_merged(story: Story, told: Told) -> bool:
    """Tell whether a message stands for several ticks of the journal, up to its own."""
    message = told.message
    ticks = sorted(tick for tick in {*story.shared, *story.private} if tick <= message.tick)
    if not ticks or ticks[-1] != message.tick:
        return False
    frames: list[Frames] = []
    for tick in reversed(ticks):
        frames.insert(0, Frames(tick, story.shared.get(tick), story.private.get(tick, {})))
        if _tail(told) in merged(frames, told.seat):
            return True
    return False

"""Every safeguard, switched off one at a time: a campaign without it must find a violation.

Nothing in the product knows of this. Each ablation replaces a piece of it for as long as its
context lasts. What they show is that the checkers look, and that each safeguard is needed.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from msgspec import structs

from gameserver.engine import snapshot
from gameserver.engine import ticking as engine_ticking
from gameserver.engine.changes import ChangeLog
from gameserver.engine.inbox import Inbox
from gameserver.engine.ticking import Tick
from gameserver.engine.window import Window
from gameserver.games.keno import bets, commands, fair, rounds
from gameserver.games.keno.state import Phase as KenoPhase
from gameserver.net.limits import Bucket
from gameserver.runtime import committer, recovery, release
from gameserver.runtime.audience import Audience
from gameserver.runtime.batching import snapshot_identity
from gameserver.runtime.committer import Committer
from gameserver.runtime.host import RoomHost
from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.recovery import Recovery
from gameserver.runtime.release import Releaser
from gameserver.runtime.ring import Ring
from gameserver.runtime.signing import HeadSigner
from gameserver.runtime.snapshots import Snapshots
from persistence.interfaces import (
    CommitAnswer,
    Poisoned,
    Ruling,
    StorageBusy,
    StorageUnavailable,
    Verdict,
)
from persistence.memory import MemoryStore
from persistence.memory_ledger import Ledger
from persistence.sealing import Sealer
from protocol import codec
from protocol.client.commands import Commands
from tests.simulation.ablating import Ablation, put
from tests.simulation.ablations_nodes import NODE_ABLATIONS

UNKNOWN = (StorageUnavailable, TimeoutError)


# --- The fence, the batch, and what is unknown.


def no_fence(stack: ExitStack) -> None:
    """Storage lets an older owner write."""
    put(stack, MemoryStore, "_epoch", lambda self, shard: 0)
    put(stack, MemoryStore, "_is_behind", lambda self, mark: False)


def _make_durable_after(stack: ExitStack, is_early: Callable[[Any], bool]) -> None:
    async def make_durable(self: Committer, works: list[Any]) -> None:
        early = [work for work in works if is_early(work)]
        await self.release(early, CommitAnswer())
        told = self.release
        late = [work for work in works if not is_early(work)]

        async def tell(_: Any, answer: CommitAnswer) -> None:
            await told(late, answer)

        self.release = tell
        try:
            await before(self, works)
        finally:
            self.release = told

    before = put(stack, Committer, "_make_durable", make_durable)


def told_before_commit(stack: ExitStack) -> None:
    """What a tick decided is told while its commit is under way."""
    _make_durable_after(stack, lambda work: not work.output.pending)


def new_batch_id_on_retry(stack: ExitStack) -> None:
    """A batch whose fate is unknown is sent again as another one."""

    async def sent(self: Any, batch: Any) -> CommitAnswer:
        while True:
            try:
                async with asyncio.timeout(committer.COMMIT_TIMEOUT_S):
                    answer: CommitAnswer = await self._store.commit(batch)
                    return answer
            except (*UNKNOWN, StorageBusy):
                batch = replace(batch, batch_id=self._batch_id())
            await asyncio.sleep(committer.RETRY_FIRST_S)

    put(stack, Committer, "_sent_until_known", sent)


def nothing_is_idempotent(stack: ExitStack) -> None:
    """Storage recognises neither batches nor references nor where a journal stands."""

    class Forgetful(OrderedDict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            return default

    def init(self: MemoryStore, *arguments: Any) -> None:
        before(self, *arguments)
        self._answers = Forgetful()

    def rule(self: Any, hold: Any) -> Any:
        self.holds.pop(hold.reference, None)
        return ruled(self, hold)

    before = put(stack, MemoryStore, "__init__", init)
    put(stack, MemoryStore, "_is_behind", lambda self, mark: False)
    put(stack, MemoryStore, "_check_journal", lambda self, batch: None)
    ruled = put(stack, Ledger, "_rule", rule)


def unknown_is_failed(stack: ExitStack) -> None:
    """A commit without an answer counts as one that did not happen, and the node goes on."""

    async def make_durable(self: Any, works: list[Any]) -> None:
        with suppress(*UNKNOWN):
            await before(self, works)

    async def sent(self: Any, batch: Any) -> CommitAnswer:
        async with asyncio.timeout(committer.COMMIT_TIMEOUT_S):
            answer: CommitAnswer = await self._store.commit(batch)
            return answer

    async def store_clocks(self: Any) -> None:
        with suppress(*UNKNOWN):
            await clocks(self)

    before = put(stack, Committer, "_make_durable", make_durable)
    clocks = put(stack, Committer, "_store_clocks", store_clocks)
    put(stack, Committer, "_sent_until_known", sent)


def unknown_is_committed(stack: ExitStack) -> None:
    """A commit without an answer counts as one that happened."""

    async def sent(self: Any, batch: Any) -> CommitAnswer:
        try:
            async with asyncio.timeout(committer.COMMIT_TIMEOUT_S):
                answer: CommitAnswer = await self._store.commit(batch)
                return answer
        except (*UNKNOWN, StorageBusy):
            granted = tuple(Verdict(hold.reference, Ruling.GRANTED) for hold in batch.holds)
            return CommitAnswer(verdicts=granted)

    put(stack, Committer, "_sent_until_known", sent)


def head_unchecked(stack: ExitStack) -> None:
    """Storage that went backwards takes whatever fits its journal."""

    def check_journal(self: Any, batch: Any) -> None:
        last: dict[int, int] = {}
        for row in batch.entries:
            before = last.get(row.room_id, len(self._entries.get(row.room_id, ())))
            if row.number != before + 1:
                raise Poisoned(f"entry {row.number} follows entry {before}")
            last[row.room_id] = row.number

    put(stack, MemoryStore, "_is_behind", lambda self, mark: False)
    put(stack, MemoryStore, "_check_journal", check_journal)


def chain_not_advanced(stack: ExitStack) -> None:
    """A node forgets where its shards' journals stand."""
    put(stack, ShardKeeper, "advance", lambda self, mark: None)


def head_signed_too_early(stack: ExitStack) -> None:
    """A head is signed as soon as a batch is made, and not when it is committed."""

    def mark(self: Any, owned: Any, beat: int, next_head: bytes) -> Any:
        made = before(self, owned, beat, next_head)
        self.early = getattr(self, "early", {})
        self.early[owned.shard] = next_head
        return made

    async def sign(self: Any, keeper: Any) -> None:
        held = {owned: (owned.head, owned.link) for owned in keeper.owned.values()}
        for owned in held:
            early = getattr(keeper, "early", {}).get(owned.shard, owned.head)
            if early != owned.head:
                owned.head, owned.link = early, owned.link + 1
        try:
            await signed(self, keeper)
        finally:
            for owned, (head, link) in held.items():
                owned.head, owned.link = head, link

    before = put(stack, ShardKeeper, "mark", mark)
    signed = put(stack, HeadSigner, "sign", sign)


def poisoned_batch_dropped(stack: ExitStack) -> None:
    """Of a batch that can never be committed all is dropped, not the one room."""

    async def split(self: Any, works: list[Any], error: Poisoned) -> None:
        rooms = list(dict.fromkeys(work.opened for work in works))
        self.set_aside(rooms[0], f"commit refused: {error}")

    put(stack, Committer, "_split", split)


# --- Exactly once, and undoing.


def no_window(stack: ExitStack) -> None:
    """A seat remembers no command number."""

    def keep(self: Any, number: int, digest: int, code: int, tick: int) -> None:
        self.highest = max(self.highest, number)

    put(stack, Window, "keep", keep)


def no_undo(stack: ExitStack) -> None:
    """A command that fails half-way leaves what it wrote."""
    put(stack, ChangeLog, "undo_to", lambda self, mark: None)


def rollback_empty(stack: ExitStack) -> None:
    """A bet whose hold was refused stays where it is."""
    put(stack, commands.Bet, "rollback", lambda self, room, seat, reference: None)


def deferred_and_done(stack: ExitStack) -> None:
    """A command that was put off is done all the same."""

    def take_commands(self: Any) -> list[Any]:
        return list(self.commands)

    put(stack, Inbox, "take_commands", take_commands)


def echo_before_commit(stack: ExitStack) -> None:
    """A repeat gets its outcome at once, though the commit of its command is under way."""

    def tick(self: Any, opened: Any, now: int) -> Any:
        work = before(self, opened, now)
        if work is not None:
            for seat, told in work.output.echoes:
                viewer = opened.by_seat.get(seat)
                if viewer is not None:
                    viewer.send(codec.outcomes(work.output.room_id, [told]))
            work.output.echoes = []
        return work

    before = put(stack, RoomHost, "_tick", tick)


def holds_assumed_granted(stack: ExitStack) -> None:
    """Nobody looks at what the wallet has ruled."""
    put(stack, release, "code_of", lambda verdict: 0)


def numbers_not_kept_apart(stack: ExitStack) -> None:
    """Every device of a seat numbers on from the highest number that it was told."""

    def resume(self: Any, highest_number: int) -> None:
        self._next_number = max(self._next_number, highest_number + 1)
        before(self, highest_number)

    before = put(stack, Commands, "resume", resume)


def no_pause(stack: ExitStack) -> None:
    """Rooms go on ticking, however long a commit takes."""
    put(stack, Committer, "is_full", False)


def no_rate_limit(stack: ExitStack) -> None:
    """A connection may send as many commands as it likes."""
    put(stack, Bucket, "take", lambda self, now_ns: 0)


# --- Recovery.


def snapshot_place_unchecked(stack: ExitStack) -> None:
    """A snapshot is believed though its journal went another way."""

    async def check_place(self: Any, room: Any) -> None:
        return None

    put(stack, Recovery, "_check_place", check_place)


def dice_not_in_snapshot(stack: ExitStack) -> None:
    """A snapshot lacks the position of the dice."""

    def take(self: Any, opened: Any) -> bytes:
        dice = opened.room.system.dice
        position, dice.__dict__["position"] = dice.position, 0
        try:
            data: bytes = before(self, opened)
            return data
        finally:
            dice.__dict__["position"] = position

    before = put(stack, Snapshots, "_take", take)


def snapshot_hash_unchecked(stack: ExitStack) -> None:
    """A snapshot that opens is believed."""

    def loaded(stored: Any, game: Any, seals: Any) -> Any:
        identity = snapshot_identity(stored.room_id, stored.number)
        try:
            data = zlib.decompress(seals.open(stored.payload, identity))
        except Exception as error:
            raise snapshot.BadSnapshot(repr(error)) from error
        return snapshot.load(game, data)

    put(stack, recovery, "loaded", loaded)


def seal_identity_ignored(stack: ExitStack) -> None:
    """A sealed value opens in any row."""

    def seal(self: Any, plain: bytes, identity: bytes) -> Any:
        return sealed(self, plain, b"")

    def open_any(self: Any, data: bytes, identity: bytes) -> Any:
        return opened(self, data, b"")

    sealed = put(stack, Sealer, "seal", seal)
    opened = put(stack, Sealer, "open", open_any)


def replay_digest_unchecked(stack: ExitStack) -> None:
    """Whatever a replay comes to is believed."""

    def replay_one(self: Any, room: Any, ring: Any, row: Any) -> None:
        class Believing(Tick):
            def redo(self, entry: Any) -> Any:
                self._begin()
                self._redo(entry.inputs)
                return self.out

        with patch.object(engine_ticking.Tick, "redo", Believing.redo):
            before(self, room, ring, row)

    before = put(stack, Recovery, "_replay_one", replay_one)


def verdicts_not_fetched(stack: ExitStack) -> None:
    """A room that is recovered does not ask what became of its holds."""

    async def resume(self: Any, opened: Any) -> None:
        with patch.object(opened.room, "pending_references", list):
            await before(self, opened)

    before = put(stack, Recovery, "_resume", resume)


def absence_not_recorded(stack: ExitStack) -> None:
    """A room that is recovered believes that everybody is still there."""

    async def resume(self: Any, opened: Any) -> None:
        await before(self, opened)
        opened.inbox.inputs = [
            one for one in opened.inbox.inputs if type(one).__name__ != "Reopened"
        ]

    before = put(stack, Recovery, "_resume", resume)


def clock_not_stored(stack: ExitStack) -> None:
    """A shard's clock is not kept."""

    async def take(self: Any, *arguments: Any) -> Any:
        states = await before(self, *arguments)
        return tuple(structs.replace(state, clock_tick=0) for state in states)

    before = put(stack, MemoryStore, "take_shards", take)


def clock_runs_through_outages(stack: ExitStack) -> None:
    """A new owner's clock is ahead of what was stored, as if time had passed meanwhile."""

    async def take(self: Any, *arguments: Any) -> Any:
        taken = await before(self, *arguments)
        for shard in taken:
            self.owned[shard].offset_ticks += 100
        return taken

    before = put(stack, ShardKeeper, "take", take)


# --- Who is shown what.


def two_connections_a_seat(stack: ExitStack) -> None:
    """An older connection of a seat stays."""

    def enter(self: Any, opened: Any, viewer: Any, seat: int, tick: int) -> None:
        older = opened.by_seat.pop(seat, None)
        before(self, opened, viewer, seat, tick)
        if older is not None and older is not viewer:
            opened.viewers[older] = seat

    before = put(stack, Audience, "enter", enter)


def resume_on_any_seat(stack: ExitStack) -> None:
    """Whoever resumes is not asked whether the seat is still the one it was."""

    def missed(self: Any, opened: Any, shown: Any) -> Any:
        return before(self, opened, replace(shown, since_tick=0))

    before = put(stack, Releaser, "_missed", missed)


def ring_floor_off_by_one(stack: ExitStack) -> None:
    """A ring believes that it has one more tick than it has."""

    def keep(self: Any, frames: Any) -> None:
        ticks = [one.tick for one in self._frames]
        floor_tick = self.floor_tick
        before(self, frames)
        dropped = [tick for tick in ticks if tick <= self.floor_tick]
        if dropped:
            self.floor_tick = dropped[-2] if len(dropped) > 1 else floor_tick

    before = put(stack, Ring, "keep", keep)


def left_seat_still_shown(stack: ExitStack) -> None:
    """Whoever gives up a seat goes on seeing what is shown there."""
    put(stack, Releaser, "_let_go", lambda self, opened, seat: None)


def private_to_all(stack: ExitStack) -> None:
    """Everybody is shown what is for one seat alone."""

    def keep(self: Any, work: Any) -> Any:
        private = work.output.private
        if private:
            shown = next(iter(private.values()))
            work.output.private = dict.fromkeys(work.opened.by_seat, shown) | private
        return before(self, work)

    before = put(stack, Releaser, "_keep", keep)


# --- Money.


def payout_short(stack: ExitStack) -> None:
    """A keno win is paid a little less than the table says."""

    def payout(state: Any, bet: Any, hits: int) -> int:
        due: int = paid(state, bet, hits)
        return due - 13 if due > 13 else due

    paid = put(stack, bets, "_payout_minor", payout)


def draw_not_from_seed(stack: ExitStack) -> None:
    """The numbers that are drawn are not those that the commitment fixed."""

    def draw(room: int, number: int, seed: bytes) -> Any:
        return drawn(room, number + 1, seed)

    drawn = put(stack, fair, "draw", draw)
    put(stack, fair, "verify", _verify_with(drawn))


def cancel_after_lock(stack: ExitStack) -> None:
    """A bet may be taken back when no other may be made any more."""

    def validate(self: Any, room: Any, seat: int) -> Any:
        if room.state.phase is KenoPhase.LOCKED:
            bet = room.state.bets.get(self.reference)
            if bet is not None and bet.seat == seat and bet.stands:
                return None
        return before(self, room, seat)

    before = put(stack, commands.Cancel, "validate", validate)


def commitment_not_kept(stack: ExitStack) -> None:
    """The seed is chosen when the round is drawn, and its commitment with it."""

    def record(room: Any, *, void: bool) -> None:
        state = room.state
        state.commitment = fair.commitment(room.room_id, state.round_number, state.seed[::-1])
        state.seed = state.seed[::-1]
        before(room, void=void)

    def draw(room: int, number: int, seed: bytes) -> Any:
        return drawn(room, number, seed[::-1])

    before = put(stack, rounds, "_record", record)
    drawn = put(stack, fair, "draw", draw)
    put(stack, fair, "verify", _verify_with(drawn))


def _verify_with(draw: Any) -> Any:
    def verify(room: int, number: int, seed: bytes, committed: bytes, numbers: Any) -> bool:
        same = fair.commitment(room, number, seed) == committed
        return same and draw(room, number, seed) == tuple(numbers)

    return verify


ABLATIONS: dict[str, Ablation] = {
    one.__name__: one
    for one in (
        *(no_fence, told_before_commit, new_batch_id_on_retry, nothing_is_idempotent),
        *(unknown_is_failed, unknown_is_committed, head_unchecked, chain_not_advanced),
        *(
            head_signed_too_early,
            poisoned_batch_dropped,
            no_window,
            no_undo,
            rollback_empty,
            deferred_and_done,
        ),
        *(
            echo_before_commit,
            holds_assumed_granted,
            numbers_not_kept_apart,
            no_rate_limit,
            no_pause,
        ),
        *(dice_not_in_snapshot, snapshot_hash_unchecked, snapshot_place_unchecked),
        *(seal_identity_ignored, replay_digest_unchecked, verdicts_not_fetched),
        *(absence_not_recorded, clock_not_stored, clock_runs_through_outages),
        *(two_connections_a_seat, left_seat_still_shown, resume_on_any_seat),
        *(ring_floor_off_by_one, private_to_all),
        *(payout_short, draw_not_from_seed, cancel_after_lock, commitment_not_kept),
        *NODE_ABLATIONS,
    )
}


@contextmanager
def without(name: str) -> Iterator[None]:
    """Run with one safeguard switched off."""
    with ExitStack() as stack:
        ABLATIONS[name](stack)
        yield

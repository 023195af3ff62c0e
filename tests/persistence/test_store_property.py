"""Any sequence of batches: both stores say and keep the same, and no money is made or lost.

Each example has rooms, accounts, shards and references of its own, on stores that live on, so that
no example needs a new database.
"""

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from persistence.interfaces import (
    Batch,
    Booking,
    CommitAnswer,
    EntryRow,
    Hold,
    Poisoned,
    Release,
    ResultRow,
    Ruling,
    ScoreRow,
    Settle,
    Store,
)
from persistence.memory import MemoryStore
from persistence.ownership import Succession
from persistence.postgres.store import PostgresStore
from tests.persistence.builders import Node
from tests.persistence.conftest import book_of

SPACING = 10  # More than an example has of anything.
ACCOUNTS = 4  # The last has no wallet.
ROOMS = 3
REFERENCES = 16
GRANT_MINOR = 60

_examples = itertools.count(1)

_STEPS = (
    ["hold"] * 5 + ["settle"] * 4 + ["release"] * 2 + ["entry"] * 2 + ["book", "result", "score"]
)
_TURNS = ["batch"] * 12 + ["again", "usurp", "retake", "retake", "forget", "pass", "succeed"]


@dataclass(frozen=True)
class _Step:
    """One row to be; each kind takes of the numbers what it needs."""

    kind: str
    room: int
    number: int
    account: int
    amount: int
    is_wild: bool


_steps = st.builds(
    _Step,
    st.sampled_from(_STEPS),
    st.integers(0, ROOMS - 1),
    st.integers(0, REFERENCES - 1),
    st.integers(0, ACCOUNTS - 1),
    st.sampled_from([10, 10, 20, 30, 60, 61]),
    st.sampled_from([False] * 60 + [True]),
)
_turns = st.tuples(
    st.sampled_from(_TURNS), st.integers(0, ROOMS - 1), st.lists(_steps, min_size=1, max_size=20)
)


_Turn = tuple[str, int, list[_Step]]


@dataclass
class _Example:
    """What a sequence of turns did so far; its numbers begin where nobody else's do."""

    base: int
    node: Node
    numbers: dict[int, int] = field(default_factory=dict)
    granted: dict[str, Hold] = field(default_factory=dict)
    ended: dict[str, type[Settle | Release]] = field(default_factory=dict)

    def rows(self, steps: list[_Step]) -> dict[str, list[Any]]:
        """Return the rows of a batch, named as in Batch. A room's shard has the room's number."""
        rows: dict[str, list[Any]] = {}
        numbers, ended = dict(self.numbers), dict(self.ended)
        for step in steps:
            room, account = self.base + step.room, self.base + step.account
            reference, game = f"{self.base}:{step.number}", f"game-{self.base}"
            name: str
            row: Any
            match step.kind:
                case "hold":
                    name, row = "holds", Hold(room, room, reference, account, step.amount)
                case "settle" | "release":
                    name, row = step.kind + "s", self._ending(step, ended)
                case "book":
                    name, row = "bookings", Booking(room, room, reference, 30 - step.amount)
                case "entry":
                    numbers[room] = numbers.get(room, 0) + 1 + step.is_wild
                    name, row = "entries", EntryRow(room, room, numbers[room], 1, b"payload")
                case "result":
                    name, row = "results", ResultRow(room, room, step.number, 1, b"%d" % account)
                case _:
                    points = step.amount % 11 - 5
                    name, row = "scores", ScoreRow(room, room, reference, game, account, points)
            if row is not None:
                rows.setdefault(name, []).append(row)
        return rows

    def _ending(
        self, step: _Step, ended: dict[str, type[Settle | Release]]
    ) -> Settle | Release | None:
        # What ends no hold poisons the whole batch, so nearly all end one that was granted.
        held = sorted(self.granted)
        reference = held[step.number % len(held)] if held else f"{self.base}:{step.number}"
        room = self.granted[reference].room_id if held else self.base + step.room
        is_settle = step.kind == "settle"
        row = (
            Settle(room, room, reference, step.amount)
            if is_settle
            else Release(room, room, reference)
        )
        if step.is_wild or (held and ended.setdefault(reference, type(row)) is type(row)):
            return row
        return None

    def take_over(self, batch: Batch, answer: CommitAnswer) -> None:
        """Remember what was committed."""
        lost = answer.fenced | answer.regressed
        for mark in batch.marks:
            if mark.shard not in lost:
                self.node.heads[mark.shard] = mark.next_head
        for row in batch.entries:
            if row.shard not in lost:
                self.numbers[row.room_id] = row.number
        rulings = {verdict.reference: verdict.ruling for verdict in answer.verdicts}
        for hold in batch.holds:
            if hold.shard not in lost and rulings[hold.reference] == Ruling.GRANTED:
                self.granted.setdefault(hold.reference, hold)
        endings: tuple[Settle | Release, ...] = (*batch.settles, *batch.releases)
        for ending in endings:
            if ending.shard not in lost:
                self.ended[ending.reference] = type(ending)

    def _row(
        self, kind: str, room: int, values: list[int], numbers: dict[int, int]
    ) -> tuple[str, Any]:
        reference = f"{self.base}:{values[0] if values else 0}"
        match kind, values:
            case "hold", [_, account, amount]:
                return "holds", Hold(room, room, reference, self.base + account, amount)
            case "settle", [_, payout, _]:
                return "settles", Settle(room, room, reference, payout)
            case "release", _:
                return "releases", Release(room, room, reference)
            case "book", [_, amount]:
                return "bookings", Booking(room, room, reference, amount)
            case "entry", [step]:
                numbers[room] = numbers.get(room, 0) + step
                return "entries", EntryRow(room, room, numbers[room], 1, b"payload")
            case "result", [number]:
                return "results", ResultRow(room, room, number, 1, b"%d" % number)
            case _, [_, account, points]:
                game = f"game-{self.base}"
                return "scores", ScoreRow(room, room, reference, game, self.base + account, points)
        raise AssertionError((kind, values))


async def _change_owners(
    kind: str, shard: int, stores: tuple[Store, ...], example: _Example
) -> None:
    node, answers = example.node, list[Any]()
    for store in stores:
        if kind == "usurp":
            answers.append(await store.take_shards("usurper", [shard]))
        elif kind == "succeed":
            shards = [shard, *node.epochs]
            answers.append(await store.take_shards("heir", shards, Succession(("usurper",))))
        elif kind == "pass":
            marks = node.batch().marks[: 1 + shard % ROOMS]
            answers.append(await store.pass_shards(node.name, "heir", marks))
        elif kind == "retake":
            await Node.take(replace(node, store=store), *node.epochs)
    assert answers[:1] == answers[1:]
    if kind == "forget":
        example.node.heads[shard] = bytes(32)


async def _answer(store: Store, batch: Batch) -> CommitAnswer | type[Poisoned]:
    try:
        return await store.commit(batch)
    except Poisoned:
        return Poisoned


async def _play(stores: tuple[Store, ...], turns: list[_Turn]) -> None:
    base = next(_examples) * SPACING
    example = _Example(base, Node(stores[0], f"node-{base}"))
    for store in stores:
        node = Node(store, example.node.name)
        await node.take(*range(base, base + ROOMS))
        for account in range(base, base + ACCOUNTS - 1):
            assert await store.create_person(account, "ann", GRANT_MINOR)
        example.node = node

    batch = example.node.batch()
    for kind, room, steps in turns:
        await _change_owners(kind, base + room, stores, example)
        if kind != "again":
            batch = example.node.batch(**example.rows(steps))
        answers = [await _answer(store, batch) for store in stores]
        assert answers[0] == answers[1]
        event(_outcome(answers[0]))
        if isinstance(answers[0], CommitAnswer) and kind != "again":
            example.take_over(batch, answers[0])
    assert await _everything(stores[0], base) == await _everything(stores[1], base)


def _outcome(answer: CommitAnswer | type[Poisoned]) -> str:
    if not isinstance(answer, CommitAnswer):
        return "poisoned"
    lost = "fenced " * bool(answer.fenced) + "regressed " * bool(answer.regressed)
    return f"{lost}rulings {sorted({int(verdict.ruling) for verdict in answer.verdicts})}"


async def _everything(store: Store, base: int) -> list[Any]:
    """Return all that a store tells of an example."""
    accounts, rooms = range(base, base + ACCOUNTS), range(base, base + ROOMS)
    balances = [await store.balance(account) for account in accounts]
    assert all(balance is None or balance >= 0 for balance in balances)
    histories = [
        [(row.kind, row.reference, row.amount_minor) for row in await store.wallet_history(a, 99)]
        for a in accounts
    ]
    for balance, history in zip(balances, histories, strict=True):
        assert sum(amount for _, _, amount in history) == (balance or 0)
    return [
        balances,
        histories,
        [await store.entries(room, 0, 99) for room in rooms],
        [await store.results(room, 99) for room in rooms],
        await store.scores(f"game-{base}", 99),
        await store.verdicts([f"{base}:{n}" for n in range(REFERENCES)]),
        [replace(row, idle_ms=0) for row in await store.shard_owners() if row.shard in rooms],
    ]


def test_both_stores_say_and_keep_the_same(dsn: str) -> None:
    """Play random turns on both stores; see `_play`."""
    memory, postgres = MemoryStore(), PostgresStore(dsn, durable=False)
    with asyncio.Runner() as runner:

        @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(_turns, min_size=6, max_size=12))
        def play(turns: list[_Turn]) -> None:
            runner.run(_play((memory, postgres), turns))

        runner.run(postgres.start())
        try:
            play()
            assert runner.run(book_of(dsn)) == memory.book_balances()
            assert sum(memory.book_balances().values()) == 0
        finally:
            runner.run(postgres.stop())

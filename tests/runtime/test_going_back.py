"""A database that goes backwards, and shards that a node may not serve."""

from __future__ import annotations

import asyncio
import copy

from gameserver.runtime.node import Node
from gameserver.runtime.opening import JoinError
from gameserver.runtime.signing import HeadSigner
from persistence.auditing import SignedHead, is_signed
from persistence.interfaces import StorageUnavailable
from protocol.messages import LeftCode, ReplyCode
from tests.runtime.pots import Put
from tests.runtime.rig import Eyes, FaultyStore, VirtualClock, left_codes, node_running
from tests.services.audit.rounds import KEY
from tests.virtual import virtual

ANN, BOB, EVE = 101, 102, 103


@virtual
async def test_a_shard_that_went_backwards_stops_tells_its_viewers_and_leaves_others_alone() -> (
    None
):
    store = FaultyStore()
    async with node_running(store) as rig:
        one, same, other = await rig.room(1), await rig.room(65), await rig.room(2)
        ann, bob, eve = Eyes(ANN), Eyes(BOB), Eyes(EVE)
        await rig.join(one, ann)
        await rig.join(same, bob)
        await rig.join(other, eve)
        await rig.done(one, ann, 1, Put(1))
        backup = copy.copy(store._shards[1]), list(store._entries[1])
        await rig.done(one, ann, 2, Put(1))
        store._shards[1], store._entries[1] = backup
        rig.command(one, ann, 3, Put(1))
        await rig.until(lambda: bool(left_codes(ann) and left_codes(bob)), 3)
        assert left_codes(ann) == left_codes(bob) == [LeftCode.REMOVED]
        assert [number.number for number in ann.outcomes()] == [1, 2]
        assert (await rig.done(other, eve, 1, Put(1))).kind == 0
        found = await rig.join(one, Eyes(104))
        assert isinstance(found, JoinError)
        assert found.code == ReplyCode.UNAVAILABLE
        assert rig.node.unready() == "the database went backwards: shards 1 are not served"
        assert len(store._entries[1]) == len(backup[1])


@virtual
async def test_a_quiet_shard_that_went_backwards_is_noticed_by_its_clock() -> None:
    store = FaultyStore()
    async with node_running(store) as rig:
        row = await rig.room(1)
        ann = Eyes(ANN)
        await rig.join(row, ann)
        await rig.beats(30)
        backup = store._shards[1]
        await rig.done(row, ann, 1, Put(1))
        store._shards[1] = backup
        await rig.until(lambda: left_codes(ann) == [LeftCode.REMOVED], 2)


@virtual
async def test_shards_that_are_refused_at_the_start_are_not_taken() -> None:
    store = FaultyStore()
    async with node_running(store, refused=(1, 3)) as rig:
        await rig.join(await rig.room(2), Eyes(ANN))
        error = await rig.node.host.join(await rig.room(1), Eyes(BOB), 5)
        assert error is not None
        assert error.code == ReplyCode.UNAVAILABLE
        assert sorted(store._shards) == [n for n in range(64) if n not in (1, 3)]
        assert "1, 3" in rig.node.unready()


def _signed_by(store: FaultyStore, kept: list[SignedHead]) -> HeadSigner:
    async def keep(rows: object) -> None:
        assert isinstance(rows, list)
        kept.extend(rows)

    return HeadSigner(store, KEY, VirtualClock(), 60.0, keep)


@virtual
async def test_heads_are_signed_at_intervals_and_on_drain() -> None:
    store = FaultyStore()
    kept: list[SignedHead] = []

    def sign(node: Node) -> None:
        node.signer = _signed_by(store, kept)

    async with node_running(store, prepare=sign) as rig:
        row, quiet = await rig.room(1), await rig.room(2)
        ann = Eyes(ANN)
        await rig.join(row, ann)
        await rig.join(quiet, Eyes(BOB))
        await asyncio.sleep(59)
        assert kept == []
        await asyncio.sleep(2)
        assert [one.shard for one in kept] == [1, 2]
        await asyncio.sleep(120)
        assert len(kept) == 2  # Nothing has changed.
        await rig.done(row, ann, 1, Put(1))
        await asyncio.sleep(61)
        assert [one.shard for one in kept] == [1, 2, 1]
        await rig.done(row, ann, 2, Put(1))
    assert [one.shard for one in kept[:4]] == [1, 2, 1, 1]
    assert all(is_signed(one, KEY.public_key()) for one in kept)
    newest = [one for one in kept if one.shard == 1][-1]
    assert (newest.head, newest.link) == (store._shards[1].head, store._shards[1].link)
    assert sorted(store._signed_heads) == sorted((one.shard, one.link, one.epoch) for one in kept)


@virtual
async def test_heads_that_could_not_be_kept_are_signed_again() -> None:
    class Away(FaultyStore):
        is_away = True

        async def save_heads(self, rows: object) -> None:
            if self.is_away:
                raise StorageUnavailable("away")
            await super().save_heads(rows)  # type: ignore[arg-type]

    store = Away()
    kept: list[SignedHead] = []

    def sign(node: Node) -> None:
        node.signer = _signed_by(store, kept)

    async with node_running(store, prepare=sign) as rig:
        await rig.join(await rig.room(1), Eyes(ANN))
        await asyncio.sleep(61)
        assert len(kept) == 1
        store.is_away = False
        await asyncio.sleep(60)
        assert len(store._signed_heads) == 1

"""What takes long in a directory: told with the manual clock of the one in memory."""

import pytest

from persistence.directory import CLAIM_MS, DRAIN_MS, ClusterView, DirectoryUnavailable
from tests.persistence.directories import LEASE_MS, MemoryDirectories, line, record

HOUR_MS = 3_600_000


async def test_an_operators_word_lapses() -> None:
    directories = MemoryDirectories()
    directory = await directories.open()
    await directory.beat(record("a"), [], LEASE_MS)
    await directory.ask_to_drain("a")
    await directories.pass_ms(DRAIN_MS - 1)
    assert (await directory.beat(record("a"), [], LEASE_MS)).drains == {"a"}
    await directories.pass_ms(1)
    assert (await directory.view()).drains == frozenset()


async def test_what_was_given_before_the_clock_went_back_does_not_stand_for_ever() -> None:
    directories = MemoryDirectories()
    directory = await directories.open()
    await directory.beat(record("a"), [0], LEASE_MS)
    await directory.publish([line(1)], (), LEASE_MS)
    await directories.pass_ms(-HOUR_MS)
    view = await directory.beat(record("b"), [0], LEASE_MS)
    assert view == ClusterView((record("b"),), {0: "b"})
    assert await directory.places("quiz", 10) == ()


async def test_a_cluster_that_fell_silent_leaves_nothing_to_the_next() -> None:
    directories = MemoryDirectories()
    directory = await directories.open("c1")
    await directory.beat(record("a"), [0], LEASE_MS)
    await directory.publish([line(1)], (), CLAIM_MS * 2)
    await directories.pass_ms(CLAIM_MS)
    other = await directories.open("c2")
    assert await other.view() == ClusterView()
    assert await other.places("quiz", 10) == ()
    with pytest.raises(DirectoryUnavailable, match="another cluster"):
        await directory.view()

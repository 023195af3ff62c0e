"""Wallets, holds and bookings on both stores: nothing is made, lost or counted twice."""

import pytest

from persistence.interfaces import (
    Booking,
    Hold,
    Poisoned,
    Release,
    Ruling,
    Settle,
    Store,
)
from tests.persistence.builders import Book, Node, hold, owner, rulings


async def _seated(store: Store, balance_minor: int = 100) -> Node:
    """A node that owns shard 0, and ann (account 1) with some money."""
    await store.create_person(1, "ann", balance_minor)
    return await owner(store, 0)


async def _history(store: Store, account: int = 1) -> list[tuple[str, str, int]]:
    rows = await store.wallet_history(account, 100)
    assert [row.transfer_id for row in rows] == sorted(
        (row.transfer_id for row in rows), reverse=True
    )
    return [(row.kind, row.reference, row.amount_minor) for row in rows]


async def test_a_new_person_has_the_grant_and_its_history(store: Store, book: Book) -> None:
    assert await store.create_person(1, "ann", 100)
    assert await store.create_person(2, "bob", 0)
    assert not await store.create_person(1, "eve", 5)
    assert [await store.balance(account) for account in (1, 2, 3)] == [100, 0, None]
    assert await _history(store) == [("grant", "1", 100)]
    assert await _history(store, 2) == []
    assert [(row.account, row.name) for row in await store.persons([2, 1, 9])] == [
        (1, "ann"),
        (2, "bob"),
    ]
    assert sum((await book()).values()) == 0


async def test_a_person_can_be_renamed_once_known(store: Store) -> None:
    await store.create_person(1, "ann", 0)
    assert await store.rename_person(1, "Änn ✓")
    assert not await store.rename_person(2, "bob")
    assert [row.name for row in await store.persons([1, 2])] == ["Änn ✓"]


async def test_malformed_people_are_poisoned(store: Store) -> None:
    for account, name, grant in ((1, "a\0b", 1), (1, "ann", -1), (-1, "ann", 1), (1, "ann", 2**63)):
        with pytest.raises(Poisoned):
            await store.create_person(account, name, grant)
    assert await store.persons([1]) == ()
    await store.create_person(1, "ann", 0)
    with pytest.raises(Poisoned):
        await store.rename_person(1, "\ud800")


async def test_holds_are_granted_in_order_while_they_fit(store: Store, book: Book) -> None:
    node = await _seated(store)
    answer = await node.commit(
        holds=[hold("a", 60), hold("b", 50), hold("c", 40), hold("d", 1), hold("e", 1, account=9)]
    )
    assert rulings(answer) == [
        ("a", Ruling.GRANTED),
        ("b", Ruling.INSUFFICIENT_FUNDS),
        ("c", Ruling.GRANTED),
        ("d", Ruling.INSUFFICIENT_FUNDS),
        ("e", Ruling.NO_ACCOUNT),
    ]
    assert answer.balances == ((1, 0),)
    balances = await book()
    assert (balances["player", 1], balances["escrow", 7]) == (0, 100)
    assert await _history(store) == [("hold", "c", -40), ("hold", "a", -60), ("grant", "1", 100)]


async def test_a_hold_may_take_all_that_there_is_and_no_more(store: Store) -> None:
    node = await _seated(store)
    assert rulings(await node.commit(holds=[hold("a", 101)])) == [("a", Ruling.INSUFFICIENT_FUNDS)]
    assert rulings(await node.commit(holds=[hold("b", 100)])) == [("b", Ruling.GRANTED)]
    assert await store.balance(1) == 0


async def test_a_hold_that_comes_again_gets_its_standing_ruling(store: Store) -> None:
    node = await _seated(store)
    await node.commit(holds=[hold("a", 60), hold("b", 60)])
    await node.commit(releases=[Release(0, 7, "a")])
    again = [hold("b", 1), hold("a", 60), hold("c", 100), hold("c", 100), hold("b", 60)]
    answer = await node.commit(holds=again)
    assert rulings(answer) == [
        ("b", Ruling.INSUFFICIENT_FUNDS),
        ("a", Ruling.GRANTED),
        ("c", Ruling.GRANTED),
        ("c", Ruling.GRANTED),
        ("b", Ruling.INSUFFICIENT_FUNDS),
    ]
    assert await store.balance(1) == 0


async def test_verdicts_can_be_asked_for_later(store: Store) -> None:
    node = await _seated(store)
    await node.commit(holds=[hold("a", 60), hold("b", 60), hold("c", 1, account=9)])
    verdicts = await store.verdicts(["c", "x", "a", "b"])
    assert [(verdict.reference, verdict.ruling) for verdict in verdicts] == [
        ("c", Ruling.NO_ACCOUNT),
        ("a", Ruling.GRANTED),
        ("b", Ruling.INSUFFICIENT_FUNDS),
    ]


async def test_a_settlement_pays_once(store: Store, book: Book) -> None:
    node = await _seated(store)
    await node.commit(holds=[hold("a", 60)])
    settle = Settle(0, 7, "a", 90)
    answer = await node.commit(settles=[settle, settle], bookings=[Booking(0, 7, "r1", -30)])
    assert answer.balances == ((1, 130),)
    assert (await node.commit(settles=[settle, Settle(0, 7, "a", 500)])).balances == ()
    assert await book() == {
        ("player", 1): 130,
        ("escrow", 7): 0,
        ("house", 0): -30,
        ("issue", 0): -100,
    }
    assert await _history(store) == [("settle", "a", 90), ("hold", "a", -60), ("grant", "1", 100)]


async def test_a_lost_stake_is_settled_with_nothing(store: Store, book: Book) -> None:
    node = await _seated(store)
    await node.commit(holds=[hold("a", 60)])
    answer = await node.commit(settles=[Settle(0, 7, "a", 0)], bookings=[Booking(0, 7, "r1", 60)])
    assert answer.balances == ()
    balances = await book()
    assert (balances["player", 1], balances["escrow", 7], balances["house", 0]) == (40, 0, 60)
    assert await _history(store) == [("hold", "a", -60), ("grant", "1", 100)]


async def test_a_release_puts_the_stake_back_once(store: Store, book: Book) -> None:
    node = await _seated(store)
    await node.commit(holds=[hold("a", 60)])
    release = Release(0, 7, "a")
    assert (await node.commit(releases=[release, release])).balances == ((1, 100),)
    assert (await node.commit(releases=[release])).balances == ()
    assert (await book())["escrow", 7] == 0


async def test_a_hold_ends_in_one_way_only(store: Store) -> None:
    node = await _seated(store)
    await node.commit(holds=[hold("a", 10), hold("b", 10), hold("c", 1000), hold("d", 10)])
    await node.commit(settles=[Settle(0, 7, "a", 0)], releases=[Release(0, 7, "b")])
    for rows in (
        {"releases": [Release(0, 7, "a")]},
        {"settles": [Settle(0, 7, "b", 5)]},
        {"settles": [Settle(0, 7, "c", 5)]},
        {"releases": [Release(0, 7, "c")]},
        {"settles": [Settle(0, 8, "d", 5)]},
        {"releases": [Release(0, 8, "d")]},
        {"releases": [Release(0, 7, "x")]},
        {"settles": [Settle(0, 7, "d", 5)], "releases": [Release(0, 7, "d")]},
        {"settles": [Settle(0, 7, "e", 5)], "holds": [hold("e", 1)]},
    ):
        with pytest.raises(Poisoned):
            await node.commit(**rows)
    assert await store.balance(1) == 80
    await node.commit(settles=[Settle(0, 7, "d", 10)])


async def test_money_that_comes_back_can_be_held_in_the_same_batch(store: Store) -> None:
    node = await _seated(store)
    await node.commit(holds=[hold("a", 60), hold("b", 40)])
    answer = await node.commit(
        holds=[hold("c", 150), hold("d", 1)],
        settles=[Settle(0, 7, "a", 110)],
        releases=[Release(0, 7, "b")],
    )
    assert rulings(answer) == [("c", Ruling.GRANTED), ("d", Ruling.INSUFFICIENT_FUNDS)]
    assert answer.balances == ((1, 0),)
    assert [row[:2] for row in await _history(store)][:3] == [
        ("hold", "c"),
        ("release", "b"),
        ("settle", "a"),
    ]


async def test_a_booking_counts_once_and_zero_moves_nothing(store: Store, book: Book) -> None:
    node = await owner(store, 0, 3)
    gain, loss = Booking(0, 7, "r1", 30), Booking(3, 8, "r2", -50)
    await node.commit(bookings=[gain, gain, loss, Booking(0, 7, "r3", 0)])
    await node.commit(bookings=[loss, gain, Booking(0, 7, "r4", -5)])
    assert await book() == {
        ("escrow", 7): -25,
        ("house", 0): 25,
        ("escrow", 8): 50,
        ("house", 3): -50,
    }


async def test_a_refused_hold_touches_no_balance(store: Store) -> None:
    node = await _seated(store)
    assert (await node.commit(holds=[hold("a", 101), hold("b", 1, account=9)])).balances == ()


async def test_balances_name_every_player_once_in_order(store: Store) -> None:
    node = await _seated(store)
    for account in (5, 3, 4):
        await store.create_person(account, "bob", 50)
    answer = await node.commit(
        holds=[hold("a", 1, 5), hold("b", 1, 3), hold("c", 1, 5), hold("d", 51, 4)]
    )
    assert answer.balances == ((3, 49), (5, 48))


async def test_rooms_do_not_share_an_escrow(store: Store, book: Book) -> None:
    node = await _seated(store)
    await node.commit(holds=[hold("a", 10, room_id=7), hold("b", 20, room_id=8)])
    balances = await book()
    assert (balances["escrow", 7], balances["escrow", 8]) == (10, 20)


async def test_a_thousand_holds_fit_into_a_batch(store: Store) -> None:
    node = await _seated(store, 600)
    answer = await node.commit(holds=[hold(f"h{number}", 1) for number in range(1_000)])
    granted = [ruling for _, ruling in rulings(answer) if ruling == Ruling.GRANTED]
    assert (len(granted), answer.balances) == (600, ((1, 0),))


async def test_a_holds_account_may_be_anyones_and_its_shard_any(store: Store) -> None:
    await store.create_person(1, "ann", 100)
    node = await owner(store, 3, 4)
    answer = await node.commit(holds=[Hold(3, 7, "a", 1, 60), Hold(4, 8, "b", 1, 60)])
    assert rulings(answer) == [("a", Ruling.GRANTED), ("b", Ruling.INSUFFICIENT_FUNDS)]

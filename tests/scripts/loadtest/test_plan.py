"""Bots are spread over games, rooms and processes, each of them exactly once."""

from hypothesis import given
from hypothesis import strategies as st

from scripts.loadtest.plan import Plan, placed, procs_for, rooms_for, shares

SEATS_MAX = {"quiz": 30, "keno": 10_000, "conquest": 8}


def plan_of(games: tuple[str, ...], clients: int, rooms: int, procs: int = 1) -> Plan:
    return Plan(
        url="ws://127.0.0.1:1/ws",
        games=games,
        clients=clients,
        rooms=rooms,
        rate=2.0,
        duration_s=1.0,
        procs=procs,
        seed=1,
        verify_interval_s=5.0,
    )


games = st.sampled_from([("quiz",), ("keno",), ("conquest",), ("quiz", "keno", "conquest")])


@given(games, st.integers(1, 500), st.integers(1, 60), st.integers(1, 8))
def test_every_bot_has_one_place_and_no_room_is_too_full(
    games: tuple[str, ...], clients: int, rooms: int, procs: int
) -> None:
    plan = placed(plan_of(games, clients, rooms, procs), SEATS_MAX)
    bots = [
        number
        for place in plan.places
        for number in range(place.first_bot, place.first_bot + place.bots)
    ]
    assert bots == list(range(clients))
    assert all(1 <= place.bots <= SEATS_MAX[place.game] for place in plan.places)
    assert plan.rooms == len(plan.places)
    parts = shares(plan)
    assert sorted(
        (place for part in parts for place in part.places), key=lambda place: place.first_bot
    ) == list(plan.places)
    assert sum(part.clients for part in parts) == clients
    assert len(parts) == min(procs, plan.rooms)


@given(st.integers(1, 500), st.integers(1, 60))
def test_rooms_of_a_game_are_filled_evenly(clients: int, rooms: int) -> None:
    plan = placed(plan_of(("quiz",), clients, rooms), SEATS_MAX)
    fill = [place.bots for place in plan.places]
    assert max(fill) - min(fill) <= 1


def test_too_few_rooms_for_the_seats_become_more() -> None:
    plan = placed(plan_of(("conquest",), 20, 1), SEATS_MAX)
    assert [place.bots for place in plan.places] == [6, 7, 7]


def test_one_room_holds_all_keno_players() -> None:
    plan = placed(plan_of(("keno",), 1000, 1), SEATS_MAX)
    assert [place.bots for place in plan.places] == [1000]


def test_rooms_are_numbered_within_their_game() -> None:
    plan = placed(plan_of(("quiz", "keno"), 40, 4), SEATS_MAX)
    assert [(place.game, place.number) for place in plan.places] == [
        ("quiz", 0),
        ("quiz", 1),
        ("keno", 0),
        ("keno", 1),
    ]


def test_a_plan_survives_its_way_to_another_process() -> None:
    plan = placed(plan_of(("quiz", "conquest"), 40, 4), SEATS_MAX)
    assert Plan.from_plain(plan.to_plain()) == plan


def test_a_core_is_left_for_the_server_but_one_process_there_is() -> None:
    assert procs_for(1, cores=1) == 1
    assert procs_for(1000, cores=2) == 1
    assert procs_for(1000, cores=8) == 3
    assert procs_for(400, cores=8) == 1


def test_there_is_a_room_for_ten_bots_and_one_at_least() -> None:
    assert [rooms_for(clients) for clients in (1, 9, 10, 30, 35)] == [1, 1, 1, 3, 3]

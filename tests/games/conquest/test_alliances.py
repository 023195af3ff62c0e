"""Alliances: said and answered, kept, ended with notice, and never the end of the fight."""

from __future__ import annotations

from gameserver.games.conquest import reasons as why
from gameserver.games.conquest.commands import (
    AcceptAlliance,
    Attack,
    DeclineAlliance,
    EndAlliance,
    OfferAlliance,
    Surrender,
)
from gameserver.games.conquest.state import Phase, State
from tests.games.conquest.rooms import borders, do, phase, refuse, round_of, storm
from tests.games.play import Play

ANN, BOB, CAT, DAN, EVE = range(5)


def allied(play: Play[State], seat: int, other: int) -> None:
    """Make two players allies."""
    do(play, seat, OfferAlliance(other=other))
    do(play, other, AcceptAlliance(other=seat))


def allies(play: Play[State]) -> list[int]:
    """Return the allies of each seat, as bits."""
    return [player.allies for player in play.state.players]


def test_an_alliance_is_offered_and_accepted() -> None:
    play = round_of("ann", "bob", "cat")
    refuse(play, ANN, OfferAlliance(other=ANN), why.YOURSELF)
    refuse(play, ANN, OfferAlliance(other=DAN), why.NO_SUCH_PLAYER)
    do(play, ANN, OfferAlliance(other=BOB))
    refuse(play, ANN, OfferAlliance(other=BOB), why.ALREADY_OFFERED)
    refuse(play, BOB, OfferAlliance(other=ANN), why.OFFER_AWAITS_YOU)
    refuse(play, ANN, AcceptAlliance(other=BOB), why.NO_OFFER)
    refuse(play, CAT, AcceptAlliance(other=ANN), why.NO_OFFER)
    refuse(play, BOB, AcceptAlliance(other=BOB), why.YOURSELF)
    refuse(play, BOB, AcceptAlliance(other=DAN), why.NO_SUCH_PLAYER)
    assert allies(play) == [0, 0, 0]
    do(play, BOB, AcceptAlliance(other=ANN))
    assert allies(play) == [1 << BOB, 1 << ANN, 0]
    assert len(play.state.offers) == 0
    refuse(play, BOB, OfferAlliance(other=ANN), why.ALREADY_ALLIED)
    play.check_all()


def test_an_offer_is_declined_or_taken_back() -> None:
    play = round_of("ann", "bob", "cat")
    refuse(play, BOB, DeclineAlliance(other=BOB), why.YOURSELF)
    refuse(play, BOB, DeclineAlliance(other=DAN), why.NO_SUCH_PLAYER)
    refuse(play, BOB, DeclineAlliance(other=ANN), why.NO_OFFER)
    do(play, ANN, OfferAlliance(other=BOB))
    refuse(play, CAT, DeclineAlliance(other=ANN), why.NO_OFFER)
    do(play, BOB, DeclineAlliance(other=ANN))
    refuse(play, BOB, AcceptAlliance(other=ANN), why.NO_OFFER)
    do(play, ANN, OfferAlliance(other=BOB))
    do(play, ANN, DeclineAlliance(other=BOB))
    assert len(play.state.offers) == 0
    play.check_all()


def test_an_offer_is_known_to_the_two_alone() -> None:
    play = round_of("ann", "bob", "cat")
    do(play, ANN, OfferAlliance(other=BOB))
    (offer,) = play.state.offers
    seen = [offer.record_number in play.watcher(seat).view.records for seat in (ANN, BOB, CAT)]
    assert seen == [True, True, False]
    assert offer.record_number not in play.watch().view.records
    play.check_all()


def test_allies_do_not_attack_each_other_until_the_notice_has_run_out() -> None:
    play = round_of("ann", "bob", "cat", notice_seconds=5)
    allied(play, ANN, BOB)
    attack = Attack(*borders(play, ANN, BOB)[0], troops=1)
    refuse(play, ANN, attack, why.TARGET_ALLIED)
    refuse(play, ANN, EndAlliance(other=ANN), why.YOURSELF)
    refuse(play, ANN, EndAlliance(other=DAN), why.NO_SUCH_PLAYER)
    refuse(play, ANN, EndAlliance(other=CAT), why.NOT_ALLIED)
    do(play, BOB, EndAlliance(other=ANN))
    given = play.now
    refuse(play, ANN, EndAlliance(other=BOB), why.ALREADY_ENDING)
    refuse(play, BOB, EndAlliance(other=ANN), why.ALREADY_ENDING)
    refuse(play, BOB, OfferAlliance(other=ANN), why.ALREADY_ALLIED)
    play.run_to(given + 98)
    refuse(play, ANN, attack, why.TARGET_ALLIED)
    play.tick()
    assert allies(play) == [0, 0, 0]
    assert len(play.state.notices) == 0
    refuse(play, ANN, attack, why.TOO_FEW_TROOPS)  # Now only the troops are lacking.
    play.check_all()


def test_each_notice_has_its_own_time() -> None:
    play = round_of("ann", "bob", "cat", "dan", notice_seconds=5)
    allied(play, ANN, BOB)
    allied(play, ANN, CAT)
    do(play, ANN, EndAlliance(other=CAT))
    first = play.now
    play.ticks(40)
    do(play, BOB, EndAlliance(other=ANN))
    play.run_to(first + 100)
    assert allies(play) == [1 << BOB, 1 << ANN, 0, 0]
    play.run_to(first + 141)
    assert allies(play) == [0, 0, 0, 0]
    assert play.state.notice_tick == 0
    play.check_all()


def test_nobody_has_more_allies_than_allowed() -> None:
    play = round_of("ann", "bob", "cat", "dan", "eve", allies_max=1)
    do(play, CAT, OfferAlliance(other=ANN))
    do(play, DAN, OfferAlliance(other=CAT))
    allied(play, ANN, BOB)
    refuse(play, ANN, OfferAlliance(other=DAN), why.YOUR_ALLIES_FULL)
    refuse(play, ANN, AcceptAlliance(other=CAT), why.YOUR_ALLIES_FULL)
    refuse(play, DAN, OfferAlliance(other=ANN), why.THEIR_ALLIES_FULL)
    do(play, CAT, DeclineAlliance(other=ANN))
    do(play, ANN, EndAlliance(other=BOB))
    play.ticks(200)
    do(play, ANN, OfferAlliance(other=CAT))
    do(play, CAT, AcceptAlliance(other=DAN))
    refuse(play, CAT, AcceptAlliance(other=ANN), why.YOUR_ALLIES_FULL)
    play.check_all()


def test_an_offer_cannot_be_accepted_when_the_other_has_found_allies_meanwhile() -> None:
    play = round_of("ann", "bob", "cat", "dan", allies_max=1)
    do(play, ANN, OfferAlliance(other=BOB))
    allied(play, ANN, CAT)
    refuse(play, BOB, AcceptAlliance(other=ANN), why.THEIR_ALLIES_FULL)


def test_a_room_without_alliances() -> None:
    play = round_of("ann", "bob", "cat", allies_max=0)
    refuse(play, ANN, OfferAlliance(other=BOB), why.YOUR_ALLIES_FULL)


def test_two_players_have_nobody_to_ally_against() -> None:
    play = round_of("ann", "bob")
    refuse(play, ANN, OfferAlliance(other=BOB), why.ALL_WOULD_BE_ALLIED)


def test_somebody_is_always_left_to_fight() -> None:
    play = round_of("ann", "bob", "cat")
    do(play, CAT, OfferAlliance(other=ANN))
    allied(play, ANN, BOB)
    allied(play, BOB, CAT)
    refuse(play, ANN, OfferAlliance(other=CAT), why.OFFER_AWAITS_YOU)
    refuse(play, ANN, AcceptAlliance(other=CAT), why.ALL_WOULD_BE_ALLIED)
    do(play, ANN, DeclineAlliance(other=CAT))
    refuse(play, CAT, OfferAlliance(other=ANN), why.ALL_WOULD_BE_ALLIED)


def test_alliances_lapse_when_only_allies_are_left() -> None:
    play = round_of("ann", "bob", "cat")
    allied(play, ANN, BOB)
    do(play, ANN, EndAlliance(other=BOB))
    do(play, CAT, Surrender())
    assert phase(play) is Phase.PLAYING
    assert allies(play) == [0, 0, 0]
    assert len(play.state.notices) == 0
    assert play.state.notice_tick == 0
    storm(play, ANN, *borders(play, ANN, BOB)[0])
    play.check_all()


def test_alliances_and_offers_go_with_the_player() -> None:
    play = round_of("ann", "bob", "cat", "dan", "eve", allies_max=3)
    allied(play, ANN, BOB)
    allied(play, ANN, CAT)
    do(play, ANN, OfferAlliance(other=DAN))
    do(play, EVE, OfferAlliance(other=ANN))
    do(play, BOB, EndAlliance(other=ANN))
    do(play, BOB, OfferAlliance(other=EVE))
    play.leave(ANN)
    assert [player.allies for player in play.state.players] == [0, 0, 0, 0]
    assert [(one.by_seat, one.to_seat) for one in play.state.offers] == [(BOB, EVE)]
    assert len(play.state.notices) == 0
    play.check_all()


def test_alliances_end_with_the_round() -> None:
    play = round_of("ann", "bob", "cat", time_limit_seconds=10)
    allied(play, ANN, BOB)
    do(play, ANN, OfferAlliance(other=CAT))
    play.run_to(play.state.limit_tick)
    assert allies(play) == [0, 0, 0]
    assert len(play.state.offers) == 0
    play.check_all()

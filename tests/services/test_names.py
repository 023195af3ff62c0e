"""Names: what is let through, what is not, and why it is said."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.services.names import BadName, cleaned


@pytest.mark.parametrize(
    "name",
    ["a", "Ann", "Zoë", "李小龍", "Anna Maria", "x" * 24, "O'Neil-3", "😀", "Олег", "\u2764\ufe0f"],
)
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert cleaned(name) == name


def test_letters_and_their_accents_become_one() -> None:
    assert cleaned("Zoe\u0308") == "Zoë"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "1 to 24"),
        ("x" * 25, "1 to 24"),
        ("a\nb", "visible"),
        ("a\x00b", "visible"),
        ("a\u200db", "visible"),
        ("evil\u202egpj", "visible"),
        ("\u2066a", "visible"),
        ("\ufeffa", "visible"),
        ("\u3164", "visible"),
        ("a\u034f", "visible"),
        ("a\ufe0f", "visible"),
        ("a\u17b4b", "visible"),
        ("a\U000e0100", "visible"),
        ("\ue000", "visible"),
        ("a\u2028b", "visible"),
        ("a\u00a0b", "plain one"),
        (" a", "single spaces"),
        ("a ", "single spaces"),
        ("a  b", "single spaces"),
        (" ", "single spaces"),
        ("\u0301", "accents"),
        ("a\u0316\u0317\u0318", "accents"),
    ],
)
def test_names_that_disturb_are_refused_with_a_reason(name: str, why: str) -> None:
    with pytest.raises(BadName, match=why):
        cleaned(name)


@given(st.text(max_size=40))
def test_a_name_that_passes_is_canonical_and_visible(name: str) -> None:
    try:
        clean = cleaned(name)
    except BadName:
        return
    assert cleaned(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)
    assert all(char == " " or char.isprintable() for char in clean)
    assert clean.strip()

"""Which texts can be shown to people."""

from __future__ import annotations

import unicodedata

# Private-use and unpaired characters, line breaks and control characters cannot be shown. Of
# the invisible ones only the two joiners are needed for spelling (Persian, Hindi); the others
# can turn the direction of a text.
_UNSHOWABLE_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Cf", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")


def is_showable(text: str) -> bool:
    """Tell whether every character of the text can be shown on one line."""
    return (text.isascii() and text.isprintable()) or not any(map(_is_unshowable, text))


def _is_unshowable(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSHOWABLE_CATEGORIES and letter not in _JOINERS

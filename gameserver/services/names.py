"""Which names people may have: short, visible, and not able to disturb the text around them."""

import unicodedata

NAME_CHARS_MAX = 24
MARKS_IN_A_ROW_MAX = 2

# Control and format characters (joiners, bidi overrides), surrogates, private and unassigned
# ones, separators of lines and paragraphs.
_FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters, symbols and marks that are drawn as nothing: Hangul fillers, the blank Braille pattern,
# the grapheme joiner, Khmer inherent vowels, and selectors of variants.
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5") | frozenset(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE0E), *range(0xE0100, 0xE01F0)))
)
# Whether a symbol is drawn in colour; keyboards put them behind hearts and arrows.
_OF_SYMBOLS = frozenset("\ufe0e\ufe0f")


class BadName(ValueError):
    """The name is not allowed; the message says why and may be shown to its owner."""


def cleaned(name: str) -> str:
    """Return the name in its canonical form, or raise BadName."""
    name = unicodedata.normalize("NFC", name)
    if not 1 <= len(name) <= NAME_CHARS_MAX:
        raise BadName(f"a name has 1 to {NAME_CHARS_MAX} characters")
    marks = MARKS_IN_A_ROW_MAX  # A mark has nothing to stand on at the beginning.
    before = ""
    for char in name:
        category = unicodedata.category(char)
        is_hidden = char in _OF_SYMBOLS and not before.startswith("S")
        if category in _FORBIDDEN or char in _INVISIBLE or is_hidden:
            raise BadName("a name has visible characters only")
        before = category
        if category == "Zs" and char != " ":
            raise BadName("the only space in a name is the plain one")
        marks = marks + 1 if category.startswith("M") else 0
        if marks > MARKS_IN_A_ROW_MAX:
            raise BadName("a name has no piles of accents")
    if name != " ".join(name.split()):
        raise BadName("a name has single spaces, between words")
    return name

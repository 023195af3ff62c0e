"""Whether what a player typed is the right answer to a clue.

Knows words and how people misspell them; knows nothing of rooms, players or files. The rules:

- Case, accents, punctuation, zero-width and other invisible characters do not count;
  ``æ œ ø ß ł`` and their like are read as plain letters. ``&`` is ``and``.
- A hyphen, a slash or any other sign between words is a space; an apostrophe, or a dot between
  letters, is nothing (``U.S.A.`` is ``usa``). Where no digit is involved, it does not matter
  whether words are written together or apart. ``+`` and ``#`` at the end of a word belong to it
  (``C``, ``C++`` and ``C#`` are three answers).
- One leading ``a``, ``an`` or ``the`` does not count, and a player may begin as on television:
  ``what is``, ``who is``, ``what's``, ``who are``, ``what was`` and so on.
- A word of the answer with five letters or more may hold one slip, the first letter included:
  a letter too many, too few, wrong, or two neighbours swapped. Shorter words must be exact.
- Numbers must be exact: a word that holds a digit allows no slip. The words ``zero`` to
  ``twenty`` are the same as their digits; commas between thousands do not count; a sign and a
  decimal point do.
- Nothing at all, or nothing but signs, is never right, and neither is an overlong text.
"""

import re
import unicodedata
from collections.abc import Sequence

# An answer has at most 40 characters and "what was the " has 13: twice that is generous. The
# bounds keep a hostile text below 100 microseconds (one character may decompose into 18).
GIVEN_CHARS_MAX = 100
TEXT_CHARS_MAX = 256
FOLDED_CHARS_MAX = 512

SLIP_LETTERS_MIN = 5

ARTICLES = frozenset({"a", "an", "the"})
_QUESTION_WORDS = frozenset({"what", "who", "where", "when"})
_QUESTION_VERBS = frozenset({"is", "are", "was", "were"})
_QUESTION_SHORT = frozenset({"whats", "whos", "wheres", "whens"})

_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        (
            *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
            *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
            *("seventeen", "eighteen", "nineteen", "twenty"),
        )
    )
}

# Combining marks and invisible characters, which vanish; U+FE0F and its like are marks too.
_VANISHING_CATEGORIES = frozenset({"Mn", "Me", "Cf"})

# Letters that Unicode does not decompose, although people type them without their stroke.
_PLAIN_LETTERS = {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"}
_DOTLESS_I = "\N{LATIN SMALL LETTER DOTLESS I}"

# Of each of these signs people type whichever their keyboard offers.
_APOSTROPHES = (
    "'`\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
    "\N{MODIFIER LETTER APOSTROPHE}\N{PRIME}"
)
_MINUS_SIGNS = "\N{MINUS SIGN}\N{EN DASH}"

_LETTERS = str.maketrans(
    _PLAIN_LETTERS
    | {_DOTLESS_I: "i", "&": " and "}
    | dict.fromkeys(_APOSTROPHES, "")
    | dict.fromkeys(_MINUS_SIGNS, "-")
)
_DOT_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])\.(?=[^\W\d_])")
_COMMA_OF_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_WORD = re.compile(r"(?:(?<!\S)-(?=\d))?[^\W_]+(?:(?<=\d)\.\d+)*(?:[+#]+(?![\w+#]))?")


def is_right(given: str, answer: str, accept: Sequence[str]) -> bool:
    """Judge whether ``given`` means ``answer`` or one of ``accept``, by the rules above."""
    words = _words(given, GIVEN_CHARS_MAX)
    if not words:
        return False
    readings = {_without_article(words), _without_article(_without_question(words))}
    for form in (answer, *accept):
        meant = _without_article(_words(form, GIVEN_CHARS_MAX))
        if meant and any(_is_same(reading, meant) for reading in readings):
            return True
    return False


def is_judgeable(form: str) -> bool:
    """Say whether ``form`` can ever be judged right: it has words and is short enough."""
    return bool(_words(form, GIVEN_CHARS_MAX))


def gives_away(text: str, form: str) -> bool:
    """Say whether ``text`` holds ``form``: its words in a row, or a long word within another."""
    words = _words(text, TEXT_CHARS_MAX)
    meant = _without_article(_words(form, GIVEN_CHARS_MAX))
    if not meant or (len(meant) == 1 and meant[0] in ARTICLES):
        return False  # Vitamin A can be asked for in a sentence that has an article.
    if len(meant) == 1 and len(meant[0]) >= SLIP_LETTERS_MIN:
        return any(meant[0] in word for word in words)
    width = len(meant)
    return any(words[at : at + width] == meant for at in range(len(words) - width + 1))


def spelling(text: str) -> str:
    """Return ``text`` as judging reads it, so that two spellings of one text compare equal."""
    return " ".join(_words(text, TEXT_CHARS_MAX))


def _words(text: str, chars_max: int) -> tuple[str, ...]:
    if len(text) > chars_max:
        return ()
    folded = _folded(text)
    if len(folded) > FOLDED_CHARS_MAX:
        return ()
    folded = _DOT_BETWEEN_LETTERS.sub("", folded)
    folded = _COMMA_OF_THOUSANDS.sub("", folded)
    words: list[str] = []
    for found in _WORD.findall(folded):
        word = _NUMBER_WORDS.get(found, found)
        if words and words[-1] == "minus" and word[0].isdigit():
            words[-1] = "-" + word
        else:
            words.append(word)
    return tuple(words)


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower().translate(_LETTERS)
    decomposed = unicodedata.normalize("NFKD", text)
    if len(decomposed) > FOLDED_CHARS_MAX:
        return decomposed  # Too long to be judged; the caller sees it.
    # Folding the case can bring forth a composed letter once more.
    decomposed = unicodedata.normalize("NFKD", decomposed.casefold())
    return "".join(
        letter for letter in decomposed if unicodedata.category(letter) not in _VANISHING_CATEGORIES
    ).translate(_LETTERS)


def _without_question(words: tuple[str, ...]) -> tuple[str, ...]:
    if len(words) > 1 and words[0] in _QUESTION_SHORT:
        return words[1:]
    if len(words) > 2 and words[0] in _QUESTION_WORDS and words[1] in _QUESTION_VERBS:
        return words[2:]
    return words


def _without_article(words: tuple[str, ...]) -> tuple[str, ...]:
    return words[1:] if len(words) > 1 and words[0] in ARTICLES else words


def _is_same(given: tuple[str, ...], meant: tuple[str, ...]) -> bool:
    if len(given) == len(meant) and all(map(_is_same_word, given, meant)):
        return True
    together = "".join(given)
    return together == "".join(meant) and not _has_digit(together)


def _is_same_word(given: str, meant: str) -> bool:
    if given == meant:
        return True
    if len(meant) < SLIP_LETTERS_MIN or _has_digit(given) or _has_digit(meant):
        return False
    return _is_one_slip(given, meant)


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))


def _is_one_slip(given: str, meant: str) -> bool:
    if abs(len(given) - len(meant)) > 1:
        return False
    at = 0
    while at < min(len(given), len(meant)) and given[at] == meant[at]:
        at += 1
    given, meant = given[at:], meant[at:]
    return (
        given[1:] == meant[1:]  # another letter
        or given[1:] == meant  # one too many
        or given == meant[1:]  # one too few
        or (given[1::-1] == meant[:2] and given[2:] == meant[2:])  # two swapped
    )

"""The clues a quiz can ask: read from text, checked line by line, drawn for a game.

Knows the form of a content file, which is one JSON object a line, and what makes a clue fit to
be asked. Knows neither where the files lie nor what a room does with a clue; chance comes in as
a function.

    ContentError        a file that cannot be used; the message names the file and the line
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec

from gameserver.games.quiz.judging import gives_away, is_judgeable, is_right, spelling
from gameserver.games.quiz.texts import is_showable

LEVELS = (1, 2, 3, 4, 5)
WRONG_COUNT = 3

CLUE_CHARS_MAX = 200  # What can be read aloud, or on a telephone, before the buzzers open.
ANSWER_CHARS_MAX = 40
CATEGORY_CHARS_MAX = 40
ACCEPT_MAX = 12

# A bank is read whole and kept in memory. These bounds turn a wrong file (a log, an image) or a
# hostile one into an error at once; the bundled content is below a hundredth of each.
FILES_MAX = 200
FILE_BYTES_MAX = 512 * 1024
LINE_BYTES_MAX = 4096
CLUES_MAX = 20_000

_SHOWN_CHARS_MAX = 120


class ContentError(ValueError):
    """A content file that cannot be used. The message is one line for the operator."""


class Clue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One clue with its answer, the further right answers, and three wrong ones."""

    category: str
    level: int
    clue: str
    answer: str
    accept: tuple[str, ...]
    wrong: tuple[str, ...]

    @cached_property
    def key(self) -> str:
        """A short name for this clue, from its words alone, to remember it as asked."""
        return hashlib.sha256(spelling(self.clue).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Bank:
    """All clues by category and level. Made by ``parse_bank``; every level has a clue."""

    _levels: Mapping[str, tuple[tuple[Clue, ...], ...]]

    @property
    def categories(self) -> tuple[str, ...]:
        """The names of the categories in sorted order."""
        return tuple(self._levels)

    @property
    def clues_total(self) -> int:
        """How many clues the bank holds."""
        return sum(len(clues) for levels in self._levels.values() for clues in levels)

    def clues(self, category: str, level: int) -> tuple[Clue, ...]:
        """Return the clues of a category and level (1 to 5) in the order of the files."""
        return self._levels[category][LEVELS.index(level)]

    def draw(
        self,
        categories: int,
        numbers: Callable[[int], int],
        asked: frozenset[str] = frozenset(),
    ) -> tuple[tuple[Clue, ...], ...]:
        """Draw distinct categories and for each one clue a level, in the order of the levels.

        ``numbers(n)`` gives a uniform number from 0 to n-1 and is the only chance; it is called
        as often whatever ``asked`` holds. ``asked`` holds the keys of clues to avoid: categories
        that have a fresh clue at every level come first, and a clue is repeated only where its
        category and level have no other.
        """
        if not 1 <= categories <= len(self._levels):
            raise ValueError(f"cannot draw {categories} of {len(self._levels)} categories")
        fresh = {
            category: tuple(_fresh(clues, asked) for clues in levels)
            for category, levels in self._levels.items()
        }
        order = _shuffled(self.categories, numbers)
        order.sort(key=lambda category: not all(fresh[category]))
        return tuple(
            tuple(
                _pick(unasked or clues, numbers)
                for unasked, clues in zip(fresh[category], self._levels[category], strict=True)
            )
            for category in order[:categories]
        )

    def draw_mixed(
        self,
        count: int,
        numbers: Callable[[int], int],
        asked: frozenset[str] = frozenset(),
    ) -> tuple[Clue, ...]:
        """Draw distinct clues, from easy to hard, spread over the categories.

        Every level has the same share of the places, give or take one. At each place the clues
        that are not in ``asked`` come first, and among them those of the categories that have
        been drawn from least. Where a level has no clue left its places stay empty, so a small
        bank gives fewer clues than ``count``, but at least one.
        """
        if count < 1:
            raise ValueError("at least one clue must be drawn")
        left = {
            level: [clue for category in self.categories for clue in self.clues(category, level)]
            for level in LEVELS
        }
        drawn: list[Clue] = []
        uses = dict.fromkeys(self.categories, 0)
        for place in range(count):
            pool = left[LEVELS[place * len(LEVELS) // count]]
            if pool:
                clue = _pick(_least_used(_fresh(pool, asked) or tuple(pool), uses), numbers)
                pool.remove(clue)
                uses[clue.category] += 1
                drawn.append(clue)
        return tuple(drawn)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A clue and where it was found, for the messages."""

    file: str
    line: int
    clue: Clue

    @property
    def place(self) -> str:
        return _place(self.file, self.line)


def parse_bank(files: Mapping[str, str]) -> Bank:
    """Read content files, by name, into a bank; raise ``ContentError`` at the first fault.

    The files are read in the order of their names. A category may be spread over several.
    """
    if not files:
        raise ContentError("there is no quiz content: not one file was given")
    if len(files) > FILES_MAX:
        raise ContentError(f"there are {len(files)} content files; the limit is {FILES_MAX}")
    placed: list[_Placed] = []
    for file in sorted(files):
        clues = _clues_of(file, files[file])
        if len(placed) + len(clues) > CLUES_MAX:
            raise ContentError(f"{_shown(file)}: more than {CLUES_MAX} clues in all")
        placed += clues
    _check_no_repeats(placed)
    return Bank(_by_category_and_level(placed))


def _clues_of(file: str, text: str) -> list[_Placed]:
    placed = []
    for line, source in _lines(file, text):
        clue = _decoded(file, line, source)
        fault = _fault(clue)
        if fault is not None:
            raise ContentError(f"{_place(file, line)}: {fault}")
        placed.append(_Placed(file, line, clue))
    if not placed:
        raise ContentError(f"{_shown(file)}: the file is empty, there is not one clue in it")
    return placed


def _lines(file: str, text: str) -> Iterator[tuple[int, bytes]]:
    too_big = f"{_shown(file)}: the file is larger than {FILE_BYTES_MAX} bytes"
    if len(text) > FILE_BYTES_MAX:
        raise ContentError(too_big)
    try:
        encoded = text.removeprefix("\ufeff").encode()  # Some editors begin a file with a mark.
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise ContentError(f"{_place(file, line)}: the text is not valid Unicode") from error
    if len(encoded) > FILE_BYTES_MAX:
        raise ContentError(too_big)
    for line, source in enumerate(encoded.split(b"\n"), start=1):
        if len(source) > LINE_BYTES_MAX:
            raise ContentError(
                f"{_place(file, line)}: the line is longer than {LINE_BYTES_MAX} bytes"
            )
        if source.strip():
            yield line, source


def _decoded(file: str, line: int, source: bytes) -> Clue:
    try:
        return msgspec.json.decode(source, type=Clue)
    except msgspec.ValidationError as error:
        raise ContentError(f"{_place(file, line)}: {_shown(str(error))}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        reason = f"this is not one JSON object on one line ({error})"
        raise ContentError(f"{_place(file, line)}: {_shown(reason)}") from error


def _fault(clue: Clue) -> str | None:
    """Say what makes ``clue`` unfit to be asked, or None."""
    if clue.level not in LEVELS:
        return f"the level must be a number from {LEVELS[0]} to {LEVELS[-1]}"
    if len(clue.wrong) != WRONG_COUNT:
        return f"there must be exactly three wrong answers, not {len(clue.wrong)}"
    if len(clue.accept) > ACCEPT_MAX:
        return f"there are {len(clue.accept)} forms in accept; the limit is {ACCEPT_MAX}"
    return _fault_of_texts(clue) or _fault_of_answers(clue)


def _fault_of_texts(clue: Clue) -> str | None:
    texts = [
        ("category", clue.category, CATEGORY_CHARS_MAX),
        ("clue", clue.clue, CLUE_CHARS_MAX),
        ("answer", clue.answer, ANSWER_CHARS_MAX),
        *(("accept", form, ANSWER_CHARS_MAX) for form in clue.accept),
        *(("wrong", form, ANSWER_CHARS_MAX) for form in clue.wrong),
    ]
    for field, text, chars_max in texts:
        if not text.strip():
            return f"a text in {field} is empty"
        if len(text) > chars_max:
            return f"a text in {field} has {len(text)} characters; the limit is {chars_max}"
        if not is_showable(text):
            return f"a text in {field} holds a control character"
        if text != text.strip():
            return f"a text in {field} begins or ends with a space"
    return None


def _fault_of_answers(clue: Clue) -> str | None:
    if not spelling(clue.clue):
        return "the clue has no words"
    for form in (clue.answer, *clue.accept):
        if not is_judgeable(form):
            return f"{form!r} can never be judged right, it has no letter or digit"
        if gives_away(clue.clue, form):
            return f"the clue holds its answer {form!r}"
    for form in clue.wrong:
        if is_right(form, clue.answer, clue.accept):
            return f"the wrong answer {form!r} would be judged right"
    if len({spelling(form) or form for form in clue.wrong}) < WRONG_COUNT:
        return "two of the wrong answers are the same"
    return None


def _check_no_repeats(placed: Iterable[_Placed]) -> None:
    first: dict[str, _Placed] = {}
    for found in placed:
        earlier = first.setdefault(found.clue.key, found)
        if earlier is not found:
            raise ContentError(f"{found.place}: the same clue as in {earlier.place}")


def _by_category_and_level(
    placed: Iterable[_Placed],
) -> dict[str, tuple[tuple[Clue, ...], ...]]:
    by_category: dict[str, list[_Placed]] = {}
    for found in placed:
        by_category.setdefault(found.clue.category, []).append(found)
    levels = {}
    for category, members in sorted(by_category.items()):
        levels[category] = tuple(
            tuple(found.clue for found in members if found.clue.level == level) for level in LEVELS
        )
        missing = [str(level) for level in LEVELS if not levels[category][level - 1]]
        if missing:
            files = ", ".join(sorted({_shown(found.file) for found in members}))
            raise ContentError(
                f"{_shown(files)}: category {category!r} has no clue of level " + ", ".join(missing)
            )
    return levels


def _place(file: str, line: int) -> str:
    return f"{_shown(file)}, line {line}"


def _shown(text: str) -> str:
    """Make any text fit for one line of a terminal."""
    shown = text if text.isprintable() else ascii(text)
    return shown if len(shown) <= _SHOWN_CHARS_MAX else shown[:_SHOWN_CHARS_MAX] + "…"


def _fresh(clues: Iterable[Clue], asked: frozenset[str]) -> tuple[Clue, ...]:
    if not asked:
        return tuple(clues)
    return tuple(clue for clue in clues if clue.key not in asked)


def _least_used(clues: tuple[Clue, ...], uses: Mapping[str, int]) -> tuple[Clue, ...]:
    least = min(uses[clue.category] for clue in clues)
    return tuple(clue for clue in clues if uses[clue.category] == least)


def _shuffled(names: Iterable[str], numbers: Callable[[int], int]) -> list[str]:
    order = list(names)
    for last in range(len(order) - 1, 0, -1):
        chosen = numbers(last + 1)
        order[last], order[chosen] = order[chosen], order[last]
    return order


def _pick(clues: tuple[Clue, ...], numbers: Callable[[int], int]) -> Clue:
    return clues[numbers(len(clues))]

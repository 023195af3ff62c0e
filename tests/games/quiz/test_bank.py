"""Content files: every fault is named with file and line; the bundled clues are fit to be asked."""

import json
from collections.abc import Callable, Iterator
from itertools import chain, permutations, repeat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.games.quiz import bank as bank_module
from gameserver.games.quiz.bank import (
    ACCEPT_MAX,
    ANSWER_CHARS_MAX,
    CLUE_CHARS_MAX,
    CLUES_MAX,
    FILE_BYTES_MAX,
    FILES_MAX,
    LEVELS,
    LINE_BYTES_MAX,
    Clue,
    ContentError,
    parse_bank,
)
from gameserver.games.quiz.judging import gives_away, is_right

CONTENT = Path(bank_module.__file__).parent / "content"
BUNDLED = {file.name: file.read_text(encoding="utf-8") for file in CONTENT.glob("*.jsonl")}
BANK = parse_bank(BUNDLED)
CLUES = [
    clue for category in BANK.categories for level in LEVELS for clue in BANK.clues(category, level)
]


def line(level: object = 1, /, **changes: Any) -> str:
    """Write one good clue, with some fields changed; None leaves a field out."""
    fields = {
        "category": "Trees",
        "level": level,
        "clue": f"Acorns grow on it, says page {level} of the book.",
        "answer": "Oak",
        "accept": ["Oak tree"],
        "wrong": ["Elm", "Ash", "Beech"],
        **changes,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def trees(*more: str) -> str:
    """Write a whole small category, and more lines after it."""
    return "\n".join([*(line(level) for level in LEVELS), *more]) + "\n"


def check_fault(text: str, *words: str) -> None:
    """Parse one file and expect an error of one line that holds all these words."""
    with pytest.raises(ContentError) as caught:
        parse_bank({"trees.jsonl": text})
    message = str(caught.value)
    assert message.startswith("trees.jsonl")
    assert message.isprintable()
    assert len(message) < 400
    for word in words:
        assert word in message, message


def test_a_good_file_is_read() -> None:
    bank = parse_bank({"trees.jsonl": trees()})
    assert bank.categories == ("Trees",)
    assert bank.clues_total == 5
    (clue,) = bank.clues("Trees", 3)
    assert (clue.answer, clue.accept, clue.wrong) == ("Oak", ("Oak tree",), ("Elm", "Ash", "Beech"))


def test_blank_lines_line_ends_of_windows_and_a_byte_order_mark_do_no_harm() -> None:
    text = "\ufeff\r\n" + trees().replace("\n", "\r\n\r\n")
    assert parse_bank({"trees.jsonl": text}).clues_total == 5


def test_a_category_may_be_spread_over_files_which_are_read_by_name() -> None:
    later = line(1, clue="Which tree bears acorns?")
    bank = parse_bank({"z.jsonl": later, "a.jsonl": trees()})
    first, second = bank.clues("Trees", 1)
    assert second.clue == "Which tree bears acorns?"
    assert parse_bank({"a.jsonl": trees(), "z.jsonl": later}) == bank
    assert first.key != second.key


def test_a_fault_is_named_with_its_file_and_line() -> None:
    check_fault(trees("{"), "trees.jsonl, line 6:", "JSON")
    check_fault("\n\n" + trees("[]"), "trees.jsonl, line 8:", "array")


@pytest.mark.parametrize("source", ["{", "Oak", "{}{}", "{'a': 1}", "\ud800", "[" * 4000, "\x00"])
def test_what_is_not_one_object_a_line_is_a_fault(source: str) -> None:
    check_fault(trees(source), "line 6")


@pytest.mark.parametrize("field", ["category", "level", "clue", "answer", "accept", "wrong"])
def test_a_missing_and_an_unknown_field_are_named(field: str) -> None:
    check_fault(trees(line(**{field: None})), "line 6", "missing", field)
    check_fault(trees(line(**{f"{field}s": "Oak"})), "line 6", "unknown", f"{field}s")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("category", 1), ("level", "1"), ("level", True), ("level", 1.5), ("clue", ["?"])),
        *(("answer", 7), ("accept", "Oak tree"), ("accept", [1]), ("wrong", {"Elm": 1})),
    ],
)
def test_a_wrong_type_is_named(field: str, value: object) -> None:
    check_fault(trees(line(**{field: value})), "line 6", "Expected", field)


@pytest.mark.parametrize("level", [0, 6, -1, 2**70, 10**3000])
def test_a_level_is_1_to_5(level: int) -> None:
    check_fault(trees(line(level, clue="Which tree?")), "line 6", "level must be a number from 1")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("category", "T" * 41),
        ("clue", "x" * (CLUE_CHARS_MAX + 1)),
        ("answer", "x" * (ANSWER_CHARS_MAX + 1)),
        ("accept", ["x" * (ANSWER_CHARS_MAX + 1)]),
        ("wrong", ["Elm", "Ash", "x" * (ANSWER_CHARS_MAX + 1)]),
        ("accept", [f"Oak {number}" for number in range(ACCEPT_MAX + 1)]),
    ],
)
def test_what_is_too_long_is_named_with_its_limit(field: str, value: object) -> None:
    check_fault(trees(line(**{field: value})), "line 6", field, "the limit is")


@pytest.mark.parametrize("bad", ["O\nk", "O\x00k", "O\x7fk", "O\u202ek", "O\u2028k", "O\ue000k"])
@pytest.mark.parametrize("field", ["category", "clue", "answer", "accept", "wrong"])
def test_a_control_character_is_a_fault_in_every_text(field: str, bad: str) -> None:
    values = {"accept": [bad], "wrong": ["Elm", "Ash", bad]}
    check_fault(trees(line(**{field: values.get(field, bad)})), "line 6", field, "control")


@pytest.mark.parametrize("field", ["category", "clue", "answer", "accept", "wrong"])
def test_an_empty_text_and_spaces_around_a_text_are_faults(field: str) -> None:
    for bad, word in (("", "empty"), (" ", "empty"), (" Elm", "space"), ("Elm ", "space")):
        values = {"accept": [bad], "wrong": ["Elder", "Ash", bad]}
        check_fault(trees(line(**{field: values.get(field, bad)})), "line 6", field, word)


def test_joiners_that_a_script_needs_are_no_control_characters() -> None:
    joined = line(clue="Which\u200c tree\u200d bears acorns?")
    assert parse_bank({"trees.jsonl": trees(joined)}).clues_total == 6


def test_the_same_clue_twice_is_a_fault_that_names_both_places() -> None:
    again = line(2, clue="ACORNS grow on it - says page 1 of the book", answer="The oak")
    check_fault(trees(again), "trees.jsonl, line 6: the same clue as in trees.jsonl, line 1")
    with pytest.raises(ContentError, match=r"b\.jsonl, line 1: .* a\.jsonl, line 5"):
        parse_bank({"b.jsonl": line(5), "a.jsonl": trees()})


def test_a_wrong_answer_that_would_be_judged_right_is_a_fault() -> None:
    check_fault(trees(line(clue="Which?", wrong=["Elm", "Ash", "the OAK"])), "line 6", "the OAK")
    check_fault(trees(line(clue="Which?", wrong=["Elm", "Ash", "Oak-tree"])), "line 6", "Oak-tree")
    slip = line(
        clue="Which sea-born goddess?", answer="Venus", accept=[], wrong=["A", "B", "Venis"]
    )
    check_fault(trees(slip), "line 6", "Venis")


def test_two_equal_wrong_answers_are_a_fault() -> None:
    check_fault(trees(line(clue="Which?", wrong=["Elm", "Ash", "ELM!"])), "line 6", "the same")


@pytest.mark.parametrize("count", [0, 2, 4])
def test_there_are_exactly_three_wrong_answers(count: int) -> None:
    wrong = ["Elm", "Ash", "Beech", "Birch"][:count]
    check_fault(trees(line(wrong=wrong)), "line 6", "exactly three", f"not {count}")


def test_a_clue_that_holds_its_answer_or_an_accepted_form_is_a_fault() -> None:
    check_fault(trees(line(clue="Which oak is it?")), "line 6", "holds its answer", "Oak")
    held = line(clue="Who trims beeches?", answer="Tree", accept=["Beech"], wrong=["A", "B", "C"])
    check_fault(trees(held), "line 6", "holds its answer", "Beech")


def test_texts_without_a_word_are_faults() -> None:
    check_fault(trees(line(clue="???")), "line 6", "no words")
    check_fault(trees(line(answer="?!")), "line 6", "never be judged right")
    check_fault(trees(line(accept=["?!"])), "line 6", "never be judged right")


@pytest.mark.parametrize("text", ["", "\n\n", " \r\n", "\ufeff"])
def test_an_empty_file_is_a_fault(text: str) -> None:
    check_fault(text, "empty")


def test_no_file_at_all_is_a_fault() -> None:
    with pytest.raises(ContentError, match="not one file"):
        parse_bank({})


def test_a_category_without_all_levels_is_a_fault_that_names_its_files() -> None:
    check_fault("\n".join([line(1), line(3), line(4)]), "'Trees' has no clue of level 2, 5")
    with pytest.raises(
        ContentError, match=r"^a\.jsonl, b\.jsonl: category 'Trees' .* level 3, 4, 5"
    ):
        parse_bank({"b.jsonl": line(1), "a.jsonl": line(2)})


def test_a_file_a_line_and_a_bank_have_a_size_limit() -> None:
    check_fault(trees(" " * (LINE_BYTES_MAX + 1)), "line 6", str(LINE_BYTES_MAX))
    for letter in ("\n", "é"):
        check_fault(letter * (FILE_BYTES_MAX // len(letter.encode()) + 1), str(FILE_BYTES_MAX))
    with pytest.raises(ContentError, match=str(FILES_MAX)):
        parse_bank({f"{number}.jsonl": trees() for number in range(FILES_MAX + 1)})


def test_a_bank_has_a_limit_of_clues(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 10 * len(CLUES) < CLUES_MAX
    monkeypatch.setattr(bank_module, "CLUES_MAX", 5)
    assert parse_bank({"a.jsonl": trees()}).clues_total == 5
    with pytest.raises(ContentError, match=r"^b\.jsonl: more than 5 clues"):
        parse_bank({"a.jsonl": trees(), "b.jsonl": line(clue="Which tree bears acorns?")})


def test_a_strange_file_name_is_shown_on_one_short_line() -> None:
    with pytest.raises(ContentError) as caught:
        parse_bank({"\x1b[2J\n\ud800" + "x" * 9999: "{"})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELD_NAMES = st.sampled_from(["category", "level", "clue", "answer", "accept", "wrong"])
NEARLY_CLUES = st.builds(
    lambda level, changes: line(level, **changes),
    st.integers(0, 6),
    st.dictionaries(FIELD_NAMES, VALUES, max_size=2),
)
ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))


def fault(files: dict[str, str]) -> str | None:
    """Parse; return the message of the ContentError if there is one. Nothing else may be raised."""
    try:
        assert parse_bank(files).clues_total >= len(LEVELS)
    except ContentError as error:
        return str(error)
    return None


@given(st.dictionaries(ANY_TEXT, ANY_TEXT | st.lists(NEARLY_CLUES).map("\n".join), max_size=3))
def test_any_files_give_a_bank_or_a_content_error_of_one_line(files: dict[str, str]) -> None:
    assert (fault(files) or "").isprintable()


@given(st.data())
def test_a_bundled_file_with_one_character_changed_never_surprises(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(BUNDLED)))
    at = data.draw(st.integers(0, len(BUNDLED[name])))
    text = BUNDLED[name][:at] + data.draw(ANY_TEXT) + BUNDLED[name][at + 1 :]
    assert (fault({name: text}) or name).startswith(name)


def counting(numbers: Iterator[int]) -> Callable[[int], int]:
    """Make chance of a sequence: each number is taken modulo the bound that is asked for."""
    return lambda below: next(numbers) % below


CHANCE = st.lists(st.integers(0, 2**32), min_size=80, max_size=80)


@given(st.integers(1, len(BANK.categories)), CHANCE, st.sets(st.sampled_from(CLUES), max_size=60))
def test_a_draw_has_distinct_categories_each_with_one_clue_a_level(
    count: int, chance: list[int], asked: set[Clue]
) -> None:
    keys = frozenset(clue.key for clue in asked)
    drawn = BANK.draw(count, counting(iter(chance)), keys)
    assert len(drawn) == count
    assert len({clues[0].category for clues in drawn}) == count
    for clues in drawn:
        assert [clue.level for clue in clues] == list(LEVELS)
        assert {clue.category for clue in clues} == {clues[0].category}
        for clue in clues:
            others = BANK.clues(clue.category, clue.level)
            assert clue.key not in keys or all(other.key in keys for other in others)


def test_every_order_of_the_categories_is_equally_likely() -> None:
    names = ("Ash", "Elm", "Fir")
    lines = [
        line(level, category=name, clue=f"What is on page {level} of the book of {name[0]}?")
        for name in names
        for level in LEVELS
    ]
    bank = parse_bank({"trees.jsonl": "\n".join(lines)})
    orders = [
        tuple(clues[0].category for clues in bank.draw(3, counting(chain((one, other), repeat(0)))))
        for one in range(3)
        for other in range(2)
    ]
    assert sorted(orders) == sorted(permutations(names))


@given(CHANCE)
def test_the_same_chance_draws_the_same_clues(chance: list[int]) -> None:
    again = parse_bank(dict(reversed(BUNDLED.items())))
    drawn = BANK.draw(6, counting(iter(chance)))
    assert again.draw(6, counting(iter(chance))) == drawn


def test_three_draws_in_a_row_of_all_categories_ask_every_clue_once() -> None:
    asked: frozenset[str] = frozenset()
    for _ in range(3):
        drawn = BANK.draw(len(BANK.categories), lambda below: below // 2, asked)
        keys = {clue.key for clues in drawn for clue in clues}
        assert not keys & asked
        asked |= keys
    assert len(asked) == len(CLUES)
    assert BANK.draw(1, lambda below: below - 1, asked)[0][0].key in asked


def test_categories_that_have_fresh_clues_at_every_level_are_drawn_first() -> None:
    stale = BANK.categories[0]
    asked = frozenset(clue.key for clue in BANK.clues(stale, 4))
    for number in range(50):
        chance = iter(range(number, number + 1000, 7))
        drawn = BANK.draw(len(BANK.categories) - 1, counting(chance), asked)
        assert stale not in {clues[0].category for clues in drawn}


def test_every_category_and_every_clue_can_be_drawn() -> None:
    chances = range(400)
    seen = {
        clue.key
        for start in chances
        for clues in BANK.draw(4, counting(iter(range(start * 31, start * 31 + 999, 11))))
        for clue in clues
    }
    assert seen == {clue.key for clue in CLUES}


@pytest.mark.parametrize("count", [0, -1, 99])
def test_more_categories_than_there_are_cannot_be_drawn(count: int) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        BANK.draw(count, lambda below: 0)


@given(
    st.integers(1, 60),
    st.lists(st.integers(0, 2**32), min_size=60, max_size=60),
    st.sets(st.sampled_from(CLUES), max_size=170),
)
def test_a_mixed_draw_has_distinct_clues_from_easy_to_hard(
    count: int, chance: list[int], asked: set[Clue]
) -> None:
    keys = frozenset(clue.key for clue in asked)
    drawn = BANK.draw_mixed(count, counting(iter(chance)), keys)
    assert len(drawn) == len({clue.key for clue in drawn}) == count
    levels = [clue.level for clue in drawn]
    assert levels == sorted(levels)
    shares = [levels.count(level) for level in LEVELS]
    assert max(shares) - min(shares) <= 1
    for level in LEVELS:
        of_level = [clue for clue in drawn if clue.level == level]
        fresh = [clue for clue in CLUES if clue.level == level and clue.key not in keys]
        again = [clue for clue in of_level if clue.key in keys]
        assert len(again) == max(0, len(of_level) - len(fresh))


def test_a_mixed_draw_takes_from_every_category_before_it_takes_again() -> None:
    for start in range(20):
        drawn = BANK.draw_mixed(len(BANK.categories), counting(iter(range(start, 999, 7))))
        assert {clue.category for clue in drawn} == set(BANK.categories)


def test_a_mixed_draw_of_a_small_bank_is_smaller_than_what_was_asked_for() -> None:
    bank = parse_bank({"few.jsonl": "\n".join(line(level, clue=f"{level}?") for level in LEVELS)})
    assert [clue.level for clue in bank.draw_mixed(50, lambda below: 0)] == list(LEVELS)
    with pytest.raises(ValueError, match="at least one"):
        bank.draw_mixed(0, lambda below: 0)


def test_the_bundled_content_has_its_categories_levels_and_clues() -> None:
    assert len(BANK.categories) >= 10
    assert len(CLUES) == BANK.clues_total >= 150
    assert BANK.categories == tuple(sorted(BANK.categories))
    for category in BANK.categories:
        assert [len(BANK.clues(category, level)) for level in LEVELS] == [3, 3, 3, 3, 3]


def test_each_bundled_file_is_one_whole_category_in_the_order_of_its_levels() -> None:
    for name, text in BUNDLED.items():
        bank = parse_bank({name: text})
        assert len(bank.categories) == 1, name
        levels = [json.loads(source)["level"] for source in text.splitlines()]
        assert levels == sorted(levels), name


@pytest.mark.parametrize("clue", CLUES, ids=lambda clue: clue.answer)
def test_a_bundled_clue_accepts_what_is_right_and_refuses_what_is_wrong(clue: Clue) -> None:
    for form in (clue.answer, *clue.accept):
        for given_text in (form, form.upper(), form.lower(), f"What is {form}?", f"who are {form}"):
            assert is_right(given_text, clue.answer, clue.accept), given_text
        assert not gives_away(clue.clue, form)
    for form in clue.wrong:
        for given_text in (form, form.upper(), f"What is {form}?", f"who are {form}"):
            assert not is_right(given_text, clue.answer, clue.accept), given_text


def test_no_bundled_answer_is_asked_for_twice_within_a_category() -> None:
    for category in BANK.categories:
        answers = [clue.answer for level in LEVELS for clue in BANK.clues(category, level)]
        for answer in answers:
            assert sum(is_right(answer, other, ()) for other in answers) == 1, answer


def test_no_bundled_accepted_form_is_idle() -> None:
    for clue in CLUES:
        for at, form in enumerate(clue.accept):
            assert not is_right(form, clue.answer, clue.accept[:at]), form


def test_the_right_answer_does_not_stand_out_by_its_length() -> None:
    longest = sum(len(clue.answer) > max(map(len, clue.wrong)) for clue in CLUES)
    shortest = sum(len(clue.answer) < min(map(len, clue.wrong)) for clue in CLUES)
    # One of four options is the longest by chance; half as many again is still no hint.
    assert longest < len(CLUES) * 0.375
    assert shortest < len(CLUES) * 0.375

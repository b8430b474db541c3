"""Word errors in any spacing: by hand, and what must hold for any two texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from asrkit.error_rates import Counts
from asrkit.spacing import words_any_spacing


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("", "", Counts(0, 0, 0, 0)),
        ("", "a b", Counts(0, 1, 0, 0)),  # between no words: one insertion
        ("ab cd", "", Counts(2, 0, 2, 0)),
        ("나는 학교에 간다", "나는학교에간다", Counts(3, 0, 0, 0)),
        ("나는 학교에 간다", " 나 는 학교 에  간다", Counts(3, 0, 0, 0)),
        ("나는 학교에 간다", "나는학교에 갔다", Counts(3, 0, 0, 1)),
        ("the cat sat", "thecat", Counts(3, 0, 1, 0)),
        ("a b c", "ac", Counts(3, 0, 1, 0)),
        ("cat", "dog", Counts(1, 0, 0, 1)),  # other characters stand there: not deleted
        ("ab cd", "acd", Counts(2, 0, 0, 1)),
        ("ab cd", "axb cd", Counts(2, 0, 0, 1)),  # inside a word: breaks it
        ("ab cd", "ab xyz cd", Counts(2, 1, 0, 0)),  # between two right words
        ("ab cd", "ab xyz ce", Counts(2, 0, 0, 1)),  # beside a wrong one
        ("ab cd", "ax xyz cd", Counts(2, 0, 0, 1)),
        ("ab cd", "xx abcd yy", Counts(2, 2, 0, 0)),
        ("ab cd ef", "xx ab cd eg", Counts(3, 1, 0, 1)),  # the wrong word is no neighbour
    ],
)
def test_by_hand(reference: str, hypothesis: str, counts: Counts) -> None:
    assert words_any_spacing(reference, hypothesis) == counts


texts = st.text("ab나 ", max_size=20)


@given(texts, texts, st.data())
def test_spaces_of_the_hypothesis_change_nothing(reference: str, hypothesis: str, data: st.DataObject) -> None:
    spaces = data.draw(st.lists(st.integers(0, 2), min_size=len(hypothesis), max_size=len(hypothesis)))
    respaced = "".join(" " * n + char for n, char in zip(spaces, hypothesis, strict=True) if char != " ")
    assert words_any_spacing(reference, respaced) == words_any_spacing(reference, hypothesis)


@given(texts, texts)
def test_no_error_exactly_where_the_characters_are_the_same(reference: str, hypothesis: str) -> None:
    counts = words_any_spacing(reference, hypothesis)
    said, heard = reference.replace(" ", ""), hypothesis.replace(" ", "")
    assert counts.units == len(reference.split())
    assert (counts.errors == 0) == (said == heard)
    assert counts.errors <= Levenshtein.distance(said, heard)  # each wrong word has an error of its own
    assert counts.deletions + counts.substitutions <= counts.units
    assert words_any_spacing(reference, reference.replace(" ", "")).errors == 0

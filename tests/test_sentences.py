"""sentences.py: slots are filled as the grammar says, all sentences differ, and what cannot be filled is refused."""

import random

import pytest

from asrkit.errors import AsrkitError
from asrkit.sentences import draw_sentences

GRAMMAR = {"sentence": "{who} {did}|  {who}\n   and {who} {did}", "who": "ann|ben", "did": "ran|sat"}
POSSIBLE = {
    f"{who} {did}" for who in ("ann", "ben", "ann and ann", "ann and ben", "ben and ann", "ben and ben")
    for did in ("ran", "sat")
}  # fmt: skip


def test_all_that_the_grammar_allows_is_drawn_and_nothing_else() -> None:
    drawn = draw_sentences(GRAMMAR, random.Random(1), 12)
    assert len(drawn) == 12 and set(drawn) == POSSIBLE


def test_the_first_sentences_do_not_depend_on_how_many_follow() -> None:
    assert draw_sentences(GRAMMAR, random.Random(7), 4) == draw_sentences(GRAMMAR, random.Random(7), 10)[:4]


def test_a_choice_that_stands_twice_is_likelier() -> None:
    firsts = [draw_sentences({"sentence": "a|a|a|b"}, random.Random(seed), 1)[0] for seed in range(400)]
    assert 250 < firsts.count("a") < 350  # 300 expected, standard deviation 8.7


def test_sentences_are_finished_before_they_are_compared() -> None:
    assert draw_sentences({"sentence": "ab|ba|c"}, random.Random(1), 2, lambda text: "".join(sorted(text))) in (
        ["ab", "c"],
        ["c", "ab"],
    )


def test_a_slot_that_is_not_there_and_a_grammar_with_too_few_sentences_are_refused() -> None:
    with pytest.raises(AsrkitError, match=r"the grammar has no slot 'whom' \(there are: sentence\)"):
        draw_sentences({"sentence": "{whom}"}, random.Random(1), 1)
    with pytest.raises(AsrkitError, match=r"gave only 12 different sentences; wanted 13: widen it"):
        draw_sentences(GRAMMAR, random.Random(1), 13)

"""The best path within a grammar: against the enumeration of every path, and by hand."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.grammar import Grammar, best_path

LABELS = 4  # blank, a, b, c


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label]


def enumerated_best(log_probs: np.ndarray, grammar: Grammar) -> float:
    """ln P of the best of all V^T paths whose labels the grammar accepts."""
    frames = range(len(log_probs))
    paths = itertools.product(range(log_probs.shape[1]), repeat=len(log_probs))
    return max(float(log_probs[list(frames), list(path)].sum()) for path in paths if grammar.accepts(collapsed(path)))


@st.composite
def grammars(draw: st.DrawFn) -> Grammar:
    states = draw(st.integers(1, 3))
    cell = st.integers(-1, states - 1)
    follows = draw(st.lists(st.lists(cell, min_size=LABELS, max_size=LABELS), min_size=states, max_size=states))
    ends = [True, *draw(st.lists(st.booleans(), min_size=states - 1, max_size=states - 1))]
    return Grammar(np.array(follows, np.int32), np.array(ends))


@given(grammar=grammars(), frames=st.integers(0, 5), seed=st.integers(0, 1000))
@settings(deadline=None)
def test_the_best_path_is_the_best_of_all_accepted_ones(grammar: Grammar, frames: int, seed: int) -> None:
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(LABELS), frames).reshape(frames, LABELS))
    path = best_path(log_probs, grammar)
    assert grammar.accepts(collapsed(tuple(path.tolist())))
    assert abs(log_probs[np.arange(frames), path].sum() - enumerated_best(log_probs, grammar)) < 1e-9


def test_without_a_grammar_each_frame_has_its_best_label() -> None:
    log_probs = np.log([[0.1, 0.6, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1]])
    assert best_path(log_probs, None).tolist() == [1, 0]


def test_a_label_may_not_follow_one_that_forbids_it() -> None:
    a_then_b = Grammar(np.array([[0, 1, -1, -1], [1, -1, 0, -1]], np.int32), np.array([True, False]))
    assert a_then_b.accepts([1, 2, 1, 2])
    assert not a_then_b.accepts([1, 1])
    assert not a_then_b.accepts([1])
    # Frame by frame the best is a, a blank, a: the second a is dearest to replace by b, the blank stays.
    log_probs = np.log([[0.1, 0.7, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1], [0.1, 0.5, 0.3, 0.1]])
    assert best_path(log_probs, a_then_b).tolist() == [1, 0, 2]


def test_a_label_goes_on_without_following_itself() -> None:
    once = Grammar(np.array([[0, 1, -1, -1], [1, -1, -1, -1]], np.int32), np.array([True, True]))
    log_probs = np.log([[0.1, 0.7, 0.1, 0.1], [0.2, 0.6, 0.1, 0.1], [0.6, 0.2, 0.1, 0.1], [0.3, 0.5, 0.1, 0.1]])
    # a a blank a would be a twice; cheapest is a a blank blank (0.7 * 0.6 * 0.6 * 0.3), not a a a a (... 0.2 * 0.5)
    assert best_path(log_probs, once).tolist() == [1, 1, 0, 0]

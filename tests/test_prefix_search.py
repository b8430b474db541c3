"""Prefix search over labels: against the enumeration of every path, with and without n-gram and grammar."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.errors import AsrkitError
from asrkit.grammar import Grammar
from asrkit.ngram import NGram
from asrkit.prefix_search import PrefixSearch, beam_search
from asrkit.search import LN_10, BeamSearch
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import CharacterTokenizer

AB = CharacterTokenizer(" ab")  # ids: blank 0, space 1, a 2, b 3

# P(a | b) is made high: -0.1
ARPA = """\\data\\
ngram 1=6
ngram 2=3

\\1-grams:
-99\t<s>\t-0.3
-0.9\t</s>
-2\t<unk>
-0.7\ta\t-0.2
-0.8\tb\t-0.1
-0.6\t▁\t-0.4

\\2-grams:
-0.1\tb a
-0.5\ta </s>
-0.3\t<s> b

\\end\\
"""


class Alternating(CharacterTokenizer):
    """a and b in turn, a first; spaces anywhere."""

    grammar = Grammar(np.array([[0, 0, 1, -1], [0, 1, -1, 0]], np.int32), np.array([True, True]))


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> NGram:
    path = tmp_path_factory.mktemp("lm") / "labels.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return NGram.open(path, AB)


def enumerated(log_probs: np.ndarray, grammar: Grammar | None) -> dict[tuple[int, ...], float]:
    """ln P of every label sequence, over all paths that spell it."""
    total: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        labels = tuple(label for label, _ in itertools.groupby(path) if label)
        if grammar is None or grammar.accepts(labels):
            total[labels] += math.exp(sum(row[label] for row, label in zip(log_probs, path, strict=True)))
    return {labels: math.log(p) for labels, p in total.items()}


def random_log_probs(frames: int, seed: int) -> np.ndarray:
    probs = np.random.default_rng(seed).uniform(0.1, 1, (frames, 4))  # none so small that the search passes it over
    return np.log(probs / probs.sum(axis=1, keepdims=True))


def lm_log10(labels: Sequence[int], lm: NGram) -> float:
    return lm.text_score(" ".join("_▁ab"[label] for label in labels))


@pytest.mark.parametrize("tokenizer", [AB, Alternating(" ab")], ids=["free", "grammar"])
@given(frames=st.integers(1, 4), seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=50)
def test_it_finds_the_most_probable_labels(tokenizer: CharacterTokenizer, frames: int, seed: int) -> None:
    log_probs = random_log_probs(frames, seed)
    labels, logp = max(enumerated(log_probs, tokenizer.grammar).items(), key=lambda item: item[1])
    found = PrefixSearch(tokenizer, beam=1000).decode(log_probs)[0]
    assert found.logp == pytest.approx(logp, abs=1e-3)
    assert found.text == tokenizer.decode(labels)


@pytest.mark.parametrize("tokenizer", [AB, Alternating(" ab")], ids=["free", "grammar"])
@given(frames=st.integers(1, 4), seed=st.integers(0, 10_000), alpha=st.floats(0, 2), beta=st.floats(-1, 2))
@settings(deadline=None, max_examples=50)
def test_with_an_ngram_of_labels_it_finds_the_best_sum(
    lm: NGram, tokenizer: CharacterTokenizer, frames: int, seed: int, alpha: float, beta: float
) -> None:
    log_probs = random_log_probs(frames, seed)
    scores = {
        labels: logp + alpha * LN_10 * lm_log10(labels, lm) + beta * len(labels)
        for labels, logp in enumerated(log_probs, tokenizer.grammar).items()
    }
    found = PrefixSearch(tokenizer, lm=lm, beam=1000, alpha=alpha, beta=beta).decode(log_probs)[0]
    assert found.score == pytest.approx(max(scores.values()), abs=1e-2)
    assert found.lm_score is not None
    assert found.score == pytest.approx(found.logp + found.lm_score)


def test_n_best_come_in_order_and_differ() -> None:
    found = PrefixSearch(AB, n_best=5).decode(random_log_probs(4, seed=1))
    assert len(found) == 5
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


def test_no_frames_give_no_text() -> None:
    assert PrefixSearch(AB).decode(np.zeros((0, 4)))[0].text == ""


def test_log_probs_of_another_width_are_refused() -> None:
    with pytest.raises(AsrkitError, match=r"log-probs have shape \(3, 5\); wanted \(frames, 4 labels\)"):
        PrefixSearch(AB).decode(np.zeros((3, 5)))


def test_the_search_goes_with_the_ngram(lm: NGram, tmp_path: Path) -> None:
    assert lm.of_labels
    assert isinstance(beam_search(AB, lm, DecodeSettings()), PrefixSearch)
    words = tmp_path / "words.arpa"
    words.write_text(ARPA.replace("▁", "ab"), encoding="utf-8")  # a, b and ab are words: none holds a word boundary
    of_words = NGram.open(words, AB)
    assert not of_words.of_labels
    assert isinstance(beam_search(AB, of_words, DecodeSettings()), BeamSearch)

"""The native search with a grammar and an n-gram of labels: against the enumeration of every path; Hangul's letters."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_search import AB, HANGUL, spelled_log_probs
from test_search import ARPA as WORDS_ARPA

from asrkit.grammar import Grammar
from asrkit.native_search import NativeSearch
from asrkit.ngram import NGram
from asrkit.search import LN_10
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import CharacterTokenizer, Tokenizer
from asrkit.word_times import FrameTimes

EXACT: dict[str, Any] = {"beam": 2000, "token_min_logp": -1e9, "beam_prune_logp": -1e9}

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
    """a and b in turn, a first; spaces anywhere; no end behind an a."""

    grammar = Grammar(np.array([[0, 0, 1, -1], [0, 1, -1, 0]], np.int32), np.array([True, False]))


each_tokenizer = pytest.mark.parametrize("tokenizer", [AB, Alternating(" ab")], ids=["free", "grammar"])


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> NGram:
    path = tmp_path_factory.mktemp("lm") / "labels.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return NGram.open(path, AB)


def enumerated(log_probs: np.ndarray, tokenizer: Tokenizer) -> dict[tuple[int, ...], float]:
    """ln P of every label sequence that the grammar takes, over all paths that spell it."""
    total: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        labels = tuple(label for label, _ in itertools.groupby(path) if label)
        if tokenizer.grammar is None or tokenizer.grammar.accepts(labels):
            total[labels] += math.exp(sum(row[label] for row, label in zip(log_probs, path, strict=True)))
    return {labels: math.log(p) for labels, p in total.items()}


def random_log_probs(frames: int, seed: int) -> np.ndarray:
    probs = np.random.default_rng(seed).uniform(0.1, 1, (frames, 4))
    return np.log(probs / probs.sum(axis=1, keepdims=True))


def sentence_log10(labels: Sequence[int], lm: NGram) -> float:
    assert lm.automaton is not None
    return lm.automaton.sentence_score(["_▁ab"[label] for label in labels])


@each_tokenizer
@given(frames=st.integers(1, 4), seed=st.integers(0, 10_000))
def test_every_text_that_the_grammar_takes_best_first(tokenizer: Tokenizer, frames: int, seed: int) -> None:
    log_probs = random_log_probs(frames, seed)
    wanted: dict[str, float] = {}
    for labels, logp in sorted(enumerated(log_probs, tokenizer).items(), key=lambda item: -item[1]):
        wanted.setdefault(tokenizer.decode(labels), logp)  # each text as it is best spelled
    found = NativeSearch(tokenizer, DecodeSettings(n_best=1000, **EXACT)).decode(log_probs)
    assert [each.logp for each in found] == pytest.approx([*wanted.values()], abs=1e-6)
    assert [each.text for each in found] == [*wanted]
    (best,) = NativeSearch(tokenizer, DecodeSettings(**EXACT)).decode(log_probs)
    assert best == found[0]


@each_tokenizer
@given(frames=st.integers(1, 4), seed=st.integers(0, 10_000), alpha=st.floats(0, 2), beta=st.floats(-1, 2))
def test_with_an_ngram_of_labels_the_best_sum(
    lm: NGram, tokenizer: Tokenizer, frames: int, seed: int, alpha: float, beta: float
) -> None:
    log_probs = random_log_probs(frames, seed)
    scores = {
        labels: logp + alpha * LN_10 * sentence_log10(labels, lm) + beta * len(labels)
        for labels, logp in enumerated(log_probs, tokenizer).items()
    }
    options = DecodeSettings(token_alpha=alpha, token_beta=beta, **EXACT)
    (found,) = NativeSearch(tokenizer, options, tokens=lm.automaton).decode(log_probs)
    assert found.score == pytest.approx(max(scores.values()), abs=1e-4)
    assert found.lm_score is not None
    assert found.score == pytest.approx(found.logp + found.lm_score)


def test_no_text_at_all_that_the_grammar_takes() -> None:
    """a is all that is heard, and no text may end there: it is shown all the same."""
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array([[0.0, 0.0, 1.0, 0.0]]))
    for n_best in (1, 3):
        (found,) = NativeSearch(Alternating(" ab"), DecodeSettings(n_best=n_best)).decode(log_probs)
        assert found.text == "a"
        assert math.isfinite(found.score)


def test_whether_an_ngram_is_of_labels_is_seen_from_its_words(lm: NGram, tmp_path: Path) -> None:
    assert lm.of_labels
    assert lm.lexicon is None
    words = tmp_path / "words.arpa"
    words.write_text(ARPA.replace("▁", "ab"), encoding="utf-8")  # a, b and ab are words: none holds a word boundary
    assert not NGram.open(words, AB).of_labels
    assert NGram.open(words, AB, of_labels=True).of_labels
    assert not NGram.open(lm.path, AB, of_labels=False).of_labels


# Jamo ---------------------------------------------------------------------------------------------------------------

G, N, A, FINAL_N = "\u1100", "\u1102", "\u1161", "\u11ab"


def test_whole_syllables() -> None:
    # g, g or a, n (initial) or n (final): frame by frame that is g g n, which is no syllable
    log_probs = spelled_log_probs(G, "_", G + A, "_", N + FINAL_N)
    for n_best in (1, 5):
        assert NativeSearch(HANGUL, DecodeSettings(n_best=n_best)).decode(log_probs)[0].text == "간"


def test_words_of_an_ngram_are_found_among_jamo(tmp_path: Path) -> None:
    arpa = tmp_path / "words.arpa"
    text = WORDS_ARPA.replace("ab", "간").replace("ba", "나").replace("\ta", "\t가").replace(" a", " 가")
    arpa.write_text(text, encoding="utf-8")
    lm = NGram.open(arpa, HANGUL)
    search = NativeSearch(
        HANGUL,
        DecodeSettings(alpha=1.0, beta=0.0, n_best=3),
        words=lm.automaton,
        lexicon=lm.lexicon,
        times=FrameTimes(0.04),
    )
    found = search.decode(spelled_log_probs(G, A, "_" + FINAL_N, " ", N, A))[0]
    assert found.text == "간 나"  # ln 0.3/0.6 is dearer than what the n-gram gives: 간 at the start has log10 -0.2
    assert found.words is not None and [word.word for word in found.words] == ["간", "나"]
    # P(간 | <s>), 간 has back-off -0.1 and 나 -2.0, which has no back-off; P(</s>)
    assert found.lm_score == pytest.approx((-0.2 - 0.1 - 2.0 - 0.9) * LN_10, abs=1e-5)

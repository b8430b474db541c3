"""causes.py: by hand, and with a search that loses nothing."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_align import SUBWORDS, random_log_probs

from asrkit.arpa import read_arpa
from asrkit.automaton import Automaton, build_automaton
from asrkit.causes import TOLERANCE, Cause, cause_of
from asrkit.kneser_ney import build_arpa
from asrkit.lexicon import build_alphabet, build_lexicon
from asrkit.native_search import NativeSearch
from asrkit.report_html import CAUSES
from asrkit.search import LN_10, Hypothesis, greedy
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import CharacterTokenizer

AB = CharacterTokenizer(" ab")  # ids: blank 0, space 1, a 2, b 3


@dataclass
class Scores:
    """An n-gram that says what the test wants; it knows what it is asked, unless the test says otherwise."""

    by_text: dict[str, float]
    unknown: set[str] = field(default_factory=set)

    def reaches(self, text: str) -> bool:
        return self.unknown.isdisjoint(text.split())

    def lm_score(self, text: str) -> float:
        return self.by_text[text]


def log(*probs: list[float]) -> NDArray[np.float64]:
    return np.log(np.array(probs))


def won(text: str, logp: float, lm_score: float | None = None) -> Hypothesis:
    return Hypothesis(text, None, logp, lm_score, logp + (lm_score or 0.0))


ONE_FRAME = log([0.1, 0.1, 0.5, 0.3])  # "a": 0.5, "b": 0.3
A, B = won("a", math.log(0.5), 0.0), won("b", math.log(0.3), 0.0)


@pytest.mark.parametrize(
    ("reference", "winner", "lm", "cause"),
    [
        ("a", A, Scores({"a": 0.0}), None),
        (" a ", A, Scores({"a": 0.0}), None),
        ("c", A, Scores({"c": 9.0}), "oov"),  # no label spells it
        ("b", A, Scores({"b": 9.0}, unknown={"b"}), "oov"),  # the first that holds
        ("b", A, Scores({"b": 0.6}), "search"),  # 0.3 e^0.6 = 0.547 > 0.5
        ("b", A, Scores({"b": 0.5}), "acoustic"),  # 0.3 e^0.5 = 0.495
        ("a", B, Scores({"a": -0.5}), "search"),  # 0.5 e^-0.5 = 0.303 > 0.3
        ("a", B, Scores({"a": -0.6}), "lm"),  # 0.5 e^-0.6 = 0.274
        ("b b", A, Scores({"b b": 99.0}), "acoustic"),  # no path of one frame spells it
    ],
)
def test_causes_by_hand(reference: str, winner: Hypothesis, lm: Scores, cause: str | None) -> None:
    assert cause_of(reference, winner, ONE_FRAME, AB, lm) == cause


@pytest.mark.parametrize(
    ("probs", "reference", "text", "cause"),
    [
        ([[0.6, 0.0, 0.4, 0.0]] * 2, "a", "", "search"),  # "": 0.36 in one path, "a": 0.64 in three
        ([[0.8, 0.0, 0.2, 0.0]] * 2, "a", "", "acoustic"),  # 0.64 and 0.36
        ([[0.8, 0.0, 0.2, 0.0]] * 2, "c", "", "oov"),
        ([[0.8, 0.0, 0.2, 0.0]] * 2, "", "", None),
    ],
)
def test_greedy(probs: list[list[float]], reference: str, text: str, cause: str | None) -> None:
    with np.errstate(divide="ignore"):
        log_probs = log(*probs)
    winner = greedy(log_probs, AB)
    assert winner.text == text
    assert cause_of(reference, winner, log_probs, AB) == cause


def test_the_winner_is_measured_over_all_its_paths() -> None:
    """Two frames: P(a) = 2 * 0.3 * 0.5 + 0.3^2 = 0.39 and P(b) = 0.24, but the beam kept only the path "aa": 0.09."""
    log_probs = log([0.5, 1e-30, 0.3, 0.2], [0.5, 1e-30, 0.3, 0.2])
    assert cause_of("b", won("a", math.log(0.09)), log_probs, AB) == "acoustic"
    # alike with an n-gram, by 0.24 * 1.5 = 0.36 and 0.24 * 1.7 = 0.408
    for factor, cause in ((1.5, "acoustic"), (1.7, "search")):
        lm = Scores({"b": math.log(factor)})
        assert cause_of("b", won("a", math.log(0.09), 0.0), log_probs, AB, lm) == cause


def test_the_winner_may_be_spelled_in_other_labels_than_encode_gives() -> None:
    """ "ab" as "▁", "ab" has 0.5 * 0.6; encode takes "▁a", "b"; the reference "a d" as "▁a", "▁", "d" does not fit."""
    log_probs = np.log(np.full((2, len(SUBWORDS.labels)), 0.05))
    log_probs[0, SUBWORDS.labels.index("▁")] = math.log(0.5)
    log_probs[1, SUBWORDS.labels.index("ab")] = math.log(0.6)
    log_probs[1, SUBWORDS.labels.index("d")] = math.log(0.1)
    # "ad" as "▁a", "d": 0.05 * 0.1, more than encode's "▁a", "b": 0.05 * 0.05
    assert cause_of("ad", won("ab", math.log(0.5 * 0.6)), log_probs, SUBWORDS) == "acoustic"
    assert cause_of("ad", won("ab", math.log(0.05 * 0.05)), log_probs, SUBWORDS) == "search"


def test_a_winner_that_no_label_spells_keeps_its_score() -> None:
    """Such as jamo that make no syllable, read as compatibility jamo."""
    assert cause_of("b", won("ㄱ", math.log(0.4)), ONE_FRAME, AB) == "acoustic"
    assert cause_of("b", won("ㄱ", math.log(0.2)), ONE_FRAME, AB) == "search"


@pytest.mark.parametrize(("more", "cause"), [(0.5 * TOLERANCE, "acoustic"), (2 * TOLERANCE, "search")])
def test_rounding_is_no_cause(more: float, cause: str) -> None:
    lm = Scores({"b": math.log(0.5 / 0.3) + more})
    assert cause_of("b", A, ONE_FRAME, AB, lm) == cause


def test_every_cause_is_explained_in_the_report() -> None:
    assert tuple(CAUSES) == get_args(Cause)


# With a real search ---------------------------------------------------------------------------------------------------

WORDS = ("a", "b", "ab", "ba")


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Automaton:
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    text = ["a b", "ab a", "b ab", "a a b", "ab", "b a", "ba"]
    build_arpa([line.split() for line in text], 2, path, discount_fallback=True)
    return build_automaton(read_arpa(Path(path)), path)


@dataclass
class Weighted:
    """As NativeSearch weighs by default: alpha 0.5, beta 1."""

    lm: Automaton

    def reaches(self, text: str) -> bool:
        return set(WORDS).issuperset(text.split())

    def lm_score(self, text: str) -> float:
        return 0.5 * LN_10 * self.lm.sentence_score(text.split()) + len(text.split())


@given(
    frames=st.integers(1, 9),
    seed=st.integers(0, 10_000),
    reference=st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join),
    width=st.integers(1, 4),
)
def test_a_search_error_is_what_a_wider_search_mends(
    lm: Automaton, frames: int, seed: int, reference: str, width: int
) -> None:
    log_probs = random_log_probs(frames, 4, seed)
    lexicon = build_lexicon(build_alphabet(AB), WORDS, [*map(lm.number, WORDS)], lm.tables.unigrams["log10"])
    search = NativeSearch(AB, DecodeSettings(token_min_logp=-1e9, beam_prune_logp=-1e9), words=lm, lexicon=lexicon)
    (narrow,), (wide,) = (
        search.with_options(replace(search.options, beam=beam)).decode(log_probs) for beam in (width, 20_000)
    )
    assert cause_of(reference, wide, log_probs, AB, Weighted(lm)) != "search"
    if cause_of(reference, narrow, log_probs, AB, Weighted(lm)) == "search":
        assert wide.score > narrow.score

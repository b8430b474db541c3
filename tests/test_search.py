"""Greedy search, by hand; and log-probs that no search takes."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.errors import AsrkitError
from asrkit.native_search import NativeSearch
from asrkit.pyctcdecode_search import BeamSearch
from asrkit.search import LogProbs, Search, greedy
from asrkit.settings import DecodeSettings, TokenizerSettings
from asrkit.tokenizer import CharacterTokenizer, SubwordTokenizer, Tokenizer, train_tokenizer
from asrkit.word_times import FrameTimes, WordTime

AB = CharacterTokenizer(" ab")  # ids: blank 0, space 1, a 2, b 3

ARPA = """\\data\\
ngram 1=7
ngram 2=3

\\1-grams:
-3\t<unk>
-99\t<s>\t-0.3
-0.9\t</s>
-0.7\ta\t-0.2
-1.1\tab\t-0.1
-1.2\tb
-2.0\tba

\\2-grams:
-0.2\t<s> ab
-0.4\tab b
-0.5\tb </s>

\\end\\
"""


class Pieces:
    """Subwords as SentencePiece would make them, with labels chosen here."""

    kind, word_boundary = "bpe", "▁"
    labels = ("<blank>", "▁a", "▁", "a", "b")
    grammar = None

    def spell(self, text: str) -> str:
        return text

    def read(self, spelled: str) -> str:
        return spelled

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join("".join(self.labels[i] for i in ids).replace("▁", " ").split())

    def spells(self, text: str) -> bool:
        return set(text) <= set(" ab")


PIECES: Tokenizer = Pieces()  # type: ignore[assignment]  # what search and NGram ask for


def path_of(ids: Sequence[int], labels: int = 4, sure: float = 0.9) -> np.ndarray:
    """Log-probs (T, V) whose best path is `ids`."""
    probabilities = np.full((len(ids), labels), (1 - sure) / (labels - 1))
    probabilities[np.arange(len(ids)), ids] = sure
    return np.log(probabilities).astype(np.float32)


def normalised(seed: int, frames: int, labels: int, spread: float = 2.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(frames, labels)) * spread
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


# Greedy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([2, 2, 0, 2, 3, 3], "aab"),  # a repeat is one letter, unless a blank stands between
        ([0, 1, 0, 2, 1, 1, 3, 1, 0], "a b"),  # spaces at the ends go
        ([2, 1, 0, 1, 3], "a b"),
        ([0, 0], ""),
        ([], ""),
    ],
)
def test_greedy_by_hand(ids: list[int], text: str) -> None:
    assert greedy(path_of(ids), AB).text == text


def test_greedy_scores_the_best_path() -> None:
    found = greedy(path_of([2, 0, 3]), AB)
    assert found.logp == pytest.approx(3 * math.log(0.9), abs=1e-6)
    assert (found.score, found.lm_score, found.words) == (found.logp, None, None)


def test_greedy_word_times_and_confidence() -> None:
    ids = [0, 2, 2, 0, 3, 1, 0, 3, 0]
    log_probs = path_of(ids)
    log_probs[1] = np.log([0.3, 0.1, 0.5, 0.1])  # "a" is surer in its second frame, which counts
    found = greedy(log_probs, AB, times=FrameTimes(frame_s=0.04))
    assert found.words == (WordTime("ab", 0.04, 0.2, 0.9), WordTime("b", 0.28, 0.32, 0.9))


def test_confidence_is_the_geometric_mean_of_the_labels() -> None:
    log_probs = np.log(np.array([[0.1, 0.1, 0.7, 0.1], [0.2, 0.1, 0.2, 0.5]], np.float32))
    words = greedy(log_probs, AB, times=FrameTimes(0.02)).words or ()
    assert words[0].confidence == pytest.approx(math.sqrt(0.7 * 0.5), abs=1e-4)


def test_times_before_the_sound_are_moved_to_its_start() -> None:
    times = FrameTimes(frame_s=0.04, start_s=-0.1)
    assert times.span(5, 7) == (0.1, 0.18)
    assert times.span(0, 1) == (0.0, 0.04)
    assert times.span(2, 4) == (0.0, 0.06)


def test_greedy_subwords() -> None:
    found = greedy(path_of([1, 4, 0, 2, 3, 1], labels=5), PIECES, times=FrameTimes(0.1))
    assert found.text == "ab a a"
    assert [(word.word, word.start_s, word.end_s) for word in found.words or ()] == [
        ("ab", 0.0, 0.2),
        ("a", 0.4, 0.5),
        ("a", 0.5, 0.6),
    ]


@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_words_of_greedy_are_those_of_its_text(seed: int, frames: int) -> None:
    for tokenizer in (AB, PIECES):
        found = greedy(normalised(seed, frames, len(tokenizer.labels)), tokenizer, times=FrameTimes(0.02))
        assert [word.word for word in found.words or ()] == found.text.split()
        times = [time for word in found.words or () for time in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert all(0 < (word.confidence or 0) <= 1 for word in found.words or ())


# Log-probs that are none ---------------------------------------------------------------------------------------------

ENGINES: dict[str, Search] = {
    "greedy": lambda log_probs: [greedy(log_probs, AB)],
    "native": NativeSearch(AB).decode,
    "native, n best": NativeSearch(AB, DecodeSettings(n_best=3)).decode,
    "pyctcdecode": BeamSearch(AB).decode,
}
each_engine = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)


def with_frame(values: Sequence[float], frame: int = 2) -> LogProbs:
    """Five frames, one of which has these log-probs."""
    log_probs = normalised(0, 5, 4)
    log_probs[frame] = values
    return log_probs


@each_engine
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("log_probs", "message"),
    [
        (np.zeros((2, 5)), r"log-probs have shape \(2, 5\); wanted \(frames, 4 labels\)"),
        (np.zeros((0, 3)), r"log-probs have shape \(0, 3\); wanted \(frames, 4 labels\)"),
        (np.zeros(4), r"log-probs have shape \(4,\); wanted"),
        (np.zeros((1, 2, 4)), r"log-probs have shape \(1, 2, 4\); wanted"),
        (np.full((2, 4), np.nan), "the log-probs of frame 0 are not numbers; the model is broken"),
        (with_frame([-1.0, np.nan, -1.0, -1.0]), "the log-probs of frame 2 are not numbers"),
        (with_frame([0.25] * 4), r"the probabilities of frame 2 add up to 5\.14; wanted 1: .*log_softmax"),  # 4 e^0.25
        (with_frame([0.0, 1.0, 2.0, 3.0], frame=4), r"the probabilities of frame 4 add up to 31\.2; wanted 1"),
        (with_frame([-np.inf] * 4, frame=0), r"the probabilities of frame 0 add up to 0; wanted 1"),
        (with_frame([np.inf, 0.0, 0.0, 0.0]), r"the probabilities of frame 2 add up to inf; wanted 1"),
    ],
)
def test_log_probs_that_are_none_are_refused(
    engine: Search, dtype: type[np.floating], log_probs: LogProbs, message: str
) -> None:
    with pytest.raises(AsrkitError, match=f"^{message}") as refused:
        engine(log_probs.astype(dtype))
    assert "\n" not in str(refused.value)
    assert engine(path_of([2, 0, 3]).astype(dtype))[0].text == "ab"  # the search is none the worse for it


@each_engine
def test_nothing_said(engine: Search) -> None:
    (found,) = engine(np.zeros((0, 4)))
    assert (found.text, found.words, found.lm_score, found.score) == ("", None, None, 0.0)


@each_engine
def test_labels_without_any_probability(engine: Search) -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log([[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    found = engine(log_probs)[0]
    assert (found.text, found.score) == ("ab", pytest.approx(0.0, abs=1e-9))


def test_trained_subwords_are_searched(tmp_path: Path) -> None:
    """SentencePiece's own pieces, its lone boundary included."""
    texts = ["ab ba", "abba a", "b ab", "ba ba ab"] * 20
    tokenizer = train_tokenizer(TokenizerSettings(kind="bpe", size=8), texts)
    assert isinstance(tokenizer, SubwordTokenizer)
    ids = tokenizer.encode("abba a ba")
    frames = [frame for label in ids for frame in (label, 0)]
    log_probs = path_of(frames, labels=len(tokenizer.labels), sure=0.99)
    assert greedy(log_probs, tokenizer).text == "abba a ba"
    for search in (NativeSearch(tokenizer), BeamSearch(tokenizer)):
        assert search.decode(log_probs)[0].text == "abba a ba"


# Jamo ---------------------------------------------------------------------------------------------------------------

HANGUL = train_tokenizer(TokenizerSettings(kind="jamo"), ["가"])


def spelled_log_probs(*frames: str) -> LogProbs:
    """(T, V): each frame's first character has 0.6, the others share 0.3; "_" is the blank."""
    probs = np.full((len(frames), len(HANGUL.labels)), 1e-4)
    for row, frame in zip(probs, frames, strict=True):
        ids = [0 if character == "_" else HANGUL.labels.index(character) for character in frame]
        row[ids] = [0.6, *([0.3 / (len(ids) - 1)] * (len(ids) - 1))] if len(ids) > 1 else 0.9
    logs: LogProbs = np.log(probs / probs.sum(axis=1, keepdims=True))
    return logs


def test_greedy_makes_whole_syllables() -> None:
    g, n, a, final_n = "\u1100", "\u1102", "\u1161", "\u11ab"
    # g, g or a, n (initial) or n (final): frame by frame that is g g n, which is no syllable.
    log_probs = spelled_log_probs(g, "_", g + a, "_", n + final_n)
    assert greedy(log_probs, HANGUL).text == "간"
    assert greedy(spelled_log_probs(g, a, "_", final_n, " ", n, a), HANGUL).text == "간 나"

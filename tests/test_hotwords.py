"""Words and phrases to listen for: against full enumeration, by hand, and those that cannot be listened for."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_align import Pieces
from test_n_best import arpa as arpa_of_words
from test_n_best import lm_score, said, search_with
from test_native_search import CHARACTERS, EXACT, acoustic_scores, random_log_probs

from asrkit.errors import AsrkitError
from asrkit.native_search import NativeSearch
from asrkit.ngram import NGram
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import CharacterTokenizer, Tokenizer

SUBWORDS = Pieces(["▁", "▁a", "a", "b"])
TOKENIZERS = {"characters": CHARACTERS, "subwords": SUBWORDS}
each_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
arpa = arpa_of_words  # the fixture


def phrases_in(written: str, phrases: Sequence[str], boundary: str) -> int:
    """The words of all occurrences of all phrases, which stand between boundaries."""
    marked = boundary + written + boundary
    spelled = {boundary + boundary.join(phrase.split()) + boundary: len(phrase.split()) for phrase in phrases}
    return sum(
        words for phrase, words in spelled.items() for place in range(len(marked)) if marked.startswith(phrase, place)
    )


@pytest.mark.parametrize(
    ("text", "phrases", "words"),
    [
        ("a b", ["a"], 1),
        ("a b a", ["a", "b"], 3),
        ("ab", ["a", "b"], 0),  # no words
        ("a b a b", ["a b", "b a"], 6),  # they overlap
        ("a b a", ["a b a", "b", "a"], 6),  # one inside another, at the start and at the end
        ("a a a", ["a a"], 4),
        ("", ["a"], 0),
    ],
)
def test_what_a_text_gets_for_them(text: str, phrases: list[str], words: int) -> None:
    assert phrases_in(text, phrases, " ") == words
    for tokenizer in TOKENIZERS.values():
        search = NativeSearch(tokenizer, DecodeSettings(hotwords=tuple(phrases), hotword_score=2.5))
        assert search.lm_score(text) == pytest.approx(2.5 * words, abs=1e-6)


some_phrases = st.lists(
    st.lists(st.sampled_from(["a", "b", "ab", "ba", "aa"]), min_size=1, max_size=3).map(" ".join),
    min_size=1,
    max_size=4,
)


@each_tokenizer
@pytest.mark.parametrize("with_lm", [False, True], ids=["alone", "n-gram"])
@given(frames=st.integers(1, 5), seed=st.integers(0, 10_000), phrases=some_phrases, score=st.floats(-3, 8))
@settings(max_examples=40)
def test_a_wide_beam_against_full_enumeration(
    arpa: Path, tokenizer: Tokenizer, with_lm: bool, frames: int, seed: int, phrases: list[str], score: float
) -> None:
    log_probs = random_log_probs(frames, len(tokenizer.labels), seed)
    options = DecodeSettings(
        unk_score=0.0, hotwords=tuple(phrases), hotword_score=score, n_best=10_000, **EXACT | {"beam": 3000}
    )
    lm = NGram.open(arpa, tokenizer) if with_lm else None
    search = search_with(lm, tokenizer, options) if lm else NativeSearch(tokenizer, options)
    wanted: dict[str, float] = {}
    for prefix, logp in acoustic_scores(log_probs).items():
        text = tokenizer.decode(prefix)
        written = "".join(tokenizer.labels[label] for label in prefix)
        total = logp + score * phrases_in(written, phrases, tokenizer.word_boundary)
        total += lm_score(lm, text, options) if lm else 0.0
        wanted[text] = max(wanted.get(text, -math.inf), total)
    found: dict[str, float] = {}
    for each in search.decode(log_probs):
        found.setdefault(each.text, each.score)
        assert each.lm_score is not None
        assert each.score == pytest.approx(each.logp + each.lm_score, abs=1e-9)
    assert found == pytest.approx(wanted, abs=1e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    (best,) = search.with_options(replace(options, n_best=1)).decode(log_probs)
    assert best.score == pytest.approx(max(wanted.values()), abs=1e-4)


@each_tokenizer
@given(frames=st.integers(1, 30), seed=st.integers(0, 10_000), width=st.integers(1, 8), phrases=some_phrases)
def test_in_a_narrow_beam_nothing_is_left_of_a_phrase_that_did_not_come(
    tokenizer: Tokenizer, frames: int, seed: int, width: int, phrases: list[str]
) -> None:
    """Its letters bring a part of the reward while it may still become whole."""
    log_probs = random_log_probs(frames, len(tokenizer.labels), seed)
    options = DecodeSettings(beam=width, n_best=5, hotwords=tuple(phrases), hotword_score=4.0)
    for each in NativeSearch(tokenizer, options).decode(log_probs):
        assert each.logp < 1e-6
        assert each.lm_score is not None
        assert each.lm_score / 4.0 == pytest.approx(round(each.lm_score / 4.0), abs=1e-6)
        assert each.score == pytest.approx(each.logp + each.lm_score)


def unsure(text: str, other: str) -> np.ndarray:
    """(T, V): the text at 0.6 a letter, what sounds like it at 0.4."""
    return np.logaddexp(said(CHARACTERS, text) + math.log(0.6), said(CHARACTERS, other) + math.log(0.4))


def test_a_name_is_heard_where_the_sound_allows_it() -> None:
    log_probs = unsure("ab ab a", "bb ba a")
    plain = NativeSearch(CHARACTERS).decode(log_probs)[0]
    assert (plain.text, plain.lm_score) == ("ab ab a", None)
    # "bb ba" differs in three letters: 3 ln(0.6 / 0.4) = 1.22
    for score, text in ((0.5, "ab ab a"), (0.7, "bb ba a")):
        options = DecodeSettings(hotwords=("bb ba",), hotword_score=score)
        found = NativeSearch(CHARACTERS, options).decode(log_probs)[0]
        assert found.text == text
        assert found.lm_score == pytest.approx(2 * score if text == "bb ba a" else 0.0, abs=1e-9)


def test_a_closed_search_does_not_take_a_name_that_the_n_gram_does_not_know(arpa: Path) -> None:
    lm = NGram.open(arpa, CHARACTERS)
    log_probs = unsure("ba a", "bb a")
    for closed, text in ((False, "bb a"), (True, "ba a")):
        options = DecodeSettings(hotwords=("bb",), hotword_score=50.0, closed_vocab=closed)
        assert search_with(lm, CHARACTERS, options).decode(log_probs)[0].text == text


def test_phrases_that_differ_in_spaces_are_one() -> None:
    options = DecodeSettings(hotwords=("a b", " a  b ", "a b"), hotword_score=1.0)
    assert NativeSearch(CHARACTERS, options).lm_score("a b") == pytest.approx(2.0)


def test_more_phrases_than_anyone_has() -> None:
    """A letter is a state of one automaton, however many they are."""
    letters = CharacterTokenizer(" abcdefghij")
    random = np.random.default_rng(1)
    phrases = tuple("".join(random.choice(list("abcdefghij"), 6)) for _ in range(3000))
    search = NativeSearch(letters, DecodeSettings(hotwords=phrases, hotword_score=3.0))
    text = " ".join(phrases[:4])
    assert search.lm_score(text) == pytest.approx(12.0, abs=1e-4)
    assert search.decode(said(letters, text))[0].text == text


# What cannot be listened for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ([""], "a hotword is empty; wanted words as the tokenizer writes them"),
        (["a", "  "], "a hotword is empty"),
        (["Ab"], "the hotword 'Ab' has letters that the tokenizer cannot spell; its letters are ' ab'"),
        (["a b", "a  x b"], "the hotword 'a x b' has letters that the tokenizer cannot spell"),
        (["a-b"], "the hotword 'a-b' has letters that the tokenizer cannot spell"),
        (["a\nc"], "the hotword 'a c' has letters that the tokenizer cannot spell"),
    ],
)
def test_hotwords_that_are_none(phrases: list[str], message: str) -> None:
    with pytest.raises(AsrkitError, match=f"^{message}") as refused:
        NativeSearch(CHARACTERS, DecodeSettings(hotwords=tuple(phrases)))
    assert "\n" not in str(refused.value)


def test_one_line_though_the_letters_are_thousands() -> None:
    syllables = CharacterTokenizer([" ", *map(chr, range(0xAC00, 0xAC00 + 5000))])
    with pytest.raises(AsrkitError, match=r"^the hotword 'x' has letters that the tokenizer cannot spell") as refused:
        NativeSearch(syllables, DecodeSettings(hotwords=("x",)))
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("hotwords", ["Ada", 3, (1, 2), None])
def test_hotwords_are_several_texts(hotwords: object) -> None:
    with pytest.raises(AsrkitError, match=r"^decode\.hotwords is .*; wanted comma-separated names$"):
        DecodeSettings(hotwords=hotwords)  # type: ignore[arg-type]

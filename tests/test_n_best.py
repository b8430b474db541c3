"""n-best lists of the native search with an n-gram of words: which hypotheses, and what they say of themselves."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_align import Pieces
from test_native_search import CHARACTERS, EXACT, acoustic_scores, random_log_probs

from asrkit.kneser_ney import build_arpa
from asrkit.native_search import NativeSearch
from asrkit.ngram import NGram
from asrkit.search import LN_10, Hypothesis, LogProbs
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import CharacterTokenizer, Tokenizer

TEXT = ["a b", "ab a", "b ab", "a a b", "ab", "b a", "abb a", "ba abb ab", "ab b"]
SUBWORDS = Pieces(["▁", "▁a", "a", "b"])
TOKENIZERS = {"characters": CHARACTERS, "subwords": SUBWORDS}
each_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
# unknown words cost what the n-gram says to <unk>, and no more
OPTIONS = DecodeSettings(n_best=10, unk_score=0.0)
ESTIMATED = 5.0  # nats: of another way to a beam only its share at one frame is known


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    build_arpa([line.split() for line in TEXT], 3, path, discount_fallback=True)
    return path


@pytest.fixture(scope="module")
def lms(arpa: Path) -> dict[Tokenizer, NGram]:
    return {tokenizer: NGram.open(arpa, tokenizer) for tokenizer in TOKENIZERS.values()}


def search_with(lm: NGram, tokenizer: Tokenizer, options: DecodeSettings) -> NativeSearch:
    return NativeSearch(tokenizer, options, words=lm.automaton, lexicon=lm.lexicon)


def lm_score(lm: NGram, text: str, options: DecodeSettings) -> float:
    assert lm.automaton is not None
    words = text.split()
    return options.alpha * LN_10 * lm.automaton.sentence_score(words) + options.beta * len(words)


@each_tokenizer
@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@given(
    frames=st.integers(1, 30),
    width=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    alpha=st.floats(0, 2),
    beta=st.floats(-1, 3),
)
@settings(max_examples=40)
def test_a_narrow_beam(
    lms: dict[Tokenizer, NGram],
    tokenizer: Tokenizer,
    closed: bool,
    frames: int,
    width: int,
    seed: int,
    alpha: float,
    beta: float,
) -> None:
    lm, log_probs = lms[tokenizer], random_log_probs(frames, len(tokenizer.labels), seed)
    options = replace(OPTIONS, beam=width, alpha=alpha, beta=beta, closed_vocab=closed)
    search = search_with(lm, tokenizer, options)
    found = search.decode(log_probs)
    assert 1 <= len(found) <= 10
    for each in found:
        assert each.lm_score == pytest.approx(lm_score(lm, each.text, options), abs=1e-4)
        assert each.score == pytest.approx(each.logp + (each.lm_score or 0.0), abs=1e-9)
        assert not closed or lm.reaches(each.text)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    (best,) = search.with_options(replace(options, n_best=1)).decode(log_probs)
    assert (best.text, best.score) == (found[0].text, pytest.approx(found[0].score, abs=1e-9))


@each_tokenizer
@given(frames=st.integers(2, 6), width=st.integers(1, 6), seed=st.integers(0, 10_000), alpha=st.floats(0.2, 1.5))
@settings(max_examples=100)
def test_a_text_is_no_likelier_than_all_its_paths(
    lms: dict[Tokenizer, NGram], tokenizer: Tokenizer, frames: int, width: int, seed: int, alpha: float
) -> None:
    """A hypothesis that gave its place to another of the same future went as far as that frame, and there only may the
    other's way be taken for its own: else texts come about that so few frames have no room for."""
    log_probs = random_log_probs(frames, len(tokenizer.labels), seed)
    of_text: dict[str, float] = {}
    for prefix, logp in acoustic_scores(log_probs).items():
        text = tokenizer.decode(prefix)
        of_text[text] = float(np.logaddexp(of_text.get(text, -math.inf), logp))
    for each in search_with(lms[tokenizer], tokenizer, replace(OPTIONS, beam=width, alpha=alpha)).decode(log_probs):
        assert each.logp <= of_text.get(each.text, -math.inf) + ESTIMATED


def best_of_each_text(found: Sequence[Hypothesis]) -> list[tuple[str, float]]:
    """A text may have been spelled in several ways."""
    scores: dict[str, float] = {}
    for each in found:
        scores.setdefault(each.text, each.score)
    return list(scores.items())


@each_tokenizer
@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@given(frames=st.integers(1, 5), seed=st.integers(0, 10_000), alpha=st.floats(0, 2), beta=st.floats(-1, 3))
@settings(max_examples=30)
def test_a_wide_beam_holds_every_text_best_first(
    lms: dict[Tokenizer, NGram],
    tokenizer: Tokenizer,
    closed: bool,
    frames: int,
    seed: int,
    alpha: float,
    beta: float,
) -> None:
    lm, log_probs = lms[tokenizer], random_log_probs(frames, len(tokenizer.labels), seed)
    options = replace(OPTIONS, n_best=10_000, alpha=alpha, beta=beta, closed_vocab=closed, **EXACT | {"beam": 3000})
    wanted: dict[str, float] = {}
    for prefix, logp in acoustic_scores(log_probs).items():
        text = tokenizer.decode(prefix)
        if not closed or lm.reaches(text):
            wanted[text] = max(wanted.get(text, -math.inf), logp + lm_score(lm, text, options))
    found = best_of_each_text(search_with(lm, tokenizer, options).decode(log_probs))
    assert dict(found) == pytest.approx(wanted, abs=1e-4)
    assert [score for _, score in found] == pytest.approx(sorted(wanted.values(), reverse=True), abs=1e-4)


@each_tokenizer
@given(frames=st.integers(1, 30), seed=st.integers(0, 10_000), n_best=st.integers(2, 20))
def test_no_text_comes_twice(
    lms: dict[Tokenizer, NGram], tokenizer: Tokenizer, frames: int, seed: int, n_best: int
) -> None:
    """Not even where it is spelled in two ways, such as with a space at its end."""
    log_probs = random_log_probs(frames, len(tokenizer.labels), seed)
    for search in (
        NativeSearch(tokenizer, replace(OPTIONS, n_best=n_best)),
        search_with(lms[tokenizer], tokenizer, replace(OPTIONS, n_best=n_best)),
    ):
        texts = [each.text for each in search.decode(log_probs)]
        assert len(set(texts)) == len(texts)


def test_as_many_as_asked_for_though_they_took_each_others_places(lms: dict[Tokenizer, NGram]) -> None:
    """Beams with another's future go; the texts that they spelled are found all the same."""
    log_probs = random_log_probs(30, len(CHARACTERS.labels), 1)
    found = search_with(lms[CHARACTERS], CHARACTERS, replace(OPTIONS, beam=8, n_best=20)).decode(log_probs)
    assert len(found) == 20


@each_tokenizer
@pytest.mark.parametrize("first", ["<unk>", "</s>", "a"])
@pytest.mark.parametrize("text", ["", "a", "ba ba", "bab", "a bab bb b", "abb a abb a ba"])
def test_what_the_n_gram_says_to_a_text(
    tmp_path: Path, arpa: Path, tokenizer: Tokenizer, first: str, text: str
) -> None:
    """Whatever stands first in its file: KenLM puts <unk> there, others </s>."""
    head, listed, rest = re.split(r"(?<=\\1-grams:\n)(.*?)(?=\n\n)", arpa.read_text(encoding="utf-8"), flags=re.S)
    lines = sorted(listed.split("\n"), key=lambda line: line.split("\t")[1] != first)
    path = tmp_path / "sorted.arpa"
    path.write_text(head + "\n".join(lines) + rest, encoding="utf-8")
    lm, options = NGram.open(path, tokenizer), replace(OPTIONS, alpha=0.7, beta=0.3)
    assert lm.automaton is not None
    assert lm.automaton.number(first) == 0
    assert search_with(lm, tokenizer, options).lm_score(text) == pytest.approx(lm_score(lm, text, options), abs=1e-5)
    assert search_with(lm, tokenizer, replace(options, closed_vocab=True)).lm_score(text) == pytest.approx(
        lm_score(lm, text, options) if lm.reaches(text) else -math.inf, abs=1e-5
    )


# What a closed search leaves unsaid ---------------------------------------------------------------------------------


def said(tokenizer: Tokenizer, labels: str | Sequence[str], sure: float = 0.9999) -> LogProbs:
    """(T, V): each label in a frame, and a blank behind it."""
    ids = [label for each in labels for label in (tokenizer.labels.index(each), 0)]
    probs = np.full((len(ids), len(tokenizer.labels)), (1 - sure) / (len(tokenizer.labels) - 1))
    probs[range(len(ids)), ids] = sure
    logs: LogProbs = np.log(probs)
    return logs


@pytest.mark.parametrize("n_best", [1, 5])
@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize(
    ("tokenizer", "labels", "text"),
    [
        (CHARACTERS, "abb a ba", "abb a ba"),
        (CHARACTERS, "abb a bab", "abb a"),  # no word begins so
        (CHARACTERS, "bb", ""),
        (SUBWORDS, ["▁a", "b", "▁", "b", "a", "b"], "ab"),
        (SUBWORDS, ["▁", "b", "b"], ""),
    ],
)
def test_a_closed_search_never_says_other_words(
    lms: dict[Tokenizer, NGram], tokenizer: Tokenizer, labels: str | Sequence[str], text: str, beam: int, n_best: int
) -> None:
    lm = lms[tokenizer]
    search = search_with(lm, tokenizer, replace(OPTIONS, beam=beam, n_best=n_best, closed_vocab=True))
    for each in search.decode(said(tokenizer, labels)):
        assert lm.reaches(each.text)
        assert math.isfinite(each.score)
        assert each.score == pytest.approx(each.logp + (each.lm_score or 0.0))


@pytest.mark.parametrize("n_best", [1, 5])
@pytest.mark.parametrize(
    ("tokenizer", "labels", "text"),
    [
        (CHARACTERS, "ca ab", "ca"),
        (CHARACTERS, "cab ca ca a", "cab ca ca"),
        (CHARACTERS, "c", ""),
        (SUBWORDS, ["▁", "b", "▁a"], "b"),
        (SUBWORDS, ["▁a"], ""),
    ],
)
def test_a_closed_search_that_ends_within_a_word_leaves_it_out(
    tmp_path: Path, tokenizer: Tokenizer, labels: str | Sequence[str], text: str, n_best: int
) -> None:
    """ "a" begins "ab" and is no word; the beam holds nothing else."""
    if tokenizer is CHARACTERS:
        tokenizer = CharacterTokenizer(" abc")
    lines = ["ca ca", "cab", "ca cab", "abc"] if "c" in tokenizer.labels else ["b b", "ab", "b ab", "abb"]
    build_arpa([line.split() for line in lines], 2, tmp_path / "words.arpa", discount_fallback=True)
    lm = NGram.open(tmp_path / "words.arpa", tokenizer)
    options = replace(OPTIONS, beam=2, n_best=n_best, closed_vocab=True)
    found = search_with(lm, tokenizer, options).decode(said(tokenizer, labels))
    assert len(found) == 1
    assert found[0].text == text
    assert found[0].lm_score == pytest.approx(lm_score(lm, text, options), abs=1e-5)
    assert math.isfinite(found[0].score)
    assert found[0].score == pytest.approx(found[0].logp + (found[0].lm_score or 0.0))


@pytest.mark.parametrize("n_best", [1, 5])
def test_nothing_that_was_heard_can_be_said(lms: dict[Tokenizer, NGram], n_best: int) -> None:
    """Not even silence: no probability is left for a blank."""
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.eye(4)[[3, 0, 3, 0, 3]])  # "bbb"
    options = replace(OPTIONS, n_best=n_best, closed_vocab=True)
    found = search_with(lms[CHARACTERS], CHARACTERS, options).decode(log_probs)
    assert lms[CHARACTERS].reaches(found[0].text)
    assert not math.isnan(found[0].score)
    assert found == search_with(lms[CHARACTERS], CHARACTERS, options).decode(log_probs)

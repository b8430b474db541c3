"""More characters than a node of the lexicon has bits: each is then written with two letters or three."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hotwords import phrases_in
from test_n_best import lm_score, said, search_with
from test_native_search import EXACT, acoustic_scores, plain_prefix_search, random_log_probs

from asrkit.kneser_ney import build_arpa
from asrkit.native_search import NativeSearch
from asrkit.ngram import NGram
from asrkit.search import LogProbs
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import CharacterTokenizer

FIRST = 0x4E00  # ideographs
# 64 is the last that takes one letter, 4096 the last that takes two
EDGES = (63, 64, 65, 100, 4096, 4097, 5000)


def tokenizer_of(characters: int) -> CharacterTokenizer:
    """With so many characters, the space among them."""
    return CharacterTokenizer([" ", *map(chr, range(FIRST, FIRST + characters - 1))])


def written_with(characters: int, text: str) -> str:
    """The text with c, d and e replaced by characters that begin alike, where they take several letters each."""
    last = FIRST + characters - 2
    return text.translate({ord("c"): FIRST + 1, ord("d"): FIRST + 2, ord("e"): last})


def among(log_probs: LogProbs, ids: list[int], labels: int) -> LogProbs:
    """(T, V): the blank and these labels as in log_probs (T, 1 + len(ids)); the others have next to no probability."""
    spread = np.full((len(log_probs), labels), -1e6)
    spread[:, [0, *ids]] = log_probs
    return spread


@pytest.mark.parametrize(("characters", "seed"), [(100, 0), (100, 1), (100, 2), (5000, 3)])
def test_without_an_n_gram_as_a_plain_prefix_search(characters: int, seed: int) -> None:
    tokenizer = tokenizer_of(characters)
    # sharp: else thousands of prefixes are as good as each other
    log_probs = random_log_probs(4, len(tokenizer.labels), seed, sharpness=6.0)
    wanted = plain_prefix_search(log_probs, 8)
    found = NativeSearch(tokenizer, DecodeSettings(beam=8, n_best=8, **EXACT)).decode(log_probs)
    assert [each.text for each in found] == [tokenizer.decode(prefix) for prefix, _ in wanted]
    assert [each.score for each in found] == pytest.approx([score for _, score in wanted], abs=1e-5)


# c and d share their first letters, and so do words that begin with them; e begins otherwise
WORDS = ("c", "d", "cd", "dc", "cdd", "ce", "ed", "e")
TEXT = ["c d", "cd c ce", "d cd", "dc cdd", "ed", "d c ed", "cdd e c", "e ce"]


@pytest.fixture(scope="module")
def lms(tmp_path_factory: pytest.TempPathFactory) -> dict[int, NGram]:
    folder = tmp_path_factory.mktemp("lm")
    found = {}
    for characters in EDGES:
        path = folder / f"{characters}.arpa"
        build_arpa([written_with(characters, line).split() for line in TEXT], 3, path, discount_fallback=True)
        found[characters] = NGram.open(path, tokenizer_of(characters))
    return found


@pytest.mark.parametrize("characters", EDGES)
@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@given(
    frames=st.integers(1, 4),
    seed=st.integers(0, 10_000),
    hotwords=st.lists(st.sampled_from(["c", "ce", "d cd", "ec", "cd d"]), max_size=2),
)
@settings(max_examples=12)
def test_with_n_gram_and_hotwords_against_full_enumeration(
    lms: dict[int, NGram], characters: int, closed: bool, frames: int, seed: int, hotwords: list[str]
) -> None:
    tokenizer, lm = tokenizer_of(characters), lms[characters]
    ids = [tokenizer.labels.index(written_with(characters, letter)) for letter in " cde"]
    log_probs = random_log_probs(frames, 5, seed)
    phrases = [written_with(characters, phrase) for phrase in hotwords]
    options = DecodeSettings(
        alpha=0.8, unk_score=0.0, closed_vocab=closed, hotwords=tuple(phrases), hotword_score=2.0, **EXACT
    )
    wanted: dict[str, float] = {}
    for prefix, logp in acoustic_scores(log_probs).items():
        written = "".join(tokenizer.labels[ids[label - 1]] for label in prefix)
        text = " ".join(written.split())
        if not closed or lm.reaches(text):
            total = logp + lm_score(lm, text, options) + 2.0 * phrases_in(written, phrases, " ")
            wanted[text] = max(wanted.get(text, -math.inf), total)
    spread = among(log_probs, ids, len(tokenizer.labels))
    (found,) = search_with(lm, tokenizer, options).decode(spread)
    best = max(wanted, key=lambda text: wanted[text])
    assert (found.text, found.score) == (best, pytest.approx(wanted[best], abs=1e-4))


@pytest.mark.parametrize("characters", EDGES)
def test_what_is_known_is_known_by_all_its_letters(lms: dict[int, NGram], characters: int) -> None:
    """No word is taken for one that begins with the same letters."""
    tokenizer, lm = tokenizer_of(characters), lms[characters]
    search = search_with(lm, tokenizer, DecodeSettings(closed_vocab=True, unk_score=0.0))
    spelled = ["".join(letters) for size in (1, 2, 3) for letters in product("cde", repeat=size)]
    for word in (written_with(characters, each) for each in [*spelled, "ccdd", "cdde"]):
        assert math.isfinite(search.lm_score(word)) == (word in {written_with(characters, each) for each in WORDS})
    text = written_with(characters, "cdd ed c dc")
    assert search.decode(said(tokenizer, text))[0].text == text


def test_unknown_characters_beside_thousands(tmp_path: Path) -> None:
    """The labels of a real syllable tokenizer, searched as they are searched by default."""
    tokenizer = CharacterTokenizer([" ", *map(chr, range(0xAC00, 0xAC00 + 11_172))])
    build_arpa([["가나", "다"], ["힣"], ["다", "힣가"]], 2, tmp_path / "words.arpa", discount_fallback=True)
    lm = NGram.open(tmp_path / "words.arpa", tokenizer)
    for text in ("가나 다", "힣가 힣", "각 다", "다 뷁뷁 다"):
        for n_best in (1, 5):
            search = search_with(lm, tokenizer, DecodeSettings(n_best=n_best))
            assert search.decode(said(tokenizer, text, sure=1 - 1e-9))[0].text == text

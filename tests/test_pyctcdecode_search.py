"""pyctcdecode's search with our n-grams: by hand, and against full enumeration."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from pyctcdecode.decoder import BeamSearchDecoderCTC
from test_search import AB, ARPA, HANGUL, PIECES, normalised, path_of, spelled_log_probs

from asrkit.ngram import NGram
from asrkit.pyctcdecode_search import BeamSearch
from asrkit.search import greedy
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import Tokenizer
from asrkit.word_times import FrameTimes, WordTime


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "ab.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return path


def enumerated(log_probs: np.ndarray, tokenizer: Tokenizer) -> dict[str, float]:
    """ln P of every text, summed over all alignments."""
    texts: dict[str, float] = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        text = tokenizer.decode([label for label, _ in itertools.groupby(path) if label])
        logp = float(log_probs[np.arange(len(path)), path].sum())
        texts[text] = float(np.logaddexp(texts.get(text, -math.inf), logp))
    return texts


@pytest.mark.parametrize("tokenizer", [AB, PIECES], ids=["characters", "subwords"])
@pytest.mark.parametrize("with_lm", [False, True], ids=["alone", "n-gram"])
def test_beam_search_without_pruning_is_full_enumeration(tokenizer: Tokenizer, with_lm: bool, arpa: Path) -> None:
    lm = NGram.open(arpa, tokenizer, with_kenlm=True) if with_lm else None
    options = DecodeSettings(
        beam=100_000, n_best=10_000, alpha=0.7, beta=0.4, unk_score=-2.0, token_min_logp=-1e9, beam_prune_logp=-1e9
    )
    beams = BeamSearch(tokenizer, options, lm=lm)
    for seed in range(6):
        log_probs = normalised(seed, 4, len(tokenizer.labels))
        wanted = {}
        for text, logp in enumerated(log_probs, tokenizer).items():
            unknown = sum(word not in ("a", "ab", "b", "ba") for word in text.split())
            log10 = lm.text_score(text) + unknown * options.unk_score if lm else 0.0
            bonus = 0.4 * len(text.split()) if lm else 0.0
            wanted[text] = logp + 0.7 * math.log(10) * log10 + bonus
        found = {each.text: each.score for each in beams.decode(log_probs)}
        assert found == pytest.approx(wanted, abs=1e-6)
        assert list(found.values()) == sorted(found.values(), reverse=True)


def test_score_is_the_sum_of_its_parts(arpa: Path) -> None:
    lm = NGram.open(arpa, AB, with_kenlm=True)
    found = BeamSearch(AB, DecodeSettings(alpha=0.5, beta=1.0), lm=lm).decode(path_of([2, 3, 1, 3]))[0]
    assert found.text == "ab b"
    # P(ab | <s>) P(b | ab) P(</s> | b)
    assert found.lm_score == pytest.approx(0.5 * (-0.2 - 0.4 - 0.5) * math.log(10) + 2 * 1.0, abs=1e-5)
    assert found.score == pytest.approx(found.logp + (found.lm_score or 0), abs=1e-9)


def test_ngram_decides_where_the_sound_does_not(arpa: Path) -> None:
    """ "ba" is a little likelier by sound, "ab" by the n-gram."""
    frames = [[0.02, 0.02, 0.46, 0.5], [0.94, 0.02, 0.02, 0.02], [0.02, 0.02, 0.5, 0.46]]
    log_probs = np.log(np.array(frames, np.float32))
    assert greedy(log_probs, AB).text == "ba"
    lm = NGram.open(arpa, AB, with_kenlm=True)
    assert BeamSearch(AB, DecodeSettings(alpha=0.5), lm=lm).decode(log_probs)[0].text == "ab"
    assert BeamSearch(AB, DecodeSettings(alpha=0.0, beta=0.0), lm=lm).decode(log_probs)[0].text == "ba"


def test_upper_case_ngram_serves_a_lower_case_tokenizer(tmp_path: Path, arpa: Path) -> None:
    shouted = tmp_path / "shouted.arpa"
    text = ARPA
    for word in ("ab b", "<s> ab", "b </s>", "ba", "ab", "b", "a"):
        text = text.replace(f"\t{word}\n", f"\t{_upper(word)}\n").replace(f"\t{word}\t", f"\t{_upper(word)}\t")
    shouted.write_text(text, encoding="utf-8")
    log_probs = normalised(5, 12, 4)
    same = [
        BeamSearch(AB, DecodeSettings(n_best=5), lm=NGram.open(path, AB, with_kenlm=True)).decode(log_probs)
        for path in (arpa, shouted)
    ]
    assert same[0] == same[1]


def _upper(entry: str) -> str:
    return " ".join(word if word.startswith("<") else word.upper() for word in entry.split(" "))


def test_more_hypotheses_come_best_first(arpa: Path) -> None:
    beams = BeamSearch(AB, DecodeSettings(n_best=5), lm=NGram.open(arpa, AB, with_kenlm=True))
    found = beams.decode(normalised(3, 8, 4))
    assert 1 < len(found) <= 5
    assert len({each.text for each in found}) == len(found)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


def test_word_times_of_beam_search(arpa: Path) -> None:
    beams = BeamSearch(AB, lm=NGram.open(arpa, AB, with_kenlm=True), times=FrameTimes(0.04, start_s=-0.04))
    words = beams.decode(path_of([0, 2, 3, 0, 1, 0, 3, 0], sure=0.999))[0].words
    assert words == (WordTime("ab", 0.0, 0.08), WordTime("b", 0.2, 0.24))


@pytest.mark.parametrize("ids", [[], [0, 0, 0], [1, 1]])
def test_nothing_heard_is_an_empty_text(arpa: Path, ids: list[int]) -> None:
    for lm in (None, NGram.open(arpa, AB, with_kenlm=True)):
        found = BeamSearch(AB, lm=lm, times=FrameTimes(0.02)).decode(path_of(ids, sure=0.9999))
        assert (found[0].text, found[0].words) == ("", ())


def test_sentence_that_ends_in_a_space_costs_no_word(arpa: Path) -> None:
    """pyctcdecode's own n-gram scores an unknown empty word there."""
    beams = BeamSearch(AB, lm=NGram.open(arpa, AB, with_kenlm=True))
    plain, spaced = (beams.decode(path_of(ids, sure=0.999))[0] for ids in ([2, 3], [2, 3, 1]))
    assert (plain.text, spaced.text) == ("ab", "ab")
    assert spaced.lm_score == pytest.approx(plain.lm_score)


def test_ngram_goes_with_its_search(arpa: Path) -> None:
    """pyctcdecode keeps language models in a class variable."""
    kept = BeamSearchDecoderCTC.model_container
    before = len(kept)
    beams = BeamSearch(AB, lm=NGram.open(arpa, AB, with_kenlm=True))
    assert len(kept) == before + 1
    del beams
    assert len(kept) == before


def test_words_of_an_ngram_are_found_among_jamo(tmp_path: Path) -> None:
    arpa = tmp_path / "words.arpa"
    arpa.write_text(ARPA.replace("ab", "간").replace("ba", "나").replace("\ta", "\t가").replace(" a", " 가"), "utf-8")
    lm = NGram.open(arpa, HANGUL, with_kenlm=True)
    g, n, a, final_n = "\u1100", "\u1102", "\u1161", "\u11ab"
    search = BeamSearch(HANGUL, DecodeSettings(alpha=1.0, beta=0.0), lm=lm, times=FrameTimes(0.04))
    found = search.decode(spelled_log_probs(g, a, "_" + final_n, " ", n, a))[0]
    assert found.text == "간 나"  # ln 0.3/0.6 is dearer than what the n-gram gives: 간 at the start has log10 -0.2
    assert found.words is not None and [word.word for word in found.words] == ["간", "나"]

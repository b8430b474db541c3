"""The log-probs of a real model: every search finds what it should in them."""

import json
from pathlib import Path

import numpy as np
import pytest

from asrkit.error_rates import error_rate
from asrkit.ngram import NGram
from asrkit.pyctcdecode_search import BeamSearch
from asrkit.search import LogProbs, greedy
from asrkit.search_all import search_all
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import CharacterTokenizer


@pytest.fixture
def posteriors(shared: Path) -> tuple[CharacterTokenizer, list[dict[str, str]], list[LogProbs]]:
    """(tokenizer, lines, log-probs) of every 30th test utterance."""
    folder = shared / "reference" / "posteriors"
    tokenizer = CharacterTokenizer(json.loads((folder / "labels.json").read_text(encoding="utf-8"))[1:])
    lines = [json.loads(line) for line in (folder / "english_test.jsonl").open(encoding="utf-8")]
    stored = np.load(folder / "english_test.npz")
    ends = np.cumsum(stored["lengths"])
    chosen = range(0, len(lines), 30)
    values = stored["log_probs"]
    return tokenizer, [lines[i] for i in chosen], [values[ends[i] - stored["lengths"][i] : ends[i]] for i in chosen]


Posteriors = tuple[CharacterTokenizer, list[dict[str, str]], list[LogProbs]]


@pytest.mark.shared
def test_greedy_text_of_a_real_model(posteriors: Posteriors) -> None:
    tokenizer, lines, utterances = posteriors
    best_two = [np.sort(each.astype(np.float32), axis=1)[:, -2:] for each in utterances]
    clear = [not (pair[:, 0] == pair[:, 1]).any() for pair in best_two]  # float16 made ties of near ties
    assert sum(clear) > 0.9 * len(clear)
    for line, log_probs, is_clear in zip(lines, utterances, clear, strict=True):
        assert greedy(log_probs, tokenizer).text == line["greedy"] or not is_clear


@pytest.mark.shared
def test_ngram_lowers_the_error_rate_of_a_real_model(posteriors: Posteriors, shared: Path) -> None:
    tokenizer, lines, utterances = posteriors
    lm = NGram.open(shared / "reference" / "posteriors" / "english.o3.arpa.gz", tokenizer, with_kenlm=True)
    beams = BeamSearch(tokenizer, DecodeSettings(beam=50, alpha=0.6, beta=1.5), lm=lm)
    found = [each.hypotheses[0].text for each in search_all(beams.decode, utterances, jobs=2)]
    references = [line["text"].split() for line in lines]
    with_lm = error_rate(zip(references, map(str.split, found), strict=True))
    without = error_rate(zip(references, (line["greedy"].split() for line in lines), strict=True))
    assert with_lm.rate < without.rate - 0.1

"""Greedy and beam search: by hand, against full enumeration, and on the log-probs of a real model."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit import search
from asrkit.error_rates import error_rate
from asrkit.errors import AsrkitError
from asrkit.ngram import NGram
from asrkit.search import BeamSearch, Hypothesis, LogProbs, greedy, search_all
from asrkit.settings import TokenizerSettings
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


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "ab.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return path


def path_of(ids: Sequence[int], labels: int = 4, sure: float = 0.9) -> np.ndarray:
    """Log-probs (T, V) whose best path is `ids`."""
    probabilities = np.full((len(ids), labels), (1 - sure) / (labels - 1))
    probabilities[np.arange(len(ids)), ids] = sure
    return np.log(probabilities).astype(np.float32)


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
    log_probs[1, 2] = math.log(0.5)  # "a" is surer in its second frame, which counts
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


@pytest.mark.parametrize("engine", [lambda x: greedy(x, AB), BeamSearch(AB).decode])
def test_log_probs_that_do_not_fit_are_refused(engine: search.Search) -> None:
    with pytest.raises(AsrkitError, match=r"shape \(2, 5\); wanted \(frames, 4 labels\)"):
        engine(np.zeros((2, 5), np.float32))
    with pytest.raises(AsrkitError, match="not numbers"):
        engine(np.full((2, 4), np.nan, np.float32))


random_log_probs = st.integers(0, 2**32 - 1)


def normalised(seed: int, frames: int, labels: int, spread: float = 2.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(frames, labels)) * spread
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@settings(deadline=None, max_examples=50)
@given(random_log_probs, st.integers(0, 30))
def test_words_of_greedy_are_those_of_its_text(seed: int, frames: int) -> None:
    for tokenizer in (AB, PIECES):
        found = greedy(normalised(seed, frames, len(tokenizer.labels)), tokenizer, times=FrameTimes(0.02))
        assert [word.word for word in found.words or ()] == found.text.split()
        times = [time for word in found.words or () for time in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert all(0 < (word.confidence or 0) <= 1 for word in found.words or ())


# Beam search ------------------------------------------------------------------------------------------------------


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
def test_beam_search_without_pruning_is_full_enumeration(
    tokenizer: Tokenizer, with_lm: bool, arpa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PRUNE_LOGP", -1e9)
    monkeypatch.setattr(search, "MIN_TOKEN_LOGP", -1e9)
    lm = NGram.open(arpa, tokenizer) if with_lm else None
    beams = BeamSearch(tokenizer, lm=lm, beam=100_000, alpha=0.7, beta=0.4, n_best=100_000)
    for seed in range(6):
        log_probs = normalised(seed, 4, len(tokenizer.labels))
        wanted = {}
        for text, logp in enumerated(log_probs, tokenizer).items():
            unknown = sum(word not in ("a", "ab", "b", "ba") for word in text.split())
            log10 = lm.text_score(text) + unknown * search.UNKNOWN_LOG10 if lm else 0.0
            bonus = 0.4 * len(text.split()) if lm else 0.0
            wanted[text] = logp + 0.7 * math.log(10) * log10 + bonus
        found = {each.text: each.score for each in beams.decode(log_probs)}
        assert found == pytest.approx(wanted, abs=1e-6)
        assert list(found.values()) == sorted(found.values(), reverse=True)


def test_score_is_the_sum_of_its_parts(arpa: Path) -> None:
    lm = NGram.open(arpa, AB)
    found = BeamSearch(AB, lm=lm, alpha=0.5, beta=1.0).decode(path_of([2, 3, 1, 3]))[0]
    assert found.text == "ab b"
    # P(ab | <s>) P(b | ab) P(</s> | b)
    assert found.lm_score == pytest.approx(0.5 * (-0.2 - 0.4 - 0.5) * math.log(10) + 2 * 1.0, abs=1e-5)
    assert found.score == pytest.approx(found.logp + (found.lm_score or 0), abs=1e-9)


def test_ngram_decides_where_the_sound_does_not(arpa: Path) -> None:
    """ "ba" is a little likelier by sound, "ab" by the n-gram."""
    frames = [[0.02, 0.02, 0.46, 0.5], [0.94, 0.02, 0.02, 0.02], [0.02, 0.02, 0.5, 0.46]]
    log_probs = np.log(np.array(frames, np.float32))
    assert greedy(log_probs, AB).text == "ba"
    lm = NGram.open(arpa, AB)
    assert BeamSearch(AB, lm=lm, alpha=0.5).decode(log_probs)[0].text == "ab"
    assert BeamSearch(AB, lm=lm, alpha=0.0, beta=0.0).decode(log_probs)[0].text == "ba"


def test_upper_case_ngram_serves_a_lower_case_tokenizer(tmp_path: Path, arpa: Path) -> None:
    shouted = tmp_path / "shouted.arpa"
    text = ARPA
    for word in ("ab b", "<s> ab", "b </s>", "ba", "ab", "b", "a"):
        text = text.replace(f"\t{word}\n", f"\t{_upper(word)}\n").replace(f"\t{word}\t", f"\t{_upper(word)}\t")
    shouted.write_text(text, encoding="utf-8")
    log_probs = normalised(5, 12, 4)
    same = [BeamSearch(AB, lm=NGram.open(path, AB), alpha=0.5, n_best=5).decode(log_probs) for path in (arpa, shouted)]
    assert same[0] == same[1]


def _upper(entry: str) -> str:
    return " ".join(word if word.startswith("<") else word.upper() for word in entry.split(" "))


def test_more_hypotheses_come_best_first(arpa: Path) -> None:
    found = BeamSearch(AB, lm=NGram.open(arpa, AB), n_best=5).decode(normalised(3, 8, 4))
    assert 1 < len(found) <= 5
    assert len({each.text for each in found}) == len(found)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


def test_word_times_of_beam_search(arpa: Path) -> None:
    beams = BeamSearch(AB, lm=NGram.open(arpa, AB), times=FrameTimes(0.04, start_s=-0.04))
    words = beams.decode(path_of([0, 2, 3, 0, 1, 0, 3, 0], sure=0.999))[0].words
    assert words == (WordTime("ab", 0.0, 0.08), WordTime("b", 0.2, 0.24))


@pytest.mark.parametrize("ids", [[], [0, 0, 0], [1, 1]])
def test_nothing_heard_is_an_empty_text(arpa: Path, ids: list[int]) -> None:
    for lm in (None, NGram.open(arpa, AB)):
        found = BeamSearch(AB, lm=lm, times=FrameTimes(0.02)).decode(path_of(ids, sure=0.9999))
        assert (found[0].text, found[0].words) == ("", ())


def test_sentence_that_ends_in_a_space_costs_no_word(arpa: Path) -> None:
    """pyctcdecode's own n-gram scores an unknown empty word there."""
    beams = BeamSearch(AB, lm=NGram.open(arpa, AB))
    plain, spaced = (beams.decode(path_of(ids, sure=0.999))[0] for ids in ([2, 3], [2, 3, 1]))
    assert (plain.text, spaced.text) == ("ab", "ab")
    assert spaced.lm_score == pytest.approx(plain.lm_score)


def test_ngram_goes_with_its_search(arpa: Path) -> None:
    """pyctcdecode keeps language models in a class variable."""
    kept = search.BeamSearchDecoderCTC.model_container
    before = len(kept)
    beams = BeamSearch(AB, lm=NGram.open(arpa, AB))
    assert len(kept) == before + 1
    del beams
    assert len(kept) == before


# Many utterances --------------------------------------------------------------------------------------------------

UTTERANCES: list[LogProbs] = [
    normalised(seed, frames, 4) for seed, frames in enumerate([3, 40, 0, 7, 25, 1, 12, 9, 30])
]


def one(log_probs: LogProbs) -> list[Hypothesis]:
    return [greedy(log_probs, AB)]


@pytest.mark.parametrize("jobs", [1, 3, 50])
def test_processes_give_what_one_gives_in_order(arpa: Path, jobs: int) -> None:
    beams = BeamSearch(AB, lm=NGram.open(arpa, AB))
    wanted = [beams.decode(each) for each in UTTERANCES]
    found = list(search_all(beams.decode, UTTERANCES, jobs=jobs))
    assert [each.hypotheses for each in found] == wanted
    assert all(each.cpu_s >= 0 for each in found)


def test_nothing_to_search() -> None:
    assert list(search_all(one, [], jobs=4)) == []


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="searches in one process")


@linux
def test_killed_process_is_a_clear_error() -> None:
    def killed(log_probs: LogProbs) -> list[Hypothesis]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    with pytest.raises(AsrkitError, match=r"one of 2 search processes was killed.*fewer with --jobs"):
        list(search_all(killed, UTTERANCES, jobs=2))


@linux
def test_error_in_a_process_is_passed_on() -> None:
    with pytest.raises(AsrkitError, match="not numbers"):
        list(search_all(one, [*UTTERANCES, np.full((2, 4), np.nan)], jobs=2))


_PARENT = """
import multiprocessing, time, numpy as np
from asrkit import search
search.ORPHAN_CHECK_S = 0.05
def slow(log_probs):
    time.sleep(0.02)
    return []
found = search.search_all(slow, [np.zeros((1, 4))] * 10_000, jobs=2)
next(found)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
time.sleep(60)
"""


@linux
def test_processes_end_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(children) == 2
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in children):
        assert time.monotonic() < deadline, "the search processes outlive their parent"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


# A real model -----------------------------------------------------------------------------------------------------


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
    lm = NGram.open(shared / "reference" / "posteriors" / "english.o3.arpa.gz", tokenizer)
    beams = BeamSearch(tokenizer, lm=lm, beam=50, alpha=0.6, beta=1.5)
    found = [each.hypotheses[0].text for each in search_all(beams.decode, utterances, jobs=2)]
    references = [line["text"].split() for line in lines]
    with_lm = error_rate(zip(references, map(str.split, found), strict=True))
    without = error_rate(zip(references, (line["greedy"].split() for line in lines), strict=True))
    assert with_lm.rate < without.rate - 0.1


def test_trained_subwords_are_searched(tmp_path: Path) -> None:
    """SentencePiece's own pieces, its lone boundary included."""
    from asrkit.settings import TokenizerSettings
    from asrkit.tokenizer import train_tokenizer

    texts = ["ab ba", "abba a", "b ab", "ba ba ab"] * 20
    tokenizer = train_tokenizer(TokenizerSettings(kind="bpe", size=8), texts)
    assert isinstance(tokenizer, SubwordTokenizer)
    ids = tokenizer.encode("abba a ba")
    frames = [frame for label in ids for frame in (label, 0)]
    log_probs = path_of(frames, labels=len(tokenizer.labels), sure=0.99)
    assert greedy(log_probs, tokenizer).text == "abba a ba"
    assert BeamSearch(tokenizer).decode(log_probs)[0].text == "abba a ba"


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


def test_words_of_an_ngram_are_found_among_jamo(tmp_path: Path) -> None:
    arpa = tmp_path / "words.arpa"
    arpa.write_text(ARPA.replace("ab", "간").replace("ba", "나").replace("\ta", "\t가").replace(" a", " 가"), "utf-8")
    lm = NGram.open(arpa, HANGUL)
    g, n, a, final_n = "\u1100", "\u1102", "\u1161", "\u11ab"
    search = BeamSearch(HANGUL, lm=lm, alpha=1.0, beta=0.0, times=FrameTimes(0.04))
    found = search.decode(spelled_log_probs(g, a, "_" + final_n, " ", n, a))[0]
    assert found.text == "간 나"  # ln 0.3/0.6 is dearer than what the n-gram gives: 간 at the start has log10 -0.2
    assert found.words is not None and [word.word for word in found.words] == ["간", "나"]

"""native_search.py: equal to a plain prefix search without an n-gram, and to a full enumeration with n-grams."""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asrkit.arpa import read_arpa
from asrkit.automaton import Automaton, build_automaton
from asrkit.errors import AsrkitError
from asrkit.kneser_ney import build_arpa
from asrkit.lexicon import Lexicon, build_alphabet, build_lexicon
from asrkit.native_search import NativeSearch
from asrkit.ngram import NGram
from asrkit.search import LN_10
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import CharacterTokenizer, Tokenizer, written
from asrkit.word_times import FrameTimes

EXACT: dict[str, Any] = {"token_min_logp": -1e9, "beam_prune_logp": -1e9}
NEVER = -math.inf


def random_log_probs(frames: int, labels: int, seed: int, sharpness: float = 2.0) -> NDArray[np.float64]:
    logits = np.random.default_rng(seed).normal(0, sharpness, (frames, labels))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


class Pieces(CharacterTokenizer):
    """Subwords without SentencePiece: labels of several letters, "▁" before a word."""

    word_boundary = "▁"

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join("".join(self.labels[i] for i in ids).replace("▁", " ").split())


CHARACTERS = CharacterTokenizer(" ab")
SUBWORDS = Pieces(["▁a", "b", "▁", "ab"])


# Without an n-gram -------------------------------------------------------------------------------------------------


def plain_prefix_search(log_probs: NDArray[np.float64], width: int) -> list[tuple[tuple[int, ...], float]]:
    """Hannun et al. 2014, with a dictionary: prefix -> (probability that ends in a blank, in its last label)."""
    beams = {(): (1.0, 0.0)}
    for row in np.exp(log_probs):
        after: defaultdict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for prefix, (blank, spoken) in beams.items():
            after[prefix][0] += (blank + spoken) * row[0]
            if prefix:
                after[prefix][1] += spoken * row[prefix[-1]]
            for label in range(1, len(row)):
                reached = blank if prefix and label == prefix[-1] else blank + spoken
                after[*prefix, label][1] += reached * row[label]
        best = sorted(after.items(), key=lambda item: -sum(item[1]))[:width]
        beams = {prefix: (blank, spoken) for prefix, (blank, spoken) in best if blank + spoken > 0}
    return [(prefix, math.log(sum(masses))) for prefix, masses in beams.items()]


@pytest.mark.parametrize("tokenizer", [CHARACTERS, SUBWORDS], ids=["characters", "subwords"])
@given(frames=st.integers(1, 12), width=st.integers(1, 40), seed=st.integers(0, 10_000), sharpness=st.floats(0.5, 5))
@settings(max_examples=150)
def test_without_an_n_gram_as_a_plain_prefix_search(
    tokenizer: Tokenizer, frames: int, width: int, seed: int, sharpness: float
) -> None:
    log_probs = random_log_probs(frames, len(tokenizer.labels), seed, sharpness)
    found = NativeSearch(tokenizer, DecodeSettings(beam=width, n_best=width, **EXACT)).decode(log_probs)
    wanted: dict[str, float] = {}
    for prefix, score in plain_prefix_search(log_probs, width):
        wanted.setdefault(tokenizer.decode(prefix), score)  # each text as it is best spelled
    assert [hypothesis.score for hypothesis in found] == pytest.approx([*wanted.values()], abs=1e-5)
    assert [hypothesis.text for hypothesis in found] == [*wanted]


def test_nothing_in_nothing_out() -> None:
    (found,) = NativeSearch(CHARACTERS).decode(np.zeros((0, 4)))
    assert (found.text, found.score) == ("", 0.0)


def test_frames_of_blanks_are_passed_over_without_loss() -> None:
    log_probs = random_log_probs(9, 4, 3)
    blank = np.log([1 - 3e-9, 1e-9, 1e-9, 1e-9])
    stretched = np.insert(log_probs, [3, 3, 7], blank, axis=0)
    search = NativeSearch(CHARACTERS, DecodeSettings(beam=200, n_best=5, beam_prune_logp=-1e9, token_min_logp=-15))
    # after a blank a label may come twice: the texts are not those without it, but those of a search that tries all
    wanted = NativeSearch(CHARACTERS, DecodeSettings(beam=200, n_best=5, **EXACT)).decode(stretched)
    found = search.decode(stretched)
    assert [one.text for one in found] == [one.text for one in wanted]
    assert [one.score for one in found] == pytest.approx([one.score for one in wanted], abs=1e-5)


# With n-grams, against full enumeration ----------------------------------------------------------------------------


def acoustic_scores(log_probs: NDArray[np.float64]) -> dict[tuple[int, ...], float]:
    """ln P of every label sequence, over all its alignments."""
    frames, labels = log_probs.shape
    found: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(labels), repeat=frames):
        spelled = tuple(label for at, label in enumerate(path) if label and (at == 0 or path[at - 1] != label))
        found[spelled] += math.exp(sum(log_probs[frame, label] for frame, label in enumerate(path)))
    return {prefix: math.log(value) for prefix, value in found.items()}


@pytest.fixture(scope="session")
def word_lm(tmp_path_factory: pytest.TempPathFactory) -> Automaton:
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    text = ["a b", "ab a", "b ab", "a a b", "ab", "b a", "abb a"]
    build_arpa([line.split() for line in text], 3, path, discount_fallback=True)
    return build_automaton(read_arpa(path), path)


@pytest.fixture(scope="session")
def word_1gram(tmp_path_factory: pytest.TempPathFactory) -> Automaton:
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    build_arpa([["a", "b"], ["ab"], ["abb", "a"]], 1, path, discount_fallback=True)
    return build_automaton(read_arpa(path), path)


@pytest.fixture(scope="session")
def token_lms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Automaton]:
    folder = tmp_path_factory.mktemp("lm")
    found = {}
    for name, tokenizer in (("characters", CHARACTERS), ("subwords", SUBWORDS)):
        labels = [written(label) for label in tokenizer.labels[1:]]
        text = [[labels[(i * j) % len(labels)] for j in range(i % 5 + 1)] for i in range(12)]
        build_arpa(text, 3, folder / f"{name}.arpa", discount_fallback=True)
        found[name] = build_automaton(read_arpa(folder / f"{name}.arpa"), folder / f"{name}.arpa")
    return found


WORDS = ("a", "b", "ab", "abb")


def lexicon_of(lm: Automaton, tokenizer: Tokenizer) -> Lexicon:
    return build_lexicon(build_alphabet(tokenizer), WORDS, [*map(lm.number, WORDS)], lm.tables.unigrams["log10"])


def unknown_words(labels: Sequence[int], tokenizer: Tokenizer) -> float:
    """How many there are; every label behind one that no known word goes on with counts a fifth of one more."""
    found, word = 0.0, ""
    for label in (tokenizer.labels[number] for number in [*labels, tokenizer.labels.index(tokenizer.word_boundary)]):
        if label.startswith(tokenizer.word_boundary):
            found, word = found + bool(word and word not in WORDS), ""
        letters = label.removeprefix(tokenizer.word_boundary)
        if letters and not any(known.startswith(word) for known in WORDS):
            found += 1 / 5
        word += letters
    return found


@pytest.mark.parametrize(("text", "unknown"), [("ab abb", 0.0), ("abbb", 1.0), ("abbbb", 1.2), ("a abbbbbb ba", 2.6)])
def test_a_long_unknown_word_costs_more(text: str, unknown: float, word_lm: Automaton) -> None:
    options = DecodeSettings(alpha=0.5, beta=1.0, unk_score=-2.0)
    search = NativeSearch(CHARACTERS, options, words=word_lm, lexicon=lexicon_of(word_lm, CHARACTERS))
    log10 = word_lm.sentence_score(text.split()) - 2.0 * unknown
    assert search.lm_score(text) == pytest.approx(0.5 * LN_10 * log10 + len(text.split()), abs=1e-4)


@pytest.mark.parametrize("name", ["characters", "subwords"])
@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("with_tokens", [False, True], ids=["words", "words and tokens"])
@given(
    frames=st.integers(1, 5),
    seed=st.integers(0, 10_000),
    alpha=st.floats(0, 2),
    beta=st.floats(-1, 3),
    unk_score=st.floats(-4, 0),
)
@settings(max_examples=25)
def test_with_n_grams_the_best_of_all_texts(
    name: str,
    closed: bool,
    with_tokens: bool,
    word_lm: Automaton,
    token_lms: dict[str, Automaton],
    frames: int,
    seed: int,
    alpha: float,
    beta: float,
    unk_score: float,
) -> None:
    tokenizer = CHARACTERS if name == "characters" else SUBWORDS
    tokens = token_lms[name] if with_tokens else None
    log_probs = random_log_probs(frames, len(tokenizer.labels), seed)
    options = DecodeSettings(
        beam=1000,
        alpha=alpha,
        beta=beta,
        unk_score=unk_score,
        closed_vocab=closed,
        token_alpha=0.7,
        token_beta=0.2,
        **EXACT,
    )
    search = NativeSearch(tokenizer, options, words=word_lm, lexicon=lexicon_of(word_lm, tokenizer), tokens=tokens)
    (found,) = search.decode(log_probs)

    def total(prefix: tuple[int, ...], acoustic: float) -> float:
        words = tokenizer.decode(prefix).split()
        known = [word in WORDS for word in words]
        if closed and not all(known):
            return NEVER
        log10 = word_lm.sentence_score(words) + unk_score * unknown_words(prefix, tokenizer)
        said = alpha * LN_10 * log10 + beta * len(words)
        if tokens:
            labels = [written(tokenizer.labels[label]) for label in prefix]
            said += 0.7 * LN_10 * tokens.sentence_score(labels) + 0.2 * len(labels)
        return acoustic + said

    every = acoustic_scores(log_probs)
    best = max(every, key=lambda prefix: total(prefix, every[prefix]))
    assert found.score == pytest.approx(total(best, every[best]), abs=1e-4)
    assert found.text == tokenizer.decode(best)
    assert found.logp == pytest.approx(every[best], abs=1e-4)


@given(length=st.integers(1, 60), seed=st.integers(0, 10_000))
@settings(max_examples=40)
def test_few_beams_suffice_where_there_are_few_futures(word_1gram: Automaton, length: int, seed: int) -> None:
    """To a 1-gram all texts are one but for the unfinished word: few beams find the best of all texts, however many
    others were almost as good."""
    lm, nothing = word_1gram, 1e-12
    log_probs = np.full((2 * length, len(CHARACTERS.labels)), math.log(nothing))
    # a blank behind each label: no text has two ways through the frames
    shares = np.random.default_rng(seed).dirichlet([1.0, 1.0, 1.0], length) + 0.1
    log_probs[::2, 1:] = np.log(shares / shares.sum(axis=1, keepdims=True))
    log_probs[1::2, 0] = math.log1p(-3 * nothing)
    options = DecodeSettings(beam=12, alpha=0.7, beta=0.5, unk_score=-1.0)
    (found,) = NativeSearch(CHARACTERS, options, words=lm, lexicon=lexicon_of(lm, CHARACTERS)).decode(log_probs)

    def said(word: str) -> float:
        log10 = lm.sentence_score([word]) - lm.sentence_score([]) - (word not in WORDS)
        return 0.7 * LN_10 * log10 + 0.5 if word else 0.0

    best = {"": 0.0}  # of all texts so far that end in this unfinished word; "?" for one that is unknown
    for row in log_probs[::2]:
        after: defaultdict[str, float] = defaultdict(lambda: NEVER)
        for (word, score), (label, logp) in product(best.items(), zip(CHARACTERS.labels[1:], row[1:], strict=True)):
            score += logp
            if label == " ":
                word, score = "", score + said(word)
            elif word == "?":
                score -= 0.7 * LN_10 / 5
            else:
                word = word + label if word + label in WORDS else "?"
            after[word] = max(after[word], score)
        best = after
    wanted = max(score + said(word) for word, score in best.items()) + 0.7 * LN_10 * lm.sentence_score([])
    assert found.score == pytest.approx(wanted, abs=1e-3)


def test_beams_are_not_filled_with_what_differs_in_forgotten_words(tmp_path: Path) -> None:
    """Sixteen first words are as likely as one another, and to a 2-gram they are all the same two words later. There it
    is sure of what is heard with a hundredth of the mass."""
    firsts = ["".join(letters) for letters in product("ab", repeat=4)]
    path = tmp_path / "words.arpa"
    text = [*([first, "ba", "bba"] for first in firsts * 5), *([first, "aaa"] for first in firsts * 5), ["ba", "aaa"]]
    build_arpa(text, 2, path, discount_fallback=True)
    lm = NGram.open(path, CHARACTERS)
    shares = {"?": (0.5, 0.5), "a": (1.0, 0.0), "b": (0.0, 1.0), " ": (0.0, 0.0), "A": (0.9, 0.1)}
    heard = "???? ba AAa"
    log_probs = np.full((2 * len(heard), len(CHARACTERS.labels)), 1e-9)
    for at, letter in enumerate(heard):
        log_probs[2 * at, 1:] += (1 - sum(shares[letter]), *shares[letter])
        log_probs[2 * at + 1, 0] += 1.0
    options = DecodeSettings(beam=8, alpha=2.0, closed_vocab=True)
    search = NativeSearch(CHARACTERS, options, words=lm.automaton, lexicon=lm.lexicon)
    (found,) = search.decode(np.log(log_probs / log_probs.sum(axis=1, keepdims=True)))
    assert found.text.split()[1:] == ["ba", "bba"]


# Labels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logps", "found"),
    [
        ({"a": -1.0, "b": -5.5}, {"", "a", "b"}),  # a alone is likely: b is tried, too
        ({"a": -1.0, "b": -6.1}, {"", "a"}),  # not so unlikely a one
        ({"a": -1.0, " ": -2.0, "b": -5.5}, {"", "a"}),  # two are likely (and a space alone is no text)
        ({"b": -5.5}, {""}),  # none but the blank is
    ],
)
def test_where_a_single_label_is_likely_a_little_less_likely_ones_are_tried(
    logps: dict[str, float], found: set[str]
) -> None:
    frame = np.full((1, len(CHARACTERS.labels)), -30.0)
    for label, logp in logps.items():
        frame[0, CHARACTERS.labels.index(label)] = logp
    frame[0, 0] = math.log(1 - np.exp(frame[0, 1:]).sum())
    search = NativeSearch(CHARACTERS, DecodeSettings(n_best=10, token_min_logp=-5.0))
    assert {each.text for each in search.decode(frame)} == found


# In pieces ---------------------------------------------------------------------------------------------------------


@given(
    cuts=st.lists(st.integers(0, 40), max_size=6),
    n_best=st.sampled_from([1, 4]),
    closed=st.booleans(),
    sharpness=st.sampled_from([2.0, 8.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=80)
def test_pieces_give_what_the_whole_gives(
    cuts: list[int], n_best: int, closed: bool, sharpness: float, seed: int, word_lm: Automaton
) -> None:
    log_probs = random_log_probs(40, len(CHARACTERS.labels), seed, sharpness)
    options = DecodeSettings(beam=7, n_best=n_best, closed_vocab=closed)
    times = FrameTimes(0.04)
    search = NativeSearch(CHARACTERS, options, words=word_lm, lexicon=lexicon_of(word_lm, CHARACTERS), times=times)
    stream = search.stream()
    for piece in np.split(log_probs, sorted(cuts)):
        stream.feed(piece)
        stream.hypotheses()  # asking changes nothing
    assert stream.hypotheses() == search.decode(log_probs)


def test_a_broken_piece_is_as_if_it_had_not_come() -> None:
    search = NativeSearch(CHARACTERS)
    log_probs = random_log_probs(6, 4, 1)
    stream = search.stream()
    stream.feed(log_probs[:4])
    with pytest.raises(AsrkitError, match="the log-probs of frame 5 are not numbers"):
        stream.feed(np.stack([log_probs[4], np.full(4, np.nan)]))
    stream.feed(log_probs[4:])
    assert stream.hypotheses() == search.decode(log_probs)


@pytest.mark.parametrize("rest", [1e-3, 2e-4])
def test_a_closed_search_hears_a_known_word_where_an_unknown_one_was_said(tmp_path: Path, rest: float) -> None:
    """By labels that are too unlikely to be tried where words may be unknown."""
    path, tokenizer = tmp_path / "words.arpa", CharacterTokenizer(" abcd")
    build_arpa([["abc", "cab"], ["cab"], ["abc"]], 2, path, discount_fallback=True)
    log_probs = np.full((2 * len("abc ddb cab abc"), len(tokenizer.labels)), math.log(rest))
    for place, character in enumerate("abc ddb cab abc"):
        for frame, label in ((2 * place, tokenizer.labels.index(character)), (2 * place + 1, 0)):
            log_probs[frame, label] = math.log(1 - rest * (len(tokenizer.labels) - 1))
    lm = NGram.open(path, tokenizer)
    options = DecodeSettings(closed_vocab=True)
    (found,) = NativeSearch(tokenizer, options, words=lm.automaton, lexicon=lm.lexicon).decode(log_probs)
    assert found.text == "abc cab cab abc"


def test_a_closed_search_keeps_a_way_out_of_a_word_that_was_not_said(tmp_path: Path) -> None:
    """What is heard of an unknown word begins a known one that is long and does not go on. What was passed over is
    twice as far behind as a beam may be, until then."""
    path, tokenizer = tmp_path / "words.arpa", CharacterTokenizer(" abcd")
    build_arpa([["abdcabdcabdc", "ca"], ["ca", "ca"]], 2, path, discount_fallback=True)
    log_probs = np.full((2 * len("ab ca ca ca"), len(tokenizer.labels)), -8.0)
    for place, character in enumerate("ab ca ca ca"):
        for frame, label in ((2 * place, tokenizer.labels.index(character)), (2 * place + 1, 0)):
            log_probs[frame, label] = math.log(1 - math.exp(-8.0) * (len(tokenizer.labels) - 1))
    lm = NGram.open(path, tokenizer)
    search = NativeSearch(tokenizer, DecodeSettings(closed_vocab=True), words=lm.automaton, lexicon=lm.lexicon)
    assert search.decode(log_probs)[0].text.split()[-3:] == ["ca", "ca", "ca"]

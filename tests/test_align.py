"""align.py: against full enumeration, against PyTorch, and against alignments that were made up."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asrkit.align import align_labels, align_words, log_likelihood
from asrkit.native_search import NativeSearch
from asrkit.search import greedy
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import CharacterTokenizer, Tokenizer
from asrkit.word_times import FrameTimes, Span, WordTime

FRAME_S = 0.02


class Pieces(CharacterTokenizer):
    """Subwords without SentencePiece: "▁" before a word; encode takes the longest piece that fits."""

    word_boundary = "▁"

    def encode(self, text: str) -> list[int]:
        rest, found = "".join(f"▁{word}" for word in text.split()), []
        while rest:
            piece = max(filter(rest.startswith, self.labels[1:]), key=len)
            rest, found = rest[len(piece) :], [*found, self._ids[piece]]
        return found

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join("".join(self.labels[i] for i in ids).replace("▁", " ").split())


CHARACTERS = CharacterTokenizer(" abcd")
SUBWORDS = Pieces(["▁", "▁a", "▁ba", "a", "b", "c", "d", "ab", "cd"])


def random_log_probs(frames: int, labels: int, seed: int, sharpness: float = 2.0) -> NDArray[np.float64]:
    logits = np.random.default_rng(seed).normal(0, sharpness, (frames, labels))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


# Against every path --------------------------------------------------------------------------------------------------


def paths_of(frames: int, wanted: Sequence[int], labels: int) -> list[tuple[int, ...]]:
    """Every path of so many frames that spells the wanted labels."""
    paths = itertools.product(range(labels), repeat=frames)
    return [path for path in paths if [label for label, _ in itertools.groupby(path) if label] == list(wanted)]


def spans_of(path: Sequence[int], log_probs: NDArray[np.float64]) -> list[Span]:
    found, start = [], 0
    for label, run in itertools.groupby(path):
        end = start + len(list(run))
        if label:
            found.append(Span(label, start, end, float(log_probs[start:end, label].max())))
        start = end
    return found


@given(frames=st.integers(0, 6), wanted=st.lists(st.integers(1, 3), max_size=5), seed=st.integers(0, 10_000))
@settings(max_examples=150)
def test_the_best_of_all_paths_and_the_sum_of_them(frames: int, wanted: list[int], seed: int) -> None:
    log_probs = random_log_probs(frames, 4, seed)
    scores = {path: sum(log_probs[range(frames), path]) for path in paths_of(frames, wanted, 4)}
    if not scores:
        assert (align_labels(log_probs, wanted), log_likelihood(log_probs, wanted)) == (None, -math.inf)
        return
    assert align_labels(log_probs, wanted) == spans_of(max(scores, key=lambda path: scores[path]), log_probs)
    assert log_likelihood(log_probs, wanted) == pytest.approx(math.log(sum(map(math.exp, scores.values()))), abs=1e-9)


@pytest.mark.parametrize(
    ("frames", "labels", "fits"),
    [(2, [1, 2], True), (1, [1, 2], False), (3, [1, 1], True), (2, [1, 1], False), (0, [1], False), (0, [], True)],
)
def test_a_frame_for_each_label_and_one_between_equals(frames: int, labels: list[int], fits: bool) -> None:
    log_probs = random_log_probs(frames, 3, 0)
    assert (align_labels(log_probs, labels) is not None) == fits
    assert math.isfinite(log_likelihood(log_probs, labels)) == fits
    assert (align_words(log_probs, labels, CharacterTokenizer(" a"), FrameTimes(FRAME_S)) is not None) == fits


def test_an_empty_text_is_all_blanks() -> None:
    log_probs = random_log_probs(7, 3, 1)
    assert align_labels(log_probs, []) == []
    assert log_likelihood(log_probs, []) == pytest.approx(log_probs[:, 0].sum())
    assert log_likelihood(np.zeros((0, 3)), []) == 0.0


def test_a_label_of_no_probability_has_a_place_but_no_likelihood() -> None:
    probs = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [1.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        log_probs = np.log(probs)
    assert align_labels(log_probs, [1, 2]) == [Span(1, 1, 2, math.log(0.8)), Span(2, 2, 3, -math.inf)]
    assert log_likelihood(log_probs, [1, 2]) == -math.inf


@pytest.mark.parametrize(("frames", "labels", "sharpness"), [(300, 60, 1.0), (800, 150, 8.0), (200, 99, 3.0)])
def test_the_likelihood_is_pytorchs(frames: int, labels: int, sharpness: float) -> None:
    log_probs = random_log_probs(frames, 20, 5, sharpness)
    wanted = np.random.default_rng(6).integers(1, 20, labels)
    loss = torch.nn.functional.ctc_loss(
        torch.tensor(log_probs)[:, None], torch.tensor(wanted)[None], torch.tensor([frames]), torch.tensor([labels]),
        reduction="sum",
    )  # fmt: skip
    assert log_likelihood(log_probs, wanted.tolist()) == pytest.approx(-loss.item(), rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_precision_that_log_probs_are_kept_in(dtype: type[np.floating]) -> None:
    log_probs = random_log_probs(60, 5, 2).astype(dtype)
    wanted = [1, 2, 2, 4, 3]
    assert log_likelihood(log_probs, wanted) == pytest.approx(log_likelihood(log_probs.astype(float), wanted), abs=1e-3)
    assert align_labels(log_probs, wanted) == align_labels(log_probs.astype(float), wanted)


# Words and their times ------------------------------------------------------------------------------------------------


def test_times_and_confidence_by_hand() -> None:
    """ "a", a space, "ab", of which the "b" is nowhere sure."""
    path = [0, 0, 2, 2, 0, 1, 2, 0, 3, 3]
    probs = np.full((len(path), 4), 0.01)
    probs[range(len(path)), path] = 0.9
    probs[8:, 3] = 0.4
    log_probs = np.log(probs)
    assert align_words(log_probs, [2, 1, 2, 3], CharacterTokenizer(" ab"), FrameTimes(0.1, start_s=-0.05)) == (
        WordTime("a", 0.15, 0.35, 0.9),
        WordTime("ab", 0.55, 0.95, 0.6),  # sqrt(0.9 * 0.4)
    )


@given(frames=st.integers(0, 30), seed=st.integers(0, 10_000))
def test_the_text_of_the_best_path_has_its_times(frames: int, seed: int) -> None:
    for tokenizer in (CHARACTERS, SUBWORDS):
        log_probs = random_log_probs(frames, len(tokenizer.labels), seed)
        labels = [label for label, _ in itertools.groupby(log_probs.argmax(axis=1).tolist()) if label]
        found = align_words(log_probs, labels, tokenizer, FrameTimes(FRAME_S))
        assert found == greedy(log_probs, tokenizer, times=FrameTimes(FRAME_S)).words


def spoken(
    labels: Sequence[int], of: int, random: np.random.Generator, *, one_wrong_in: int | None = None
) -> tuple[NDArray[np.float64], list[Span]]:
    """Noisy log-probs (T, V) of these labels, and the frames that they were made to take.

    Blanks lead by up to half a second. Labels take 1 to 4 frames; they are sure of themselves in one of these, less so
    in the others, as CTC has them. `one_wrong_in` so many frames is sure of something else.
    """
    path = [0] * int(random.integers(0, 25))
    sure: list[int] = []
    spans: list[Span] = []
    for place, label in enumerate(labels):
        repeated = place > 0 and labels[place - 1] == label
        path += [0] * int(random.integers(repeated, 4))
        length = int(random.integers(1, 5))
        sure.append(len(path) + int(random.integers(length)))
        spans.append(Span(label, len(path), len(path) + length, 0.0))
        path += [label] * length
    path += [0] * int(random.integers(0, 10))
    logits = random.normal(0, 1, (len(path), of))
    logits[range(len(path)), path] += 6.0
    logits[:, 0] += 2.0
    logits[sure, [path[frame] for frame in sure]] += 3.0
    for frame in random.integers(0, len(path), len(path) // one_wrong_in if one_wrong_in else 0):
        logits[frame, random.integers(of)] += 6.0
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), spans


def random_text(random: np.random.Generator) -> str:
    """Repeated letters are frequent."""
    lengths = random.integers(1, 7, int(random.integers(1, 12)))
    return " ".join("".join(random.choice(list("aabbcd"), length)) for length in lengths)


def truth(spans: Sequence[Span], tokenizer: Tokenizer) -> list[tuple[str, float, float]]:
    """The words of these spans in seconds, worked out in another way than asrkit does."""
    marked = "".join(tokenizer.labels[span.label].replace("▁", " ").ljust(1) for span in spans)
    owners = [span for span in spans for _ in tokenizer.labels[span.label]]  # of each character
    found, at = [], 0
    for word in marked.split():
        at = marked.index(word, at)
        first, last = owners[at], owners[at + len(word) - 1]
        found.append((word, first.start * FRAME_S, last.end * FRAME_S))
        at += len(word)
    return found


def within_a_frame(found: Sequence[WordTime] | None, wanted: Sequence[tuple[str, float, float]]) -> None:
    assert found is not None
    assert [word.word for word in found] == [word for word, _, _ in wanted]
    for word, (_, start_s, end_s) in zip(found, wanted, strict=True):
        assert (word.start_s, word.end_s) == pytest.approx((start_s, end_s), abs=FRAME_S + 1e-6)
        assert 0 < (word.confidence or 0) <= 1


@pytest.mark.parametrize("tokenizer", [CHARACTERS, SUBWORDS], ids=["characters", "subwords"])
@pytest.mark.parametrize("seed", range(40))
def test_words_within_a_frame_of_the_truth(tokenizer: Tokenizer, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = tokenizer.encode(random_text(random))
    log_probs, spans = spoken(labels, len(tokenizer.labels), random, one_wrong_in=20)
    within_a_frame(align_words(log_probs, labels, tokenizer, FrameTimes(FRAME_S)), truth(spans, tokenizer))


def best_path_score(log_probs: NDArray[np.float64]) -> float:
    return float(log_probs.max(axis=1).sum())


@pytest.mark.parametrize("seed", range(20))
def test_words_of_a_beam_that_merged_paths(seed: int) -> None:
    """A beam search adds up paths and knows no times; those of its text are found again."""
    random = np.random.default_rng(seed)
    labels = CHARACTERS.encode(random_text(random))
    log_probs, spans = spoken(labels, len(CHARACTERS.labels), random)
    (found,) = NativeSearch(CHARACTERS, DecodeSettings(beam=50)).decode(log_probs)
    assert found.text == CHARACTERS.decode(labels)
    assert found.logp > best_path_score(log_probs)  # it holds more than one path
    within_a_frame(
        align_words(log_probs, CHARACTERS.encode(found.text), CHARACTERS, FrameTimes(FRAME_S)), truth(spans, CHARACTERS)
    )


def test_silence_before_the_first_word_is_none_of_it() -> None:
    probs = np.full((50, 4), 0.01)
    probs[:40, 0] = probs[40:45, 2] = probs[45:, 0] = 0.97
    assert align_words(np.log(probs), [2], CharacterTokenizer(" ab"), FrameTimes(FRAME_S)) == (
        WordTime("a", 0.8, 0.9, 0.97),
    )

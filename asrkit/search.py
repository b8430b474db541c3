"""Log-probs (T, V) in, hypotheses out: what a search finds, and the simplest one, the best label of each frame.

Shapes: T frames, V labels; label 0 is CTC's blank. Log-probs are natural logarithms, as are all scores here.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.errors import AsrkitError
from asrkit.grammar import best_path
from asrkit.tokenizer import Tokenizer
from asrkit.word_times import FrameTimes, Span, WordTime, word_times

LogProbs = NDArray[np.floating[Any]]  # (T, V)

LN_10 = math.log(10)  # an n-gram's scores are base-10 logs
TOLERANCE = 0.05  # of the sum of a frame's probabilities, which may have been kept in 16 bits


@dataclass(frozen=True)
class Hypothesis:
    """What may have been said. `score` is what the search ranked by: `logp`, and with an n-gram `lm_score` added."""

    text: str
    words: tuple[WordTime, ...] | None  # None where the length of a frame was not given
    logp: float  # acoustic: of the single path (greedy), or of all paths that the beam kept
    lm_score: float | None  # alpha * ln P of the n-gram + beta * words; None without one
    score: float


Search = Callable[[LogProbs], list[Hypothesis]]  # best first


def greedy(log_probs: LogProbs, tokenizer: Tokenizer, *, times: FrameTimes | None = None) -> Hypothesis:
    """The text of the best path through log_probs (T, V): the best label of each frame, as far as the tokenizer's
    grammar lets it follow.

    Raises:
        AsrkitError: the shape is not (T, labels), or a value is not a number.
    """
    log_probs = checked(log_probs, tokenizer)
    best = best_path(log_probs, tokenizer.grammar)  # (T,)
    best_logp = log_probs[np.arange(len(best)), best]  # (T,)
    spans = [span for span in _runs(best, best_logp) if span.label]
    text = tokenizer.decode([span.label for span in spans])
    logp = float(best_logp.sum())
    return Hypothesis(text, word_times(spans, tokenizer, times) if times else None, logp, None, logp)


def _runs(best: NDArray[np.integer[Any]], best_logp: LogProbs) -> Iterator[Span]:
    """The frames that follow each other with the same best label, blanks included."""
    start = 0
    for label, frames in groupby(best.tolist()):
        end = start + len(list(frames))
        yield Span(label, start, end, float(best_logp[start:end].max()))
        start = end


def checked(log_probs: LogProbs, tokenizer: Tokenizer) -> LogProbs:
    """As float64, so that NumPy 1 and 2 add up alike.

    Raises:
        AsrkitError: the shape is not (T, labels), or a frame's probabilities do not add up to 1.
    """
    check_shape(log_probs, tokenizer)
    log_probs = log_probs.astype(np.float64)
    totals = np.exp(log_probs).sum(axis=1)  # (T,)
    wrong = ~(np.abs(totals - 1) <= TOLERANCE)
    if wrong.any():
        frame = int(wrong.argmax())
        raise AsrkitError(not_normalised(frame, float(totals[frame])))
    return log_probs


def check_shape(log_probs: LogProbs, tokenizer: Tokenizer) -> None:
    """Refuses, with an AsrkitError, log-probs whose shape is not (T, labels)."""
    if log_probs.ndim != 2 or log_probs.shape[1] != len(tokenizer.labels):
        raise AsrkitError(f"log-probs have shape {log_probs.shape}; wanted (frames, {len(tokenizer.labels)} labels)")


def not_normalised(frame: int, total: float) -> str:
    """What is wrong with a frame whose probabilities add up to `total`."""
    if math.isnan(total):
        return f"the log-probs of frame {frame} are not numbers; the model is broken (did training diverge?)"
    return (
        f"the probabilities of frame {frame} add up to {total:.3g}; wanted 1: log-probs are natural logarithms, such "
        "as log_softmax gives"
    )

"""Log-probs (T, V) and labels (U,) in; when each label was said, and how likely all of them are, out.

CTC (Graves et al. 2006): a path has a label or a blank in each frame; it spells what is left without repeats and
blanks. So blanks may stand anywhere between labels, and must between equal ones. The most probable path is the
alignment (Viterbi); the sum over all paths is the likelihood (the forward variable, section 4.1).

Both walk through the frames with U + 1 states "n labels are behind, the last frame was a blank" (`silent`) and U states
"label n is going on" (`said`, one place further on, so that what comes before the first label can be asked for).

Shapes: T frames, V labels of the tokenizer, U labels of the text. Log-probs are natural logarithms; the blank is 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asrkit.tokenizer import Tokenizer
from asrkit.word_times import FrameTimes, Span, WordTime, word_times

LogProbs = NDArray[np.floating[Any]]  # (T, V)

IMPOSSIBLE_LOGP = -1e6  # stands for ln 0, so that a text that cannot have been said still gets its likeliest times
NEGLIGIBLE = -40.0  # e^-40 changes no sum that holds a 1, in double precision
STAYS, FROM_BLANK, FROM_LABEL = 0, 1, 2  # how a path came to a label: it went on, or began after a blank or a label
BLANK_ENDS = 4  # added to these: the blank before this label is the first one after the label before


def align_labels(log_probs: LogProbs, labels: Sequence[int]) -> list[Span] | None:
    """The frames of each label on the most probable path through log_probs (T, V) that spells `labels`, in their order.

    None where T is too short for any: CTC needs a frame for each label, and one between equal neighbours.
    """
    wanted = _checked(log_probs, labels)
    if not _fits(log_probs, wanted):
        return None
    if not len(wanted):
        return []
    spans, peaks = _best_path(_floats(log_probs), wanted)  # (U, 2), (U,)
    found = zip(wanted.tolist(), spans.tolist(), peaks.tolist(), strict=True)
    return [Span(label, start, end, peak_logp) for label, (start, end), peak_logp in found]


def align_words(
    log_probs: LogProbs, labels: Sequence[int], tokenizer: Tokenizer, times: FrameTimes
) -> tuple[WordTime, ...] | None:
    """The words that `labels` spell, with the times and the confidence that log_probs (T, V) give them.

    None where T is too short, as in `align_labels`.
    """
    spans = align_labels(log_probs, labels)
    return None if spans is None else word_times(spans, tokenizer, times)


def log_likelihood(log_probs: LogProbs, labels: Sequence[int]) -> float:
    """ln P(labels | log_probs (T, V)), the sum over all paths that spell `labels`; -inf where there is none."""
    wanted = _checked(log_probs, labels)
    if not _fits(log_probs, wanted):
        return -np.inf
    return float(_forward(_floats(log_probs), wanted))


def _checked(log_probs: LogProbs, labels: Sequence[int]) -> NDArray[np.int64]:
    wanted = np.asarray(labels, dtype=np.int64)  # (U,)
    assert log_probs.ndim == 2
    # compiled loops do not look where they read
    assert not len(wanted) or (wanted.min() > 0 and wanted.max() < log_probs.shape[1])
    return wanted


def _fits(log_probs: LogProbs, labels: NDArray[np.int64]) -> bool:
    repeats = np.count_nonzero(labels[1:] == labels[:-1])
    return len(log_probs) >= len(labels) + int(repeats)


def _floats(log_probs: LogProbs) -> LogProbs:
    """Half precision, as log-probs are kept in files, is unknown to Numba."""
    return np.ascontiguousarray(log_probs, dtype=np.promote_types(log_probs.dtype, np.float32))


# Numba -------------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _entering(labels: Any) -> Any:
    """(U,): 0 where the label may follow the one before without a blank, -inf where they are equal."""
    enter = np.zeros(len(labels))
    for place in range(1, len(labels)):
        if labels[place] == labels[place - 1]:
            enter[place] = -np.inf
    return enter


@njit(cache=True, nogil=True)
def _best_path(log_probs: Any, labels: Any) -> Any:
    """First frame and end (exclusive) of each label (U, 2), and its highest log-prob there (U,); U and T are not 0."""
    frames, count = len(log_probs), len(labels)
    enter = _entering(labels)
    here = np.empty(count)  # (U,) log-probs of this frame
    came_from = np.empty((frames, count + 1), np.uint8)
    silent, said = np.full(count + 1, -np.inf), np.full(count + 1, -np.inf)
    new_silent, new_said = silent.copy(), said.copy()
    silent[0] = 0.0  # as if a blank had been before the first frame
    for frame in range(frames):
        row, pointers = log_probs[frame], came_from[frame]
        # labels that can be reached by now, and from which the last one still can
        low, high = max(0, count - frames + frame), min(count, frame + 1)
        blank = max(row[0], IMPOSSIBLE_LOGP)
        for place in range(low, high):
            here[place] = max(row[labels[place]], IMPOSSIBLE_LOGP)
        for place in range(low, high):
            after_label, after_blank, going_on = said[place], silent[place], said[place + 1]
            entering = after_label + enter[place]
            how = FROM_BLANK if after_blank > going_on else STAYS
            best = max(after_blank, going_on)
            how = FROM_LABEL if entering > best else how
            new_said[place + 1] = max(best, entering) + here[place]
            new_silent[place] = max(after_blank, after_label) + blank
            pointers[place] = how + (BLANK_ENDS if after_label > after_blank else 0)
        if high == count:
            new_silent[count] = max(silent[count], said[count]) + blank
            pointers[count] = BLANK_ENDS if said[count] > silent[count] else 0
        silent, new_silent, said, new_said = new_silent, silent, new_said, said
    return _trace(log_probs, labels, came_from, silent[count] > said[count])


@njit(cache=True, nogil=True)
def _trace(log_probs: Any, labels: Any, came_from: Any, in_blank: bool) -> Any:
    """Back from the end, which is in the blank after the last label or in that label."""
    count = len(labels)
    spans, peaks = np.zeros((count, 2), np.int64), np.full(count, -np.inf)
    place = count if in_blank else count - 1
    for frame in range(len(log_probs) - 1, -1, -1):
        how = came_from[frame, place]
        if in_blank:
            if how & BLANK_ENDS:
                in_blank, place = False, place - 1
            continue
        if not spans[place, 1]:
            spans[place, 1] = frame + 1
        spans[place, 0] = frame
        peaks[place] = max(peaks[place], log_probs[frame, labels[place]])
        how &= FROM_BLANK | FROM_LABEL
        if how == FROM_BLANK:
            in_blank = True
        elif how == FROM_LABEL:
            place -= 1
    return spans, peaks


@njit(cache=True, nogil=True, inline="always")
def _add(a: float, b: float) -> float:
    """ln(e^a + e^b)."""
    high, low = max(a, b), min(a, b)
    # two that are -inf differ by NaN, which is not greater either
    return high + np.log1p(np.exp(low - high)) if low - high > NEGLIGIBLE else high


@njit(cache=True, nogil=True)
def _forward(log_probs: Any, labels: Any) -> float:
    """In the log domain: between the states of one frame, and what they still have before them, any factor may lie."""
    frames, count = len(log_probs), len(labels)
    enter = _entering(labels)
    silent, said = np.full(count + 1, -np.inf), np.full(count + 1, -np.inf)
    new_silent, new_said = silent.copy(), said.copy()
    silent[0] = 0.0
    for frame in range(frames):
        row = log_probs[frame]
        low, high = max(0, count - frames + frame), min(count, frame + 1)
        for place in range(low, high):
            after_label, after_blank = said[place], silent[place]
            reached = _add(after_blank, after_label)
            new_silent[place] = reached + row[0]
            if enter[place] < 0.0:
                reached = after_blank
            new_said[place + 1] = _add(reached, said[place + 1]) + row[labels[place]]
        if high == count:
            new_silent[count] = _add(silent[count], said[count]) + row[0]
        silent, new_silent, said, new_said = new_silent, silent, new_said, said
    return _add(silent[count], said[count])

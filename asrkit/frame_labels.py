"""A frame's log-probs in; out the labels that the search tries there.

Shapes: T frames, V labels.
"""

from typing import Any

import numpy as np

from asrkit.lexicon import LETTERS
from asrkit.loops import lean

# Where a single label is likely enough, those are tried that are less likely by up to EASE: what was said is among them
# where something else was heard, and it costs little.
EASE = 1.0
CHUNK = 64  # labels tried at a time: as many as there are bits in Labels.of_letter and Work.held
_BLOCK = 64  # labels that are looked at together
_LIKELY = -7.0  # log-prob: where the alphabet is large, hundreds of labels lie below it, and few above
_ROUNDED = 1e-4  # more than a log-prob that matters changes when it is rounded to single precision


@lean
def check(log_probs: Any, tolerance: float, labels: Any) -> tuple[int, float]:
    """Of log_probs (T, V) the first frame whose probabilities do not add up to 1, and their sum; -1 where all do."""
    for frame in range(len(log_probs)):
        total = sum_of(log_probs[frame], tolerance, labels, find_likely(log_probs[frame], labels))
        if not abs(total - 1.0) <= tolerance:
            return frame, total
    return -1, 1.0


@lean
def find_likely(log_probs: Any, labels: Any, limit: float = _LIKELY) -> int:
    """Of log_probs (V,) those that are higher, or are not numbers: the labels and their probabilities into `likely` and
    `masses`, their number back."""
    likely, masses, count = labels.likely, labels.masses, 0
    for first in range(0, len(log_probs), _BLOCK):
        block = log_probs[first : first + _BLOCK]
        if _some_above(block, limit):
            for place in range(len(block)):
                if not block[place] <= limit:
                    likely[count], masses[count] = first + place, np.exp(block[place])
                    count += 1
    return count


@lean
def _some_above(log_probs: Any, limit: float) -> Any:
    """Whether some of log_probs (V,) are higher, or are not numbers; without branches and in their own type, so that
    the processor looks at many at a time."""
    lowest = log_probs.dtype.type(limit)
    some = False
    for label in range(len(log_probs)):
        some |= not log_probs[label] <= lowest
    return some


@lean
def sum_of(log_probs: Any, tolerance: float, labels: Any, count: int) -> float:
    """Of the probabilities of log_probs (V,), so many of which are likely; the others are only added where these do not
    suffice."""
    total = 0.0
    for at in range(count):
        total += labels.masses[at]
    if not abs(total - 1.0) <= tolerance:
        total = 0.0
        for logp in log_probs:
            total += np.exp(logp)
    return total


@lean
def try_labels(log_probs: Any, count: int, least_logp: float, spelled: Any, labels: Any, tried_before: int) -> int:
    """Of log_probs (V,), so many of which are likely, the labels that are likely enough, the best of the frame always
    among them: those that end a word first, then the likeliest; a little less likely ones, too, where there is but one.
    Gives their number."""
    y, tried, number = labels.y, labels.tried, labels.number
    for place in range(tried_before):
        y[tried[place].label] = 0.0
    limit = least_logp
    if log_probs[0] < limit:
        count = count or find_likely(log_probs, labels, -np.inf)
        highest = log_probs[0]
        for at in range(count):
            highest = max(highest, log_probs[labels.likely[at]])
        limit = min(limit, highest)
    if limit - EASE - _ROUNDED < _LIKELY:
        count = find_likely(log_probs, labels, limit - EASE - _ROUNDED)
    trying = _put_between(log_probs, count, limit, np.inf, labels, 0, spelled)
    if trying == 1:
        trying = _put_between(log_probs, count, limit - EASE, limit, labels, trying, spelled)
    for place in range(trying):
        y[tried[place].label], number[tried[place].label] = tried[place].y, place
    return trying


@lean
def _put_between(log_probs: Any, count: int, limit: float, below: float, labels: Any, trying: int, spelled: Any) -> int:
    """Of log_probs (V,), so many of which are likely, the labels from `limit` on that are `below`, but for the blank,
    among those that are tried; gives their number."""
    for at in range(count):
        label = labels.likely[at]
        if label and limit <= log_probs[label] < below:
            trying = _put(labels.tried, trying, label, labels.masses[at], spelled[label])
    return trying


@lean
def _put(tried: Any, trying: int, label: int, y: float, parts: Any) -> int:
    """A label among those that are tried; gives their number."""
    place = trying
    while place and (
        parts.ends_word > tried[place - 1].ends_word
        or (parts.ends_word == tried[place - 1].ends_word and y > tried[place - 1].y)
    ):
        tried[place] = tried[place - 1]
        place -= 1
    one = tried[place]
    one.y, one.label, one.ends_word = y, label, parts.ends_word
    one.first, one.own, one.end = parts.first, parts.own, parts.end
    return trying + 1


@lean
def by_letter(labels: Any, first: int, last: int, letters: Any) -> tuple[Any, Any, float]:
    """Of the labels that are tried, number `first` to `last`, those that go on with a word, by their first letter, as
    bits of `of_letter`. Gives these letters, as bits, then those labels that end a word or are no more than that, and
    the probability of the likeliest other."""
    of_letter = labels.of_letter
    for letter in range(LETTERS):
        of_letter[letter] = 0
    some, others, most = np.uint64(0), np.uint64(0), 0.0
    for place in range(first, last):
        one, bit = labels.tried[place], np.uint64(1) << np.uint64(place - first)
        if one.ends_word or one.own == one.end:
            others |= bit
            continue
        letter = letters[one.own]
        of_letter[letter] |= bit
        some |= np.uint64(1) << np.uint64(letter)
        most = max(most, one.y)
    return some, others, most

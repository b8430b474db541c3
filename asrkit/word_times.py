"""Labels and the frames they took in; words with their times in seconds and a confidence out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from asrkit.tokenizer import Tokenizer


@dataclass(frozen=True)
class WordTime:
    """A word and when it was said, seconds from the start of the audio; `confidence` is from 0 to 1, and None with
    pyctcdecode."""

    word: str
    start_s: float
    end_s: float
    confidence: float | None = None


@dataclass(frozen=True)
class FrameTimes:
    """When a frame was: frame 0 starts at `start_s`, negative where silence was put before the sound."""

    frame_s: float
    start_s: float = 0.0

    def span(self, first: int, end: int) -> tuple[float, float]:
        """When frames `first` to `end` (not included) were; what lies before the sound is moved to its start."""
        start_s = max(0.0, self.start_s + first * self.frame_s)
        end_s = max(start_s + self.frame_s, self.start_s + end * self.frame_s)
        return round(start_s, 3), round(end_s, 3)


@dataclass(frozen=True)
class Span:
    """A label and the frames `start` to `end` (not included) that it took."""

    label: int
    start: int
    end: int
    peak_logp: float  # where it is surest


def word_times(spans: Sequence[Span], tokenizer: Tokenizer, times: FrameTimes) -> tuple[WordTime, ...]:
    """The words that the spans, without blanks, spell: one begins at each label that starts with the word boundary.

    A word's confidence is the geometric mean over its labels of each one's probability where it is surest.
    """
    groups: list[list[Span]] = []
    for span in spans:
        label = tokenizer.labels[span.label]
        if label.startswith(tokenizer.word_boundary) or not groups:
            groups.append([])
        if label != tokenizer.word_boundary:  # a lone boundary is no part of the time the word takes
            groups[-1].append(span)
    words = []
    for group in filter(None, groups):
        confidence = math.exp(sum(span.peak_logp for span in group) / len(group))
        text = tokenizer.decode([span.label for span in group])
        words.append(WordTime(text, *times.span(group[0].start, group[-1].end), round(min(1.0, confidence), 4)))
    return tuple(words)

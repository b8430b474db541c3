"""Which label may follow which, as a small automaton: a table that tokenizers fill and searches obey.

Shapes: T frames, S states, V labels; label 0 is CTC's blank. Blanks, and a label that goes on, change no state.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORBIDDEN = -1


@dataclass(frozen=True)
class Grammar:
    """A deterministic finite automaton over labels; it starts in state 0, where a text may end, too.

    `follows` (S, V) is the state that a label leads to, or FORBIDDEN; its column 0, the blank's, means nothing.
    `ends` (S,) says where a text may end.
    """

    follows: NDArray[np.int32]
    ends: NDArray[np.bool_]

    def accepts(self, labels: Iterable[int]) -> bool:
        """Whether these labels, without blanks and repeats, are a whole text."""
        state = 0
        for label in labels:
            state = int(self.follows[state, label])
            if state == FORBIDDEN:
                return False
        return bool(self.ends[state])


def best_path(log_probs: NDArray[np.floating[Any]], grammar: Grammar | None) -> NDArray[np.intp]:
    """The label of each frame (T,) on the most probable path through log_probs (T, V) that the grammar accepts.

    Without a grammar, and wherever these happen to make an accepted text, the best label of each frame; else by
    Viterbi's algorithm over pairs of a state and the frame's label.
    """
    best = log_probs.argmax(axis=1) if len(log_probs) else np.zeros(0, np.intp)
    if grammar is None or grammar.accepts(label for label, _ in groupby(best.tolist()) if label):
        return best
    states, labels = grammar.follows.shape
    every = np.arange(labels)
    scores = np.full((states, labels), -np.inf)  # (S, V), of the best path that ends so
    scores[0, 0] = 0.0  # as if a blank had been before the first frame
    came_from = np.empty((len(log_probs), states, labels), np.int32)  # state * V + label, one frame earlier
    for frame, row in enumerate(log_probs):
        came_from[frame] = every + labels * np.arange(states)[:, None]  # the label goes on
        before, scores = scores, scores.copy()
        for state in range(states):
            order = before[state].argmax()
            top = before[state, order]
            others = np.where(every == order, -np.inf, before[state])
            second = others.argmax()  # what a label follows is never that label itself: then it would go on
            entering = np.where(every == order, others[second], top)
            origin = state * labels + np.where(every == order, second, order)
            _improve(scores, came_from[frame], entering, origin, grammar.follows[state])
            if top > scores[state, 0]:  # a blank keeps the state
                scores[state, 0], came_from[frame, state, 0] = top, state * labels + order
        scores += row
    return _trace(scores, came_from, grammar.ends)


def _improve(
    scores: NDArray[np.float64],
    came_from: NDArray[np.int32],
    entering: NDArray[np.float64],
    origin: NDArray[np.intp],
    follows: NDArray[np.int32],
) -> None:
    """Takes over, for each label (V,), the paths that enter it from one state and are better than those known."""
    label = np.flatnonzero(follows != FORBIDDEN)
    label = label[label != 0]
    label = label[entering[label] > scores[follows[label], label]]
    scores[follows[label], label] = entering[label]
    came_from[follows[label], label] = origin[label]


def _trace(scores: NDArray[np.float64], came_from: NDArray[np.int32], ends: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Back from the best end: the label of each frame."""
    labels = scores.shape[1]
    place = int(np.where(ends[:, None], scores, -np.inf).argmax())
    path = np.empty(len(came_from), np.intp)
    for frame in range(len(came_from) - 1, -1, -1):
        path[frame] = place % labels
        place = int(came_from[frame].reshape(-1)[place])
    return path

"""Log-probs (T, V) in, hypotheses out: CTC prefix beam search with an n-gram of labels, within the tokenizer's grammar.

After Hannun et al. 2014 (arXiv 1408.2873): a prefix keeps the probability of the paths that end in a blank apart from
that of those that end in its last label, and paths that spell the same prefix are added up. Plain Python; the search
that replaces it takes words as well.
"""

import math
from operator import itemgetter
from typing import Any

from asrkit.grammar import FORBIDDEN
from asrkit.ngram import NGram
from asrkit.search import LN_10, MIN_TOKEN_LOGP, PRUNE_LOGP, BeamSearch, Hypothesis, LogProbs, checked
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import Tokenizer, written
from asrkit.word_times import FrameTimes

_NEVER = -math.inf


class PrefixSearch:
    """Ranked by ln P(acoustic) + alpha * ln P(n-gram of labels) + beta * labels; without an n-gram, by the first."""

    name = "prefix"

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        lm: NGram | None = None,
        beam: int = 100,
        alpha: float = 0.5,
        beta: float = 1.0,
        n_best: int = 1,
    ) -> None:
        self.tokenizer, self.lm, self.beam, self.n_best = tokenizer, lm, beam, n_best
        self.alpha, self.beta = alpha * LN_10, beta
        self._words = [written(label) for label in tokenizer.labels]
        grammar = tokenizer.grammar
        self._follows: list[list[int]] = grammar.follows.tolist() if grammar else [[0] * len(tokenizer.labels)]
        self._ends: list[bool] = grammar.ends.tolist() if grammar else [True]

    def decode(self, log_probs: LogProbs) -> list[Hypothesis]:
        """The best hypotheses for log_probs (T, V), best first; at least one.

        Raises:
            AsrkitError: the shape is not (T, labels), or a value is not a number.
        """
        empty = _Prefix(parent=None, label=0, state=0, lm_state=self.lm and self.lm.start(), lm_score=0.0)
        beams = {empty: (0.0, _NEVER)}
        for row in checked(log_probs, self.tokenizer).tolist():
            beams = self._advance(beams, row)
        ended = {prefix: ends for prefix, ends in beams.items() if self._ends[prefix.state]} or beams
        found = [self._hypothesis(prefix, _add(*ends)) for prefix, ends in ended.items()]
        return sorted(found, key=lambda hypothesis: -hypothesis.score)[: self.n_best]

    def _advance(
        self, beams: "dict[_Prefix, tuple[float, float]]", row: list[float]
    ) -> "dict[_Prefix, tuple[float, float]]":
        """The beams after one more frame: {prefix: ln P of the paths that end in a blank, in its last label}."""
        least = min(MIN_TOKEN_LOGP, max(row))
        labels = [label for label, logp in enumerate(row) if label and logp >= least]
        blank: dict[_Prefix, float] = {}
        spoken: dict[_Prefix, float] = {}
        for prefix, (after_blank, after_label) in beams.items():
            either = _add(after_blank, after_label)
            blank[prefix] = either + row[0]
            if prefix.label:
                spoken[prefix] = _add(spoken.get(prefix, _NEVER), after_label + row[prefix.label])
            follows = self._follows[prefix.state]
            for label in labels:
                reached = after_blank if label == prefix.label else either
                if follows[label] == FORBIDDEN or reached == _NEVER:
                    continue
                longer = prefix.longer.get(label) or self._lengthen(prefix, label, follows[label])
                spoken[longer] = _add(spoken.get(longer, _NEVER), reached + row[label])
        ranked = []
        for prefix in blank | spoken:
            ends = blank.get(prefix, _NEVER), spoken.get(prefix, _NEVER)
            ranked.append((_add(*ends) + prefix.lm_score, prefix, ends))
        ranked.sort(key=itemgetter(0), reverse=True)
        best = ranked[0][0]
        return {prefix: ends for score, prefix, ends in ranked[: self.beam] if score >= best + PRUNE_LOGP}

    def _lengthen(self, prefix: "_Prefix", label: int, state: int) -> "_Prefix":
        lm_state, lm_score = prefix.lm_state, prefix.lm_score
        if self.lm:
            log10, lm_state = self.lm.score(lm_state, self._words[label])
            lm_score += self.alpha * log10 + self.beta
        longer = _Prefix(parent=prefix, label=label, state=state, lm_state=lm_state, lm_score=lm_score)
        prefix.longer[label] = longer
        return longer

    def _hypothesis(self, prefix: "_Prefix", logp: float) -> Hypothesis:
        text = self.tokenizer.decode(prefix.labels())
        if not self.lm:
            return Hypothesis(text, None, logp, None, logp)
        lm_score = prefix.lm_score + self.alpha * self.lm.end_score(prefix.lm_state)
        return Hypothesis(text, None, logp, lm_score, logp + lm_score)


def beam_search(
    tokenizer: Tokenizer, lm: NGram, settings: DecodeSettings, times: FrameTimes | None = None
) -> BeamSearch | PrefixSearch:
    """The search that goes with the n-gram: over words, or over labels, which gives no word times yet."""
    beam, alpha, beta, n_best = settings.beam, settings.alpha, settings.beta, settings.n_best
    if lm.of_labels:
        return PrefixSearch(tokenizer, lm=lm, beam=beam, alpha=alpha, beta=beta, n_best=n_best)
    return BeamSearch(tokenizer, lm=lm, beam=beam, alpha=alpha, beta=beta, n_best=n_best, times=times)


class _Prefix:
    """Some labels, as a node of the tree of all prefixes that came up in an utterance."""

    __slots__ = ("label", "lm_score", "lm_state", "longer", "parent", "state")

    def __init__(self, *, parent: "_Prefix | None", label: int, state: int, lm_state: Any, lm_score: float) -> None:
        self.parent, self.label, self.state = parent, label, state  # the state is the grammar's
        self.lm_state, self.lm_score = lm_state, lm_score
        self.longer: dict[int, _Prefix] = {}

    def labels(self) -> list[int]:
        found: list[int] = []
        prefix = self
        while prefix.parent is not None:
            found.append(prefix.label)
            prefix = prefix.parent
        return found[::-1]


def _add(a: float, b: float) -> float:
    """ln(e^a + e^b)."""
    if a < b:
        a, b = b, a
    return a if b == _NEVER else a + math.log1p(math.exp(b - a))

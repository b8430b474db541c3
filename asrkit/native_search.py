"""Log-probs (T, V) in, hypotheses out: our own beam search, with an n-gram of words, of labels, or both.

The loops are in ctc_beam.py.
"""

import numpy as np
from numpy.typing import NDArray

from asrkit.automaton import Automaton, Tables
from asrkit.beams import Beams, new_pair, new_work
from asrkit.ctc_beam import LN_10, Model, advance, final_scores
from asrkit.lexicon import build_lexicon
from asrkit.search import MIN_TOKEN_LOGP, PRUNE_LOGP, Hypothesis, LogProbs, checked
from asrkit.tokenizer import Tokenizer, written

_NONE, _SILENT = np.zeros(1, dtype=np.int32), np.zeros(1, dtype=np.float32)
_NOTHING = Tables(_SILENT, _NONE, _SILENT, _NONE, np.zeros(1, dtype=np.uint64), _SILENT, _NONE)  # in place of an n-gram


class NativeSearch:
    """CTC prefix beam search: log-probs (T, V) -> the `n_best` best hypotheses, best first.

    Ranked by ln P(acoustic) + alpha * ln P(n-gram of words) + beta * words + unk_score * unknown words, and likewise
    for an n-gram of labels.
    """

    name = "native"

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        words: Automaton | None = None,
        spelled: dict[str, int] | None = None,
        tokens: Automaton | None = None,
        beam: int = 100,
        alpha: float = 0.5,
        beta: float = 1.0,
        unk_score: float = -10.0,
        closed: bool = False,
        token_alpha: float = 0.5,
        token_beta: float = 0.0,
        token_min_logp: float = MIN_TOKEN_LOGP,
        beam_prune_logp: float = PRUNE_LOGP,
        n_best: int = 1,
    ) -> None:
        self.tokenizer, self.beam, self.n_best = tokenizer, beam, n_best
        self.token_min_logp, self.beam_prune_logp = token_min_logp, beam_prune_logp
        self.words, self.tokens = words, tokens
        labels = len(tokenizer.labels)
        unigrams = words.tables.unigrams if words else _NOTHING.unigrams
        known = spelled or {}
        lexicon = build_lexicon(tokenizer, list(known), list(known.values()), unigrams)
        grammar = tokenizer.grammar
        follows = grammar.follows if grammar else np.zeros((1, labels), dtype=np.int32)
        self._ends = grammar.ends if grammar else np.ones(1, dtype=np.bool_)
        ahead = np.exp(alpha * LN_10 * lexicon.best.astype(np.float64))
        ahead[0] = 1.0
        outside = float(np.exp(alpha * LN_10 * float(unigrams[words.unknown]) + unk_score)) if words else 1.0
        token_of = np.array([tokens.number(written(label)) if tokens else 0 for label in tokenizer.labels], np.int32)
        self._model = Model(
            np.ascontiguousarray(follows, dtype=np.int32),
            words is not None,
            words.tables if words else _NOTHING,
            lexicon,
            float(alpha),
            float(beta),
            words.unknown if words else 0,
            float(unk_score),
            closed,
            ahead,
            outside,
            tokens is not None,
            tokens.tables if tokens else _NOTHING,
            float(token_alpha),
            float(token_beta),
            token_of,
        )

    def decode(self, log_probs: LogProbs) -> list[Hypothesis]:
        """The best hypotheses for log_probs (T, V), best first; at least one.

        Raises:
            AsrkitError: the shape is not (T, labels), or a value is not a number.
        """
        log_probs = checked(log_probs, self.tokenizer)
        states = self.words.start if self.words else 0, self.tokens.start if self.tokens else 0
        beams, other = new_pair(self.beam, len(log_probs), *states)
        work = new_work(self.beam, log_probs.shape[1])
        swapped = advance(self._model, beams, other, work, log_probs, self.token_min_logp, self.beam_prune_logp)
        return self._hypotheses(other if swapped else beams)

    def _hypotheses(self, beams: Beams) -> list[Hypothesis]:
        word_end = self.words.end if self.words else 0
        token_end = self.tokens.end if self.tokens else 0
        scores: NDArray[np.float64] = final_scores(self._model, beams, word_end, token_end)  # (B, 2)
        ends = self._ends[beams.grammar[: len(scores)]]
        if ends.any():
            scores[~ends] = -np.inf
        total = scores.sum(axis=1)
        best = np.argsort(-total, kind="stable")[: self.n_best]
        has_lm = self.words is not None or self.tokens is not None
        found = []
        for beam in best[np.isfinite(total[best])]:
            text = self.tokenizer.decode(_labels(beams, int(beam)))
            lm = float(scores[beam, 1]) if has_lm else None
            found.append(Hypothesis(text, None, float(scores[beam, 0]), lm, float(total[beam])))
        return found


def _labels(beams: Beams, beam: int) -> list[int]:
    found: list[int] = []
    node = int(beams.node[beam])
    while beams.tree_parent[node] >= 0:
        found.append(int(beams.tree_label[node]))
        node = int(beams.tree_parent[node])
    return found[::-1]

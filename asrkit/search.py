"""Log-probs (T, V) in, hypotheses out: the best label of each frame, or pyctcdecode's beam search with an n-gram.

Shapes: T frames, V labels; label 0 is CTC's blank. Log-probs are natural logarithms, as are all scores here.
"""

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import weakref
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import groupby
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray
from pyctcdecode.alphabet import Alphabet
from pyctcdecode.decoder import BeamSearchDecoderCTC
from pyctcdecode.language_model import AbstractLanguageModel

from asrkit.errors import AsrkitError
from asrkit.grammar import best_path
from asrkit.ngram import NGram
from asrkit.tokenizer import Tokenizer
from asrkit.word_times import FrameTimes, Span, WordTime, word_times

LogProbs = NDArray[np.floating[Any]]  # (T, V)

LN_10 = math.log(10)  # an n-gram's scores are base-10 logs
UNKNOWN_LOG10 = -10.0  # added to the score of a word that the n-gram does not know, as pyctcdecode has it
UNKNOWN_LETTERS = 6  # a partial word that begins no known word costs more for each letter beyond these
PRUNE_LOGP = -10.0  # beams so far behind the best are dropped
MIN_TOKEN_LOGP = -5.0  # labels below it are not tried, the best of the frame aside
ORPHAN_CHECK_S = 2.0


@dataclass(frozen=True)
class Hypothesis:
    """What may have been said. `score` is what the search ranked by: `logp`, and with an n-gram `lm_score` added."""

    text: str
    words: tuple[WordTime, ...] | None  # None where the length of a frame was not given
    logp: float  # acoustic: of the single path (greedy), or of all paths that the beam kept
    lm_score: float | None  # alpha * ln P of the n-gram + beta * words; None without one
    score: float


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


class BeamSearch:
    """CTC prefix beam search over whole words: log-probs (T, V) -> the `n_best` best hypotheses, best first.

    Ranked by ln P(acoustic) + alpha * ln P(n-gram) + beta * words. Beams that share the words an n-gram can see, the
    partial word and the last label are kept once, when only the best hypothesis is asked for.
    """

    name = "pyctcdecode"

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        lm: NGram | None = None,
        beam: int = 100,
        alpha: float = 0.5,
        beta: float = 1.0,
        n_best: int = 1,
        times: FrameTimes | None = None,
    ) -> None:
        self.tokenizer, self.beam, self.n_best, self.times = tokenizer, beam, n_best, times
        alphabet = Alphabet(["", *map(_Label, tokenizer.labels[1:])], is_bpe=tokenizer.word_boundary != " ")
        self._decoder = BeamSearchDecoderCTC(alphabet, _WordScores(lm, tokenizer, alpha, beta) if lm else None)
        self._has_lm = lm is not None
        weakref.finalize(self, self._decoder.cleanup)  # pyctcdecode keeps every n-gram in a class variable

    def decode(self, log_probs: LogProbs) -> list[Hypothesis]:
        """The best hypotheses for log_probs (T, V); at least one.

        Raises:
            AsrkitError: the shape is not (T, labels), or a value is not a number.
        """
        log_probs = checked(log_probs, self.tokenizer)
        if not len(log_probs):
            return [Hypothesis("", () if self.times else None, 0.0, 0.0 if self._has_lm else None, 0.0)]
        beams = self._decoder.decode_beams(
            log_probs,
            beam_width=self.beam,
            beam_prune_logp=PRUNE_LOGP,
            token_min_logp=MIN_TOKEN_LOGP,
            prune_history=self.n_best == 1,
        )
        return [self._hypothesis(*beam) for beam in beams[: self.n_best]]

    def _hypothesis(self, text: str, _state: Any, frames: list[Any], logp: float, score: float) -> Hypothesis:
        words = None
        if self.times:
            words = tuple(
                WordTime(self.tokenizer.read(word), *self.times.span(first, end)) for word, (first, end) in frames
            )
        text = self.tokenizer.read(text)
        return Hypothesis(text, words, float(logp), float(score - logp) if self._has_lm else None, float(score))


class _Label(str):
    """A label that does not look as if it ended a word.

    pyctcdecode asks `label[-1:] == "▁"`, meant for the unknown piece "▁⁇▁", and then breaks the word of whichever beam
    comes next. The lone "▁" of SentencePiece answers yes, too, and words of unrelated beams fall apart.
    """

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        return "" if key == slice(-1, None) else super().__getitem__(key)


class _WordScores(AbstractLanguageModel):
    """An NGram as pyctcdecode asks for scores.

    Instead of pyctcdecode's own: that one wants words in the file's case, builds a trie of Python objects, and scores
    a hypothesis that ends in a space as if an unknown word followed.
    """

    def __init__(self, lm: NGram, tokenizer: Tokenizer, alpha: float, beta: float) -> None:
        self.lm, self.tokenizer, self.alpha, self.beta = lm, tokenizer, alpha, beta

    @property
    def order(self) -> int:
        return self.lm.order

    def get_start_state(self) -> Any:
        return self.lm.start()

    def score_partial_token(self, partial: str) -> float:
        """0 where some known word begins so, else a penalty that the word may still get rid of."""
        spelled = self.lm.spelled
        place = bisect_left(spelled, partial)
        if place < len(spelled) and spelled[place].startswith(partial):
            return 0.0
        return UNKNOWN_LOG10 * max(1.0, len(partial) / UNKNOWN_LETTERS)

    def score(self, state: Any, word: str, is_last_word: bool = False) -> tuple[float, Any]:
        log10, after, bonus = 0.0, state, 0.0
        if word:
            word = self.tokenizer.read(word)
            log10, after = self.lm.score(state, word)
            log10 += 0.0 if word in self.lm.words else UNKNOWN_LOG10
            bonus = self.beta
        if is_last_word:
            log10 += self.lm.end_score(after)
        return self.alpha * log10 * LN_10 + bonus, after


def _runs(best: NDArray[np.integer[Any]], best_logp: LogProbs) -> Iterator[Span]:
    """The frames that follow each other with the same best label, blanks included."""
    start = 0
    for label, frames in groupby(best.tolist()):
        end = start + len(list(frames))
        yield Span(label, start, end, float(best_logp[start:end].max()))
        start = end


def checked(log_probs: LogProbs, tokenizer: Tokenizer) -> LogProbs:
    """As float64, so that NumPy 1 and 2 add up alike."""
    if log_probs.ndim != 2 or log_probs.shape[1] != len(tokenizer.labels):
        raise AsrkitError(f"log-probs have shape {log_probs.shape}; wanted (frames, {len(tokenizer.labels)} labels)")
    if np.isnan(log_probs).any():
        raise AsrkitError("the log-probs hold values that are not numbers; the model is broken (did training diverge?)")
    return log_probs.astype(np.float64)


# Many utterances, in processes that share one n-gram --------------------------------------------------------------

Search = Callable[[LogProbs], list[Hypothesis]]


@dataclass(frozen=True)
class Searched:
    """What a search found in one utterance, and what it cost."""

    hypotheses: list[Hypothesis]
    cpu_s: float  # of the search alone, in whichever process


def search_all(search: Search, log_probs: Sequence[LogProbs], *, jobs: int = 1) -> Generator[Searched, None, None]:
    """Searches every item of log_probs, each (T, V), in its order; in `jobs` processes where forking is safe (Linux).

    The processes inherit `search` and `log_probs`: nothing large is copied, and an n-gram is in memory once.

    Raises:
        AsrkitError: one of the processes was killed.
    """
    jobs = min(jobs, len(log_probs))
    if jobs <= 1 or not sys.platform.startswith("linux"):
        yield from (_search_timed(search, item) for item in log_probs)
        return
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("fork"), initializer=_inherit, initargs=(search, log_probs)
    )
    try:
        yield from pool.map(_search_inherited, range(len(log_probs)), chunksize=4)
    except BrokenProcessPool as error:
        raise AsrkitError(
            f"one of {jobs} search processes was killed, most likely for want of memory; try fewer with --jobs"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_inherited: tuple[Search, Sequence[LogProbs]]  # in a search process: what it was forked with


def _inherit(search: Search, log_probs: Sequence[LogProbs]) -> None:
    global _inherited
    _inherited = (search, log_probs)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends the work
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    """A killed parent closes no queue that its other children hold too: without this they would wait for ever."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_S)
    os._exit(1)


def _search_inherited(number: int) -> Searched:
    search, log_probs = _inherited
    return _search_timed(search, log_probs[number])


def _search_timed(search: Search, log_probs: LogProbs) -> Searched:
    before = time.thread_time()
    hypotheses = search(log_probs)
    return Searched(hypotheses, time.thread_time() - before)

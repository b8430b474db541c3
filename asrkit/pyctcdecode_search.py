"""Log-probs (T, V) in, hypotheses out: pyctcdecode's beam search with an n-gram of words, for comparison.

Shapes: T frames, V labels.
"""

import weakref
from bisect import bisect_left
from typing import Any, SupportsIndex

from pyctcdecode.alphabet import Alphabet
from pyctcdecode.decoder import BeamSearchDecoderCTC
from pyctcdecode.language_model import AbstractLanguageModel

from asrkit.ngram import NGram
from asrkit.search import LN_10, Hypothesis, LogProbs, checked
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import Tokenizer
from asrkit.word_times import FrameTimes, WordTime

UNKNOWN_LETTERS = 6  # a partial word that begins no known word costs more for each letter beyond these


class BeamSearch:
    """CTC prefix beam search over whole words: log-probs (T, V) -> the `n_best` best hypotheses, best first.

    Ranked by ln P(acoustic) + alpha * ln P(n-gram) + beta * words. Beams that share the words an n-gram can see, the
    partial word and the last label are kept once, when only the best hypothesis is asked for.
    """

    name = "pyctcdecode"

    def __init__(
        self,
        tokenizer: Tokenizer,
        options: DecodeSettings = DecodeSettings(),
        *,
        lm: NGram | None = None,
        times: FrameTimes | None = None,
    ) -> None:
        """Whatever concerns labels, hotwords or a closed vocabulary is not for this engine."""
        self.tokenizer, self.options, self.times, self.lm = tokenizer, options, times, lm
        alphabet = Alphabet(["", *map(_Label, tokenizer.labels[1:])], is_bpe=tokenizer.word_boundary != " ")
        self._decoder = BeamSearchDecoderCTC(alphabet, _WordScores(lm, tokenizer, options) if lm else None)
        weakref.finalize(self, self._decoder.cleanup)  # pyctcdecode keeps every n-gram in a class variable

    def with_options(self, options: DecodeSettings) -> "BeamSearch":
        """The same search with other options."""
        return BeamSearch(self.tokenizer, options, lm=self.lm, times=self.times)

    def decode(self, log_probs: LogProbs) -> list[Hypothesis]:
        """The best hypotheses for log_probs (T, V); at least one.

        Raises:
            AsrkitError: the shape is not (T, labels), or a value is not a number.
        """
        log_probs = checked(log_probs, self.tokenizer)
        if not len(log_probs):
            return [Hypothesis("", () if self.times else None, 0.0, 0.0 if self.lm else None, 0.0)]
        beams = self._decoder.decode_beams(
            log_probs,
            beam_width=self.options.beam,
            beam_prune_logp=self.options.beam_prune_logp,
            token_min_logp=self.options.token_min_logp,
            prune_history=self.options.n_best == 1,
        )
        return [self._hypothesis(*beam) for beam in beams[: self.options.n_best]]

    def lm_score(self, text: str) -> float:
        """alpha * ln P(text) + beta * words, as `decode` adds it to a hypothesis (natural logarithm)."""
        if self.lm is None:
            return 0.0
        words = text.split()
        unknown = sum(word not in self.lm.words for word in words)
        log10 = self.lm.text_score(text) + self.options.unknown_score * unknown
        return self.options.alpha * LN_10 * log10 + self.options.beta * len(words)

    def _hypothesis(self, text: str, _state: Any, frames: list[Any], logp: float, score: float) -> Hypothesis:
        words = None
        if self.times:
            words = tuple(
                WordTime(self.tokenizer.read(word), *self.times.span(first, end)) for word, (first, end) in frames
            )
        text = self.tokenizer.read(text)
        return Hypothesis(text, words, float(logp), float(score - logp) if self.lm else None, float(score))


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

    def __init__(self, lm: NGram, tokenizer: Tokenizer, options: DecodeSettings) -> None:
        self.lm, self.tokenizer = lm, tokenizer
        self.alpha, self.beta, self.unk_score = options.alpha, options.beta, options.unknown_score

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
        return self.unk_score * max(1.0, len(partial) / UNKNOWN_LETTERS)

    def score(self, state: Any, word: str, is_last_word: bool = False) -> tuple[float, Any]:
        log10, after, bonus = 0.0, state, 0.0
        if word:
            word = self.tokenizer.read(word)
            log10, after = self.lm.score(state, word)
            log10 += 0.0 if word in self.lm.words else self.unk_score
            bonus = self.beta
        if is_last_word:
            log10 += self.lm.end_score(after)
        return self.alpha * log10 * LN_10 + bonus, after

"""Log-probs (T, V) in, hypotheses out: our own beam search, with an n-gram of words, of labels, or both.

The loops are in ctc_beam.py.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asrkit.align import align_words, log_likelihood
from asrkit.automaton import SLOT, STATE, UNIGRAM, Automaton, Tables
from asrkit.beams import Beams, Work, begin, new_beams, new_work, with_room
from asrkit.ctc_beam import best_text, feed, final_scores, search
from asrkit.errors import AsrkitError
from asrkit.hotwords import build_hotwords, hear, most_of_a_letter
from asrkit.lexicon import ROOT, Lexicon, build_alphabet, build_lexicon
from asrkit.n_best import Labels, best_texts
from asrkit.search import LN_10, TOLERANCE, Hypothesis, LogProbs, check_shape, not_normalised
from asrkit.search_model import End, Handle, Model, Rules, Start, handle, text_score
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import Tokenizer, written
from asrkit.word_times import FrameTimes

# An unknown word costs unk_score once more for so many labels beyond those that a known word begins with; else whole
# sentences are glued together to a single unknown word.
UNKNOWN_LABELS = 5
# Where only known words may be said and another one was, the beams that took its first labels all end in the middle of
# some word. So a few others stay that heard something else there, up to RESERVE_DEPTH times as far behind the best one
# as beams may be otherwise.
RESERVE = 64
RESERVE_DEPTH = 3.0
# in place of an n-gram
_NOTHING = Tables(np.zeros(1, dtype=UNIGRAM), np.zeros(1, dtype=STATE), np.zeros(1, dtype=SLOT))


class NativeSearch:
    """CTC prefix beam search: log-probs (T, V) -> the `n_best` best hypotheses, best first.

    Ranked by ln P(acoustic) + alpha * ln P(n-gram of words) + beta * words, likewise for an n-gram of labels, and with
    hotword_score for each word of a hotword. An unknown word's probability is 10^unk_score times what the n-gram says,
    or less (see UNKNOWN_LABELS).

    May be used by several threads at once.
    """

    name = "native"

    def __init__(
        self,
        tokenizer: Tokenizer,
        options: DecodeSettings = DecodeSettings(),
        *,
        words: Automaton | None = None,
        lexicon: Lexicon | None = None,
        tokens: Automaton | None = None,
        times: FrameTimes | None = None,
    ) -> None:
        """`lexicon` holds the words that the tokenizer can spell, with their numbers in `words`. With `times` every
        word has its own, by forced alignment."""
        self.tokenizer, self.options, self.words, self.tokens, self.times = tokenizer, options, words, tokens, times
        self.lexicon = lexicon
        self._model = _model(tokenizer, options, words, lexicon, tokens)
        spelling = self._model.spelling
        _, phrase = hear(self._model.hotwords, np.int32(ROOT), spelling.letters, 0, spelling.boundary)
        # always of one type: Numba compiles anew for another
        starts = np.array([words.start if words else 0, tokens.start if tokens else 0], dtype=np.int32)
        self._start = Start(starts[0], starts[1], phrase)
        self._end = End(words.end if words else 0, tokens.end if tokens else 0)
        self._rooms: list[_Room] = []  # as many as threads have searched at a time

    def with_options(self, options: DecodeSettings) -> "NativeSearch":
        """The same search with other options."""
        return NativeSearch(
            self.tokenizer, options, words=self.words, lexicon=self.lexicon, tokens=self.tokens, times=self.times
        )

    def decode(self, log_probs: LogProbs) -> list[Hypothesis]:
        """The best hypotheses for log_probs (T, V), best first; at least one.

        Raises:
            AsrkitError: the shape is not (T, labels), or a frame's probabilities do not add up to 1.
        """
        check_shape(log_probs, self.tokenizer)
        try:
            room = self._rooms.pop()
        except IndexError:  # all in use, by as many threads
            room = self._new_room()
        room.beams.used[:] = 0  # else there would be room for the last utterance, too
        room = room.for_more(len(log_probs), self._model.rules.detours)
        frame, total, best = search(room.handle, room.beams, _floats(log_probs), TOLERANCE)
        if frame >= 0:
            raise AsrkitError(not_normalised(frame, total))
        found = [best] if self.options.n_best == 1 else self._n_best(room, log_probs)
        self._rooms.append(room)
        return [self._hypothesis(log_probs, *each) for each in found]

    def stream(self) -> "SearchStream":
        """A search that is fed piece by piece."""
        return SearchStream(self)

    def lm_score(self, text: str) -> float:
        """What the n-grams and hotwords add to a normalised text that the tokenizer spells (natural logarithm)."""
        labels = np.array(self.tokenizer.encode(text), dtype=np.int32)
        return float(text_score(self._model, self._start, self._end, self._new_work(), labels))

    def _new_room(self) -> "_Room":
        work = self._new_work()
        return _Room(new_beams(self.options.beam), work, handle(self._model, self._start, self._end, work))

    def _new_work(self) -> Work:
        return new_work(self.options.beam, len(self.tokenizer.labels))

    def _n_best(self, room: "_Room", log_probs: LogProbs) -> list[tuple[NDArray[np.int32], float, float]]:
        """Labels, score, and the n-grams' part of it; `log_probs` (T, V) of all that was heard."""
        beams, work, _ = room
        scores, whole = final_scores(self._model, self._end, beams, work)  # (B,)
        if not whole:  # nothing to choose from: no beam can end here
            return [best_text(self._model, self._start, self._end, beams, work)]

        def said(labels: Labels) -> float:
            text = np.array(labels, dtype=np.int32)
            return float(text_score(self._model, self._start, self._end, work, text))

        def exact(labels: Labels) -> float:
            return log_likelihood(log_probs, labels) + said(labels)

        found = best_texts(beams, scores, self.options.n_best, self.tokenizer, exact)
        return [(np.array(labels, dtype=np.int32), score, said(labels)) for labels, score in found]

    def _hypothesis(self, log_probs: LogProbs, labels: NDArray[np.int32], score: float, lm_score: float) -> Hypothesis:
        has_lm = self.words is not None or self.tokens is not None or bool(self.options.hotwords)
        text = self.tokenizer.decode(labels.tolist())
        words = align_words(log_probs, labels.tolist(), self.tokenizer, self.times) if self.times else None
        return Hypothesis(text, words, float(score - lm_score), float(lm_score) if has_lm else None, float(score))


def _floats(log_probs: LogProbs) -> LogProbs:
    """Half precision, as log-probs are kept in files, is unknown to Numba; and views, or what may not be written to,
    would be compiled for anew."""
    kind = np.promote_types(log_probs.dtype, np.float32)
    as_they_are = log_probs.dtype == kind and log_probs.flags.c_contiguous and log_probs.flags.writeable
    return log_probs if as_they_are else np.array(log_probs, dtype=kind, order="C")


class _Room(NamedTuple):
    """What one thread searches in."""

    beams: Beams
    work: Work
    handle: Handle

    def for_more(self, frames: int, detours: bool) -> "_Room":
        """The same, with room for so many more frames."""
        beams = with_room(self.beams, frames, detours)
        return self if beams is self.beams else self._replace(beams=beams)


class SearchStream:
    """One utterance, fed with log-probs in pieces: it finds exactly what the whole would give.

    NativeSearch.stream makes one.
    """

    def __init__(self, search: NativeSearch) -> None:
        self._search = search
        self._room = search._new_room()
        begin(self._room.beams, self._room.work, search._model.lexicon.nodes[ROOT], *search._start)
        self._frames = 0
        self._pieces: list[LogProbs] = []  # for word times and scores of the n best

    def feed(self, log_probs: LogProbs) -> None:
        """More log-probs (T, V).

        Raises:
            AsrkitError: as NativeSearch.decode; the piece is then as if it had not come.
        """
        check_shape(log_probs, self._search.tokenizer)
        self._room = self._room.for_more(len(log_probs), self._search._model.rules.detours)
        frame, total = feed(self._room.handle, self._room.beams, _floats(log_probs), TOLERANCE)
        if frame >= 0:
            raise AsrkitError(not_normalised(self._frames + frame, total))
        self._frames += len(log_probs)
        if self._search.times or self._search.options.n_best > 1:
            self._pieces.append(log_probs)

    def hypotheses(self) -> list[Hypothesis]:
        """What would be found if the utterance ended here, best first; more may be fed afterwards."""
        search = self._search
        log_probs = np.concatenate([np.zeros((0, len(search.tokenizer.labels)), dtype=np.float32), *self._pieces])
        if search.options.n_best == 1:
            found = [best_text(search._model, search._start, search._end, self._room.beams, self._room.work)]
        else:
            found = search._n_best(self._room, log_probs)
        return [search._hypothesis(log_probs, *each) for each in found]


def _model(
    tokenizer: Tokenizer,
    options: DecodeSettings,
    words: Automaton | None,
    lexicon: Lexicon | None,
    tokens: Automaton | None,
) -> Model:
    alphabet = build_alphabet(tokenizer)
    grammar = tokenizer.grammar
    follows = grammar.follows if grammar else np.zeros((1, len(tokenizer.labels)), dtype=np.int32)
    if lexicon is None:
        lexicon = build_lexicon(alphabet, [], [], np.zeros(1, dtype=np.float32))
    word_weight = options.alpha * LN_10
    outside = unknown_most = 1.0
    if words:
        unknown_most = float(np.exp(word_weight * (words.unknown_most + options.unknown_score) + options.beta))
        unknown = word_weight * (float(words.tables.unigrams["log10"][words.unknown]) + options.unknown_score)
        outside = 0.0 if options.closed_vocab else float(np.exp(unknown))
    token_of = [tokens.number(written(label)) if tokens else 0 for label in tokenizer.labels]
    hotwords = build_hotwords(options.hotwords, tokenizer, alphabet, options.hotword_score)
    label_letters = int((alphabet.spelling.labels["end"] - alphabet.spelling.labels["first"]).max())
    rules = Rules(
        has_grammar=grammar is not None,
        has_words=words is not None,
        word_weight=word_weight,
        word_bonus=options.beta,
        unknown=words.unknown if words else 0,
        unknown_score=word_weight * options.unknown_score,
        unknown_label=float(np.exp(word_weight * options.unknown_score / UNKNOWN_LABELS)),
        unknown_most=unknown_most,
        closed=options.closed_vocab,
        has_tokens=tokens is not None,
        token_weight=options.token_alpha * LN_10,
        token_bonus=options.token_beta,
        has_phrases=bool(options.hotwords),
        phrase_most=most_of_a_letter(hotwords) ** label_letters,
        prune=float(np.exp(options.beam_prune_logp)),
        reserve=RESERVE if options.closed_vocab else 0,
        reserve_prune=float(np.exp(options.beam_prune_logp * (RESERVE_DEPTH if options.closed_vocab else 1.0))),
        least_logp=options.token_min_logp,
        # where only known words may be said, there may be no other way on than by an unlikely label
        lowest_logp=min(options.token_min_logp, options.beam_prune_logp),
        stuck=float(np.exp(options.token_min_logp / 2)) if options.closed_vocab else 0.0,
        detours=options.n_best > 1,
    )
    return Model(
        rules,
        np.ascontiguousarray(follows, dtype=np.int32),
        grammar.ends if grammar else np.ones(1, dtype=np.bool_),
        alphabet.spelling,
        lexicon.with_look_ahead(word_weight, outside),
        words.tables if words else _NOTHING,
        tokens.tables if tokens else _NOTHING,
        np.array(token_of, dtype=np.int32),
        hotwords,
    )

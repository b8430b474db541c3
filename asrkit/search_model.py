"""What a search asks of its n-grams, lexicon and hotwords, as arrays for Numba; and what they say to words and texts.

Scores are natural logarithms, weights and bonuses included.

Shapes: V labels, S states of the grammar, U labels of a text.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.experimental import structref
from numpy.typing import NDArray

from asrkit.automaton import Tables, recall, score_word
from asrkit.hotwords import Hotwords, hear
from asrkit.lexicon import NO_WORD, ROOT, Lexicon, Spelling, child
from asrkit.loops import compiled, lean


class Rules(NamedTuple):
    """The numbers."""

    has_grammar: bool
    has_words: bool  # an n-gram of words
    word_weight: float  # of its log10
    word_bonus: float  # for each word
    unknown: int  # the word <unk>
    unknown_score: float  # for each unknown word, besides the n-gram's
    unknown_label: float  # exp of what each label costs that follows one which no known word goes on with
    unknown_most: float  # exp of the most that an unknown word can bring, all included
    closed: bool  # only the n-gram's words
    has_tokens: bool  # an n-gram of labels
    token_weight: float
    token_bonus: float  # for each label
    has_phrases: bool
    phrase_most: float  # exp of the most that a label can bring to them
    prune: float  # beams whose mass is so small a part of the best one's are dropped
    reserve: int  # where fewer beams than this are left, the best of the others stay as well, down to
    reserve_prune: float  # this part of the best one's mass
    least_logp: float  # labels below it are not tried, the best of the frame aside
    lowest_logp: float  # the same, where no beam's mass is left to be more than
    stuck: float  # this part of the best one before; 0 for never
    detours: bool  # the way to other hypotheses than the best is kept


class Model(NamedTuple):
    """What does not change from frame to frame."""

    rules: Rules
    follows: NDArray[np.int32]  # (S, V) the tokenizer's grammar: one state where there is none
    ends: NDArray[np.bool_]  # (S,) whether a text may end there
    spelling: Spelling
    lexicon: Lexicon
    words: Tables
    tokens: Tables
    token_of: NDArray[np.int32]  # (V,) label -> word of the n-gram of labels
    hotwords: Hotwords


class Start(NamedTuple):
    """The states at the start of a text."""

    state: np.int32
    token_state: np.int32
    phrase: np.int32


class End(NamedTuple):
    """The n-grams' words for the end of a text."""

    word: int
    token: int


@structref.register
class _HandleType(types.StructRef):
    """Numba's type of a Handle."""

    def preprocess_fields(self, fields: Any) -> Any:
        return tuple((name, types.unliteral(kind)) for name, kind in fields)


class Handle(structref.StructRefProxy):
    """What a search needs besides the beams, `model`, `start`, `end` and `work`, as one value of Numba's own: to take
    forty arrays from Python costs 50 µs in each call, a tenth of the search of a short utterance."""

    def __new__(cls, model: Any, start: Any, end: Any, work: Any) -> "Handle":
        made: Handle = structref.StructRefProxy.__new__(cls, model, start, end, work)
        return made


structref.define_proxy(Handle, _HandleType, ["model", "start", "end", "work"])


@compiled
def handle(model: Any, start: Any, end: Any, work: Any) -> Any:
    """Makes one."""
    return Handle(model, start, end, work)


@lean
def word_score(rules: Any, word_at: Any, tables: Any, memo: Any, place: Any, state: Any) -> tuple[float, Any]:
    """What the n-gram says to the word that ends at a place of the lexicon, and the state behind it."""
    word, bonus = word_at[place], rules.word_bonus
    if word == NO_WORD:
        if rules.closed:
            return -np.inf, np.int32(state)
        word = np.int32(rules.unknown)
        bonus += rules.unknown_score
    log10, after = recall(memo, tables, state, word)
    return rules.word_weight * log10 + bonus, after


@lean
def end_score(model: Any, memo: Any, end: Any, place: Any, state: Any, token_state: Any, phrase: Any) -> float:
    """What the n-grams and hotwords say when the text ends there."""
    rules, _, _, spelling, lexicon, words, tokens, _, hotwords = model
    score = 0.0
    if rules.has_words:
        if place != ROOT:
            score, state = word_score(rules, lexicon.words, words, memo, place, state)
        log10, _ = recall(memo, words, state, end.word)
        score += rules.word_weight * log10
    if rules.has_tokens:
        log10, _ = score_word(tokens, token_state, end.token)
        score += rules.token_weight * log10
    if rules.has_phrases:
        gain, last = hear(hotwords, phrase, spelling.letters, 0, spelling.boundary)
        score += np.log(gain / hotwords.states[last].potential)
    return score


@lean
def text_score(model: Any, start: Any, end: Any, work: Any, text: Any) -> float:
    """What the n-grams and hotwords say to a whole text, given as labels (U,)."""
    rules, _, _, spelling, lexicon, words, tokens, token_of, hotwords = model
    memo = work.memo
    place, state, token_state, phrase = np.int32(ROOT), start.state, start.token_state, start.phrase
    score = 0.0
    for number in range(len(text)):
        label = text[number]
        taken = spelling.labels[label]
        if rules.has_words:
            if taken.ends_word and place != ROOT:
                said, state = word_score(rules, lexicon.words, words, memo, place, state)
                score, place = score + said, np.int32(ROOT)
            if place == len(lexicon.nodes) - 1:
                score += np.log(rules.unknown_label) if taken.own < taken.end else 0.0
            else:
                for at in range(taken.own, taken.end):
                    place = child(lexicon.nodes, place, spelling.letters[at])
        if rules.has_phrases:
            gain, phrase = hear(hotwords, phrase, spelling.letters, taken.first, taken.end)
            score += np.log(gain)
        if rules.has_tokens:
            log10, token_state = score_word(tokens, token_state, token_of[label])
            score += rules.token_weight * log10 + rules.token_bonus
    return score + end_score(model, memo, end, place, state, token_state, phrase)

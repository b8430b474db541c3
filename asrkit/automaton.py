"""The n-grams of an ARPA file in; a back-off automaton that scores word after word out.

A state is a context: the longest words behind which the model says anything, at most N - 1. From a state a word leads
to the next by one look into a hash table; where the table has nothing, the state's back-off is added and its shorter
state asked (Katz 1987), down to the empty context, which knows every word. Two histories that the model cannot tell
apart have the same state, as in KenLM (Heafield 2011).

Shapes: V words, S states, C slots of the hash table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asrkit.arpa import NO_WORD, Arpa, find_word
from asrkit.errors import AsrkitError
from asrkit.loops import compiled, lean

EMPTY = 0  # the state of the empty context
NO_UNKNOWN_LOG10 = -100.0  # of an unknown word in a model without <unk>, as KenLM has it
FREE = np.uint64(0xFFFFFFFFFFFFFFFF)
MAX_LOAD = 0.7  # of the hash table
MARKS = UNKNOWN, BEGIN, END = ("<unk>", "<s>", "</s>")


UNIGRAM = np.dtype([("log10", "f4"), ("after", "i4")])  # after: the state that it leads to
STATE = np.dtype([("back_off", "f4"), ("shorter", "i4")])  # shorter: a state
SLOT = np.dtype([("key", "u8"), ("log10", "f4"), ("after", "i4")])  # key: state and word, or FREE


class Tables(NamedTuple):
    """What Numba needs; log10 throughout. Arrays of records, so that a look costs one line of the processor's cache."""

    unigrams: NDArray[np.void]  # (V,) UNIGRAM
    states: NDArray[np.void]  # (S,) STATE
    slots: NDArray[np.void]  # (C,) SLOT


@dataclass(frozen=True, kw_only=True)
class Automaton:
    """An n-gram model, ready to be asked. Words are numbers, in the order of the ARPA's 1-grams."""

    counts: tuple[int, ...]  # of n-grams, by length
    unreachable: int  # of these, for want of their contexts
    unknown: int  # the numbers of <unk>, <s> and </s>
    begin: int
    end: int
    words: NDArray[np.uint8]  # their UTF-8, one behind the other
    word_offsets: NDArray[np.int64]  # (V + 1,)
    word_slots: NDArray[np.int32]  # hash table, see arpa.find_word
    tables: Tables

    @property
    def order(self) -> int:
        return len(self.counts)

    @property
    def start(self) -> int:
        """The state at the start of a sentence."""
        return int(self.tables.unigrams["after"][self.begin])

    @cached_property
    def unknown_most(self) -> float:
        """No context gives an unknown word a greater log10 probability than this."""
        unigrams, states, slots = self.tables
        log10 = float(unigrams["log10"][self.unknown])
        is_unknown = (slots["key"] & np.uint64(0xFFFFFFFF)) == self.unknown
        is_unknown &= slots["key"] != FREE
        log10 = float(max(log10, slots["log10"][is_unknown].max(initial=-np.inf)))
        positive = max(0.0, float(states["back_off"].max()))
        return min(0.0, log10 + positive * (self.order - 1))

    def number(self, word: str) -> int:
        """That of <unk> where the model does not know the word."""
        return number_of(word, self.words, self.word_offsets, self.word_slots, self.unknown)

    def word_list(self) -> list[str]:
        """All its words, marks included, by number."""
        text, offsets = self.words.tobytes(), self.word_offsets.tolist()
        return [text[first:end].decode("utf-8") for first, end in pairwise(offsets)]

    def score(self, state: int, word: int) -> tuple[float, int]:
        """log10 P(word | state) and the state after it."""
        log10, after = score_word(self.tables, np.int32(state), np.int32(word))
        return float(log10), int(after)

    def scores(self, words: NDArray[np.int32]) -> NDArray[np.float64]:
        """log10 P of each word (W,) of a sentence behind those before it."""
        found: NDArray[np.float64] = _score_all(self.tables, self.start, words)
        return found

    def sentence_score(self, words: Sequence[str]) -> float:
        """log10 P of a whole sentence, its end included."""
        return float(self.scores(np.array([*map(self.number, words), self.end], dtype=np.int32)).sum())


def build_automaton(arpa: Arpa, path: Path) -> Automaton:
    """`path` is for the error texts.

    Raises:
        AsrkitError: no <s> or </s> among the 1-grams, or an n-gram that is there twice.
    """
    listed = (arpa.words.bytes, arpa.words.offsets, arpa.word_slots)
    unknown, begin, end = (number_of(mark, *listed, NO_WORD) for mark in MARKS)
    if unknown == NO_WORD:
        unknown = number_of("<UNK>", *listed, NO_WORD)
    for mark, number in ((BEGIN, begin), (END, end)):
        if number == NO_WORD:
            raise AsrkitError(f"{path} has no {mark} among its 1-grams; wanted a model of sentences")
    unigrams, left = arpa.orders[0].log10, arpa.orders[0].back_off
    if unknown == NO_WORD:
        unknown = len(unigrams)
        unigrams = np.append(unigrams, np.float32(NO_UNKNOWN_LOG10))
        left = np.append(left, np.float32(0))

    counts = tuple(len(order.log10) for order in arpa.orders)
    longer = arpa.orders[1:]
    capacity = 1 << max(4, int(sum(counts[1:]) / MAX_LOAD).bit_length())
    # not zeros: for these NumPy asks for no large pages, and with small ones a look misses in the page table, too
    slots, nodes = np.empty(capacity, dtype=SLOT), np.full(capacity, EMPTY, dtype=np.int32)
    keys, log10, after = slots["key"], slots["log10"], slots["after"]  # views
    keys[:], log10[:], after[:] = FREE, 0, 0
    firsts = np.cumsum([1, len(unigrams), *counts[1:]])  # the node of the first n-gram of each length; 0 is EMPTY
    back_offs = np.concatenate([[np.float32(0)], left, *(order.back_off for order in longer[:-1])])
    states = np.empty(len(back_offs), dtype=STATE)
    states["back_off"], states["shorter"] = back_offs, 0
    back_off, shorter = states["back_off"], states["shorter"]
    has_longer = np.zeros(firsts[len(arpa.orders) - 1] if longer else len(back_off), dtype=np.bool_)
    unreachable = 0
    for order, first in zip(longer, firsts[1:], strict=False):
        missing, twice = _insert(order.ngrams, order.log10, int(first), keys, nodes, log10, has_longer)
        if twice >= 0:
            found = " ".join(_word(arpa, number) for number in order.ngrams[twice])
            raise AsrkitError(f"{path} has the n-gram {found!r} twice; the file is damaged")
        unreachable += missing
    state_of = np.zeros(len(back_off), dtype=np.int32)
    words = np.zeros(len(unigrams), dtype=UNIGRAM)
    words["log10"], words["after"] = unigrams, _resolve_unigrams(len(unigrams), back_off, has_longer, state_of)
    for n, (order, first) in enumerate(zip(longer, firsts[1:], strict=False), start=2):
        is_last = n == len(arpa.orders)
        _resolve(order.ngrams, int(first), is_last, keys, nodes, back_off, has_longer, state_of, shorter, after)
    return Automaton(
        counts=counts,
        unreachable=unreachable,
        unknown=unknown,
        begin=begin,
        end=end,
        words=arpa.words.bytes,
        word_offsets=arpa.words.offsets,
        word_slots=arpa.word_slots,
        tables=Tables(words, states, slots),
    )


def number_of(
    word: str, words: NDArray[np.uint8], offsets: NDArray[np.int64], slots: NDArray[np.int32], unknown: int
) -> int:
    """The word's number in these lists (arpa.find_word); `unknown` where it is not there."""
    encoded = np.frombuffer(word.encode("utf-8"), dtype=np.uint8)
    found, _ = find_word(encoded, 0, len(encoded), words, offsets, slots)
    return int(found) if found != NO_WORD else unknown


def _word(arpa: Arpa, number: int) -> str:
    first, end = arpa.words.offsets[number : number + 2]
    return arpa.words.bytes[first:end].tobytes().decode("utf-8")


# Numba -------------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, inline="always")
def _key(state: Any, word: Any) -> Any:
    return (np.uint64(state) << np.uint64(32)) | np.uint64(word)


@njit(cache=True, nogil=True, inline="always")
def _hash(key: Any) -> Any:
    mixed = key * np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplicative hash, with 2^64 / golden ratio
    return mixed ^ (mixed >> np.uint64(32))


@compiled
def _find(keys: Any, state: Any, word: Any) -> Any:
    """The slot of a state and a word, or the free one where they would go; and whether they are there."""
    key = _key(state, word)
    mask = np.uint64(len(keys) - 1)
    slot = _hash(key) & mask
    while keys[slot] != key:
        if keys[slot] == FREE:
            return slot, False
        slot = (slot + np.uint64(1)) & mask
    return slot, True


@lean
def score_word(tables: Any, state: Any, word: Any) -> Any:
    """log10 P(word | state) and the state after it."""
    unigrams, states, slots = tables
    mask = np.uint64(len(slots) - 1)
    score = 0.0
    while state != EMPTY:
        key = _key(state, word)
        place = _hash(key) & mask
        found = slots[place].key
        while found != key and found != FREE:
            place = (place + np.uint64(1)) & mask
            found = slots[place].key
        if found == key:
            return score + slots[place].log10, slots[place].after
        score += states[state].back_off
        state = states[state].shorter
    return score + unigrams[word].log10, unigrams[word].after


@lean
def recall(memo: Any, tables: Any, state: Any, word: Any) -> Any:
    """The same, remembered: the memo (SLOT, a power of 2) is small enough for the processor's cache, the tables are
    not."""
    key = _key(state, word)
    place = _hash(key) & np.uint64(len(memo) - 1)
    known = memo[place]
    if known.key != key:
        known.log10, known.after = score_word(tables, state, word)
        known.key = key
    return known.log10, known.after


@compiled
def _score_all(tables: Any, state: int, words: Any) -> Any:
    scores = np.empty(len(words))
    for place in range(len(words)):
        scores[place], state = score_word(tables, state, words[place])
    return scores


@compiled
def _node(keys: Any, nodes: Any, ngrams: Any, row: int, first: int, end: int) -> Any:
    """The node of the words from column `first` to `end`; EMPTY where the model has no such n-gram."""
    if first == end:
        return EMPTY
    node = np.int64(1 + ngrams[row, first])
    for column in range(first + 1, end):
        slot, is_there = _find(keys, node, ngrams[row, column])
        if not is_there:
            return EMPTY
        node = np.int64(nodes[slot])
    return node


@compiled
def _insert(
    ngrams: Any, scores: Any, first: int, keys: Any, nodes: Any, log10: Any, has_longer: Any
) -> tuple[int, int]:
    """Every n-gram behind its context. Gives how many have none, and the row of one that is there twice, or -1."""
    missing = 0
    count, n = ngrams.shape
    for row in range(count):
        context = _node(keys, nodes, ngrams, row, 0, n - 1)
        if context == EMPTY:
            missing += 1
            continue
        slot, is_there = _find(keys, context, ngrams[row, n - 1])
        if is_there:
            return missing, row
        keys[slot] = _key(context, ngrams[row, n - 1])
        nodes[slot], log10[slot] = first + row, scores[row]
        has_longer[context] = True
    return missing, -1


@compiled
def _resolve_unigrams(count: int, back_off: Any, has_longer: Any, state_of: Any) -> Any:
    after = np.zeros(count, dtype=np.int32)
    for word in range(count):
        node = word + 1
        if has_longer[node] or back_off[node] != 0:
            state_of[node] = after[word] = node
    return after


@compiled
def _resolve(
    ngrams: Any,
    first: int,
    is_last: bool,
    keys: Any,
    nodes: Any,
    back_off: Any,
    has_longer: Any,
    state_of: Any,
    shorter: Any,
    after: Any,
) -> None:
    """The state after each n-gram: itself, if the model says anything behind it, else that of its longest end."""
    count, n = ngrams.shape
    for row in range(count):
        context = _node(keys, nodes, ngrams, row, 0, n - 1)
        if context == EMPTY:
            continue
        state = np.int32(EMPTY)
        for start in range(1, n):
            node = _node(keys, nodes, ngrams, row, start, n)
            if node != EMPTY:
                state = state_of[node]
                break
        if not is_last:
            node = first + row
            shorter[node] = state
            if has_longer[node] or back_off[node] != 0:
                state = np.int32(node)
            state_of[node] = state
        slot, _ = _find(keys, context, ngrams[row, n - 1])
        after[slot] = state

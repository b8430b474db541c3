"""The words of an n-gram model and a tokenizer's labels in; a trie that a search walks label by label out.

A label is taken apart: does it end the word before, and which letters does it add? So characters, jamo and subwords go
the same way, and a word is found however its subwords were cut.

Shapes: V labels, W words, N nodes of the trie, L letters.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asrkit.tokenizer import Tokenizer

ROOT = 0
NO_NODE = -1
NO_WORD = -1


class Lexicon(NamedTuple):
    """What Numba needs. Nodes are numbered breadth first, so that a node's children lie side by side, by letter."""

    first: NDArray[np.int32]  # (N + 1,) child; the children end where those of the next node begin
    letter: NDArray[np.int32]  # (N,) that leads there
    word: NDArray[np.int32]  # (N,) the n-gram's number of the word that ends there, or NO_WORD
    best: NDArray[np.float32]  # (N,) log10 of the likeliest word (as a 1-gram) that goes on from there
    at_root: NDArray[np.int32]  # (L,) the root's child by letter, or NO_NODE
    ends_word: NDArray[np.bool_]  # (V,) the label is, or begins with, the word boundary
    letters: NDArray[np.int32]  # of all labels, one behind the other
    letter_offsets: NDArray[np.int32]  # (V + 1,)


def build_lexicon(
    tokenizer: Tokenizer, words: Sequence[str], numbers: Sequence[int], unigrams: NDArray[np.float32]
) -> Lexicon:
    """`words` are spelled as labels write them; `numbers` are theirs in the n-gram, whose 1-grams have log10
    `unigrams`."""
    boundary = tokenizer.word_boundary
    labels = [label.removeprefix(boundary) for label in tokenizer.labels[1:]]
    alphabet = {letter: number for number, letter in enumerate(sorted(set("".join(labels))))}
    letters, offsets = _join([[], *([alphabet[letter] for letter in label] for label in labels)])
    ends_word = np.array([False, *(label.startswith(boundary) for label in tokenizer.labels[1:])])

    order = sorted(range(len(words)), key=words.__getitem__)
    spelled, word_offsets = _join([alphabet[letter] for letter in words[number]] for number in order)
    numbered = np.array([numbers[number] for number in order], dtype=np.int32)
    first, letter, word, best = _build(spelled, word_offsets, numbered, unigrams)
    at_root = np.full(len(alphabet), NO_NODE, dtype=np.int32)
    children = np.arange(first[ROOT], first[ROOT + 1], dtype=np.int32)
    at_root[letter[children]] = children
    return Lexicon(first, letter, word, best, at_root, ends_word, letters, offsets)


def _join(rows: Iterable[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """One behind the other, and where each begins."""
    listed = list(rows)
    offsets = np.zeros(len(listed) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in listed], out=offsets[1:])
    return np.array([item for row in listed for item in row], dtype=np.int32), offsets


@njit(cache=True, nogil=True)
def _build(spelled: Any, offsets: Any, numbers: Any, unigrams: Any) -> Any:
    """From words (sorted by letters), level by level: a node is a range of words with the same beginning."""
    size = len(spelled) + 1
    first, letter = np.zeros(size + 1, dtype=np.int32), np.zeros(size, dtype=np.int32)
    word, best = np.full(size, NO_WORD, dtype=np.int32), np.full(size, -np.inf, dtype=np.float32)
    begin, end, depth = np.zeros(size, dtype=np.int32), np.zeros(size, dtype=np.int32), np.zeros(size, dtype=np.int32)
    end[ROOT] = len(numbers)
    used = 1
    node = 0
    while node < used:
        first[node] = used
        at, level = begin[node], depth[node]
        for place in range(at, end[node]):
            best[node] = max(best[node], unigrams[numbers[place]])
        while at < end[node]:
            if offsets[at + 1] - offsets[at] == level:  # this word ends here
                word[node] = numbers[at]
                at += 1
                continue
            start, wanted = at, spelled[offsets[at] + level]
            while at < end[node] and spelled[offsets[at] + level] == wanted:
                at += 1
            letter[used], begin[used], end[used], depth[used] = wanted, start, at, level + 1
            used += 1
        node += 1
    first[used] = used
    return first[: used + 1], letter[:used], word[:used], best[:used]


@njit(cache=True, nogil=True, inline="always")
def child(first: Any, letter_of: Any, at_root: Any, node: Any, letter: Any) -> Any:
    """The node behind a letter, or NO_NODE; of a Lexicon's first, letter and at_root."""
    if node == ROOT:
        return at_root[letter]
    low, high = first[node], first[node + 1]
    end = high
    while low < high:
        middle = (low + high) // 2
        if letter_of[middle] < letter:
            low = middle + 1
        else:
            high = middle
    if low < end and letter_of[low] == letter:
        return low
    return np.int32(NO_NODE)

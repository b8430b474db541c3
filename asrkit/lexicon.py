"""The words of an n-gram model and a tokenizer's labels in; a trie that a search walks letter by letter out.

A label is taken apart: does it end the word before, and which letters does it add? So characters, jamo and subwords go
the same way, and a word is found however its subwords were cut.

Shapes: V labels, W words, N nodes of the trie, L letters.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asrkit.loops import compiled, lean
from asrkit.tokenizer import Tokenizer

ROOT = 0
NO_WORD = -1
LETTERS = 64  # that a node's children are known by, as bits

# Nodes are numbered breadth first, so that a node's children lie side by side, by letter.
NODE = np.dtype(
    [
        ("children", "u8"),  # a bit for each letter that goes on
        ("first", "i4"),  # child
        ("ahead", "f4"),  # for a search: exp(weight * ln P) of the likeliest word that goes on from there
    ]
)
LABEL = np.dtype(
    [
        ("first", "i4"),  # letter, of the word boundary where it begins with one
        ("own", "i4"),  # letter that is its own
        ("end", "i4"),
        ("ends_word", "i4"),  # it is, or begins with, the word boundary
    ]
)


class Spelling(NamedTuple):
    """Labels, taken apart into letters."""

    labels: NDArray[np.void]  # (V,) LABEL
    letters: NDArray[np.int32]  # of the word boundary, and then of all labels, one behind the other
    boundary: int  # how many letters the word boundary has


@dataclass(frozen=True)
class Alphabet:
    """The characters of a tokenizer's labels, each written with as many letters, below LETTERS, as all of them take."""

    letters: Mapping[str, Sequence[int]]
    spelling: Spelling

    def spell(self, text: str) -> list[int]:
        """The letters of its characters."""
        return [letter for character in text for letter in self.letters[character]]


class Lexicon(NamedTuple):
    """The trie. Its last node stands for whatever begins no known word; nothing leads out of it."""

    nodes: NDArray[np.void]  # (N,) NODE
    words: NDArray[np.int32]  # (N,) the number of the word that ends there, or NO_WORD
    best: NDArray[np.float32]  # (N,) log10 of the likeliest word (as a 1-gram) that goes on from there

    def with_look_ahead(self, weight: float, outside: float) -> "Lexicon":
        """For a search that gives log10 this weight, and `outside` (a factor) to what begins no known word."""
        nodes = self.nodes.copy()
        nodes["ahead"][1:-1] = np.exp(weight * self.best[1:-1].astype(np.float64))
        nodes["ahead"][[ROOT, -1]] = 1.0, outside
        return self._replace(nodes=nodes)


def build_alphabet(tokenizer: Tokenizer) -> Alphabet:
    """Of the tokenizer's labels, but for the blank."""
    boundary = tokenizer.word_boundary
    labels = [label.removeprefix(boundary) for label in tokenizer.labels[1:]]
    ends_word = [label.startswith(boundary) for label in tokenizer.labels[1:]]
    characters = sorted({boundary, *"".join(labels)})
    digits = 1
    while LETTERS**digits < len(characters):
        digits += 1
    letters = {
        character: [number // LETTERS**place % LETTERS for place in reversed(range(digits))]
        for number, character in enumerate(characters)
    }
    spelled = [letters[boundary], []]  # the blank has none
    for label, ends in zip(labels, ends_word, strict=True):
        spelled.append(
            [letter for part in (boundary * ends, label) for character in part for letter in letters[character]]
        )
    joined, offsets = join(spelled)
    taken = np.zeros(len(tokenizer.labels), dtype=LABEL)
    taken["ends_word"][1:] = ends_word
    taken["first"], taken["end"] = offsets[1:-1], offsets[2:]
    taken["own"] = taken["first"] + digits * taken["ends_word"]
    return Alphabet(letters, Spelling(taken, joined, digits))


def build_lexicon(
    alphabet: Alphabet, words: Sequence[str], numbers: Sequence[int], unigrams: NDArray[np.float32]
) -> Lexicon:
    """`words` are spelled as labels write them; `numbers` are theirs in the n-gram, whose 1-grams have log10
    `unigrams`."""
    # strings and letters sort alike: both by code point
    order = sorted(range(len(words)), key=words.__getitem__)
    spelled, offsets = join([alphabet.spell(words[number]) for number in order])
    numbered = np.array([numbers[number] for number in order], dtype=np.int32)
    return Lexicon(*_build(spelled, offsets, numbered, unigrams))


def join(rows: Iterable[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """One behind the other, and where each begins."""
    listed = list(rows)
    offsets = np.zeros(len(listed) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in listed], out=offsets[1:])
    return np.array([item for row in listed for item in row], dtype=np.int32), offsets


@compiled
def _build(spelled: Any, offsets: Any, numbers: Any, unigrams: Any) -> Any:
    """From words (sorted by letters), level by level: a node is a range of words with the same beginning."""
    size = len(spelled) + 2
    nodes = np.zeros(size, dtype=NODE)
    words, best = np.full(size, NO_WORD, dtype=np.int32), np.full(size, -np.inf, dtype=np.float32)
    begin, end, depth = np.zeros(size, dtype=np.int32), np.zeros(size, dtype=np.int32), np.zeros(size, dtype=np.int32)
    end[ROOT] = len(numbers)
    used = 1
    node = 0
    while node < used:
        nodes[node].first = used
        at, level = begin[node], depth[node]
        for place in range(at, end[node]):
            best[node] = max(best[node], unigrams[numbers[place]])
        while at < end[node]:
            if offsets[at + 1] - offsets[at] == level:  # this word ends here
                words[node] = numbers[at]
                at += 1
                continue
            start, wanted = at, spelled[offsets[at] + level]
            while at < end[node] and spelled[offsets[at] + level] == wanted:
                at += 1
            nodes[node].children |= np.uint64(1) << np.uint64(wanted)
            begin[used], end[used], depth[used] = start, at, level + 1
            used += 1
        node += 1
    nodes[used].first = used
    used += 1
    return nodes[:used].copy(), words[:used].copy(), best[:used].copy()


@lean
def child(nodes: Any, node: Any, letter: Any) -> Any:
    """The node behind a letter, or the last one; of a Lexicon."""
    bit = np.uint64(1) << np.uint64(letter)
    children = nodes[node].children
    if not children & bit:
        return np.int32(len(nodes) - 1)
    return np.int32(nodes[node].first + count_bits(children & (bit - np.uint64(1))))


@njit(cache=True, nogil=True, inline="always")
def count_bits(bits: Any) -> Any:
    """How many are set (the compiler knows this pattern, and has an instruction for it)."""
    bits = bits - ((bits >> np.uint64(1)) & np.uint64(0x5555555555555555))
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int32((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))

"""Words and phrases that a search should listen for in; an automaton that rewards them letter by letter out.

All phrases are heard at once, as Aho and Corasick (1975) search for strings, so that a thousand cost no more than ten.
A phrase begins and ends at a word boundary. Each of its letters brings a part of the reward at once, so that its beams
survive until it is whole; what turns out to be something else gives it back.

Shapes: N states, which are the nodes of a trie of the phrases' letters.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asrkit.errors import AsrkitError
from asrkit.lexicon import LETTERS, NO_WORD, ROOT, Alphabet, build_lexicon, count_bits
from asrkit.loops import compiled, lean
from asrkit.tokenizer import Tokenizer

SHOWN_LETTERS = 60  # of an alphabet, in an error text
STATE = np.dtype(  # half a line of the processor's cache
    [
        ("children", "u8"),  # as in lexicon.NODE
        ("first", "i4"),
        ("shorter", "i4"),  # the state of the longest end of these letters that begins a phrase, too
        ("potential", "f8"),  # exp of what the unfinished phrase has brought so far
        ("reward", "f8"),  # exp of what the phrases that are whole here bring
    ]
)


class Hotwords(NamedTuple):
    """What Numba needs."""

    states: NDArray[np.void]  # (N,) STATE


def build_hotwords(phrases: Sequence[str], tokenizer: Tokenizer, alphabet: Alphabet, word_score: float) -> Hotwords:
    """`word_score` (natural logarithm) is what each word of a phrase brings.

    Raises:
        AsrkitError: a phrase without words, or with letters that the tokenizer does not know.
    """
    boundary = tokenizer.word_boundary
    words = {" ".join(phrase.split()): phrase.split() for phrase in phrases}
    for phrase, parts in words.items():
        if not parts:
            raise AsrkitError("a hotword is empty; wanted words as the tokenizer writes them")
        for word in parts:
            if not tokenizer.spells(word):
                letters = "".join(sorted(alphabet.letters))
                some = letters[:SHOWN_LETTERS] + (" ..." if len(letters) > SHOWN_LETTERS else "")
                raise AsrkitError(
                    f"the hotword {phrase!r} has letters that the tokenizer cannot spell; its letters are {some!r}"
                )
    spelled = [boundary + boundary.join(map(tokenizer.spell, parts)) + boundary for parts in words.values()]
    scores = np.array([word_score * len(parts) for parts in words.values()])
    trie = build_lexicon(alphabet, spelled, range(len(spelled)), np.zeros(len(spelled), dtype=np.float32))
    free = alphabet.spelling.boundary  # every word begins with a boundary: it brings nothing
    lengths = np.array([len(alphabet.spell(each)) - free for each in spelled], dtype=np.int64)
    return Hotwords(_resolve(trie.nodes, trie.words, scores, scores / lengths, free))


def most_of_a_letter(hotwords: Hotwords) -> float:
    """The greatest factor that one more letter can bring."""
    return float(_most(hotwords.states))


@compiled
def _most(states: Any) -> float:
    most = 1.0
    for node in range(len(states) - 1):
        for below in range(states[node].first, states[node + 1].first):
            most = max(most, states[below].potential * states[below].reward / states[node].potential)
    return most


@compiled
def _resolve(nodes: Any, words: Any, scores: Any, for_letter: Any, free: int) -> Any:
    """Breadth first, as the nodes are numbered: a node's shorter states come before it."""
    count = len(nodes) - 1
    states = np.zeros(count + 1, dtype=STATE)
    for node in range(count + 1):
        states[node].children, states[node].first = nodes[node].children, nodes[node].first
    above, letters = np.zeros(count, dtype=np.int32), np.zeros(count, dtype=np.int32)
    depth, best, reward = np.zeros(count), np.zeros(count), np.zeros(count)
    for node in range(count):
        below = nodes[node].first
        for letter in range(LETTERS):
            if nodes[node].children >> np.uint64(letter) & np.uint64(1):
                above[below], letters[below], depth[below] = node, letter, depth[node] + 1
                below += 1
    for node in range(count - 1, 0, -1):  # the likeliest phrase that goes on from here
        if words[node] != NO_WORD:
            best[node] = max(best[node], for_letter[words[node]])
        best[above[node]] = max(best[above[node]], best[node])
    for node in range(count):
        is_end = words[node] != NO_WORD
        if node and depth[node] > 1:
            state = states[above[node]].shorter
            states[node].shorter = _follow(states, state, letters[node])
        if node:
            reward[node] = reward[states[node].shorter] + (scores[words[node]] if is_end else 0.0)
        # nothing becomes of a phrase that is whole; an end of it may still become something
        potential = best[node] * (depth[node] - free) if depth[node] > free and nodes[node].children else 0.0
        states[node].potential = max(np.exp(potential), states[states[node].shorter].potential if node else 1.0)
        states[node].reward = np.exp(reward[node])
    return states


@lean
def _follow(states: Any, state: Any, letter: Any) -> Any:
    bit = np.uint64(1) << np.uint64(letter)
    while state != ROOT and not states[state].children & bit:
        state = states[state].shorter
    here = states[state]
    if not here.children & bit:
        return np.int32(ROOT)
    return np.int32(here.first + count_bits(here.children & (bit - np.uint64(1))))


@lean
def hear(hotwords: Any, state: Any, letters: Any, first: int, end: int) -> Any:
    """What the letters from `first` to `end` bring (as a factor), and the state after them."""
    states = hotwords.states
    gain = 1.0 / states[state].potential
    for at in range(first, end):
        state = _follow(states, state, letters[at])
        gain *= states[state].reward
    return gain * states[state].potential, state

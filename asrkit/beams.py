"""The beams of a search, and room for what one frame needs, as arrays of records for Numba.

Shapes: V labels, B beams, K candidates.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asrkit.automaton import FREE, SLOT
from asrkit.lexicon import LETTERS
from asrkit.loops import lean

NONE = -1
MEMO = 2048  # a power of 2
BUCKETS = 256  # of masses, 8 for each factor of 2, see beam_choice.py
# odd constants without pattern, of splitmix64 and xxHash
_SPREAD_PLACE, _SPREAD_STATE = np.uint64(0x9FB21C651E98DF25), np.uint64(0xD6E8FEB86659FD93)
_SPREAD_LAST = np.uint64(0xA0761D6478BD642F)
_SPREAD_PREFIX, _SPREAD_LABEL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_MIX = np.uint64(0xBF58476D1CE4E5B9)

BEAM = np.dtype(
    [
        ("prefix", "u8"),  # hash of its labels
        ("parent", "u8"),  # hash of all labels but the last
        ("future", "u8"),  # hash of what decides how the text may go on, see `future_of`
        ("blank", "f8"),  # mass that ends in a blank
        ("spoken", "f8"),  # mass that ends in the last label
        ("next_blank", "f8"),  # the same after the next frame
        ("next_spoken", "f8"),
        ("step", "f8"),  # what the n-grams said to the last label
        ("children", "u8"),  # of its place in the lexicon, kept at hand: as in lexicon.NODE
        ("first", "i4"),
        ("ahead", "f4"),
        ("word_step", "f8"),  # what the end of the word would bring; negative: not known yet
        ("word_state", "i4"),  # the state behind it
        ("node", "i4"),  # of the tree of prefixes
        ("label", "i4"),  # the last one; 0 of the empty prefix
        ("grammar", "i4"),  # state
        ("place", "i4"),  # in the lexicon
        ("state", "i4"),  # of the n-gram of words
        ("token_state", "i4"),
        ("phrase", "i4"),  # state of the hotwords
    ]
)
CANDIDATE = np.dtype(
    [
        ("step", "f8"),  # what the n-grams say to the new label
        ("source", "i4"),  # beam
        ("label", "i4"),  # that continues it
        ("grammar", "i4"),
        ("place", "i4"),
        ("state", "i4"),
        ("token_state", "i4"),
        ("phrase", "i4"),
    ]
)
TRIED = np.dtype(
    [
        ("y", "f8"),  # probability
        ("label", "i4"),
        ("first", "i4"),  # as in lexicon.LABEL
        ("own", "i4"),
        ("end", "i4"),
        ("ends_word", "i4"),
    ]
)
ENTRY = np.dtype([("frame", "i8"), ("place", "i8")])
MET = np.dtype([("future", "u8"), ("stamp", "u4"), ("place", "i4")])
TREE = np.dtype([("parent", "i4"), ("label", "i4"), ("frame", "i4")])  # in which it was made
DETOUR = np.dtype(
    [("prefix", "u8"), ("logp", "f8"), ("node", "i4"), ("instead", "i4"), ("frame", "i4")]
)  # beam_choice.note_detours makes them


class Beams(NamedTuple):
    """Where the search stands: two sets of beams, which frames fill in turn, and the tree of all prefixes ever kept."""

    used: NDArray[np.int64]  # (5,) which set, beams in it, nodes of the tree, detours, frames searched
    log_scale: NDArray[np.float64]  # (1,) ln of what the masses were divided by
    sets: NDArray[np.void]  # (2, B) BEAM
    tree: NDArray[np.void]  # (nodes,) TREE
    detours: NDArray[np.void]  # DETOUR; none where only the best hypothesis is asked for


class Labels(NamedTuple):
    """Those that are tried in a frame."""

    y: NDArray[np.float64]  # (V,) probability of the labels that are tried, 0 of the others
    tried: NDArray[np.void]  # (V,) TRIED, these labels
    number: NDArray[np.int32]  # (V,) which of these a label is
    of_letter: NDArray[np.uint64]  # (LETTERS,) those that begin with a letter, a bit for each
    likely: NDArray[np.int32]  # (V,) labels that are not unlikely, in their order
    masses: NDArray[np.float64]  # (V,) their probabilities


class Pool(NamedTuple):
    """The candidates of a frame: first the beams as they are, then what continues them. See beam_choice.py."""

    masses: NDArray[np.float64]  # (K,)
    bits: NDArray[np.int64]  # (K,) the same masses, as the processor writes them
    futures: NDArray[np.uint64]  # (K,) see `future_of`
    candidates: NDArray[np.void]  # (K,) CANDIDATE, of those that continue a beam
    buckets: NDArray[np.int32]  # (K,) each candidate's bucket
    filled: NDArray[np.int32]  # (BUCKETS + 1,) how many candidates each has, one place up
    play: NDArray[np.int64]  # (6,)


class Choice(NamedTuple):
    """Those candidates that become beams."""

    order: NDArray[np.int32]  # (K,) candidates by bucket
    table: NDArray[np.void]  # MET, hash table: a future -> a stamp of the frame, and who in `order` has it
    chosen: NDArray[np.int32]  # (B + 1,) candidates; the last place is for one that is not taken
    beaten: NDArray[np.int32]  # (K,) candidates that have another's future ...
    beaten_by: NDArray[np.int32]  # (K,) ... and, for each of these, whose
    node: NDArray[np.void]  # (K,) ENTRY for each candidate: the frame in which it was last chosen, its node then


class Work(NamedTuple):
    """Room for what one frame needs. Only the memo and the frame's number outlive it."""

    labels: Labels
    active: NDArray[np.int32]  # hash table: prefix -> beam
    heard: NDArray[np.int32]  # (B + 1,) beams whose last label is tried
    above: NDArray[np.int32]  # (B,) the beam without the last label, or NONE
    held: NDArray[np.uint64]  # (B,) a bit for each tried label by which another beam continues this one
    pool: Pool
    choice: Choice
    frame: NDArray[np.int64]  # (1,)
    memo: NDArray[np.void]  # automaton.SLOT: what the n-gram of words was asked in this utterance


def new_work(beam: int, labels: int) -> Work:
    """For beams of that width."""
    room = 32 * beam + labels  # candidates of a frame; more than enough, and the worst go when it is not

    def whole(size: int) -> NDArray[np.int32]:
        return np.zeros(size, dtype=np.int32)

    masses, memo = np.zeros(room), np.zeros(MEMO, dtype=SLOT)
    memo["key"] = FREE
    return Work(
        labels=Labels(
            y=np.zeros(labels),
            tried=np.zeros(labels, dtype=TRIED),
            number=whole(labels),
            of_letter=np.zeros(LETTERS, dtype=np.uint64),
            likely=whole(labels),
            masses=np.zeros(labels),
        ),
        active=whole(_power_of_2(4 * beam)),
        heard=whole(beam + 1),
        above=whole(beam),
        held=np.zeros(beam, dtype=np.uint64),
        pool=Pool(
            masses=masses,
            bits=masses.view(np.int64),
            futures=np.zeros(room, dtype=np.uint64),
            candidates=np.zeros(room, dtype=CANDIDATE),
            buckets=whole(room),
            filled=whole(BUCKETS + 1),
            play=np.zeros(6, dtype=np.int64),
        ),
        choice=Choice(
            order=whole(room),
            table=np.zeros(_power_of_2(2 * room), dtype=MET),
            chosen=whole(beam + 1),
            beaten=whole(room),
            beaten_by=whole(room),
            node=np.zeros(room, dtype=ENTRY),
        ),
        frame=np.zeros(1, dtype=np.int64),
        memo=memo,
    )


def _power_of_2(least: int) -> int:
    return 1 << (least - 1).bit_length()


def new_beams(beam: int) -> Beams:
    """Room for so many beams; `begin` puts the empty prefix there, `with_room` makes room for frames."""
    return Beams(
        used=np.zeros(5, dtype=np.int64),
        log_scale=np.zeros(1),
        sets=np.zeros((2, beam), dtype=BEAM),
        tree=np.zeros(1, dtype=TREE),
        detours=np.zeros(0, dtype=DETOUR),
    )


def with_room(beams: Beams, frames: int, detours: bool) -> Beams:
    """The same, with room for so many more frames; `detours` of as many as there are beams in each."""
    beam = beams.sets.shape[1]
    # the root, and a node for each beam of each frame; a beaten candidate may need one, too
    nodes = max(1, int(beams.used[2])) + frames * beam * (2 if detours else 1)
    if nodes > len(beams.tree):
        beams = beams._replace(tree=_longer(beams.tree, nodes))
    if detours and (needed := int(beams.used[3]) + frames * beam) > len(beams.detours):
        beams = beams._replace(detours=_longer(beams.detours, needed))
    return beams


def _longer(array: NDArray[np.void], size: int) -> NDArray[np.void]:
    longer = np.empty(max(size, 2 * len(array)), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


@lean
def begin(beams: Any, work: Any, root: Any, state: Any, token_state: Any, phrase: Any) -> None:
    """The empty prefix alone, before the first frame; `root` is the lexicon's."""
    beams.used[0], beams.used[1], beams.used[2], beams.used[3], beams.used[4] = 0, 1, 1, 0, 0
    beams.log_scale[0] = 0.0
    beams.tree[0].parent, beams.tree[0].label, beams.tree[0].frame = NONE, 0, 0
    empty = beams.sets[0, 0]
    empty.prefix, empty.parent, empty.node, empty.label = 1, 0, 0, 0
    empty.blank, empty.spoken, empty.step = 1.0, 0.0, 1.0
    empty.children, empty.first, empty.ahead = root.children, root.first, root.ahead
    empty.word_step, empty.word_state = -1.0, 0
    empty.grammar, empty.place, empty.state, empty.token_state, empty.phrase = 0, 0, state, token_state, phrase
    empty.future = future_of(0, 0, 0, state, token_state, phrase)
    for slot in range(len(work.memo)):
        work.memo[slot].key = FREE


@njit(cache=True, nogil=True, inline="always")
def mix(prefix: Any, label: Any) -> Any:
    """Of a prefix and one more label. Both are spread over 64 bits before they meet: small numbers would cancel out."""
    mixed = (prefix * _SPREAD_PREFIX) ^ ((np.uint64(label) + np.uint64(1)) * _SPREAD_LABEL)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX
    return mixed ^ (mixed >> np.uint64(32))


@njit(cache=True, nogil=True, inline="always")
def future_of(label: Any, grammar: Any, place: Any, state: Any, token_state: Any, phrase: Any) -> Any:
    """Hash of what decides how a text may go on, and at what price: its last label, what the grammar and the hotwords
    make of it, its place in the lexicon, and the states of the n-grams."""
    mixed = (np.uint64(place) + (np.uint64(grammar) << np.uint64(32))) * _SPREAD_PLACE
    mixed ^= (np.uint64(state) + (np.uint64(phrase) << np.uint64(32))) * _SPREAD_STATE
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _MIX
    mixed ^= (np.uint64(label) + (np.uint64(token_state) << np.uint64(32))) * _SPREAD_LAST
    return mixed ^ (mixed >> np.uint64(29))

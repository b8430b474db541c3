"""The beams of a search, and room for what one frame needs, as arrays for Numba.

Shapes: V labels, B beams, K candidates.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

NONE = -1
# odd constants without pattern, of splitmix64 and xxHash
_SPREAD_PREFIX, _SPREAD_LABEL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
MIX = np.uint64(0xBF58476D1CE4E5B9)


class Beams(NamedTuple):
    """The beams after a frame, best first; and the tree of all prefixes that were ever kept. Room for B, or nodes."""

    used: NDArray[np.int64]  # (2,) beams, nodes of the tree
    log_scale: NDArray[np.float64]  # (1,)
    node: NDArray[np.int32]  # (B,)
    prefix: NDArray[np.uint64]  # (B,) hash of its labels
    parent: NDArray[np.uint64]  # (B,) hash of all labels but the last
    label: NDArray[np.int32]  # (B,) the last one; 0 of the empty prefix
    blank: NDArray[np.float64]  # (B,) mass that ends in a blank
    spoken: NDArray[np.float64]  # (B,) mass that ends in the last label
    step: NDArray[np.float64]  # (B,) what the n-grams said to the last label
    score: NDArray[np.float64]  # (B,) ln of all that the n-grams said, look-ahead included
    grammar: NDArray[np.int32]  # (B,) state
    place: NDArray[np.int32]  # (B,) in the trie, or OUTSIDE
    state: NDArray[np.int32]  # (B,) of the n-gram of words
    token_state: NDArray[np.int32]  # (B,)
    word_step: NDArray[np.float64]  # (B,) what the end of the word would bring; negative: not known yet
    word_state: NDArray[np.int32]  # (B,) the state behind it
    tree_parent: NDArray[np.int32]  # (nodes,)
    tree_label: NDArray[np.int32]  # (nodes,)


class Work(NamedTuple):
    """Room for what one frame needs; nothing in it outlives the frame."""

    y: NDArray[np.float64]  # (V,) probability of the labels that are tried, 0 of the others
    tried: NDArray[np.int32]  # (V,) these labels
    taken: NDArray[np.int32]  # (V,) the beam whose continuation by this label is a beam itself
    active: NDArray[np.int32]  # hash table: prefix -> beam
    first_child: NDArray[np.int32]  # (B,) of the beams that continue this one by a label ...
    next_child: NDArray[np.int32]  # (B,) ... and the next of them
    blank: NDArray[np.float64]  # (B,) masses of the beam in the next frame
    spoken: NDArray[np.float64]  # (B,)
    mass: NDArray[np.float64]  # (K,) candidates: first the beams as they are, then what continues them
    source: NDArray[np.int32]  # (K,) beam
    label: NDArray[np.int32]  # (K,) that continues it, 0 for the beam as it is
    place: NDArray[np.int32]  # (K,)
    state: NDArray[np.int32]  # (K,)
    token_state: NDArray[np.int32]  # (K,)
    step: NDArray[np.float64]  # (K,)
    beaten: NDArray[np.bool_]  # (K,) by the threshold, or by another with the same future
    sorted: NDArray[np.float64]  # (K,)
    winners: NDArray[np.int32]  # hash table: a future -> the best candidate that has it
    chosen: NDArray[np.int32]  # (B,) candidates


def new_work(beam: int, labels: int) -> Work:
    """For beams of that width."""
    room = 32 * beam + labels  # candidates of a frame; more than enough, and the worse half goes when it is not
    return Work(
        y=np.zeros(labels),
        tried=np.zeros(labels, dtype=np.int32),
        taken=np.full(labels, NONE, dtype=np.int32),
        active=np.full(_power_of_2(4 * beam), NONE, dtype=np.int32),
        first_child=np.zeros(beam, dtype=np.int32),
        next_child=np.zeros(beam, dtype=np.int32),
        blank=np.zeros(beam),
        spoken=np.zeros(beam),
        mass=np.zeros(room),
        source=np.zeros(room, dtype=np.int32),
        label=np.zeros(room, dtype=np.int32),
        place=np.zeros(room, dtype=np.int32),
        state=np.zeros(room, dtype=np.int32),
        token_state=np.zeros(room, dtype=np.int32),
        step=np.zeros(room),
        beaten=np.zeros(room, dtype=np.bool_),
        sorted=np.zeros(room),
        winners=np.full(_power_of_2(2 * room), NONE, dtype=np.int32),
        chosen=np.zeros(beam, dtype=np.int32),
    )


def _power_of_2(least: int) -> int:
    return 1 << (least - 1).bit_length()


def new_pair(beam: int, frames: int, state: int, token_state: int) -> tuple[Beams, Beams]:
    """The empty prefix, and room for as many beams; both with one tree, which has room for so many frames."""
    used, log_scale = np.array([1, 1], dtype=np.int64), np.zeros(1)
    tree_parent, tree_label = (np.zeros(1 + frames * beam, dtype=np.int32) for _ in range(2))
    tree_parent[0] = NONE

    def whole() -> NDArray[np.int32]:
        return np.zeros(beam, dtype=np.int32)

    def room() -> Beams:
        return Beams(
            used=used,
            log_scale=log_scale,
            node=whole(),
            prefix=np.zeros(beam, dtype=np.uint64),
            parent=np.zeros(beam, dtype=np.uint64),
            label=whole(),
            blank=np.zeros(beam),
            spoken=np.zeros(beam),
            step=np.zeros(beam),
            score=np.zeros(beam),
            grammar=whole(),
            place=whole(),
            state=whole(),
            token_state=whole(),
            word_step=np.full(beam, -1.0),
            word_state=whole(),
            tree_parent=tree_parent,
            tree_label=tree_label,
        )

    beams = room()
    beams.blank[0], beams.prefix[0] = 1.0, 1
    beams.state[0], beams.token_state[0] = state, token_state
    return beams, room()


@njit(cache=True, nogil=True, inline="always")
def mix(prefix: Any, label: Any) -> Any:
    """Of a prefix and one more label. Both are spread over 64 bits before they meet: small numbers would cancel out."""
    mixed = (prefix * _SPREAD_PREFIX) ^ ((np.uint64(label) + np.uint64(1)) * _SPREAD_LABEL)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * MIX
    return mixed ^ (mixed >> np.uint64(32))

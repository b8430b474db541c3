"""The candidates of a frame in; those that become beams out.

Shapes: B beams, K candidates.
"""

from typing import Any

import numpy as np
from numba import njit

from asrkit.beams import MIX, NONE, mix


@njit(cache=True, nogil=True)
def make_room(beams: Any, work: Any, least: float) -> Any:
    """Forgets the worse half of the candidates, the beams themselves aside; gives how many are left."""
    first, count = beams.used[0], len(work.mass)
    half = (count - first) // 2
    least = max(least, np.partition(work.mass[first:count], half)[half])
    kept = first
    for candidate in range(first, count):
        if work.mass[candidate] > least:
            work.mass[kept], work.step[kept] = work.mass[candidate], work.step[candidate]
            work.source[kept], work.label[kept] = work.source[candidate], work.label[candidate]
            work.place[kept], work.state[kept] = work.place[candidate], work.state[candidate]
            work.token_state[kept] = work.token_state[candidate]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def choose(model: Any, beams: Any, work: Any, candidates: int, least: float) -> int:
    """The best candidates, as many as there is room for beams, into work.chosen; gives their number.

    Candidates that have the same future (n-gram states, partial word, last label) are one to the n-grams. The best of
    them are chosen first, the others where there is room left: a mass may still grow.
    """
    width = len(beams.node)
    mass, beaten = work.mass, work.beaten
    fit = 0
    for candidate in range(candidates):
        beaten[candidate] = mass[candidate] < least or mass[candidate] == 0.0
        fit += not beaten[candidate]
    if fit > width and (model.has_words or model.has_tokens):
        fit -= _compete(model, beams, work, candidates, fit)
    if fit >= width:
        return _pick(work, candidates, width, 0)
    chosen = _pick(work, candidates, fit, 0)
    if chosen == candidates:
        return chosen
    for candidate in range(candidates):  # those that were beaten by their like alone
        beaten[candidate] = not (beaten[candidate] and mass[candidate] >= least and mass[candidate] > 0.0)
    return _pick(work, candidates, width - chosen, chosen)


@njit(cache=True, nogil=True)
def _pick(work: Any, candidates: int, wanted: int, chosen: int) -> int:
    """The `wanted` best candidates that are not beaten, behind those chosen before; of equals the first."""
    mass, beaten, in_play, picked = work.mass, work.beaten, work.sorted, work.chosen
    playing = 0
    for candidate in range(candidates):
        if not beaten[candidate]:
            in_play[playing] = mass[candidate]
            playing += 1
    if not wanted or not playing:
        return chosen
    least, better = 0.0, playing
    if wanted < playing:
        least = _nth_best(in_play, playing, wanted)
        better = 0
        for candidate in range(candidates):
            better += not beaten[candidate] and mass[candidate] > least
    equals = wanted - better
    for candidate in range(candidates):
        if beaten[candidate] or mass[candidate] < least:
            continue
        if mass[candidate] == least:
            if equals <= 0:
                continue
            equals -= 1
        picked[chosen] = candidate
        chosen += 1
    return chosen


@njit(cache=True, nogil=True)
def _nth_best(values: Any, count: int, wanted: int) -> Any:
    """The `wanted`-th largest of values[:count], which it rearranges (Hoare's quickselect)."""
    low, high, place = 0, count - 1, wanted - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if place <= right:
            high = right
        elif place >= left:
            low = left
        else:
            break
    return values[place]


@njit(cache=True, nogil=True)
def _compete(model: Any, beams: Any, work: Any, candidates: int, fit: int) -> int:
    """Marks as beaten whoever is not the best among its like; gives how many those are."""
    mass, source, label, place = work.mass, work.source, work.label, work.place
    state, token_state, beaten, winners = work.state, work.token_state, work.beaten, work.winners
    label_of, grammar, follows = beams.label, beams.grammar, model.follows
    size = 16
    while size < 2 * fit:
        size *= 2
    mask = size - 1
    winners[:size] = NONE
    lost = 0
    for candidate in range(candidates):
        if beaten[candidate]:
            continue
        last = label[candidate] if label[candidate] else label_of[source[candidate]]
        mixed = mix(np.uint64(place[candidate] + 1) ^ (np.uint64(last) << np.uint64(40)), state[candidate])
        slot = np.int64((mixed ^ np.uint64(token_state[candidate]) * MIX) & np.uint64(mask))
        while True:
            winner = winners[slot]
            if winner == NONE:
                winners[slot] = candidate
                break
            if (
                place[winner] == place[candidate]
                and state[winner] == state[candidate]
                and token_state[winner] == token_state[candidate]
                and last == (label[winner] if label[winner] else label_of[source[winner]])
            ):
                one, other = grammar[source[winner]], grammar[source[candidate]]
                one = follows[one, label[winner]] if label[winner] else one
                other = follows[other, label[candidate]] if label[candidate] else other
                if one == other:
                    lost += 1
                    if mass[candidate] > mass[winner]:
                        winners[slot] = candidate
                        beaten[winner] = True
                    else:
                        beaten[candidate] = True
                    break
            slot = (slot + 1) & mask
    return lost

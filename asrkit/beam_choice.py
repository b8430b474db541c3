"""The candidates of a frame in; those that become beams out.

Candidates that have the same future (n-gram states, partial word, last label) are one to the n-grams: the best of them
is chosen. The others would fill the beams with their like. Only a search that prunes nothing keeps them where there is
room, for a mass may still grow.

They are not sorted: their masses fall into buckets, 8 for each factor of 2, which are emptied from the best one down;
only the bucket that no longer fits as a whole is sorted. While they come in, the buckets also say which mass is too
small already: where the better buckets hold enough to fill the beams.

Shapes: B beams, K candidates.
"""

from typing import Any

import numpy as np

from asrkit.beams import BUCKETS, NONE, mix
from asrkit.loops import lean

_SHIFT = np.int64(49)  # of a float's 52 bits of mantissa 3 are left, and its exponent
_HEADROOM = 80  # buckets: an n-gram may raise a mass by so many eighths of a factor of 2 above the best that stays
_STAMPS = np.int64(0xFFFFFFFF)  # of frames, in the hash table; 0 is none


@lean
def open_buckets(pool: Any, count: int, best: float, width: int) -> None:
    """Throws in the beams as they are, `width` at most, the best of which has mass `best`.

    `play` holds the bits of the mass that bucket 0 begins below, the worst bucket still in play, how many candidates
    those in play hold, how many are enough, and the best and the worst bucket that hold any.

    Enough are as many as may become beams. Some may share a future, and then fewer do; but to look at a reserve of a
    quarter more costs a fifth of the time, and not one error less comes of it.
    """
    play = pool.play
    for bucket in range(BUCKETS + 1):
        pool.filled[bucket] = 0
    pool.masses[-1] = best
    # positive floats are ordered as their bits are
    play[0] = pool.bits[-1] + (_HEADROOM << _SHIFT)
    top, bits, buckets, filled = play[0], pool.bits, pool.buckets, pool.filled
    for candidate in range(count):  # two loops, so that the first does many at a time
        buckets[candidate] = min(max((top - bits[candidate]) >> _SHIFT, 0), BUCKETS - 1)
    first, last = BUCKETS - 1, 0
    for candidate in range(count):
        bucket = buckets[candidate]
        filled[bucket + 1] += 1
        first, last = min(first, bucket), max(last, bucket)
    worst = last if count >= width else BUCKETS - 1
    play[1], play[2], play[3], play[4], play[5] = worst, count, width, first, last


@lean
def throw_in(pool: Any, candidate: int) -> Any:
    """Throws a candidate into its bucket; says whether the worst bucket in play has changed by it."""
    filled, play = pool.filled, pool.play
    bucket = min(max((play[0] - pool.bits[candidate]) >> _SHIFT, 0), BUCKETS - 1)
    pool.buckets[candidate] = bucket
    filled[bucket + 1] += 1
    play[4], play[5] = min(play[4], bucket), max(play[5], bucket)
    if bucket > play[1]:
        return False
    play[2] += 1
    before = play[1]
    while play[2] - filled[play[1] + 1] >= play[3]:
        play[2] -= filled[play[1] + 1]
        play[1] -= 1
    return play[1] != before


@lean
def least_in_play(pool: Any) -> Any:
    """The mass below which a candidate is of no use any more."""
    if pool.play[1] == BUCKETS - 1:
        return 0.0
    pool.bits[-1] = pool.play[0] - ((pool.play[1] + 1) << _SHIFT)
    return pool.masses[-1]


@lean
def make_room(pool: Any, first: int, count: int) -> Any:
    """Forgets the candidates from `first` on that are in no bucket in play; gives how many are left of all."""
    masses, buckets, futures, candidates = pool.masses, pool.buckets, pool.futures, pool.candidates
    worst = pool.play[1]
    kept = first
    for candidate in range(first, count):
        if buckets[candidate] <= worst:
            masses[kept], buckets[kept] = masses[candidate], buckets[candidate]
            futures[kept], candidates[kept] = futures[candidate], candidates[candidate]
            kept += 1
    return kept


@lean
def choose(
    pool: Any, choice: Any, count: int, width: int, least: float, reserve: int, reserve_least: float, competes: bool,
    all_stay: bool, frame: int,
) -> tuple[int, int]:  # fmt: skip
    """Writes the candidates that become beams into `chosen`, and those with another's future into `beaten`; gives the
    number of both. With `all_stay` these become beams, too, where there is room. Those whose mass is below `least` do
    not, unless fewer than `reserve` others are left: then the best do, so many in all, down to `reserve_least`. `frame`
    marks the entries of the hash table that were made in this one."""
    masses, chosen = pool.masses, choice.chosen
    alive = 0
    for candidate in range(count):
        chosen[min(alive, width)] = candidate  # a branch would be guessed wrong too often
        alive += masses[candidate] >= least
    if alive < reserve:
        alive, width, least = 0, reserve, reserve_least
        for candidate in range(count):
            chosen[min(alive, width)] = candidate
            alive += masses[candidate] >= least
    if alive <= width and (all_stay or not competes):
        return alive, 0
    stamp = np.uint32(frame % _STAMPS + 1)
    if alive <= width:
        return _best_of_each(pool, choice, alive, stamp)
    return _best_of_all(pool, choice, count, width, least, competes, all_stay, stamp)


@lean
def _best_of_each(pool: Any, choice: Any, count: int, stamp: Any) -> tuple[int, int]:
    """There is room for all that are `chosen`: the best of each future stays there."""
    masses, futures = pool.masses, pool.futures
    beaten_by, chosen = choice.beaten_by, choice.chosen
    mask = _mask_for(count)
    kept = lost = 0
    for at in range(count):
        candidate = chosen[at]
        rival = _meet(choice.table, futures[candidate], kept, mask, stamp)
        if rival == NONE:
            chosen[kept], beaten_by[candidate] = candidate, NONE  # `kept` is never ahead of `at`
            kept += 1
            continue
        _compete(masses, choice, chosen, rival, candidate, lost)
        lost += 1
    return kept, lost


@lean
def _best_of_all(
    pool: Any, choice: Any, count: int, width: int, least: float, competes: bool, all_stay: bool, stamp: Any
) -> tuple[int, int]:  # fmt: skip
    """Of more than there is room for, the best of each future, as many of them as there is room for."""
    masses, buckets, futures, order = pool.masses, pool.buckets, pool.futures, choice.order
    beaten, beaten_by, chosen = choice.beaten, choice.beaten_by, choice.chosen
    mask = _mask_for(pool.play[2])
    last = BUCKETS  # the one that no longer fits
    kept = lost = 0
    for at in range(_sort_by_bucket(pool, order, count)):
        candidate = order[at]
        if buckets[candidate] > last:
            break
        if masses[candidate] < least:
            continue
        rival = _meet(choice.table, futures[candidate], kept, mask, stamp) if competes else NONE
        if rival == NONE:
            order[kept], beaten_by[candidate] = candidate, NONE  # `kept` is never ahead of `at`
            kept += 1
            if kept == width:
                last = buckets[candidate]
            continue
        # a rival from a better bucket stays; one from the same may have to go, and leaves its place
        _compete(masses, choice, order, rival, candidate, lost)
        lost += 1
    if kept > width:
        whole = width
        while whole and buckets[order[whole - 1]] == last:
            whole -= 1
        _best_first(masses, order, whole, kept)
    taken = min(kept, width)
    for place in range(taken):
        chosen[place] = order[place]
    if all_stay and kept == taken < width and lost:  # room for some that were beaten by their like alone
        _best_first(masses, beaten, 0, lost)
        more = min(width - taken, lost)
        for place in range(lost):
            if place < more:
                chosen[taken + place] = beaten[place]
            else:
                beaten[place - more] = beaten[place]
        taken += more
        lost -= more
    return taken, lost


@lean
def _compete(masses: Any, choice: Any, listed: Any, rival: Any, candidate: Any, lost: Any) -> None:
    """Of a candidate and the one in place `rival` of those `listed`, which has the same future, the better one stays
    there; the other is beaten, as number `lost`."""
    winner = listed[rival]
    if masses[candidate] > masses[winner]:
        listed[rival], choice.beaten_by[candidate] = candidate, NONE
        candidate, winner = winner, candidate
    choice.beaten[lost], choice.beaten_by[candidate] = candidate, winner


@lean
def _mask_for(count: Any) -> Any:
    """Of the hash table, for so many entries."""
    slots = 16
    while slots < 2 * count:
        slots *= 2
    return slots - 1


@lean
def _sort_by_bucket(pool: Any, order: Any, count: int) -> Any:
    """Those in play, from the best bucket to the worst, within one the first first; gives their number."""
    buckets, filled = pool.buckets, pool.filled
    top, worst = pool.play[4], min(pool.play[1], pool.play[5])
    for bucket in range(top, worst + 1):
        filled[bucket + 1] += filled[bucket]
    in_play = filled[worst + 1]
    for candidate in range(count):
        bucket = min(buckets[candidate], worst + 1)  # others go behind them; a branch would be guessed wrong too often
        order[filled[bucket]] = candidate
        filled[bucket] += 1
    return in_play


@lean
def _meet(table: Any, future: Any, place: int, mask: int, stamp: Any) -> Any:
    """The place in `order` of the one that has the same future, or NONE: then this one's is `place`."""
    slot = np.int64(future & np.uint64(mask))
    while table[slot].stamp == stamp:
        if table[slot].future == future:
            return np.int64(table[slot].place)
        slot = (slot + 1) & mask
    table[slot].future, table[slot].stamp, table[slot].place = future, stamp, place
    return NONE


@lean
def _best_first(masses: Any, listed: Any, begin: int, end: int) -> None:
    """Sorts listed[begin:end] by mass, in place (Shell 1959); of equals the first candidate comes first."""
    gap = 1
    while gap < (end - begin) // 3:
        gap = 3 * gap + 1  # Knuth's
    while gap:
        for place in range(begin + gap, end):
            moved = listed[place]
            while place >= begin + gap:
                other = listed[place - gap]
                if masses[other] > masses[moved] or (masses[other] == masses[moved] and other < moved):
                    break
                listed[place] = other
                place -= gap
            listed[place] = moved
        gap //= 3


@lean
def note_detours(pool: Any, choice: Any, before: Any, count: int, lost: int, frame: int, beams: Any) -> None:
    """For each beaten candidate whose better is a beam now: that the way to this beam's node might have gone by that
    candidate's instead, and at what price."""
    used, tree = beams.used, beams.tree
    for number in range(min(lost, len(before))):
        candidate = choice.beaten[number]
        winner = choice.beaten_by[candidate]
        while choice.beaten_by[winner] != NONE:
            winner = choice.beaten_by[winner]
        if choice.node[winner].frame != frame:
            continue
        one = pool.candidates[candidate]
        source = before[candidate if candidate < count else one.source]
        node, prefix = source.node, source.prefix
        if candidate >= count:
            prefix = mix(prefix, one.label)
            made = tree[used[2]]
            made.parent, made.label, made.frame = node, one.label, used[4]
            node = used[2]
            used[2] += 1
        detour = beams.detours[used[3]]
        detour.prefix, detour.node, detour.instead = prefix, choice.node[winner].place, node
        detour.frame, detour.logp = used[4], np.log(pool.masses[candidate] / pool.masses[winner])
        used[3] += 1

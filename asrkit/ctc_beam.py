"""Log-probs of some frames and the beams before them in, the beams after them out: the loops of the native search.

CTC prefix beam search (Graves 2006; Hannun et al. 2014, arXiv 1408.2873): of a prefix the mass of the paths that end in
a blank is kept apart from that of those that end in its last label, and paths that spell the same prefix are added up.

Masses are linear: probability times what the n-grams say, relative to the best beam of the frame; `log_scale` is what
was divided out. So no candidate costs a logarithm.

Shapes: T frames, V labels, B beams, K candidates.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asrkit.automaton import Tables, score_word
from asrkit.grammar import FORBIDDEN
from asrkit.lexicon import NO_NODE, NO_WORD, ROOT, Lexicon, child

NONE = -1
OUTSIDE = -1  # of the trie: a partial word that begins no known word
LN_10 = float(np.log(10))
_FNV_PRIME = np.uint64(0x100000001B3)
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Model(NamedTuple):
    """What does not change from frame to frame. Natural logarithms, weights included."""

    follows: NDArray[np.int32]  # (S, V) the tokenizer's grammar: one state where there is none
    has_words: bool  # an n-gram of words
    words: Tables
    lexicon: Lexicon
    alpha: float
    beta: float  # for each word
    unknown: int  # the word <unk>
    unknown_score: float  # for each unknown word, besides the n-gram's
    closed: bool  # only the n-gram's words
    ahead: NDArray[np.float64]  # (N,) of the trie: exp(alpha * ln P) of the likeliest word that goes on so
    ahead_outside: float  # of a partial word that begins no known word
    has_tokens: bool  # an n-gram of labels
    tokens: Tables
    token_alpha: float
    token_beta: float  # for each label
    token_of: NDArray[np.int32]  # (V,) label -> word of that n-gram


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


def new_beams(beam: int, model_state: int, token_state: int) -> Beams:
    """The empty prefix."""
    beams = Beams(
        np.array([1, 1], dtype=np.int64),
        np.zeros(1),
        np.zeros(beam, dtype=np.int32),
        *(np.zeros(beam, dtype=np.uint64) for _ in range(2)),
        np.zeros(beam, dtype=np.int32),
        *(np.zeros(beam) for _ in range(4)),
        *(np.zeros(beam, dtype=np.int32) for _ in range(4)),
        np.full(beam, -1.0),
        np.zeros(beam, dtype=np.int32),
        *(np.zeros(1, dtype=np.int32) for _ in range(2)),
    )
    beams.blank[0], beams.prefix[0] = 1.0, 1
    beams.state[0], beams.token_state[0] = model_state, token_state
    beams.tree_parent[0] = -1
    return beams


def with_room(beams: Beams, frames: int) -> Beams:
    """Room in the tree for all prefixes that so many more frames can bring."""
    size = int(beams.used[1]) + frames * len(beams.node)
    if size <= len(beams.tree_parent):
        return beams
    grown = [np.concatenate([array, np.zeros(size - len(array), np.int32)]) for array in beams[-2:]]
    return Beams(*beams[:-2], *grown)


@njit(cache=True, nogil=True, inline="always")
def _hash(prefix: Any, label: Any) -> Any:
    mixed = (prefix ^ np.uint64(label)) * _FNV_PRIME
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX
    return mixed ^ (mixed >> np.uint64(32))


@njit(cache=True, nogil=True)
def _end_word(model: Any, beams: Any, beam: int) -> None:
    """Finds out, once for each prefix, what the end of its partial word brings: exp of the n-gram's score and the
    word's bonus, with the look-ahead taken back."""
    place = beams.place[beam]
    word = model.lexicon.word[place] if place != OUTSIDE else NO_WORD
    ahead = model.ahead[place] if place != OUTSIDE else model.ahead_outside
    if word == NO_WORD and model.closed:
        beams.word_step[beam] = 0.0
        return
    extra = model.beta
    if word == NO_WORD:
        word = model.unknown
        extra += model.unknown_score
    log10, state = score_word(model.words, beams.state[beam], word)
    beams.word_step[beam] = np.exp(model.alpha * LN_10 * log10 + extra) / ahead
    beams.word_state[beam] = state


@njit(cache=True, nogil=True, inline="always")
def _walk(model: Any, place: int, label: int) -> int:
    """The place in the trie behind a label's letters."""
    for at in range(model.lexicon.letter_offsets[label], model.lexicon.letter_offsets[label + 1]):
        if place == OUTSIDE:
            break
        place = child(model.lexicon, place, model.lexicon.letters[at])
        if place == NO_NODE:
            place = OUTSIDE
    return place


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
    room = 32 * beam + labels
    return Work(
        np.zeros(labels),
        np.zeros(labels, dtype=np.int32),
        np.full(labels, NONE, dtype=np.int32),
        np.full(_power_of_2(4 * beam), NONE, dtype=np.int32),
        *(np.zeros(beam, dtype=np.int32) for _ in range(2)),
        *(np.zeros(beam) for _ in range(2)),
        np.zeros(room),
        *(np.zeros(room, dtype=np.int32) for _ in range(5)),
        np.zeros(room),
        np.zeros(room, dtype=np.bool_),
        np.zeros(room),
        np.full(_power_of_2(2 * room), NONE, dtype=np.int32),
        np.zeros(beam, dtype=np.int32),
    )


def _power_of_2(least: int) -> int:
    return 1 << (least - 1).bit_length()


@njit(cache=True, nogil=True)
def advance(
    model: Any, beams: Any, after: Any, work: Any, log_probs: Any, token_min_logp: float, beam_prune_logp: float
) -> None:
    """Takes the beams on by log_probs (T, V). `after` is room for beams; the tree has room (`with_room`)."""
    prune = np.exp(beam_prune_logp)
    for frame in range(len(log_probs)):
        row = log_probs[frame]
        tried = _try_labels(row, token_min_logp, work)
        if not tried:  # nothing but a blank: the masses of all beams change alike
            for beam in range(beams.used[0]):
                beams.blank[beam] += beams.spoken[beam]
                beams.spoken[beam] = 0.0
            beams.log_scale[0] += row[0]
            continue
        best = _stay(beams, work, np.exp(row[0]))
        best, candidates = _continue(model, beams, work, tried, best, prune)
        chosen = _choose(model, beams, work, candidates, best * prune)
        _become(model, beams, after, work, chosen, best)


@njit(cache=True, nogil=True)
def _try_labels(row: Any, token_min_logp: float, work: Any) -> int:
    """The labels that are likely enough, the best of the frame always among them; gives their number."""
    limit = min(token_min_logp, row.max())
    tried = 0
    for label in range(1, len(row)):
        work.y[label] = 0.0
        if row[label] >= limit:
            work.y[label] = np.exp(row[label])
            work.tried[tried] = label
            tried += 1
    return tried


@njit(cache=True, nogil=True)
def _stay(beams: Any, work: Any, blank: float) -> float:
    """The beams with one more blank, or with their last label going on or coming from the prefix before; gives the
    best mass."""
    count = beams.used[0]
    mask = len(work.active) - 1
    work.active[:] = NONE
    for beam in range(count):
        slot = np.int64(beams.prefix[beam] & np.uint64(mask))
        while work.active[slot] != NONE:
            slot = (slot + 1) & mask
        work.active[slot] = beam
        work.first_child[beam] = NONE
    best = 0.0
    for beam in range(count):
        label = beams.label[beam]
        work.blank[beam] = (beams.blank[beam] + beams.spoken[beam]) * blank
        work.spoken[beam] = 0.0
        if label and work.y[label] > 0.0:
            work.spoken[beam] = beams.spoken[beam] * work.y[label]
            parent = _find(work.active, beams.prefix, beams.parent[beam])
            if parent != NONE:
                reached = beams.blank[parent]
                if beams.label[parent] != label:
                    reached += beams.spoken[parent]
                work.spoken[beam] += reached * work.y[label] * beams.step[beam]
                work.next_child[beam] = work.first_child[parent]
                work.first_child[parent] = beam
        work.mass[beam], work.source[beam], work.label[beam] = work.blank[beam] + work.spoken[beam], beam, 0
        work.place[beam], work.state[beam] = beams.place[beam], beams.state[beam]
        work.token_state[beam] = beams.token_state[beam]
        best = max(best, work.mass[beam])
    return best


@njit(cache=True, nogil=True, inline="always")
def _find(active: Any, prefixes: Any, wanted: Any) -> int:
    """The beam with this prefix."""
    mask = len(active) - 1
    slot = np.int64(wanted & np.uint64(mask))
    while active[slot] != NONE:
        if prefixes[active[slot]] == wanted:
            return active[slot]
        slot = (slot + 1) & mask
    return NONE


@njit(cache=True, nogil=True)
def _continue(model: Any, beams: Any, work: Any, tried: int, best: float, prune: float) -> tuple[float, int]:
    """The beams with one more label; gives the best mass and the number of all candidates."""
    candidates = beams.used[0]
    for beam in range(beams.used[0]):
        held = work.first_child[beam]
        while held != NONE:
            work.taken[beams.label[held]] = beam
            held = work.next_child[held]
        both = beams.blank[beam] + beams.spoken[beam]
        for number in range(tried):
            label = work.tried[number]
            if work.taken[label] == beam or model.follows[beams.grammar[beam], label] == FORBIDDEN:
                continue
            mass = (beams.blank[beam] if label == beams.label[beam] else both) * work.y[label]
            within = not (model.has_tokens or (model.has_words and model.lexicon.ends_word[label]))
            if mass == 0.0 or (within and mass < best * prune):
                continue  # within a word the look-ahead only takes away
            step, place, state, token_state = _step(model, beams, beam, label)
            mass *= step
            if mass == 0.0 or mass < best * prune:
                continue
            best = max(best, mass)
            if candidates == len(work.mass):
                candidates = _make_room(beams, work, best * prune)
            work.mass[candidates], work.source[candidates], work.label[candidates] = mass, beam, label
            work.place[candidates], work.state[candidates] = place, state
            work.token_state[candidates], work.step[candidates] = token_state, step
            candidates += 1
        held = work.first_child[beam]
        while held != NONE:
            work.taken[beams.label[held]] = NONE
            held = work.next_child[held]
    return best, candidates


@njit(cache=True, nogil=True, inline="always")
def _step(model: Any, beams: Any, beam: int, label: int) -> tuple[float, int, int, int]:
    """What the n-grams say to a label (linear), and where it leads."""
    step, place = 1.0, np.int64(beams.place[beam])
    state, token_state = np.int64(beams.state[beam]), np.int64(beams.token_state[beam])
    if model.has_words:
        if model.lexicon.ends_word[label] and place != ROOT:
            if beams.word_step[beam] < 0:
                _end_word(model, beams, beam)
            step, place, state = beams.word_step[beam], np.int64(ROOT), np.int64(beams.word_state[beam])
        if model.lexicon.letter_offsets[label + 1] > model.lexicon.letter_offsets[label]:
            step /= model.ahead[place] if place != OUTSIDE else model.ahead_outside
            place = np.int64(_walk(model, place, label))
            if place != OUTSIDE:
                step *= model.ahead[place]
            else:
                step *= 0.0 if model.closed else model.ahead_outside
    if model.has_tokens:
        log10, token_state = score_word(model.tokens, token_state, model.token_of[label])
        step *= np.exp(model.token_alpha * LN_10 * log10 + model.token_beta)
    return step, place, state, np.int64(token_state)


@njit(cache=True, nogil=True)
def _make_room(beams: Any, work: Any, least: float) -> int:
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
def _choose(model: Any, beams: Any, work: Any, candidates: int, least: float) -> int:
    """The best candidates, as many as there is room for beams, into work.chosen; gives their number.

    Candidates that have the same future (n-gram states, partial word, last label) are one to the n-grams. The best of
    them are chosen first, the others where there is room left: a mass may still grow.
    """
    width = len(beams.node)
    fit = 0
    for candidate in range(candidates):
        work.beaten[candidate] = work.mass[candidate] < least or work.mass[candidate] == 0.0
        fit += not work.beaten[candidate]
    if fit > width and (model.has_words or model.has_tokens):
        fit -= _compete(model, beams, work, candidates, fit)
    if fit >= width:
        return _pick(work, candidates, width, 0)
    chosen = _pick(work, candidates, fit, 0)
    for candidate in range(candidates):  # those that were beaten by their like alone
        alone = work.mass[candidate] >= least and work.mass[candidate] > 0.0
        work.beaten[candidate] = not (alone and work.beaten[candidate])
    return _pick(work, candidates, width - chosen, chosen)


@njit(cache=True, nogil=True)
def _pick(work: Any, candidates: int, wanted: int, chosen: int) -> int:
    """The `wanted` best candidates that are not beaten, behind those chosen before; of equals the first."""
    open_count = 0
    for candidate in range(candidates):
        if not work.beaten[candidate]:
            work.sorted[open_count] = work.mass[candidate]
            open_count += 1
    if not wanted or not open_count:
        return chosen
    wanted = min(wanted, open_count)
    least = np.partition(work.sorted[:open_count], open_count - wanted)[open_count - wanted]
    better = 0
    for candidate in range(candidates):
        better += not work.beaten[candidate] and work.mass[candidate] > least
    equals = wanted - better
    for candidate in range(candidates):
        if work.beaten[candidate] or work.mass[candidate] < least:
            continue
        if work.mass[candidate] == least:
            if not equals:
                continue
            equals -= 1
        work.chosen[chosen] = candidate
        chosen += 1
    return chosen


@njit(cache=True, nogil=True)
def _compete(model: Any, beams: Any, work: Any, candidates: int, fit: int) -> int:
    """Marks as beaten whoever is not the best among its like; gives how many those are."""
    size = 16
    while size < 2 * fit:
        size *= 2
    mask = size - 1
    work.winners[:size] = NONE
    beaten = 0
    for candidate in range(candidates):
        if work.beaten[candidate]:
            continue
        slot = np.int64(_future(beams, work, candidate) & np.uint64(mask))
        while work.winners[slot] != NONE and not _alike(model, beams, work, work.winners[slot], candidate):
            slot = (slot + 1) & mask
        winner = work.winners[slot]
        if winner == NONE:
            work.winners[slot] = candidate
            continue
        beaten += 1
        if work.mass[candidate] > work.mass[winner]:
            work.winners[slot] = candidate
            work.beaten[winner] = True
        else:
            work.beaten[candidate] = True
    return beaten


@njit(cache=True, nogil=True, inline="always")
def _last_label(beams: Any, work: Any, candidate: int) -> int:
    return work.label[candidate] if work.label[candidate] else beams.label[work.source[candidate]]


@njit(cache=True, nogil=True, inline="always")
def _grammar_state(model: Any, beams: Any, work: Any, candidate: int) -> int:
    state = beams.grammar[work.source[candidate]]
    return model.follows[state, work.label[candidate]] if work.label[candidate] else state


@njit(cache=True, nogil=True, inline="always")
def _future(beams: Any, work: Any, candidate: int) -> Any:
    mixed = _hash(np.uint64(work.place[candidate] + 1), work.state[candidate])
    return _hash(_hash(mixed, work.token_state[candidate]), _last_label(beams, work, candidate))


@njit(cache=True, nogil=True, inline="always")
def _alike(model: Any, beams: Any, work: Any, one: int, other: int) -> bool:
    return (
        work.place[one] == work.place[other]
        and work.state[one] == work.state[other]
        and work.token_state[one] == work.token_state[other]
        and _last_label(beams, work, one) == _last_label(beams, work, other)
        and _grammar_state(model, beams, work, one) == _grammar_state(model, beams, work, other)
    )


@njit(cache=True, nogil=True)
def _become(model: Any, beams: Any, after: Any, work: Any, chosen: int, best: float) -> None:
    """The chosen candidates are the beams now, their masses relative to the best."""
    for beam in range(chosen):
        candidate = work.chosen[beam]
        source, label = work.source[candidate], work.label[candidate]
        after.grammar[beam] = _grammar_state(model, beams, work, candidate)
        after.place[beam], after.state[beam] = work.place[candidate], work.state[candidate]
        after.token_state[beam] = work.token_state[candidate]
        if not label:
            after.node[beam], after.label[beam] = beams.node[source], beams.label[source]
            after.prefix[beam], after.parent[beam] = beams.prefix[source], beams.parent[source]
            after.blank[beam], after.spoken[beam] = work.blank[source] / best, work.spoken[source] / best
            after.step[beam], after.score[beam] = beams.step[source], beams.score[source]
            after.word_step[beam], after.word_state[beam] = beams.word_step[source], beams.word_state[source]
            continue
        node = beams.used[1]
        beams.used[1] += 1
        beams.tree_parent[node], beams.tree_label[node] = beams.node[source], label
        after.node[beam], after.label[beam] = node, label
        after.prefix[beam], after.parent[beam] = _hash(beams.prefix[source], label), beams.prefix[source]
        after.blank[beam], after.spoken[beam] = 0.0, work.mass[candidate] / best
        after.step[beam] = work.step[candidate]
        after.score[beam] = beams.score[source] + np.log(work.step[candidate])
        after.word_step[beam], after.word_state[beam] = -1.0, 0
    _copy(after, beams, chosen)
    beams.used[0] = chosen
    beams.log_scale[0] += np.log(best)


@njit(cache=True, nogil=True)
def _copy(source: Any, target: Any, count: int) -> None:
    for beam in range(count):
        target.node[beam], target.label[beam] = source.node[beam], source.label[beam]
        target.prefix[beam], target.parent[beam] = source.prefix[beam], source.parent[beam]
        target.blank[beam], target.spoken[beam] = source.blank[beam], source.spoken[beam]
        target.step[beam], target.score[beam] = source.step[beam], source.score[beam]
        target.grammar[beam], target.place[beam] = source.grammar[beam], source.place[beam]
        target.state[beam], target.token_state[beam] = source.state[beam], source.token_state[beam]
        target.word_step[beam], target.word_state[beam] = source.word_step[beam], source.word_state[beam]


@njit(cache=True, nogil=True)
def final_scores(model: Any, beams: Any, word_end: int, token_end: int) -> Any:
    """For each beam (B, 2): ln of its acoustic mass, and what the n-grams say to all of it, its end included.

    A beam that cannot end here has an acoustic score of -inf.
    """
    count = beams.used[0]
    scores = np.empty((count, 2))
    for beam in range(count):
        said, state = beams.score[beam], beams.state[beam]
        if model.has_words:
            if beams.place[beam] != ROOT:
                if beams.word_step[beam] < 0:
                    _end_word(model, beams, beam)
                said, state = said + np.log(beams.word_step[beam]), beams.word_state[beam]
            log10, _ = score_word(model.words, state, word_end)
            said += model.alpha * LN_10 * log10
        if model.has_tokens:
            log10, _ = score_word(model.tokens, beams.token_state[beam], token_end)
            said += model.token_alpha * LN_10 * log10
        mass = beams.blank[beam] + beams.spoken[beam]
        scores[beam, 0] = np.log(mass) + beams.log_scale[0] - beams.score[beam]
        scores[beam, 1] = said
    return scores

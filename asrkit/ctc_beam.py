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
from asrkit.beam_choice import choose, make_room
from asrkit.beams import NONE, mix
from asrkit.grammar import FORBIDDEN
from asrkit.lexicon import NO_WORD, ROOT, Lexicon, child

OUTSIDE = -1  # of the trie: a partial word that begins no known word
LN_10 = float(np.log(10))


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


@njit(cache=True, nogil=True)
def advance(
    model: Any, beams: Any, other: Any, work: Any, log_probs: Any, token_min_logp: float, beam_prune_logp: float
) -> bool:
    """Takes the beams on by log_probs (T, V). They go to and fro between `beams` and `other` (`new_pair`): says whether
    they end in `other`. The tree has room for them."""
    swapped = False
    prune = np.exp(beam_prune_logp)
    for row in log_probs:
        tried = _try_labels(row, token_min_logp, work)
        if not tried:  # nothing but a blank: the masses of all beams change alike
            for beam in range(beams.used[0]):
                beams.blank[beam] += beams.spoken[beam]
                beams.spoken[beam] = 0.0
            beams.log_scale[0] += row[0]
            continue
        best = _stay(beams, work, np.exp(row[0]))
        best, candidates = _continue(model, beams, work, tried, best, prune)
        chosen = choose(model, beams, work, candidates, best * prune)
        _become(model, beams, other, work, chosen, best)
        beams, other, swapped = other, beams, not swapped
    return swapped


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
def _stay(beams: Any, work: Any, of_blank: float) -> float:
    """The beams with one more blank, or with their last label going on or coming from the prefix before; gives the
    best mass."""
    label_of, prefixes, parents = beams.label, beams.prefix, beams.parent
    blank, spoken, step = beams.blank, beams.spoken, beams.step
    place, state, token_state = beams.place, beams.state, beams.token_state
    active, first_child, next_child, y = work.active, work.first_child, work.next_child, work.y
    new_blank, new_spoken, mass, source, label_into = work.blank, work.spoken, work.mass, work.source, work.label
    place_into, state_into, token_state_into = work.place, work.state, work.token_state
    count = beams.used[0]
    mask = len(active) - 1
    active[:] = NONE
    for beam in range(count):
        slot = np.int64(prefixes[beam] & np.uint64(mask))
        while active[slot] != NONE:
            slot = (slot + 1) & mask
        active[slot] = beam
        first_child[beam] = NONE
    best = 0.0
    for beam in range(count):
        label = label_of[beam]
        new_blank[beam] = (blank[beam] + spoken[beam]) * of_blank
        going_on = 0.0
        if label and y[label] > 0.0:
            going_on = spoken[beam] * y[label]
            parent = _find(active, prefixes, parents[beam])
            if parent != NONE:
                reached = blank[parent]
                if label_of[parent] != label:
                    reached += spoken[parent]
                going_on += reached * y[label] * step[beam]
                next_child[beam] = first_child[parent]
                first_child[parent] = beam
        new_spoken[beam] = going_on
        mass[beam], source[beam], label_into[beam] = new_blank[beam] + going_on, beam, 0
        place_into[beam], state_into[beam], token_state_into[beam] = place[beam], state[beam], token_state[beam]
        best = max(best, mass[beam])
    return best


@njit(cache=True, nogil=True, inline="always")
def _find(active: Any, prefixes: Any, wanted: Any) -> Any:
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
    """The beams with one more label; gives the best mass and the number of all candidates.

    Arrays have local names: Numba counts references to what it takes out of a tuple, in the loop that does so.
    """
    first_child, next_child, taken, labels, y = work.first_child, work.next_child, work.taken, work.tried, work.y
    masses, sources, with_label, places = work.mass, work.source, work.label, work.place
    states, token_states, steps = work.state, work.token_state, work.step
    label_of, blank, spoken, grammar = beams.label, beams.blank, beams.spoken, beams.grammar
    place_of, state_of, token_state_of = beams.place, beams.state, beams.token_state
    word_step, word_state = beams.word_step, beams.word_state
    follows, has_words, has_tokens, closed = model.follows, model.has_words, model.has_tokens, model.closed
    ahead, ahead_outside = model.ahead, model.ahead_outside
    ends_word, letters, letter_offsets = model.lexicon.ends_word, model.lexicon.letters, model.lexicon.letter_offsets
    first, letter_of, at_root = model.lexicon.first, model.lexicon.letter, model.lexicon.at_root
    token_of, tokens = model.token_of, model.tokens
    room = len(masses)
    count = beams.used[0]
    candidates = count
    for beam in range(count):
        held = first_child[beam]
        while held != NONE:
            taken[label_of[held]] = beam
            held = next_child[held]
        last, state_of_grammar = label_of[beam], grammar[beam]
        both, here = blank[beam] + spoken[beam], place_of[beam]
        for number in range(tried):
            label = labels[number]
            if taken[label] == beam or follows[state_of_grammar, label] == FORBIDDEN:
                continue
            mass = (blank[beam] if label == last else both) * y[label]
            ends = has_words and ends_word[label]
            if mass == 0.0 or (mass < best * prune and not ends and not has_tokens):
                continue  # within a word the look-ahead only takes away
            step, place, state, token_state = 1.0, here, state_of[beam], token_state_of[beam]
            if has_words:
                if ends and place != ROOT:
                    if word_step[beam] < 0:
                        _end_word(model, beams, beam)
                    step, place, state = word_step[beam], np.int32(ROOT), word_state[beam]
                if letter_offsets[label + 1] > letter_offsets[label]:
                    step /= ahead[place] if place != OUTSIDE else ahead_outside
                    for at in range(letter_offsets[label], letter_offsets[label + 1]):
                        if place != OUTSIDE:
                            place = np.int32(child(first, letter_of, at_root, place, letters[at]))
                    if place != OUTSIDE:
                        step *= ahead[place]
                    else:
                        step *= 0.0 if closed else ahead_outside
            if has_tokens:
                log10, after = score_word(tokens, token_state, token_of[label])
                token_state = np.int32(after)
                step *= np.exp(model.token_alpha * LN_10 * log10 + model.token_beta)
            mass *= step
            if mass == 0.0 or mass < best * prune:
                continue
            best = max(best, mass)
            if candidates == room:
                candidates = make_room(beams, work, best * prune)
            masses[candidates], sources[candidates], with_label[candidates] = mass, beam, label
            places[candidates], states[candidates] = place, state
            token_states[candidates], steps[candidates] = token_state, step
            candidates += 1
        held = first_child[beam]
        while held != NONE:
            taken[label_of[held]] = NONE
            held = next_child[held]
    return best, candidates


@njit(cache=True, nogil=True)
def _become(model: Any, beams: Any, after: Any, work: Any, chosen: int, best: float) -> None:
    """The chosen candidates are the beams after this frame, their masses relative to the best."""
    follows, picked, sources, labels, masses = model.follows, work.chosen, work.source, work.label, work.mass
    places, states, token_states, steps = work.place, work.state, work.token_state, work.step
    new_blank, new_spoken = work.blank, work.spoken
    node, label_of, prefix, parent = beams.node, beams.label, beams.prefix, beams.parent
    step, score, grammar = beams.step, beams.score, beams.grammar
    word_step, word_state = beams.word_step, beams.word_state
    to_node, to_label, to_prefix, to_parent = after.node, after.label, after.prefix, after.parent
    to_blank, to_spoken, to_step, to_score = after.blank, after.spoken, after.step, after.score
    to_grammar, to_place, to_state, to_token_state = after.grammar, after.place, after.state, after.token_state
    to_word_step, to_word_state = after.word_step, after.word_state
    tree_parent, tree_label, used = beams.tree_parent, beams.tree_label, beams.used
    nodes = used[1]
    for beam in range(chosen):
        candidate = picked[beam]
        source, label = sources[candidate], labels[candidate]
        to_place[beam], to_state[beam] = places[candidate], states[candidate]
        to_token_state[beam] = token_states[candidate]
        if not label:
            to_node[beam], to_label[beam], to_grammar[beam] = node[source], label_of[source], grammar[source]
            to_prefix[beam], to_parent[beam] = prefix[source], parent[source]
            to_blank[beam], to_spoken[beam] = new_blank[source] / best, new_spoken[source] / best
            to_step[beam], to_score[beam] = step[source], score[source]
            to_word_step[beam], to_word_state[beam] = word_step[source], word_state[source]
            continue
        tree_parent[nodes], tree_label[nodes] = node[source], label
        to_node[beam], to_label[beam], to_grammar[beam] = nodes, label, follows[grammar[source], label]
        nodes += 1
        to_prefix[beam], to_parent[beam] = mix(prefix[source], label), prefix[source]
        to_blank[beam], to_spoken[beam] = 0.0, masses[candidate] / best
        to_step[beam], to_score[beam] = steps[candidate], score[source] + np.log(steps[candidate])
        to_word_step[beam], to_word_state[beam] = -1.0, 0
    used[0], used[1] = chosen, nodes
    beams.log_scale[0] += np.log(best)


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

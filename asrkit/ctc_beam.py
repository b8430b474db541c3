"""Log-probs of some frames and the beams before them in, the beams after them out: the loops of the native search.

CTC prefix beam search (Graves 2006; Hannun et al. 2014, arXiv 1408.2873): of a prefix the mass of the paths that end in
a blank is kept apart from that of those that end in its last label, and paths that spell the same prefix are added up.

Masses are linear: probability times what the n-grams say, relative to the best beam of the frame; `log_scale` is what
was divided out. So no candidate costs a logarithm.

Shapes: T frames, V labels, B beams.
"""

from typing import Any

import numpy as np

from asrkit.automaton import score_word
from asrkit.beam_choice import choose, least_in_play, make_room, note_detours, open_buckets, throw_in
from asrkit.beams import NONE, begin, future_of, mix
from asrkit.frame_labels import CHUNK, by_letter, check, find_likely, sum_of, try_labels
from asrkit.grammar import FORBIDDEN
from asrkit.hotwords import hear
from asrkit.lexicon import NO_WORD, ROOT, count_bits
from asrkit.loops import compiled, lean
from asrkit.search_model import end_score, text_score, word_score

_TINY = np.finfo(np.float64).tiny
_IMPOSSIBLE = -700.0  # stands for ln 0, so that scores stay numbers


@compiled
def search(handle: Any, beams: Any, log_probs: Any, tolerance: float) -> tuple[int, float, tuple[Any, float, float]]:
    """A whole utterance, log_probs (T, V): what `check` says to it and, where that is well, the best text."""
    model, start, end, work = handle.model, handle.start, handle.end, handle.work
    begin(beams, work, model.lexicon.nodes[ROOT], start.state, start.token_state, start.phrase)
    # checked frame by frame, each while it is in the processor's cache
    frame, total = advance(model, beams, work, log_probs, tolerance)
    return frame, total, best_text(model, start, end, beams, work)


@compiled
def feed(handle: Any, beams: Any, log_probs: Any, tolerance: float) -> tuple[int, float]:
    """More frames of an utterance, log_probs (T, V): what `check` says to them. Bad ones are not taken."""
    frame, total = check(log_probs, tolerance, handle.work.labels)
    if frame < 0:
        advance(handle.model, beams, handle.work, log_probs, np.inf)
    return frame, total


@compiled
def advance(model: Any, beams: Any, work: Any, log_probs: Any, tolerance: float) -> tuple[int, float]:
    """Takes the beams on by log_probs (T, V), up to a frame whose probabilities do not add up to 1 (an infinite
    `tolerance` does not look): says what `check` does. There is room for all (`beams.with_room`)."""
    rules, labels, pool, choice = model.rules, work.labels, work.pool, work.choice
    held, used, log_scale, sets, stamp = work.held, beams.used, beams.log_scale, beams.sets, work.frame
    width = sets.shape[1]
    competes, all_stay = rules.has_words or rules.has_tokens or rules.has_phrases, rules.prune == 0.0
    silent = False  # whether the frame before was nothing but a blank
    trying = len(labels.tried)  # of an utterance before, nobody knows which: all
    for place in range(trying):
        labels.tried[place].label = place
    for frame in range(len(log_probs)):
        likely = find_likely(log_probs[frame], labels)
        if tolerance < np.inf:
            total = sum_of(log_probs[frame], tolerance, labels, likely)
            if not abs(total - 1.0) <= tolerance:
                return frame, total
        before, after, count = sets[used[0]], sets[1 - used[0]], used[1]
        limit, of_blank = rules.least_logp, np.exp(log_probs[frame, 0])
        while True:
            trying = try_labels(log_probs[frame], likely, limit, model.spelling.labels, labels, trying)
            if not trying:
                break
            best = _stay(before, count, of_blank, work)
            open_buckets(pool, count, best, width)
            found = count
            for first in range(0, trying, CHUNK):
                last = min(first + CHUNK, trying)
                if first:
                    _mark_held(before, count, work.above, labels, first, held)
                begins = by_letter(labels, first, last, model.spelling.letters)
                best, found = _continue(
                    model, before, count, held, labels, first, last, begins, pool, found, best, work.memo
                )
            if best >= rules.stuck or limit == rules.lowest_logp:
                break
            limit = rules.lowest_logp  # what was left untried is not so unlikely, then
            likely = find_likely(log_probs[frame], labels)  # others may have taken their place
        if not trying:  # nothing but a blank: the masses of all beams change alike
            if not silent:
                for beam in range(count):
                    before[beam].blank += before[beam].spoken
                    before[beam].spoken = 0.0
            silent = True
            log_scale[0] += log_probs[frame, 0]
            continue
        silent = False
        if best == 0.0:  # nothing that was heard here can be said: as if it had not been
            log_scale[0] += _IMPOSSIBLE
            continue
        prune = rules.prune if count > rules.reserve else rules.reserve_prune
        if found == count and _go_on(before, count, best, best * prune):
            log_scale[0] += np.log(best)
            continue
        stamp[0] += 1
        used[4] += 1
        least = max(best * rules.prune, _TINY)
        reserve, reserve_least = min(rules.reserve, width), max(best * rules.reserve_prune, _TINY)
        kept, lost = choose(pool, choice, found, width, least, reserve, reserve_least, competes, all_stay, stamp[0])
        used[2] = _become(before, count, after, pool, choice, kept, best, beams, stamp[0], model.lexicon.nodes)
        if rules.detours and lost:
            note_detours(pool, choice, before, count, lost, stamp[0], beams)
        used[0], used[1] = 1 - used[0], kept
        log_scale[0] += np.log(best)
    return -1, 1.0


@lean
def _stay(beams: Any, count: int, of_blank: float, work: Any) -> float:
    """The beams with one more blank, or with their last label going on or coming from the prefix before; gives the
    best mass. Marks which of the first labels that are tried lead from a beam to another that is there already."""
    labels, active, heard, above, held, pool = work.labels, work.active, work.heard, work.above, work.held, work.pool
    y, masses, futures = labels.y, pool.masses, pool.futures
    best, waiting = 0.0, 0
    for beam in range(count):
        own = beams[beam]
        again = y[own.label]
        own.next_blank = (own.blank + own.spoken) * of_blank
        own.next_spoken = own.spoken * again
        masses[beam] = own.next_blank + own.next_spoken
        best = max(best, masses[beam])
        futures[beam], above[beam], held[beam] = own.future, NONE, 0
        heard[waiting] = beam  # a branch would be guessed wrong too often
        waiting += again > 0.0
    if not waiting:
        return best
    mask = np.uint64(len(active) - 1)
    for slot in range(len(active)):
        active[slot] = NONE
    for beam in range(count):
        place = beams[beam].prefix & mask
        while active[place] != NONE:
            place = (place + np.uint64(1)) & mask
        active[place] = beam
    for at in range(waiting):
        beam = heard[at]
        own = beams[beam]
        place = own.parent & mask
        while active[place] != NONE:
            parent = beams[active[place]]
            if parent.prefix == own.parent:
                above[beam] = active[place]
                number = labels.number[own.label]
                if number < CHUNK:
                    held[active[place]] |= np.uint64(1) << np.uint64(number)
                reached = parent.blank
                if parent.label != own.label:
                    reached += parent.spoken
                own.next_spoken += reached * y[own.label] * own.step
                masses[beam] = own.next_blank + own.next_spoken
                best = max(best, masses[beam])
                break
            place = (place + np.uint64(1)) & mask
    return best


@lean
def _mark_held(beams: Any, count: int, above: Any, labels: Any, first: int, held: Any) -> None:
    """As `_stay` marks the first of them, the tried labels from number `first` on."""
    for beam in range(count):
        held[beam] = 0
    for beam in range(count):
        if above[beam] != NONE:
            place = labels.number[beams[beam].label] - first
            if 0 <= place < CHUNK:
                held[above[beam]] |= np.uint64(1) << np.uint64(place)


@lean
def _continue(
    model: Any, beams: Any, count: int, held: Any, labels: Any, first: int, last: int, begins: Any, pool: Any,
    found: int, best: float, memo: Any,
) -> tuple[float, int]:  # fmt: skip
    """The beams with one more label, each of those tried from number `first` to `last`; gives the best mass and the
    number of all candidates. `begins` is what `by_letter` says to them."""
    rules, follows, _, spelling, lexicon, words, tokens, token_of, hotwords = model
    tried, of_letter, trying = labels.tried, labels.of_letter, last - first
    some_letters, others, likeliest = begins
    all_tried = ~np.uint64(0) >> np.uint64(CHUNK - trying)
    nodes, masses, letters = lexicon.nodes, pool.masses, spelling.letters
    has_grammar, has_words, has_phrases = rules.has_grammar, rules.has_words, rules.has_phrases
    tokens_most = np.inf if rules.has_tokens else 1.0  # within a word an n-gram of words only takes away from a mass
    phrase_most = rules.phrase_most if has_phrases else 1.0
    outside, root = np.int32(len(nodes) - 1), nodes[ROOT]
    ahead_outside = nodes[outside].ahead
    least = max(best * rules.reserve_prune, least_in_play(pool))
    for beam in range(count):
        if found + trying >= len(masses):
            found = make_room(pool, count, found)
        own = beams[beam]
        both, here = own.blank + own.spoken, own.ahead
        if not others and both * likeliest * tokens_most * phrase_most < least:
            continue
        back = 1.0 / here
        numbers = all_tried
        if has_words:
            unheard = back * rules.unknown_label if own.place == outside else back
            reached = both * likeliest * (unheard * ahead_outside) * tokens_most * phrase_most
            if reached < least or reached == 0.0:  # what no known word goes on with is too unlikely
                numbers = others
                matching = own.children & some_letters
                while matching:
                    rest = matching & (matching - np.uint64(1))
                    numbers |= of_letter[count_bits((matching ^ rest) - np.uint64(1))]
                    matching = rest
        numbers &= ~held[beam]
        while numbers:
            rest = numbers & (numbers - np.uint64(1))
            one = tried[first + count_bits((numbers ^ rest) - np.uint64(1))]
            numbers = rest
            label, grammar = one.label, own.grammar
            if has_grammar:
                grammar = follows[grammar, label]
                if grammar == FORBIDDEN:
                    continue
            mass = (own.blank if label == own.label else both) * one.y
            ends = has_words and one.ends_word and own.place != ROOT
            # hotwords begin at a word boundary: who hears none and meets none goes on without
            heard = has_phrases and (own.phrase != ROOT or one.ends_word)
            most = tokens_most * phrase_most if heard else tokens_most
            if not ends:
                if mass * most < least:
                    if one.ends_word or label == own.label:
                        continue
                    break  # the labels that are left are less likely
            elif mass * most * rules.unknown_most < least * here and lexicon.words[own.place] == NO_WORD:
                continue  # without asking the n-gram
            step, place, state, token_state, phrase = 1.0, own.place, own.state, own.token_state, own.phrase
            if has_words:
                children, begun, ahead = own.children, own.first, here
                if ends:
                    if own.word_step < 0:  # found out once for each prefix; takes the look-ahead back
                        said, own.word_state = word_score(rules, lexicon.words, words, memo, place, state)
                        own.word_step = np.exp(said) * back
                    step, place, state = own.word_step, np.int32(ROOT), own.word_state
                    children, begun, ahead = root.children, root.first, root.ahead
                elif one.own < one.end:
                    step = back * rules.unknown_label if place == outside else back
                for at in range(one.own, one.end):  # lexicon.child, with the place's node at hand
                    bit = np.uint64(1) << np.uint64(letters[at])
                    if children & bit:
                        place = np.int32(begun + count_bits(children & (bit - np.uint64(1))))
                        children, begun, ahead = nodes[place].children, nodes[place].first, nodes[place].ahead
                    else:
                        place, children, ahead = outside, np.uint64(0), ahead_outside
                if one.own < one.end:
                    step *= ahead
            if rules.has_tokens:
                log10, token_state = score_word(tokens, token_state, token_of[label])
                step *= np.exp(rules.token_weight * log10 + rules.token_bonus)
            if heard:
                gain, phrase = hear(hotwords, phrase, letters, one.first, one.end)
                step *= gain
            mass *= step
            if mass == 0.0 or mass < least:
                continue
            masses[found] = mass
            if throw_in(pool, found) or mass > best:
                best = max(best, mass)
                least = max(best * rules.reserve_prune, least_in_play(pool))
            candidate = pool.candidates[found]
            candidate.step, candidate.source, candidate.label = step, beam, label
            candidate.grammar, candidate.place = grammar, place
            candidate.state, candidate.token_state, candidate.phrase = state, token_state, phrase
            pool.futures[found] = future_of(label, grammar, place, state, token_state, phrase)
            found += 1
    return best, found


@lean
def _go_on(beams: Any, count: int, best: float, least: float) -> Any:
    """After a frame that brought nothing new, the beams go on where they are, unless some has become too unlikely;
    says whether they did."""
    for beam in range(count):
        if beams[beam].next_blank + beams[beam].next_spoken < least:
            return False
    scale = 1.0 / best
    for beam in range(count):
        own = beams[beam]
        own.blank, own.spoken = own.next_blank * scale, own.next_spoken * scale
    return True


@lean
def _become(
    beams: Any, count: int, after: Any, pool: Any, choice: Any, kept: int, best: float, in_all: Any, frame: int,
    lexicon: Any,
) -> Any:  # fmt: skip
    """The chosen candidates are the beams after this frame, their masses relative to the best; gives the number of
    nodes of the tree."""
    chosen, node, tree, nodes = choice.chosen, choice.node, in_all.tree, in_all.used[2]
    scale = 1.0 / best
    for beam in range(kept):
        number, own = chosen[beam], after[beam]
        if number < count:
            source = beams[number]
            after[beam] = source
            own.blank, own.spoken = source.next_blank * scale, source.next_spoken * scale
            node[number].frame, node[number].place = frame, source.node
            continue
        candidate = pool.candidates[number]
        source = beams[candidate.source]
        made = tree[nodes]
        made.parent, made.label, made.frame = source.node, candidate.label, in_all.used[4]
        own.node, own.label = nodes, candidate.label
        node[number].frame, node[number].place = frame, nodes
        nodes += 1
        own.prefix, own.parent = mix(source.prefix, candidate.label), source.prefix
        own.blank, own.spoken, own.step = 0.0, pool.masses[number] * scale, candidate.step
        own.word_step, own.word_state = -1.0, 0
        own.grammar, own.place, own.state = candidate.grammar, candidate.place, candidate.state
        own.token_state, own.phrase, own.future = candidate.token_state, candidate.phrase, pool.futures[number]
        here = lexicon[candidate.place]
        own.children, own.first, own.ahead = here.children, here.first, here.ahead
    return nodes


@compiled
def best_text(model: Any, start: Any, end: Any, beams: Any, work: Any) -> tuple[Any, float, float]:
    """Of the best beam, the end of the text included: its labels (U,), its score, and the n-grams' and hotwords' part
    of that."""
    scores, whole = final_scores(model, end, beams, work)
    best = 0
    for beam in range(len(scores)):
        if scores[beam] > scores[best]:
            best = beam
    labels = labels_of(model, beams, beams.sets[beams.used[0], best].node, whole)
    return labels, scores[best], text_score(model, start, end, work, labels)


@compiled
def final_scores(model: Any, end: Any, beams: Any, work: Any) -> tuple[Any, bool]:
    """For each beam (B,) ln of its mass, the end of the text included; -inf where it cannot end here, for its grammar
    or because it is within a word that the n-gram does not know. Where none can, of all without their unfinished
    words: then the second value is False."""
    scores = np.empty(beams.used[1])
    for whole in (True, False):
        some_end = False
        for beam in range(beams.used[1]):
            scores[beam] = _final_score(model, end, beams.sets[beams.used[0], beam], beams.log_scale[0], work, whole)
            some_end |= scores[beam] > -np.inf
        if some_end:
            break
    return scores, whole


@lean
def _final_score(model: Any, end: Any, own: Any, log_scale: float, work: Any, whole: bool) -> Any:
    if whole and not model.ends[own.grammar]:
        return -np.inf
    place = own.place if whole else np.int32(ROOT)
    score = np.log(own.blank + own.spoken) + log_scale
    score += end_score(model, work.memo, end, place, own.state, own.token_state, own.phrase)
    if model.rules.has_words and own.place != ROOT:
        score -= np.log(model.lexicon.nodes[own.place].ahead)
    return score


@compiled
def labels_of(model: Any, beams: Any, node: int, whole: bool) -> Any:
    """The labels (U,) from the root of the tree to a node; `whole` False leaves out the last word, where the n-gram
    wants known ones."""
    tree = beams.tree
    if not whole and model.rules.closed:
        cut = False
        while tree[node].parent != NONE and not cut:
            cut = model.spelling.labels[tree[node].label].ends_word != 0
            node = tree[node].parent
    length, at = 0, node
    while tree[at].parent != NONE:
        at = tree[at].parent
        length += 1
    labels = np.empty(length, dtype=np.int32)
    while length:
        length -= 1
        labels[length] = tree[node].label
        node = tree[node].parent
    return labels

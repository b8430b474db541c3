"""The beams at the end of a search in; the best texts, best first, out: of the beams, and of those whose places they
took."""

import heapq
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from asrkit.beams import NONE, Beams
from asrkit.tokenizer import Tokenizer

PATHS_LOOKED_AT = 300  # for each text that is asked for: many spell one that is there already
Labels = tuple[int, ...]


def best_texts(
    beams: Beams,
    scores: NDArray[np.float64],
    n_best: int,
    tokenizer: Tokenizer,
    exact_score: Callable[[Labels], float],
) -> list[tuple[Labels, float]]:
    """The labels and scores of at most n_best texts. `scores` (B,) are the beams'.

    A detour says that the way to a beam might have gone by another prefix, at a price; several on one way add up. What
    so comes out is a little too good at times, for masses went on to grow and shrink: `exact_score` is the most that a
    text can have. A text that is spelled in several ways (spaces at its ends, other subwords) comes once, as it is
    best.
    """
    nodes = beams.sets["node"][beams.used[0], : len(scores)].tolist()
    detours: defaultdict[int, dict[int, tuple[int, float]]] = defaultdict(dict)  # node -> prefix -> the best way to it
    for prefix, logp, node, instead in beams.detours[: beams.used[3]].tolist():
        if prefix not in detours[node] or detours[node][prefix][1] < logp:
            detours[node][prefix] = instead, logp
    # (-score, when it was found, node, labels behind that node's); a node of NONE: these labels are all, and exact
    queue: list[tuple[float, int, int, Labels]] = [
        (-score, place, node, ()) for place, (node, score) in enumerate(zip(nodes, scores.tolist(), strict=True))
    ]
    heapq.heapify(queue)
    count = beam_count = len(queue)
    seen: set[Labels] = set()
    found: dict[str, tuple[Labels, float]] = {}
    while queue and len(found) < n_best and len(seen) < PATHS_LOOKED_AT * n_best:
        minus, number, node, behind = heapq.heappop(queue)
        if minus == np.inf:
            break
        if node == NONE:
            found.setdefault(tokenizer.decode(behind), (behind, -minus))
            continue
        labels, way = behind, []
        while node != NONE:
            way.append((node, labels))
            label = int(beams.tree[node]["label"])
            labels = (label, *labels) if label else labels
            node = int(beams.tree[node]["parent"])
        if labels in seen:
            continue
        seen.add(labels)
        for passed, rest in way:
            for instead, logp in detours[passed].values():
                heapq.heappush(queue, (minus - logp, count, instead, rest))
                count += 1
        score = -minus if number < beam_count else min(-minus, exact_score(labels))
        heapq.heappush(queue, (-score, count, NONE, labels))
        count += 1
    return list(found.values())

"""The beams at the end of a search in; the best texts, best first, out: of the beams, and of those whose places they
took."""

import heapq
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from asrkit.beams import NONE, Beams
from asrkit.tokenizer import Tokenizer

PATHS_LOOKED_AT = 100  # for each text that is asked for: many spell one that is there already
LAST = 1 << 62  # behind the last frame
Labels = tuple[int, ...]


def best_texts(
    beams: Beams,
    scores: NDArray[np.float64],
    n_best: int,
    tokenizer: Tokenizer,
    exact_score: Callable[[Labels], float],
) -> list[tuple[Labels, float]]:
    """The labels and scores of at most n_best texts. `scores` (B,) are the beams'.

    A detour says that in some frame the way to a beam might have gone by another prefix, at a price; it counts for what
    left the beam later. Several on one way add up. What so comes out is a little too good at times, for masses went on
    to grow and shrink: `exact_score` is the most that a text can have. A text that is spelled in several ways (spaces
    at its ends, other subwords) comes once, as it is best.
    """
    nodes = beams.sets["node"][beams.used[0], : len(scores)].tolist()
    detours: defaultdict[int, list[tuple[int, int, float, int]]] = defaultdict(list)
    for prefix, logp, node, instead, frame in beams.detours[: beams.used[3]].tolist():
        detours[node].append((frame, prefix, logp, instead))
    # (-score, when it was found, node, the frame it was left in, labels behind that node's); a node of NONE: these
    # labels are all, and the score is exact
    queue: list[tuple[float, int, int, int, Labels]] = [
        (-score, place, node, LAST, ()) for place, (node, score) in enumerate(zip(nodes, scores.tolist(), strict=True))
    ]
    heapq.heapify(queue)
    count = beam_count = len(queue)
    ways: dict[tuple[int, int], list[tuple[float, int, int]]] = {}
    seen: set[Labels] = set()
    found: dict[str, tuple[Labels, float]] = {}
    while queue and len(found) < n_best and len(seen) < PATHS_LOOKED_AT * n_best:
        minus, number, node, left, behind = heapq.heappop(queue)
        if minus == np.inf:
            break
        if node == NONE:
            found.setdefault(tokenizer.decode(behind), (behind, -minus))
            continue
        labels, way = behind, []
        while node != NONE:
            way.append((node, left, labels))
            label, left = int(beams.tree[node]["label"]), int(beams.tree[node]["frame"])
            labels = (label, *labels) if label else labels
            node = int(beams.tree[node]["parent"])
        if labels in seen:
            continue
        seen.add(labels)
        for passed, until, rest in way:
            if passed not in detours:
                continue
            if (passed, until) not in ways:
                ways[passed, until] = _best_ways(detours[passed], until)
            for logp, instead, frame in ways[passed, until]:
                heapq.heappush(queue, (minus - logp, count, instead, frame, rest))
                count += 1
        score = -minus if number < beam_count else min(-minus, exact_score(labels))
        heapq.heappush(queue, (-score, count, NONE, LAST, labels))
        count += 1
    return list(found.values())


def _best_ways(detours: list[tuple[int, int, float, int]], until: int) -> list[tuple[float, int, int]]:
    """The best detour by each prefix, of those noted before a frame: its price, node and frame."""
    best: dict[int, tuple[float, int, int]] = {}
    for frame, prefix, logp, instead in detours:
        if frame < until and (prefix not in best or best[prefix][0] < logp):
            best[prefix] = logp, instead, frame
    return list(best.values())

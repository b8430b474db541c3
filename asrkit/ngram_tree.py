"""Windows of N words in; the tree of all n-grams in them, with their counts, out.

An n-gram's parent is the n-gram without its first word: "b c" is the parent of "a b c", and the children of a node lie
side by side, sorted by first word. So what an n-gram backs off to is its parent, and any n-gram is found by walking
from its last word to its first.

Shapes: M windows, N words in each; K nodes, those of length 1 first, then those of length 2 ...; R rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.loops import compiled

UNKNOWN_ID, BEGIN_ID = 0, 1


@dataclass(frozen=True)
class NGramTree:
    """The n-grams of some windows. Those with an <s> anywhere but in front are none."""

    starts: NDArray[np.int64]  # (N + 2,): the nodes of length n are starts[n] to starts[n + 1]; starts[0] is 0
    word: NDArray[np.int32]  # (K,) the first one
    parent: NDArray[np.int32]  # (K,)
    first: NDArray[np.int32]  # (K + 1,) child; the children end where those of the next node begin
    occurrences: NDArray[np.int32]  # (K,)
    adjusted: NDArray[np.int32]  # (K,)
    context: NDArray[np.int32]  # (K,) the n-gram without its last word, where all of them are in this tree; else (0,)

    @property
    def order(self) -> int:
        return len(self.starts) - 2

    def nodes(self, n: int) -> slice:
        """Those of length n."""
        return slice(int(self.starts[n]), int(self.starts[n + 1]))

    def ngrams(self, first: int, end: int, n: int) -> NDArray[np.int32]:
        """The words of nodes `first` to `end`, which are of length n: (R, n)."""
        found = np.empty((end - first, n), dtype=np.int32)
        _spell(self.word, self.parent, first, found)
        return found

    def find(self, rows: NDArray[np.int32]) -> NDArray[np.int32]:
        """The nodes of n-grams (R, n); -1 where there is none."""
        found = np.empty(len(rows), dtype=np.int32)
        _find(rows, _root_of_word(self.word[self.nodes(1)]), self.word, self.first, found)
        return found


def grow(rows: NDArray[np.int32], *, has_marks: bool, is_text: bool) -> NGramTree:
    """The tree of windows (M, N). `has_marks` adds <unk> and <s>, which no window ends with; `is_text` says that the
    windows are those of a whole text, in its order.

    The adjusted count is the number of occurrences at length N and of what begins with <s>, else how many different
    words come before (Heafield et al. 2013, section 3.2).
    """
    count, order = rows.shape
    in_order = _sort_from_last(rows, int(rows.max(initial=0)), *np.empty((4, count), dtype=np.int32))
    sorted_rows = rows[in_order]
    counts = _count_nodes(sorted_rows)
    counts[1] += 2 * has_marks
    starts = np.concatenate([[0], np.cumsum(counts)])  # counts[0] is 0
    total = int(starts[-1])
    assert max(total, len(rows)) < 2**31
    word, parent, occurrences, adjusted, met = (zeros((total,), np.int32) for _ in range(5))
    first = np.full(total + 1, total, dtype=np.int32)
    longest = np.empty(count, dtype=np.int32)
    _fill(sorted_rows, in_order, starts, has_marks, word, parent, first, occurrences, met, longest)
    _adjust(starts, word, first, occurrences, adjusted, order)
    context = met if is_text else met[:0].copy()
    if is_text:
        _to_contexts(starts, word, parent, longest, _root_of_word(word[: starts[2]]), context)
    return NGramTree(starts, word, parent, first, occurrences, adjusted, context)


def _root_of_word(roots: NDArray[np.int32]) -> NDArray[np.int32]:
    """The node of each word up to the largest that the nodes of length 1 have, by their words; -1 where there is
    none."""
    found = np.full(int(roots.max(initial=0)) + 1, -1, dtype=np.int32)
    found[roots] = np.arange(len(roots), dtype=np.int32)
    return found


def zeros(shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """As np.zeros, but in large pages of memory where the system has them: those of a large array that are met one by
    one cost more than what is then done with them. np.empty asks for large pages, np.zeros does not."""
    found: NDArray[Any] = np.empty(shape, dtype=dtype)
    found[...] = 0
    return found


@compiled
def _sort_from_last(rows: Any, largest: int, found: Any, other: Any, keys: Any, other_keys: Any) -> Any:
    """The order that sorts rows by their last word, then by the one before ...: radix sort, two digits a word. What
    comes behind `largest` is room to work in: (M,) each."""
    count, order = rows.shape
    bits = 1
    while largest >> (2 * bits):
        bits += 1
    mask = (1 << bits) - 1
    for place in range(count):
        found[place] = place
    places = np.empty(1 << bits, dtype=np.int64)
    for column in range(order):
        for place in range(count):
            keys[place] = rows[found[place], column]
        for shift in (0, bits):
            places[:] = 0
            for place in range(count):
                places[(keys[place] >> shift) & mask] += 1
            at = 0
            for digit in range(len(places)):
                at, places[digit] = at + places[digit], at
            for place in range(count):
                digit = (keys[place] >> shift) & mask
                other[places[digit]], other_keys[places[digit]] = found[place], keys[place]
                places[digit] += 1
            found, other = other, found
            keys, other_keys = other_keys, keys
    return found


@compiled
def _common(rows: Any, row: int) -> int:
    """How many words at the end a row has in common with the one before."""
    order = rows.shape[1]
    if row == 0:
        return 0
    common = 0
    while common < order and rows[row, order - 1 - common] == rows[row - 1, order - 1 - common]:
        common += 1
    return common


@compiled
def _count_nodes(rows: Any) -> Any:
    count, order = rows.shape
    counts = np.zeros(order + 1, dtype=np.int64)
    for row in range(count):
        common = _common(rows, row)
        for n in range(1, order + 1):
            if n > common:
                counts[n] += 1
            if rows[row, order - n] == BEGIN_ID:
                break
    return counts


@compiled
def _fill(
    rows: Any,
    in_order: Any,
    starts: Any,
    has_marks: bool,
    word: Any,
    parent: Any,
    first: Any,
    occurrences: Any,
    met: Any,
    longest: Any,
) -> None:
    """Besides what a tree has: of each node a window that it was `met` in (K,), of each window its `longest` node
    (M,); windows by their place before they were put `in_order` (M,)."""
    count, order = rows.shape
    used = starts[:-1].copy()  # by length: where the next node goes
    path = np.zeros(order + 1, dtype=np.int64)
    if has_marks:
        for mark in (UNKNOWN_ID, BEGIN_ID):
            word[used[1]], first[used[1]] = mark, starts[2]
            used[1] += 1
    for row in range(count):
        common, window = _common(rows, row), in_order[row]
        for n in range(1, order + 1):
            if n > common:
                node = used[n]
                used[n] += 1
                word[node] = rows[row, order - n]
                parent[node] = path[n - 1]
                first[node] = used[n + 1] if n < order else starts[order + 1]
                path[n], met[node] = node, window
            occurrences[path[n]] += 1
            longest[window] = path[n]
            if rows[row, order - n] == BEGIN_ID:
                break


@compiled
def _adjust(starts: Any, word: Any, first: Any, occurrences: Any, adjusted: Any, order: int) -> None:
    for node in range(len(word)):
        if node >= starts[order] or word[node] == BEGIN_ID:
            adjusted[node] = occurrences[node]
        else:
            adjusted[node] = first[node + 1] - first[node]


@compiled
def _to_contexts(starts: Any, word: Any, parent: Any, longest: Any, root_of_word: Any, windows: Any) -> None:
    """Of each node (K,) a window that ends with it becomes its context. The window before that ends with the context:
    its longest n-gram or what that backs off to."""
    order = len(starts) - 2
    windows[: starts[2]] = -1
    for node in range(starts[2], starts[min(3, order + 1)]):
        windows[node] = root_of_word[word[node]]  # of <s>, with which no window ends, too
    for n in range(3, order + 1):
        for node in range(starts[n], starts[n + 1]):
            context = longest[windows[node] - 1]
            while context >= starts[n]:
                context = parent[context]
            windows[node] = context


@compiled
def _spell(word: Any, parent: Any, begin: int, rows: Any) -> None:
    for row in range(len(rows)):
        node = begin + row
        for column in range(rows.shape[1]):
            rows[row, column] = word[node]
            node = parent[node]


@compiled
def _find(rows: Any, root_of_word: Any, word: Any, first: Any, found: Any) -> None:
    """Rows that follow one another often end alike: the walk goes on where it was."""
    count, n = rows.shape
    path = np.full(n + 1, -1, dtype=np.int64)  # by length: the node that was found for the row before
    for row in range(count):
        same = 0
        while row and same < n and rows[row, n - 1 - same] == rows[row - 1, n - 1 - same]:
            same += 1
        for length in range(same + 1, n + 1):
            wanted = rows[row, n - length]
            if length == 1:
                path[1] = root_of_word[wanted] if wanted < len(root_of_word) else -1
                continue
            if path[length - 1] < 0:
                path[length] = -1
                continue
            low, high = first[path[length - 1]], first[path[length - 1] + 1]
            end = high
            while low < high:
                middle = (low + high) // 2
                if word[middle] < wanted:
                    low = middle + 1
                else:
                    high = middle
            path[length] = low if low < end and word[low] == wanted else -1
        found[row] = path[n]

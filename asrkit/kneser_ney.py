"""Sentences of words in, an n-gram model as an ARPA file out: interpolated modified Kneser-Ney.

Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (TR-10-98, 1998), as KenLM's lmplz
computes it: Heafield et al., "Scalable Modified Kneser-Ney Language Model Estimation" (ACL 2013).

An n-gram's shorter forms have its last word, and lie in the same part (ngram_counts.py); its context ends in the word
before, and lies in another. So questions about contexts go to their parts and the answers come back, in files.

Shapes: K nodes of a part's tree; R n-grams that ask.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.arpa_text import Words, arpa_lines
from asrkit.atomic import replacing, storing_in
from asrkit.errors import AsrkitError
from asrkit.loops import compiled
from asrkit.ngram_counts import MARKS, grow_parts, number_text
from asrkit.ngram_tree import BEGIN_ID, NGramTree, zeros
from asrkit.progress import Progress, Silent

MAX_ORDER = 6
MEMORY_MB = 2000
MIN_MEMORY_MB = 300
OUTSIDE_MB = 250  # what Python, the word list and a chunk of text take beside a part
BYTES_PER_WINDOW = (60, 32)  # of a part, at most: so many, and so many more for each word of the order
CHUNK_LINES = 500_000  # written at once
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # lmplz's, for adjusted counts of 1, 2, and 3 or more
NEVER = 1e-30  # a back-off of 0, where a discount is 0, has no logarithm

Discounts = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Which n-grams stay: those that occur more often than `thresholds[n - 1]`, all of whose words are in `words`.

    All take part in the counts; what is left out falls back to shorter n-grams. Thresholds that are not given are the
    last one's; `words` None means all.
    """

    thresholds: tuple[int, ...] = (0,)
    words: frozenset[str] | None = None

    def __post_init__(self) -> None:
        found = ",".join(map(str, self.thresholds))
        if not self.thresholds or self.thresholds[0] != 0:
            raise AsrkitError(f"prune is {found!r}; wanted one threshold for each order, 0 for words: 0,0,1,1")
        if any(longer < shorter for shorter, longer in pairwise(self.thresholds)):
            raise AsrkitError(
                f"prune is {found!r}; wanted thresholds that do not fall: an n-gram cannot stay without those within it"
            )
        if self.words is not None and not self.words:
            raise AsrkitError("the word list that the n-gram is limited to is empty")

    def threshold(self, n: int) -> int:
        return self.thresholds[min(n, len(self.thresholds)) - 1]

    def allowed(self, words: Sequence[str]) -> NDArray[np.bool_]:
        """Which of a text's words may stay; the marks always do."""
        return np.array([self.words is None or word in self.words or word in MARKS for word in words])


def build_arpa(
    text: Iterable[Sequence[str] | bytes],
    order: int,
    out_path: Path,
    *,
    pruning: Pruning = Pruning(),
    discount_fallback: bool = False,
    memory_mb: int = MEMORY_MB,
    progress: Progress = Silent(),
) -> list[int]:
    """Writes the n-gram model of a text and gives its number of n-grams of each length. The text comes as sentences of
    words, or as blocks of whole lines in UTF-8.

    Unknown words share what smoothing leaves to a uniform distribution. Needs about `memory_mb`, more where there are
    millions of different words; the rest goes to files beside `out_path` for the time being. The same sentences give
    the same bytes, in whatever order they come and whatever the memory.

    Raises:
        AsrkitError: no sentences, a word that an ARPA cannot hold, a full disk, or a text too small or too artificial
            to estimate the discounts from (discount_fallback=True takes fixed ones, as `lmplz --discount_fallback`).
    """
    if not 1 <= order <= MAX_ORDER:
        raise AsrkitError(f"the order of an n-gram model is {order}; wanted 1 to {MAX_ORDER}")
    if len(pruning.thresholds) > order:
        raise AsrkitError(f"prune has {len(pruning.thresholds)} thresholds for {order} orders; wanted {order} at most")
    if memory_mb < MIN_MEMORY_MB:
        raise AsrkitError(f"memory is {memory_mb} MB; wanted {MIN_MEMORY_MB} MB or more")
    if not out_path.parent.is_dir():
        raise AsrkitError(f"{out_path} cannot be written: there is no folder {out_path.parent}")
    per_window = BYTES_PER_WINDOW[0] + BYTES_PER_WINDOW[1] * order
    window_limit = (memory_mb - OUTSIDE_MB) * 1e6 / per_window
    with storing_in(out_path.parent):
        folder = Path(tempfile.mkdtemp(prefix=f".{out_path.name}.", dir=out_path.parent))
        try:
            with progress.bar("reading text", None, "word") as bar:
                numbered = number_text(text, folder, bar.advance)
            with progress.bar("counting n-grams", float(numbered.occurrences.sum()), "word") as bar:
                parts, trees = grow_parts(numbered, order, window_limit, folder, bar.advance)
                shelf = _Shelf(folder if parts[-1] else None)
                census = _take_census(trees, order, parts, pruning.allowed(numbered.words), pruning, shelf)
            discounts = [_discounts(census.seen[n], n, discount_fallback) for n in range(1, order + 1)]
            with progress.bar("estimating", 2.0 * len(census.parts), "part") as bar:
                for part in census.parts:
                    _answer(part, order, discounts, shelf)
                    bar.advance()
                encoded = Words.of(numbered.words)
                for part in census.parts:
                    _write_part(part, order, parts, discounts[0], census, encoded, shelf, folder)
                    bar.advance()
            counts = [int(count) for count in census.kept[1:]]
            _join_arpa(counts, folder, out_path)
            return counts
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _discounts(seen: NDArray[np.int64], n: int, fallback: bool) -> Discounts:
    """What is taken from an adjusted count of 1, of 2, and of 3 or more (Chen and Goodman, equation 26).

    `seen` (5,) says how many n-grams have an adjusted count of 1, 2, 3 and 4.
    """
    missing = [count for count in (1, 2, 3) if not seen[count]]
    if not missing:
        share = seen[1] / (seen[1] + 2 * seen[2])
        one, two, three = (count - (count + 1) * share * seen[count + 1] / seen[count] for count in (1, 2, 3))
        if 0 <= one <= 1 and 0 <= two <= 2 and 0 <= three <= 3:
            return float(one), float(two), float(three)
    if fallback:
        return FALLBACK_DISCOUNTS
    found = f"no {n}-gram has an adjusted count of {missing[0]}" if missing else f"{n}-gram discounts are out of range"
    raise AsrkitError(
        f"the text is too small or too artificial for Kneser-Ney discounts: {found}; "
        "take more text, or fixed discounts with --discount-fallback (discount_fallback=True)"
    )


class _Shelf:
    """Arrays under names: in memory, or as files in a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._held: dict[str, NDArray[Any]] = {}

    def put(self, name: str, array: NDArray[Any]) -> None:
        if self.folder:
            np.save(self.folder / f"{name}.npy", array)
        else:
            self._held[name] = array

    def get(self, name: str) -> NDArray[Any]:
        """From a folder only what is then taken of it is read."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="r") if self.folder else self._held[name]

    def take(self, name: str) -> NDArray[Any]:
        """For the last time."""
        if not self.folder:
            return self._held.pop(name)
        array: NDArray[Any] = np.load(self.folder / f"{name}.npy")
        (self.folder / f"{name}.npy").unlink()
        return array

    def append(self, name: str, rows: NDArray[Any]) -> None:
        """To what `take_rows` gives; in memory there is only one part, and so only one such call."""
        if self.folder:
            with (self.folder / f"{name}.raw").open("a+b") as file:
                rows.tofile(file)
        else:
            self._held[name] = rows

    def take_rows(self, name: str, like: NDArray[Any]) -> NDArray[Any]:
        """All rows that were appended; `like` (0, columns) or (0,) has their type."""
        if not self.folder:
            return self._held.pop(name)
        path = self.folder / f"{name}.raw"
        rows = np.fromfile(path, dtype=like.dtype).reshape(-1, *like.shape[1:]) if path.exists() else like
        path.unlink(missing_ok=True)
        return rows

    def put_tree(self, part: int, tree: NGramTree) -> None:
        for field in fields(tree):
            self.put(f"tree-{part}-{field.name}", getattr(tree, field.name))

    def get_tree(self, part: int) -> NGramTree:
        return NGramTree(*(np.ascontiguousarray(self.get(f"tree-{part}-{field.name}")) for field in fields(NGramTree)))


@dataclass(frozen=True)
class _Census:
    """What must be known of all parts before any probability."""

    parts: range
    seen: NDArray[np.int64]  # (N + 1, 5): n-grams of each length with an adjusted count of 0 to 4
    kept: NDArray[np.int64]  # (N + 1,): n-grams of each length that stay
    unigrams: NDArray[np.int64]  # (5,): _SUMS of the empty context
    questions: NDArray[np.int64]  # (N + 1, parts, parts): by length, part of the n-gram, part of its context


def _take_census(
    trees: Iterable[NGramTree],
    order: int,
    parts: NDArray[np.int32],
    allowed: NDArray[np.bool_],
    pruning: Pruning,
    shelf: _Shelf,
) -> _Census:
    """Counts the counts, puts every part on the shelf, and for each n-gram the question after its context."""
    seen = np.zeros((order + 1, 5), dtype=np.int64)
    kept_counts = np.zeros(order + 1, dtype=np.int64)
    unigrams = np.zeros((1, len(_SUMS)), dtype=np.int64)
    count = int(parts[-1]) + 1
    questions = np.zeros((order + 1, count, count), dtype=np.int64)
    for part, tree in enumerate(trees):
        thresholds = np.array([0, *map(pruning.threshold, range(1, order + 1))])
        kept = _mark_kept(tree.starts, tree.word, tree.parent, tree.occurrences, thresholds, allowed)
        for n in range(1, order + 1):
            nodes = tree.nodes(n)
            adjusted = tree.adjusted[nodes]
            seen[n] += np.bincount(np.minimum(adjusted, 5), minlength=6)[:5]
            kept_counts[n] += int(kept[nodes].sum())
            if n == 1:
                _add_up(np.zeros(len(adjusted), dtype=np.int32), adjusted, kept[nodes], unigrams)
                continue
            # nodes (R,), or where they may be another part's, words (R, n - 1)
            contexts = tree.context[nodes] if count == 1 else tree.ngrams(nodes.start, nodes.stop, n)[:, :-1]
            for asked, of_part in _by_part(contexts, parts):
                questions[n, part, asked] = len(contexts[of_part])
                shelf.append(f"contexts-{n}-{asked}", contexts[of_part])
                shelf.append(f"adjusted-{n}-{asked}", adjusted[of_part])
                shelf.append(f"kept-{n}-{asked}", kept[nodes][of_part])
        shelf.put_tree(part, tree)
        shelf.put(f"kept-{part}", kept)
    return _Census(range(count), seen, kept_counts, unigrams[0], questions)


def _by_part(contexts: NDArray[np.int32], parts: NDArray[np.int32]) -> Iterator[tuple[int, slice | NDArray[np.intp]]]:
    """Every part, and which contexts are of it, by their words (R, n); where there is one, whatever they are."""
    if not parts[-1]:
        yield 0, slice(None)
        return
    part_of_row = parts[contexts[:, -1]]
    yield from ((part, np.flatnonzero(part_of_row == part)) for part in range(int(parts[-1]) + 1))


def _answer(part: int, order: int, discounts: Sequence[Discounts], shelf: _Shelf) -> None:
    """For every context in this part its total and back-off; and for each n-gram that asked what it needs of them."""
    tree = shelf.get_tree(part)
    back_off = np.ones(len(tree.word))
    for n in range(2, order + 1):
        contexts = tree.nodes(n - 1)
        sums = zeros((contexts.stop - contexts.start, len(_SUMS)), np.int64)
        asked = shelf.take_rows(f"contexts-{n}-{part}", np.empty((0, n - 1), dtype=np.int32))  # (R, n - 1)
        adjusted = shelf.take_rows(f"adjusted-{n}-{part}", np.empty(0, dtype=np.int32))  # (R,)
        kept = shelf.take_rows(f"kept-{n}-{part}", np.empty(0, dtype=np.bool_))  # (R,)
        found = asked if asked.ndim == 1 else tree.find(asked)  # (R,)
        rows = found - np.int32(contexts.start)  # of sums
        del asked, found
        _add_up(rows, adjusted, kept, sums)
        amounts = np.array([0.0, *discounts[n - 1]])
        _back_off(sums, amounts, back_off[contexts])
        seen, left = np.empty(len(rows)), np.empty(len(rows))
        _share(adjusted, rows, sums, amounts, back_off[contexts], seen, left)
        shelf.put(f"seen-{n}-{part}", seen)
        shelf.put(f"left-{n}-{part}", left)
    shelf.put(f"back-off-{part}", back_off)


def _write_part(
    part: int,
    order: int,
    parts: NDArray[np.int32],
    discounts: Discounts,
    census: _Census,
    words: Words,
    shelf: _Shelf,
    folder: Path,
) -> None:
    """The part's lines, behind those of the parts before it.

    p(w | context) = (count - discount) / total + back_off(context) * p(w | shorter context) (section 3.3).
    """
    tree, kept, back_off = shelf.get_tree(part), shelf.take(f"kept-{part}"), shelf.take(f"back-off-{part}")
    p = zeros((len(tree.word),), np.float64)
    # uniform over every word that stays, </s> and <unk>; <s> is never predicted, and lmplz writes log10 1
    amounts, uniform = np.array([0.0, *discounts]), np.empty(1)
    _back_off(census.unigrams[None], amounts, uniform)
    uniform /= int(census.kept[1]) - 1
    roots = tree.nodes(1)
    counts = tree.adjusted[roots]
    p[roots] = (counts - amounts[np.minimum(counts, 3)]) / census.unigrams[_SUMS.index("total")] + uniform
    marks = tree.word[roots] <= BEGIN_ID
    p[roots][marks] = np.where(tree.word[roots][marks] == BEGIN_ID, 1.0, uniform)
    for n in range(1, order + 1):
        nodes = tree.nodes(n)
        if n > 1:
            _predict(p, tree.parent, nodes.start, *_answers(part, n, tree, parts, census, shelf))
        with (folder / f"{n}.arpa").open("a+b") as out:
            for first in range(nodes.start, nodes.stop, CHUNK_LINES):
                some = slice(first, min(first + CHUNK_LINES, nodes.stop))
                stay = np.flatnonzero(kept[some]) if not kept[some].all() else slice(None)
                ngrams = tree.ngrams(some.start, some.stop, n)[stay]
                left_log10 = _log10(back_off[some][stay]) if n < order else None
                out.write(arpa_lines(ngrams, _log10(p[some][stay]), left_log10, words))


def _answers(
    part: int, n: int, tree: NGramTree, parts: NDArray[np.int32], census: _Census, shelf: _Shelf
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `_answer` said to the part's n-grams of one length, in their order, from whichever part."""
    if len(census.parts) == 1:
        return shelf.take(f"seen-{n}-{part}"), shelf.take(f"left-{n}-{part}")
    nodes = tree.nodes(n)
    seen, left = np.empty((2, nodes.stop - nodes.start))
    contexts = tree.ngrams(nodes.start, nodes.stop, n)[:, :-1]
    for asked, of_part in _by_part(contexts, parts):
        before = int(census.questions[n, :part, asked].sum())
        mine = slice(before, before + int(census.questions[n, part, asked]))
        seen[of_part] = shelf.get(f"seen-{n}-{asked}")[mine]
        left[of_part] = shelf.get(f"left-{n}-{asked}")[mine]
    return seen, left


def _join_arpa(counts: Sequence[int], folder: Path, out_path: Path) -> None:
    with replacing(out_path) as out:
        out.write("\n".join(["\\data\\", *(f"ngram {n}={count}" for n, count in enumerate(counts, 1)), ""]).encode())
        for n in range(1, len(counts) + 1):
            out.write(f"\n\\{n}-grams:\n".encode())
            with (folder / f"{n}.arpa").open("rb") as lines:
                shutil.copyfileobj(lines, out, 1 << 20)
            (folder / f"{n}.arpa").unlink()
        out.write(b"\n\\end\\\n")


def _log10(values: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.log10(np.maximum(values, NEVER))
    return found


# By context: its total, n-grams that stay and have an adjusted count of 1, 2, 3 or more, and the total of the others
_SUMS = ("total", "ones", "twos", "more", "pruned")


@compiled
def _back_off(sums: Any, amounts: Any, back_off: Any) -> None:
    """The share of each context (rows of _SUMS) that goes to shorter n-grams; all of it where nothing follows.
    `amounts` (4,) are taken from adjusted counts of 0, 1, 2, and 3 or more."""
    for context in range(len(sums)):
        total, ones, twos, more, pruned = sums[context]
        if total:
            back_off[context] = (ones * amounts[1] + twos * amounts[2] + more * amounts[3] + pruned) / total
        else:
            back_off[context] = 1.0


@compiled
def _share(adjusted: Any, contexts: Any, sums: Any, amounts: Any, back_off: Any, seen: Any, left: Any) -> None:
    """What of a context falls to each n-gram by its own count, and to what it backs off to."""
    for row in range(len(adjusted)):
        count, context = adjusted[row], contexts[row]
        seen[row] = (count - amounts[min(count, 3)]) / sums[context, 0]
        left[row] = back_off[context]


@compiled
def _predict(p: Any, parent: Any, first: int, seen: Any, left: Any) -> None:
    for row in range(len(seen)):
        p[first + row] = seen[row] + left[row] * p[parent[first + row]]


@compiled
def _add_up(contexts: Any, adjusted: Any, kept: Any, sums: Any) -> None:
    for row in range(len(contexts)):
        count = adjusted[row]
        if count:
            context = contexts[row]
            sums[context, 0] += count
            if kept[row]:
                sums[context, min(count, 3)] += 1
            else:
                sums[context, 4] += count


@compiled
def _mark_kept(starts: Any, word: Any, parent: Any, occurrences: Any, thresholds: Any, allowed: Any) -> Any:
    kept = np.zeros(len(word), dtype=np.bool_)
    for n in range(1, len(starts) - 1):
        for node in range(starts[n], starts[n + 1]):
            often = occurrences[node] > thresholds[n] or n == 1
            kept[node] = allowed[word[node]] and often and (n == 1 or kept[parent[node]])
    return kept

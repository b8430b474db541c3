"""Sentences of words in, an n-gram model as an ARPA file out: interpolated modified Kneser-Ney, for small texts.

Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (TR-10-98, 1998), as KenLM's lmplz
computes it: Heafield et al., "Scalable Modified Kneser-Ney Language Model Estimation" (ACL 2013). All counts are held
in memory, a hundred bytes or so for each distinct n-gram.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asrkit.atomic import replacing
from asrkit.errors import AsrkitError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # lmplz's, for adjusted counts of 1, 2, and 3 or more

NGram = tuple[str, ...]


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length: their interpolated probabilities, and the back-off weights of their contexts."""

    probability: dict[NGram, float]
    back_off: dict[NGram, float]  # of contexts, which are one word shorter


def build_arpa(
    sentences: Iterable[Sequence[str]], order: int, out_path: Path, *, discount_fallback: bool = False
) -> None:
    """Writes the n-gram model of the sentences; unknown words share what smoothing leaves to a uniform distribution.

    Raises:
        AsrkitError: no sentences, a word that an ARPA cannot hold, or a text too small or too artificial to estimate
            the discounts from (discount_fallback=True takes fixed ones then, as `lmplz --discount_fallback`).
    """
    if order < 1:
        raise AsrkitError(f"the order of an n-gram model is {order}; wanted 1 or more")
    counts = _adjusted_counts(sentences, order)
    orders: list[_Order] = []
    for n, counted in enumerate(counts, start=1):
        discounts = _discounts(counted, n, discount_fallback)
        uniform: dict[NGram, float] = {(): 1 / (len(counts[0]) + 1)}  # over every word, </s> and <unk>
        orders.append(_interpolate(counted, discounts, orders[-1].probability if orders else uniform))
    unigrams = orders[0].probability
    unigrams[(UNKNOWN,)] = orders[0].back_off[()] / (len(unigrams) + 1)
    unigrams[(BEGIN,)] = 1.0  # never predicted, only a context; lmplz writes log10 1
    _write_arpa(orders, out_path)


def _adjusted_counts(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[NGram]]:
    """One table for each length: how often at the highest order, else how many different words come before.

    What begins with <s> has nothing before it, and keeps the number of times it occurs (section 3.2). <s> alone is not
    counted.
    """
    highest: Counter[NGram] = Counter()
    beginnings: list[Counter[NGram]] = [Counter() for _ in range(order)]
    vocabulary: set[str] = set()
    for sentence in sentences:
        _check_words(set(sentence) - vocabulary)
        vocabulary.update(sentence)
        words = (BEGIN, *sentence, END)
        highest.update(words[i : i + order] for i in range(len(words) - order + 1))
        for n in range(2, min(order - 1, len(words)) + 1):
            beginnings[n - 1][words[:n]] += 1
    counts = [highest]
    for n in range(order - 1, 0, -1):
        preceded = Counter(longer[1:] for longer in counts[0])
        counts.insert(0, preceded + beginnings[n - 1])
    counts[0].pop((BEGIN,), None)
    if not counts[0]:
        raise AsrkitError("the text for the n-gram model is empty; wanted at least one sentence")
    return counts


def _check_words(words: Iterable[str]) -> None:
    for word in words:
        if word in (BEGIN, END, UNKNOWN) or word.split() != [word]:
            raise AsrkitError(f"the text has {word!r} as a word, which an ARPA file cannot hold; remove it")


def _discounts(counted: Mapping[NGram, int], n: int, fallback: bool) -> tuple[float, ...]:
    """What is taken from an adjusted count of 1, of 2, and of 3 or more (Chen and Goodman, equation 26)."""
    seen = Counter(count for count in counted.values() if count <= 4)
    missing = [count for count in (1, 2, 3) if not seen[count]]
    if not missing:
        share = seen[1] / (seen[1] + 2 * seen[2])
        discounts = tuple(count - (count + 1) * share * seen[count + 1] / seen[count] for count in (1, 2, 3))
        if all(0 <= discount <= count for count, discount in enumerate(discounts, start=1)):
            return discounts
    if fallback:
        return FALLBACK_DISCOUNTS
    found = f"no {n}-gram has an adjusted count of {missing[0]}" if missing else f"{n}-gram discounts are out of range"
    raise AsrkitError(
        f"the text is too small or too artificial for Kneser-Ney discounts: {found}; "
        "take more text, or fixed discounts with discount_fallback=True"
    )


def _interpolate(counted: Mapping[NGram, int], discounts: Sequence[float], lower: Mapping[NGram, float]) -> _Order:
    """p(w | context) = (count - discount) / total + back_off(context) * p(w | shorter context) (section 3.3)."""
    totals: defaultdict[NGram, int] = defaultdict(int)
    taken: defaultdict[NGram, float] = defaultdict(float)
    for ngram, count in counted.items():
        totals[ngram[:-1]] += count
        taken[ngram[:-1]] += discounts[min(count, 3) - 1]
    back_off = {context: taken[context] / total for context, total in totals.items()}
    probability = {}
    for ngram, count in counted.items():
        context = ngram[:-1]
        kept = (count - discounts[min(count, 3) - 1]) / totals[context]
        probability[ngram] = kept + back_off[context] * lower[ngram[1:]]
    return _Order(probability, back_off)


def _write_arpa(orders: Sequence[_Order], path: Path) -> None:
    try:
        with replacing(path) as file:
            file.writelines(line.encode("utf-8") for line in _arpa_lines(orders))
    except OSError as error:
        raise AsrkitError(f"{path} cannot be written: {error.strerror}") from error


def _arpa_lines(orders: Sequence[_Order]) -> Iterator[str]:
    """Sorted by words, the markers before them."""
    yield "\\data\\\n"
    for n, order in enumerate(orders, start=1):
        yield f"ngram {n}={len(order.probability)}\n"
    for n, order in enumerate(orders, start=1):
        yield f"\n\\{n}-grams:\n"
        back_off = orders[n].back_off if n < len(orders) else None
        for ngram in sorted(order.probability, key=_markers_first):
            line = f"{_log10(order.probability[ngram])}\t{' '.join(ngram)}"
            yield f"{line}\n" if back_off is None else f"{line}\t{_log10(back_off.get(ngram, 1.0))}\n"
    yield "\n\\end\\\n"


def _markers_first(ngram: NGram) -> tuple[tuple[bool, str], ...]:
    return tuple((word not in (BEGIN, END, UNKNOWN), word) for word in ngram)


def _log10(value: float) -> str:
    return f"{math.log10(value):.7g}"

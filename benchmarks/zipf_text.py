"""A seed in, words and texts out: Zipf's law, and for searches a local structure that an n-gram can learn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A word follows from the two before it, from the one before it, or from nothing but its rank: shares of all words.
BY_TWO, BY_ONE = 0.35, 0.40
SUCCESSORS = 12  # that a context prefers, the first of them most
ONSETS = ["", *"bbccddffghhjklllmmnnpprrssttvwyz", "br", "ch", "gr", "pr", "sh", "sp", "st", "th", "tr", "wh", "qu"]
NUCLEI = [*"aaeeiioou", "y", "ai", "ea", "ee", "oo", "ou"]
CODAS = [*[""] * 20, *"dlmnnprrstt", "ck", "ll", "nd", "ng", "nt", "st", "x", "'s"]
HANGUL_FIRST, HANGUL_COUNT = 0xAC00, 11_172


class Zipf:
    """Ranks 0 to count - 1, the probability of each in proportion to 1 / (rank + 1)."""

    def __init__(self, count: int) -> None:
        self.cdf = np.cumsum(1 / np.arange(1, count + 1))
        self.cdf /= self.cdf[-1]

    def ranks(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """From numbers between 0 and 1."""
        return np.minimum(np.searchsorted(self.cdf, uniform), len(self.cdf) - 1)


def write_independent(path: Path, words: Sequence[str], count: int, *, seed: int = 1) -> None:
    """`count` words, each drawn for itself, in sentences of 3 to 29: as hard as a text can be for counting n-grams."""
    zipf, numbers, listed = Zipf(len(words)), np.random.default_rng(seed), np.array(words, dtype=object)
    with path.open("w", encoding="utf-8") as file:
        for first in range(0, count, 1_000_000):
            drawn = listed[zipf.ranks(numbers.random(min(1_000_000, count - first)))].tolist()
            at = 0
            while at < len(drawn):
                length = int(numbers.integers(3, 30))
                file.write(" ".join(drawn[at : at + length]) + "\n")
                at += length


@dataclass(frozen=True)
class Language:
    """Made-up words, the most frequent first, and strangers: words that no text for an n-gram has."""

    words: tuple[str, ...]
    strangers: tuple[str, ...]

    def texts(self, count: int, length: int, *, seed: int, strange: float = 0.0) -> Iterator[list[str]]:
        """`count` texts of `length` words, of which a share are strangers."""
        numbers = np.random.default_rng((seed, 1))
        for row in draw(len(self.words), count, length, seed):
            text = [self.words[word] for word in row]
            for at in np.flatnonzero(numbers.random(length) < strange):
                text[at] = self.strangers[int(numbers.integers(len(self.strangers)))]
            yield text

    def write(self, path: Path, count: int, *, seed: int) -> None:
        """At least `count` words, in sentences of 30, about as long as the texts that are searched for."""
        with path.open("w", encoding="utf-8") as file:
            file.writelines(" ".join(text) + "\n" for text in self.texts(-(-count // 30), 30, seed=seed))


def latin(count: int, *, seed: int = 7) -> Language:
    """Words of a to z and the apostrophe."""
    numbers = np.random.default_rng(seed)

    def syllable() -> str:
        return "".join(parts[int(numbers.integers(len(parts)))] for parts in (ONSETS, NUCLEI, CODAS))

    return _language(count, syllable, numbers)


def hangul(count: int, syllables: tuple[str, ...], *, seed: int = 7) -> Language:
    """Words of these syllables, which follow Zipf's law, too."""
    numbers, zipf = np.random.default_rng(seed), Zipf(len(syllables))
    return _language(count, lambda: syllables[int(zipf.ranks(numbers.random(1))[0])], numbers)


def hangul_syllables(count: int, *, seed: int = 7) -> tuple[str, ...]:
    """So many of all there are."""
    codes = np.random.default_rng(seed).choice(HANGUL_COUNT, count, replace=False)
    return tuple(chr(HANGUL_FIRST + code) for code in codes)


def _language(count: int, syllable: Callable[[], str], numbers: np.random.Generator) -> Language:
    """The short words mostly first, for frequent words are short; every eleventh word is a stranger."""
    found: dict[str, float] = {}
    while len(found) < count + count // 10:
        word = "".join(syllable() for _ in range(1 + numbers.binomial(4, 0.45)))
        found.setdefault(word, len(word) * numbers.lognormal(0.0, 0.35))
    ranked = sorted(found, key=found.__getitem__)
    strangers = ranked[10::11]
    return Language(tuple(word for at, word in enumerate(ranked) if at % 11 != 10), tuple(strangers))


def draw(words: int, texts: int, length: int, seed: int) -> NDArray[np.int64]:
    """Ranks of words (texts, length). Which words a context prefers is a hash of it, the same for every seed."""
    numbers, zipf, successors = np.random.default_rng(seed), Zipf(words), Zipf(SUCCESSORS)
    found = np.zeros((texts, length), dtype=np.int64)
    nothing = np.full(texts, words)  # before the first word
    for at in range(length):
        before, last = (found[:, at - back] if at >= back else nothing for back in (2, 1))
        kind, place = numbers.random(texts), successors.ranks(numbers.random(texts))
        context = np.where(kind < BY_TWO, (before + 1) * np.int64(words + 2) + last, last)
        bound = zipf.ranks(_hash(context * (2 * SUCCESSORS) + 2 * place + (kind < BY_TWO)))
        free = zipf.ranks(numbers.random(texts))
        found[:, at] = np.where(kind < BY_TWO + BY_ONE, bound, free)
    return found


def _hash(values: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers between 0 and 1 (splitmix64)."""
    mixed = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))).astype(np.float64) / 2.0**64

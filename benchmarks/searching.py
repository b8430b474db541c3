"""An engine, utterances and their texts in; settings tuned on one fold, and rates and speed on another, out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from engines import Decode, Engine, LogProbs
from numpy.typing import NDArray

from asrkit.cores import usable_cores
from asrkit.error_rates import Counts, align, count, total
from asrkit.tune import smoothed_best

# Passes over the timed utterances: engines take turns, in each of ROUNDS one pass or as many as `round_s` has room for.
# The fastest counts, for others use this machine, too, for seconds or minutes. Who has had LONG_S has no more turns.
ROUNDS, LONG_S = 4, 60.0
WARM_UP = 2  # utterances decoded before the clock starts: what is compiled or built on the way is no search
RESAMPLES = 10_000


@dataclass(frozen=True)
class Fold:
    """Utterances and what was said."""

    log_probs: Sequence[LogProbs]
    texts: list[str]
    frame_s: float

    @property
    def audio_s(self) -> float:
        return sum(map(len, self.log_probs)) * self.frame_s

    def sample(self, *, first: int | None = None, every: int = 1) -> "Fold":
        """Some of it, held in memory."""
        return Fold(self.log_probs[:first:every], self.texts[:first:every], self.frame_s)


@dataclass(frozen=True)
class Grid:
    """Settings to try: all pairs on a sample of the fold; on all of it those that are `near` the best there; then the
    four neighbours of the best of these, and on to the best of them until none is better. What is chosen is the lowest
    place of a bowl laid through the rates on all of the fold, as `asrkit tune` has it."""

    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    every: int = 1  # utterance, for all pairs
    near: float = 0.05  # share of the best rate by which another's may be above it
    fine_alpha: float = 0.0  # step around the best; 0 for none
    fine_beta: float = 0.0

    def __str__(self) -> str:
        coarse = f"alpha {_listed(self.alphas)} x beta {_listed(self.betas)}"
        if not self.fine_alpha:
            return coarse
        sample = f"on every {self.every}th utterance, on all those within {100 * self.near:g} % of the best"
        return f"{coarse} {sample}, and by +-{self.fine_alpha:g} or +-{self.fine_beta:g} as long as it helps; smoothed"


def _listed(values: Sequence[float]) -> str:
    return "/".join(f"{value:g}" for value in values)


@dataclass(frozen=True)
class Measured:
    """What an engine made of a fold."""

    engine: str
    alpha: float
    beta: float
    words: list[Counts]  # errors of each utterance
    characters: list[Counts]  # with spaces
    speed: float  # audio-seconds per CPU-second

    @property
    def wer(self) -> float:
        return total(self.words).rate

    @property
    def cer(self) -> float:
        return total(self.characters).rate

    def row(self) -> dict[str, float | str]:
        """As it is printed."""
        found = {"alpha": self.alpha, "beta": self.beta, "WER": self.wer, "CER": self.cer}
        rounded = {name: round(value, 4) for name, value in found.items()}
        return {"engine": self.engine, **rounded, "audio-s per CPU-s": round(self.speed, 1)}


def word_counts(texts: Sequence[str], found: Sequence[str]) -> list[Counts]:
    """Errors in the words of each utterance."""
    return [count(align(text.split(), other.split())) for text, other in zip(texts, found, strict=True)]


def character_counts(texts: Sequence[str], found: Sequence[str]) -> list[Counts]:
    """Errors in the characters of each utterance, spaces among them."""
    return [count(align(text, other)) for text, other in zip(texts, found, strict=True)]


_SHARED: list[Callable[[Any], Any]] = []  # for forked processes, which inherit what cannot be sent


def on_all_cores(do: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """What it makes of each item; for what is not timed."""
    _SHARED.append(do)
    try:
        with get_context("fork").Pool(max(1, min(len(items), usable_cores()))) as pool:
            return pool.map(_do, items, chunksize=1)
    finally:
        _SHARED.pop()


def _do(item: Any) -> Any:
    return _SHARED[-1](item)


def tune(engine: Engine, fold: Fold, grid: Grid) -> tuple[float, float]:
    """The alpha and beta with the lowest sum of WER and CER on the fold, luck left aside."""

    def rates(pairs: Sequence[tuple[float, float]], sample: Fold) -> dict[tuple[float, float], float]:
        def rate(pair: tuple[float, float]) -> float:
            texts = list(map(engine.make(*pair), sample.log_probs))
            return sum(total(counts(sample.texts, texts)).rate for counts in (word_counts, character_counts))

        return dict(zip(pairs, on_all_cores(rate, pairs), strict=True))

    sampled = rates([(alpha, beta) for alpha in grid.alphas for beta in grid.betas], fold.sample(every=grid.every))
    least = min(sampled.values())
    if not grid.fine_alpha:
        return min(sampled, key=sampled.__getitem__)
    found = rates([pair for pair in sampled if sampled[pair] <= least * (1 + grid.near)], fold)
    best, before = min(found, key=found.__getitem__), None
    while best != before:
        before = best
        around = [
            (round(best[0] + a * grid.fine_alpha, 3), round(best[1] + b * grid.fine_beta, 3))
            for a, b in ((-1, 0), (1, 0), (0, -1), (0, 1))
        ]
        found |= rates([pair for pair in around if pair not in found], fold)
        best = min(found, key=found.__getitem__)
    return smoothed_best(found)


def measure(
    engines: Mapping[Engine, tuple[float, float]], fold: Fold, timed: Fold, round_s: float
) -> dict[str, Measured]:
    """Rates of engines on a fold, each with its settings, and their speed on another, on this thread."""
    decoders = {engine: engine.make(*settings) for engine, settings in engines.items()}
    took: dict[Engine, list[float]] = {engine: [] for engine in engines}
    for decode in decoders.values():
        for item in timed.log_probs[:WARM_UP]:
            decode(item)
    for _ in range(ROUNDS):
        for engine, decode in decoders.items():
            had = sum(took[engine])
            while had < LONG_S and sum(took[engine]) < had + round_s:
                before = time.thread_time()
                for item in timed.log_probs:
                    decode(item)
                took[engine].append(time.thread_time() - before)
    found = {}
    for engine, settings in engines.items():
        texts = _texts(decoders[engine], fold)
        words, characters = word_counts(fold.texts, texts), character_counts(fold.texts, texts)
        found[engine.name] = Measured(engine.name, *settings, words, characters, timed.audio_s / min(took[engine]))
    return found


def _texts(decode: Decode, fold: Fold) -> list[str]:
    return on_all_cores(lambda number: decode(fold.log_probs[number]), range(len(fold.log_probs)))


def bootstrap(one: Measured, other: Measured, *, seed: int = 1) -> tuple[float, float, float]:
    """WER of one less that of the other, over resampled utterances: the middle 95 %, and the share below 0."""
    differences = _resampled(one.words, seed) - _resampled(other.words, seed)
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high), float((differences < 0).mean())


def _resampled(words: Sequence[Counts], seed: int) -> NDArray[np.float64]:
    errors, units = np.array([[each.errors, each.units] for each in words]).T
    numbers = np.random.default_rng(seed)  # the same draws for both
    rates = np.empty(RESAMPLES)
    for at in range(RESAMPLES):
        drawn = numbers.integers(0, len(words), len(words))
        rates[at] = errors[drawn].sum() / units[drawn].sum()
    return rates

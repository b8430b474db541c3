"""Texts as labels and a seed in; log-probs out as a CTC model of some error rate would give them.

Each label of the text is an event: a few frames that share its mass, between them blanks. What is heard is mostly the
label itself, at times one that is like it, at times nothing, and here and there something where there is nothing;
how sure the model is of it differs from event to event, and where it heard wrongly, the truth is among its guesses.

Shapes: T frames, V labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LIKE = 8  # labels that one may be mistaken for: its neighbours in the order of likeness
UNSURE = (0.4, 0.9)  # mass on what is heard wrongly
MAIN = 0.4  # shares of an event above it differ little from event to event, those at its rims much
FLOOR = 1e-6  # mass of a label that nothing speaks for


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a model spreads its mass, and how often it errs."""

    spread: tuple[float, ...]  # share of the frames around an event that it takes, the middle one its own
    sure: tuple[float, float]  # Beta distribution of the mass on what is heard
    wrong: float  # share of events heard as another label
    missed: float  # share of events that are hardly heard
    heard_nothing: float  # events without cause, for each label of the text
    noise: float  # mass of labels in a frame of blanks, on average
    noisy_labels: int  # that share it


PEAKY = Style(
    spread=(0.002, 0.98, 0.008),
    sure=(4.0, 0.04),
    wrong=0.09,
    missed=0.03,
    heard_nothing=0.03,
    noise=0.0001,
    noisy_labels=2,
)
SOFT = Style(
    spread=(0.10, 0.50, 0.80, 0.50, 0.10),
    sure=(3.0, 0.35),
    wrong=0.10,
    missed=0.03,
    heard_nothing=0.03,
    noise=0.004,
    noisy_labels=2,
)


def make_log_probs(
    labels: Sequence[int], likeness: NDArray[np.int64], *, frames: int, style: Style, seed: Sequence[int]
) -> NDArray[np.float32]:
    """Log-probs (T, V) of a text. `likeness` has the labels, without the blank, in an order that puts like by like."""
    numbers = np.random.default_rng(seed)
    count = len(likeness) + 1
    place_of = np.empty(count, dtype=np.int64)
    place_of[likeness] = np.arange(len(likeness))
    speech = np.zeros((frames, count))  # (T, V) mass of events
    taken = np.zeros(frames)  # their share of each frame
    step = frames / len(labels)
    events = [(label, (at + 0.5 + numbers.uniform(-0.3, 0.3)) * step, 1.0) for at, label in enumerate(labels)]
    for _ in range(numbers.poisson(style.heard_nothing * len(labels))):
        strength = numbers.uniform(0.05, 0.6)
        events.append((int(numbers.choice(likeness)), numbers.uniform(0, frames), strength))
    for label, middle, strength in events:
        if numbers.random() < style.missed:
            strength *= numbers.uniform(0.02, 0.4)
        guesses = _guess(label, likeness, place_of, style, numbers)
        first = int(middle) - len(style.spread) // 2
        for frame, share in enumerate(style.spread, start=first):
            if 0 <= frame < frames:
                share = strength * min(1.0, share * numbers.lognormal(0.0, 0.1 if share > MAIN else 0.8))
                speech[frame] += share * guesses
                taken[frame] += share
    over = np.maximum(taken, 1.0)
    blank = np.maximum(1.0 - taken, 0.0)
    noise = _noise(frames, count, style, numbers)
    found = speech / over[:, None] + blank[:, None] * noise + FLOOR * numbers.lognormal(0, 1, (frames, count))
    log_probs: NDArray[np.float32] = np.log(found / found.sum(axis=1, keepdims=True)).astype(np.float32)
    return log_probs


def _guess(
    label: int, likeness: NDArray[np.int64], place_of: NDArray[np.int64], style: Style, numbers: np.random.Generator
) -> NDArray[np.float64]:
    """How an event's mass falls to labels (V,)."""
    shifts = np.array([shift for shift in range(-LIKE // 2, LIKE // 2 + 1) if shift])
    like = likeness[(place_of[label] + shifts) % len(likeness)]
    found = np.zeros(len(place_of))
    sure = float(numbers.beta(*style.sure))
    weights = 0.5 ** (np.abs(shifts) - 1.0) * numbers.gamma(0.2, 1.0, len(shifts)) + 1e-9
    heard = label
    if numbers.random() < style.wrong:
        heard = int(numbers.choice(like))
        weights[like == heard] = 0.0
        sure = float(numbers.uniform(*UNSURE))
        found[label] += (1 - sure) * 0.6  # the truth is next
    found[like] += (1 - sure) * weights / weights.sum()
    found[heard] += sure
    guesses: NDArray[np.float64] = found / found.sum()
    return guesses


def _noise(frames: int, count: int, style: Style, numbers: np.random.Generator) -> NDArray[np.float64]:
    """Frames (T, V) of blanks in which a few labels have a little mass."""
    found = np.zeros((frames, count))
    mass = np.minimum(0.5, style.noise * numbers.gamma(0.5, 2.0, frames))
    labels = numbers.integers(1, count, (frames, style.noisy_labels))
    shares = numbers.gamma(0.7, 1.0, (frames, style.noisy_labels)) + 1e-9
    shares /= shares.sum(axis=1, keepdims=True)
    np.add.at(found, (np.arange(frames)[:, None], labels), mass[:, None] * shares)
    found[:, 0] = 1 - mass
    return found

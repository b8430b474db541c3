"""An index in, the batches of an epoch out, before a byte of audio is read.

The plan is a pure function of (index, seed, epoch, budget). Resuming is starting it at batch n, so what follows is the
same whatever the number of loader workers and of processes.

Batches are cut window by window: so many shards at a time, all of them where the corpus is not large. So a plan takes
little memory beside the index, which is memory-mapped, and shards far away are read one after the other.

Shapes: N utterances of the index.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.frames import samples_at_speed
from asrkit.loops import compiled
from asrkit.shards import JoinedIndex

Rows = NDArray[np.int64]  # row numbers of an index

LENGTH_JITTER = 0.08  # buckets are cut from lengths blurred by so much: 4 % padding, and batches that differ by epoch
WINDOW_HOURS = 1000.0  # planned, and read, at a time, of speech on this machine
REMOTE_WINDOW_HOURS = 20.0  # of speech far away: two are 3 GB of FLAC, and enough for utterances of like lengths
AT_A_TIME = 1 << 20  # utterances looked at, where all are


class Speeds:
    """How fast each utterance (N,) may be spoken, from `speeds`; 0 for those that are not to be used. A byte each."""

    def __init__(self, speeds: Sequence[float], places: NDArray[np.uint8]) -> None:
        self._speeds, self._places = (0.0, *speeds), places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, row: int) -> float:
        return float(self._speeds[self._places[row]])

    def tolist(self) -> list[float]:
        """All of them."""
        return [self._speeds[place] for place in self._places]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(N,) whether it is to be used."""
        return self._places > 0


@dataclass(frozen=True)
class EpochPlan:
    """How the batches of an epoch come about."""

    seed: int
    batch_seconds: float  # padded seconds in a batch
    window_shards: int = 0  # shards planned, and read, at a time; 0 takes all in one window
    usable: NDArray[np.bool_] | None = None  # (N,) those that take part; None is all


@dataclass(frozen=True)
class Window:
    """Some shards and how their utterances are cut: batch i is order[starts[i] : starts[i + 1]]."""

    shards: NDArray[np.int64]
    order: Rows
    starts: NDArray[np.int64]
    turns: NDArray[np.int64]  # the batches' order

    def __iter__(self) -> Iterator[Rows]:
        for turn in self.turns.tolist():
            yield self.order[self.starts[turn] : self.starts[turn + 1]]


class Epoch:
    """The batches of one epoch, in order; each utterance once."""

    def __init__(self, index: JoinedIndex, plan: EpochPlan, number: int) -> None:
        self._index, self._plan, self._number = index, plan, number

    def __iter__(self) -> Iterator[Rows]:
        for window in self.windows():
            yield from window

    def __len__(self) -> int:
        return self._size[0]

    @property
    def padded_s(self) -> float:
        """Of all batches."""
        return self._size[1]

    @property
    def padding(self) -> float:
        """The share of the padded seconds that is padding."""
        _, padded_s, audio_s = self._size
        return 1 - audio_s / padded_s

    def after(self, batches: int) -> Iterator[Rows]:
        """Those behind the first so many."""
        for window in self.windows():
            for rows in window:
                if batches <= 0:
                    yield rows
                batches -= 1

    def windows(self) -> Iterator[Window]:
        """The shards of each window, and its batches."""
        random, window_of = self._dealt(self._number)
        for number in range(int(window_of.max()) + 1):
            shards = self._shards[window_of == number]
            inside = random.permutation(self._rows_of(shards))
            blurred = self._seconds(inside) * random.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(inside))
            order = inside[np.argsort(blurred, kind="stable")]
            starts = _starts(self._seconds(order), self._plan.batch_seconds)
            yield Window(shards, order, starts, random.permutation(len(starts) - 1))

    @property
    def shards_before(self) -> set[int]:
        """Of the last window of the epoch before this one; none before the first."""
        if self._number == 0:
            return set()
        _, window_of = self._dealt(self._number - 1)
        return set(self._shards[window_of == window_of.max()].tolist())

    def _dealt(self, epoch: int) -> tuple[np.random.Generator, NDArray[np.int64]]:
        """The draws of an epoch, and the window of each shard, which is drawn first."""
        random = np.random.default_rng((self._plan.seed, epoch))
        order_of_shards = random.permutation(len(self._shards))  # place of each shard
        return random, order_of_shards // (self._plan.window_shards or len(order_of_shards))

    @cached_property
    def _size(self) -> tuple[int, float, float]:
        """Batches, padded seconds and seconds."""
        count, padded_s, audio_s = 0, 0.0, 0.0
        for window in self.windows():
            seconds = self._seconds(window.order)
            longest = np.maximum.reduceat(seconds, window.starts[:-1]) if len(seconds) else seconds
            count += len(window.turns)
            padded_s += float((longest * np.diff(window.starts)).sum())
            audio_s += float(seconds.sum())
        return count, padded_s, audio_s

    @cached_property
    def _shard_starts(self) -> list[int]:
        """The row of each shard's first utterance, and the end; shards come one after the other."""
        shard = self._index.rows["shard"]
        return [bisect_left(shard, number) for number in range(int(shard[-1]) + 2)]

    @cached_property
    def _shards(self) -> NDArray[np.int64]:
        return np.arange(len(self._shard_starts) - 1)

    def _rows_of(self, shards: NDArray[np.int64]) -> Rows:
        """Those of the shards' utterances that take part, in their order."""
        ranges = list(pairwise(self._shard_starts))
        rows: Rows = np.concatenate([np.arange(*ranges[shard]) for shard in shards.tolist()])
        return rows if self._plan.usable is None else rows[self._plan.usable[rows]]

    def _seconds(self, rows: Rows) -> NDArray[np.float64]:
        return seconds_of(self._index, rows)


def window_shards(index: JoinedIndex) -> int:
    """How many shards are planned at a time: all (0) of a corpus that is not large."""
    hours, most = index.seconds / 3600, REMOTE_WINDOW_HOURS if index.is_remote else WINDOW_HOURS
    shards = int(index.rows[-1]["shard"]) + 1
    return max(1, int(shards * most / hours)) if hours > most else 0


def plan_epoch(index: JoinedIndex, plan: EpochPlan, epoch: int) -> Epoch:
    """The batches of one epoch."""
    return Epoch(index, plan, epoch)


def seconds_of(index: JoinedIndex, rows: Rows) -> NDArray[np.float64]:
    """The durations of utterances."""
    seconds: NDArray[np.float64] = index.rows["samples"][rows] / SAMPLE_RATE_HZ
    return seconds


@compiled
def _starts(seconds: NDArray[np.float64], batch_seconds: float) -> NDArray[np.int64]:
    """Where batches begin, and the end: each of at most `batch_seconds` padded; a longer utterance stands alone."""
    starts = np.zeros(len(seconds) + 1, np.int64)
    count, start, longest = 0, 0, 0.0
    for place in range(len(seconds)):
        longest = max(longest, seconds[place])
        if place > start and longest * (place + 1 - start) > batch_seconds:
            count += 1
            starts[count] = start = place
            longest = seconds[place]
    if len(seconds):
        count += 1
        starts[count] = len(seconds)
    return starts[: count + 1]


def eval_batches(index: JoinedIndex, batch_seconds: float) -> list[Rows]:
    """All utterances, longest first: what does not fit in memory fails at once."""
    seconds = index.rows["samples"] / SAMPLE_RATE_HZ
    order = np.argsort(-seconds, kind="stable")
    return [order[start:end] for start, end in pairwise(_starts(seconds[order], batch_seconds).tolist())]


def fastest_speeds(index: JoinedIndex, output_frames: Callable[[Tensor], Tensor], speeds: Iterable[float]) -> Speeds:
    """The fastest of these speeds, and of 1, at which CTC can align each utterance; 0 where not even as it is.

    CTC needs an output frame for each label and one between equal neighbours (Graves et al. 2006); fewer give an
    infinite loss. `output_frames` maps sample counts (N,) to output frames (N,).
    """
    rising = sorted({1.0, *(speed for speed in speeds if speed > 1)})
    places = np.zeros(len(index), np.uint8)
    for first in range(0, len(index), AT_A_TIME):
        rows = index.rows[first : first + AT_A_TIME]
        for place, speed in enumerate(rising, start=1):
            samples = torch.from_numpy(samples_at_speed(rows["samples"], speed))
            enough = output_frames(samples).numpy() >= rows["frames"]
            places[first : first + AT_A_TIME][enough] = place
    return Speeds(rising, places)

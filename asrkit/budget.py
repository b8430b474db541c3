"""Minutes in, a number of steps out: the speed is measured on a throw-away copy before step 0."""

import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.augment import Augmentation
from asrkit.batches import read_batch
from asrkit.epochs import Epoch, Rows, Speeds
from asrkit.errors import AsrkitError
from asrkit.shards import JoinedIndex
from asrkit.update import Updater

TRIAL_BATCHES = 8
PRECISION_UPDATES = 3  # of each type; the fastest counts, as the first makes kernels ready
RESERVE = 0.03  # of the time: the machine may be slower later than it was while measuring
VALIDATION_SHARE = 0.1  # of the time, at most; validation becomes rarer for it


@dataclass(frozen=True)
class Speed:
    """What a training step costs: `step_s + padded_s * per_padded_s` seconds."""

    step_s: float
    per_padded_s: float
    peak_memory_mb: float

    def seconds(self, padded_s: float, steps: int) -> float:
        return steps * self.step_s + padded_s * self.per_padded_s


@dataclass(frozen=True)
class Budget:
    """How long to train, fixed before step 0."""

    steps: int
    validate_epochs: int


def measure(
    updater: Updater,
    index: JoinedIndex,
    batches: Sequence[Rows],
    augmentation: Augmentation | None = None,
    *,
    fastest: Speeds | None = None,
    readers: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Trains a copy on the longest batch (does it fit?) and on eight batches spread over the lengths, each twice.

    The updater's weights, optimiser and statistics are untouched; random numbers depend on the step alone. With
    `readers`, processes that read beside a GPU's work, a step takes as long as the slower of both; without, both.

    Raises:
        AsrkitError: a batch does not fit into the memory of a GPU.
    """
    trial = updater.trial()
    by_length = sorted(batches, key=lambda rows: _padded_s(index, rows))
    spread = np.linspace(0, len(by_length) - 1, TRIAL_BATCHES).round().astype(int)
    points = []
    for number, rows in enumerate([by_length[-1], *(by_length[place] for place in spread)]):
        # Twice: the first of a shape makes kernels ready that a training goes on using, which in bfloat16 takes long.
        for _ in range(2):
            start = clock()
            batch = read_batch(index, rows, augmentation=augmentation, fastest=fastest, share=updater.share)
            read = clock()
            try:
                trial.update(batch, lr=0.0, step=number)
            except torch.OutOfMemoryError as error:
                raise AsrkitError(
                    f"a batch of {_padded_s(index, rows):.0f} s does not fit into the memory of {trial.device}; wanted "
                    f"train.batch_seconds below {trial.settings.batch_seconds:g}, or a smaller model"
                ) from error
            reading_s, update_s = read - start, clock() - read
        if number > 0:  # the longest one shows whether it fits
            step_s = max(update_s, reading_s / readers) if readers else update_s + reading_s
            points.append((_padded_s(index, rows), step_s))
    padded, seconds = np.array(points).T
    slope = float(np.polyfit(padded, seconds, 1)[0]) if np.ptp(padded) > 0.2 * padded.mean() else 0.0
    slope = min(max(slope, 0.0), float((seconds / padded).mean()))
    return Speed(
        step_s=max(0.0, float(seconds.mean() - slope * padded.mean())),
        per_padded_s=slope,
        peak_memory_mb=peak_memory_mb(updater.device),
    )


def faster_precision(
    updater: Updater,
    index: JoinedIndex,
    batches: Sequence[Rows],
    augmentation: Augmentation | None = None,
    *,
    fastest: Speeds | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> torch.dtype:
    """float32 or bfloat16, whichever a copy does the batch of middle length faster in.

    On CPUs with bfloat16 instructions neither always is: of small products most of the time goes into getting ready.
    """
    middle = sorted(batches, key=lambda rows: _padded_s(index, rows))[len(batches) // 2]
    batch = read_batch(index, middle, augmentation=augmentation, fastest=fastest, share=updater.share)
    took: dict[torch.dtype, float] = {}
    for precision in (torch.float32, torch.bfloat16):
        trial = updater.trial()
        trial.precision = precision
        ticks = [clock()]
        for step in range(PRECISION_UPDATES):
            trial.update(batch, lr=0.0, step=step)
            ticks.append(clock())
        took[precision] = min(after - before for before, after in pairwise(ticks))
    return min(took, key=took.__getitem__)


def _padded_s(index: JoinedIndex, rows: Rows) -> float:
    return float(index.rows["samples"][rows].max()) * len(rows) / SAMPLE_RATE_HZ


def peak_memory_mb(device: torch.device) -> float:
    """Of the process so far; on CUDA what was allocated there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # macOS counts bytes, Linux kibibytes


def fit_steps(
    *,
    available_s: float,
    speed: Speed,
    epoch: Epoch,
    validation_s: float,
    save_s: float,
    validate_epochs: int,
) -> Budget:
    """The steps that fit, with a validation and a checkpoint every `validate_epochs` epochs and at the end.

    Where doing so as often as set would take more than a tenth of the time, it is made rarer.
    """
    epoch_s, pause_s = speed.seconds(epoch.padded_s, len(epoch)), validation_s + save_s
    every = max(validate_epochs, math.ceil(pause_s / (VALIDATION_SHARE * epoch_s)))
    usable_s = available_s * (1 - RESERVE) - pause_s
    per_step_s = (epoch_s + pause_s / every) / len(epoch)
    return Budget(steps=max(1, int(usable_s / per_step_s)), validate_epochs=every)

"""An index in, a plan of batches out; a plan in, padded batches out.

The plan is a pure function of (index, seed, epoch, budget), made before a byte of audio is read. Resuming is starting
the list at step n, so what follows is the same whatever the number of loader workers.

Shapes: N utterances of the index, B utterances of a batch, S samples, U labels, M masks.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asrkit.audio import SAMPLE_RATE_HZ, Samples
from asrkit.augment import Augmentation
from asrkit.errors import AsrkitError
from asrkit.frames import samples_at_speed
from asrkit.shards import JoinedIndex

Rows = NDArray[np.int64]  # row numbers of an index

# Batches are padded to few different lengths: kernels are made ready for each new shape, which took a fifth of the time
# of training on a CPU, and memory for as long as they are kept. The steps are powers of two, from 40 ms up.
LEAST_PADDING_STEP = 640  # samples
PADDING_SHARE = 1 / 16  # of the length, at most

PREFETCHED = 4  # batches read ahead, by each loader process or by the loader thread

LENGTH_JITTER = 0.08  # buckets are cut from lengths blurred by so much: 4 % padding, and batches that differ by epoch


@dataclass(frozen=True)
class Batch:
    """Padded utterances; lengths count what is not padding."""

    waveforms: Tensor  # (B, S) float32
    lengths: Tensor  # (B,) samples
    tokens: Tensor  # (B, U) int64, padded with 0
    token_lengths: Tensor  # (B,)
    masks: Tensor  # (B, M, 2) SpecAugment's draws; M is 0 where nothing is augmented
    rows: Rows  # (B,) of the index

    @property
    def audio_s(self) -> float:
        return float(self.lengths.sum()) / SAMPLE_RATE_HZ

    def parts(self, count: int) -> list["Batch"]:
        """At most `count` batches of similar lengths, each padded to its own longest."""
        count = min(count, len(self.rows))
        if count == 1:
            return [self]
        return [self._take(torch.arange(first, len(self.rows), count)) for first in range(count)]

    def _take(self, places: Tensor) -> "Batch":
        lengths, token_lengths = self.lengths[places], self.token_lengths[places]
        return Batch(
            waveforms=self.waveforms[places, : _padded_length(int(lengths.max()))],
            lengths=lengths,
            tokens=self.tokens[places, : int(token_lengths.max())],
            token_lengths=token_lengths,
            masks=self.masks[places],
            rows=self.rows[places.numpy()],
        )

    def to(self, device: torch.device) -> "Batch":
        return Batch(
            waveforms=self.waveforms.to(device, non_blocking=True),
            lengths=self.lengths.to(device, non_blocking=True),
            tokens=self.tokens.to(device, non_blocking=True),
            token_lengths=self.token_lengths.to(device, non_blocking=True),
            masks=self.masks.to(device, non_blocking=True),
            rows=self.rows,
        )


@dataclass(frozen=True)
class EpochPlan:
    """How the batches of an epoch come about."""

    seed: int
    batch_seconds: float  # padded seconds in a batch
    short_first: bool = False  # SortaGrad: the first epoch from short to long (paper, section 3.3)
    window_shards: int = 0  # shards read at a time, for data far away; 0 takes all in one window
    rows: Rows | None = field(default=None)  # those to take part; None is all


def plan_epoch(index: JoinedIndex, plan: EpochPlan, epoch: int) -> list[Rows]:
    """The batches of one epoch, in order; each utterance once."""
    rows = np.arange(len(index)) if plan.rows is None else plan.rows
    seconds = index.rows["samples"] / SAMPLE_RATE_HZ  # (N,)
    random = np.random.default_rng((plan.seed, epoch))
    if plan.short_first and epoch == 0:
        return _cut(rows[np.argsort(seconds[rows], kind="stable")], seconds, plan.batch_seconds)
    shard = index.rows["shard"][rows]
    order = random.permutation(int(shard.max()) + 1)  # place of each shard
    window = order[shard] // (plan.window_shards or len(order))
    batches: list[Rows] = []
    for number in range(int(window.max()) + 1):
        inside = random.permutation(rows[window == number])
        blurred = seconds[inside] * random.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(inside))
        buckets = _cut(inside[np.argsort(blurred, kind="stable")], seconds, plan.batch_seconds)
        batches += [buckets[place] for place in random.permutation(len(buckets))]
    return batches


def _cut(rows: Rows, seconds: NDArray[np.float64], batch_seconds: float) -> list[Rows]:
    """Rows in their order, cut into batches of at most `batch_seconds` padded; a longer utterance stands alone."""
    batches: list[Rows] = []
    start, longest = 0, 0.0
    for place, length in enumerate(seconds[rows]):
        longest = max(longest, length)
        if place > start and longest * (place + 1 - start) > batch_seconds:
            batches.append(rows[start:place])
            start, longest = place, length
    return [*batches, rows[start:]] if len(rows) else []


def eval_batches(index: JoinedIndex, batch_seconds: float) -> list[Rows]:
    """All utterances, longest first: what does not fit in memory fails at once."""
    seconds = index.rows["samples"] / SAMPLE_RATE_HZ
    return _cut(np.argsort(-seconds, kind="stable"), seconds, batch_seconds)


def padding_share(index: JoinedIndex, batches: Sequence[Rows]) -> float:
    """The share of the padded seconds that is padding."""
    samples = index.rows["samples"]
    padded = sum(int(samples[rows].max()) * len(rows) for rows in batches)
    return 1 - sum(int(samples[rows].sum()) for rows in batches) / padded


def fastest_speeds(
    index: JoinedIndex, output_frames: Callable[[Tensor], Tensor], speeds: Iterable[float]
) -> NDArray[np.float64]:
    """(N,) the fastest of these speeds, and of 1, at which CTC can align each utterance; 0 where not even as it is.

    CTC needs an output frame for each label and one between equal neighbours (Graves et al. 2006); fewer give an
    infinite loss. `output_frames` maps sample counts (N,) to output frames (N,).
    """
    fastest = np.zeros(len(index))
    for speed in sorted({1.0, *(speed for speed in speeds if speed > 1)}):
        samples = torch.from_numpy(samples_at_speed(index.rows["samples"], speed))
        fastest[output_frames(samples).numpy() >= index.rows["frames"]] = speed
    return fastest


def read_batch(
    index: JoinedIndex,
    rows: Rows,
    *,
    augmentation: Augmentation | None = None,
    fastest: NDArray[np.float64] | None = None,
    epoch: int = 0,
    heard: Callable[[Samples, int], Samples] | None = None,
) -> Batch:
    """The utterances of these rows, varied as this epoch draws it where there is augmentation.

    `fastest` (N,) limits the speed of each utterance of the index. `heard` makes of a sound and its row what is to be
    heard instead, without augmentation.

    Raises:
        AsrkitError: a sample cannot be read.
    """
    sounds, masks = [], []
    for row in rows.tolist():
        sound = index.audio(row)  # (S,)
        if augmentation is not None:
            limit = math.inf if fastest is None else float(fastest[row])
            drawn = augmentation.draw(epoch=epoch, row=row, fastest=limit)
            sound = augmentation.vary(sound, drawn)
            masks.append(drawn.masks)
        elif heard is not None:
            sound = heard(sound, row)
        sounds.append(sound)
    tokens = [index.tokens(row) for row in rows.tolist()]
    return Batch(
        waveforms=torch.from_numpy(_padded(sounds, np.dtype(np.float32), _padded_length)),
        lengths=torch.tensor([len(sound) for sound in sounds]),
        tokens=torch.from_numpy(_padded(tokens, np.dtype(np.int64))),
        token_lengths=torch.tensor([len(ids) for ids in tokens]),
        masks=torch.from_numpy(np.stack(masks)) if masks else torch.zeros(len(rows), 0, 2),
        rows=rows,
    )


def _padded(
    arrays: Sequence[NDArray[Any]], dtype: np.dtype[Any], to: Callable[[int], int] = lambda length: length
) -> NDArray[Any]:
    padded = np.zeros((len(arrays), to(max(len(array) for array in arrays))), dtype)
    for line, array in zip(padded, arrays, strict=True):
        line[: len(array)] = array
    return padded


def _padded_length(length: int) -> int:
    """The next of the lengths in samples that batches come in."""
    step = LEAST_PADDING_STEP
    while 2 * step <= length * PADDING_SHARE:
        step *= 2
    return -(-length // step) * step


class _PlannedBatches(Dataset[Batch | AsrkitError]):
    """One item for each batch of a plan. An error is returned, not raised: a worker would wrap it in a traceback."""

    def __init__(self, batches: Sequence[Rows], read: Callable[[Rows], Batch]) -> None:
        self.batches, self.read = batches, read

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, place: int) -> Batch | AsrkitError:
        try:
            return self.read(self.batches[place])
        except AsrkitError as error:
            return error


def load(
    index: JoinedIndex,
    batches: Sequence[Rows],
    *,
    augmentation: Augmentation | None = None,
    fastest: NDArray[np.float64] | None = None,
    epoch: int = 0,
    workers: int = 0,
    pin: bool = False,
) -> Iterator[Batch]:
    """The batches of a plan, read ahead by `workers` processes, or with 0 by a thread of this one.

    Raises:
        AsrkitError: a sample cannot be read.
    """
    read = partial(read_batch, index, augmentation=augmentation, fastest=fastest, epoch=epoch)
    planned = _PlannedBatches(batches, read)
    loaded: Iterable[Batch | AsrkitError] = (
        DataLoader(
            planned,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=PREFETCHED,
            pin_memory=pin,
            worker_init_fn=_leave_interrupts_to_the_parent,
        )
        if workers
        else _read_ahead(planned)
    )
    for batch in loaded:
        if isinstance(batch, AsrkitError):
            raise batch
        yield batch


def _read_ahead(planned: _PlannedBatches) -> Iterator[Batch | AsrkitError]:
    """The batches in order, the next ones being read while one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="loader") as thread:
        waiting = deque(thread.submit(planned.__getitem__, place) for place in range(min(PREFETCHED, len(planned))))
        try:
            for place in range(len(planned)):
                batch = waiting.popleft().result()
                if place + PREFETCHED < len(planned):
                    waiting.append(thread.submit(planned.__getitem__, place + PREFETCHED))
                yield batch
        finally:
            for left in waiting:
                left.cancel()


def _leave_interrupts_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches the whole process group; the training loop finishes its step and then ends the workers."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)

"""A plan of batches in, padded batches out.

Shapes: N utterances of the index, B utterances of a batch, S samples, U labels, M masks.
"""

import math
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asrkit.audio import SAMPLE_RATE_HZ, Samples
from asrkit.augment import Augmentation
from asrkit.daemon_threads import DaemonThreads
from asrkit.epochs import Rows, Speeds
from asrkit.errors import AsrkitError
from asrkit.shards import JoinedIndex
from asrkit.stop import StopWaiting, leave_signals_to_the_parent

# Batches are padded to few different lengths: kernels are made ready for each new shape, which took a fifth of the time
# of training on a CPU, and memory for as long as they are kept. The steps are powers of two, from 40 ms up.
LEAST_PADDING_STEP = 640  # samples
PADDING_SHARE = 1 / 16  # of the length, at most

Planned = tuple[int, Rows]  # an epoch, and the rows of one of its batches

LAST_READ_S = 2.0  # that a batch nobody wants any more may take to be read
PREFETCHED = 4  # batches read ahead, by each loader process or by the loader thread


@dataclass(frozen=True)
class Batch:
    """Padded utterances; lengths count what is not padding. On a GPU lengths remain with the CPU, which asks for them.

    Where several processes share a batch, it is what this one works on: one without an utterance has a second of
    silence that counts for nothing, and no rows.
    """

    waveforms: Tensor  # (B, S) float32
    lengths: Tensor  # (B,) samples
    tokens: Tensor  # (B, U) int64, padded with 0
    token_lengths: Tensor  # (B,)
    masks: Tensor  # (B, M, 2) SpecAugment's draws; M is 0 where nothing is augmented
    rows: Rows  # (B,) of the index
    shared_by: int | None = None  # utterances that the batch has in all processes; None for those that are here

    @property
    def utterances(self) -> int:
        """In all processes."""
        return len(self.rows) if self.shared_by is None else self.shared_by

    @property
    def audio_s(self) -> float:
        return float(self.lengths.sum()) / SAMPLE_RATE_HZ

    def parts(self, count: int) -> list["Batch"]:
        """At most `count` batches of similar lengths, each padded to its own longest; `Share` deals so that they are
        parts of the whole batch."""
        count = min(count, self.utterances)
        if count == 1:
            return [self]
        sizes = [len(range(first, self.utterances, count)) for first in range(count)]
        return [
            self._take(slice(first, None, count), size)
            if first < len(self.rows)
            else _silence(self.masks.shape[1], size).to(self.waveforms.device)
            for first, size in enumerate(sizes)
        ]

    def _take(self, places: slice, shared_by: int) -> "Batch":
        lengths, token_lengths = self.lengths[places], self.token_lengths[places]
        return Batch(
            waveforms=self.waveforms[places, : _padded_length(int(lengths.max()))],
            lengths=lengths,
            tokens=self.tokens[places, : int(token_lengths.max())],
            token_lengths=token_lengths,
            masks=self.masks[places],
            rows=self.rows[places],
            shared_by=shared_by,
        )

    def to(self, device: torch.device) -> "Batch":
        """The same with what a GPU computes with on the device."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The same in memory that a GPU can fetch from by itself; the loader asks for it by this name."""
        return self._with(lambda tensor: tensor.pin_memory())

    def _with(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        waveforms, tokens, masks = map(change, (self.waveforms, self.tokens, self.masks))
        return replace(self, waveforms=waveforms, tokens=tokens, masks=masks)


def _silence(masks: int, shared_by: int) -> Batch:
    """A second of nothing."""
    none = torch.zeros(1, dtype=torch.int64)
    return Batch(
        waveforms=torch.zeros(1, SAMPLE_RATE_HZ),
        lengths=none,
        tokens=none[:, None],
        token_lengths=none,
        masks=torch.zeros(1, masks, 2),
        rows=np.zeros(0, np.int64),
        shared_by=shared_by,
    )


@dataclass(frozen=True)
class Share:
    """Which utterances of a batch are for this one of `size` processes: `parts` neighbours at a time, in turn.

    So every part of a batch (`Batch.parts`) is dealt to all of them, in similar lengths, and is the same whatever
    their number.
    """

    rank: int = 0
    size: int = 1
    parts: int = 1

    def of(self, rows: Rows) -> Rows:
        """Those for this process."""
        turn = np.arange(len(rows)) // min(self.parts, len(rows)) % self.size
        mine: Rows = rows[turn == self.rank]
        return mine


def read_batch(
    index: JoinedIndex,
    rows: Rows,
    *,
    augmentation: Augmentation | None = None,
    fastest: Speeds | None = None,
    epoch: int = 0,
    heard: Callable[[Samples, int], Samples] | None = None,
    share: Share = Share(),
) -> Batch:
    """The utterances of these rows, varied as this epoch draws it where there is augmentation.

    `fastest` limits the speed of each utterance of the index. `heard` makes of a sound and its row what is to be
    heard instead, without augmentation. Of a batch that processes share, only the `share` of this one is read.

    Raises:
        AsrkitError: a sample cannot be read.
    """
    whole, rows = rows, share.of(rows)
    sounds, masks = [], []
    for row in rows.tolist():
        sound = index.audio(row)  # (S,)
        if augmentation is not None:
            limit = math.inf if fastest is None else fastest[row]
            drawn = augmentation.draw(epoch=epoch, row=row, fastest=limit)
            sound = augmentation.vary(sound, drawn)
            masks.append(drawn.masks)
        elif heard is not None:
            sound = heard(sound, row)
        sounds.append(sound)
    if not len(rows):
        return _silence(augmentation.settings.masks if augmentation is not None else 0, len(whole))
    tokens = [index.tokens(row) for row in rows.tolist()]
    return Batch(
        waveforms=torch.from_numpy(_padded(sounds, np.dtype(np.float32), _padded_length)),
        lengths=torch.tensor([len(sound) for sound in sounds]),
        tokens=torch.from_numpy(_padded(tokens, np.dtype(np.int64))),
        token_lengths=torch.tensor([len(ids) for ids in tokens]),
        masks=torch.from_numpy(np.stack(masks)) if masks else torch.zeros(len(rows), 0, 2),
        rows=rows,
        shared_by=len(whole),
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


class _Reading(Dataset[Batch | AsrkitError]):
    """One item for the epoch and the rows of each batch. An error is returned, not raised: a worker would wrap it in a
    traceback."""

    def __init__(self, read: Callable[..., Batch]) -> None:
        self.read = read

    def __getitem__(self, planned: Planned) -> Batch | AsrkitError:
        epoch, rows = planned
        try:
            return self.read(rows, epoch=epoch)
        except AsrkitError as error:
            return type(error)(str(error))  # without its cause: one that cannot be pickled would never arrive


def load(
    index: JoinedIndex,
    planned: Iterable[Planned],
    *,
    augmentation: Augmentation | None = None,
    fastest: Speeds | None = None,
    workers: int = 0,
    pin: bool = False,
    share: Share = Share(),
) -> Iterator[Batch]:
    """The batches of a plan, of any number of epochs, read ahead by `workers` processes, or with 0 by a thread of this
    one.

    Raises:
        AsrkitError: a sample cannot be read.
    """
    read = partial(read_batch, index, augmentation=augmentation, fastest=fastest, share=share)
    loaded: Iterable[Batch | AsrkitError] = (
        DataLoader(
            _Reading(read),
            batch_size=None,
            sampler=planned,
            num_workers=workers,
            prefetch_factor=PREFETCHED,
            pin_memory=pin,
            worker_init_fn=leave_signals_to_the_parent,
        )
        if workers
        else _read_ahead(_Reading(read), planned)
    )
    before = set(multiprocessing.active_children())
    batches = iter(loaded)
    processes = set(multiprocessing.active_children()) - before
    try:
        for batch in batches:
            if isinstance(batch, AsrkitError):
                raise batch
            yield batch
    except (StopWaiting, GeneratorExit):
        for process in processes:  # it may wait for a silent server
            process.terminate()
        raise


def _read_ahead(reading: _Reading, planned: Iterable[Planned]) -> Iterator[Batch | AsrkitError]:
    """The batches in order, the next ones being read while one is used."""
    left = iter(planned)
    thread = DaemonThreads(1, "loader")  # a silent server does not keep a training that stops from ending
    waiting: deque[Future[Batch | AsrkitError]] = deque()

    def want(number: int) -> None:
        waiting.extend(thread.submit(partial(reading.__getitem__, each)) for each in islice(left, number))

    try:
        want(PREFETCHED)
        while waiting:
            batch = waiting[0].result()
            waiting.popleft()
            want(1)
            yield batch
    finally:
        for each in waiting:
            each.cancel()
        thread.end(LAST_READ_S)

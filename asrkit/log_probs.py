"""A checkpoint and an index in, the log-probs of every utterance out: computed once, then read from the run's folder.

The folder holds log_probs.npy (sum of T, V) float16, the utterances of the index one after another; lengths.npy (N,),
the frames T of each; and, written last, cache.json, which says of which checkpoint and index they are.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.batches import read_batch
from asrkit.checkpoint import Checkpoint
from asrkit.conditions import Condition, ConditionError
from asrkit.epochs import Rows, eval_batches
from asrkit.errors import AsrkitError, UnreachableError
from asrkit.progress import Bar, Progress, Silent
from asrkit.shards import Index, JoinedIndex

SCHEMA = 1
VALUES, LENGTHS, MARKER = "log_probs.npy", "lengths.npy", "cache.json"
BATCH_SECONDS = 320.0  # padded seconds of audio in one batch


@dataclass(frozen=True)
class StoredLogProbs:
    """Of the utterances of an index, in one memory-mapped array."""

    values: NDArray[np.float16]  # (sum of T, V)
    lengths: NDArray[np.int64]  # (N,)
    unreadable: Mapping[int, str] = field(default_factory=dict)  # utterance -> why; its log-probs are zeros
    acoustic_s: float | None = None  # wall time of computing them; None when they were there already

    def of(self, utterance: int) -> NDArray[np.float16]:
        """(T, V), a view of the array."""
        end = int(self._ends[utterance])
        return self.values[end - int(self.lengths[utterance]) : end]

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.lengths)


def log_probs_of(
    checkpoint: Checkpoint,
    index: Index,
    folder: Path,
    *,
    condition: Condition | None = None,
    progress: Progress = Silent(),
) -> StoredLogProbs:
    """Those in the folder if they are of this checkpoint, index and condition, else computed and put there.

    Utterances whose audio cannot be read are named in `unreadable`; while there are any, nothing is taken from the
    folder, so that a repaired shard is read.

    Raises:
        AsrkitError: no utterance can be read, audio far away cannot be reached, or the folder cannot be written.
    """
    made_of = {"schema": SCHEMA, "checkpoint": checkpoint.fingerprint, "index": index.fingerprint}
    if condition:
        made_of["condition"] = condition.fingerprint
    stored = _read(folder, made_of, len(index), len(checkpoint.tokenizer.labels))
    if stored is not None:
        return stored
    start = time.perf_counter()
    with _made_whole(folder) as partial:
        unreadable = _compute(checkpoint, JoinedIndex([index]), condition, partial, progress)
        marker = made_of | {"unreadable": {index.record(row)["key"]: why for row, why in unreadable.items()}}
        (partial / MARKER).write_text(json.dumps(marker, indent=1, ensure_ascii=False), encoding="utf-8")
    values, lengths = _arrays(folder)
    return StoredLogProbs(values, lengths, unreadable, time.perf_counter() - start)


def _arrays(folder: Path) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    return np.load(folder / VALUES, mmap_mode="r", allow_pickle=False), np.load(folder / LENGTHS, allow_pickle=False)


def _read(folder: Path, made_of: Mapping[str, Any], utterances: int, labels: int) -> StoredLogProbs | None:
    """What the folder holds, if it is whole, of the same making, and every utterance could be read."""
    try:
        if json.loads((folder / MARKER).read_text(encoding="utf-8")) != {**made_of, "unreadable": {}}:
            return None
        values, lengths = _arrays(folder)
    except (OSError, ValueError, EOFError):
        return None
    whole = lengths.shape == (utterances,) and values.shape == (int(lengths.sum()), labels)
    return StoredLogProbs(values, lengths) if whole and values.dtype == np.float16 else None


@contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name of `folder` when the block ends well and is removed when it does not."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except OSError as error:
        raise AsrkitError(f"the log-probs cannot be kept in {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """What killed processes left; one that still lives may be decoding the same split."""
    for partial in folder.parent.glob(f".{folder.name}.*.part"):
        try:
            os.kill(int(partial.suffixes[-2].removeprefix(".")), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(partial, ignore_errors=True)
        except PermissionError:  # it lives, under another user
            continue


def _compute(
    checkpoint: Checkpoint, index: JoinedIndex, condition: Condition | None, folder: Path, progress: Progress
) -> dict[int, str]:
    """Writes the two arrays; returns the utterances that could not be read, and why."""
    labels = len(checkpoint.tokenizer.labels)
    samples = index.rows["samples"].tolist()
    lengths = np.array([checkpoint.model.output_length(checkpoint.features.n_frames(n)) for n in samples], np.int64)
    starts = np.cumsum(lengths) - lengths
    unreadable: dict[int, str] = {}
    with (folder / VALUES).open("wb") as file, progress.bar("log-probs", index.seconds, "s") as bar:
        head = {"descr": "<f2", "fortran_order": False, "shape": (int(lengths.sum()), labels)}
        np.lib.format.write_array_header_1_0(file, head)
        first = file.tell()
        file.truncate(first + int(lengths.sum()) * labels * 2)
        for rows in eval_batches(index, BATCH_SECONDS):
            for row, values in _batch_log_probs(checkpoint, index, condition, rows, unreadable, bar):
                assert values.shape == (lengths[row], labels), f"utterance {row} gave {values.shape}"
                file.seek(first + int(starts[row]) * labels * 2)
                file.write(values.astype("<f2").tobytes())
    np.save(folder / LENGTHS, lengths)
    if len(unreadable) == len(index):
        raise AsrkitError(f"none of the {len(index)} utterances of {index.folder} can be read: {unreadable[0]}")
    return unreadable


def _batch_log_probs(
    checkpoint: Checkpoint,
    index: JoinedIndex,
    condition: Condition | None,
    rows: Rows,
    unreadable: dict[int, str],
    bar: Bar,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(row, its (T, V)) for each row that can be read; the others go into `unreadable`."""
    try:
        batch = read_batch(index, rows, heard=condition.heard if condition else None)
    except (ConditionError, UnreachableError):
        raise
    except AsrkitError as error:
        if len(rows) == 1:
            unreadable[int(rows[0])] = str(error)
            return
        for place in range(len(rows)):  # one after another, to find out which
            yield from _batch_log_probs(checkpoint, index, condition, rows[place : place + 1], unreadable, bar)
        return
    log_probs, lengths = checkpoint.log_probs(batch.waveforms, batch.lengths)  # (B, T, V), (B,)
    for row, each, length in zip(rows.tolist(), log_probs.numpy(), lengths.tolist(), strict=True):
        yield row, each[:length]
    bar.advance(batch.audio_s)

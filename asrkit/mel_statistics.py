"""Training utterances in; the mean and deviation of each mel bin, which features are normalised by, out.

Shapes: F mel bins.
"""

import numpy as np
import torch

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.batches import load
from asrkit.epochs import EpochPlan, plan_epoch
from asrkit.features import LogMel
from asrkit.shards import JoinedIndex

STATISTICS_S = 3600.0  # of sound, at most: seconds of work


def take_statistics(features: LogMel, train: JoinedIndex, plan: EpochPlan) -> None:
    """Those of the sound of evenly spread utterances, as they were recorded, into the features.

    They are taken from the shards that training begins with, which are all of them where the data is small: shards that
    are far away are not fetched for it.

    Raises:
        AsrkitError: a sample cannot be read.
    """
    mean_s = max(1.0, float(train.rows["samples"].mean())) / SAMPLE_RATE_HZ
    there = np.sort(next(plan_epoch(train, plan, 0).windows()).order)
    rows = there[np.unique(np.linspace(0, len(there) - 1, int(STATISTICS_S / mean_s) + 1).astype(np.int64))]
    total, squares = torch.zeros(2, features.mels, dtype=torch.float64)  # (F,) each
    count = 0
    for batch in load(train, [(0, part) for part in np.array_split(rows, max(1, len(rows) // 16))]):
        log_mel, _, sounding = features.raw(batch.waveforms, batch.lengths)
        sound = log_mel[sounding].double()  # (frames, F)
        total, squares, count = total + sound.sum(0), squares + sound.square().sum(0), count + len(sound)
    mean = total / count
    features.set_statistics(mean.float(), (squares / count - mean.square()).clamp(min=0).sqrt().float())

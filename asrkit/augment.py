"""Training utterances in, varied ones out: speed on the waveform, SpecAugment on the features.

What happens to an utterance depends on (seed, epoch, its row in the index) alone, never on the worker or the batch.
Noise, reverb and codec simulation belong here too.

Shapes: B utterances, T frames, F mel bins, M masks.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asrkit.settings import AugmentSettings


@dataclass(frozen=True)
class Draws:
    """The random choices for one utterance in one epoch."""

    speed: float
    masks: NDArray[np.float32]  # (M, 2) width and place of each mask as shares from 0 to 1: time masks, then mel masks


def draw(settings: AugmentSettings, *, seed: int, epoch: int, row: int, fastest: float = math.inf) -> Draws:
    """The choices for this utterance in this epoch; it is never spoken faster than `fastest`."""
    random = np.random.default_rng((seed, epoch, row))
    speeds = [speed for speed in settings.speeds if speed <= fastest] or [1.0]
    speed = speeds[int(random.integers(len(speeds)))]
    masks = random.random((settings.time_masks + settings.mel_masks, 2), dtype=np.float32)
    return Draws(speed=speed, masks=masks)


def spec_augment(log_mel: Tensor, lengths: Tensor, masks: Tensor, settings: AugmentSettings) -> Tensor:
    """Frames and mel bins set to 0, the mean of a normalised spectrogram (SpecAugment, arXiv 1904.08779).

    log_mel (B, T, F), lengths (B,), masks (B, M, 2) as in Draws -> (B, T, F). A time mask is at most
    `time_mask_share` of its own utterance, so that short ones keep something to read.
    """
    _, frames, mels = log_mel.shape
    time, mel = masks.split([settings.time_masks, settings.mel_masks], dim=1)
    hidden = _masked(time, lengths[:, None] * settings.time_mask_share, lengths[:, None], frames)[:, :, None]
    widest_mel = torch.full_like(lengths, min(settings.mel_mask_bins, mels))[:, None]
    hidden = hidden | _masked(mel, widest_mel, torch.full_like(widest_mel, mels), mels)[:, None, :]
    return log_mel.masked_fill(hidden, 0.0)


def _masked(draws: Tensor, widest: Tensor, extent: Tensor, size: int) -> Tensor:
    """(B, M, 2) draws, widest mask and extent (B, 1) -> (B, size) booleans, true where some mask lies."""
    width = torch.floor(draws[:, :, 0] * (widest + 1))  # (B, M), from 0 to the widest
    start = torch.floor(draws[:, :, 1] * (extent - width + 1))
    position = torch.arange(size, device=draws.device)
    inside = (position >= start[:, :, None]) & (position < (start + width)[:, :, None])  # (B, M, size)
    return inside.any(dim=1)

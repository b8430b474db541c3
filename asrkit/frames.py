"""Samples in, frames out: how many log-mel frames a sound has, and how many of them a model's strides leave.

Plain arithmetic for ints, arrays and tensors alike, so that it is one where a model runs and where nothing heavy is
imported. A count is at least 1.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.audio import SAMPLE_RATE_HZ


def samples_in(milliseconds: float) -> int:
    """How many samples so long a sound has."""
    return round(milliseconds * SAMPLE_RATE_HZ / 1000)


def fft_samples(window_samples: int) -> int:
    """The length of the Fourier transform of a window: the next power of two."""
    return int(2 ** math.ceil(math.log2(window_samples)))


def log_mel_frames(samples: Any, *, window_ms: float, hop_ms: float, pad_ms: float) -> Any:
    """Frames of so many samples, with `pad_ms` of silence on both sides; all lie wholly inside."""
    inside = samples + 2 * samples_in(pad_ms) - fft_samples(samples_in(window_ms))
    return 1 + (inside * (inside > 0)) // samples_in(hop_ms)


def time_strides(time_stride: int, convolutions: int) -> list[int]:
    """The stride in time of each convolution: the first halves the frames, the second does again for 4."""
    return [2 if number == 0 or (number == 1 and time_stride == 4) else 1 for number in range(convolutions)]


def strided_length(length: Any, stride: int) -> Any:
    """Frames after a convolution of this stride, padded by half its kernel."""
    return (length - 1) // stride + 1


def output_frames(frames: Any, strides: list[int]) -> Any:
    """Frames after all of the convolutions."""
    for stride in strides:
        frames = strided_length(frames, stride)
    return frames


def samples_at_speed(samples: NDArray[Any], fastest: float) -> NDArray[np.int64]:
    """The fewest samples that sounds of so many (N,) may have left at this speed."""
    fewest: NDArray[np.int64] = np.floor(samples / fastest).astype(np.int64) - 1
    return fewest.clip(0)

"""frames.py, by hand: 25 ms are 400 samples, transformed as 512; frames are 160 samples apart."""

import numpy as np
import pytest
import torch

from asrkit.frames import log_mel_frames, output_frames, samples_at_speed, time_strides

FRAMING = {"window_ms": 25.0, "hop_ms": 10.0}


@pytest.mark.parametrize(
    ("samples", "pad_ms", "frames"), [(0, 0, 1), (511, 0, 1), (512, 0, 1), (671, 0, 1), (672, 0, 2), (16_000, 100, 117)]
)
def test_frames_lie_wholly_inside(samples: int, pad_ms: float, frames: int) -> None:
    assert log_mel_frames(samples, pad_ms=pad_ms, **FRAMING) == frames  # 1 + (16000 + 2 * 1600 - 512) // 160 = 117
    assert log_mel_frames(np.array([samples]), pad_ms=pad_ms, **FRAMING).tolist() == [frames]
    assert log_mel_frames(torch.tensor([samples]), pad_ms=pad_ms, **FRAMING).tolist() == [frames]


def test_strides_round_up() -> None:
    assert (time_strides(2, 3), time_strides(4, 3), time_strides(2, 1)) == ([2, 1, 1], [2, 2, 1], [2])
    assert [output_frames(frames, [2, 2, 1]) for frames in (1, 2, 4, 5, 117)] == [1, 1, 1, 2, 30]


def test_faster_speech_has_fewer_samples() -> None:
    assert samples_at_speed(np.array([0, 11, 16_000]), 1.1).tolist() == [0, 9, 14_544]

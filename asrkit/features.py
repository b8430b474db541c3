"""Waveforms in, log-mel spectrograms out; the same frames alone and in a padded batch.

Shapes: B utterances, S samples, T frames, F mel bins.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.frames import fft_samples, log_mel_frames, samples_in
from asrkit.loops import compiled

LOG_FLOOR = 1e-6  # added to mel energies: about a quiet room's noise, so that digital silence is not far from it
_BLOCK = 256  # frames that are transformed together on a CPU: what comes of them stays in its cache
MIN_STD = 1e-2  # of a mel bin, when normalising: a bin that never moves is not blown up


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """(B,) lengths -> (B, size) booleans, true where an utterance has a frame."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def _power(spectra: Tensor) -> Tensor:
    """(B, T, fft bins), complex -> the squares of their magnitudes."""
    parts = torch.view_as_real(spectra)  # (B, T, fft bins, 2)
    if parts.device.type != "cpu":
        real, imaginary = parts.unbind(dim=3)
        return real.square().addcmul_(imaginary, imaginary)
    power = parts.new_empty(spectra.shape)
    # PyTorch's operators take ten times as long where every second number is theirs
    _square(parts.numpy().reshape(-1), power.numpy().reshape(-1))
    return power


@compiled
def _square(parts: Any, power: Any) -> None:
    """Real and imaginary parts in turn (2N,) -> (N,)."""
    for at in range(len(power)):
        power[at] = parts[2 * at] * parts[2 * at] + parts[2 * at + 1] * parts[2 * at + 1]


class LogMel(nn.Module):
    """Log-mel spectrogram, normalised by the mean and variance of the utterance or by those of the training data.

    `pad_ms` of silence is put on both sides, and frames lie wholly inside the padded signal, so padding a batch with
    zeros adds frames but changes none. Statistics of an utterance are taken over the frames centred in its sound.

    The mean of half a second is rather that of a vowel than that of a voice. So an utterance's statistics are those of
    its own frames and of `prior_s` seconds of training data, as loud as itself: the maximum a posteriori estimate of
    Gauvain and Lee 1994. A long utterance is normalised by itself, a short one mostly by train.
    """

    mean: Tensor
    std: Tensor
    window: Tensor
    mel_weights: Tensor

    def __init__(
        self, *, mels: int, window_ms: float, hop_ms: float, pad_ms: float, normalize: str, prior_s: float
    ) -> None:
        super().__init__()
        self.mels, self.normalize = mels, normalize
        self._framing = {"window_ms": window_ms, "hop_ms": hop_ms, "pad_ms": pad_ms}
        self.window_samples = samples_in(window_ms)
        self.hop_samples = samples_in(hop_ms)
        self.pad_samples = samples_in(pad_ms)
        self.fft_samples = fft_samples(self.window_samples)
        self.prior_frames = prior_s / self.hop_s
        weights = melscale_fbanks(
            n_freqs=self.fft_samples // 2 + 1,
            f_min=20.0,
            f_max=SAMPLE_RATE_HZ / 2,
            n_mels=mels,
            sample_rate=SAMPLE_RATE_HZ,
            norm=None,
            mel_scale="htk",
        )
        self.register_buffer("window", torch.hann_window(self.window_samples), persistent=False)
        self.register_buffer("mel_weights", weights, persistent=False)  # (fft bins, F)
        self.register_buffer("mean", torch.zeros(mels))
        self.register_buffer("std", torch.ones(mels))

    @property
    def hop_s(self) -> float:
        return self.hop_samples / SAMPLE_RATE_HZ

    def n_frames(self, samples: int) -> int:
        """Frames of a signal of so many samples; at least one."""
        return int(log_mel_frames(samples, **self._framing))

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """`n_frames` for a tensor of sample counts."""
        frames: Tensor = log_mel_frames(lengths, **self._framing)
        return frames

    def spectrum(self, padded: Tensor, out: Tensor | None = None) -> Tensor:
        """(B, S) signal with its padding -> (B, T, F) log-mel of every whole frame, not yet normalised; into `out`,
        where it is given."""
        if padded.shape[1] < self.fft_samples:
            padded = nn.functional.pad(padded, (0, self.fft_samples - padded.shape[1]))
        count = 1 + (padded.shape[1] - self.fft_samples) // self.hop_samples
        # The window is in the middle of what is transformed, as in torch.stft; the power is the same anywhere in it.
        left = (self.fft_samples - self.window_samples) // 2
        frames = padded[:, left:].unfold(1, self.window_samples, self.hop_samples)[:, :count]
        if out is None:
            out = padded.new_empty(len(padded), count, self.mels)
        block = _BLOCK if padded.device.type == "cpu" else count
        windowed = padded.new_zeros(len(padded), min(block, count), self.fft_samples)
        for first in range(0, count, block):
            some = frames[:, first : first + block]
            here = windowed[:, : some.shape[1]]
            torch.mul(some, self.window, out=here[:, :, : self.window_samples])
            out[:, first : first + block] = _power(torch.fft.rfft(here)) @ self.mel_weights
        return out.add_(LOG_FLOOR).log_()

    @torch.no_grad()
    def raw(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, S), (B,) -> log-mel (B, T, F) not yet normalised, lengths (B,), and a (B, T) mask of sounding frames.

        What is beyond the lengths means nothing.
        """
        if waveforms.device.type == "cpu":
            log_mel = self._one_by_one(waveforms, lengths.tolist())
        else:
            sound = waveforms * length_mask(lengths, waveforms.shape[1])
            log_mel = self.spectrum(nn.functional.pad(sound, (self.pad_samples, self.pad_samples)).float())
        frames = self.frame_lengths(lengths)
        centre = torch.arange(log_mel.shape[1], device=lengths.device) * self.hop_samples + self.fft_samples // 2
        in_sound = (centre >= self.pad_samples)[None, :] & (centre[None, :] < self.pad_samples + lengths[:, None])
        some = in_sound.any(dim=1, keepdim=True)  # a clip shorter than a hop may have no frame centred in it
        return log_mel, frames, torch.where(some, in_sound, length_mask(frames, log_mel.shape[1]))

    def _one_by_one(self, waveforms: Tensor, lengths: list[int]) -> Tensor:
        """Nobody waits for padding."""
        log_mel = self.window.new_zeros(len(lengths), self.n_frames(waveforms.shape[1]), self.mels)
        padded = self.window.new_zeros(1, waveforms.shape[1] + 2 * self.pad_samples)  # again and again: it is cached
        for number, length in enumerate(lengths):
            end = self.pad_samples + length
            padded[0, self.pad_samples : end] = waveforms[number, :length]
            padded[0, end : end + self.pad_samples] = 0.0
            line = log_mel[number : number + 1, : self.n_frames(length)]
            self.spectrum(padded[:, : end + self.pad_samples], line)
        return log_mel

    @torch.no_grad()
    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S), 16 kHz, and sample counts (B,) -> log-mel (B, T, F), zero beyond its lengths (B,)."""
        with torch.autocast(waveforms.device.type, enabled=False):
            log_mel, frames, sounding = self.raw(waveforms, lengths)
            if log_mel.device.type == "cpu":  # each utterance while it is in the cache; nothing is beyond its length
                for line, size, heard in zip(log_mel, frames.tolist(), sounding, strict=True):
                    self._normalize(line[None, :size], heard[None, :size])
                return log_mel, frames
            return self._normalize(log_mel, sounding) * length_mask(frames, log_mel.shape[1])[:, :, None], frames

    def _normalize(self, log_mel: Tensor, sounding: Tensor) -> Tensor:
        """(B, T, F) and (B, T) -> (B, T, F), in place."""
        mean, std = self.mean, self.std
        if self.normalize == "utterance":
            mean, std = self._statistics_of(log_mel, sounding)
        return log_mel.sub_(mean).div_(std)

    def _statistics_of(self, log_mel: Tensor, sounding: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (B, 1, F) of each utterance's sound, (B, T, F) and (B, T), with the prior's."""
        weight = sounding[:, None, :].to(log_mel.dtype)  # (B, 1, T)
        count = weight.sum(dim=2, keepdim=True)
        mean = weight @ log_mel / count
        variance = weight @ (log_mel - mean).square_() / count
        louder = (mean - self.mean).mean(dim=2, keepdim=True)  # (B, 1, 1), than train
        frames, all_frames = self.prior_frames, count + self.prior_frames
        mean = (count * mean + frames * (self.mean + louder)) / all_frames
        variance = (count * variance + frames * self.std.square()) / all_frames
        return mean, variance.sqrt().clamp(min=MIN_STD)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Mean and standard deviation of the training data, (F,) each; kept in the checkpoint."""
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=MIN_STD))

"""Training utterances in, varied ones out: speed, rooms, noises, gain and codecs; on the features masks (SpecAugment).

What happens to an utterance depends on (seed, epoch, its row in the index) alone, never on the worker or the batch.

Shapes: S samples, B utterances, T frames, F mel bins, M masks.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asrkit.acoustics import add_noises, piece_of, reverberate, through_codec
from asrkit.audio import Samples, change_speed
from asrkit.settings import AugmentSettings

REMEMBERED_BYTES = 64 << 20  # of noises, and as much of rooms
_NO_MASKS = np.zeros((0, 2), np.float32)
_SURROUNDINGS = 1  # a stream of random numbers of their own: speeds and masks do not depend on what else is drawn


@dataclass(frozen=True)
class Noise:
    """One noise beside an utterance: its row, where it begins (a share of its length), and the level of the speech."""

    row: int
    start: float
    snr_db: float


@dataclass(frozen=True)
class Draws:
    """The random choices for one utterance in one epoch."""

    speed: float
    masks: NDArray[np.float32]  # (M, 2) width and place of each mask as shares from 0 to 1: time masks, then mel masks
    response: int | None = None  # row of the room
    noises: tuple[Noise, ...] = ()
    gain_db: float = 0.0
    codec: str | None = None


class Sounds(Protocol):
    """Noises, or impulse responses of rooms."""

    def __len__(self) -> int: ...

    def audio(self, i: int) -> Samples:
        """One of them (S,)."""


class NamedSounds(Sounds, Protocol):
    """Sounds that a page can name."""

    def name(self, i: int) -> str:
        """Its key."""


class Remembered:
    """Sounds that are asked for again and again: the last ones stay decoded, up to REMEMBERED_BYTES in each process."""

    def __init__(self, sounds: NamedSounds) -> None:
        self._sounds = sounds
        self._kept: OrderedDict[int, Samples] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._sounds)

    def __getstate__(self) -> dict[str, Any]:
        return {"_sounds": self._sounds, "_kept": OrderedDict(), "_bytes": 0}

    def name(self, i: int) -> str:
        """Its key."""
        return self._sounds.name(i)

    def audio(self, i: int) -> Samples:
        """One of them (S,); not to be written to."""
        if i in self._kept:
            self._kept.move_to_end(i)
            return self._kept[i]
        sound = self._sounds.audio(i)
        self._kept[i] = sound
        self._bytes += sound.nbytes
        while self._bytes > REMEMBERED_BYTES:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return sound


@dataclass(frozen=True)
class Surroundings:
    """Where speech may be heard: noises, and impulse responses of rooms; either may be missing."""

    noises: NamedSounds | None = None
    responses: NamedSounds | None = None


@dataclass(frozen=True)
class Augmentation:
    """All that varies the utterances of a training."""

    settings: AugmentSettings
    surroundings: Surroundings = Surroundings()
    seed: int = 0

    def unheard(self, asked: Iterable[str]) -> list[str]:
        """For each of the settings that somebody asked for (as section.key), and that can do nothing, a line."""
        around, settings = self.surroundings, self.settings
        ways = (
            ("noise_p", settings.noise_p, around.noises, "noises", "FOLDER"),
            ("reverb_p", settings.reverb_p, around.responses, "rooms", "--rir FOLDER"),
        )
        return [
            f"augment.{key}={share:g} changes nothing, for there are no {what}; wanted augment.noise=NAME with some: "
            f"asrkit prepare-noise {given} --name NAME"
            for key, share, sounds, what, given in ways
            if share > 0 and not sounds and f"augment.{key}" in asked
        ]

    def draw(self, *, epoch: int, row: int, fastest: float = math.inf) -> Draws:
        """The choices for this utterance in this epoch; it is never spoken faster than `fastest`."""
        settings = self.settings
        speeds = [speed for speed in settings.speeds if speed <= fastest] or [1.0]
        around = any((settings.reverb_p, settings.noise_p, settings.gain_p, settings.codec_p))
        fixed = not settings.masks and len(speeds) == 1 and settings.speed_p == 1
        if not around and fixed:  # a generator takes as long as a tenth of a second
            return Draws(speed=speeds[0], masks=_NO_MASKS)
        random = np.random.default_rng((self.seed, epoch, row))
        speed = speeds[int(random.integers(len(speeds)))]
        masks = random.random((settings.masks, 2), dtype=np.float32)
        varied, masked = random.random(2).tolist()
        if varied >= settings.speed_p:
            speed = 1.0
        if masked >= settings.masks_p:
            masks = np.zeros_like(masks)  # of no width
        if not around:
            return Draws(speed=speed, masks=masks)
        # All is drawn, used or not: a setting that changes leaves the other choices alone.
        random = np.random.default_rng((self.seed, epoch, row, _SURROUNDINGS))
        reverb, noise, gain, codec, where, which, level = random.random(7).tolist()
        most = int(random.integers(1, settings.noise_most + 1))
        drawn = random.random((most, 3)).tolist()
        noises, responses = len(self.surroundings.noises or ()), len(self.surroundings.responses or ())
        heard = [
            Noise(int(row * noises), start, _between(settings.noise_snr_db, snr)) for row, start, snr in drawn if noises
        ]
        return Draws(
            speed=speed,
            masks=masks,
            response=int(where * responses) if responses and reverb < settings.reverb_p else None,
            noises=tuple(heard) if noise < settings.noise_p else (),
            gain_db=_between(settings.gain_db, level) if gain < settings.gain_p else 0.0,
            codec=settings.codecs[int(which * len(settings.codecs))] if codec < settings.codec_p else None,
        )

    def vary(self, sound: Samples, draws: Draws) -> Samples:
        """The utterance (S,) as it was drawn; only its speed changes its length.

        Raises:
            AsrkitError: a noise or a room cannot be read.
        """
        noises, responses = self.surroundings.noises, self.surroundings.responses
        sound = change_speed(sound, draws.speed)
        if draws.response is not None and responses is not None:
            sound = reverberate(sound, responses.audio(draws.response))
        if draws.noises and noises is not None:
            heard = [piece_of(noises.audio(noise.row), noise.start, len(sound)) for noise in draws.noises]
            sound = add_noises(sound, heard, [noise.snr_db for noise in draws.noises])
        if draws.gain_db:
            sound = sound * np.float32(10 ** (draws.gain_db / 20))
        return through_codec(sound, draws.codec) if draws.codec else sound


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


def spec_augment(log_mel: Tensor, lengths: Tensor, masks: Tensor, settings: AugmentSettings) -> Tensor:
    """Frames and mel bins set to 0, the mean of a normalised spectrogram (SpecAugment, arXiv 1904.08779).

    log_mel (B, T, F), lengths (B,), masks (B, M, 2) as in Draws -> (B, T, F). A time mask is at most
    `time_mask_share` of its own utterance, in whole frames, so that short ones keep something to read.
    """
    _, frames, mels = log_mel.shape
    time, mel = masks.split([settings.time_masks, settings.mel_masks], dim=1)
    widest = torch.floor(lengths * settings.time_mask_share)[:, None]
    hidden = _masked(time, widest, lengths[:, None], frames)[:, :, None]
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

"""Log-mel: against a plain computation, padding that changes nothing, normalisation; SpecAugment's masks."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asrkit.augment import Augmentation, spec_augment
from asrkit.features import LOG_FLOOR, LogMel
from asrkit.settings import AugmentSettings, FeaturesSettings


def log_mel(**changes) -> LogMel:
    return LogMel(**asdict(FeaturesSettings(**changes)))


def test_frames_equal_a_plain_fourier_transform():
    features = log_mel(mels=40, pad_ms=0)
    sound = torch.randn(1, 2000) * 0.1
    raw, (frames,), _ = features.raw(sound, torch.tensor([2000]))
    assert frames == 1 + (2000 - 512) // 160 == raw.shape[1]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)  # 25 ms, in the middle of 512 samples
    window = np.zeros(512)
    window[56:456] = hann
    piece = sound[0, 3 * 160 : 3 * 160 + 512].numpy() * window
    power = np.abs(np.fft.rfft(piece)) ** 2
    expected = np.log(power @ features.mel_weights.numpy() + LOG_FLOOR)
    np.testing.assert_allclose(raw[0, 3].numpy(), expected, atol=1e-3)


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
@pytest.mark.parametrize("mels", [8, 80, 128])  # of 128 some bands hold no frequency of the transform
def test_energies_are_the_product_with_the_mel_weights(mels: int) -> None:
    features = log_mel(mels=mels)
    sound = torch.randn(2, 50_000, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
    frames = sound.unfold(1, features.fft_samples, features.hop_samples)
    left = (features.fft_samples - features.window_samples) // 2
    window = torch.zeros(features.fft_samples)
    window[left : left + features.window_samples] = features.window
    power = torch.fft.rfft((frames * window).double()).abs().square()
    wanted = torch.log(power @ features.mel_weights.double() + LOG_FLOOR)
    torch.testing.assert_close(features.spectrum(sound).double(), wanted, rtol=0, atol=1e-4)


def test_a_tone_stands_in_the_mel_bin_of_its_pitch():
    features = log_mel(mels=80)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)[None]
    raw, _, _ = features.raw(tone, torch.tensor([16_000]))
    centres = (features.mel_weights.T @ torch.linspace(0, 8000, 257)) / features.mel_weights.sum(0)
    assert abs(float(centres[raw[0, 50].argmax()]) - 1000) < 40


@pytest.mark.parametrize("normalize", ["utterance", "train"])
@given(lengths=st.lists(st.integers(0, 9000), min_size=2, max_size=4))
def test_an_utterance_has_the_same_features_alone_and_in_a_batch(normalize, lengths):
    features = log_mel(mels=20, normalize=normalize)
    sounds = [torch.randn(length, generator=torch.Generator().manual_seed(length)) for length in lengths]
    # what lies behind an utterance in the batch is not even silence
    batch = torch.ones(len(lengths), max(lengths))
    for place, sound in enumerate(sounds):
        batch[place, : len(sound)] = sound
    together, frames = features(batch, torch.tensor(lengths))
    for place, sound in enumerate(sounds):
        alone, (own,) = features(sound[None], torch.tensor([len(sound)]))
        assert frames[place] == own == features.n_frames(len(sound)) == alone.shape[1]
        torch.testing.assert_close(together[place, :own], alone[0], atol=1e-4, rtol=1e-4)
        assert not together[place, own:].any()


def test_each_mel_bin_of_an_utterance_has_mean_0_and_variance_1_over_its_sound():
    features = log_mel(pad_ms=0, prior_s=0)
    normal, _ = features(torch.randn(1, 32_000), torch.tensor([32_000]))
    torch.testing.assert_close(normal.mean(dim=1), torch.zeros(1, 80), atol=0.05, rtol=0)
    torch.testing.assert_close(normal.std(dim=1), torch.ones(1, 80), atol=0.05, rtol=0)


def test_a_short_utterance_leans_on_train_and_a_louder_one_does_so_just_as_much():
    # Half a second of sound has 1 + (8000 - 512) // 160 = 47 frames, as many as this prior: mean and variance are
    # halfway between its own and train's.
    features = log_mel(mels=8, pad_ms=0, prior_s=0.47)
    length = torch.tensor([8000])
    sound = torch.randn(1, 8000, generator=torch.Generator().manual_seed(1)) * 0.1
    raw, (frames,), _ = features.raw(sound, length)
    assert frames == 47
    train_mean, train_std = torch.arange(-4.0, 4.0), torch.arange(1.0, 9.0)
    features.set_statistics(train_mean, train_std)
    mean, variance = raw[0].mean(dim=0), raw[0].var(dim=0, unbiased=False)
    prior_mean = train_mean + (mean - train_mean).mean()  # as loud as the sound
    expected = (raw[0] - (mean + prior_mean) / 2) / ((variance + train_std.square()) / 2).sqrt()
    torch.testing.assert_close(features(sound, length)[0][0], expected)
    torch.testing.assert_close(features(3 * sound, length)[0][0], expected, atol=1e-3, rtol=1e-3)


def test_digital_silence_gives_numbers():
    for normalize in ("utterance", "train"):
        normal, _ = log_mel(normalize=normalize)(torch.zeros(1, 5000), torch.tensor([5000]))
        assert torch.isfinite(normal).all()


def test_train_statistics_are_applied_and_kept_in_the_state():
    features = log_mel(mels=20, normalize="train")
    sound, length = torch.randn(1, 8000), torch.tensor([8000])
    raw, _, _ = features.raw(sound, length)
    features.set_statistics(torch.full((20,), -3.0), torch.full((20,), 2.0))
    torch.testing.assert_close(features(sound, length)[0], (raw + 3) / 2)
    other = log_mel(mels=20, normalize="train")
    other.load_state_dict(features.state_dict())
    assert torch.equal(other(sound, length)[0], features(sound, length)[0])


@given(seed=st.integers(0, 3), row=st.integers(0, 50))
def test_masks_keep_to_their_number_and_widths(seed, row):
    settings = AugmentSettings(time_masks=2, time_mask_share=0.1, mel_masks=1, mel_mask_bins=7)
    masks = torch.from_numpy(Augmentation(settings, seed=seed).draw(epoch=0, row=row).masks)[None]
    lengths = torch.tensor([100])
    masked = spec_augment(torch.ones(1, 120, 30), lengths, masks, settings)[0]
    hidden_frames = (masked == 0).all(dim=1)
    hidden_bins = (masked[~hidden_frames] == 0).all(dim=0)
    assert int(hidden_frames.sum()) <= 2 * 10
    assert not hidden_frames[100:].any()
    assert int(hidden_bins.sum()) <= 7
    assert int(hidden_bins.int().diff().abs().sum()) <= 2  # one run


def test_masks_by_hand():
    settings = AugmentSettings(time_masks=1, time_mask_share=0.5, mel_masks=1, mel_mask_bins=3)
    # Time: widest 5, width floor(.5 * 6) = 3, start floor(.5 * (10 - 3 + 1)) = 4. Mel: width floor(.9 * 4) = 3,
    # start floor(.99 * (4 - 3 + 1)) = 1.
    masks = torch.tensor([[[0.5, 0.5], [0.9, 0.99]]])
    masked = spec_augment(torch.ones(1, 10, 4), torch.tensor([10]), masks, settings)[0]
    expected = torch.ones(10, 4)
    expected[4:7] = 0
    expected[:, 1:4] = 0
    assert torch.equal(masked, expected)


def test_no_time_mask_is_wider_than_its_share():
    settings = AugmentSettings(time_masks=1, time_mask_share=0.06, mel_masks=0)
    widest = torch.tensor([[[0.9999, 0.0]]])
    for frames, most in ((20, 1), (60, 3), (100, 6), (115, 6)):
        masked = spec_augment(torch.ones(1, 120, 4), torch.tensor([frames]), widest, settings)[0]
        assert int((masked == 0).all(dim=1).sum()) == most


def test_without_masks_nothing_is_hidden():
    settings = AugmentSettings(time_masks=0, mel_masks=0)
    x = torch.randn(2, 5, 4)
    assert torch.equal(spec_augment(x, torch.tensor([5, 3]), torch.zeros(2, 0, 2), settings), x)

"""What noises, rooms and codecs make of a signal: levels by hand, times kept."""

import numpy as np
import pytest

from asrkit.acoustics import (
    PIECE,
    active_power,
    add_noises,
    cut_to,
    direct_sound,
    piece_of,
    reverberate,
    through_codec,
)
from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.settings import CODECS


def tone(hz: float, seconds: float, level: float = 0.1) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ)).astype("f4")


def power(samples: np.ndarray) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def level_db(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Energy between two frequencies."""
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ)
    return 10 * np.log10(spectrum[(hz >= low_hz) & (hz < high_hz)].sum() + 1e-12)


def test_pauses_do_not_count_for_the_level_of_speech() -> None:
    speech = tone(200, 1.0)
    assert active_power(speech) == pytest.approx(0.005, rel=1e-3)  # 0.1 squared, halved
    pause = np.zeros(3 * SAMPLE_RATE_HZ, dtype="f4")
    assert active_power(np.concatenate([pause, speech, pause])) == pytest.approx(0.005, rel=1e-3)
    quiet = tone(200, 1.0, level=0.01)  # 20 dB below: no speech; 14 dB below would be
    assert active_power(np.concatenate([quiet, speech])) == pytest.approx(0.005, rel=1e-3)
    assert active_power(np.concatenate([tone(200, 1.0, level=0.02), speech])) == pytest.approx(0.0026, rel=1e-3)
    assert active_power(np.zeros(5, dtype="f4")) == active_power(pause) == 0.0
    assert active_power(np.full(5, 0.5, dtype="f4")) == 0.25  # shorter than a frame


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_a_noise_is_added_at_its_level_below_the_speech(snr_db: float) -> None:
    speech = np.concatenate([tone(200, 1.0), np.zeros(SAMPLE_RATE_HZ, dtype="f4")])
    noise = np.random.default_rng(1).normal(0, 0.3, len(speech)).astype("f4")
    mixed = add_noises(speech, [noise], [snr_db])
    assert power(mixed - speech) == pytest.approx(0.005 / 10 ** (snr_db / 10), rel=1e-3)
    both = add_noises(speech, [noise, np.roll(noise, 777)], [snr_db, snr_db])
    np.testing.assert_allclose(both - mixed, np.roll(mixed - speech, 777), atol=1e-6)


def test_silence_is_left_alone() -> None:
    speech, nothing = tone(200, 0.1), np.zeros(1600, dtype="f4")
    np.testing.assert_array_equal(add_noises(speech, [nothing], [0.0]), speech)
    np.testing.assert_array_equal(add_noises(nothing, [speech], [0.0]), nothing)
    np.testing.assert_array_equal(reverberate(nothing, speech), nothing)


def test_noises_are_cut_or_begin_again_but_are_never_stretched() -> None:
    noise = np.arange(5, dtype="f4")
    assert cut_to(noise, 3, 1).tolist() == [1, 2, 3]
    assert cut_to(noise, 5, 0).tolist() == [0, 1, 2, 3, 4]
    assert cut_to(noise, 8, 3).tolist() == [3, 4, 0, 1, 2, 3, 4, 0]
    assert piece_of(noise, 0.5, 2).tolist() == [2, 3]  # the third of four places
    assert piece_of(noise, 0.5, 6).tolist() == [2, 3, 4, 0, 1, 2]  # the third sample of five


@pytest.mark.parametrize("start", [0.0, 0.3, 0.99])
def test_a_pause_of_a_noise_is_not_taken_for_it(start: float) -> None:
    noise = np.full(5 * SAMPLE_RATE_HZ, 1e-5, dtype="f4")
    bark = slice(4 * SAMPLE_RATE_HZ, 4 * SAMPLE_RATE_HZ + 1600)
    noise[bark] = 0.5
    assert power(noise) == pytest.approx(0.25 * 0.1 / 5, rel=1e-3)
    piece = piece_of(noise, start, SAMPLE_RATE_HZ)
    assert len(piece) == SAMPLE_RATE_HZ and piece.max() == 0.5
    whole = piece_of(noise[bark], start, 800)
    assert whole.tolist() == [0.5] * 800


def test_the_direct_sound_comes_first_but_need_not_be_the_loudest() -> None:
    response = np.zeros(2000, dtype="f4")
    response[1000:] = 0.05
    response[[300, 303, 460]] = 0.2, 0.5, -1.0  # its rise, its peak, and a louder reflection 10 ms later
    assert direct_sound(response) == 303
    response[100] = 0.2  # 14 dB below: noise
    assert direct_sound(response) == 303
    assert direct_sound(np.zeros(10, dtype="f4")) == 0


def test_the_direct_sound_stays_where_the_speech_was() -> None:
    click = np.zeros(1000, dtype="f4")
    click[300] = 0.5
    response = np.zeros(400, dtype="f4")
    response[[50, 150]] = [0.8, -0.4]  # the way through the room; an echo 100 samples later, half as strong
    heard = reverberate(click, response)
    assert len(heard) == 1000 and power(heard) == pytest.approx(power(click), rel=1e-4)
    assert np.argmax(np.abs(heard)) == 300
    assert heard[400] / heard[300] == pytest.approx(-0.5, rel=1e-4)
    heard[[300, 400]] = 0
    assert np.abs(heard).max() < 1e-6


@pytest.mark.parametrize(
    ("samples", "of_response"),
    [(700, 90), (1, 5000), (PIECE, PIECE), (3 * PIECE + 1, 2 * PIECE + 17), (5000, 4 * PIECE)],
)
def test_a_room_is_a_convolution(samples: int, of_response: int) -> None:
    random = np.random.default_rng(2)
    speech, response = random.normal(0, 0.1, samples).astype("f4"), random.normal(0, 0.1, of_response).astype("f4")
    direct = of_response // 3
    response[direct] = 2
    wanted = np.convolve(speech.astype("f8"), response)[direct : direct + samples]
    wanted *= np.sqrt(power(speech) / power(wanted))
    np.testing.assert_allclose(reverberate(speech, response), wanted, atol=1e-5)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("samples", [16_000, 16_001, 12_345])
def test_a_codec_keeps_length_time_and_words(codec: str, samples: int) -> None:
    random = np.random.default_rng(3)
    swing = np.sin(np.arange(samples) / SAMPLE_RATE_HZ * 2 * np.pi * 3) ** 2  # syllables
    speech = (swing * random.normal(0, 0.1, samples)).astype("f4") + tone(500, 2.0)[:samples]
    heard = through_codec(speech, codec)
    assert heard.shape == speech.shape and heard.dtype == np.float32
    size = 2 * samples
    against = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(speech, size)))
    assert abs((int(np.argmax(against)) + samples) % size - samples) <= 1
    if codec in ("ulaw", "alaw", "gsm"):
        noise = through_codec(random.normal(0, 0.1, samples).astype("f4"), codec)
        assert level_db(noise, 500, 3000) - level_db(noise, 4200, 8000) > 30
        assert level_db(noise, 500, 3000) - level_db(noise, 0, 100) > 20


@pytest.mark.parametrize("samples", [1, 2, 15, 16, 100])
def test_short_signals_go_through_every_codec(samples: int) -> None:
    for codec in CODECS:
        assert through_codec(tone(500, 0.1)[:samples], codec).shape == (samples,)

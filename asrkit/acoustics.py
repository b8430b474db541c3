"""Samples in, the same as they would be heard elsewhere out: among noises, in a room, over a telephone.

Nothing is drawn here; the same arguments give the same samples. Every sound keeps its time and every signal its length,
so that what was aligned with it still is.

Shapes: S samples, R samples of an impulse response.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.signal import butter, sosfiltfilt

from asrkit.audio import SAMPLE_RATE_HZ, Samples
from asrkit.loops import compiled

TELEPHONE_HZ = 8_000
PIECE = 4096  # samples: the fastest for rooms of .5 to 4 s
_TELEPHONE_BAND = butter(2, (300.0, 3_400.0), btype="bandpass", fs=SAMPLE_RATE_HZ, output="sos")
_FILTER_PADDING = 15  # samples at each end, as SciPy has it for a filter of two sections
_ACTIVE_FRAME = SAMPLE_RATE_HZ // 50
_ACTIVE_MARGIN = 10**-1.59  # ITU-T P.56: what is 15.9 dB below the active level is a pause
_WAV_CODECS = {"ulaw": "ULAW", "alaw": "ALAW", "gsm": "GSM610"}
_FILES: dict[str, dict[str, Any]] = {
    **{name: {"format": "WAV", "subtype": subtype} for name, subtype in _WAV_CODECS.items()},
    "opus": {"format": "OGG", "subtype": "OPUS", "compression_level": 0.97},  # 14 kbit/s
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": 0.9},
}
_PEAK = SAMPLE_RATE_HZ // 1000  # samples from where a peak begins to its top
_PAUSE = 0.01  # of a noise's mean power: a piece with less is a pause in it
_BLOCK = 10 * SAMPLE_RATE_HZ  # libsndfile's Ogg encoders overflow on very long arrays


def active_power(samples: Samples) -> float:
    """The mean power of the frames (20 ms) in which something is heard, pauses left out.

    After ITU-T P.56: those are active whose power is less than 15.9 dB below the mean power of all that are. Found from
    above: the limit rises with the mean until no more frames fall below it.
    """
    if len(samples) < _ACTIVE_FRAME:
        return mean_power(samples)
    heard = _energies(samples) / _ACTIVE_FRAME
    while True:
        limit = heard.mean() * _ACTIVE_MARGIN
        louder = heard[heard >= limit]
        if len(louder) == len(heard):
            return float(heard.mean())
        heard = louder


def mean_power(samples: Samples) -> float:
    """The mean of the squares; 0 of nothing."""
    rest = samples[len(samples) // _ACTIVE_FRAME * _ACTIVE_FRAME :]
    energy = _energies(samples).sum() + np.square(rest, dtype=np.float64).sum()
    return float(energy) / max(1, len(samples))


def _energies(samples: Samples) -> NDArray[np.float64]:
    """Of every whole frame; summed up in float32 within a frame, which is several times as fast."""
    frames = samples[: len(samples) // _ACTIVE_FRAME * _ACTIVE_FRAME].reshape(-1, _ACTIVE_FRAME)
    energies: NDArray[np.float64] = np.einsum("ij,ij->i", frames, frames).astype(np.float64)
    return energies


def cut_to(noise: Samples, length: int, start: int) -> Samples:
    """`length` samples of a noise from `start` on; behind its end it begins again. Its pitch and tempo stay."""
    if start + length <= len(noise):
        return noise[start : start + length]
    return np.resize(np.roll(noise, -start), length)


def piece_of(noise: Samples, start: float, length: int) -> Samples:
    """`length` samples of a noise: a piece of a long one, a short one again and again from anywhere on.

    `start` is a share of the places where it may begin. Where a piece would be one of the noise's pauses, it is one in
    which the loudest moment is somewhere: at a level beside the speech there would be nothing else to hear but hiss.
    """
    spare = len(noise) - length
    if spare < 0:
        return cut_to(noise, length, int(start * len(noise)))
    piece = cut_to(noise, length, int(start * (spare + 1)))
    if len(noise) >= _ACTIVE_FRAME and mean_power(piece) < mean_power(noise) * _PAUSE:
        loudest = int(np.argmax(_energies(noise))) * _ACTIVE_FRAME + _ACTIVE_FRAME // 2
        piece = cut_to(noise, length, min(spare, max(0, loudest - int(start * length))))
    return piece


def add_noises(speech: Samples, noises: Sequence[Samples], snrs_db: Sequence[float]) -> Samples:
    """Speech (S,) with noises (S,) each: 10 log10 of the active power of the speech by the mean power of a noise is its
    `snrs_db`. Silent noises, and all beside silent speech, change nothing."""
    level = active_power(speech)
    mixed = speech.astype(np.float32, copy=True)
    for noise, snr_db in zip(noises, snrs_db, strict=True):
        power = mean_power(noise)
        if power > 0:
            mixed += noise * np.float32(np.sqrt(level / power * 10 ** (-snr_db / 10)))
    return mixed


def reverberate(speech: Samples, response: Samples) -> Samples:
    """Speech (S,) in the room of an impulse response (R,), as loud as before.

    The direct sound of the response stays where the speech was: what is before it in the file is only the way through
    the room.
    """
    direct = direct_sound(response)
    wet = convolve(speech, response, direct + len(speech))[direct:]
    power = mean_power(wet)
    return wet * np.float32(np.sqrt(mean_power(speech) / power)) if power > 0 else speech


def direct_sound(response: Samples) -> int:
    """The place of the direct sound in an impulse response (R,): the peak of what comes first.

    It comes first, but need not be the strongest: a reflection that two ways share, or a speaker that looks elsewhere,
    may be louder. What is 12 dB below the strongest is heard as a sound of its own, what is weaker may be noise.
    """
    heard = np.abs(response)
    first = int(np.argmax(heard >= heard.max() / 4))
    return first + int(np.argmax(heard[first : first + _PEAK]))


def convolve(sound: Samples, response: Samples, length: int) -> Samples:
    """The first `length` samples of a sound (S,) convolved with a response (R,).

    Both are cut into pieces whose spectra are multiplied each with each (uniformly partitioned convolution, Stockham
    1966): transforms of one short length, many at a time, take half the time of three long ones.
    """
    # Not PyTorch's transforms, which are faster: MKL's allocator has locks, and a loader process that was forked while
    # another thread held one (threads take them all as they end) waited for it forever.
    spectra = rfft(_pieces(sound, -(-length // PIECE)), 2 * PIECE)
    whole = irfft(_convolved(spectra, rfft(_pieces(response, -(-len(response) // PIECE)), 2 * PIECE)), 2 * PIECE)
    found = whole[:, :PIECE]
    found[1:] += whole[:-1, PIECE:]  # what each piece leaves to the next
    joined: Samples = found.reshape(-1)[:length]
    return joined


def _pieces(samples: Samples, count: int) -> Samples:
    """(count, PIECE), with zeros behind the end."""
    pieces = np.zeros(count * PIECE, dtype=np.float32)
    taken = samples[: len(pieces)]
    pieces[: len(taken)] = taken
    return pieces.reshape(count, PIECE)


@compiled
def _convolved(sound: Any, response: Any) -> Any:
    """Spectra of pieces, of both (pieces, frequencies) -> spectra of what is heard from the beginning of each piece."""
    heard = np.zeros_like(sound)
    for here in range(len(sound)):
        for before in range(min(here + 1, len(response))):
            for frequency in range(sound.shape[1]):
                heard[here, frequency] += sound[here - before, frequency] * response[before, frequency]
    return heard


def through_codec(speech: Samples, codec: str) -> Samples:
    """Speech (S,) after one of settings.CODECS; ulaw, alaw and gsm are the telephone's: 8 kHz, 300 to 3,400 Hz."""
    pcm = speech
    rate_hz = TELEPHONE_HZ if codec in _WAV_CODECS else SAMPLE_RATE_HZ
    if codec in _WAV_CODECS:
        # forwards and backwards: no sound is delayed
        band = sosfiltfilt(_TELEPHONE_BAND, speech, padlen=min(_FILTER_PADDING, len(speech) - 1))
        pcm = soxr.resample(band.astype(np.float32), SAMPLE_RATE_HZ, rate_hz)
    heard = _coded(np.clip(pcm, -1.0, 1.0), rate_hz, codec)
    if rate_hz != SAMPLE_RATE_HZ:
        heard = soxr.resample(heard, rate_hz, SAMPLE_RATE_HZ)
    found = np.zeros(len(speech), dtype=np.float32)
    length = min(len(found), len(heard))
    found[:length] = heard[:length]
    return found


def _coded(pcm: Samples, rate_hz: int, codec: str) -> Samples:
    """What a file of that codec holds of the samples."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate_hz, 1, **_FILES[codec]) as sound:
        for start in range(0, len(pcm), _BLOCK):
            sound.write(pcm[start : start + _BLOCK])
    buffer.seek(0)
    heard: Samples = soundfile.read(buffer, dtype="float32")[0]
    return heard

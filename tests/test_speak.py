"""speak.py: espeak-ng says sentences of a sensible length, in the voice asked for, and refuses voices it has not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from asrkit.errors import AsrkitError
from asrkit.speak import SPOKEN_RATE_HZ, Voice, speak

TEXT = "the quiet teacher sold a yellow bicycle"


def test_a_sentence_is_spoken_as_samples() -> None:
    samples = speak(TEXT, Voice("en-us"))
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert 1.5 < len(samples) / SPOKEN_RATE_HZ < 4
    assert 0.05 < np.abs(samples).max() <= 1


def test_faster_speech_is_shorter() -> None:
    slow, fast = (speak(TEXT, Voice("en-us+m3", words_per_minute=rate)) for rate in (120, 240))
    assert len(fast) < 0.7 * len(slow)


def _pitch_hz(samples: NDArray[np.float32]) -> float:
    """The median over 50 ms pieces of the period at which a piece repeats itself best, loud pieces only."""
    size = SPOKEN_RATE_HZ // 20
    pieces = [samples[start : start + size] for start in range(0, len(samples) - size, size)]
    loud = [piece for piece in pieces if np.abs(piece).max() > 0.3 * np.abs(samples).max()]
    shortest, longest = SPOKEN_RATE_HZ // 350, SPOKEN_RATE_HZ // 60
    periods = [
        shortest + np.argmax(np.correlate(piece, piece, mode="full")[size - 1 + shortest : size - 1 + longest])
        for piece in loud
    ]
    return float(SPOKEN_RATE_HZ / np.median(periods))


def test_pitch_and_variant_are_heard() -> None:
    low, high = (_pitch_hz(speak(TEXT, Voice("en-us", pitch=pitch))) for pitch in (10, 90))
    assert high > 1.5 * low
    man, woman = (_pitch_hz(speak(TEXT, Voice(name))) for name in ("en-us+m1", "en-us+f3"))
    assert woman > 1.3 * man


@pytest.mark.parametrize("name", ["nowhere", "en-us+nobody", ""])
def test_an_unknown_voice_is_refused(name: str) -> None:
    with pytest.raises(AsrkitError, match=rf"espeak-ng has no voice '{name}'".replace("+", r"\+")):
        speak(TEXT, Voice(name))


@pytest.mark.slow
def test_every_process_speaks_the_same() -> None:
    program = (
        "import hashlib; from asrkit.speak import Voice, speak; "
        "said = [speak('hello you', Voice(name)).tobytes() for name in ('en-us+f2', 'en-us+m3', 'en-us+f2')]; "
        "print(*(hashlib.sha256(samples).hexdigest() for samples in said))"
    )
    root = Path(__file__).parent.parent
    one, two = (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root).stdout
        for _ in range(2)
    )
    assert one == two and len(one.split()) == 3

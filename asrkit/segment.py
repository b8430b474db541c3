"""Blocks of a recording of any length in, pieces of at most 30 seconds out, cut where it is quiet.

Memory holds one piece and one block, whatever the length. Voice activity and turns of speakers are not looked at.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from asrkit.audio import SAMPLE_RATE_HZ

MAX_S = 30.0  # a recurrent network trained on utterances loses its thread in much longer ones
QUIET_S = 0.15  # of the window whose energy is compared: about the closure of a stop, shorter than a word

Samples = NDArray[np.float32]


def segment(blocks: Iterable[Samples], *, max_s: float = MAX_S) -> Iterator[tuple[float, Samples]]:
    """(S,) blocks at 16 kHz -> (start_s, piece) one after another; together the pieces are the recording.

    What is longer than `max_s` is cut in the middle of the quietest window of the last third of those seconds.
    """
    longest = round(max_s * SAMPLE_RATE_HZ)
    waiting: list[Samples] = []
    held = 0  # samples in `waiting`
    start = 0  # sample at which `waiting` begins
    for block in blocks:
        waiting.append(block)
        held += len(block)
        if held <= longest:
            continue
        rest = np.concatenate(waiting)
        while len(rest) > longest:
            cut = quiet_place(rest[:longest])
            yield start / SAMPLE_RATE_HZ, rest[:cut]
            start, rest = start + cut, rest[cut:]
        waiting, held = [rest], len(rest)
    if held:
        yield start / SAMPLE_RATE_HZ, np.concatenate(waiting)


def quiet_place(samples: Samples) -> int:
    """The sample in the middle of the quietest window of the last third."""
    first = 2 * len(samples) // 3
    window = min(round(QUIET_S * SAMPLE_RATE_HZ), len(samples) - first)
    energy = np.cumsum(np.square(samples[first:], dtype=np.float64))
    before = np.concatenate([[0.0], energy[:-window]])  # of the samples before each window
    quietest = int(np.argmin(energy[window - 1 :] - before))
    return max(1, first + quietest + window // 2)

"""A run, and perhaps an n-gram, in; an object that turns sound files and arrays into text out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asrkit import audio
from asrkit.audio import SAMPLE_RATE_HZ, Samples
from asrkit.checkpoint import Checkpoint, find_run, load_checkpoint
from asrkit.decoder import Unit, open_decoder, with_options
from asrkit.errors import AsrkitError
from asrkit.progress import Progress, Silent
from asrkit.search import Hypothesis
from asrkit.segment import segment
from asrkit.tuned import tuned_options
from asrkit.word_times import FrameTimes, WordTime

BLOCK_S = 10.0  # of a file in memory, beside the segment it goes into


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording and what was said in it; times count from the start of the recording."""

    start_s: float
    end_s: float
    text: str
    words: tuple[WordTime, ...]


@dataclass(frozen=True)
class Transcript:
    """What was said in a recording."""

    duration_s: float
    text: str
    words: tuple[WordTime, ...]
    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, segments: Iterable[Segment]) -> "Transcript":
        """The segments of one recording, put together."""
        parts = tuple(segments)
        return cls(
            duration_s=parts[-1].end_s if parts else 0.0,
            text=" ".join(part.text for part in parts if part.text),
            words=tuple(word for part in parts for word in part.words),
            segments=parts,
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values; a word's confidence is null with pyctcdecode."""
        return asdict(self)


class Recogniser:
    """A trained model and a search, ready to transcribe; `load` makes one from a run."""

    def __init__(self, checkpoint: Checkpoint, search: Callable[[NDArray[np.float32]], Hypothesis]) -> None:
        """`search` turns log-probs (T, V) into the best hypothesis, with the times of its words."""
        self.checkpoint, self.search = checkpoint, search

    def transcribe(
        self,
        source: str | Path | NDArray[Any],
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        channel: int | None = None,
    ) -> Transcript:
        """The transcript of a sound file of any length, or of an array.

        An array is (S,) or (S, C), floats from -1 to 1 or integers, at `sample_rate_hz`; a file knows its own rate.
        `channel` counts from 0, None mixes all of them.

        Raises:
            AsrkitError: a file that is missing, broken or empty, an array that is no sound, no such channel.
        """
        return Transcript.of(self.segments(source, sample_rate_hz=sample_rate_hz, channel=channel))

    def segments(
        self,
        source: str | Path | NDArray[Any],
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        channel: int | None = None,
    ) -> Iterator[Segment]:
        """As `transcribe`, one segment of at most 30 s after another, as soon as it is recognised.

        A file that is found to be cut off is refused at its end, when what is there has been given out.
        """
        if isinstance(source, np.ndarray):
            blocks: Iterable[Samples] = [_mono(source, sample_rate_hz, channel)]
        else:
            blocks = audio.read_blocks(source, block_s=BLOCK_S, channel=channel)
        for start_s, samples in segment(blocks):
            yield self._recognise(start_s, samples)

    def _recognise(self, start_s: float, samples: Samples) -> Segment:
        waveforms = torch.tensor(samples)[None]  # (1, S)
        log_probs, _ = self.checkpoint.log_probs(waveforms, torch.tensor([len(samples)]))  # (1, T, V)
        hypothesis = self.search(log_probs[0].numpy())
        length_s = len(samples) / SAMPLE_RATE_HZ
        words = tuple(_shifted(word, start_s, length_s) for word in hypothesis.words or ())
        return Segment(round(start_s, 3), round(start_s + length_s, 3), hypothesis.text, words)


def load(
    run: str | Path | None = None,
    *,
    exp_dir: str | Path = "exp",
    lm: str | Path | None = None,
    token_lm: str | Path | None = None,
    unit: Unit | None = None,
    device: str = "auto",
    progress: Progress = Silent(),
    **options: Any,
) -> Recogniser:
    """The recogniser of a run: its name, its folder, one of its checkpoints, or None for the newest under `exp_dir`.

    Greedy without an n-gram, else beam search with it; `options` as for `asrkit.decode.decode`.

    Raises:
        AsrkitError: no such run, a checkpoint or an n-gram that cannot be read, or one that does not go with the other.
    """
    checkpoint = load_checkpoint(find_run(run, exp_dir), device)
    decoder = open_decoder(
        checkpoint.tokenizer,
        with_options(checkpoint.decode_settings, tuned_options(checkpoint.home, lm, token_lm) | {"n_best": 1}),
        {name: value for name, value in options.items() if value is not None},
        lm=lm,
        token_lm=token_lm,
        unit=unit,
        times=FrameTimes(checkpoint.frame_s, -checkpoint.pad_s),
        progress=progress,
    )
    return Recogniser(checkpoint, lambda log_probs: decoder.search(log_probs)[0])


def _mono(samples: NDArray[Any], sample_rate_hz: int, channel: int | None) -> Samples:
    """An array as (S,) float32 at 16 kHz."""
    if samples.ndim not in (1, 2) or not samples.size or samples.dtype.kind not in "fi":
        raise AsrkitError(
            f"the array has shape {samples.shape} and type {samples.dtype}; "
            "wanted samples (S,) or (S, C), floats from -1 to 1 or signed integers"
        )
    if sample_rate_hz <= 0:
        raise AsrkitError(f"sample_rate_hz is {sample_rate_hz}; wanted a rate above 0")
    if samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    columns = samples[:, None] if samples.ndim == 1 else samples  # (S, C)
    if channel is not None and not 0 <= channel < columns.shape[1]:
        raise AsrkitError(f"the array has {columns.shape[1]} channel(s); wanted channel {channel}, counted from 0")
    mono = (columns.mean(axis=1) if channel is None else columns[:, channel]).astype(np.float32)
    if not np.isfinite(mono).all():
        raise AsrkitError("the array holds samples that are not finite (NaN or infinite)")
    # Sound of another rate, taken for 16 kHz, is sound at another speed.
    return audio.change_speed(mono, sample_rate_hz / SAMPLE_RATE_HZ)


def _shifted(word: WordTime, start_s: float, length_s: float) -> WordTime:
    """The word's times in the recording instead of in its piece, and not beyond the piece: padding follows it."""
    begin_s, end_s = (round(start_s + min(time_s, length_s), 3) for time_s in (word.start_s, word.end_s))
    return replace(word, start_s=begin_s, end_s=end_s)

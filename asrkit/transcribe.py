"""Sound files in, one transcript each out: the verb that uses a trained run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from asrkit import audio
from asrkit.errors import AsrkitError
from asrkit.progress import Progress, Silent
from asrkit.recogniser import Recogniser, Transcript, load

Channels = Literal["mix", "each"]


def transcribe(
    paths: Sequence[str | Path],
    *,
    run: str | Path | None = None,
    exp_dir: str | Path = "exp",
    channels: Channels = "mix",
    progress: Progress = Silent(),
    **loading: Any,
) -> Iterator[dict[str, Any]]:
    """The transcripts of the files, in their order, each as soon as it is there; docs/formats.md shows one.

    `channels` "mix" gives one for each file, "each" one for each channel. Files of any length take bounded memory:
    they are cut at quiet places into segments of at most 30 s. A file that cannot be read is warned of, the others
    go on, and the error comes at the end. `loading` is what `asrkit.load` takes besides: n-grams, options, device.

    Raises:
        AsrkitError: at once, when the run or the n-gram cannot be used; at the end, when some file could not be read.
    """
    if channels not in ("mix", "each"):
        raise AsrkitError(f"channels is {channels!r}; wanted mix or each")
    if not paths:
        raise AsrkitError("no file to transcribe; wanted one sound file or more")
    recogniser = load(run, exp_dir=exp_dir, progress=progress, **loading)
    return _transcripts(recogniser, [Path(path) for path in paths], channels, progress)


def _transcripts(
    recogniser: Recogniser, paths: Sequence[Path], channels: Channels, progress: Progress
) -> Iterator[dict[str, Any]]:
    failed = 0
    for path in paths:
        try:
            wanted = range(audio.channels(path)) if channels == "each" else [None]
            found = [_transcribe_channel(recogniser, path, channel, progress) for channel in wanted]
        except AsrkitError as error:
            if len(paths) == 1:
                raise
            progress.warn(str(error))
            failed += 1
        else:
            yield from found
    if failed:
        raise AsrkitError(f"{failed} of {len(paths)} files could not be transcribed")


def _transcribe_channel(recogniser: Recogniser, path: Path, channel: int | None, progress: Progress) -> dict[str, Any]:
    segments = []
    with progress.bar(path.name, audio.duration_s(path), "s") as bar:
        for segment in recogniser.segments(path, channel=channel):
            segments.append(segment)
            bar.advance(segment.end_s - segment.start_s)
    return {"file": str(path), "channel": channel} | Transcript.of(segments).to_json()

"""A folder or a manifest of noises or impulse responses in, its sounds out, as they lie there."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asrkit.corpus import read_manifest
from asrkit.errors import AsrkitError

SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".oga", ".aif", ".aiff", ".w64", ".sph")


@dataclass(frozen=True)
class SoundFile:
    """A file, or a piece or channel of it, and what its manifest says about it."""

    path: Path
    key: str
    start_s: float = 0.0
    end_s: float | None = None
    channel: int | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def sounds_of(source: Path, hint: str = "") -> list[SoundFile]:
    """All in a folder, by name, or those that a manifest lists. `hint` says what else might be given.

    Raises:
        AsrkitError: there are none.
    """
    if source.is_dir():
        found = sounds_among(source, sorted(source.rglob("*")))
    elif source.is_file():
        found = [
            SoundFile(Path(one.audio), one.key, one.start_s, one.end_s, one.channel, dict(one.extra))
            for one in read_manifest(source, texts=False)
        ]
    else:
        raise AsrkitError(f"{source} is not there; wanted a folder of sounds or a manifest{hint}")
    if not found:
        raise AsrkitError(f"{source} has no sound file; wanted {', '.join(SOUND_SUFFIXES)}")
    return found


def sounds_among(root: Path, paths: Iterable[Path]) -> list[SoundFile]:
    """Those of the paths in the folder that are sound files."""
    return [
        SoundFile(path, str(path.relative_to(root).with_suffix("")))
        for path in paths
        if path.suffix.lower() in SOUND_SUFFIXES and path.is_file()
    ]

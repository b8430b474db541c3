"""Noises and rooms in, the conditions under which a model is tested out: the same for every model, fixed by a seed.

Which noise an utterance has, and from where on, and which room it is heard in depend on its place in the split alone:
at 20 dB it is the same noise as at 0 dB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from asrkit import audio
from asrkit.acoustics import add_noises, reverberate
from asrkit.audio import Samples
from asrkit.augment import Sounds, piece_of
from asrkit.corpus import read_manifest
from asrkit.errors import AsrkitError
from asrkit.noise_data import MARKER, NOISE, RESPONSE, SOUND_SUFFIXES, open_noise

SNRS_DB = (20.0, 10.0, 5.0, 0.0)
SEED = 1


@dataclass(frozen=True)
class SoundFiles:
    """Sounds as they lie in a folder, or as a manifest lists them."""

    paths: tuple[Path, ...]

    @classmethod
    def of(cls, source: Path) -> "SoundFiles":
        """All sound files in a folder, by name, or those of a manifest.

        Raises:
            AsrkitError: there are none.
        """
        if source.is_dir():
            paths = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in SOUND_SUFFIXES]
        elif source.is_file():
            paths = [Path(one.audio) for one in read_manifest(source, texts=False)]
        else:
            raise AsrkitError(f"{source} is not there; wanted a folder of sounds, a manifest, or prepared noises")
        if not paths:
            raise AsrkitError(f"{source} has no sound file; wanted {', '.join(SOUND_SUFFIXES)}")
        return cls(tuple(paths))

    def __len__(self) -> int:
        return len(self.paths)

    def audio(self, i: int) -> Samples:
        return audio.read(self.paths[i], channel=0)

    @property
    def fingerprint(self) -> str:
        """Changes with the files' names and sizes."""
        found = [f"{path.name} {path.stat().st_size if path.exists() else None}" for path in self.paths]
        return sha256("\n".join(found).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Condition:
    """Where utterances are heard: in rooms, among noises, or both."""

    name: str
    fingerprint: str  # changes with anything that changes what is heard
    noises: Sounds | None = None
    snr_db: float = 0.0
    responses: Sounds | None = None

    def heard(self, sound: Samples, row: int) -> Samples:
        """The utterance (S,) in that place of its split; as long as before.

        Raises:
            AsrkitError: a noise or a room cannot be read.
        """
        where, which, start = np.random.default_rng((SEED, row)).random(3).tolist()
        if self.responses is not None:
            sound = reverberate(sound, self.responses.audio(int(where * len(self.responses))))
        if self.noises is not None:
            noise = piece_of(self.noises.audio(int(which * len(self.noises))), start, len(sound))
            sound = add_noises(sound, [noise], [self.snr_db])
        return sound


def conditions_of(
    noise: str | Path | None = None, rir: str | Path | None = None, snrs_db: Sequence[float] | None = None
) -> list[Condition]:
    """One for each signal-to-noise ratio, where there are noises; and one for the rooms, where there are any.

    Both are folders of sounds, manifests, or what `asrkit prepare-noise` made.

    Raises:
        AsrkitError: nothing is found there, or ratios are given without noises.
    """
    if snrs_db is not None and noise is None:
        raise AsrkitError("--snr is given without noises; wanted --noise, a folder of them")
    found = []
    if noise is not None:
        noises, mark = _open(Path(noise), NOISE)
        for snr_db in SNRS_DB if snrs_db is None else snrs_db:
            name = f"{Path(noise).name} {snr_db:g} dB"
            found.append(Condition(name, f"{mark} {snr_db:g} {SEED}", noises=noises, snr_db=float(snr_db)))
    if rir is not None:
        responses, mark = _open(Path(rir), RESPONSE)
        found.append(Condition(Path(rir).name, f"{mark} {SEED}", responses=responses))
    return found


def _open(source: Path, kind: str) -> tuple[Sounds, str]:
    if not (source / MARKER).is_file():
        files = SoundFiles.of(source)
        return files, files.fingerprint
    prepared = open_noise(source)
    if kind not in prepared.indexes:
        raise AsrkitError(f"{source} holds no {kind}; it has {', '.join(prepared.indexes)}")
    return prepared.indexes[kind], prepared.indexes[kind].fingerprint

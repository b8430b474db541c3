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
from asrkit.acoustics import add_noises, mean_power, piece_of, reverberate
from asrkit.audio import Samples
from asrkit.augment import NamedSounds, Remembered
from asrkit.checksums import file_state
from asrkit.errors import AsrkitError
from asrkit.noise_data import MARKER, NOISE, RESPONSE, open_noise
from asrkit.noise_files import SoundFile, sounds_of
from asrkit.settings import SNR_DB

SNRS_DB = (20.0, 10.0, 5.0, 0.0)
SEED = 1
_LEAVE_OUT = "take it away, or let asrkit prepare-noise leave it out"


class ConditionError(AsrkitError):
    """A noise or a room cannot be read: without it, utterances would be heard in other conditions than are stated."""


@dataclass(frozen=True)
class SoundFiles:
    """Sounds as they lie in a folder, or as a manifest lists them."""

    files: tuple[SoundFile, ...]

    def __len__(self) -> int:
        return len(self.files)

    def audio(self, i: int) -> Samples:
        """Its first channel, where nobody says which."""
        one = self.files[i]
        return audio.read(one.path, start_s=one.start_s, end_s=one.end_s, channel=one.channel or 0)

    def name(self, i: int) -> str:
        """Its file."""
        return str(self.files[i].path)

    @property
    def fingerprint(self) -> str:
        """Changes with the files, and with what is taken of them."""
        found = [
            f"{one.path.absolute()} {file_state(one.path)} {one.start_s} {one.end_s} {one.channel}"
            for one in self.files
        ]
        return sha256("\n".join(found).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Condition:
    """Where utterances are heard: in rooms, or among noises."""

    name: str
    fingerprint: str  # changes with anything that changes what is heard
    noises: NamedSounds | None = None
    snr_db: float = 0.0
    responses: NamedSounds | None = None

    def heard(self, sound: Samples, row: int) -> Samples:
        """The utterance (S,) in that place of its split; as long as before.

        Raises:
            ConditionError: a noise or a room cannot be read, or is silent.
        """
        where, which, start = np.random.default_rng((SEED, row)).random(3).tolist()
        if self.responses is not None:
            sound = reverberate(sound, _one_of(self.responses, where))
        if self.noises is not None:
            noise = piece_of(_one_of(self.noises, which), start, len(sound))
            sound = add_noises(sound, [noise], [self.snr_db])
        return sound


def _one_of(sounds: NamedSounds, share: float) -> Samples:
    which = int(share * len(sounds))
    try:
        sound = sounds.audio(which)
    except AsrkitError as error:
        raise ConditionError(f"{error}; {_LEAVE_OUT}") from error
    if mean_power(sound) == 0:
        raise ConditionError(f"{sounds.name(which)} holds nothing but silence; {_LEAVE_OUT}")
    return sound


def conditions_of(
    noise: str | Path | None = None, rir: str | Path | None = None, snrs_db: Sequence[float] | None = None
) -> list[Condition]:
    """One for each signal-to-noise ratio, where there are noises; and one for the rooms, where there are any.

    Both are folders of sounds, manifests, or what `asrkit prepare-noise` made.

    Raises:
        AsrkitError: nothing is found there, or ratios are given without noises, or are none that can be heard.
    """
    if snrs_db is not None and noise is None:
        raise AsrkitError("--snr is given without noises; wanted --noise, a folder of them")
    least, most = SNR_DB
    for snr_db in snrs_db or ():
        if not least <= snr_db <= most:
            raise AsrkitError(f"--snr {snr_db:g} is no level to test at; wanted dB from {least:g} to {most:g}")
    found = []
    if noise is not None:
        noises, mark = _open(Path(noise), NOISE)
        for snr_db in SNRS_DB if snrs_db is None else snrs_db:
            name = f"{Path(noise).resolve().name} {snr_db:g} dB"
            found.append(Condition(name, f"{mark} {snr_db:g} {SEED}", noises=noises, snr_db=float(snr_db)))
    if rir is not None:
        responses, mark = _open(Path(rir), RESPONSE)
        found.append(Condition(Path(rir).resolve().name, f"{mark} {SEED}", responses=responses))
    return found


def _open(source: Path, kind: str) -> tuple[NamedSounds, str]:
    if not (source / MARKER).is_file():
        files = SoundFiles(tuple(sounds_of(source, ", or what prepare-noise made (data/NAME)")))
        return Remembered(files), files.fingerprint
    prepared = open_noise(source)
    if kind not in prepared.indexes:
        raise AsrkitError(f"{source} holds no {kind}; it has {', '.join(prepared.indexes)}")
    return Remembered(prepared.indexes[kind]), prepared.indexes[kind].fingerprint

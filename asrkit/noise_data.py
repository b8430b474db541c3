"""A folder that `asrkit prepare-noise` made in; its noises and the impulse responses of its rooms out.

data/NAME/noise and data/NAME/rir hold shards and an index as a corpus's splits do (shards.py), without texts;
noise.json, written last, says what there is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asrkit.augment import Remembered, Surroundings
from asrkit.errors import AsrkitError, did_you_mean
from asrkit.remote import is_remote
from asrkit.shards import SCHEMA, Index, JoinedIndex, joined_fingerprint

NOISE, RESPONSE = "noise", "rir"
KINDS = (NOISE, RESPONSE)
MARKER = "noise.json"


@dataclass(frozen=True)
class NoiseData:
    """What there is, by kind; a kind may be missing."""

    folder: Path
    indexes: dict[str, Index]
    meta: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Changes with what is in it."""
        return joined_fingerprint([index.fingerprint for index in self.indexes.values()])


def noise_dir(data_dir: str | Path) -> Path:
    """Where the noises of a training with this --data-dir are: beside speech far away in ./data."""
    return Path("data") if is_remote(data_dir) else Path(data_dir)


def open_noise(folder: Path) -> NoiseData:
    """The noises and rooms of a folder.

    Raises:
        AsrkitError: there are none, or prepare-noise did not end.
    """
    path = folder / MARKER
    if not path.is_file():
        there = sorted(marker.parent.name for marker in folder.parent.glob(f"*/{MARKER}"))
        hint = did_you_mean(folder.name, there) or (f" (prepared: {', '.join(there)})" if there else "")
        raise AsrkitError(
            f"{folder} holds no prepared noises; run: asrkit prepare-noise FOLDER... --name {folder.name}{hint}"
        )
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        schema, kinds = meta["schema"], [kind for kind in KINDS if kind in meta["counts"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AsrkitError(f"{path} is damaged; delete it and run asrkit prepare-noise again") from error
    if schema != SCHEMA:
        raise AsrkitError(f"{path} has schema {schema}; this asrkit wants {SCHEMA}: run asrkit prepare-noise again")
    return NoiseData(folder, {kind: Index.open(folder / kind) for kind in kinds}, meta)


def surroundings(found: Sequence[NoiseData]) -> Surroundings:
    """All noises and rooms of several folders as one."""
    noises, responses = ([data.indexes[kind] for data in found if kind in data.indexes] for kind in (NOISE, RESPONSE))
    kept = (Remembered(JoinedIndex(indexes)) if indexes else None for indexes in (noises, responses))
    return Surroundings(*kept)

"""An n-gram model as a folder of arrays: written once, then mapped into memory and shared by all who open it.

The folder holds an .npy file for each array and, written last, pack.json: the format, the counts, the numbers of the
marks, and where the model came from.
"""

import json
import shutil
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.arpa import NO_WORD, read_arpa
from asrkit.atomic import part_of, storing_in, write_whole
from asrkit.automaton import FREE, SLOT, STATE, UNIGRAM, Automaton, Tables, build_automaton
from asrkit.errors import AsrkitError
from asrkit.progress import Progress, Silent

FORMAT = 1
MARKER = "pack.json"
READ_BYTES = 1 << 22
_NUMBERS = ("unreachable", "unknown", "begin", "end")
_ARRAYS: dict[str, np.dtype[Any]] = {
    "words": np.dtype("u1"),
    "word_offsets": np.dtype("i8"),
    "word_slots": np.dtype("i4"),
    "unigrams": UNIGRAM,
    "states": STATE,
    "slots": SLOT,
}


def write_pack(automaton: Automaton, folder: Path, *, source: Path) -> None:
    """Writes the folder, in place of a pack that is there already. `source` is the file the model was read from.

    Raises:
        AsrkitError: something else is there, or there is no room.
    """
    if folder.exists() and not (folder / MARKER).is_file():
        raise AsrkitError(f"{folder} is there already and is no packed n-gram; choose another place")
    part = part_of(folder)
    with storing_in(folder.parent):
        shutil.rmtree(part, ignore_errors=True)
        try:
            part.mkdir(parents=True)
            for name, array in _arrays(automaton).items():
                np.save(part / f"{name}.npy", array)
            known = {name: getattr(automaton, name) for name in _NUMBERS}
            made_of = {"name": source.name, "bytes": source.stat().st_size, "sha256": _hash(source)}
            marker = {"format": FORMAT, "counts": automaton.counts, **known, "source": made_of}
            write_whole(part / MARKER, (json.dumps(marker, indent=1) + "\n").encode("utf-8"))
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def is_pack(path: Path) -> bool:
    """Whether there is the folder of a packed model."""
    return (path / MARKER).is_file()


def read_pack(folder: Path) -> Automaton:
    """The model, mapped into memory: processes that open the same folder share it.

    Raises:
        AsrkitError: no packed n-gram, one of another format, or a damaged one.
    """
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        if marker["format"] != FORMAT:
            raise AsrkitError(
                f"{folder} is a packed n-gram of format {marker['format']}; this version of asrkit reads {FORMAT}: "
                "pack it again from its ARPA file"
            )
        array_of = {name: _map(folder / f"{name}.npy") for name in _ARRAYS}
        automaton = Automaton(
            counts=tuple(int(count) for count in marker["counts"]),
            **{name: int(marker[name]) for name in _NUMBERS},
            words=array_of["words"],
            word_offsets=array_of["word_offsets"],
            word_slots=array_of["word_slots"],
            tables=Tables(*(array_of[name] for name in Tables._fields)),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AsrkitError(f"{folder} is no packed n-gram, or a damaged one ({error}); pack it again") from error
    if trouble := _trouble(automaton):
        raise AsrkitError(f"{folder} is a damaged n-gram: {trouble}; pack it again")
    return automaton


def open_automaton(path: Path, *, progress: Progress = Silent()) -> Automaton:
    """An .arpa, an .arpa.gz, or the folder of a packed model.

    Raises:
        AsrkitError: no n-gram model, or a damaged one.
    """
    return read_pack(path) if is_pack(path) else build_automaton(read_arpa(path, progress=progress), path)


def _arrays(automaton: Automaton) -> dict[str, NDArray[Any]]:
    own = {field.name: getattr(automaton, field.name) for field in fields(automaton)}
    found = own | automaton.tables._asdict()
    return {name: np.ascontiguousarray(found[name], dtype=kind) for name, kind in _ARRAYS.items()}


def _map(path: Path) -> NDArray[Any]:
    """Copy-on-write, so that Numba meets the type that arrays in memory have; nobody writes."""
    array: NDArray[Any] = np.load(path, mmap_mode="c")
    if array.dtype != _ARRAYS[path.stem] or array.ndim != 1:
        raise ValueError(f"{path.name} holds {array.dtype} of {array.ndim} dimensions")
    return array.view(np.ndarray)


def _trouble(automaton: Automaton) -> str | None:
    """What would let a search read beyond an array; Numba does not look."""
    tables = automaton.tables
    words, states = len(tables.unigrams), len(tables.states)
    for name, to in (("unigrams", "after"), ("states", "shorter"), ("slots", "after")):
        array = getattr(tables, name)[to]
        if len(array) and not 0 <= array.min() <= array.max() < states:
            return f"{name} lead to states beyond {states}"
    for name, array in (("slots", tables.slots), ("word_slots", automaton.word_slots)):
        if not len(array) or len(array) & (len(array) - 1):
            return f"{name} is a hash table of {len(array)} entries, which is no power of 2"
    if not (tables.slots["key"] == FREE).any() or not (automaton.word_slots == NO_WORD).any():
        return "its hash tables have no end"
    offsets = automaton.word_offsets
    if len(offsets) not in (words, words + 1) or offsets[0] != 0 or offsets[-1] != len(automaton.words):
        return "words and word_offsets do not go together"
    if (np.diff(offsets) < 0).any() or not NO_WORD <= automaton.word_slots.min() <= automaton.word_slots.max() < len(
        offsets
    ) - 1:
        return "words and word_slots do not go together"
    if max(automaton.unknown, automaton.begin, automaton.end) >= words:
        return "its marks are no words"
    return None


def _hash(path: Path) -> str:
    hashed = sha256()
    with path.open("rb") as file:
        while some := file.read(READ_BYTES):
            hashed.update(some)
    return hashed.hexdigest()

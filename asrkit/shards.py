"""A data set's folder in; utterances out, each one seek away: webdataset tar shards and their index, read.

A split's folder holds

- shard-000000.tar: `<key>.flac` (or .opus) and `<key>.json` of each sample, one after the other;
- shard-000000.jsonl, its sidecar, written last: first a header (schema, codec, plan, samples, left_out, bytes), then a
  line for each sample (key, offset, size, samples and what its .json holds) or for an utterance that had to be left out
  (key, left_out: the reason, detail), in the order of the corpus;
- index.jsonl, for people: a line for each utterance that is used, with its normalised text, labels and frames;
- index.npy (INDEX_DTYPE) and tokens.npy (int32), the same in numbers, memory-mapped in training;
- index.json, written last: schema, fingerprints, counts and the sizes of all these files.

A data set's folder holds its splits' folders, tokenizer/ and, written last, prepare.json. `shard_writer.py` writes.

Shapes: S is samples, N is utterances, U is labels.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from asrkit import audio, remote
from asrkit.errors import AsrkitError, UnreachableError, did_you_mean
from asrkit.tokenizer import Tokenizer, load_tokenizer

SCHEMA = 1  # of sidecars and index.json
INDEX_DTYPE = np.dtype(
    [
        ("shard", "<u4"),
        ("offset", "<u8"),  # of the sound's first byte in the tar
        ("size", "<u4"),  # bytes of sound
        ("samples", "<u4"),
        ("labels", "<u4"),
        ("frames", "<u4"),  # that CTC needs: labels, and one between equal neighbours
        ("tokens", "<u8"),  # place of the first label in tokens.npy
        ("line", "<u8"),  # byte offset of its line in index.jsonl
    ]
)
FETCHES = 3  # of a shard: another process may remove it before it is opened
_AGAIN = "run asrkit prepare again"


def shard_path(folder: Path, number: int) -> Path:
    """Where the tar of that shard is, in its split's folder."""
    return folder / f"shard-{number:06d}.tar"


def sidecar_path(folder: Path, number: int) -> Path:
    """Where the lines about that shard are."""
    return folder / f"shard-{number:06d}.jsonl"


def read_sidecar(folder: Path, number: int) -> Iterator[dict[str, Any]]:
    """The sidecar's lines, without its header.

    Raises:
        AsrkitError: missing, damaged or of another version.
    """
    path = sidecar_path(folder, number)
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
            if header.get("schema") != SCHEMA:
                raise AsrkitError(f"{path} has schema {header.get('schema')}; this asrkit wants {SCHEMA}: prepare anew")
            yield from map(json.loads, file)
    except OSError as error:
        raise AsrkitError(f"{path} cannot be read ({error.strerror}); run asrkit prepare again") from error
    except ValueError as error:
        raise AsrkitError(f"{path} is damaged; delete it and run asrkit prepare again") from error


class Index:
    """The utterances of a prepared split. Cheap to hand to other processes: files are opened where they are read."""

    def __init__(self, folder: Path, meta: Mapping[str, Any]) -> None:
        self.folder = folder
        self._meta = meta
        self._address = remote.address_of(folder.parent)  # of its data set; None where it is on this machine

    @classmethod
    def open(cls, folder: Path) -> "Index":
        """The index in a split's folder.

        Raises:
            AsrkitError: missing, of another version, or its files or shards are not of the size it noted.
        """
        path = folder / "index.json"
        try:
            meta = json.loads(path.read_text(encoding="utf-8"))
            schema = meta["schema"]
        except OSError as error:
            raise AsrkitError(f"{folder} has no index.json; run asrkit prepare first") from error
        except (ValueError, KeyError, TypeError) as error:
            raise AsrkitError(f"{path} is damaged; run asrkit prepare again") from error
        if schema != SCHEMA:
            raise AsrkitError(f"{path} has schema {schema}; this asrkit wants {SCHEMA}: run asrkit prepare again")
        index = cls(folder, meta)
        index._check_sizes()
        return index

    def _check_sizes(self) -> None:
        for name, size in self._meta["shard_bytes"].items():
            if not self.is_remote:
                _check_size(shard_path(self.folder, int(name)), size)
        _check_size(self.folder / "index.jsonl", self._meta["jsonl_bytes"])
        for name, found, wanted in (
            ("index.npy", len(self.rows), self._meta["utterances"]),
            ("tokens.npy", len(self._tokens), self._meta["tokens"]),
        ):
            if found != wanted:
                raise AsrkitError(f"{self.folder / name} has {found} rows, index.json says {wanted}: {_AGAIN}")

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_meta": self._meta, "_address": self._address}

    def __len__(self) -> int:
        return int(self._meta["utterances"])

    @cached_property
    def rows(self) -> npt.NDArray[Any]:
        """The numbers of all utterances: (N,) of INDEX_DTYPE."""
        return _load_npy(self.folder / "index.npy", INDEX_DTYPE)

    @cached_property
    def _tokens(self) -> npt.NDArray[np.int32]:
        return _load_npy(self.folder / "tokens.npy", np.dtype("<i4"))

    def tokens(self, i: int) -> npt.NDArray[np.int32]:
        """The labels (U,) of utterance i."""
        start = int(self.rows[i]["tokens"])
        return self._tokens[start : start + int(self.rows[i]["labels"])]

    def record(self, i: int) -> dict[str, Any]:
        """The line of utterance i in index.jsonl."""
        path = self.folder / "index.jsonl"
        try:
            with path.open("rb") as file:
                file.seek(int(self.rows[i]["line"]))
                record: dict[str, Any] = json.loads(file.readline())
        except (OSError, ValueError) as error:
            raise AsrkitError(f"{path} does not match index.npy: {_AGAIN}") from error
        return record

    def name(self, i: int) -> str:
        """The key of utterance i."""
        return str(self.record(i)["key"])

    def audio(self, i: int) -> audio.Samples:
        """The sound (S,) of utterance i.

        Raises:
            UnreachableError: the shard is far away, and cannot be fetched now.
            AsrkitError: it is missing, cut off, or holds something else in that place.
        """
        row = self.rows[i]
        path = shard_path(self.folder, int(row["shard"]))
        try:
            with self._shard(int(row["shard"])) as file:
                file.seek(int(row["offset"]))
                data = file.read(int(row["size"]))
            samples = audio.decode(data)
        except UnreachableError:
            raise
        except (OSError, AsrkitError) as error:
            raise AsrkitError(
                f"{path} is cut off or damaged at {self.record(i)['key']!r} ({error}): {_AGAIN}"
            ) from error
        if len(samples) != row["samples"]:
            raise AsrkitError(f"{path} does not match its index at {self.record(i)['key']!r}: {_AGAIN}")
        return samples

    @property
    def is_remote(self) -> bool:
        """Whether its shards are far away, and come when they are asked for."""
        return self._address is not None

    def fetch_shard(self, number: int) -> None:
        """Makes a shard that is far away a file of this machine, if it is none yet.

        Raises:
            AsrkitError: it cannot be reached, or is not of the size that the index noted.
        """
        path, size = shard_path(self.folder, number), self._meta["shard_bytes"][str(number)]
        remote.fetch(f"{self._address}/{self.folder.name}/{path.name}", path, size)

    def keep_shards(self, numbers: Iterable[int]) -> None:
        """Removes all others of those that were fetched."""
        kept = {shard_path(self.folder, number) for number in numbers}
        for path in self.folder.glob("shard-*.tar"):
            if self.is_remote and path not in kept:
                path.unlink(missing_ok=True)

    def _shard(self, number: int) -> IO[bytes]:
        path = shard_path(self.folder, number)
        for _ in range(FETCHES if self.is_remote else 0):
            with suppress(FileNotFoundError):
                return path.open("rb")
            self.fetch_shard(number)
        return path.open("rb")

    @property
    def seconds(self) -> float:
        """Of sound, in all."""
        return int(self._meta["samples"]) / audio.SAMPLE_RATE_HZ

    @property
    def fingerprint(self) -> str:
        """Changes with the tokenizer, a text, or the utterances."""
        return str(self._meta["fingerprint"])

    @property
    def tokenizer_fingerprint(self) -> str:
        return str(self._meta["tokenizer"])


def joined_fingerprint(fingerprints: Sequence[str]) -> str:
    """That of several indexes as one."""
    return fingerprints[0] if len(fingerprints) == 1 else sha256(" ".join(fingerprints).encode()).hexdigest()[:16]


class JoinedIndex(Index):
    """Several splits as one, in the order given; shards are numbered through."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self._indexes = list(indexes)
        self._starts = np.cumsum([0] + [len(index) for index in indexes])  # (splits + 1,)
        self.folder, self._address = self._indexes[0].folder, self._indexes[0]._address

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("_indexes", "_starts", "folder", "_address")}

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def rows(self) -> npt.NDArray[Any]:
        """As Index.rows; places within files (offset, tokens, line) remain those of each split."""
        if len(self._indexes) == 1:
            return self._indexes[0].rows
        parts = [np.array(index.rows) for index in self._indexes]
        for part, first in zip(parts, self._first_shards, strict=True):
            part["shard"] += first
        return np.concatenate(parts)

    @cached_property
    def _first_shards(self) -> list[int]:
        """The number that each split's shard 0 has here."""
        counts = [int(index.rows[-1]["shard"]) + 1 if len(index) else 0 for index in self._indexes]
        return [sum(counts[:place]) for place in range(len(counts))]

    def fetch_shard(self, number: int) -> None:
        which = bisect_right(self._first_shards, number) - 1
        self._indexes[which].fetch_shard(number - self._first_shards[which])

    def keep_shards(self, numbers: Iterable[int]) -> None:
        kept = list(numbers)
        for index, first in zip(self._indexes, self._first_shards, strict=True):
            index.keep_shards([number - first for number in kept])

    def _at(self, i: int) -> tuple[Index, int]:
        which = int(np.searchsorted(self._starts, i, side="right")) - 1
        return self._indexes[which], i - int(self._starts[which])

    def tokens(self, i: int) -> npt.NDArray[np.int32]:
        index, i = self._at(i)
        return index.tokens(i)

    def record(self, i: int) -> dict[str, Any]:
        index, i = self._at(i)
        return index.record(i)

    def audio(self, i: int) -> audio.Samples:
        index, i = self._at(i)
        return index.audio(i)

    @property
    def seconds(self) -> float:
        return sum(index.seconds for index in self._indexes)

    @property
    def fingerprint(self) -> str:
        return joined_fingerprint([index.fingerprint for index in self._indexes])

    @property
    def tokenizer_fingerprint(self) -> str:
        return self._indexes[0].tokenizer_fingerprint


@dataclass(frozen=True)
class DataSet:
    """What prepare made: `splits` names the splits of each role (train, dev, test), `meta` is prepare.json."""

    name: str
    folder: Path  # on this machine, all of it or, where it is far away, what was fetched of it
    recipe_name: str
    splits: dict[str, list[str]]
    meta: dict[str, Any]

    @property
    def place(self) -> str:
        """Where it is: the address of data far away, or its folder."""
        return remote.address_of(self.folder) or str(self.folder.resolve())

    def index(self, split: str) -> Index:
        """The index of one split.

        Raises:
            AsrkitError: no such split, or its index was made for another tokenizer than this data set's.
        """
        known = [name for names in self.splits.values() for name in names]
        if split not in known:
            there = ", ".join(known)
            raise AsrkitError(
                f"data {self.name!r} has no split {split!r}{did_you_mean(split, known)} (it has: {there})"
            )
        index = Index.open(self.folder / split)
        if index.tokenizer_fingerprint != self.meta["tokenizer"]["fingerprint"]:
            raise AsrkitError(f"the index of {self.folder / split} is for another tokenizer than this data's: {_AGAIN}")
        return index

    def texts(self, role: str) -> Iterator[str]:
        """The normalised texts of train, dev or test, in the order of the index.

        Raises:
            AsrkitError: as `index`; or index.jsonl is damaged.
        """
        for split in self.splits[role]:
            path = self.index(split).folder / "index.jsonl"
            try:
                with path.open("rb") as file:
                    for line in file:
                        yield str(json.loads(line)["text"])
            except (OSError, ValueError, KeyError) as error:
                raise AsrkitError(f"{path} is damaged: {_AGAIN}") from error

    def tokenizer(self) -> Tokenizer:
        """The tokenizer trained on the train splits."""
        return load_tokenizer(self.folder / "tokenizer")


def open_data(data_dir: str | Path, name: str) -> DataSet:
    """The prepared data set data_dir/name; `data_dir` is a folder, or the address of one.

    Raises:
        AsrkitError: there is none, or prepare did not end; it cannot be reached; a name that leads out of the folder.
    """
    remote.check_name(data_dir, name)
    data_dir = remote.mirror(str(data_dir), name) if remote.is_remote(data_dir) else Path(data_dir)
    folder = data_dir / name
    path = folder / "prepare.json"
    if not path.is_file():
        state = "is not prepared to the end" if folder.is_dir() else "does not exist"
        raise AsrkitError(f"data {folder} {state}; run: asrkit prepare RECIPE --name {name}{_others(data_dir, name)}")
    meta = _read_meta(path)
    if meta.get("schema") != SCHEMA:
        raise AsrkitError(f"{path} has schema {meta.get('schema')}; this asrkit wants {SCHEMA}: {_AGAIN}")
    if not isinstance(meta.get("recipe"), str) or not isinstance(meta.get("splits"), dict):
        raise AsrkitError(f"{path} is damaged; delete it and {_AGAIN}")
    return DataSet(name=name, folder=folder, recipe_name=meta["recipe"], splits=meta["splits"], meta=meta)


def resolve_data(data_dir: str | Path, name: str | None, recipe_name: str) -> DataSet:
    """The data set of that name; without one, the recipe's own, or the only one prepared with the recipe.

    What is far away cannot be listed, so that there it is the recipe's own.

    Raises:
        AsrkitError: none or several, or it was prepared with another recipe; it cannot be reached.
    """
    if name is None and remote.is_remote(data_dir):
        name = recipe_name
    if name is None:
        data_dir = Path(data_dir)
        prepared = _prepared_with(data_dir, recipe_name)
        if not prepared:
            raise AsrkitError(
                f"no data in {data_dir} is prepared with {recipe_name!r}; run: asrkit prepare {recipe_name}"
            )
        if recipe_name not in prepared and len(prepared) > 1:
            raise AsrkitError(f"several data sets are prepared with {recipe_name!r}: --data {' or '.join(prepared)}")
        name = recipe_name if recipe_name in prepared else prepared[0]
    data = open_data(data_dir, name)
    if data.recipe_name != recipe_name:
        raise AsrkitError(f"data {data.folder} is prepared with recipe {data.recipe_name!r}; wanted {recipe_name!r}")
    return data


def _prepared_with(data_dir: Path, recipe_name: str) -> list[str]:
    metas = {path.parent.name: _read_meta(path) for path in sorted(Path(data_dir).glob("*/prepare.json"))}
    return [name for name, meta in metas.items() if meta.get("recipe") == recipe_name]


def _others(data_dir: Path, name: str) -> str:
    there = sorted(path.parent.name for path in Path(data_dir).glob("*/prepare.json"))
    return did_you_mean(name, there) or (f" (prepared: {', '.join(there)})" if there else "")


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AsrkitError(f"{path} is damaged; delete it and {_AGAIN}") from error
    return meta if isinstance(meta, dict) else {}


def _load_npy(path: Path, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The array, memory-mapped."""
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise AsrkitError(f"{path} is missing or cut off: {_AGAIN}") from error
    if array.dtype != dtype or array.ndim != 1:
        raise AsrkitError(f"{path} holds {array.dtype}; wanted {dtype}: {_AGAIN}")
    return array


def _check_size(path: Path, size: int) -> None:
    found = path.stat().st_size if path.is_file() else None
    if found != size:
        what = "is missing" if found is None else f"has {found} bytes, not the {size} of its index"
        raise AsrkitError(f"{path} {what}: {_AGAIN} (whole shards are not done again)")

"""Utterances in, webdataset tar shards and their index out; and back: an index opened, a sample one seek away.

A split's folder holds

- shard-000000.tar: `<key>.flac` (or .opus) and `<key>.json` of each sample, one after the other;
- shard-000000.jsonl, its sidecar, written last: first a header (schema, codec, plan, samples, left_out, bytes), then a
  line for each sample (key, offset, size, samples and what its .json holds) or for an utterance that had to be left out
  (key, left_out: the reason, detail), in the order of the corpus;
- index.jsonl, for people: a line for each utterance that is used, with its normalised text, labels and frames;
- index.npy (INDEX_DTYPE) and tokens.npy (int32), the same in numbers, memory-mapped in training;
- index.json, written last: schema, fingerprints, counts and the sizes of all these files.

Shapes: S is samples, N is utterances, U is labels.
"""

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from asrkit import audio
from asrkit.atomic import part_of, replacing, sync, write_whole
from asrkit.errors import AsrkitError

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
_RESERVED = {"key", "shard", "offset", "size", "samples", "labels", "frames", "left_out", "detail"}


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}.tar"


def sidecar_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}.jsonl"


def ctc_frames(tokens: Sequence[int]) -> int:
    """The fewest output frames that can spell these labels: equal neighbours need a blank between them."""
    return len(tokens) + sum(a == b for a, b in zip(tokens, tokens[1:], strict=False))


class ShardWriter:
    """Writes one shard and its sidecar. Both appear when the `with` block ends well, the sidecar last."""

    def __init__(self, folder: Path, number: int, *, codec: str, plan: str) -> None:
        self._folder, self._number = folder, number
        self._header = {"schema": SCHEMA, "codec": codec, "plan": plan}
        self._lines: list[bytes] = []
        self._samples = 0
        self._stack = ExitStack()

    def __enter__(self) -> "ShardWriter":
        self._file = self._stack.enter_context(replacing(shard_path(self._folder, self._number)))
        # USTAR has room for the member's name, no more: the same names and bytes give the same tar.
        self._tar = self._stack.enter_context(tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT))
        return self

    def add(self, key: str, samples: audio.Samples, meta: Mapping[str, Any]) -> None:
        """A sample: sound (S,), and what its .json holds beside duration_s. Keys hold no dots and no slashes."""
        sound = audio.encode(samples, self._header["codec"])
        clear = {f"corpus_{name}" if name in _RESERVED else name: value for name, value in meta.items()}
        record = clear | {"duration_s": round(len(samples) / audio.SAMPLE_RATE_HZ, 6)}
        offset = self._put(f"{key}.{self._header['codec']}", sound)
        self._put(f"{key}.json", _json_line(record))
        place = {"key": key, "offset": offset, "size": len(sound), "samples": len(samples)}
        self._lines.append(_json_line(place | record))
        self._samples += 1

    def leave_out(self, key: str, reason: str, detail: str) -> None:
        """Notes an utterance that cannot be a sample, and why."""
        self._lines.append(_json_line({"key": key, "left_out": reason, "detail": detail}))

    def _put(self, name: str, content: bytes) -> int:
        """Adds a member; gives the offset of its content."""
        member = tarfile.TarInfo(name)
        member.size = len(content)
        offset = self._file.tell() + tarfile.BLOCKSIZE
        self._tar.addfile(member, io.BytesIO(content))
        return offset

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
        if error[0] is None:
            size = shard_path(self._folder, self._number).stat().st_size
            counts = {"samples": self._samples, "left_out": len(self._lines) - self._samples, "bytes": size}
            header = _json_line(self._header | counts)
            write_whole(sidecar_path(self._folder, self._number), header + b"".join(self._lines))


def shard_is_finished(folder: Path, number: int, *, codec: str, plan: str) -> bool:
    """Whether shard and sidecar are there, whole, and made with this codec from this part of the plan."""
    try:
        with sidecar_path(folder, number).open("rb") as file:
            header = json.loads(file.readline())
        size = shard_path(folder, number).stat().st_size
    except (OSError, ValueError):
        return False
    wanted = {"schema": SCHEMA, "codec": codec, "plan": plan, "bytes": size}
    return isinstance(header, dict) and all(header.get(name) == value for name, value in wanted.items())


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


class IndexWriter:
    """Writes a split's index in bounded memory: `add` each utterance, `finish`, then `publish` puts it in place."""

    def __init__(self, folder: Path, tokenizer_fingerprint: str) -> None:
        self.folder = folder
        self._tokenizer = tokenizer_fingerprint
        self._digest = sha256(tokenizer_fingerprint.encode("utf-8"))
        self._line = self._samples = 0
        self._shard_bytes: dict[int, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "IndexWriter":
        self._lines = self._stack.enter_context(part_of(self.folder / "index.jsonl").open("wb"))
        self._rows = self._stack.enter_context(_NpyWriter(part_of(self.folder / "index.npy"), INDEX_DTYPE))
        self._tokens = self._stack.enter_context(_NpyWriter(part_of(self.folder / "tokens.npy"), np.dtype("<i4")))
        return self

    def add(self, shard: int, sample: Mapping[str, Any], text: str, tokens: Sequence[int]) -> None:
        """An utterance: its sidecar line, normalised text and labels (U,)."""
        counts = {"labels": len(tokens), "frames": ctc_frames(tokens)}
        line = _json_line({"key": sample["key"], "shard": shard} | dict(sample) | {"text": text} | counts)
        place = (shard, sample["offset"], sample["size"], sample["samples"])
        self._rows.append(np.array([(*place, *counts.values(), self._tokens.length, self._line)], INDEX_DTYPE))
        self._tokens.append(np.asarray(tokens, "<i4"))
        self._lines.write(line)
        self._digest.update(line)
        self._line += len(line)
        self._samples += int(sample["samples"])
        if shard not in self._shard_bytes:
            self._shard_bytes[shard] = shard_path(self.folder, shard).stat().st_size

    def finish(self) -> str:
        """Completes the files under their temporary names; gives the index's fingerprint."""
        self._meta = {
            "schema": SCHEMA,
            "fingerprint": self._digest.hexdigest()[:16],
            "tokenizer": self._tokenizer,
            "utterances": self._rows.length,
            "samples": self._samples,
            "tokens": self._tokens.length,
            "jsonl_bytes": self._line,
            "shard_bytes": {str(number): size for number, size in sorted(self._shard_bytes.items())},
        }
        sync(self._lines)
        self._stack.close()
        return str(self._meta["fingerprint"])

    def publish(self) -> None:
        """Puts the finished index in place of an older one; index.json comes last."""
        (self.folder / "index.json").unlink(missing_ok=True)
        for name in ("index.jsonl", "index.npy", "tokens.npy"):
            os.replace(part_of(self.folder / name), self.folder / name)
        write_whole(self.folder / "index.json", _json_line(self._meta))

    def __exit__(self, *error: Any) -> None:
        self._stack.close()
        for name in ("index.jsonl", "index.npy", "tokens.npy"):
            part_of(self.folder / name).unlink(missing_ok=True)


class Index:
    """The utterances of a prepared split. Cheap to hand to other processes: files are opened where they are read."""

    def __init__(self, folder: Path, meta: Mapping[str, Any]) -> None:
        self.folder = folder
        self._meta = meta

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
            _check_size(shard_path(self.folder, int(name)), size)
        _check_size(self.folder / "index.jsonl", self._meta["jsonl_bytes"])
        for name, found, wanted in (
            ("index.npy", len(self.rows), self._meta["utterances"]),
            ("tokens.npy", len(self._tokens), self._meta["tokens"]),
        ):
            if found != wanted:
                raise AsrkitError(f"{self.folder / name} has {found} rows, index.json says {wanted}: {_AGAIN}")

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_meta": self._meta}

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

    def audio(self, i: int) -> audio.Samples:
        """The sound (S,) of utterance i.

        Raises:
            AsrkitError: the shard is missing, cut off, or holds something else in that place.
        """
        row = self.rows[i]
        path = shard_path(self.folder, int(row["shard"]))
        try:
            with path.open("rb") as file:
                file.seek(int(row["offset"]))
                data = file.read(int(row["size"]))
            samples = audio.decode(data)
        except (OSError, AsrkitError) as error:
            raise AsrkitError(f"{path} is cut off or damaged at {self.record(i)['key']!r} ({error}): {_AGAIN}") from error
        if len(samples) != row["samples"]:
            raise AsrkitError(f"{path} does not match its index at {self.record(i)['key']!r}: {_AGAIN}")
        return samples

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


class JoinedIndex(Index):
    """Several splits as one, in the order given; shards are numbered through."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self._indexes = list(indexes)
        self._starts = np.cumsum([0] + [len(index) for index in indexes])  # (splits + 1,)
        self.folder = self._indexes[0].folder

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("_indexes", "_starts", "folder")}

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def rows(self) -> npt.NDArray[Any]:
        """As Index.rows; places within files (offset, tokens, line) remain those of each split."""
        if len(self._indexes) == 1:
            return self._indexes[0].rows
        parts, first_shard = [], 0
        for index in self._indexes:
            part = np.array(index.rows)
            part["shard"] += first_shard
            first_shard = int(part["shard"].max(initial=first_shard - 1)) + 1
            parts.append(part)
        return np.concatenate(parts)

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
        if len(self._indexes) == 1:
            return self._indexes[0].fingerprint
        return sha256(" ".join(index.fingerprint for index in self._indexes).encode()).hexdigest()[:16]

    @property
    def tokenizer_fingerprint(self) -> str:
        return self._indexes[0].tokenizer_fingerprint


_AGAIN = "run asrkit prepare again"


class _NpyWriter:
    """A .npy file that grows: its header keeps room for the final length."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.length = 0
        self._path, self._dtype = path, dtype

    def __enter__(self) -> "_NpyWriter":
        self._file: IO[bytes] = self._path.open("wb")
        self._write_header()
        self._start = self._file.tell()
        return self

    def append(self, values: npt.NDArray[Any]) -> None:
        self._file.write(values.astype(self._dtype, copy=False).tobytes())
        self.length += len(values)

    def __exit__(self, *error: Any) -> None:
        if not self._file.closed:
            self._file.seek(0)
            self._write_header()
            assert self._file.tell() == self._start
            sync(self._file)
            self._file.close()

    def _write_header(self) -> None:
        shape = (self.length,)
        header = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._file, header)


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


def _json_line(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8")

"""Utterances in; tar shards, sidecars and index files out, as `shards.py` describes and reads them."""

import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from asrkit import audio
from asrkit.atomic import part_of, replacing, sync, write_whole
from asrkit.shards import INDEX_DTYPE, SCHEMA, shard_path, sidecar_path

_RESERVED = {"key", "shard", "offset", "size", "samples", "labels", "frames", "left_out", "detail"}


class ShardWriter:
    """Writes one shard and its sidecar. Both appear when the `with` block ends well, the sidecar last."""

    def __init__(self, folder: Path, number: int, *, codec: str, plan: str) -> None:
        self._folder, self._number = folder, number
        self._codec = codec
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
        sound = audio.encode(samples, self._codec)
        clear = {f"corpus_{name}" if name in _RESERVED else name: value for name, value in meta.items()}
        record = clear | {"duration_s": round(len(samples) / audio.SAMPLE_RATE_HZ, 6)}
        offset = self._put(f"{key}.{self._codec}", sound)
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


def ctc_frames(tokens: Sequence[int]) -> int:
    """The fewest output frames that can spell these labels: equal neighbours need a blank between them."""
    return len(tokens) + sum(a == b for a, b in pairwise(tokens))


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

    @property
    def fingerprint(self) -> str:
        return self._digest.hexdigest()[:16]

    def finish(self) -> str:
        """Completes the files under their temporary names; gives the index's fingerprint."""
        self._meta = {
            "schema": SCHEMA,
            "fingerprint": self.fingerprint,
            "tokenizer": self._tokenizer,
            "utterances": self._rows.length,
            "samples": self._samples,
            "tokens": self._tokens.length,
            "jsonl_bytes": self._line,
            "shard_bytes": {str(number): size for number, size in sorted(self._shard_bytes.items())},
        }
        sync(self._lines)
        self._stack.close()
        return self.fingerprint

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
        header = {
            "descr": self._dtype.descr if self._dtype.names else self._dtype.str,
            "fortran_order": False,
            "shape": shape,
        }
        npy.write_array_header_1_0(self._file, header)


def _json_line(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8")

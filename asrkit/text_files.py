"""Text files in, plain or gzipped, or standard input; their lines out, one by one or in blocks."""

import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, cast

from asrkit.errors import AsrkitError

STANDARD_INPUT = Path("-")
GZIP_MAGIC = b"\x1f\x8b"
OTHER_MAGICS = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
BOM = b"\xef\xbb\xbf"
BLOCK_BYTES = 4 << 20


def read_lines(paths: Sequence[Path]) -> Iterator[str]:
    """Every line of every file, without its end; `-` is standard input.

    Raises:
        AsrkitError: a file that is not there, cannot be read, is damaged, or is not UTF-8.
    """
    for block in read_blocks(paths):
        for line in block.decode("utf-8").removesuffix("\n").split("\n"):
            yield line.rstrip("\r")


def read_blocks(paths: Sequence[Path]) -> Iterator[bytes]:
    """The same in whole lines of UTF-8, some megabytes at once, each line with its end.

    Raises:
        AsrkitError: as `read_lines`.
    """
    for path in paths:
        read = 0  # lines
        with nullcontext(sys.stdin.buffer) if path == STANDARD_INPUT else reading(path) as file:
            while lines := file.readlines(BLOCK_BYTES):
                if not read:
                    lines[0] = lines[0].removeprefix(BOM)
                block = b"".join(lines)
                try:
                    block.decode("utf-8")
                except UnicodeDecodeError as error:
                    before = block[: error.start].split(b"\n")
                    where = f"{path} line {read + len(before)}"
                    raise AsrkitError(
                        f"{where} is not UTF-8 ({error.reason} at byte {len(before[-1]) + 1}); convert it, "
                        "for example with: iconv -f LATIN1 -t UTF-8"
                    ) from error
                if block:
                    yield block if block.endswith(b"\n") else block + b"\n"
                read += len(lines)


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a plain or gzipped file; trouble on the way is an AsrkitError."""
    packed = starts_with(path, GZIP_MAGIC)
    try:
        with path.open("rb") as plain:
            yield cast(IO[bytes], gzip.GzipFile(fileobj=plain)) if packed else plain
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AsrkitError(f"{path} is a damaged or truncated gzip file: {error}") from error
    except OSError as error:
        raise AsrkitError(f"{path} cannot be read: {error.strerror or error}") from error


def starts_with(path: Path, magic: bytes) -> bool:
    """Whether these are a file's first bytes.

    Raises:
        AsrkitError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError as error:
        raise AsrkitError(f"{path} cannot be read: {error.strerror or error}") from error

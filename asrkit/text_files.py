"""Text files in, plain or gzipped, or standard input; their lines out, one by one."""

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


def read_lines(paths: Sequence[Path]) -> Iterator[str]:
    """Every line of every file, without its end; `-` is standard input.

    Raises:
        AsrkitError: a file that is not there, cannot be read, is damaged, or is not UTF-8.
    """
    for path in paths:
        with nullcontext(sys.stdin.buffer) if path == STANDARD_INPUT else reading(path) as file:
            for number, line in enumerate(file, start=1):
                if number == 1:
                    line = line.removeprefix(BOM)
                try:
                    yield line.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise AsrkitError(
                        f"{path} line {number} is not UTF-8 ({error.reason} at byte {error.start + 1}); convert it, "
                        "for example with: iconv -f LATIN1 -t UTF-8"
                    ) from error


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

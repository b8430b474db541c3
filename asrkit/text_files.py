"""Text files in, plain or gzipped, or standard input; their lines out, one by one."""

import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from asrkit.errors import AsrkitError

STANDARD_INPUT = Path("-")
GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"


def read_lines(paths: Sequence[Path]) -> Iterator[str]:
    """Every line of every file, without its end; `-` is standard input.

    Raises:
        AsrkitError: a file that is not there, cannot be read, is damaged, or is not UTF-8.
    """
    for path in paths:
        with _reading(path) as file:
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
def _reading(path: Path) -> Iterator[IO[bytes] | Any]:
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == GZIP_MAGIC
            plain.seek(0)
            yield gzip.GzipFile(fileobj=plain) if packed else plain
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AsrkitError(f"{path} is a damaged or truncated gzip file: {error}") from error
    except OSError as error:
        raise AsrkitError(f"{path} cannot be read: {error.strerror or error}") from error

"""A file's bytes in, as they come; what is wrong with them, if anything, out: by MD5, or by size and gzip's own CRC.

And what tells a file from the same one with other contents, without reading it.
"""

import os
import zlib
from contextlib import suppress
from hashlib import md5 as new_md5
from pathlib import Path
from typing import Protocol

_UNPACKED_BYTES = 1 << 22  # at once: a few bytes of gzip may be very many
_GZIP = 16 + zlib.MAX_WBITS  # zlib's word for "with gzip's head and its CRC"


class Check(Protocol):
    """Sees all bytes of a file in their order, and keeps none of them."""

    size: int  # bytes seen
    wanted_size: int | None  # bytes that the file must have; None where any number may be right

    @property
    def proves_whole(self) -> bool:
        """Whether bytes without a problem are all there are."""

    def update(self, chunk: bytes) -> None:
        """The next bytes."""

    def problem(self) -> str | None:
        """What is wrong with the bytes so far, taken as the whole file (`has ...; wanted ...`); None if nothing is."""


class Md5Check:
    """By a published checksum."""

    wanted_size: int | None = None
    proves_whole = True

    def __init__(self, md5: str) -> None:
        self.size = 0
        self._wanted = md5
        self._md5 = new_md5(usedforsecurity=False)

    def update(self, chunk: bytes) -> None:
        self._md5.update(chunk)
        self.size += len(chunk)

    def problem(self) -> str | None:
        found = self._md5.hexdigest()
        return None if found == self._wanted else f"has md5 {found}; wanted {self._wanted}"


class GzipCheck:
    """Without one: by the size, where it is known, and by the CRC and length that gzip writes behind what it packed.

    A gzip file is one member or several, one after another, perhaps with zeros behind (RFC 1952, section 2.2).
    """

    def __init__(self, size: int | None) -> None:
        self.size = 0
        self.wanted_size = size
        self._member: zlib._Decompress | None = None  # the one that the bytes are in
        self._members = 0  # finished
        self._damage = ""

    @property
    def proves_whole(self) -> bool:
        """Without the size, another member may follow."""
        return self.wanted_size is not None

    def update(self, chunk: bytes) -> None:
        self.size += len(chunk)
        try:
            while chunk and not self._damage:
                chunk = self._unpack(chunk)
        except zlib.error as error:
            self._damage = str(error)

    def _unpack(self, chunk: bytes) -> bytes:
        """Reads on to the end of the chunk or of a member; gives what is behind that."""
        if self._member is None:
            chunk = chunk.lstrip(b"\0") if self._members else chunk
            if not chunk:
                return b""
            self._member = zlib.decompressobj(_GZIP)
        while True:
            unpacked = self._member.decompress(chunk, _UNPACKED_BYTES)
            chunk = self._member.unconsumed_tail
            if self._member.eof:
                chunk = self._member.unused_data
                self._member = None
                self._members += 1
                return chunk
            if not chunk and len(unpacked) < _UNPACKED_BYTES:
                return b""

    def problem(self) -> str | None:
        if self.wanted_size not in (None, self.size):
            return f"has {self.size} bytes; wanted {self.wanted_size}"
        if self._damage:
            return f"is no sound gzip file ({self._damage})"
        return None if self._members and self._member is None else "is a gzip file that breaks off"


def file_state(path: str | Path) -> list[int] | None:
    """Size and time of the last change (ns), which new contents of a file change; None where there is none."""
    with suppress(OSError, ValueError):
        found = os.stat(path)
        return [found.st_size, found.st_mtime_ns]
    return None

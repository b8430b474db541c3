"""Strings in, how often each was seen out: counted on disk, so that memory does not grow with the corpus."""

import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from asrkit.errors import AsrkitError


def order(value: str) -> bytes:
    """What decides wherever something is chosen by hash: 16 bytes of SHA-256."""
    return sha256(value.encode("utf-8", "surrogatepass")).digest()[:16]


class Tally:
    """Counts strings in groups. It keeps their hashes only, in an SQLite file that is deleted at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "Tally":
        self._path.unlink(missing_ok=True)
        try:
            self._db = sqlite3.connect(self._path, isolation_level=None)
            # Nothing to keep: no journal, no waiting for the disk, one transaction that is never committed.
            self._db.execute("PRAGMA journal_mode=OFF")
            self._db.execute("PRAGMA synchronous=OFF")
            self._db.execute("PRAGMA cache_size=-2048")  # KiB
            self._db.execute(
                "CREATE TABLE tally (kind TEXT, hash BLOB, n INTEGER, PRIMARY KEY (kind, hash)) WITHOUT ROWID"
            )
            self._db.execute("BEGIN")
        except sqlite3.OperationalError as error:
            raise AsrkitError(f"{self._path} cannot be written ({error})") from error
        return self

    def __exit__(self, *error: Any) -> None:
        self._db.close()
        self._path.unlink(missing_ok=True)

    def add(self, kind: str, value: str) -> int:
        """Counts the string once more; gives how often it has been counted now."""
        insert = "INSERT INTO tally VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n"
        try:
            return int(self._db.execute(insert, (kind, order(value))).fetchone()[0])
        except sqlite3.OperationalError as error:  # a full disk comes as this
            raise AsrkitError(f"{self._path} cannot be written ({error}); free some space and start again") from error

    def count(self, kind: str, value: str) -> int:
        row = self._db.execute("SELECT n FROM tally WHERE kind = ? AND hash = ?", (kind, order(value))).fetchone()
        return int(row[0]) if row else 0

    def distinct(self, kind: str) -> int:
        """How many different strings the group has."""
        return int(self._db.execute("SELECT count(*) FROM tally WHERE kind = ?", (kind,)).fetchone()[0])

    def by_hash(self, kind: str) -> Iterator[tuple[bytes, int]]:
        """The group's hashes in ascending order, each with its count."""
        yield from self._db.execute("SELECT hash, n FROM tally WHERE kind = ? ORDER BY hash", (kind,))

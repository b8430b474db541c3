"""A user at the command line: runs `asrkit` in a folder and looks at how it ends and what it left there."""

import contextlib
import io
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from asrkit.cli import main


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    def complaint(self) -> str:
        """The one line of a command that failed."""
        assert self.code == 1, self
        assert self.err.startswith("asrkit: "), self
        assert self.err.count("\n") == 1, self
        assert "Traceback" not in self.out
        return self.err


def asrkit(home: Path, *words: object) -> Outcome:
    """Runs `asrkit WORDS` in the folder `home`; in this process, because importing PyTorch takes seconds."""
    out, err = io.StringIO(), io.StringIO()
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with (
            contextlib.chdir(home),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            patch.object(sys, "argv", ["asrkit", *map(str, words)]),
            pytest.raises(SystemExit) as leaving,
        ):
            main()
    finally:
        signal.signal(signal.SIGTERM, on_term)
    return Outcome(int(leaving.value.code or 0), out.getvalue(), err.getvalue())


def write_manifest(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders that a command should have removed."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.endswith((".part", ".tmp"))]


def keys(home: Path, name: str, split: str) -> dict[str, dict[str, object]]:
    lines = (home / "data" / name / split / "index.jsonl").read_text(encoding="utf-8").splitlines()
    return {record["key"]: record for record in map(json.loads, lines)}


def prepared(home: Path, name: str) -> dict[str, object]:
    meta: dict[str, object] = json.loads((home / "data" / name / "prepare.json").read_text(encoding="utf-8"))
    return meta


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: to a program, what a full disk is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere: become nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)

"""Small corpora of noise, a recipe that reads them, and what the tests of prepare look at afterwards."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asrkit.progress import Bar, Silent
from asrkit.recipe import Recipe, with_overrides
from asrkit.settings import SplitsSettings
from asrkit.utterance import Utterance

Row = dict[str, Any]
ALPHABET = " abcdefghijklmnopqrstuvwxyzé"


def normalize(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def recipe(*settings: str, **parts: Any) -> Recipe:
    """A language of a few letters; half of a small corpus may be left out."""
    parts = {"read_corpus": lambda root, split: [], "normalize": normalize, "alphabet": ALPHABET} | parts
    made = Recipe(name="tiny", language="en", description="for tests", licence="none", **parts)
    return with_overrides(made, ["filters.max_dropped=0.5", *settings])


class _Counter:
    def __init__(self, done: dict[str, float], label: str) -> None:
        self.done, self.label = done, label

    def advance(self, amount: float = 1, status: str = "") -> None:
        self.done[self.label] += amount


class Listener(Silent):
    """Keeps what prepare says."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.done: dict[str, float] = {}  # by the bars' labels

    def say(self, message: str) -> None:
        self.said.append(message)

    warn = say

    @contextmanager
    def bar(self, label: str, total: float | None, unit: str = "") -> Iterator[Bar]:
        self.done[label] = 0
        yield _Counter(self.done, label)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.said += [" ".join(map(str, columns)), *(" ".join(map(str, row)) for row in rows)]


def sound(path: Path, seconds: float = 0.2, rate_hz: int = 16_000, seed: int = 0) -> str:
    """Writes noise; gives the file's name."""
    samples = np.random.default_rng(seed).uniform(-0.3, 0.3, int(seconds * rate_hz))
    soundfile.write(path, samples, rate_hz, "PCM_16", format="WAV")
    return path.name


def manifest(folder: Path, rows: Iterable[Row], name: str = "own.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_corpus(folder: Path) -> Path:
    """30 utterances to train on and 4 to test on, in own.jsonl."""
    folder.mkdir()
    rows = [
        {
            "audio": sound(folder / f"{i:02}.wav", 0.1 + i / 100, seed=i),
            "text": f"Say {chr(97 + i % 26)} {i // 26 * 'more'}",
            "speaker": f"s{i % 3}",
            "split": "train" if i < 30 else "test",
        }
        for i in range(34)
    ]
    return manifest(folder, rows).parent


def write_larger_corpus(folder: Path) -> Path:
    """The manifest of so many utterances that more than one process works on them."""
    corpus = write_corpus(folder)
    rows = [
        {
            "key": f"k{i}",
            "audio": f"{i % 34:02}.wav",
            "text": f"say {chr(97 + i % 26)}",
            "split": "train" if i % 9 else "test",
        }
        for i in range(300)
    ]
    return manifest(corpus, rows)


def folder_corpus(root: Path, split: str) -> Iterable[Utterance]:
    for path in sorted((root / split).glob("*.wav")):
        yield Utterance(key=path.stem, audio=path, text="a")


def write_declared_corpus(folder: Path) -> tuple[Recipe, Path]:
    """A recipe with two train splits, dev and test, and its corpus."""
    for split in ("clean", "other", "dev", "test"):
        (folder / "root" / split).mkdir(parents=True)
        for i in range(3):
            sound(folder / "root" / split / f"{split}{i}.wav", seed=i)
    splits = SplitsSettings(train=("clean", "other"), dev=("dev",), test=("test",))
    return recipe(read_corpus=folder_corpus, splits=splits), folder / "root"


def files_of(folder: Path) -> dict[str, str]:
    """Every file that must be the same however prepare came to its end, with its SHA-256."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and "plan" not in path.parts]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.name not in (".lock", "source.json", "prepare.json")
    }


def states(folder: Path) -> dict[str, tuple[int, int]]:
    """What shows whether a shard was written again."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*.tar")
    }

"""A small house: prepared data, a run of a very small model that has learnt nothing, and an n-gram, in one folder."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from tiny import TINY

from asrkit.checkpoint import build, save_checkpoint
from asrkit.decode import decode
from asrkit.prepare import prepare
from asrkit.progress import Silent
from asrkit.settings import FiltersSettings
from asrkit.shards import JoinedIndex, open_data

RECIPE = replace(TINY, filters=FiltersSettings(max_dropped=0.2))
TEXTS = ["ab ba", "b a", "abba", "a b a", "ba ba", "b", "ab ab ab", "a"]
ARPA = """\\data\\
ngram 1=6
ngram 2=1

\\1-grams:
-3\t<unk>
-99\t<s>\t-0.3
-0.9\t</s>
-0.7\tA\t-0.2
-1.1\tAB\t-0.1
-1.2\tB

\\2-grams:
-0.2\t<s> AB

\\end\\
"""


@dataclass
class Told(Silent):
    """Progress that remembers."""

    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[object]]]] = field(default_factory=list)

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.warned.append(message)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.tables.append((title, columns, rows))


@dataclass(frozen=True)
class House:
    """data/, exp/ and an n-gram below one folder."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "exp" / "tiny" / "first"

    @property
    def lm(self) -> Path:
        return self.root / "ab.arpa"

    def decode(self, run: str | Path | None = None, **options: Any) -> list[dict[str, Any]]:
        torch.set_num_threads(1)
        return decode(run, exp_dir=self.root / "exp", data_dir=self.root / "data", device="cpu", **options)

    def report(self, name: str) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.run / "decode" / name / "report.json").read_text(encoding="utf-8"))
        return report

    def hypotheses(self, name: str) -> list[dict[str, Any]]:
        lines = (self.run / "decode" / name / "hypotheses.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in lines.splitlines()]


def build_house(root: Path) -> House:
    """One test utterance has no words and is counted out."""
    house = House(root)
    rng = np.random.default_rng(1)
    lines = []
    for split in ("train", "dev", "test"):
        for number, text in enumerate([*TEXTS, ""] if split == "test" else TEXTS):
            audio = house.root / "corpus" / f"{split}-{number}.wav"
            audio.parent.mkdir(exist_ok=True)
            soundfile.write(audio, 0.1 * rng.normal(size=4000 + 900 * number), 16_000)
            known = {"speaker": f"s{number % 2}", "room": number % 3}
            lines.append({"audio": audio.name, "text": text, "split": split, **known})
    manifest = house.root / "corpus" / "mine.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    prepare(RECIPE, data_dir=house.root / "data", manifest=manifest, workers=1)
    save_run(house)
    house.lm.write_text(ARPA, encoding="utf-8")
    return house


def save_run(house: House, step: int = 7, seed: int = 0) -> None:
    """exp/tiny/first as training leaves it."""
    data = open_data(house.root / "data", "mine")
    trained_on = JoinedIndex([data.index("train")]).fingerprint
    at = {"name": "mine", "folder": str(data.folder), "fingerprint": trained_on}
    record = TINY.to_json() | {"data": at, "splits": data.splits, "started": 0.0}
    torch.manual_seed(seed)
    model, features = build(record, len(data.tokenizer().labels))
    with torch.no_grad():
        model.output.weight *= 30  # sure of its nonsense, and different at every frame
    folder = house.run / "checkpoints" / f"{step:08d}"
    save_checkpoint(folder, model=model, features=features, tokenizer=data.tokenizer(), recipe=record, step=step)
    (house.run / "recipe.json").write_text(json.dumps(record), encoding="utf-8")
    (house.run / "best").unlink(missing_ok=True)
    (house.run / "best").symlink_to(f"checkpoints/{step:08d}")


@contextmanager
def at_work_in(folder: Path, work: str) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the folder for the length of the block, and has a child of its own, as loaders are.

    Killed, it leaves the child behind, until the block ends.
    """
    script = (
        "import os, sys; from pathlib import Path; from asrkit.lock import only_one\n"
        "with only_one(Path(sys.argv[1]), sys.argv[2], warn=print):\n"
        "    if os.fork(): print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(folder), work]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process

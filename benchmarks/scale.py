"""The plan of an epoch for a very large corpus: time, and memory beside the index, which is memory-mapped.

    python benchmarks/scale.py [--utterances 50000000] [--folder FOLDER] [--json FILE]

The index is made up: lengths of a log-normal distribution with a mean of 7.2 s (50 million utterances are 100,000
hours), 1,000 utterances a shard, 14 labels a second. Only its numbers are there, 44 bytes an utterance: a plan reads
nothing else. Each size is planned in a process of its own. Linux only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import Figures

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.checkpoint import build
from asrkit.epochs import EpochPlan, fastest_speeds, plan_epoch, window_shards
from asrkit.recipe import load_recipe
from asrkit.settings import TrainSettings
from asrkit.shards import INDEX_DTYPE, Index, JoinedIndex

MEAN_S, SPREAD = 7.2, 0.5
LONGEST_S = 30.0
LABELS_A_SECOND = 14
SHARD = 1000  # utterances
BATCH_SECONDS = 320.0
AT_A_TIME = 1_000_000


def make_index(folder: Path, utterances: int) -> None:
    """index.npy, and index.json with no more than planning asks for."""
    folder.mkdir(parents=True)
    rows = np.lib.format.open_memmap(folder / "index.npy", mode="w+", dtype=INDEX_DTYPE, shape=(utterances,))
    random = np.random.default_rng(1)
    total = 0
    for first in range(0, utterances, AT_A_TIME):
        part = rows[first : first + AT_A_TIME]
        seconds = random.lognormal(np.log(MEAN_S) - SPREAD**2 / 2, SPREAD, len(part)).clip(0.3, LONGEST_S)
        part["samples"] = seconds * SAMPLE_RATE_HZ
        part["shard"] = np.arange(first, first + len(part)) // SHARD
        part["labels"] = seconds * LABELS_A_SECOND
        part["frames"] = part["labels"] * 1.05
        total += int(part["samples"].sum())
    rows.flush()
    (folder / "index.json").write_text(json.dumps({"utterances": utterances, "samples": total}), encoding="utf-8")


def plan(folder: Path) -> dict[str, Any]:
    """What training does before its first batch, then a whole epoch, and one that is begun in the middle."""
    memory = _Memory()
    clock = [time.perf_counter()]

    def lap() -> float:
        clock.append(time.perf_counter())
        return round(clock[-1] - clock[-2], 2)

    train = JoinedIndex([Index(folder, json.loads((folder / "index.json").read_text(encoding="utf-8")))])
    model, features = build(load_recipe("librispeech").to_json(), 29)
    fastest = fastest_speeds(train, lambda n: model.output_length(features.frame_lengths(n)), (0.9, 1.0, 1.1))
    found: dict[str, Any] = {"utterances": len(train), "hours": round(train.seconds / 3600), "fit for CTC, s": lap()}
    settings = EpochPlan(
        seed=TrainSettings().seed,
        batch_seconds=BATCH_SECONDS,
        window_shards=window_shards(train),
        usable=fastest.usable,
    )
    next(iter(plan_epoch(train, settings, 1)))
    found["first batch, s"] = lap()
    epoch = plan_epoch(train, settings, 1)
    found |= {"batches": len(epoch), "windows": sum(1 for _ in epoch.windows())}
    found["padding"] = f"{epoch.padding:.1%}"
    lap()
    count = sum(1 for _ in epoch)
    found["whole epoch, s"] = lap()
    assert count == len(epoch)
    next(epoch.after(count // 2))
    found["resumed in the middle, s"] = lap()
    found["memory, MB"] = memory.grown_mb()
    return found


class _Memory:
    """The most pages of its own, those of files aside, that this process had, looked at twenty times a second."""

    def __init__(self) -> None:
        self._before = self._peak = self._now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _now(self) -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))  # KiB

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self._peak = max(self._peak, self._now())

    def grown_mb(self) -> int:
        """Since it began to look; it ends with this."""
        self._over.set()
        self._thread.join()
        return round((self._peak - self._before) / 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=50_000_000)
    parser.add_argument("--folder", type=Path, help="where the indexes go for a while (default: the system's)")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plan:
        print(json.dumps(plan(options.plan)))
        return
    figures = Figures()
    figures.head()
    rows = []
    with tempfile.TemporaryDirectory(prefix="asrkit-scale-", dir=options.folder) as name:
        for utterances in (options.utterances // 10, options.utterances):
            folder = Path(name) / str(utterances)
            make_index(folder, utterances)
            command = [sys.executable, __file__, "--plan", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # ourselves
            size_gb = (folder / "index.npy").stat().st_size / 1e9
            rows.append({"index, GB": round(size_gb, 2)} | json.loads(done.stdout))
    figures.table("planning an epoch", rows)
    figures.end()
    if options.json:
        figures.write(options.json)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

"""A synthetic corpus in, a table out: how fast prepare is, what memory it takes, and what SIGKILL does to its result.

    python benchmarks/bench_prepare.py [--kills 20] [--utterances 2000] [--folder FOLDER]

Memory is the largest sum, over prepare and its worker processes, of the sets of pages resident in memory (VmRSS), seen
every 20 ms; pages that they share are counted for each. Linux only. The folder (a temporary one) takes some 2 GB.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from asrkit.prepare import prepare
from asrkit.recipe import Recipe, with_overrides

SOUNDS = 100  # different files; utterances take turns with them
WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"]


def normalize(text: str) -> str:
    return " ".join(text.lower().split())


def synthetic() -> Recipe:
    """The recipe of the corpora that write_manifest lists."""
    return Recipe(
        name="synthetic",
        language="en",
        description="",
        licence="",
        read_corpus=lambda root, split: [],
        normalize=normalize,
        alphabet=" abcdefghijklmnopqrstuvwxyz",
    )


def run(data_dir: str, manifest: str, shard_utterances: str, codec: str) -> None:
    """What is measured; in a process of its own."""
    settings = [f"audio.shard_utterances={shard_utterances}", f"audio.codec={codec}"]
    prepare(with_overrides(synthetic(), settings), data_dir=data_dir, name="data", manifest=manifest)


def start(data_dir: Path, manifest: Path, *, shard_utterances: int, codec: str = "flac") -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--run", str(data_dir), str(manifest), str(shard_utterances), codec]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603  # ourselves


def write_sounds(folder: Path) -> float:
    """16-bit WAV at 16 kHz, 1 to 3 s each; gives their mean length in seconds."""
    random_numbers = np.random.default_rng(1)
    lengths = random_numbers.integers(16_000, 48_000, SOUNDS)
    for number, length in enumerate(lengths):
        swell = np.sin(np.arange(length) / 2000) * random_numbers.normal(0, 0.02, length)
        soundfile.write(folder / f"{number}.wav", swell, 16_000)
    return float(lengths.mean() / 16_000)


def write_manifest(folder: Path, utterances: int) -> Path:
    """Every text is its own, and every tenth speaker new."""
    numbers = random.Random(1)
    path = folder / f"{utterances}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(utterances):
            text = " ".join(numbers.choices(WORDS, k=12))
            row = {"key": f"u{i:08}", "audio": f"{i % SOUNDS}.wav", "text": text, "speaker": f"s{i // 10}"}
            file.write(json.dumps(row) + "\n")
    return path


def files_of(folder: Path) -> dict[str, str]:
    """Every file of the data set but the plan's working files, with its SHA-256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "plan" not in path.relative_to(folder).parts and path.name != ".lock"
    }


@dataclass(frozen=True)
class Measured:
    wall_s: float
    cpu_s: float
    peak_mb: float


def measure(process: subprocess.Popen[bytes]) -> Measured:
    """Watches a process and its children to their end."""
    began, peak_kb, cpu_s = time.monotonic(), 0, 0.0
    while process.poll() is None:
        tree = descendants(process.pid)
        peak_kb = max(peak_kb, sum(map(resident_kb, tree)))
        cpu_s = max(cpu_s, sum(map(cpu_seconds, tree)))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"prepare ended with {process.returncode}")
    return Measured(time.monotonic() - began, cpu_s, peak_kb / 1024)


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii").split():
                found += descendants(int(child))
    return found


def resident_kb(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def cpu_seconds(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def measure_growth(folder: Path, utterances: int, mean_s: float) -> None:
    """Speed and memory, 1x and 10x; the shards stay of one size."""
    for codec, factors in (("flac", (1, 10)), ("opus", (0.2,))):
        for factor in factors:
            count = int(factor * utterances)
            manifest = write_manifest(folder, count)
            one = measure(start(folder / "measured", manifest, shard_utterances=500, codec=codec))
            hours = count * mean_s / 3600
            show(
                f"{codec} {factor:g}x",
                f"{count} utterances, {hours:.2f} h",
                f"peak memory {one.peak_mb:.0f} MB",
                f"{one.wall_s:.1f} s wall, {one.cpu_s:.1f} s CPU",
                f"{60 * count / one.wall_s:.0f} utterances and {60 * hours / one.wall_s:.2f} h of sound a minute",
                f"{3600 * hours / one.cpu_s:.0f} times real time on one core",
            )
            shutil.rmtree(folder / "measured")


def measure_kills(folder: Path, kills: int) -> None:
    """Kills prepare at random moments, starts it again, and compares what it ends with to an undisturbed run."""
    manifest = write_manifest(folder, 1200)
    calm = measure(start(folder / "calm", manifest, shard_utterances=50))
    wanted = files_of(folder / "calm" / "data")
    numbers = random.Random(2)
    same = 0
    kept: list[int] = []
    while len(kept) < kills:
        process = start(folder / "killed", manifest, shard_utterances=50)
        time.sleep(numbers.uniform(0, calm.wall_s))
        too_late = process.poll() is not None
        process.kill()
        process.wait()
        if too_late:  # the machine was faster this time
            shutil.rmtree(folder / "killed")
            continue
        kept.append(len(list(folder.glob("killed/data/*/shard-*.jsonl"))))
        measure(start(folder / "killed", manifest, shard_utterances=50))
        same += files_of(folder / "killed" / "data") == wanted
        shutil.rmtree(folder / "killed")
    shards = sum(name.endswith(".tar") for name in wanted)
    show(
        "SIGKILL",
        f"{kills} times (undisturbed: {calm.wall_s:.1f} s, {shards} shards)",
        f"finished shards at the kill: {min(kept)} to {max(kept)}",
        f"{same} of {kills} ended with the same {len(wanted)} files byte for byte",
    )


def show(*cells: str) -> None:
    sys.stdout.write(" | ".join(cells) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--utterances", type=int, default=2000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(*options.run)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        mean_s = write_sounds(folder)
        measure_growth(folder, options.utterances, mean_s)
        measure_kills(folder, options.kills)


if __name__ == "__main__":
    main()

"""Two synthetic corpora in, one ten times the other, a table out: the memory that training takes on each.

    python benchmarks/bench_train_memory.py [--utterances 2000] [--minutes 1] [--workers 0] [--runs 3] [--folder FOLDER]

The same model and batches of the same size; memory is what bench_prepare.py measures: the largest sum of resident pages
of the training and its loader processes. Trainings on the same corpus differ by a tenth: each is run several times, in
turn, and medians are compared. Linux only. The folder (a temporary one) takes some 2 GB.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_prepare import measure, show, start, synthetic, write_manifest, write_sounds

from asrkit.recipe import with_overrides
from asrkit.train import train

SETTINGS = ["model=deepspeech2-small", "model.hidden=64", "train.batch_seconds=60", "train.patience=0"]
MOST_GROWTH = 1.1


def run(data_dir: str, exp_dir: str, minutes: str, workers: str) -> None:
    """What is measured; in a process of its own."""
    settings = [*SETTINGS, f"train.workers={workers}"]
    train(
        with_overrides(synthetic(), settings), data_dir=data_dir, exp_dir=exp_dir, minutes=float(minutes), device="cpu"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=1.0, help="of each training")
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    parser.add_argument("--runs", type=int, default=3, help="trainings on each corpus")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(*options.run)
        return
    peaks: dict[int, list[float]] = {1: [], 10: []}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        mean_s = write_sounds(folder)
        for factor in peaks:
            manifest = write_manifest(folder, factor * options.utterances)
            if start(folder / f"{factor}x", manifest, shard_utterances=500).wait():
                raise SystemExit("prepare failed")
        for number in range(options.runs):
            for factor, found in peaks.items():
                count = factor * options.utterances
                command = [sys.executable, __file__, "--run", str(folder / f"{factor}x")]
                command += [str(folder / f"exp-{factor}-{number}"), str(options.minutes), str(options.workers)]
                found.append(measure(subprocess.Popen(command)).peak_mb)  # noqa: S603  # ourselves
                show(f"{factor}x", f"{count} utterances, {count * mean_s / 3600:.2f} h", f"peak {found[-1]:,.0f} MB")
    growth = statistics.median(peaks[10]) / statistics.median(peaks[1])
    said = "met" if growth <= MOST_GROWTH else f"SHORT of {MOST_GROWTH}"
    show(f"memory at 10x by that at 1x, medians: {growth:.3f}", said)
    sys.exit(growth > MOST_GROWTH)


if __name__ == "__main__":
    main()

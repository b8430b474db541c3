"""Two synthetic corpora in, one ten times the other, a table out: the memory that training takes on each.

    python benchmarks/bench_train_memory.py [--utterances 2000] [--minutes 1] [--workers 0] [--folder FOLDER]

The same model and batches of the same size; memory is what bench_prepare.py measures: the largest sum of resident pages
of the training and its loader processes. Linux only. The folder (a temporary one) takes some 2 GB.
"""

import argparse
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
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(*options.run)
        return
    peaks = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        mean_s = write_sounds(folder)
        for factor in (1, 10):
            count = factor * options.utterances
            data_dir = folder / f"{factor}x"
            if start(data_dir, write_manifest(folder, count), shard_utterances=500).wait():
                raise SystemExit("prepare failed")
            command = [sys.executable, __file__, "--run", str(data_dir), str(folder / f"exp-{factor}")]
            command += [str(options.minutes), str(options.workers)]
            found = measure(subprocess.Popen(command))  # noqa: S603  # ourselves
            peaks[factor] = found.peak_mb
            show(f"{factor}x", f"{count} utterances, {count * mean_s / 3600:.2f} h", f"peak {found.peak_mb:,.0f} MB")
    growth = peaks[10] / peaks[1]
    show(f"memory at 10x by that at 1x: {growth:.3f}", "met" if growth <= MOST_GROWTH else f"SHORT of {MOST_GROWTH}")
    sys.exit(growth > MOST_GROWTH)


if __name__ == "__main__":
    main()

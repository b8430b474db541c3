"""N-grams and log-probs in; asrkit's n-grams and search beside those of others, and what was wanted of them, out.

    python benchmarks/decoding.py [--only posteriors,accuracy] [--shared FOLDER] [--quick] [--json FILE]

Everything on one thread but the part on threads; the same n-gram and the same log-probs for all engines; alpha and beta
are tuned for each engine on a dev fold that is never reported. Speed is audio-seconds per CPU-second of the thread, and
no cache outlives an utterance. Parts that need the recordings beside the repository, and peers that are not installed,
are left out with a line that says so.

All parts take one and a half hours of CPU time, 3 GB of memory and 15 GB of disk, mostly for the n-gram of 50 million
words.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import lm_parts
import search_parts
from figures import Figures
from search_setup import QUICK, Bench, Sizes

PARTS: dict[str, Callable[[Bench], None]] = {
    "lm-build": lm_parts.lm_build,
    "posteriors": search_parts.posteriors,
    "accuracy": search_parts.accuracy,
    "generated": search_parts.generated,
    "syllables": search_parts.syllables,
    "subwords": search_parts.subwords,
    "threads": search_parts.threads,
    "loading": lm_parts.loading,
}
SHARED = Path(__file__).resolve().parents[2] / "shared"


def parts(text: str) -> list[str]:
    """In the order of PARTS."""
    asked = text.split(",")
    if unknown := set(asked) - set(PARTS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}; wanted some of {','.join(PARTS)}")
    return [part for part in PARTS if part in asked]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=parts, default=list(PARTS), metavar=",".join(PARTS))
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("ASRKIT_SHARED") or SHARED))
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it runs")
    parser.add_argument("--folder", type=Path, help="where large files go for a while (default: the system's)")
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()
    figures = Figures()
    figures.head()
    with tempfile.TemporaryDirectory(prefix="asrkit-bench-", dir=options.folder) as folder:
        shared = options.shared if options.shared.is_dir() else None
        bench = Bench(figures, Path(folder), shared, QUICK if options.quick else Sizes())
        for part in options.only:
            PARTS[part](bench)
    figures.end()
    if options.json:
        figures.write(options.json)


if __name__ == "__main__":
    main()

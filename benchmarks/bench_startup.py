"""Nothing in, a line out: how long `asrkit --help` takes, the median of eleven starts.

python benchmarks/bench_startup.py
"""

import statistics
import subprocess
import sys
import time


def main() -> None:
    """Starts the command line and times it."""
    seconds = []
    for _ in range(11):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "asrkit", "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    print(f"asrkit --help: {statistics.median(seconds):.3f} s (best {min(seconds):.3f}, worst {max(seconds):.3f})")


if __name__ == "__main__":
    main()

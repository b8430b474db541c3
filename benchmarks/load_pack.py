"""A packed n-gram in; how long loading took out, then the process stays, so that its memory can be looked at.

python benchmarks/load_pack.py PACK
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from asrkit.packed import read_pack


def main() -> None:
    """Loads, touches every page, prints, and waits to be killed."""
    before = time.perf_counter()
    automaton = read_pack(Path(sys.argv[1]))
    load_s = time.perf_counter() - before
    for array in (automaton.words, automaton.word_offsets, automaton.word_slots, *automaton.tables):
        array.view(np.uint8).max(initial=0)
    all_s = time.clock_gettime(time.CLOCK_BOOTTIME) - started_s()
    print(json.dumps({"load s": load_s, "with Python, imports, touching s": all_s}), flush=True)
    sys.stdin.read()


def started_s() -> float:
    """When this process began, in seconds after the machine did."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

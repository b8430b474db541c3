"""Parts of the benchmark that build and load n-grams, in fresh processes whose time and memory are measured.

python benchmarks/lm_parts.py PACK    what a process that loads one does; `loading` starts it
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from search_setup import Bench
from zipf_text import write_independent

from asrkit.arpa import Arpa, read_arpa
from asrkit.arpa_text import Words
from asrkit.text_files import read_lines

VOCABULARY = "vocab2000.txt"
# What the README beside the reference models says of each: its text, and how it was made.
REFERENCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "en_ljspeech.o3": ("en_ljspeech.norm.txt", ("--order", "3")),
    "en_ljspeech.o4p0011": ("en_ljspeech.norm.txt", ("--order", "4", "--prune", "0,0,1,1")),
    "en_ljspeech.o2vocab": ("en_ljspeech.norm.txt", ("--order", "2", "--vocab", VOCABULARY)),
    "uk_tts.o3": ("uk_tts.norm.txt", ("--order", "3")),
    "tiny.o3fallback": ("tiny.norm.txt", ("--order", "3", "--discount-fallback")),
}
ASRKIT = (sys.executable, "-m", "asrkit", "lm")
LOADER = Path(__file__).with_name("load_pack.py")
GB = 1e9
LARGEST_DIFFERENCE = 1e-4
PASSES = 3  # the fastest of which counts, for others use this machine, too
MANY_WORDS = 10_000_000  # whose n-gram is built once
MADE_WORDS = 206_000  # different words of a made-up text, where there are no real ones


@dataclass(frozen=True)
class Child:
    """What a process cost."""

    cpu_s: float
    peak_gb: float


def run_child(*command: str) -> Child:
    """Runs a command to its end."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:  # noqa: S603  # our own
        assert child.stderr is not None
        said = child.stderr.read().decode("utf-8", "replace")
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}: {said}")
    return Child(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / GB)


def lm_build(bench: Bench) -> None:
    """The reference models again, and what building costs."""
    source = bench.reference("lm")
    if source:
        _rebuild(bench, source)
    else:
        bench.figures.leave_out("lm-build against references", "no reference n-grams; --shared says where they are")
    _measure_building(bench)


def _rebuild(bench: Bench, source: Path) -> None:
    rows, figures = [], bench.figures
    for name, (text, options) in REFERENCES.items():
        out = bench.folder / f"{name}.arpa"
        options = tuple(str(source / option) if option == VOCABULARY else option for option in options)
        run_child(*ASRKIT, "build", str(source / text), "--out", str(out), *options)
        wanted, found = read_arpa(source / f"{name}.arpa.gz"), read_arpa(out)
        rows.append({"model": name} | _compare(wanted, found))
        out.unlink()
    figures.table("lm build beside lmplz", rows)
    differing = sum(int(row["n-grams only in one"]) for row in rows)
    figures.want("lm build, n-grams only in one of five pairs", differing, at_most=0)
    worst = max(float(row["worst log10 difference"]) for row in rows)
    figures.want("lm build, worst log10 difference", worst, at_most=LARGEST_DIFFERENCE)


def _compare(wanted: Arpa, found: Arpa) -> dict[str, Any]:
    """N-grams that only one of them has, and the worst difference of the others."""
    number_of = {word: number for number, word in enumerate(_listed(wanted.words))}
    renumbered = np.array([number_of.get(word, -1) for word in _listed(found.words)])
    count, only_one, worst = 0, abs(len(wanted.orders) - len(found.orders)), 0.0
    for one, other in zip(wanted.orders, found.orders, strict=False):
        values = {row.tobytes(): at for at, row in enumerate(one.ngrams.astype(np.int64))}
        places = np.array([values.pop(row.tobytes(), -1) for row in renumbered[other.ngrams]])
        there = places >= 0
        count += len(one.ngrams)
        only_one += len(values) + int((~there).sum())
        for left, right in ((one.log10, other.log10), (one.back_off, other.back_off)):
            worst = max(worst, float(np.abs(left[places[there]] - right[there]).max(initial=0.0)))
    return {"n-grams": count, "n-grams only in one": only_one, "worst log10 difference": worst}


def _listed(words: Words) -> list[str]:
    text, offsets = words.bytes.tobytes(), words.offsets.tolist()
    return [text[first:end].decode("utf-8") for first, end in pairwise(offsets)]


def _vocabulary(bench: Bench) -> list[str]:
    """The words of the texts beside the repository, the most frequent first; without them, made-up ones."""
    folder = bench.shared / "speech" / "text" if bench.shared else None
    paths = [path for path in sorted(folder.glob("*.txt")) if "test" not in path.stem] if folder else []
    if not paths:
        return [f"w{number}" for number in range(MADE_WORDS)]
    counts = Counter(word for line in read_lines(paths) for word in line.split())
    return sorted(counts, key=lambda word: (-counts[word], word))


def _measure_building(bench: Bench) -> None:
    words, rows, figures = _vocabulary(bench), [], bench.figures
    text, out = bench.folder / "zipf.txt", bench.folder / "zipf.arpa"
    write_independent(text, words, 10_000)
    _build(text, out)  # Numba compiles once
    for count in bench.sizes.build_words:
        write_independent(text, words, count)
        passes = [_build(text, out) for _ in range(1 if count > MANY_WORDS else PASSES)]
        used = Child(min(one.cpu_s for one in passes), max(one.peak_gb for one in passes))
        ngrams = sum(_counts(out))
        rows.append({"words": count, "n-grams": ngrams, "CPU-s": used.cpu_s, "peak GB": used.peak_gb})
        text.unlink()
        out.unlink()
        if count == 6_600_000:
            figures.want("lm build of 6.6 million words, CPU-s", used.cpu_s, at_most=20)
            figures.want("lm build of 6.6 million words, peak GB", used.peak_gb, at_most=2)
    figures.table(f"lm build, order 4, Zipf's law over {len(words):,} words", rows)


def _build(text: Path, arpa: Path) -> Child:
    """Order 4; fixed discounts count only where a text is too small for its own."""
    return run_child(*ASRKIT, "build", str(text), "--out", str(arpa), "--order", "4", "--discount-fallback")


def _counts(arpa: Path) -> list[int]:
    """The head of an ARPA file."""
    found: list[int] = []
    with arpa.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("ngram "):
                found.append(int(line.partition("=")[2]))
            elif line.startswith("\\1"):
                break
    return found


def loading(bench: Bench) -> None:
    """A packed model in two fresh processes: how long it takes, and what they share. Linux."""
    if not sys.platform.startswith("linux"):
        bench.figures.leave_out("loading", "what processes share is asked of Linux")
        return
    text, arpa, pack = (bench.folder / name for name in ("packed.txt", "packed.arpa", "packed.lm"))
    write_independent(text, _vocabulary(bench), bench.sizes.packed_words)
    _build(text, arpa)
    ngrams = sum(_counts(arpa))
    packing = run_child(*ASRKIT, "pack", str(arpa), "--out", str(pack))
    arpa.unlink()
    text.unlink()
    size_mb = sum(path.stat().st_size for path in pack.iterdir()) / 1e6
    children: list[subprocess.Popen[bytes]] = []
    loaded: list[dict[str, float]] = []
    try:
        for _ in range(2):
            children.append(_start_loading(pack))
            stdout = children[-1].stdout
            assert stdout is not None
            loaded.append(json.loads(stdout.readline()))
        mapped = [_mapped_mb(child.pid, pack) for child in children]
    finally:
        for child in children:
            child.kill()
            child.communicate()
    rows = [
        {"process": number, **{key: round(value, 3) for key, value in (times | memory).items()}}
        for number, (times, memory) in enumerate(zip(loaded, mapped, strict=True), start=1)
    ]
    figures = bench.figures
    figures.table(f"a pack of {ngrams:,} n-grams, {size_mb:,.0f} MB, made in {packing.cpu_s:.1f} CPU-s", rows)
    figures.want("loading, n-grams, millions", round(ngrams / 1e6, 1), at_least=bench.sizes.packed_ngrams / 1e6)
    figures.want("loading, seconds without imports", max(times["load s"] for times in loaded), at_most=1)
    alone = sum(memory["private MB"] for memory in mapped)
    figures.want("loading, MB of the pack that a process has for itself", alone, at_most=0.01 * size_mb)
    shutil.rmtree(pack)


def _start_loading(pack: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(LOADER), str(pack)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  # our own


def _mapped_mb(pid: int, pack: Path) -> dict[str, float]:
    """What a process holds of the files of the pack, and its Pss in all."""
    found = {"mapped MB": 0.0, "Pss of it MB": 0.0, "shared MB": 0.0, "private MB": 0.0}
    kinds = {"Rss": "mapped MB", "Pss": "Pss of it MB", "Shared_Clean": "shared MB", "Shared_Dirty": "shared MB"}
    kinds |= {"Private_Clean": "private MB", "Private_Dirty": "private MB"}
    of_pack = False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if "-" in name.split(" ")[0]:  # the head of a mapping
            of_pack = str(pack.resolve()) in line
        elif of_pack and name in kinds:
            found[kinds[name]] += int(value.split()[0]) * 1024 / 1e6
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    (pss,) = (line for line in rollup.splitlines() if line.startswith("Pss:"))
    return found | {"Pss of all MB": int(pss.split()[1]) * 1024 / 1e6}

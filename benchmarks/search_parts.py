"""Parts of the benchmark that search: engines side by side on one thread, asrkit alone on two."""

import functools
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from engines import (
    ALL_LABELS,
    HOW_TO_INSTALL,
    WIDE,
    Decode,
    Engine,
    WordLm,
    flashlight,
    has_flashlight,
    native,
    pyctcdecode,
)
from figures import Figures, load
from posteriors import PEAKY, SOFT, Style
from search_setup import Bench, Real, Setup
from searching import Fold, Grid, Measured, bootstrap, measure, tune

from asrkit.tokenizer import Tokenizer

REAL_GRID = Grid((0.5, 0.7, 0.9, 1.1), (1.0, 2.0, 3.0, 4.0), every=8, fine_alpha=0.1, fine_beta=0.5)
MADE_GRID = Grid((0.3, 0.45, 0.6), (1.0, 2.0, 3.0, 4.0), every=8, fine_alpha=0.075, fine_beta=0.5)
QUICK_GRID = Grid((0.6, 0.8), (1.0,))
OPEN, CLOSED, PEER = "native, open", "native, closed", "pyctcdecode"
NO_REFERENCE = "no reference posteriors; --shared says where they are"
BEST_OF = 5


def engines_of(bench: Bench, tokenizer: Tokenizer, lm: WordLm, *, with_flashlight: bool) -> list[Engine]:
    """The peers last."""
    beam = bench.sizes.beam
    found = [native(tokenizer, lm, beam=beam, closed=closed) for closed in (False, True)]
    found.append(pyctcdecode(tokenizer, lm, beam=beam))
    if with_flashlight and has_flashlight():
        found += flashlight(tokenizer, lm, beam=beam)
    return found


def tell_missing(bench: Bench) -> None:
    if not has_flashlight():
        bench.figures.leave_out("flashlight-text", f"not installed; {HOW_TO_INSTALL}")


def tuned(
    engines: Sequence[Engine], dev: Fold, test: Fold, timed: Fold, grid: Grid, round_s: float
) -> dict[str, Measured]:
    """Each engine's best settings on dev, its errors on test, and how fast it is on what is timed; flashlight's wide
    threshold takes the settings of the narrow."""
    settings: dict[Engine, tuple[float, float]] = {}
    for engine in engines:
        print(f"  {engine.name} ...", file=sys.stderr, flush=True)  # this may take minutes
        same_as = next((other for other in settings if other.name == ALL_LABELS.name), None)
        settings[engine] = settings[same_as] if same_as and engine.name == WIDE.name else tune(engine, dev, grid)
    return measure(settings, test, timed, round_s)


@functools.cache
def real(bench: Bench) -> Real | None:
    source = bench.reference("posteriors")
    return Real.read(source, bench.folder, bench.sizes.every) if source else None


@functools.cache
def real_results(bench: Bench) -> dict[str, Measured] | None:
    """For two parts."""
    found = real(bench)
    if not found:
        return None
    tell_missing(bench)
    grid = QUICK_GRID if bench.quick else REAL_GRID
    bench.figures.say(f"\nreal posteriors, tuned on the dev fold: {grid}; measured on the test fold")
    engines = engines_of(bench, found.tokenizer, found.lm, with_flashlight=True)
    return tuned(engines, found.dev, found.test, found.test, grid, bench.sizes.round_s)


def posteriors(bench: Bench) -> None:
    """Speed on the log-probs of a real model."""
    results, figures = real_results(bench), bench.figures
    if results is None:
        figures.leave_out("posteriors", NO_REFERENCE)
        return
    figures.table(f"speed on real posteriors, beam {bench.sizes.beam}", [result.row() for result in results.values()])
    own, peer = results[OPEN], results[PEER]
    figures.want("real posteriors, open, audio-s per CPU-s", own.speed, at_least=6000)
    figures.want("real posteriors, open, times pyctcdecode", own.speed / peer.speed, at_least=70)
    figures.want("real posteriors, open, WER", own.wer, at_most=peer.wer)
    _beside_flashlight(figures, "real posteriors", results)


def _beside_flashlight(figures: Figures, name: str, results: dict[str, Measured]) -> None:
    closed = results[CLOSED]
    for variant in (ALL_LABELS, WIDE):
        if variant.name in results:
            other = results[variant.name]
            figures.want(f"{name}, closed, times {variant.name}", closed.speed / other.speed, at_least=8)
            figures.want(f"{name}, closed, WER beside {variant.name}", closed.wer, at_most=other.wer)


def accuracy(bench: Bench) -> None:
    """WER and CER on the log-probs of a real model, and how sure the differences are."""
    results, figures = real_results(bench), bench.figures
    if results is None:
        figures.leave_out("accuracy", NO_REFERENCE)
        return
    figures.table("accuracy on real posteriors; 95 % interval of the difference in WER", _accuracies(results))
    figures.want("real posteriors, open, WER", results[OPEN].wer, at_most=0.610)
    figures.want("real posteriors, open, CER with spaces", results[OPEN].cer, at_most=0.390)


def _accuracies(results: dict[str, Measured]) -> list[dict[str, float | str]]:
    rows: list[dict[str, float | str]] = []
    for name, result in results.items():
        low, high, below = bootstrap(result, results[PEER])
        rows.append({"engine": name, "WER": round(result.wer, 4), "CER": round(result.cer, 4)})
        rows[-1] |= {"less pyctcdecode": f"{low:+.4f} to {high:+.4f}", "share below 0": round(below, 4)}
    return rows


def generated(bench: Bench) -> None:
    """Log-probs of 29 labels from the generator."""
    tell_missing(bench)
    for name, style, times in (("peaky", PEAKY, 55), ("soft", SOFT, 100)):
        _side_by_side(bench, bench.letters, f"29 labels, {name}", style, times)


def syllables(bench: Bench) -> None:
    """Syllables as labels."""
    for name, style in (("peaky", PEAKY), ("soft", SOFT)):
        _side_by_side(bench, bench.syllables, f"{bench.sizes.syllables:,} syllables, {name}", style, 30)


def subwords(bench: Bench) -> None:
    """Pieces of words as labels."""
    for name, style in (("peaky", PEAKY), ("soft", SOFT)):
        _side_by_side(bench, bench.subwords, f"{bench.sizes.subwords:,} subwords, {name}", style, 30)


def _side_by_side(bench: Bench, setup: Setup, name: str, style: Style, times: float) -> None:
    figures, sizes = bench.figures, bench.sizes
    dev = setup.fold(style, sizes.dev_utterances, sizes=sizes, seed=2).sample()
    test = setup.fold(style, sizes.utterances, sizes=sizes, seed=3)
    timed = test.sample(first=sizes.timed_utterances)
    engines = engines_of(bench, setup.tokenizer, setup.lm, with_flashlight=setup is bench.letters)
    grid = QUICK_GRID if bench.quick else MADE_GRID
    results = tuned(engines, dev, test, timed, grid, sizes.round_s)
    of = f"{sizes.utterances} utterances of {sizes.frames * sizes.frame_s:g} s, {sizes.timed_utterances} of them timed"
    figures.table(f"{name}: {of}, beam {sizes.beam}; dev: {grid}", [result.row() for result in results.values()])
    figures.table(f"{name}: 95 % interval of the difference in WER", _accuracies(results))
    own, peer = results[OPEN], results[PEER]
    figures.want(f"{name}, open, times pyctcdecode", own.speed / peer.speed, at_least=times)
    figures.want(f"{name}, open, WER", own.wer, at_most=peer.wer)
    _beside_flashlight(figures, name, results)


def threads(bench: Bench) -> None:
    """Two threads that share one search and its n-gram, by the clock."""
    setup, sizes, rows = bench.letters, bench.sizes, []
    folds = {
        name: (setup.fold(style, 2 * sizes.timed_utterances, sizes=sizes, seed=3).sample(), setup.tokenizer, setup.lm)
        for name, style in (("peaky", PEAKY), ("soft", SOFT))
    }
    if found := real(bench):
        folds["real posteriors"] = found.test, found.tokenizer, found.lm
    for name, (fold, tokenizer, lm) in folds.items():
        decode = native(tokenizer, lm, beam=sizes.beam, closed=False).make(0.6, 1.0)
        before = load()
        speeds = {workers: max(_clocked(decode, fold, workers) for _ in range(BEST_OF)) for workers in (1, 2)}
        row = {"log-probs": name, "one": speeds[1], "two": speeds[2], "factor": speeds[2] / speeds[1]}
        rows.append(row | {"load before": before, "load after": load()})
    bench.figures.table(f"threads, audio-s per second by the clock, best of {BEST_OF}", rows)


def _clocked(decode: Decode, fold: Fold, workers: int) -> float:
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(decode, fold.log_probs[:workers]))
        before = time.perf_counter()
        list(pool.map(decode, fold.log_probs))
        return fold.audio_s / (time.perf_counter() - before)

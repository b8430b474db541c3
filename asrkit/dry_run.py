"""What `train --dry-run` says: settings and data in; what the training would take, and what limits it, out."""

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.batches import read_batch
from asrkit.budget import TRIAL_BATCHES, peak_memory_mb
from asrkit.checkpoint import find_run
from asrkit.device import choose_device, loader_workers, one_core_here
from asrkit.epochs import Rows, plan_epoch
from asrkit.errors import AsrkitError, SaidElsewhereError
from asrkit.progress import Progress, Silent
from asrkit.recipe import Recipe
from asrkit.run import Run, build_updater, fix_schedule, open_run, time_saving, time_validation, with_fitting_rows
from asrkit.update import Updater
from asrkit.warm_start import start_from

KEPT_MB = (
    12 * 4 / 2**20
)  # a weight: weights and two moments, float32, of the last two, the best and the next checkpoint
SPARED = 0.2  # of the memory, for everything else
MOST_SECONDS = 20_000.0  # of a batch that is tried: more teaches no better
TELLING_MB = 256.0  # that a process must grow by: allocators keep, and give back, about a tenth of that
PATIENCE_S = 20.0  # for a batch that is tried on a CPU


@dataclass(frozen=True)
class DryRun:
    """Times and sizes as measured on a throw-away copy."""

    device: str
    precision: str
    parameters: int
    utterances: int
    hours_of_speech: float
    steps: int
    epochs: float
    batch_seconds: float
    padding: float  # share of a batch
    memory_mb: float  # with the longest batch
    largest_batch_seconds: float | None  # that fits; None where the system does not say how much memory is free
    hours_per_hour: float  # of speech trained on in an hour
    run_hours: float  # validation and saving included
    disk_mb: float  # for checkpoints
    free_disk_mb: float
    loader_workers: int
    shares: dict[str, float]  # of what a step takes if nothing overlaps: loader, transfer, compute
    limit: str  # the one of them that the others wait for


def dry_run(
    recipe: Recipe,
    *,
    data: str | None = None,
    data_dir: str | Path = "data",
    exp_dir: str | Path = "exp",
    minutes: float | None = None,
    init_from: str | Path | None = None,
    device: str = "auto",
    progress: Progress = Silent(),
) -> DryRun:
    """Trains nothing that stays, and writes nothing but a folder that goes again.

    Raises:
        AsrkitError: whatever would keep the training from beginning, or several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        line = "--dry-run is for one process; leave torchrun out"
        raise AsrkitError(line) if os.environ.get("RANK") == "0" else SaidElsewhereError(line)
    target = choose_device(device)
    with one_core_here(target), tempfile.TemporaryDirectory(prefix="asrkit-dry-run-") as name:
        folder = Path(name) / "run"
        run = open_run(recipe, folder, None, data=data, data_dir=data_dir, device=target, progress=Silent())
        updater = build_updater(run, target)
        run = with_fitting_rows(run, updater, progress)
        if init_from is not None:
            progress.say(str(start_from(find_run(init_from, exp_dir), updater.model, run.tokenizer)))
        no_room = ""
        try:
            run = fix_schedule(run, updater, minutes=minutes, began=time.monotonic(), progress=progress)
        except AsrkitError as error:
            if not isinstance(error.__cause__, torch.OutOfMemoryError):
                raise
            no_room = str(error)
        if no_room:  # and what the error held of the GPU's memory is free again
            longest = max(next(plan_epoch(run.train, run.plan, 0).windows()), key=lambda rows: _padded_s(run, rows))
            torch.cuda.empty_cache()
            fits = _largest_on_gpu(run, updater, longest, fails=len(longest))
            raise AsrkitError(f"{no_room}; the largest batch of such utterances that fits: {fits:,.1f} s")
        found = _measure(run, updater, Path(exp_dir), progress)
    _show(found, progress)
    return found


def _measure(run: Run, updater: Updater, exp_dir: Path, progress: Progress) -> DryRun:
    epoch = plan_epoch(run.train, run.plan, 0)
    by_length = sorted(next(epoch.windows()), key=lambda rows: _padded_s(run, rows))
    spread = [by_length[place] for place in np.linspace(0, len(by_length) - 1, TRIAL_BATCHES).round().astype(int)]
    with progress.bar("measuring a step", len(spread) + 1, "batches") as bar:
        seconds = {"loader": 0.0, "transfer": 0.0, "compute": 0.0}
        for rows in spread:
            for part, taken in _time_step(run, updater, rows).items():
                seconds[part] += taken
            bar.advance()
        memory_mb, largest = _largest_batch(run, updater, by_length[-1])
        bar.advance()
    per_padded_s = {part: taken / sum(_padded_s(run, rows) for rows in spread) for part, taken in seconds.items()}
    workers = loader_workers(updater.device, run.settings.workers)
    limit, per_s = _limit(per_padded_s, workers)
    epochs = run.epochs
    epoch_s = per_s * epoch.padded_s
    validations = epochs / run.record["schedule"]["validate_epochs"]
    run_s = epochs * epoch_s + validations * (time_validation(run, updater) + time_saving(run, updater))
    parameters = sum(weight.numel() for weight in updater.model.parameters())
    return DryRun(
        device=str(updater.device),
        precision=str(updater.precision).removeprefix("torch."),
        parameters=parameters,
        utterances=len(run.train),
        hours_of_speech=round(run.train.seconds / 3600, 6),
        steps=run.steps,
        epochs=round(epochs, 2),
        batch_seconds=run.settings.batch_seconds,
        padding=round(epoch.padding, 4),
        memory_mb=round(memory_mb, 1),
        largest_batch_seconds=largest,
        hours_per_hour=round(run.train.seconds / epoch_s, 1),
        run_hours=round(run_s / 3600, 6),
        disk_mb=round(parameters * KEPT_MB, 1),
        free_disk_mb=round(_free_mb(exp_dir), 1),
        loader_workers=workers,
        shares={part: round(taken / sum(seconds.values()), 4) for part, taken in seconds.items()},
        limit=limit,
    )


def _padded_s(run: Run, rows: Rows) -> float:
    return float(run.train.rows["samples"][rows].max()) * len(rows) / SAMPLE_RATE_HZ


def _time_step(run: Run, updater: Updater, rows: Rows) -> dict[str, float]:
    """Seconds of the parts of a step, kernels being ready: fix_schedule has trained such batches on a copy."""
    trial = updater.trial()
    ticks = [time.perf_counter()]
    batch = read_batch(run.train, rows, augmentation=run.augmentation, fastest=run.fastest)
    ticks.append(time.perf_counter())
    moved = batch.to(updater.device)
    _wait(updater.device)
    ticks.append(time.perf_counter())
    trial.update(moved, lr=0.0, step=0)
    _wait(updater.device)
    ticks.append(time.perf_counter())
    return dict(zip(("loader", "transfer", "compute"), np.diff(ticks).tolist(), strict=True))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _limit(per_s: dict[str, float], workers: int) -> tuple[str, float]:
    """What a step waits for, and the seconds that a second takes then.

    Without loader processes everything takes turns; with them the loaders work while the device does.
    """
    if workers == 0:
        return max(per_s, key=per_s.__getitem__), sum(per_s.values())
    beside = {"loader": per_s["loader"] / workers, "compute": per_s["transfer"] + per_s["compute"]}
    limit = max(beside, key=beside.__getitem__)
    if limit == "compute" and per_s["transfer"] > per_s["compute"]:
        return "transfer", beside["compute"]
    return limit, beside[limit]


def _largest_batch(run: Run, updater: Updater, longest: Rows) -> tuple[float, float | None]:
    """Peak memory in MB of the longest batch, and the padded seconds of utterances that long that would fit."""
    memory_mb = _try(run, updater, longest)
    if updater.device.type == "cuda":
        return memory_mb, _largest_on_gpu(run, updater, longest, fits=len(longest))
    free_mb = _free_memory_mb()
    if free_mb is None:
        return memory_mb, None
    return memory_mb, _largest_on_cpu(run, updater, longest, peak_mb=memory_mb, spare_mb=free_mb * (1 - SPARED))


def _largest_on_cpu(run: Run, updater: Updater, longest: Rows, *, peak_mb: float, spare_mb: float) -> float:
    """The padded seconds of such utterances for which there is room: doubled until they tell what a second takes.

    A process says only how much it ever had, and the first batches fit into what it has already. So what twice as much
    takes is known where the batch before has raised the peak, too; else it is taken for half of all, which is the most
    that it can be, and for TELLING_MB where it is less. So the answer is rather too small.
    """
    rows, raised = longest, False
    while True:
        before_s, rows = _padded_s(run, rows), np.resize(longest, 2 * len(rows))
        began = time.monotonic()
        now_mb, seconds = _try(run, updater, rows), _padded_s(run, rows)
        more_mb = now_mb - peak_mb
        told = raised and more_mb >= TELLING_MB
        most_mb = more_mb if told else max(TELLING_MB, 0.0 if raised else now_mb / 2)
        fits_s = min(MOST_SECONDS, max(seconds, (seconds - before_s) * spare_mb / most_mb))
        tried_enough = fits_s == MOST_SECONDS or now_mb > spare_mb or time.monotonic() - began > PATIENCE_S
        if told or tried_enough:
            return round(fits_s, 1)
        peak_mb, raised = max(peak_mb, now_mb), more_mb > 0


def _largest_on_gpu(run: Run, updater: Updater, longest: Rows, *, fits: int = 0, fails: int = 0) -> float:
    """The padded seconds of so many such utterances: doubled until memory runs out, then halved in between."""
    while not fails or fails - fits > max(1, fits // 8):
        count = (fits + fails) // 2 if fails else 2 * fits
        rows = np.resize(longest, count)
        if fits and _padded_s(run, rows) > MOST_SECONDS:
            break
        try:
            _try(run, updater, rows)
            fits = count
        except torch.OutOfMemoryError:
            fails = count
        torch.cuda.empty_cache()
    return round(_padded_s(run, np.resize(longest, fits)), 1) if fits else 0.0


def _try(run: Run, updater: Updater, rows: Rows) -> float:
    """Peak memory in MB of an update with these rows."""
    batch = read_batch(run.train, rows, augmentation=run.augmentation, fastest=run.fastest)
    updater.trial().update(batch, lr=0.0, step=0)
    return peak_memory_mb(updater.device)


def _free_memory_mb() -> float | None:
    """What new allocations can have without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) / 2**10 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else None


def _free_mb(folder: Path) -> float:
    """Of the disk that the folder is, or will be, on."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free / 2**20


def _show(found: DryRun, progress: Progress) -> None:
    shares = ", ".join(f"{part} {share:.0%}" for part, share in found.shares.items())
    loaders = (
        f"{found.loader_workers} loader processes" if found.loader_workers else "loading on the training's own cores"
    )
    largest = f"{found.largest_batch_seconds:,.0f} s" if found.largest_batch_seconds else "unknown here"
    if found.largest_batch_seconds == MOST_SECONDS:
        largest += " and more"
    rows: Sequence[tuple[str, str]] = (
        ("model", f"{found.parameters / 1e6:.2f} M parameters, on {found.device} in {found.precision}"),
        ("data", f"{found.hours_of_speech:.2f} h of speech, {found.utterances:,} utterances"),
        ("steps", f"{found.steps:,}, {found.epochs:g} epochs"),
        ("batch", f"{found.batch_seconds:g} s, {found.padding:.1%} padding; the largest that fits: {largest}"),
        ("memory", f"{found.memory_mb:,.0f} MB"),
        ("speed", f"{found.hours_per_hour:,.0f} hours of speech an hour"),
        ("whole run", f"{_time(found.run_hours)}, validation and checkpoints included"),
        ("disk", f"{found.disk_mb:,.0f} MB for checkpoints at most; {found.free_disk_mb:,.0f} MB are free"),
        ("limited by", f"{found.limit} ({shares} of a step; {loaders}, {os.cpu_count()} cores)"),
    )
    progress.table("dry run: nothing was trained", ["", ""], rows)
    if found.disk_mb > found.free_disk_mb:
        progress.warn("the checkpoints will not fit on the disk; free some space, or choose another --exp-dir")


def _time(hours: float) -> str:
    return f"{hours * 60:.1f} min" if hours < 2 else f"{hours:.1f} h"

"""A recipe and its data, or the folder of a run to resume, in; everything that is fixed before step 0 out.

What is decided here is written to recipe.json in the run's folder: the settings, the data, the number of steps.
"""

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asrkit.atomic import write_whole
from asrkit.augment import Augmentation
from asrkit.budget import Speed, faster_precision, fit_steps, measure
from asrkit.checkpoint import build, run_folders, save_checkpoint
from asrkit.device import choose_precision, choose_replicas, has_bfloat16, loader_workers
from asrkit.distributed import ALONE, Ranks
from asrkit.epochs import (
    Epoch,
    EpochPlan,
    Rows,
    Speeds,
    eval_batches,
    fastest_speeds,
    plan_epoch,
    window_shards,
)
from asrkit.errors import AsrkitError
from asrkit.folder_names import is_plain
from asrkit.mel_statistics import take_statistics
from asrkit.noise_data import MARKER, noise_dir, open_noise, surroundings
from asrkit.progress import Progress
from asrkit.recipe import Recipe, section_from_json
from asrkit.remote import parent
from asrkit.settings import AugmentSettings, TrainSettings
from asrkit.shards import DataSet, JoinedIndex, resolve_data
from asrkit.stop import Stop, StopWaiting
from asrkit.tokenizer import Tokenizer
from asrkit.update import Updater
from asrkit.validate import Validation, validate

# Padded seconds in a batch of validation. On a CPU each thread holds one; 60 s are as fast there as 120 s, and smaller.
CPU_VALIDATION_S = 60.0
VALIDATION_S = 120.0
LEFT_OPEN = {"train.precision": "auto", "train.batch_seconds": 0}  # the run has chosen, and keeps to it
DATA_DIR = "data"  # as good as not given: a run that is resumed looks for its data where it began
MAY_CHANGE = ("train.workers", "train.save_minutes", "train.max_bad_steps")  # when resuming: no number depends on them
CORPUS_BATCHES = 200  # in an epoch, where the recipe leaves the size of a batch open: small corpora need updates
BATCH_SECONDS = (20.0, 320.0)  # least and most that this choice gives


@dataclass(frozen=True)
class Run:
    """A training that can begin or go on; `record` is its recipe.json."""

    folder: Path
    record: dict[str, Any]
    settings: TrainSettings
    tokenizer: Tokenizer
    train: JoinedIndex
    dev: JoinedIndex
    dev_batches: list[Rows]
    plan: EpochPlan
    augmentation: Augmentation
    fastest: Speeds | None = None  # that the utterances of train may be given

    @property
    def epochs(self) -> float:
        """As planned; some that augmentation makes longer have more batches."""
        schedule = self.record["schedule"]
        if schedule["minutes"] is None:
            return float(self.settings.epochs)
        return float(schedule["steps"] / schedule["steps_per_epoch"])

    @property
    def steps(self) -> int:
        return int(self.record["schedule"]["steps"])


def find_or_name_run(recipe: Recipe, *, run: str | None, exp_dir: Path, resume: bool) -> Path:
    """The folder to resume (the named run, or the recipe's newest), or that of a new run: made, unless it is named.

    With `resume` and nothing there yet, as in a job script's first start, it is a new one.

    Raises:
        AsrkitError: a new run is asked for under the name of an old one, or under one that is no plain word.
    """
    home = exp_dir / recipe.name
    mine = [folder for folder in run_folders(exp_dir) if folder.parent.name == recipe.name]
    if run is None:
        return mine[-1] if resume and mine else _fresh_folder(home)
    is_path = run != "" and (Path(run) / "recipe.json").exists()
    if not is_path and not is_plain(run):
        raise AsrkitError(f"--run {run!r} cannot name a folder in {home}; wanted a plain word, or the path of a run")
    folder = Path(run) if is_path else home / run
    if (folder / "recipe.json").exists() and not resume:
        raise AsrkitError(f"run {folder} exists; choose another name, or go on with it: --resume --run {folder.name}")
    return folder


def _fresh_folder(home: Path) -> Path:
    """Makes one, named by the time, with a number behind it where another run began in the same second."""
    now = time.strftime("%Y%m%d-%H%M%S")
    for number in count(1):
        folder = home / (now if number == 1 else f"{now}-{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("unreachable")


def read_began(folder: Path) -> dict[str, Any] | None:
    """What a run to be resumed began with; None for a new one.

    Raises:
        AsrkitError: it cannot be read.
    """
    path = folder / "recipe.json"
    return read_record(path) if path.exists() else None


def open_run(
    recipe: Recipe,
    folder: Path,
    began: dict[str, Any] | None,
    *,
    data: str | None,
    data_dir: str | Path,
    device: torch.device,
    ranks: Ranks = ALONE,
    progress: Progress,
) -> Run:
    """Opens the data; a run that `began` keeps the settings and the data that it began with, which may have moved to
    another `data_dir`.

    Raises:
        AsrkitError: no such data set, or it changed since the run began.
    """
    place = data_dir
    if began is not None:
        record = began
        name = record["data"]["name"]
        if data not in (None, name):
            raise AsrkitError(
                f"{folder} began with --data {name}; --resume cannot make it {data}: leave it out, or start a new run"
            )
        if str(data_dir) == DATA_DIR:
            place = parent(record["data"]["folder"])
        data_set = resolve_data(place, name, recipe.name)
        _keep_settings(recipe, record, folder)
        progress.say(f"resuming {folder} with the settings it began with")
    else:
        data_set = resolve_data(place, data, recipe.name)
        record = recipe.to_json() | {"splits": data_set.splits}
    train, dev = (_joined(data_set, record, role) for role in ("train", "dev"))
    now = {"name": data_set.name, "folder": data_set.place, "fingerprint": train.fingerprint}
    before = record.setdefault("data", now)
    if before["fingerprint"] != now["fingerprint"]:
        what = "changed since" if before["folder"] == now["folder"] else f"is not {before['folder']}, with which"
        raise AsrkitError(f"data {data_set.place} {what} {folder} began; start a new run without --resume")
    settings: TrainSettings = section_from_json(TrainSettings, record["train"])
    if settings.batch_seconds == 0:
        least, most = BATCH_SECONDS
        settings = replace(settings, batch_seconds=round(min(most, max(least, train.seconds / CORPUS_BATCHES)), 1))
        record["train"] = asdict(settings)
    record.setdefault("replicas", choose_replicas(device, settings.batch_seconds) if ranks.size == 1 else 1)
    record.setdefault("window_shards", window_shards(train))
    augmentation = _open_augmentation(record, place, settings.seed)
    if before["folder"] != now["folder"]:
        record["data"] = now
        if ranks.first:
            _write_record(folder, record)
    for line in augmentation.unheard(recipe.overridden):
        progress.warn(line)
    return Run(
        folder=folder,
        record=record,
        settings=settings,
        tokenizer=data_set.tokenizer(),
        train=train,
        dev=dev,
        dev_batches=eval_batches(dev, CPU_VALIDATION_S if device.type == "cpu" else VALIDATION_S),
        plan=EpochPlan(seed=settings.seed, batch_seconds=settings.batch_seconds, window_shards=record["window_shards"]),
        augmentation=augmentation,
    )


def _open_augmentation(record: dict[str, Any], data_dir: str | Path, seed: int) -> Augmentation:
    """With the noises and rooms that the run began with.

    Raises:
        AsrkitError: a data set of noises is missing, or changed since the run began.
    """
    settings: AugmentSettings = section_from_json(AugmentSettings, record["augment"]).in_force()
    began = record.get("noise", [])
    here = [noise_dir(data_dir) / name for name in settings.noise]
    folders = [Path(each["folder"]) for each in began] or here
    found = [
        open_noise(moved if (moved / MARKER).is_file() and not folder.exists() else folder)
        for folder, moved in zip(folders, here, strict=True)
    ]
    now = [{"folder": str(noise.folder.resolve()), "fingerprint": noise.fingerprint} for noise in found]
    for before, after in zip(began, now, strict=False):
        if before["fingerprint"] != after["fingerprint"]:
            raise AsrkitError(f"noise data {after['folder']} changed since the run began; start a new run")
    record["noise"] = now
    return Augmentation(settings, surroundings(found), seed)


def _keep_settings(recipe: Recipe, record: dict[str, Any], folder: Path) -> None:
    """Takes over the settings that may change within a run; refuses others that were given and are not the run's."""
    for key in recipe.overridden:
        section, _, item = key.partition(".")
        wanted = json.loads(json.dumps(asdict(recipe.sections()[section])[item]))
        began = record[section][item] if isinstance(record.get(section), dict) else wanted
        if key in MAY_CHANGE:
            record[section][item] = wanted
        elif wanted != began and wanted != LEFT_OPEN.get(key):
            raise AsrkitError(
                f"{folder} began with {key}={began}; --resume cannot make it {wanted}: leave it out, or start a new run"
            )


def read_record(path: Path) -> dict[str, Any]:
    """A run's recipe.json.

    Raises:
        AsrkitError: it cannot be read.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AsrkitError(f"{path} cannot be read: {error}") from error
    return record


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    write_whole(folder / "recipe.json", json.dumps(record, indent=1, ensure_ascii=False).encode("utf-8"))


def _joined(data_set: DataSet, record: Mapping[str, Any], role: str) -> JoinedIndex:
    splits = record["splits"][role]
    if not splits:
        raise AsrkitError(f"data set {data_set.name} has no {role} split; wanted one to train with: prepare it again")
    joined = JoinedIndex([data_set.index(split) for split in splits])
    if not len(joined):
        raise AsrkitError(f"the {role} split of data set {data_set.name} has no utterances")
    return joined


def build_updater(run: Run, device: torch.device, ranks: Ranks = ALONE, *, statistics: bool = True) -> Updater:
    """The model with its first weights, drawn from the seed; on a CPU with a replica for each core that the run has.

    Without `statistics` of the data its features wait for those of a checkpoint.

    Raises:
        AsrkitError: a sample cannot be read.
    """
    torch.manual_seed(run.settings.seed)
    model, features = build(run.record, len(run.tokenizer.labels))
    if statistics:
        take_statistics(features, run.train, run.plan)
    return Updater(
        model,
        features,
        settings=run.settings,
        augmentation=run.augmentation.settings,
        device=device,
        precision=choose_precision(device, run.settings.precision),
        replicas=run.record["replicas"] if device.type == "cpu" and ranks.size == 1 else 1,
        parts=run.record["replicas"] * run.settings.accumulate,
        ranks=ranks,
    )


def with_fitting_rows(run: Run, updater: Updater, progress: Progress) -> Run:
    """Leaves out what CTC cannot align at this model's stride, and says how much; fast speech becomes no faster.

    Raises:
        AsrkitError: nothing is left.
    """
    model, features = updater.model, updater.features
    fastest = fastest_speeds(
        run.train, lambda n: model.output_length(features.frame_lengths(n)), updater.augmentation.speeds
    )
    usable = fastest.usable
    fitting = int(usable.sum())
    if 0 < fitting < updater.ranks.size:
        raise AsrkitError(
            f"{fitting} utterances for {updater.ranks.size} processes; wanted one for each at least: start fewer"
        )
    if not fitting:
        raise AsrkitError(
            f"none of {len(run.train)} utterances has enough frames for its text; wanted model.time_stride=2, or text "
            "that belongs to its audio"
        )
    if fitting < len(run.train):
        unfit = np.flatnonzero(~usable)
        keys = ", ".join(str(run.train.record(int(row))["key"]) for row in unfit[:3])
        progress.warn(
            f"{len(unfit)} of {len(run.train)} utterances have more labels than the model has frames for and are left "
            f"out of training ({keys}{', ...' if len(unfit) > 3 else ''})"
        )
    return replace(run, plan=replace(run.plan, usable=usable), fastest=fastest)


def fix_schedule(run: Run, updater: Updater, *, minutes: float | None, began: float, progress: Progress) -> Run:
    """Decides the number of steps and writes recipe.json; nothing is trained yet.

    `began` is the time.monotonic() from which `minutes` count.
    """
    every, ranks = run.settings.validate_epochs, updater.ranks
    one = plan_epoch(run.train, run.plan, 0)
    some = list(next(one.windows()))
    with progress.bar("measuring the speed", None):
        # Where the clock fixes the steps, it may choose the type, too; with epochs all CPUs do the same.
        if minutes is not None and run.settings.precision == "auto" and has_bfloat16(updater.device):
            faster = faster_precision(updater, run.train, some, run.augmentation, fastest=run.fastest)
            updater.precision = ranks.of_first(lambda: faster)
        # On a CPU, loader processes take the cores that the training would have.
        readers = 0 if updater.device.type == "cpu" else loader_workers(updater.device, run.settings.workers)
        speed = measure(updater, run.train, some, run.augmentation, fastest=run.fastest, readers=readers)
        if minutes is None:
            epochs = run.settings.epochs
            steps = sum(len(plan_epoch(run.train, run.plan, epoch)) for epoch in range(epochs))
        else:
            validation_s = time_validation(run, updater)
            save_s = time_saving(run, updater) if ranks.first else 0.0
            budget = fit_steps(
                available_s=minutes * 60 - (time.monotonic() - began),
                speed=speed,
                epoch=one,
                validation_s=validation_s,
                save_s=save_s,
                validate_epochs=every,
            )
            steps, every = budget.steps, budget.validate_epochs
    schedule = {
        "steps": steps,
        "steps_per_epoch": len(one),
        "validate_epochs": every,
        "minutes": minutes,
    }
    schedule = ranks.of_first(lambda: schedule)  # its clock counts
    record = run.record | {"schedule": schedule, "started": time.time(), "device": str(updater.device)}
    record["train"] = asdict(run.settings) | {"precision": str(updater.precision).removeprefix("torch.")}
    if ranks.first:
        run.folder.mkdir(parents=True, exist_ok=True)
        _write_record(run.folder, record)
    run = replace(run, record=record)
    _tell(run, updater, speed, one, progress)
    return run


def validate_run(run: Run, updater: Updater, stop: Stop | None = None) -> Validation | None:
    """The present weights on the dev data; None where some process was asked to stop meanwhile."""
    stop = stop or Stop()
    try:
        with stop.while_waiting() if updater.ranks.size == 1 else nullcontext():  # several leave it together
            return _validate(run, updater, stop)
    except StopWaiting:
        return None


def _validate(run: Run, updater: Updater, stop: Stop) -> Validation | None:
    return validate(
        updater.model,
        updater.features,
        run.tokenizer,
        run.dev,
        run.dev_batches,
        device=updater.device,
        threads=len(updater.replicas),
        ranks=updater.ranks,
        stopped=stop.is_set,
    )


def time_validation(run: Run, updater: Updater) -> float:
    """Seconds of one validation, from up to four batches spread over the dev data."""
    places = np.unique(np.linspace(0, len(run.dev_batches) - 1, 4).astype(int))
    some = [run.dev_batches[place] for place in places]
    start = time.perf_counter()
    validate_run(replace(run, dev_batches=some), updater)
    return (time.perf_counter() - start) * len(run.dev_batches) / len(some)


def time_saving(run: Run, updater: Updater) -> float:
    """Seconds of one checkpoint, by writing the weights thrice: AdamW keeps two numbers for each."""
    trial = run.folder / "checkpoints" / "trial"
    start = time.perf_counter()
    state = {name: [weight, weight.clone()] for name, weight in updater.model.state_dict().items()}
    save_checkpoint(
        trial,
        model=updater.model,
        features=updater.features,
        tokenizer=run.tokenizer,
        recipe=run.record,
        step=0,
        state=state,
    )
    seconds = time.perf_counter() - start
    shutil.rmtree(trial)
    return seconds


def _tell(run: Run, updater: Updater, speed: Speed, epoch: Epoch, progress: Progress) -> None:
    parameters = sum(weight.numel() for weight in updater.model.parameters())
    precision = str(updater.precision).removeprefix("torch.")
    progress.say(
        f"{run.record['model']['name']}: {parameters / 1e6:.2f} M parameters, {len(run.tokenizer.labels)} labels, on "
        f"{updater.device} in {precision}; {run.train.seconds / 3600:.2f} h of speech, {len(run.train)} utterances"
    )
    around = run.augmentation.surroundings
    if around.noises or around.responses:
        progress.say(f"heard among {len(around.noises or ())} noises and in {len(around.responses or ())} rooms")
    progress.say(
        f"{run.steps} steps, {round(run.epochs, 1):g} epochs, in batches of {run.settings.batch_seconds:g} s, "
        f"{epoch.padding:.1%} padding; memory {speed.peak_memory_mb:,.0f} MB"
    )

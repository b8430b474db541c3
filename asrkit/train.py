"""Prepared data in, a run folder with checkpoints and metrics out: the training verb, from top to bottom.

The plan of batches, the schedule and the random draws are functions of (settings, step), so a run that was stopped or
killed and resumed ends with the weights of one that was not. Several processes that torchrun starts share each batch;
the first of them writes and talks.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch

from asrkit.atomic import storing_in, write_whole
from asrkit.batches import Planned, load
from asrkit.begun import Begun
from asrkit.checkpoint import (
    checkpoint_folder,
    find_run,
    has_checkpoint,
    last_checkpoint,
    load_state,
    load_weights,
    read_settings,
    save_checkpoint,
)
from asrkit.device import loader_workers, one_core_here
from asrkit.distributed import Ranks, joined
from asrkit.epochs import plan_epoch
from asrkit.errors import AsrkitError, UnreachableError
from asrkit.live import Live
from asrkit.lock import only_one
from asrkit.metrics import Metrics, Unwritten
from asrkit.position import Position
from asrkit.progress import Progress, Silent
from asrkit.recipe import Recipe
from asrkit.run import (
    Run,
    build_updater,
    find_or_name_run,
    fix_schedule,
    open_run,
    read_began,
    validate_run,
    with_fitting_rows,
)
from asrkit.stop import StopWaiting, stop_signals
from asrkit.update import Updater, learning_rate
from asrkit.validate import Validation
from asrkit.warm_start import start_from
from asrkit.window_cache import follow

KEPT_CHECKPOINTS = 2  # the last ones, beside the best


def train(
    recipe: Recipe,
    *,
    data: str | None = None,
    data_dir: str | Path = "data",
    exp_dir: str | Path = "exp",
    run: str | None = None,
    minutes: float | None = None,
    init_from: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    wandb: str | None = None,
    tensorboard: bool = False,
    progress: Progress = Silent(),
) -> Path:
    """Trains the recipe's model on a prepared data set and returns the run's folder.

    `minutes` fixes the number of steps by the speed measured before step 0; without it `train.epochs` does. `resume`
    goes on with the recipe's newest run, or with `run`, under the settings it began with. `init_from` is a run or a
    checkpoint whose weights a new run begins with, as far as they fit (warm_start.py); optimiser and schedule are new.
    SIGTERM and Ctrl-C finish the step, save and return. `wandb` is "online" or "offline". Under torchrun this is one of
    several processes that share each batch; their number may change when a run is resumed.

    Raises:
        AsrkitError: another training is at work in the run, no data, a data set that does not match, no utterance that
            CTC can align, too many updates that are not finite, a sample that cannot be read, a loader process that
            died, a checkpoint or metrics that cannot be written, or another process of the training that has ended.
    """
    with ExitStack() as held, joined(device) as (ranks, target), one_core_here(target), _failures_in_one_line():

        def take() -> tuple[Path, Path | None]:
            started_from = find_run(init_from, exp_dir) if init_from is not None else None
            with storing_in(Path(exp_dir)):
                folder = find_or_name_run(recipe, run=run, exp_dir=Path(exp_dir), resume=resume)
                held.enter_context(only_one(folder, "training", progress.warn))
            return folder, started_from

        folder, started_from = ranks.of_first(take)
        with storing_in(folder):
            return _train(
                recipe,
                data=data,
                data_dir=data_dir,
                folder=folder,
                minutes=minutes,
                init_from=started_from,
                device=target,
                ranks=ranks,
                open_metrics=lambda: (
                    Metrics(folder, wandb=wandb, tensorboard=tensorboard) if ranks.first else Unwritten()
                ),
                progress=progress if ranks.first else Silent(),
            )


@contextmanager
def _failures_in_one_line() -> Iterator[None]:
    """PyTorch raises a RuntimeError wherever the training happens to be when a loader process dies.

    An update may be half done then, so that nothing is saved: the last checkpoint is whole. The longest batch fitted
    before step 0; if there is no room for it later, something else is there, too.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise AsrkitError(
            f"no room in the GPU's memory ({str(error).splitlines()[0].strip()}); --resume goes on from the last "
            "checkpoint, best when nothing else uses the GPU; a new run takes less with a lower train.batch_seconds"
        ) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise AsrkitError(
            f"a loader process died, perhaps because memory ran out ({str(error).splitlines()[0].strip()}); --resume "
            "goes on from the last checkpoint, if need be with fewer train.workers"
        ) from error


def _train(
    recipe: Recipe,
    *,
    data: str | None,
    data_dir: str | Path,
    folder: Path,
    minutes: float | None,
    init_from: Path | None,
    device: torch.device,
    ranks: Ranks,
    open_metrics: Callable[[], Metrics],
    progress: Progress,
) -> Path:
    began = time.monotonic()
    began_with, goes_on = ranks.of_first(lambda: (read_began(folder), has_checkpoint(folder)))

    def begin() -> tuple[Run, Updater]:
        run = open_run(
            recipe, folder, began_with, data=data, data_dir=data_dir, device=device, ranks=ranks, progress=progress
        )
        updater = build_updater(run, device, ranks, statistics=not goes_on)
        if init_from and "schedule" not in run.record:
            run.record["init_from"] = str(checkpoint_folder(init_from))
            start_from(Path(run.record["init_from"]), updater.model, run.tokenizer)  # before there is a run
        return with_fitting_rows(run, updater, progress), updater

    training, updater = ranks.together(begin)
    if "schedule" not in training.record:
        training = fix_schedule(training, updater, minutes=minutes, began=began, progress=progress)
        progress.say(f"run {folder}")
    position = _restore(training, updater, progress)
    metrics = open_metrics()
    metrics.forget_after(position.step, position.validated)
    try:
        if not ranks.of_first(lambda: (folder / "train.json").exists()):
            position = _loop(training, updater, position, metrics, progress)
    finally:
        metrics.close()
    if ranks.first:
        _tell_end(training, position, progress)
    return folder


def _loop(run: Run, updater: Updater, position: Position, metrics: Metrics, progress: Progress) -> Position:
    """Epochs of updates, each with a validation and a checkpoint, until the schedule, patience or a signal ends."""
    workers = loader_workers(updater.device, run.settings.workers)
    with progress.bar("training", run.steps, "step") as bar, stop_signals() as stop:
        bar.advance(position.step)
        live = Live(bar, metrics, saved_seconds=position.seconds)
        begun = Begun(run, updater, live, progress)
        loaded = load(
            run.train,
            islice(_planned(run, position, workers), run.steps - position.step),
            augmentation=run.augmentation,
            fastest=run.fastest,
            workers=workers,
            pin=updater.device.type == "cuda",
            share=updater.share,
        )
        # Several processes wait for each other, too, and stop at the same step.
        batches = live.waiting_for(loaded, stop if updater.ranks.size == 1 else None)
        while not _is_over(run, position):
            epoch = plan_epoch(run.train, run.plan, position.epoch)
            try:
                for batch in islice(batches, len(epoch) - position.batch):
                    lr = learning_rate(position.step, steps=run.steps, peak=run.settings.lr, warmup=run.settings.warmup)
                    save = live.minutes_since_save >= run.settings.save_minutes
                    begun.start(batch, position, lr=lr, stop=stop.is_set(), save=save)
                    position = replace(position, step=position.step + 1, batch=position.batch + 1)
                    position = begun.read(position, leave=updater.ahead)
                    if begun.stop or begun.save:
                        position = replace(begun.read(position), seconds=live.seconds)
                        _save(run, updater, position)
                        live.saved()
                    if begun.stop:
                        return position
                    begun.save = False
            except StopWaiting:
                position = replace(begun.read(position), seconds=live.seconds)
                _save(run, updater, position)
                return position
            except UnreachableError:
                if updater.ranks.size == 1:  # others wait for this one in the middle of an update
                    with suppress(AsrkitError):  # the first error says more
                        _save(run, updater, replace(begun.read(position), seconds=live.seconds))
                raise
            position = begun.read(position)
            before = position
            if position.batch == len(epoch):
                position = replace(position, epoch=position.epoch + 1, batch=0)
            due = position.step >= run.steps or position.epoch % run.record["schedule"]["validate_epochs"] == 0
            if due:
                try:
                    found = validate_run(run, updater, stop)
                except BaseException:
                    with suppress(AsrkitError):  # the first error says more
                        _save(run, updater, replace(before, seconds=live.seconds))
                    raise
                if found is None:
                    _save(run, updater, replace(before, seconds=live.seconds))
                    return before
                position = _judge(position, found, metrics, progress)
            if due or live.minutes_since_save >= run.settings.save_minutes:
                _save(run, updater, replace(position, seconds=live.seconds))
                live.saved()
        position = replace(position, seconds=live.seconds)
        if updater.ranks.first:
            _finish(run, position)
    return position


def _planned(run: Run, position: Position, workers: int) -> Iterator[Planned]:
    """The batches from here on, epoch after epoch: the loader begins with the next one while this one is validated."""
    done = position.batch
    for number in count(position.epoch):
        for rows in follow(run.train, plan_epoch(run.train, run.plan, number), done, workers):
            yield number, rows
        done = 0


def _is_over(run: Run, position: Position) -> bool:
    """Whether the schedule or patience has ended, and the last weights were validated."""
    return position.validated == position.step >= run.steps or 0 < run.settings.patience <= position.without_gain


def _judge(position: Position, found: Validation, metrics: Metrics, progress: Progress) -> Position:
    """Greedy WER and CER on dev decide which checkpoint is the best: the last of those that noise cannot tell apart.

    A small dev set ranks by luck, and the schedule anneals, so that of equals the later one is better on new speech
    (the one-standard-error rule of Breiman et al. 1984, with the later model for the simpler one).
    """
    lowest = min(found.score, position.best_score)
    better = found.score <= lowest + found.noise
    metrics.write("dev", position.step, position.epoch, wer=found.wer, cer=found.cer, best=better)
    mark = "  best so far" if better else ""
    gained = found.score < position.best_score
    progress.say(f"epoch {position.epoch}, step {position.step}: dev WER {found.wer:.2%}, CER {found.cer:.2%}{mark}")
    return replace(
        position,
        validated=position.step,
        best_step=position.step if better else position.best_step,
        best_score=lowest,
        without_gain=0 if gained else position.without_gain + 1,
    )


def _save(run: Run, updater: Updater, position: Position) -> None:
    """Writes checkpoints/<step>, points `best` at the best and removes what is neither among the last two nor best."""
    if not updater.ranks.first:
        return
    checkpoints = run.folder / "checkpoints"
    save_checkpoint(
        checkpoints / f"{position.step:08d}",
        model=updater.model,
        features=updater.features,
        tokenizer=run.tokenizer,
        recipe=run.record,
        step=position.step,
        state=updater.state() | {"position": position.plain()},
    )
    _point_at_best(run, position)
    steps = sorted(path for path in checkpoints.iterdir() if path.name.isdigit())
    for path in steps[:-KEPT_CHECKPOINTS]:
        if int(path.name) != position.best_step:
            shutil.rmtree(path)


def _point_at_best(run: Run, position: Position) -> None:
    target = f"checkpoints/{position.best_step:08d}"
    if position.best_step < 0 or not (run.folder / target).exists():
        return
    link = run.folder / ".best.part"
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    os.replace(link, run.folder / "best")


def _restore(run: Run, updater: Updater, progress: Progress) -> Position:
    """The last whole checkpoint's weights, optimiser and position; the start where there is none."""
    ranks = updater.ranks
    state = ranks.of_first(lambda: _load_last(run, updater, progress))
    ranks.take_from_first([*updater.model.state_dict().values(), *updater.features.state_dict().values()])
    if state is None:
        return Position()
    updater.load_state(state)
    position = Position.of(state["position"])
    if ranks.first:
        _point_at_best(run, position)
    return position


def _load_last(run: Run, updater: Updater, progress: Progress) -> dict[str, Any] | None:
    """Weights from the last checkpoint, and its state; without one, weights from where the run is to begin, if any."""
    folder = last_checkpoint(run.folder)
    if folder is None:
        if "init_from" in run.record:
            progress.say(str(start_from(Path(run.record["init_from"]), updater.model, run.tokenizer)))
        return None
    read_settings(folder)
    load_weights(folder, updater.model, updater.features)
    return load_state(folder)


def _finish(run: Run, position: Position) -> None:
    """train.json, written last, marks a run whose schedule or patience has ended."""
    summary = position.plain() | {"checkpoint": f"checkpoints/{position.best_step:08d}"}
    write_whole(run.folder / "train.json", json.dumps(summary, indent=1).encode("utf-8"))


def _tell_end(run: Run, position: Position, progress: Progress) -> None:
    done = f"{position.step} of {run.steps} steps in {position.seconds / 60:.1f} minutes"
    if not (run.folder / "train.json").exists():
        progress.say(f"stopped and saved after {done}; go on with: --resume")
        return
    if position.step < run.steps:
        progress.say(f"no better for {position.without_gain} validations (train.patience)")
    progress.say(f"trained {done}; best checkpoint {run.folder / 'best'} (step {position.best_step})")
    if position.bad_steps:
        progress.warn(f"{position.bad_steps} updates were not finite and changed nothing")
    if position.spikes:
        progress.warn(f"{position.spikes} updates had a loss or gradient far above the usual, and were clipped")

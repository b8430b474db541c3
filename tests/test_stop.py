"""What stops a training: SIGTERM, whatever it is doing, and no room on the GPU. It goes on as if nothing had been."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tones import make_tones, tones_recipe

from asrkit import batches as batches_module
from asrkit import train as train_module
from asrkit import validate as validate_module
from asrkit.checkpoint import checkpoint_folder, last_checkpoint
from asrkit.errors import AsrkitError
from asrkit.live import Live
from asrkit.metrics import Metrics
from asrkit.progress import Silent
from asrkit.stop import stop_signals
from asrkit.train import train

DEV = 8  # utterances
RECIPE = ("model.dropout=0.2", "train.epochs=3", "train.patience=0")


class Told(Silent):
    """Keeps what was said."""

    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)

    @property
    def stops(self):
        return sum("stopped and saved" in line for line in self.lines)


def dev(run: Path) -> list[tuple]:
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return [(line["step"], line["wer"], line["cer"], line["best"]) for line in lines if line["kind"] == "dev"]


def assert_same(one: Path, other: Path) -> None:
    weights = [load_file(last_checkpoint(run) / "model.safetensors") for run in (one, other)]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    assert dev(one) == dev(other)
    assert checkpoint_folder(one).name == checkpoint_folder(other).name


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_tones(folder, dev=DEV)
    return folder


@pytest.fixture(scope="module")
def undisturbed(data_dir, tmp_path_factory):
    return train(tones_recipe(*RECIPE), data_dir=data_dir, exp_dir=tmp_path_factory.mktemp("whole"), device="cpu")


def before_step(number, monkeypatch, action):
    """Has the action done once, when that step is begun."""
    start, left = train_module.Updater.start, [number]

    def act_there(self, batch, *, lr, step, **settings):
        if lr and step in left:  # not in the trial updates that measure the speed
            left.clear()
            action()
        return start(self, batch, lr=lr, step=step, **settings)

    monkeypatch.setattr(train_module.Updater, "start", act_there)


def ask_to_stop():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("validation", [1, 3])  # the first one, and the last, behind the last step
def test_asked_to_stop_while_dev_is_decoded_it_saves_at_once_and_decodes_dev_again(
    data_dir, undisturbed, tmp_path, validation, monkeypatch
):
    monkeypatch.setattr("asrkit.run.CPU_VALIDATION_S", 1.0)  # several batches
    decoded, greedy = [], validate_module.greedy

    def stop_there(*arguments):
        decoded.append(1)
        if len(decoded) == (validation - 1) * DEV + 1:
            ask_to_stop()
        return greedy(*arguments)

    monkeypatch.setattr(validate_module, "greedy", stop_there)
    told = Told()
    where = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu", progress=told)
    run = train(tones_recipe(*RECIPE), **where)
    assert told.stops == 1 and not (run / "train.json").exists()
    assert (validation - 1) * DEV < len(decoded) < validation * DEV
    assert len(dev(run)) == validation - 1
    assert_same(undisturbed, train(tones_recipe(*RECIPE), **where))


def test_asked_to_stop_in_the_last_step_dev_is_decoded_when_it_goes_on(data_dir, undisturbed, tmp_path, monkeypatch):
    steps = json.loads((undisturbed / "recipe.json").read_text(encoding="utf-8"))["schedule"]["steps"]
    before_step(steps - 1, monkeypatch, ask_to_stop)
    told = Told()
    where = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu", progress=told)
    assert len(dev(train(tones_recipe(*RECIPE), **where))) == len(dev(undisturbed)) - 1
    assert told.stops == 1
    assert_same(undisturbed, train(tones_recipe(*RECIPE), **where))


@pytest.mark.parametrize("batch", [0, 5])
def test_asked_to_stop_while_the_data_does_not_come_it_saves_at_once(
    data_dir, undisturbed, tmp_path, batch, monkeypatch
):
    read, asked, comes = batches_module.read_batch, [], threading.Event()

    def silent(*arguments, **named):
        if (tmp_path / "tones" / "run" / "recipe.json").exists():  # what was read before was for trials
            asked.append(1)
            if len(asked) == batch + 1:
                threading.Timer(0.5, ask_to_stop).start()
                assert comes.wait(60)
        return read(*arguments, **named)

    told = Told()
    where = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu", progress=told)
    with monkeypatch.context() as patched:
        patched.setattr(batches_module, "read_batch", silent)
        run = train(tones_recipe(*RECIPE), **where)
    comes.set()
    assert told.stops == 1 and int(last_checkpoint(run).name) == batch
    assert_same(undisturbed, train(tones_recipe(*RECIPE), **where))


def test_asked_to_stop_while_dev_does_not_come_it_saves_at_once(data_dir, undisturbed, tmp_path, monkeypatch):
    read, asked, comes = validate_module.read_batch, [], threading.Event()

    def silent(*arguments, **named):
        if not asked:
            asked.append(1)
            threading.Timer(0.5, ask_to_stop).start()
        assert comes.wait(60)
        return read(*arguments, **named)

    told = Told()
    where = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu", progress=told)
    with monkeypatch.context() as patched:
        patched.setattr("asrkit.daemon_threads.LAST_WORK_S", 0.1)
        patched.setattr(validate_module, "read_batch", silent)
        run = train(tones_recipe(*RECIPE), **where)
    comes.set()
    assert told.stops == 1 and not dev(run)
    assert_same(undisturbed, train(tones_recipe(*RECIPE), **where))


def test_a_process_that_was_asked_to_stop_ends_though_one_of_its_threads_waits_for_dev(data_dir, tmp_path):
    script = f"""
import os, signal, sys, threading, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from tones import tones_recipe
import asrkit.daemon_threads, asrkit.run, asrkit.validate as module
from asrkit.train import train
asrkit.daemon_threads.LAST_WORK_S = 0.1
asrkit.run.choose_replicas = lambda *a: 2
read = module.read_batch
def silent(*arguments, **named):
    if os.path.exists({str(tmp_path / "tones" / "run" / "recipe.json")!r}):  # not while the speed is measured
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        time.sleep(600)
    return read(*arguments, **named)
module.read_batch = silent
train(tones_recipe({", ".join(map(repr, RECIPE))}), data_dir={str(data_dir)!r}, exp_dir={str(tmp_path)!r}, run="run",
      device="cpu")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert last_checkpoint(tmp_path / "tones" / "run") is not None


def test_a_disk_that_is_full_when_dev_is_told_is_one_line_and_it_goes_on(data_dir, undisturbed, tmp_path, monkeypatch):
    def full(self, *arguments, **numbers):
        raise OSError(errno.ENOSPC, "No space left on device", str(self.path))

    where = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu")
    with monkeypatch.context() as patched:
        patched.setattr(Metrics, "write", full)
        with pytest.raises(
            AsrkitError, match=r"no room left to write .*metrics\.jsonl; free some space and start again"
        ):
            train(tones_recipe(*RECIPE), **where)
    assert_same(undisturbed, train(tones_recipe(*RECIPE), **where))


def test_killed_between_dev_and_the_second_save_of_a_step_dev_is_told_once(
    data_dir, undisturbed, tmp_path, monkeypatch
):
    """A save is due in every step, so that the last one of an epoch is saved before dev is decoded, and again then."""
    save = train_module._save

    def killed(run, updater, position):
        if position.validated == position.step:
            raise KeyboardInterrupt
        save(run, updater, position)

    where = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu")
    with monkeypatch.context() as patched:
        patched.setattr(Live, "minutes_since_save", 1e6)
        patched.setattr(train_module, "_save", killed)
        with pytest.raises(KeyboardInterrupt):
            train(tones_recipe(*RECIPE), **where)
    run = tmp_path / "tones" / "run"
    assert len(dev(run)) == 1 and int(last_checkpoint(run).name) == dev(run)[0][0]
    assert_same(undisturbed, train(tones_recipe(*RECIPE), **where))


@pytest.mark.slow
def test_loader_processes_that_wait_for_data_end_with_it(data_dir, undisturbed, tmp_path, monkeypatch):
    read = batches_module.read_batch

    def silent(*arguments, **named):
        if multiprocessing.parent_process() is not None:
            time.sleep(600)
        return read(*arguments, **named)

    @contextmanager
    def listening():
        with stop_signals() as stop:
            threading.Timer(2.0, ask_to_stop).start()
            yield stop

    where = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu")
    with monkeypatch.context() as patched:
        patched.setattr(batches_module, "read_batch", silent)
        patched.setattr(train_module, "stop_signals", listening)
        run = train(tones_recipe(*RECIPE, "train.workers=2"), **where)
    assert int(last_checkpoint(run).name) == 0 and not multiprocessing.active_children()
    assert_same(undisturbed, train(tones_recipe(*RECIPE), **where))


def test_where_dev_cannot_be_read_the_epoch_is_not_lost(data_dir, undisturbed, tmp_path, monkeypatch):
    def unreadable(*arguments, **named):
        raise AsrkitError("dev/shard-000000.tar cannot be read")

    where = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu")
    with monkeypatch.context() as patched:
        patched.setattr(train_module, "validate_run", unreadable)
        with pytest.raises(AsrkitError, match=r"dev/shard-000000\.tar cannot be read"):
            train(tones_recipe(*RECIPE), **where)
    steps = json.loads((undisturbed / "recipe.json").read_text(encoding="utf-8"))["schedule"]["steps_per_epoch"]
    assert int(last_checkpoint(tmp_path / "tones" / "run").name) == steps
    assert_same(undisturbed, train(tones_recipe(*RECIPE), **where))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system does not tell who sent a signal")
def test_a_scheduler_that_signals_every_process_stops_it_as_well(data_dir, undisturbed, tmp_path, monkeypatch):
    def signal_all():
        pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
        assert len(pids) == 3
        subprocess.run(["kill", "-TERM", *map(str, pids)], check=True)  # from another process, as a scheduler does

    before_step(4, monkeypatch, signal_all)
    told = Told()
    where = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu", progress=told)
    recipe = tones_recipe(*RECIPE, "train.workers=2")
    train(recipe, **where)
    assert told.stops == 1
    assert_same(undisturbed, train(recipe, **where))
    assert not multiprocessing.active_children()


def test_no_room_on_the_gpu_is_said_in_one_line_and_it_goes_on(data_dir, undisturbed, tmp_path, monkeypatch):
    def no_room():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee documentation")

    before_step(5, monkeypatch, no_room)
    where = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu")
    with pytest.raises(AsrkitError, match=r"^no room in the GPU's memory \(CUDA .+ 2 GiB\.\); --resume") as found:
        train(tones_recipe(*RECIPE), **where)
    assert "\n" not in str(found.value)
    assert_same(undisturbed, train(tones_recipe(*RECIPE), **where))

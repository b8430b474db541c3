"""The training verb: exact resume, kills, the minutes dial, best and last checkpoints, bad updates, bad input."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from house import at_work_in
from safetensors.torch import load_file
from tones import make_tones, tones_recipe

from asrkit import train as train_module
from asrkit.checkpoint import checkpoint_folder, find_run, last_checkpoint, load_checkpoint
from asrkit.errors import AsrkitError
from asrkit.prepare_noise import prepare_noise
from asrkit.progress import Silent
from asrkit.run import find_or_name_run
from asrkit.train import train
from asrkit.validate import Validation

KILLED_TRAINING = """
import sys
sys.path.insert(0, {tests!r})
from tones import tones_recipe
from asrkit.train import train
from asrkit.validate import Validation
train(tones_recipe({settings}), data_dir={data!r}, exp_dir={exp!r}, run="run", device="cpu", resume=True)
"""


class Told(Silent):
    """Keeps what was said."""

    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)

    warn = say


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_tones(folder)
    return folder


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(last_checkpoint(run) / "model.safetensors")


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def metrics(run: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_training_learns_and_leaves_a_run_that_can_be_used(data_dir, tmp_path):
    told = Told()
    run = train(
        tones_recipe(
            "train.epochs=20", "train.patience=0", "train.batch_seconds=1.5", "train.lr=2e-2", "augment.masks_p=0.3"
        ),
        data_dir=data_dir,
        exp_dir=tmp_path,
        device="cpu",
        progress=told,
    )
    assert run.parent == tmp_path / "tones"
    dev = metrics(run, "dev")
    assert len(dev) == 20
    assert min(line["cer"] for line in dev) < 0.6  # 1.0 untrained; 0, 0, .04, .27 and .58 with five seeds
    assert {"loss", "lr", "grad_norm", "blank_rate", "audio_s_per_s"} <= metrics(run, "train")[0].keys()
    record = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    assert record["data"]["name"] == "tones"
    assert record["model"]["hidden"] == 16
    assert record["train"]["precision"] == "float32"  # what "auto" is on every CPU, kept for a resume elsewhere

    best = [line for line in dev if line["best"]][-1]
    lowest = min(line["wer"] + line["cer"] for line in dev)
    assert best["wer"] + best["cer"] <= lowest + 0.5 / 8**0.5  # the most that noise can be with at least 8 words
    assert checkpoint_folder(run).name == f"{best['step']:08d}"
    kept = {path.name for path in (run / "checkpoints").iterdir()}
    assert len(kept) in (2, 3) and checkpoint_folder(run).name in kept
    checkpoint = load_checkpoint(find_run(None, tmp_path))
    assert checkpoint.step == best["step"]
    log_probs, lengths = checkpoint.log_probs(torch.zeros(1, 16_000), torch.tensor([16_000]))
    assert log_probs.shape == (1, int(lengths[0]), 6)
    assert checkpoint.frame_s == pytest.approx(0.02)
    assert any("best checkpoint" in line for line in told.lines)


def test_the_best_is_the_last_that_noise_cannot_tell_from_the_lowest(data_dir, tmp_path, monkeypatch):
    # 100 words: the standard error at WER 10 % is 3 %, at 16 % 3.7 %.
    found = iter([(0.5, 0.3), (0.10, 0.02), (0.12, 0.02), (0.16, 0.03), (0.13, 0.02), (0.2, 0.1)])
    monkeypatch.setattr(train_module, "validate_run", lambda *_, **__: Validation(*next(found), words=100))
    recipe = tones_recipe("train.epochs=6")
    run = train(recipe, data_dir=data_dir, exp_dir=tmp_path, device="cpu")
    assert [line["best"] for line in metrics(run, "dev")] == [True, True, True, False, True, False]
    assert checkpoint_folder(run).name == f"{metrics(run, 'dev')[4]['step']:08d}"


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_stopped_and_resumed_run_ends_with_the_same_weights_bit_for_bit(data_dir, tmp_path, workers, monkeypatch):
    recipe = tones_recipe("model.dropout=0.2", f"train.workers={workers}")
    whole = train(tones_recipe("model.dropout=0.2"), data_dir=data_dir, exp_dir=tmp_path / "whole", device="cpu")
    stops = iter([4, 9])  # in the middle of the first and of a later epoch
    at = [next(stops)]
    start = train_module.Updater.start

    def stop_there(self, batch, *, lr, step, **settings):
        if lr and step == at[0]:  # not in the trial updates that measure the speed
            os.kill(os.getpid(), signal.SIGTERM)
            at[0] = next(stops, -1)
        return start(self, batch, lr=lr, step=step, **settings)

    monkeypatch.setattr(train_module.Updater, "start", stop_there)
    told = Told()
    for _ in range(3):
        arguments = dict(data_dir=data_dir, exp_dir=tmp_path / "parts", run="run", resume=True, device="cpu")
        run = train(recipe, progress=told, **arguments)
    assert sum("stopped and saved" in line for line in told.lines) == 2
    assert same(final_weights(whole), final_weights(run))
    numbers = [[(line["step"], line["wer"], line["cer"]) for line in metrics(each, "dev")] for each in (whole, run)]
    assert numbers[0] == numbers[1]


@pytest.fixture(scope="module")
def noisy_dir(tmp_path_factory):
    """Tones, noises to hear them among, and a room."""
    folder = tmp_path_factory.mktemp("noisy")
    make_tones(folder)
    random = np.random.default_rng(3)
    for name, sound in (("noise", random.normal(0, 0.1, 20_000)), ("room", 0.9 ** np.arange(2_000))):
        (folder / "sounds" / name).mkdir(parents=True)
        soundfile.write(folder / "sounds" / name / "one.wav", sound, 16_000)
    prepare_noise(noise=[folder / "sounds" / "noise"], rir=[folder / "sounds" / "room"], data_dir=folder)
    return folder


STOP = 7  # the step after which a training is disturbed
NOISY = ("augment.noise=noise", "augment.noise_p=0.7", "augment.reverb_p=0.5", "augment.gain_p=0.5")


@pytest.fixture(scope="module")
def trained_in_noise(noisy_dir, tmp_path_factory):
    recipe = tones_recipe("model.dropout=0.2", *NOISY)
    return train(recipe, data_dir=noisy_dir, exp_dir=tmp_path_factory.mktemp("whole"), device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(1, 2), (2, 4), (4, 0), (4, 1)])
def test_augmented_and_resumed_with_another_number_of_workers_the_weights_are_the_same(
    noisy_dir, trained_in_noise, tmp_path, workers, monkeypatch
):
    start = train_module.Updater.start
    stop_at = [STOP]

    def stop_there(self, batch, *, lr, step, **settings):
        if lr and step in stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
            stop_at.clear()
        return start(self, batch, lr=lr, step=step, **settings)

    monkeypatch.setattr(train_module.Updater, "start", stop_there)
    for number in workers:
        recipe = tones_recipe("model.dropout=0.2", *NOISY, f"train.workers={number}")
        run = train(recipe, data_dir=noisy_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu")
    assert not stop_at
    per_epoch = json.loads((run / "recipe.json").read_text(encoding="utf-8"))["schedule"]["steps_per_epoch"]
    assert per_epoch < STOP + 1 < 2 * per_epoch  # it was in the middle of the second epoch
    assert same(final_weights(trained_in_noise), final_weights(run))


@pytest.mark.slow
def test_a_loader_that_is_killed_ends_in_one_line_and_the_run_goes_on(
    noisy_dir, trained_in_noise, tmp_path, monkeypatch
):
    start = train_module.Updater.start
    kill_at = [STOP]

    def kill_there(self, batch, *, lr, step, **settings):
        if lr and step in kill_at:
            multiprocessing.active_children()[0].kill()
            kill_at.clear()
        return start(self, batch, lr=lr, step=step, **settings)

    monkeypatch.setattr(train_module.Updater, "start", kill_there)
    where = dict(data_dir=noisy_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu")
    with pytest.raises(AsrkitError, match=r"a loader process died, perhaps because memory ran out \(.+\); --resume"):
        train(tones_recipe("model.dropout=0.2", *NOISY, "train.workers=2"), **where)
    run = train(tones_recipe("model.dropout=0.2", *NOISY, "train.workers=1"), **where)
    assert same(final_weights(trained_in_noise), final_weights(run))


@pytest.mark.slow
def test_a_killed_training_started_again_ends_with_the_same_weights(data_dir, tmp_path):
    settings = "'train.epochs=4', 'train.save_minutes=0.01'"
    whole = train(tones_recipe("train.epochs=4"), data_dir=data_dir, exp_dir=tmp_path / "whole", device="cpu")
    script = KILLED_TRAINING.format(
        tests=str(Path(__file__).parent), settings=settings, data=str(data_dir), exp=str(tmp_path / "killed")
    )
    run = tmp_path / "killed" / "tones" / "run"
    random = np.random.default_rng(0)
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", script])
        deadline = time.monotonic() + 60
        while last_checkpoint(run) is None and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(float(random.uniform(0, 0.3)))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (run / "train.json").exists()
    assert same(final_weights(whole), final_weights(run))


def test_the_schedule_has_as_many_steps_as_the_epochs_have_batches(data_dir, tmp_path):
    recipe = tones_recipe("train.epochs=6", "train.validate_epochs=2", "train.patience=0")
    run = train(recipe, data_dir=data_dir, exp_dir=tmp_path, device="cpu")
    assert [line["epoch"] for line in metrics(run, "dev")] == [2, 4, 6]
    last = json.loads((run / "train.json").read_text(encoding="utf-8"))
    assert (last["epoch"], last["batch"]) == (6, 0)


def test_a_run_cannot_leave_the_experiment_folder(data_dir, tmp_path):
    with pytest.raises(AsrkitError, match=r"--run '\.\./out' cannot name a folder"):
        train(tones_recipe(), data_dir=data_dir, exp_dir=tmp_path, run="../out", device="cpu")


def test_a_finished_run_is_not_trained_again(data_dir, tmp_path):
    arguments = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", device="cpu")
    run = train(tones_recipe("train.epochs=1"), **arguments)
    before = (run / "metrics.jsonl").read_bytes()
    assert train(tones_recipe(), resume=True, **arguments) == run
    assert (run / "metrics.jsonl").read_bytes() == before
    with pytest.raises(AsrkitError, match=r"run .*run exists; choose another name, or go on with it: --resume"):
        train(tones_recipe(), **arguments)


def test_two_trainings_never_write_into_one_run(data_dir, tmp_path):
    arguments = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu")
    refused = pytest.raises(
        AsrkitError, match=r"another training \(process \d+ of .+\) is at work in .+run; wait for it"
    )
    with at_work_in(tmp_path / "tones" / "run", "training"), refused:
        train(tones_recipe("train.epochs=1"), **arguments)
    run = train(tones_recipe("train.epochs=1"), **arguments)
    assert (run / "train.json").exists()


def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path):
    where = dict(run=None, exp_dir=tmp_path, resume=False)
    assert len({find_or_name_run(tones_recipe(), **where) for _ in range(3)}) == 3


def test_a_training_that_fails_before_it_begins_leaves_no_run(data_dir, tmp_path):
    for run in (None, "run"):
        with pytest.raises(AsrkitError, match="no does not exist; run: asrkit prepare"):
            train(tones_recipe(), data="no", data_dir=data_dir, exp_dir=tmp_path, run=run, device="cpu")
    assert os.listdir(tmp_path / "tones") == []


def test_resuming_keeps_the_settings_that_numbers_depend_on(data_dir, tmp_path):
    arguments = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", device="cpu")
    train(tones_recipe("train.epochs=1"), **arguments)
    with pytest.raises(AsrkitError, match=r"began with model\.hidden=16; --resume cannot make it 8"):
        train(tones_recipe("model.hidden=8"), resume=True, **arguments)
    train(tones_recipe("train.epochs=1", "train.workers=2"), resume=True, **arguments)


def test_what_the_first_command_left_open_it_may_leave_open_again(data_dir, tmp_path):
    recipe = tones_recipe("train.epochs=1", "train.precision=auto", "train.batch_seconds=0")
    where = dict(data_dir=data_dir, exp_dir=tmp_path, run="run", resume=True, device="cpu")
    run = train(recipe, **where)
    began = json.loads((run / "recipe.json").read_text(encoding="utf-8"))["train"]
    assert began["precision"] == "float32" and began["batch_seconds"] == 20
    assert train(recipe, **where) == run
    with pytest.raises(AsrkitError, match=r"began with train\.precision=float32; --resume cannot make it bfloat16"):
        train(tones_recipe("train.precision=bfloat16"), **where)


def test_tensorboard_gets_the_numbers_too(data_dir, tmp_path):
    run = train(tones_recipe("train.epochs=2"), data_dir=data_dir, exp_dir=tmp_path, device="cpu", tensorboard=True)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("dev/wer")] == pytest.approx(
        [line["wer"] for line in metrics(run, "dev")]
    )


def test_minutes_fix_the_number_of_steps_before_step_0_and_the_schedule_anneals_in_it(data_dir, tmp_path):
    start = time.monotonic()
    run = train(tones_recipe(), data_dir=data_dir, exp_dir=tmp_path, minutes=0.15, device="cpu")
    assert time.monotonic() - start < 60
    record = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    schedule = record["schedule"]
    assert schedule["minutes"] == 0.15
    assert record["train"]["precision"] in ("float32", "bfloat16")  # the faster one here
    summary = json.loads((run / "train.json").read_text(encoding="utf-8"))
    assert summary["step"] == schedule["steps"] or summary["without_gain"] >= 10
    assert metrics(run, "dev")[-1]["step"] == summary["step"]


def test_patience_ends_a_run_that_no_longer_gains(data_dir, tmp_path):
    told = Told()
    recipe = tones_recipe("train.epochs=30", "train.patience=2", "train.lr=1e-8")
    run = train(recipe, data_dir=data_dir, exp_dir=tmp_path, device="cpu", progress=told)
    assert len(metrics(run, "dev")) < 30
    assert any("no better for 2 validations" in line for line in told.lines)


def test_updates_that_are_not_finite_are_named_counted_and_too_many_stop_the_run(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("asrkit.augment.change_speed", lambda sound, speed: sound * np.nan)
    told = Told()
    recipe = tones_recipe("train.max_bad_steps=3", "augment.speeds=0.9")
    with pytest.raises(AsrkitError, match=r"4 updates were not finite, train\.max_bad_steps allows 3; look at train-"):
        train(recipe, data_dir=data_dir, exp_dir=tmp_path, device="cpu", progress=told)
    assert sum("changed nothing: loss nan" in line and "utterances train-" in line for line in told.lines) == 4


# 100 ms from one output frame to the next.
SLOW_FRAMES = [
    "model.conv_channels=4,4",
    "model.conv_mel_kernels=5,5",
    "model.conv_time_kernels=5,5",
    "model.time_stride=4",
    "features.hop_ms=25",
    "features.pad_ms=0",
    "train.epochs=1",
]


def test_utterances_without_frames_for_their_text_are_counted_and_left_out(tmp_path):
    def run(letter_s: float) -> list[str]:
        folder, told = tmp_path / str(letter_s), Told()
        make_tones(folder, tone_s=letter_s)
        train(tones_recipe(*SLOW_FRAMES), data_dir=folder, exp_dir=folder / "exp", device="cpu", progress=told)
        return told.lines

    assert any(
        re.match(r"\d+ of 40 utterances have more labels than the model has frames for and are left out", line)
        for line in run(0.08)
    )
    with pytest.raises(AsrkitError, match=r"none of 40 utterances has enough frames .* wanted model\.time_stride=2"):
        run(0.04)


def test_train_statistics_travel_with_the_checkpoint(data_dir, tmp_path):
    recipe = tones_recipe("train.epochs=1", "features.normalize=train")
    run = train(recipe, data_dir=data_dir, exp_dir=tmp_path, device="cpu")
    mean = load_checkpoint(run).features.mean
    assert float(mean.std()) > 0.1


def test_a_run_in_float16_and_in_portions_goes_on_as_it_began(data_dir, tmp_path, monkeypatch):
    """Also the factor of the loss is in the checkpoint."""
    recipe = tones_recipe("train.precision=float16", "train.accumulate=3", "train.epochs=3")
    whole = train(recipe, data_dir=data_dir, exp_dir=tmp_path / "whole", device="cpu")
    save = train_module._save

    def stop(run, updater, position):
        save(run, updater, position)
        raise KeyboardInterrupt

    where = dict(data_dir=data_dir, exp_dir=tmp_path / "parts", run="run", resume=True, device="cpu")
    with monkeypatch.context() as patched:
        patched.setattr(train_module, "_save", stop)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, **where)
    assert same(final_weights(whole), final_weights(train(recipe, **where)))


def test_a_thread_can_train(data_dir, tmp_path):
    """Only a main thread may listen to signals; a notebook or server trains elsewhere."""
    runs = []
    arguments = dict(data_dir=data_dir, exp_dir=tmp_path, device="cpu")
    thread = threading.Thread(target=lambda: runs.append(train(tones_recipe("train.epochs=1"), **arguments)))
    thread.start()
    thread.join()
    assert (runs[0] / "train.json").exists()


def test_a_batch_that_a_gpu_has_no_room_for_is_one_line(data_dir, tmp_path, monkeypatch):
    def no_room(self, batch, *, lr, step, stop=False, save=False):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(train_module.Updater, "start", no_room)
    wanted = r"a batch of \d+ s does not fit into the memory of cpu; wanted train\.batch_seconds below 4, or a"
    with pytest.raises(AsrkitError, match=wanted):
        train(tones_recipe(), data_dir=data_dir, exp_dir=tmp_path, device="cpu")


def test_missing_or_changed_data_is_one_line(tmp_path):
    with pytest.raises(AsrkitError, match=r"no data in .* is prepared with 'tones'; run: asrkit prepare tones"):
        train(tones_recipe(), data_dir=tmp_path, exp_dir=tmp_path, device="cpu")
    folder = make_tones(tmp_path / "data")
    arguments = dict(data_dir=tmp_path / "data", exp_dir=tmp_path, run="run", device="cpu")
    train(tones_recipe("train.epochs=1"), **arguments)
    index = json.loads((folder / "train" / "index.json").read_text())
    (folder / "train" / "index.json").write_text(json.dumps(index | {"fingerprint": "other"}))
    with pytest.raises(AsrkitError, match=r"changed since .*run began; start a new run without --resume"):
        train(tones_recipe(), resume=True, **arguments)
    (folder / "train" / "index.json").write_text(json.dumps(index | {"tokenizer": "other"}))
    with pytest.raises(AsrkitError, match="is for another tokenizer"):
        train(tones_recipe(), data_dir=tmp_path / "data", exp_dir=tmp_path, device="cpu")


def test_an_unknown_device_is_one_line(data_dir, tmp_path):
    with pytest.raises(AsrkitError, match=r"no device 'gpu' here; usable: auto, cpu"):
        train(tones_recipe(), data_dir=data_dir, exp_dir=tmp_path, device="gpu")

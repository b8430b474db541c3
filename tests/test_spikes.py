"""spikes.py, and what training makes of a spike: named, counted, survived; the same when the run is resumed."""

import json
import math
from dataclasses import replace

import pytest
from house import Told
from tones import make_tones, tones_recipe

from asrkit.checkpoint import last_checkpoint, load_state
from asrkit.spikes import FIRST, Usual
from asrkit.train import train
from asrkit.update import Update, Updater


def update(loss: float, norm: float) -> Update:
    return Update(loss=loss, grad_norm=norm, blank_rate=0.5, audio_s=1.0, bad_rows=())


def test_more_than_ten_times_the_geometric_mean_is_a_spike():
    usual = Usual()
    for _ in range(FIRST // 2):  # mean of 1 and 4: 2
        usual = usual.after(update(1.0, 4.0)).after(update(4.0, 1.0))
    assert usual.spike(update(19.9, 19.9)) is None
    assert usual.spike(update(20.1, 2.0)) == "loss 20.1, 10 times the usual"
    assert usual.spike(update(2.0, 80.0)) == "gradient norm 80, 40 times the usual"


def test_the_first_updates_have_no_usual():
    usual = Usual()
    for _ in range(FIRST - 1):
        usual = usual.after(update(1.0, 1.0))
    assert usual.spike(update(1e6, 1e6)) is None
    assert usual.after(update(1.0, 1.0)).spike(update(1e6, 1.0)) is not None


def test_what_lasts_becomes_usual():
    usual = Usual()
    for _ in range(200):
        usual = usual.after(update(1.0, 1.0))
    spikes = 0
    for _ in range(200):
        spikes += usual.spike(update(100.0, 1.0)) is not None
        usual = usual.after(update(100.0, 1.0))
    # 99 % of ln 100 is left after each; a tenth is not exceeded any more when half of it is: .99^69 = .5
    assert spikes == 69


def test_gradients_that_overflow_while_float16_finds_its_scale_are_no_spikes(tmp_path, monkeypatch):
    make_tones(tmp_path / "data")
    finish, done = Updater.finish, []

    def overflowing(self, started):
        update = finish(self, started)
        done.append(1)
        return replace(update, grad_norm=math.inf) if len(done) in (FIRST + 4, FIRST + 9) else update

    monkeypatch.setattr(Updater, "finish", overflowing)
    told = Told()
    recipe = tones_recipe("train.epochs=10", "train.patience=0")
    run = train(recipe, data_dir=tmp_path / "data", exp_dir=tmp_path, device="cpu", progress=told)
    summary = json.loads((run / "train.json").read_text(encoding="utf-8"))
    assert (summary["spikes"], summary["bad_steps"]) == (0, 0)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    norms = [line["grad_norm"] for line in lines if "grad_norm" in line]
    assert len(norms) > 2 and all(norm is not None and math.isfinite(norm) for norm in norms)
    usual = Usual(*load_state(last_checkpoint(run))["position"]["usual"])
    assert math.isfinite(usual.log_norm) and usual.updates == summary["step"] - 2


@pytest.mark.parametrize("stopped_at", [None, FIRST + 2, FIRST + 4])
def test_a_spike_is_named_counted_and_survived(tmp_path, monkeypatch, stopped_at):
    make_tones(tmp_path / "data")
    finish, start = Updater.finish, Updater.start
    told, stops = Told(), [stopped_at]

    def spiking(self, started):
        update = finish(self, started)
        return replace(update, grad_norm=update.grad_norm * 1000) if started.batch is spiked[0] else update

    spiked = [None]

    def starting(self, batch, *, lr, step, stop=False, save=False):
        if step == FIRST + 3:
            spiked[0] = batch
        if step == stops[0]:
            stops[0], stop = None, True
        return start(self, batch, lr=lr, step=step, stop=stop, save=save)

    monkeypatch.setattr(Updater, "finish", spiking)
    monkeypatch.setattr(Updater, "start", starting)
    recipe = tones_recipe("train.epochs=10", "train.patience=0")
    options = {"data_dir": tmp_path / "data", "exp_dir": tmp_path, "run": "run", "device": "cpu", "progress": told}
    run = train(recipe, **options)
    if stopped_at is not None:
        assert not (run / "train.json").exists()
        run = train(recipe, **options, resume=True)
    summary = json.loads((run / "train.json").read_text(encoding="utf-8"))
    assert summary["step"] > FIRST + 4
    assert (summary["spikes"], summary["bad_steps"]) == (1, 0)
    (named,) = (line for line in told.warned if line.startswith(f"step {FIRST + 3}: gradient norm "))
    assert " times the usual, clipped; highest loss (" in named
    assert "utterance train-" in named
    assert any(line.startswith("1 updates had a loss or gradient far above the usual") for line in told.warned)

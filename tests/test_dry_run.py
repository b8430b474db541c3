"""`train --dry-run`: what a training would take, while nothing is trained."""

import json
import re
from pathlib import Path

import pytest
import torch
from house import Told
from tones import TONE_S, make_tones, tones_recipe

from asrkit.checkpoint import build
from asrkit.dry_run import _limit, _padded_s, dry_run
from asrkit.errors import AsrkitError, SaidElsewhereError
from asrkit.train import train
from asrkit.update import Updater


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_tones(folder)
    return folder


def test_it_tells_what_the_training_then_does(data_dir: Path, tmp_path: Path) -> None:
    told = Told()
    recipe = tones_recipe("train.epochs=2", "train.batch_seconds=3")
    found = dry_run(recipe, data_dir=data_dir, exp_dir=tmp_path / "exp", device="cpu", progress=told)
    assert not (tmp_path / "exp").exists()

    model, _ = build(recipe.to_json(), 6)
    assert found.parameters == sum(weight.numel() for weight in model.parameters())
    assert found.device == "cpu" and found.precision == "float32" and found.loader_workers == 0
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-3)
    assert found.limit in found.shares and found.shares[found.limit] == max(found.shares.values())
    assert found.disk_mb == pytest.approx(found.parameters * 48 / 2**20, abs=0.1)
    assert found.largest_batch_seconds is None or found.largest_batch_seconds > 3
    # an hour trains on so many hours; the rest of the run is validation and checkpoints
    assert found.run_hours * found.hours_per_hour >= found.hours_of_speech * found.epochs * 0.5

    run = train(recipe, data_dir=data_dir, exp_dir=tmp_path, device="cpu")
    schedule = json.loads((run / "recipe.json").read_text(encoding="utf-8"))["schedule"]
    assert found.steps == schedule["steps"] and found.epochs == 2


def test_what_a_step_waits_for() -> None:
    in_turn = {"loader": 1.0, "transfer": 0.0, "compute": 3.0}
    assert _limit(in_turn, 0) == ("compute", 4.0)
    assert _limit({"loader": 8.0, "transfer": 1.0, "compute": 2.0}, 2) == ("loader", 4.0)
    assert _limit({"loader": 8.0, "transfer": 1.0, "compute": 2.0}, 4) == ("compute", 3.0)
    assert _limit({"loader": 1.0, "transfer": 2.0, "compute": 1.0}, 4) == ("transfer", 3.0)


@pytest.mark.parametrize(
    ("had_mb", "mb_a_second", "largest_s"),
    [
        (1250.0, 5.0, 3200.0),  # four fifths of 20 GB: 16,000 / 5
        (1250.0, 100.0, 160.0),
        (1250.0, 0.1, 20_000.0),  # and more
        (1850.0, 8.0, 2000.0),  # the first batch that takes more than 1,850 takes only a little more
        (2000.0, 4.0, 4000.0),
        (1900.0, 6.0, 2666.0),
    ],
)
def test_the_largest_batch_is_what_the_memory_has_room_for(
    data_dir: Path, tmp_path: Path, monkeypatch, had_mb: float, mb_a_second: float, largest_s: float
) -> None:
    """The first batches fit into what the process had before: it only says how much it ever had."""
    high_mb = [had_mb]

    def tried(run, updater, rows) -> float:
        high_mb[0] = max(high_mb[0], 1100 + mb_a_second * _padded_s(run, rows))
        return high_mb[0]

    monkeypatch.setattr("asrkit.dry_run._try", tried)
    monkeypatch.setattr("asrkit.dry_run._free_memory_mb", lambda: 20_000.0)
    recipe = tones_recipe("train.batch_seconds=4")
    found = dry_run(recipe, data_dir=data_dir, exp_dir=tmp_path, device="cpu")
    assert found.largest_batch_seconds == pytest.approx(largest_s, rel=0.1)


def test_it_begins_where_the_training_would(data_dir: Path, tmp_path: Path) -> None:
    recipe = tones_recipe("train.epochs=1")
    places = {"data_dir": data_dir, "exp_dir": tmp_path, "device": "cpu"}
    train(recipe, run="first", **places)
    told = Told()
    dry_run(recipe, init_from="first", progress=told, **places)
    assert any(line.startswith("from tones/first: ") for line in told.said)
    with pytest.raises(AsrkitError, match=r"no run 'frist' in .*; did you mean 'first'"):
        dry_run(recipe, init_from="frist", **places)


@pytest.mark.parametrize(("rank", "error"), [("0", AsrkitError), ("1", SaidElsewhereError)])
def test_several_processes_are_told_once(rank: str, error: type, data_dir: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(error, match="--dry-run is for one process; leave torchrun out"):
        dry_run(tones_recipe(), data_dir=data_dir, exp_dir=tmp_path, device="cpu")


def test_where_a_gpu_has_no_room_the_largest_batch_that_fits_is_told(
    data_dir: Path, tmp_path: Path, monkeypatch
) -> None:
    update = Updater.update

    def small_gpu(self, batch, **settings):
        if len(batch.rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return update(self, batch, **settings)

    monkeypatch.setattr(Updater, "update", small_gpu)
    wanted = r"a batch of \d+ s does not fit .+; the largest batch of such utterances that fits: (\d\.\d) s$"
    with pytest.raises(AsrkitError, match=wanted) as found:
        dry_run(tones_recipe(), data_dir=data_dir, exp_dir=tmp_path, device="cpu")
    most_s = 4 * TONE_S  # eight utterances of three letters and a space are more than six of four letters
    assert float(re.search(wanted, str(found.value))[1]) == pytest.approx(3 * most_s, abs=0.05)

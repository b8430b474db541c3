"""`train --dry-run`: what a training would take, while nothing is trained."""

import json
from pathlib import Path

import pytest
from house import Told
from tones import make_tones, tones_recipe

from asrkit.checkpoint import build
from asrkit.dry_run import _limit, dry_run
from asrkit.train import train


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

"""Training that begins with the weights of another run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from house import Told
from tones import TONES, make_tones, tones_recipe

from asrkit.checkpoint import build, load_checkpoint, save_checkpoint
from asrkit.errors import AsrkitError
from asrkit.tokenizer import CharacterTokenizer
from asrkit.train import train
from asrkit.warm_start import start_from


def checkpoint(folder: Path, letters: str, **model: object) -> Path:
    """Weights drawn at random, for these letters."""
    torch.manual_seed(7)
    recipe = replace(TONES, model=replace(TONES.model, **model)).to_json()
    tokenizer = CharacterTokenizer(letters)
    made, features = build(recipe, len(tokenizer.labels))
    save_checkpoint(folder, model=made, features=features, tokenizer=tokenizer, recipe=recipe, step=3)
    return folder


def new(letters: str, **model: object):
    torch.manual_seed(8)
    tokenizer = CharacterTokenizer(letters)
    recipe = replace(TONES, model=replace(TONES.model, **model)).to_json()
    return build(recipe, len(tokenizer.labels))[0], tokenizer


def test_all_weights_are_taken_and_the_rows_of_shared_labels(tmp_path: Path) -> None:
    old = load_checkpoint(checkpoint(tmp_path / "runs" / "old", " abc")).model.state_dict()
    model, tokenizer = new(" bcd")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = start_from(tmp_path / "runs" / "old", model, tokenizer)
    after = model.state_dict()
    assert all(torch.equal(after[name], old[name]) for name in after if not name.startswith("output."))
    # labels: blank, then " bcd" here and " abc" there
    assert tokenizer.labels[1:] == (" ", "b", "c", "d")
    for here, there in ((0, 0), (1, 1), (2, 3), (3, 4)):
        assert torch.equal(after["output.weight"][here], old["output.weight"][there])
        assert after["output.bias"][here] == old["output.bias"][there]
    assert torch.equal(after["output.weight"][4], before["output.weight"][4])
    assert (found.labels, found.new_labels, found.fresh) == (4, ("d",), ())
    assert str(found) == f"from runs/old: {found.weights} of {found.weights} weights; 4 of 5 labels; new labels: 'd'"


def test_what_has_another_shape_stays_new(tmp_path: Path) -> None:
    old = load_checkpoint(checkpoint(tmp_path / "runs" / "old", " abc")).model.state_dict()
    model, tokenizer = new(" abc", hidden=8)
    found = start_from(tmp_path / "runs" / "old", model, tokenizer)
    after = model.state_dict()
    assert found.weights > 0 and found.fresh and found.labels == 0  # the output layer reads 8 units, not 16
    for name in after:
        taken = name in old and old[name].shape == after[name].shape and not name.startswith("output.")
        assert (name in found.fresh) == (not taken and not name.startswith("output."))
        assert not taken or torch.equal(after[name], old[name])
    assert "new weights: " in str(found) and "0 of 5 labels" in str(found)


def dev_cer(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [line["cer"] for line in lines if line["kind"] == "dev"]


def test_a_run_that_begins_warm_knows_at_once_what_the_other_knew(tmp_path: Path) -> None:
    make_tones(tmp_path / "data")
    places = {"data_dir": tmp_path / "data", "exp_dir": tmp_path / "exp"}
    first = train(tones_recipe("train.epochs=25", "train.lr=0.01"), run="first", **places)
    told = Told()
    slow = tones_recipe("train.epochs=1", "train.lr=1e-7")
    second = train(slow, run="second", init_from="first", progress=told, **places)
    best = [min(dev_cer(run)) for run in (first, second)]
    assert best[1] == pytest.approx(best[0], abs=0.1) and best[0] < 0.5
    assert any("from tones/first: " in line and "6 of 6 labels" in line for line in told.said)
    record = json.loads((second / "recipe.json").read_text())
    assert record["init_from"] == str((first / "best").resolve())


def test_mistakes(tmp_path: Path) -> None:
    make_tones(tmp_path / "data")
    places = {"data_dir": tmp_path / "data", "exp_dir": tmp_path / "exp"}
    with pytest.raises(AsrkitError, match="no run"):
        train(tones_recipe(), init_from="nowhere", **places)
    (checkpoint(tmp_path / "cut", "abcd") / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(AsrkitError, match=r"model\.safetensors cannot be loaded"):
        train(tones_recipe(), init_from=str(tmp_path / "cut"), run="run", **places)
    assert not (tmp_path / "exp" / "tones" / "run" / "recipe.json").exists()  # the same command can be given again
    checkpoint(tmp_path / "runs" / "old", "xyz", conv_channels=(8,), hidden=8, rnn="lstm")
    model, tokenizer = new(" abc")
    (tmp_path / "runs" / "old" / "settings.json").unlink()
    with pytest.raises(AsrkitError, match="no checkpoint in"):
        start_from(tmp_path / "runs" / "old", model, tokenizer)

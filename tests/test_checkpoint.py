"""Checkpoints: what cannot be read or written is one line, and what was good stays so."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tones import make_tones, tones_recipe

from asrkit.checkpoint import (
    checkpoint_folder,
    find_run,
    has_checkpoint,
    last_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from asrkit.errors import AsrkitError
from asrkit.train import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    make_tones(folder)
    return train(tones_recipe("train.epochs=1"), data_dir=folder, exp_dir=folder / "exp", device="cpu")


def test_a_checkpoint_of_another_version_or_a_broken_one_is_one_line(trained, tmp_path):
    for name, change, message in [
        ("version", lambda folder: _set_format(folder, 99), r"has format 99; this version of asrkit reads 2"),
        ("cut", lambda folder: _cut(folder / "model.safetensors"), r"model\.safetensors cannot be loaded"),
        ("garbled", lambda folder: (folder / "settings.json").write_text("{"), r"checkpoint .* cannot be read"),
    ]:
        folder = tmp_path / name
        shutil.copytree(checkpoint_folder(trained), folder)
        change(folder)
        with pytest.raises(AsrkitError, match=message) as caught:
            load_checkpoint(folder)
        assert "\n" not in str(caught.value)
    with pytest.raises(AsrkitError, match="no checkpoint in"):
        load_checkpoint(tmp_path)
    with pytest.raises(AsrkitError, match=r"no run 'rum' in .*did you mean 'run'"):
        find_run("rum", _runs(tmp_path))


def _runs(folder: Path) -> Path:
    (folder / "exp" / "tones" / "run").mkdir(parents=True)
    (folder / "exp" / "tones" / "run" / "recipe.json").write_text("{}")
    return folder / "exp"


def _set_format(folder: Path, number: int) -> None:
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    (folder / "settings.json").write_text(json.dumps(settings | {"format": number}), encoding="utf-8")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def test_a_checkpoint_that_is_saved_again_takes_the_place_of_the_first(trained, tmp_path):
    """A stop right behind a validation saves the same step twice; a kill in between loses neither."""
    first = load_checkpoint(trained)
    parts = {"features": first.features, "tokenizer": first.tokenizer, "recipe": first.recipe, "step": 7}
    folder = tmp_path / "checkpoints" / "00000007"
    save_checkpoint(folder, model=first.model, state={"tried": 1}, **parts)
    (tmp_path / "checkpoints" / ".00000007.old").mkdir()
    with torch.no_grad():
        for weight in first.model.parameters():
            weight.zero_()
    save_checkpoint(folder, model=first.model, **parts)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not any(weight.any() for weight in load_checkpoint(folder).model.parameters())
    folder.rename(folder.with_name(".00000007.old"))  # where a kill between two renames leaves it
    assert has_checkpoint(tmp_path) and last_checkpoint(tmp_path) == folder


def test_a_full_disk_while_saving_keeps_the_last_good_checkpoint(trained, monkeypatch):
    checkpoint = load_checkpoint(trained)
    before = sorted(path.name for path in (trained / "checkpoints").iterdir())

    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asrkit.checkpoint.save_file", full)
    with pytest.raises(
        AsrkitError, match=r"cannot be written \(.*No space left on device.*\); earlier checkpoints are"
    ):
        save_checkpoint(
            trained / "checkpoints" / "00009999",
            model=checkpoint.model,
            features=checkpoint.features,
            tokenizer=checkpoint.tokenizer,
            recipe=checkpoint.recipe,
            step=9999,
        )
    assert sorted(path.name for path in (trained / "checkpoints").iterdir()) == before

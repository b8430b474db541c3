"""What a run begins with, or goes on with: its name, its data."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from tones import make_tones, tones_recipe

from asrkit.errors import AsrkitError
from asrkit.prepare_noise import prepare_noise
from asrkit.run import find_or_name_run
from asrkit.train import train


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/a"])
def test_a_run_is_a_folder_of_its_recipe_s(tmp_path, monkeypatch, name, resume):
    """Not exp/ itself, nor one beside it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        AsrkitError, match=r"^--run '.*' cannot name a folder in \S+/tones; wanted a plain word, or the pa"
    ):
        find_or_name_run(tones_recipe(), run=name, exp_dir=tmp_path / "exp", resume=resume)
    assert list(tmp_path.iterdir()) == []


def test_a_run_may_be_named_by_its_path(tmp_path, monkeypatch):
    run = tmp_path / "exp" / "tones" / "first"
    run.mkdir(parents=True)
    (run / "recipe.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(run)
    for name in (".", str(run), "../first", "first"):
        assert find_or_name_run(tones_recipe(), run=name, exp_dir=tmp_path / "exp", resume=True).resolve() == run


def test_a_run_that_is_resumed_goes_on_with_its_data_where_it_was_moved_to(tmp_path):
    where = dict(exp_dir=tmp_path / "exp", run="run", resume=True, device="cpu")
    recipe = tones_recipe("train.epochs=1", "augment.noise=street")
    first, moved, other = (tmp_path / name for name in ("first", "moved", "other"))
    folder = make_tones(first)
    soundfile.write(tmp_path / "tram.wav", np.random.default_rng(1).normal(0, 0.1, 16_000), 16_000)
    (tmp_path / "tram.jsonl").write_text('{"audio": "tram.wav"}\n', encoding="utf-8")
    prepare_noise(noise=[tmp_path / "tram.jsonl"], data_dir=first, name="street")
    run = train(recipe, data_dir=first, **where)

    def noted() -> list[str]:
        record = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
        return [record["data"]["folder"], record["noise"][0]["folder"]]

    make_tones(other, utterances=20)
    with pytest.raises(
        AsrkitError, match=rf"^data {other}/tones is not {folder}, with which {run} began; start a new run without --re"
    ):
        train(recipe, data_dir=other, **where)
    with pytest.raises(AsrkitError, match=rf"^data {tmp_path}/tones does not exist; run: asrkit prepare"):
        train(recipe, data_dir=tmp_path, **where)
    with pytest.raises(AsrkitError, match=r"run began with --data tones; --resume cannot make it other: leave it out"):
        train(recipe, data="other", data_dir=first, **where)
    assert noted() == [str(folder), str(first / "street")]
    shutil.move(first, moved)
    for given in ({"data_dir": moved}, {}):  # and once it was said, it is known
        assert train(recipe, **given, **where) == run
        assert noted() == [str(moved / "tones"), str(moved / "street")]


@pytest.mark.parametrize("key", ["recipe", "splits"])
def test_data_that_does_not_say_what_it_is_is_one_line(tmp_path, key):
    path = make_tones(tmp_path / "data") / "prepare.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(meta | {key: None}), encoding="utf-8")
    with pytest.raises(AsrkitError, match=r"tones/prepare\.json is damaged; delete it and run asrkit prepare again"):
        train(tones_recipe(), data="tones", data_dir=tmp_path / "data", exp_dir=tmp_path, device="cpu")

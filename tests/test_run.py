"""What a run begins with: its name."""

import pytest
from tones import tones_recipe

from asrkit.errors import AsrkitError
from asrkit.run import find_or_name_run


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

"""Recipes are found by name and path, changed by key=value, and refused in one line."""

import json
from pathlib import Path

import pytest

from asrkit.errors import AsrkitError
from asrkit.recipe import (
    Archive,
    Corpus,
    Recipe,
    default_recipe,
    load_recipe,
    load_sibling,
    recipe_folders,
    section_from_json,
    with_overrides,
)
from asrkit.settings import ModelSettings, SplitsSettings, TrainSettings, architecture
from asrkit.utterance import Utterance

WHOLE = """
from asrkit.recipe import Recipe

from .text import normalize

RECIPE = Recipe(
    name="own",
    language="en",
    description="a test",
    licence="none",
    read_corpus=lambda root, split: [],
    normalize=normalize,
    alphabet=" ab",
)
"""
TEXT = "def normalize(text: str) -> str:\n    return text.lower()\n"


def write_recipe(folder: Path, recipe: str = WHOLE, text: str = TEXT) -> Path:
    folder.mkdir(parents=True)
    (folder / "recipe.py").write_text(recipe, encoding="utf-8")
    (folder / "text.py").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def librispeech() -> Recipe:
    return load_recipe("librispeech")


def test_shipped_recipe_is_found_by_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe("librispeech").name == "librispeech"


def test_recipe_is_found_by_path(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path / "elsewhere")
    loaded = load_recipe(folder)
    assert (loaded.name, loaded.folder) == ("own", folder)
    assert loaded.normalize("AB") == "ab"


def test_recipes_in_the_working_folder_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recipe(tmp_path / "recipes" / "librispeech")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("librispeech").name == "own"
    assert recipe_folders()["librispeech"].resolve() == tmp_path / "recipes" / "librispeech"


def test_the_default_recipe_is_named_by_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_recipe() in recipe_folders()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "DEFAULT").write_text("own\n", encoding="utf-8")
    assert default_recipe() == "own"


def test_two_recipes_of_one_name_keep_their_own_files(tmp_path: Path) -> None:
    one = write_recipe(tmp_path / "one" / "own")
    two = write_recipe(tmp_path / "two" / "own", text="def normalize(text: str) -> str:\n    return text.upper()\n")
    assert load_recipe(one).normalize("Ab") == "ab"
    assert load_recipe(two).normalize("Ab") == "AB"


def test_mistyped_name_suggests_the_nearest() -> None:
    with pytest.raises(
        AsrkitError, match=r"no recipe 'libirspeech'; did you mean 'librispeech'\? \(found: .*; a folder"
    ):
        load_recipe("libirspeech")


def test_folder_without_a_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match="no recipe"):
        load_recipe(tmp_path)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("", "does not define RECIPE"),
        ("RECIPE = 7\n", "does not define RECIPE"),
        ("RECIPE = Recipe(\n", "cannot be loaded: .*never closed"),
        ("from .txet import normalize\n", "cannot be loaded: No module named .*txet"),
        ("RECIPE = Recipe()\n", "cannot be loaded: name 'Recipe' is not defined"),
        ("from asrkit.recipe import Recipe\nRECIPE = Recipe(name='x')\n", "cannot be loaded: .*missing"),
        ("from asrkit import recipe\nRECIPE = recipe.Receipt()\n", "cannot be loaded: .*Receipt"),
        ("RECIPE = float('much')\n", "cannot be loaded: .*much"),
        (WHOLE.replace("licence=", "license="), "cannot be loaded: .*license"),
        (
            WHOLE.replace("from .text", "from asrkit.settings import TrainSettings\nfrom .text").replace(
                'name="own"', 'name="own", train=TrainSettings(lr=-1.0)'
            ),
            r"^train\.lr is -1\.0; wanted 1e-08 to 10$",
        ),
    ],
)
def test_broken_recipe_is_refused_in_one_line(tmp_path: Path, recipe: str, message: str) -> None:
    with pytest.raises(AsrkitError, match=message) as caught:
        load_recipe(write_recipe(tmp_path / "broken", recipe))
    assert "\n" not in str(caught.value)


def test_sibling_files_are_loaded(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path / "own")
    (folder / "demo.py").write_text("from .text import normalize\nVOICES = normalize('EN')\n", encoding="utf-8")
    assert load_sibling(load_recipe(folder), "demo").VOICES == "en"


def test_missing_sibling_is_named(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match=r"recipe 'own' has no demo\.py"):
        load_sibling(load_recipe(write_recipe(tmp_path / "own")), "demo")


def test_overrides(librispeech: Recipe) -> None:
    changed = with_overrides(librispeech, ["train.lr=2e-4", "model.layers=3", "splits.train=a,b", "train.epochs=7"])
    assert (changed.train.lr, changed.train.epochs, changed.model.layers) == (2e-4, 7, 3)
    assert changed.splits.train == ("a", "b")
    assert changed.audio == librispeech.audio
    assert librispeech.train == TrainSettings()


def test_later_override_wins(librispeech: Recipe) -> None:
    assert with_overrides(librispeech, ["train.epochs=1", "train.epochs=2"]).train.epochs == 2


def test_named_architecture_comes_before_its_changes(librispeech: Recipe) -> None:
    changed = with_overrides(librispeech, ["model.layers=4", "model=deepspeech2-small"])
    assert changed.model.name == "deepspeech2-small"
    assert changed.model.layers == 4
    assert changed.model.hidden == architecture("deepspeech2-small").hidden == 256


def test_settings_that_depend_on_each_other_change_together(librispeech: Recipe) -> None:
    changed = with_overrides(librispeech, ["model.lookahead=20", "model.bidirectional=false"])
    assert (changed.model.lookahead, changed.model.bidirectional) == (20, False)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.lrr=1", r"no setting 'train\.lrr'; did you mean 'train\.lr'\? \(see: asrkit recipe librispeech\)"),
        ("trian.lr=1", r"no setting 'trian\.lr'; did you mean 'train\.lr'\?"),
        ("lr=1", "no setting 'lr'"),
        ("name=x", "no setting 'name'"),
        ("model.name=deep", r"no setting 'model\.name'"),
        ("model=deepspeech3", r"no model named 'deepspeech3'; did you mean 'deepspeech2'\?"),
        ("train.lr", r"'train\.lr' is not a setting; wanted section\.key=value"),
        ("train.lr=fast", r"^train\.lr is 'fast'; wanted a number$"),
        ("train.lr=", r"^train\.lr is ''; wanted a number$"),
        ("train.epochs=0", r"^train\.epochs is 0; wanted 1 to 100000$"),
        ("audio.codec=mp3", r"^audio\.codec is 'mp3'; wanted one of flac, opus$"),
    ],
)
def test_wrong_override_is_refused(librispeech: Recipe, assignment: str, message: str) -> None:
    with pytest.raises(AsrkitError, match=message):
        with_overrides(librispeech, [assignment])


def test_resolved_recipe_is_json_and_reads_back(librispeech: Recipe) -> None:
    changed = with_overrides(librispeech, ["train.lr=2e-4", "model=lstm-768"])
    record = json.loads(json.dumps(changed.to_json()))
    assert section_from_json(TrainSettings, record["train"]) == changed.train
    assert section_from_json(ModelSettings, record["model"]) == changed.model
    assert record["alphabet"] == " 'abcdefghijklmnopqrstuvwxyz"


def test_setting_of_another_version_is_refused() -> None:
    with pytest.raises(AsrkitError, match=r"train\.momentum is not a setting of this version of asrkit"):
        section_from_json(TrainSettings, {"lr": 1e-3, "momentum": 0.9})


def test_fingerprint_changes_with_the_text_rules_alone(tmp_path: Path) -> None:
    one = load_recipe(write_recipe(tmp_path / "one"))
    same = load_recipe(write_recipe(tmp_path / "two"))
    settings = with_overrides(one, ["train.lr=2e-4"])
    rules = load_recipe(write_recipe(tmp_path / "three", text=TEXT + "# another rule\n"))
    alphabet = load_recipe(write_recipe(tmp_path / "four", WHOLE.replace('" ab"', '" abc"')))
    assert one.text_fingerprint() == same.text_fingerprint() == settings.text_fingerprint()
    assert len({one.text_fingerprint(), rules.text_fingerprint(), alphabet.text_fingerprint()}) == 3


def test_a_model_that_streams_takes_the_features_that_can() -> None:
    recipe = with_overrides(load_recipe("librispeech"), ["model=deepspeech2-streaming"])
    assert recipe.features.normalize == "train"
    own = with_overrides(load_recipe("librispeech"), ["model=deepspeech2-streaming", "features.normalize=utterance"])
    assert own.features.normalize == "utterance"


def test_another_corpus_of_the_recipe_is_chosen_by_name() -> None:
    def read(root: Path, split: str) -> list[Utterance]:
        return []

    def read_calls(root: Path, split: str) -> list[Utterance]:
        return []

    calls = Corpus(
        name="calls",
        description="",
        licence="ours",
        read_corpus=read_calls,
        splits=SplitsSettings(train=("a", "b"), dev=(), test=("c",)),
    )
    own = Recipe(
        name="own",
        language="und",
        description="",
        licence="CC0",
        read_corpus=read,
        normalize=str.lower,
        alphabet=" ab",
        archives=(Archive(url="http://localhost/a.tar", md5="0" * 32, size=1, splits=("train",)),),
        more_corpora=(calls,),
    )
    chosen = with_overrides(own, ["corpus=calls", "splits.test=b"])
    assert (chosen.corpus, chosen.licence, chosen.archives) == ("calls", "ours", ())
    assert chosen.read_corpus is read_calls
    assert (chosen.splits.train, chosen.splits.test) == (("a", "b"), ("b",))
    assert chosen.to_json()["corpus"] == "calls" and own.to_json()["corpus"] is None
    with pytest.raises(AsrkitError, match=r"^recipe 'own' has no corpus 'call'; did you mean 'calls'\? \(calls\)$"):
        with_overrides(own, ["corpus=call"])

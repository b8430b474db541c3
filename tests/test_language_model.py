"""Declared language models: the files of lm/ are declarative, found by name as recipes are, and refused in one line."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from asrkit.errors import AsrkitError
from asrkit.language_model import (
    LanguageModel,
    ReadyMade,
    TextDownload,
    TrainTranscripts,
    declaration_path,
    load_language_model,
)
from asrkit.recipe import Recipe, load_recipe

HOME = Path(__file__).resolve().parent.parent
NAMES = sorted(path.stem for path in (HOME / "lm").glob("*.py"))
OWN = """
from asrkit.language_model import LanguageModel, TrainTranscripts

LM = LanguageModel(text=(TrainTranscripts(),), order=3)
"""


def librispeech() -> Recipe:
    return load_recipe(HOME / "recipes" / "librispeech")


def declare(path: Path, order: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OWN.replace("order=3", f"order={order}"), encoding="utf-8")
    return path


def order_of(recipe: Recipe) -> int:
    model = load_language_model(recipe)
    assert model is not None
    return model.order


def test_every_recipe_has_one_and_every_one_has_its_recipe() -> None:
    assert sorted(path.parent.name for path in (HOME / "recipes").glob("*/recipe.py")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_is_imports_and_one_assignment(name: str) -> None:
    tree = ast.parse((HOME / "lm" / f"{name}.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    imports = [node for node in tree.body[1:] if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node).partition(" import ")[0] for node in imports] == ["from asrkit.language_model"]
    assignments = [node for node in tree.body[1:] if node not in imports]
    assert [type(node) for node in assignments] == [ast.Assign]
    assert ast.unparse(assignments[0]).startswith("LM = LanguageModel(")
    names = {imported.name for node in imports if isinstance(node, ast.ImportFrom) for imported in node.names}
    called = {ast.unparse(node.func) for node in ast.walk(assignments[0]) if isinstance(node, ast.Call)}
    assert called == names
    control = ast.Lambda | ast.IfExp | ast.comprehension | ast.NamedExpr
    assert not [node for node in ast.walk(assignments[0]) if isinstance(node, control)]


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_is_fetched_and_under_which_licence(name: str) -> None:
    model = load_language_model(load_recipe(HOME / "recipes" / name))
    assert model is not None and 1 <= model.order <= 6 and len(model.prune) <= model.order
    texts = [text for text in model.text if isinstance(text, TextDownload)]
    for fetched in (*texts, *model.ready):
        assert re.fullmatch(r"https?://\S+/[\w.-]+\.gz", fetched.url) and fetched.licence
    for ready in model.ready:
        assert ready.url.endswith(f"/{ready.name}.arpa.gz") and ready.size > 0


def test_the_nearest_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = librispeech()
    assert declaration_path(recipe) == HOME / "lm" / "librispeech.py"
    near = declare(tmp_path / "lm" / "librispeech.py", order=2)
    path = declaration_path(recipe)
    assert path is not None and path.resolve() == near and order_of(recipe) == 2
    (tmp_path / "own").mkdir()
    own = replace(recipe, folder=tmp_path / "own")
    declare(tmp_path / "own" / "lm.py", order=5)  # travels with the recipe
    assert order_of(own) == 5
    assert load_language_model(replace(own, name="other", folder=None)) is None


def test_beside_a_recipe_it_may_import_its_siblings(tmp_path: Path) -> None:
    declare(tmp_path / "lm.py").write_text(OWN.replace("order=3", "order=ORDER") + "\n", encoding="utf-8")
    text = (tmp_path / "lm.py").read_text(encoding="utf-8")
    (tmp_path / "lm.py").write_text("from .longest import ORDER\n" + text, encoding="utf-8")
    (tmp_path / "longest.py").write_text("ORDER = 5\n", encoding="utf-8")
    assert order_of(replace(librispeech(), folder=tmp_path)) == 5


def test_a_language_model_is_no_text_rule(tmp_path: Path) -> None:
    (tmp_path / "text.py").write_text("", encoding="utf-8")
    recipe = replace(librispeech(), folder=tmp_path)
    before = recipe.text_fingerprint()
    declare(tmp_path / "lm.py")
    assert recipe.text_fingerprint() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"own\.py does not define LM = LanguageModel"),
        ("LM = 7\n", r"own\.py does not define LM = LanguageModel"),
        ("LM = LanguageModel(\n", r"own\.py cannot be loaded: .*never closed"),
        ("from asrkit.nowhere import LanguageModel\n", r"own\.py cannot be loaded: No module named"),
        (OWN.replace("order=", "odrer="), r"own\.py cannot be loaded: .*odrer"),
        (OWN.replace("(TrainTranscripts(),)", "()"), r"own\.py: LM\.text is empty; wanted where the text is"),
        (
            OWN.replace("(TrainTranscripts(),)", "TrainTranscripts()"),
            r"own\.py: LM\.text is .*; wanted a tuple of Text",
        ),
        (OWN.replace("order=3", "order=3, unit='letter'"), r"own\.py: LM\.unit is 'letter'; wanted word or token"),
        (
            OWN.replace("order=3", "order=3, ready=('a',)"),
            r"own\.py: LM\.ready is \('a',\); wanted a tuple of ReadyMade",
        ),
    ],
)
def test_a_broken_one_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lm").mkdir()
    (tmp_path / "lm" / "own.py").write_text(content, encoding="utf-8")
    with pytest.raises(AsrkitError, match=message) as caught:
        load_language_model(replace(librispeech(), name="own"))
    assert "\n" not in str(caught.value)


def test_two_models_of_one_name_are_refused() -> None:
    ready = ReadyMade(name="3-gram", url="http://localhost/a.arpa.gz", size=1, licence="none")
    with pytest.raises(AsrkitError, match=r"LM\.ready has two models of the same name \(3-gram, 3-gram\)"):
        LanguageModel(text=(TrainTranscripts(),), order=3, ready=(ready, ready))

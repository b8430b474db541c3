"""Every recipe folder: it loads, its recipe.py is declarative, and its text rules do what its cases.tsv says."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.recipe import Recipe, load_recipe

HOME = Path(__file__).resolve().parent.parent / "recipes"
NAMES = sorted(path.parent.name for path in HOME.glob("*/recipe.py"))


def recipe(name: str) -> Recipe:
    return load_recipe(HOME / name)


def cases(name: str) -> list[tuple[str, str]]:
    """(raw, normalised); \\u00ad stands for a character that cannot be seen."""
    lines = (HOME / name / "cases.tsv").read_text(encoding="utf-8").splitlines()
    rows = [re.sub(r"\\u([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), line).split("\t") for line in lines]
    return [(raw, normalised) for raw, normalised in rows]


CASES = [(name, raw, normalised) for name in NAMES for raw, normalised in cases(name)]


def test_there_are_recipes() -> None:
    assert "librispeech" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_recipe_file_is_imports_and_one_assignment(name: str) -> None:
    tree = ast.parse((HOME / name / "recipe.py").read_text(encoding="utf-8"))
    body = tree.body[1:] if ast.get_docstring(tree) else tree.body
    assignments = [node for node in body if not isinstance(node, ast.Import | ast.ImportFrom)]
    assert [type(node) for node in assignments] == [ast.Assign]
    assert ast.unparse(assignments[0]).startswith("RECIPE = Recipe(")
    control = ast.Lambda | ast.IfExp | ast.comprehension | ast.NamedExpr
    assert not [node for node in ast.walk(assignments[0]) if isinstance(node, control)]


@pytest.mark.parametrize("name", NAMES)
def test_recipe_says_what_it_is(name: str) -> None:
    loaded = recipe(name)
    assert loaded.name == name
    assert loaded.folder == HOME / name
    assert loaded.language and loaded.description and loaded.licence
    assert (HOME / name / "README.md").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_alphabet_holds_each_character_once(name: str) -> None:
    alphabet = recipe(name).alphabet
    assert " " in alphabet
    assert len(set(alphabet)) == len(alphabet)


@pytest.mark.parametrize("name", NAMES)
def test_archives_have_addresses_checksums_and_sizes(name: str) -> None:
    loaded = recipe(name)
    for archive in loaded.archives:
        assert re.fullmatch(r"https?://\S+/\S+\.(tar|tar\.gz|tgz|tar\.bz2|tar\.xz)", archive.url)
        assert re.fullmatch(r"[0-9a-f]{32}", archive.md5)
        assert archive.size > 0
    held = {split for archive in loaded.archives for split in archive.splits}
    assert not held or set(loaded.splits.train + loaded.splits.dev + loaded.splits.test) <= held


@pytest.mark.parametrize("name", NAMES)
def test_there_are_enough_cases(name: str) -> None:
    assert len(set(cases(name))) >= 60


@pytest.mark.parametrize(("name", "raw", "normalised"), CASES)
def test_case(name: str, raw: str, normalised: str) -> None:
    assert recipe(name).normalize(raw) == normalised


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text() | st.text("aäéÄßçИйЇґ가ﬁ'’‘`´\"“” .,;:!?-—_&@%09\t\n\u0301\u0308\u00ad\u200b"))
@settings(deadline=None)
def test_normalising_twice_changes_nothing(name: str, text: str) -> None:
    normalize = recipe(name).normalize
    once = normalize(text)
    assert normalize(once) == once
    assert once == " ".join(once.split())


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(deadline=None)
def test_what_can_be_spelled_stays_within_the_alphabet(name: str, data: st.DataObject) -> None:
    loaded = recipe(name)
    # no full stops: a recipe may keep that of an abbreviation, which shows that it cannot be spelled
    letters = sorted(set(loaded.alphabet) | set(loaded.alphabet.upper()) | set(',;:!?()"-—…\t\n'))
    text = data.draw(st.text(letters))
    assert set(loaded.normalize(text)) <= set(loaded.alphabet)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(deadline=None)
def test_words_of_the_alphabet_are_left_alone(name: str, data: st.DataObject) -> None:
    loaded = recipe(name)
    letters = sorted(char for char in set(loaded.alphabet) if char.isalpha())
    text = " ".join(data.draw(st.lists(st.text(letters, min_size=1))))
    assert loaded.normalize(text) == text


def test_librispeech_transcripts_become_lower_case_and_nothing_else(shared: Path) -> None:
    normalize = recipe("librispeech").normalize
    lines = (shared / "speech/text/en_librispeech_dev_clean.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2703
    for line in lines:
        assert normalize(line) == line.lower()


@pytest.mark.parametrize("name", ["en_ljspeech", "en_vctk_prompts"])
def test_english_prose_comes_within_the_alphabet(shared: Path, name: str) -> None:
    loaded = recipe("librispeech")
    lines = (shared / f"speech/text/{name}.txt").read_text(encoding="utf-8").splitlines()
    texts = [loaded.normalize(line) for line in lines]
    assert all(texts)
    assert set("".join(texts)) == set(loaded.alphabet)

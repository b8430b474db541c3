"""tuned.json: what was found for which n-grams."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_search import ARPA

from asrkit.errors import AsrkitError
from asrkit.pack_lm import pack_lm
from asrkit.tuned import keep_tuned, tuned_options


@pytest.fixture
def lms(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name in ("words", "letters"):
        found[name] = tmp_path / "lm" / f"{name}.arpa"
        found[name].parent.mkdir(exist_ok=True)
        found[name].write_text(ARPA + "\n" * len(name), encoding="utf-8")
    return found


def kept(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "tuned.json").read_text(encoding="utf-8"))
    return found


def test_nothing_was_tuned(tmp_path: Path, lms: dict[str, Path]) -> None:
    assert tuned_options(tmp_path, lms["words"], None) == {}
    assert tuned_options(tmp_path, None, None) == {}


def test_kept_for_the_n_gram_it_was_found_with(tmp_path: Path, lms: dict[str, Path]) -> None:
    options = {"alpha": 0.7, "beta": 1.5, "beam": 50}
    path = keep_tuned(tmp_path, (lms["words"], None), {"options": options, "rate": 0.25, "splits": ["dev"]})
    assert path == tmp_path / "tuned.json"
    assert tuned_options(tmp_path, lms["words"], None) == options
    assert tuned_options(tmp_path, lms["letters"], None) == {}
    assert tuned_options(tmp_path, lms["words"], lms["letters"]) == {}  # tuned together they have other weights
    assert tuned_options(tmp_path, None, None) == {}
    assert kept(tmp_path) == {
        "schema": 1,
        "tuned": [
            {
                "lms": [{"name": "words.arpa", "bytes": lms["words"].stat().st_size}],
                "options": options,
                "rate": 0.25,
                "splits": ["dev"],
            }
        ],
    }


def test_several_n_grams_each_replaced_alone(tmp_path: Path, lms: dict[str, Path]) -> None:
    words, letters = lms["words"], lms["letters"]
    for number, pair in enumerate([(words, None), (words, letters), (None, letters), (words, None)], start=1):
        keep_tuned(tmp_path, pair, {"options": {"alpha": number / 10}})
    assert len(kept(tmp_path)["tuned"]) == 3
    assert tuned_options(tmp_path, words, None) == {"alpha": 0.4}
    assert tuned_options(tmp_path, words, letters) == {"alpha": 0.2}
    assert tuned_options(tmp_path, None, letters) == {"alpha": 0.3}
    # an n-gram of labels may be given either way
    assert tuned_options(tmp_path, letters, None) == {"alpha": 0.3}
    assert not list(tmp_path.glob(".*"))


def test_an_n_gram_is_known_by_name_and_size_wherever_it_lies(tmp_path: Path, lms: dict[str, Path]) -> None:
    keep_tuned(tmp_path, (lms["words"], None), {"options": {"alpha": 0.7}})
    moved = tmp_path / "elsewhere" / "words.arpa"
    moved.parent.mkdir()
    shutil.copy(lms["words"], moved)
    assert tuned_options(tmp_path, str(moved), None) == {"alpha": 0.7}
    moved.write_text(ARPA, encoding="utf-8")  # another one of that name
    assert tuned_options(tmp_path, moved, None) == {}


def test_a_packed_one_shares_its_arpas_entry(tmp_path: Path, lms: dict[str, Path]) -> None:
    pack_lm(lms["words"], tmp_path / "words.lm")
    keep_tuned(tmp_path, (lms["words"], None), {"options": {"alpha": 0.7}})
    assert tuned_options(tmp_path, tmp_path / "words.lm", None) == {"alpha": 0.7}
    keep_tuned(tmp_path, (tmp_path / "words.lm", None), {"options": {"alpha": 0.9}})
    assert tuned_options(tmp_path, lms["words"], None) == {"alpha": 0.9}
    assert len(kept(tmp_path)["tuned"]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"schema": 1}',
        '{"schema": 1, "tuned": 3}',
        '{"schema": 1, "tuned": [3]}',
        '{"schema": 1, "tuned": [{"lms": [{"name": "a", "bytes": 1}]}]}',
        '{"schema": 1, "tuned": [{"options": {"alpha": 1}}]}',
        '{"schema": 1, "tuned": [{"options": [1], "lms": [{"name": "a", "bytes": 1}]}]}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, lms: dict[str, Path], text: str | bytes) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "tuned.json").write_bytes(content)
    for use in (
        lambda: tuned_options(tmp_path, lms["words"], None),
        lambda: keep_tuned(tmp_path, (lms["words"], None), {"options": {}}),
    ):
        with pytest.raises(AsrkitError, match=r"tuned\.json is damaged \(.*\); delete it, and tune again$") as refused:
            use()
        assert "\n" not in str(refused.value)
    assert (tmp_path / "tuned.json").read_bytes() == content


def test_n_grams_that_are_not_there(tmp_path: Path, lms: dict[str, Path]) -> None:
    keep_tuned(tmp_path, (lms["words"], None), {"options": {"alpha": 0.7}})
    with pytest.raises(AsrkitError, match=r"none\.arpa cannot be read: No such file"):
        tuned_options(tmp_path, tmp_path / "none.arpa", None)
    with pytest.raises(AsrkitError, match=r"lm is no packed n-gram, or a damaged one"):
        tuned_options(tmp_path, tmp_path / "lm", None)

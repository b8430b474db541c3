"""docs/formats.md shows what the code writes and reads."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from asrkit.checkpoint import FORMAT
from asrkit.corpus import read_manifest
from asrkit.decoder import Decoder
from asrkit.indexing import SplitCounts
from asrkit.ngram import read_words
from asrkit.recogniser import Transcript
from asrkit.report import Conditions, Result, report
from asrkit.shards import INDEX_DTYPE
from asrkit.tokenizer import CharacterTokenizer
from asrkit.word_times import WordTime

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """From a heading to the next one."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def example(title: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(blocks(section(title), "json")[0])
    return value


def table_names(text: str) -> list[str]:
    """The names in the first column of a table, in their order."""
    rows = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_every_example_is_json() -> None:
    for block in blocks(PAGE, "json"):
        json.loads(block)
    lines = [line for block in blocks(PAGE, "jsonl") for line in block.splitlines()]
    assert len(lines) > 5
    for line in lines:
        json.loads(line)


def test_report_json() -> None:
    shown = example("report.json")
    result = Result(key="a", reference="one two", hypothesis="one too", duration_s=1.0)
    conditions = Conditions(
        run="r", checkpoint_step=1, data="d", data_fingerprint="f", split="test",
        search=Decoder(lambda _: [], "greedy", None).conditions(),
        utterances_in_corpus=1, excluded={}, acoustic_s=None, decode_s=1.0, decode_cpu_s=1.0,
    )  # fmt: skip
    assert list(shown) == list(report(conditions, [result]))
    explained = set(table_names(section("report.json")))
    assert set(shown) <= explained
    assert shown["wer"] == (shown["ins"] + shown["del"] + shown["sub"]) / shown["words"]
    assert shown["cer"] == sum(shown["char"].values()) / shown["chars"]
    assert shown["rtfx"] == round(shown["audio_s"] / shown["decode_s"], 1)
    assert shown["utterances_in_corpus"] == shown["utterances"] + sum(shown["excluded"].values())


def test_index_npy() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \|", section("Index: index.jsonl, index.npy, tokens.npy, index.json"), re.M
    )
    assert rows == [(name, INDEX_DTYPE[name].str[1:]) for name in INDEX_DTYPE.names or ()]


def test_prepare_json() -> None:
    shown = example("prepare.json")["counts"]["train"]
    assert list(shown) == list(SplitCounts(role="train").to_json())
    assert list(shown["left_out"]) == list(SplitCounts(role="train").to_json()["left_out"])
    assert shown["in_corpus"] == shown["utterances"] + sum(shown["left_out"].values())


def test_tokenizer_json(tmp_path: Path) -> None:
    CharacterTokenizer(" 'abc").save(tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    shown = example("tokenizer.json")
    assert list(shown) == list(saved)
    assert shown["labels"] == saved["labels"]


def test_settings_json() -> None:
    assert f'{{"format": {FORMAT}, "step": 12000, "recipe": {{...}}}}' in section("checkpoints/00012000/")


def test_transcripts() -> None:
    shown = example("Transcripts")
    assert list(shown) == ["file", "channel", *Transcript.of([]).to_json()]
    assert list(shown["words"][0]) == [item.name for item in fields(WordTime)]
    assert shown["words"] == [word for part in shown["segments"] for word in part["words"]]


@pytest.mark.parametrize(("kind", "count"), [("jsonl", 2), ("csv", 2)])
def test_manifests(kind: str, count: int, tmp_path: Path) -> None:
    (block,) = blocks(section("Manifests"), kind)
    (tmp_path / f"m.{kind}").write_text(block, encoding="utf-8")
    utterances = list(read_manifest(tmp_path / f"m.{kind}"))
    assert len(utterances) == count
    assert utterances[0].audio == tmp_path / "clips" / "0001.mp3"
    assert utterances[0].speaker == "anna"


def test_n_grams(tmp_path: Path) -> None:
    (block,) = blocks(section("n-grams"), "")
    (tmp_path / "a.arpa").write_text(block, encoding="utf-8")
    assert read_words(tmp_path / "a.arpa") == ["good", "morning"]

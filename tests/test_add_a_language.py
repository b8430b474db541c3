"""docs/add-a-language.md is walked from its first block to its last, in Welsh that espeak-ng speaks."""

import csv
import re
import shlex
import sys
from pathlib import Path

import pytest
import soundfile
from test_readme import TINY

from asrkit import cli
from asrkit.cases import read_cases
from asrkit.doubts import KINDS
from asrkit.recipe import load_recipe
from asrkit.speak import SPOKEN_RATE_HZ, Voice, speak

PAGE = (Path(__file__).parents[1] / "docs" / "add-a-language.md").read_text(encoding="utf-8")
SPEAKERS = {"anna": "cy+f2", "bryn": "cy+m1", "carys": "cy+f4", "dylan": "cy+m3"}
LINES = [
    "Mae'r tŷ'n fawr iawn.",
    "Sut mae’r tywydd heddiw?",
    "Dw i’n hoffi coffi du.",
    "‘Bore da,’ meddai hi wrth y dŵr.",
    "Mae 5 afal ar y bwrdd.",
    "MAE'R GATH YN CYSGU",
    "Aeth y bachgen i'r ysgol.",
    "Mae hi'n bwrw glaw eto.",
    "Rydyn ni’n byw yng Nghymru.",
    "Fjørd yw enw’r llong.",
]
# What makes a command small; each must be in the page, and none be missing here.
SMALL: dict[str, tuple[str, str]] = {
    "asrkit new-language welsh --manifest my/clips.csv --language cy": ("", ""),
    "asrkit recipe welsh --cases": ("", ""),
    "asrkit prepare welsh": ("", ""),
    "asrkit prepare welsh --text-only": ("", ""),
    "asrkit tokenizers welsh": ("", ""),
    "asrkit prepare welsh --name welsh-unigram tokenizer.kind=unigram tokenizer.size=250": ("size=250", "size=45"),
    "asrkit train welsh --minutes 20": ("--minutes 20", " ".join(["--minutes 0.05", *TINY])),
    "asrkit decode": ("", ""),
    "asrkit transcribe my/new.wav": ("", ""),
    "asrkit lm build my/text.txt --recipe welsh --order 3 -o my/welsh.arpa": ("--order", "--discount-fallback --order"),
    "asrkit tune --lm my/welsh.arpa": ("", ""),
    "asrkit decode --lm my/welsh.arpa": ("", ""),
}


def blocks() -> list[tuple[str, str]]:
    """(language, content) of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)


def test_every_command_is_known() -> None:
    commands = [line for language, content in blocks() if language == "sh" for line in content.splitlines()]
    assert commands == list(SMALL)


def test_every_kind_of_doubt_is_explained() -> None:
    explained = re.findall(r"^\| ([\w ]+) \|", PAGE, re.M)
    assert [kind for kind in explained if kind != "what"] == list(KINDS)


def record(home: Path) -> None:
    """my/<speaker>/0001.wav and .txt, as a folder of recordings is."""
    for speaker, voice in SPEAKERS.items():
        (home / speaker).mkdir(parents=True)
        for number, line in enumerate(LINES):
            soundfile.write(home / speaker / f"{number:04}.wav", speak(line, Voice(voice)), SPOKEN_RATE_HZ)
            (home / speaker / f"{number:04}.txt").write_bytes(b"\xef\xbb\xbf" + line.encode() + b"\r\n")
    soundfile.write(home / "new.wav", speak(LINES[0], Voice("cy+m7")), SPOKEN_RATE_HZ)
    (home / "text.txt").write_text("\n".join(LINES), encoding="utf-8")


def follow_the_advice(recipe: Path) -> None:
    """The rule that the page shows, with its row in cases.tsv."""
    (rule,) = re.findall(r"^    (text = text\.replace.*)$", PAGE, re.M)
    text = (recipe / "text.py").read_text(encoding="utf-8")
    assert text.count("    text = nfc(text)") == 1
    (recipe / "text.py").write_text(
        text.replace("    text = nfc(text)", f"    text = nfc(text)\n    {rule}"), encoding="utf-8"
    )
    rows = (recipe / "cases.tsv").read_text(encoding="utf-8").replace("fjørd yw", "fjord yw")
    (recipe / "cases.tsv").write_text(rows + "Tromsø\ttromso\n", encoding="utf-8")


@pytest.mark.slow
def test_the_page_leads_from_recordings_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "my")
    said: dict[str, str] = {}
    for language, content in blocks():
        if language == "python":
            exec(compile(content, "add-a-language.md", "exec"), {})  # noqa: S102 our own words
            continue
        for command in content.splitlines():
            if command.endswith("--cases"):
                follow_the_advice(Path("recipes/welsh"))
            monkeypatch.setattr(sys, "argv", shlex.split(command.replace(*SMALL[command])))
            code = cli._run(cli.app)
            said[command], err = capsys.readouterr()
            assert code == 0, f"{command}: {err}"
    new, cases, prepare, _, tokenizers, *_, first, second = said.values()
    with open("my/clips.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["test"] * 10 + ["train"] * 30
    assert rows[0] == {"audio": "anna/0000.wav", "text": LINES[0], "speaker": "anna", "split": "test"}
    assert re.search(r"5 +U\+0035 DIGIT FIVE +digit +4 +3 +outside", new)
    assert "asrkit prepare welsh" in new and "all 11 rows of" in cases
    assert re.search(r"^train +2[5-8] .* [123]$", prepare, re.M), "without those with a digit"
    assert "recommended: tokenizer.kind=characters" in tokenizers
    assert "WER" in first and "WER" in second
    recipe = load_recipe("welsh")
    assert recipe.language == "cy" and recipe.model.name == "deepspeech2-small"
    assert ("Tromsø", "tromso") in read_cases(recipe.folder / "cases.tsv")
    assert list(tmp_path.glob("exp/welsh/*/decode/test-greedy/report.html"))

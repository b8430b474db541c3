"""`asrkit lm`: text to ARPA, perplexity as KenLM's query has it, packs; words of every kind, files that are none."""

import gzip
import io
import json
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kenlm
import pytest
import soundfile
from local_server import LocalServer, serving
from small_librispeech import tone

from asrkit import normalising
from asrkit.arpa import read_arpa
from asrkit.automaton import build_automaton
from asrkit.build_lm import build_lm
from asrkit.errors import AsrkitError
from asrkit.pack_lm import pack_lm
from asrkit.prepare import prepare
from asrkit.progress import Silent
from asrkit.recipe import load_recipe
from asrkit.score_lm import score_lm
from asrkit.text_files import read_blocks, read_lines

LIBRISPEECH = load_recipe(Path(__file__).parent.parent / "recipes" / "librispeech")
TEXT = "the old man sat\nthe old woman sat down\n\nthe man ran\na man ran down the hill\nthe hill was old\n" * 3
VERBS = {"fetch": "fetch_lm", "build": "build_lm", "score": "score_lm", "pack": "pack_lm"}
Asrkit = Callable[..., tuple[int, str, str]]


class Listener(Silent):
    """Notes what the user is warned of."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        self.warned.append(message)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def words_of(arpa: Path) -> list[str]:
    """The 1-grams."""
    lines = arpa.read_text(encoding="utf-8").partition("\\1-grams:\n")[2].partition("\n\n")[0].split("\n")
    return [line.split("\t")[1] for line in lines]


# build -------------------------------------------------------------------------------------------------------------


def test_a_model_from_the_command_line(text: Path, asrkit: Asrkit) -> None:
    out = text.with_name("3gram.arpa")
    code, said, error = asrkit("lm", "build", str(text), "-o", str(out), "--order", "3", "--discount-fallback")
    assert (code, error) == (0, "")
    # the marks and: a, down, hill, man, old, ran, sat, the, was, woman
    assert re.search(r"3gram\.arpa: 13 1-grams, 2\d 2-grams, 2\d 3-grams", said)
    assert words_of(out)[:5] == ["<unk>", "<s>", "</s>", "a", "down"]
    model = kenlm.Model(str(out))
    assert model.score("the old man sat") > model.score("sat man old the")


def test_the_order_is_four_where_none_is_given(text: Path) -> None:
    build_lm([text], text.with_name("lm.arpa"), discount_fallback=True)
    assert kenlm.Model(str(text.with_name("lm.arpa"))).order == 4


def test_several_files_gzip_and_standard_input_are_one_text(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = TEXT.splitlines(keepends=True)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("".join(lines[5:11]).encode()))
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "".join(lines[:5]).replace("\n", "\r\n").encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO("".join(lines[11:]).encode())))
    build_lm([text], tmp_path / "one.arpa", order=3, discount_fallback=True)
    parts = [tmp_path / "a.txt", tmp_path / "b.txt.gz", "-"]
    build_lm(parts, tmp_path / "parts.arpa", order=3, discount_fallback=True)
    assert (tmp_path / "one.arpa").read_bytes() == (tmp_path / "parts.arpa").read_bytes()


def test_only_ascii_spaces_end_a_word_and_an_empty_line_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a\u00a0b c\u3000d\te\x0cf\n\n", encoding="utf-8")
    build_lm([tmp_path / "text.txt"], tmp_path / "lm.arpa", order=2, discount_fallback=True)
    assert words_of(tmp_path / "lm.arpa")[3:] == ["a\u00a0b", "c\u3000d", "e", "f"]
    assert "<s> </s>" in (tmp_path / "lm.arpa").read_text(encoding="utf-8")


def test_the_rules_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The OLD man -- sat.\n...\nThe man’s hat\n", encoding="utf-8")
    build_lm([tmp_path / "text.txt"], tmp_path / "lm.arpa", order=2, recipe=LIBRISPEECH, discount_fallback=True)
    assert words_of(tmp_path / "lm.arpa")[3:] == ["hat", "man", "man's", "old", "sat", "the"]
    assert "<s> </s>" not in (tmp_path / "lm.arpa").read_text(encoding="utf-8")


def test_pruned_and_limited_to_a_word_list(text: Path, tmp_path: Path, asrkit: Asrkit) -> None:
    (tmp_path / "words.txt").write_text("the old man\nsat ran never\n", encoding="utf-8")
    limits = ("--prune", "0,3", "--vocab", str(tmp_path / "words.txt"))
    arpa = tmp_path / "lm.arpa"
    assert asrkit("lm", "build", str(text), "-o", str(arpa), "--order", "2", "--discount-fallback", *limits)[0] == 0
    assert words_of(arpa)[3:] == ["man", "old", "ran", "sat", "the"]
    # in three rounds "the old" and "man ran" come six times, "old </s>", "<s> the" more than three; "sat </s>" thrice
    bigrams = arpa.read_text(encoding="utf-8").partition("\\2-grams:\n")[2].partition("\n\n")[0]
    found = {line.split("\t")[1] for line in bigrams.split("\n")}
    assert {"the old", "man ran", "<s> the"} <= found and not {"sat </s>", "old man"} & found


def test_of_tokens(tmp_path: Path) -> None:
    lines = []
    for number, split in enumerate(("train", "dev", "test")):
        soundfile.write(tmp_path / f"{split}.wav", tone(1.0, 300.0 + number), 16_000)
        lines.append(json.dumps({"audio": f"{split}.wav", "text": "abba ab", "split": split}))
    (tmp_path / "tones.jsonl").write_text("\n".join(lines), encoding="utf-8")
    prepare(LIBRISPEECH, data_dir=tmp_path / "data", manifest=tmp_path / "tones.jsonl")
    (tmp_path / "text.txt").write_text("abba\nab ba\nüber 5\n", encoding="utf-8")
    listener = Listener()
    build_lm(
        [tmp_path / "text.txt"],
        tmp_path / "letters.arpa",
        order=3,
        unit="token",
        recipe=LIBRISPEECH,
        data_dir=tmp_path / "data",
        discount_fallback=True,
        progress=listener,
    )
    assert words_of(tmp_path / "letters.arpa")[3:] == ["a", "b", "▁"]
    assert listener.warned == ["1 lines have characters that the tokenizer cannot spell; left out"]


# build by what a recipe declares ------------------------------------------------------------------------------------

DECLARED = """
from asrkit.language_model import LanguageModel, TextDownload, TrainTranscripts

LM = LanguageModel(
    text=(TextDownload(url={url!r}, licence="public domain"), TrainTranscripts()),
    order=3,
    prune=(0, 0, 1),
    discount_fallback=True,
)
"""
BOOKS = "THE OLD MAN SAT\nTHE OLD MAN -- RAN!\n...\n"


def prepared(folder: Path) -> None:
    """data/librispeech, whose train, dev and test say different words."""
    lines = []
    for number, (split, text) in enumerate((("train", "Old Men"), ("train", "SIT"), ("dev", "dev"), ("test", "test"))):
        soundfile.write(folder / f"{number}.wav", tone(1.0, 300.0 + number), 16_000)
        lines.append(json.dumps({"audio": f"{number}.wav", "text": text, "split": split}))
    (folder / "tones.jsonl").write_text("\n".join(lines), encoding="utf-8")
    prepare(LIBRISPEECH, data_dir=folder / "data", name="librispeech", manifest=folder / "tones.jsonl")


def declare(server: LocalServer) -> None:
    Path("lm").mkdir(exist_ok=True)
    Path("lm/librispeech.py").write_text(DECLARED.format(url=server.url("books.txt.gz")), encoding="utf-8")


def test_without_a_text_the_recipe_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asrkit: Asrkit) -> None:
    monkeypatch.chdir(tmp_path)
    prepared(tmp_path)
    with serving({"books.txt.gz": gzip.compress(BOOKS.encode())}) as server:
        declare(server)
        code, said, error = asrkit("lm", "build", "--recipe", "librispeech")
        assert (code, error) == (0, "") and "text: 2 transcripts of train in data/librispeech" in said
        out = Path("data/lm/librispeech/3gram.arpa")
        assert words_of(out)[3:] == ["man", "men", "old", "ran", "sat", "sit", "the"]  # and none of dev and test
        text = tmp_path / "text.txt"
        text.write_text("the old man sat\nthe old man ran\nold men\nsit\n", encoding="utf-8")
        build_lm([text], tmp_path / "lm.arpa", order=3, prune=(0, 0, 1), discount_fallback=True)
        assert out.read_bytes() == (tmp_path / "lm.arpa").read_bytes()

        mine = ("--recipe", "librispeech", "--order", "2", "--prune", "0", "-o", "mine.arpa")
        assert asrkit("lm", "build", *mine)[0] == 0
        build_lm([text], tmp_path / "lm.arpa", order=2, discount_fallback=True)
        assert Path("mine.arpa").read_bytes() == (tmp_path / "lm.arpa").read_bytes()

        letters = ("--recipe", "librispeech", "--unit", "token", "--order", "2", "--discount-fallback")
        assert asrkit("lm", "build", *letters, "--data", "librispeech")[0] == 0
        assert "▁" in words_of(Path("data/lm/librispeech/2gram.arpa"))
    assert len(server.requests) == 1  # the text is fetched once


def test_a_text_given_is_the_only_one(text: Path, monkeypatch: pytest.MonkeyPatch, asrkit: Asrkit) -> None:
    monkeypatch.chdir(text.parent)
    with serving({}) as server:
        declare(server)
        arguments = (str(text), "-o", "lm.arpa", "--recipe", "librispeech", "--discount-fallback")
        assert asrkit("lm", "build", *arguments)[0] == 0
    assert kenlm.Model("lm.arpa").order == 4 and server.requests == []


def test_what_is_declared_and_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asrkit: Asrkit) -> None:
    monkeypatch.chdir(tmp_path)
    with serving({}) as server:
        declare(server)
        for arguments, message in (
            ((), "no text to build from; give TEXT, or --recipe"),
            (("text.txt",), "nothing says where the model goes; wanted --out (-o)"),
            (("--recipe", "librispeech"), "no data in data is prepared with 'librispeech'; run: asrkit prepare libr"),
        ):
            code, _, error = asrkit("lm", "build", *arguments)
            assert code == 1 and message in error and error.count("\n") == 1, arguments
    assert server.requests == []  # what is missing is said before anything is fetched
    with pytest.raises(AsrkitError, match=r"recipe 'own' declares no text .* no lm/own\.py\); give TEXT"):
        build_lm(recipe=replace(LIBRISPEECH, name="own"))


def test_rules_that_changed_since_the_data_was_prepared_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepared(tmp_path)
    Path("lm").mkdir()
    own = "from asrkit.language_model import LanguageModel, TrainTranscripts\n"
    own += "LM = LanguageModel(text=(TrainTranscripts(),), order=2, discount_fallback=True)\n"
    Path("lm/librispeech.py").write_text(own, encoding="utf-8")
    listener = Listener()
    build_lm(recipe=replace(LIBRISPEECH, alphabet=" ab", normalize=str.upper), progress=listener)
    assert listener.warned == [
        "the recipe changed since data/librispeech was prepared; --text-only prepares its texts anew"
    ]
    assert words_of(Path("data/lm/librispeech/2gram.arpa"))[3:] == ["men", "old", "sit"]  # as prepared


@pytest.mark.slow
def test_processes_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalising, "CHUNK_CHARACTERS", 2000)
    (tmp_path / "text.txt").write_text(TEXT.upper() * 100, encoding="utf-8")
    for workers in (1, 2):
        out = tmp_path / f"{workers}.arpa"
        build_lm([tmp_path / "text.txt"], out, recipe=LIBRISPEECH, discount_fallback=True, workers=workers)
    assert (tmp_path / "1.arpa").read_bytes() == (tmp_path / "2.arpa").read_bytes()


# score -------------------------------------------------------------------------------------------------------------


def test_perplexity_as_kenlm_has_it(text: Path, tmp_path: Path, asrkit: Asrkit) -> None:
    build_lm([text], tmp_path / "lm.arpa", order=3, discount_fallback=True)
    dev = tmp_path / "dev.txt"
    dev.write_text("the old cat sat\nman ran\n\n", encoding="utf-8")
    code, out, _ = asrkit("lm", "score", str(tmp_path / "lm.arpa"), str(dev), "--json")
    found = json.loads(out)
    theirs = kenlm.Model(str(tmp_path / "lm.arpa"))
    lines = ("the old cat sat", "man ran", "")
    scores = [score for line in lines for score, _, oov in theirs.full_scores(line) if not oov]
    everything = sum(theirs.score(line) for line in lines)
    assert code == 0
    assert (found["sentences"], found["words"], found["oov"], found["oov_rate"]) == (3, 6, 1, pytest.approx(1 / 6))
    assert found["log10"] == pytest.approx(everything, abs=1e-4)
    assert found["perplexity"] == pytest.approx(10 ** (-everything / 9), rel=1e-4)
    assert found["perplexity_without_oov"] == pytest.approx(10 ** (-sum(scores) / 8), rel=1e-4)


def test_a_packed_model_scores_alike_and_a_table_is_drawn(text: Path, tmp_path: Path, asrkit: Asrkit) -> None:
    build_lm([text], tmp_path / "lm.arpa", order=3, discount_fallback=True)
    code, out, _ = asrkit("lm", "pack", str(tmp_path / "lm.arpa"))
    assert code == 0 and "n-grams" in out and (tmp_path / "lm.lm" / "pack.json").is_file()
    assert score_lm(tmp_path / "lm.lm", [text]) == score_lm(tmp_path / "lm.arpa", [text])
    assert "perplexity" in asrkit("lm", "score", str(tmp_path / "lm.lm"), str(text))[1]


def test_a_pack_of_a_gzipped_file_has_its_name(text: Path, tmp_path: Path) -> None:
    build_lm([text], tmp_path / "lm.arpa", order=2, discount_fallback=True)
    (tmp_path / "3gram.arpa.gz").write_bytes(gzip.compress((tmp_path / "lm.arpa").read_bytes()))
    assert pack_lm(tmp_path / "3gram.arpa.gz") == tmp_path / "3gram.lm"
    path = tmp_path / "lm.arpa"
    assert build_automaton(read_arpa(path), path).counts == kenlm_counts(path)


def kenlm_counts(path: Path) -> tuple[int, ...]:
    return tuple(int(count) for count in re.findall(r"^ngram \d+=(\d+)", path.read_text(encoding="utf-8"), re.M))


# Mistakes ----------------------------------------------------------------------------------------------------------


def test_texts_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("gut\nüber\n".encode("latin-1"))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"one two\n" * 1000)[:-10])
    (tmp_path / "empty.txt").write_bytes(b"")
    for name, message in (
        ("latin.txt", "latin.txt line 2 is not UTF-8"),
        ("cut.gz", "cut.gz is a damaged or truncated gzip file"),
        ("empty.txt", "the text for the n-gram model is empty"),
        ("none.txt", "none.txt cannot be read: No such file"),
    ):
        with pytest.raises(AsrkitError, match=message):
            build_lm([tmp_path / name], tmp_path / "lm.arpa", order=2, discount_fallback=True)
        assert not list(tmp_path.glob("*lm.arpa*"))


@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
def test_files_are_read_in_whole_lines_of_utf8(
    block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asrkit.text_files.BLOCK_BYTES", block_bytes)
    (tmp_path / "dos.txt").write_bytes("\ufeffgut\r\n\r\nüber uns\r\n".encode())
    (tmp_path / "open.txt.gz").write_bytes(gzip.compress("їжак\nend without end".encode()))
    paths = [tmp_path / "dos.txt", tmp_path / "open.txt.gz"]
    assert list(read_lines(paths)) == ["gut", "", "über uns", "їжак", "end without end"]
    blocks = list(read_blocks(paths))
    assert b"".join(blocks).decode() == "gut\r\n\r\nüber uns\r\nїжак\nend without end\n"
    assert all(block.endswith(b"\n") for block in blocks)
    (tmp_path / "latin.txt").write_bytes(b"one\ntwo\n\ncaf\xe9\nfive\n")
    with pytest.raises(AsrkitError, match=r"latin\.txt line 4 is not UTF-8 \(.* at byte 4\); convert it"):
        list(read_blocks([tmp_path / "latin.txt"]))


def test_wrong_usage_is_one_clear_line(text: Path, asrkit: Asrkit) -> None:
    out = str(text.with_name("lm.arpa"))
    for arguments, message in (
        (("--prune", "0,x"), "--prune is '0,x'; wanted numbers and commas"),
        (("--prune", "1"), "prune is '1'; wanted one threshold for each order, 0 for words"),
        (("--order", "9"), "order"),
        (("--unit", "token"), "an n-gram of tokens wants the recipe"),
        (("--memory", "10"), "memory is 10 MB; wanted 300 MB or more"),
        (("--order", "3"), "the text is too small or too artificial"),
    ):
        code, _, error = asrkit("lm", "build", str(text), "-o", out, *arguments)
        assert code in (1, 2) and message in error and error.count("\n") == 1, arguments
    build_lm([text], out, order=2, discount_fallback=True)
    text.write_text("", encoding="utf-8")
    with pytest.raises(AsrkitError, match="the texts hold no line"):
        score_lm(out, [text])


# Help --------------------------------------------------------------------------------------------------------------


def test_the_bare_command_explains_itself(asrkit: Asrkit) -> None:
    code, out, error = asrkit("lm")
    assert (code, error) == (0, "")
    assert all(re.search(rf"^  {verb} ", out, re.M) for verb in VERBS) and "..." not in out.partition("Commands:")[2]


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_has_examples_that_parse(verb: str, asrkit: Asrkit, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[tuple[Any, ...]] = []

    def stand_in(*arguments: Any, **named: Any) -> dict[str, Any]:
        noted.append(arguments)
        return {}

    monkeypatch.setitem(sys.modules, f"asrkit.{VERBS[verb]}", SimpleNamespace(**{VERBS[verb]: stand_in}))
    code, out, _ = asrkit("lm", verb, "--help")
    lines = [line.strip() for line in out.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()]
    assert code == 0 and lines
    for line in lines:
        words = shlex.split(line.rpartition("| ")[2].replace("RECIPE", "librispeech"))
        assert words[:3] == ["asrkit", "lm", verb]
        assert asrkit(*words[1:])[0] == 0, line
    assert len(noted) == len(lines)

"""Manifests in all their forms, and LibriSpeech's folders, become utterances; what is wrong is named by its line."""

import json
from collections import Counter
from pathlib import Path

import pytest
from small_librispeech import DEV, SPEAKERS, write_split

from asrkit.corpus import read_lines, read_manifest, read_table
from asrkit.errors import AsrkitError
from asrkit.recipe import load_recipe
from asrkit.utterance import Utterance


def manifest(tmp_path: Path, content: str | bytes, name: str = "own.jsonl") -> list[Utterance]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return list(read_manifest(path))


def json_lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_json_lines_with_everything(tmp_path: Path) -> None:
    row = {
        "key": "first",
        "audio": "wav/a.flac",
        "text": "Grüße",
        "split": "dev",
        "speaker": "anna",
        "gender": "f",
        "language": "de",
        "duration_s": 3.5,
        "start_s": 1,
        "end_s": 4.5,
        "channel": 1,
        "distance_m": 2,
        "tags": ["far", "noisy"],
    }
    assert manifest(tmp_path, json_lines(row)) == [
        Utterance(
            key="first",
            audio=tmp_path / "wav/a.flac",
            text="Grüße",
            split="dev",
            speaker="anna",
            gender="f",
            language="de",
            duration_s=3.5,
            start_s=1.0,
            end_s=4.5,
            channel=1,
            extra={"distance_m": 2, "tags": ["far", "noisy"]},
        )
    ]


def test_csv_and_tsv_say_the_same_as_json_lines(tmp_path: Path) -> None:
    columns = ["audio", "text", "speaker", "gender", "start_s", "end_s", "channel", "room"]
    cells = [["a.wav", "one, two", "7", "Male", "0.5", "1.5", "0", "hall"], ["b.wav", "three", "", "", "", "", "", ""]]
    csv = "\n".join([",".join(columns), 'a.wav,"one, two",7,Male,0.5,1.5,0,hall', "b.wav,three,,,,,,"])
    tsv = "\n".join("\t".join(row) for row in [columns, *cells])
    rows = [{k: v for k, v in zip(columns, row, strict=True) if v} for row in cells]
    rows[0] |= {"speaker": 7, "start_s": 0.5, "end_s": 1.5, "channel": 0}  # type: ignore[dict-item]  # JSON has numbers
    wanted = manifest(tmp_path, json_lines(*rows))
    assert manifest(tmp_path, csv, "own.csv") == manifest(tmp_path, tsv, "own.tsv") == wanted
    assert [u.key for u in wanted] == ["a-0.500-1.500-channel0", "b"]
    assert (wanted[0].speaker, wanted[0].gender, wanted[0].extra) == ("7", "m", {"room": "hall"})
    assert (wanted[1].speaker, wanted[1].start_s, wanted[1].end_s, wanted[1].channel) == (None, 0.0, None, None)


@pytest.mark.parametrize("name", ["own.jsonl", "own.csv", "own.tsv"])
def test_byte_order_mark_crlf_and_blank_lines_do_not_matter(tmp_path: Path, name: str) -> None:
    lines = {
        "own.jsonl": ['{"audio": "a.wav", "text": "eins"}', "", '{"audio": "b.wav", "text": "zwei"}'],
        "own.csv": ["audio,text", "a.wav,eins", "", "b.wav,zwei"],
        "own.tsv": ["audio\ttext", "a.wav\teins", "", "b.wav\tzwei"],
    }[name]
    content = b"\xef\xbb\xbf" + "\r\n".join([*lines, ""]).encode("utf-8")
    assert [(u.audio.name, u.text) for u in manifest(tmp_path, content, name)] == [("a.wav", "eins"), ("b.wav", "zwei")]


def test_csv_cells_may_hold_line_ends_and_quotes(tmp_path: Path) -> None:
    (found,) = manifest(tmp_path, 'audio,text\na.wav,"one\ntwo ""three"""\n', "own.csv")
    assert found.text == 'one\ntwo "three"'


def test_tsv_knows_no_quoting(tmp_path: Path) -> None:
    (found,) = manifest(tmp_path, 'audio\ttext\na.wav\t"Yes, she said\n', "own.tsv")
    assert found.text == '"Yes, she said'


def test_absolute_paths_stay(tmp_path: Path) -> None:
    (found,) = manifest(tmp_path, json_lines({"audio": "/there/a.wav", "text": "x"}))
    assert found.audio == Path("/there/a.wav")


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({}, "wav/a"),
        ({"key": "k", "id": "i"}, "k"),
        ({"id": "i"}, "i"),
        ({"id": 17}, "17"),
        ({"key": "", "id": "i"}, "i"),
        ({"start_s": 2}, "wav/a-2.000-end"),
        ({"start_s": 0, "end_s": 2.5}, "wav/a-0.000-2.500"),
        ({"channel": 1}, "wav/a-channel1"),
        ({"id": "i", "start_s": 2, "channel": 1}, "i"),
    ],
)
def test_key_is_given_or_tells_the_piece_of_the_file(tmp_path: Path, row: dict[str, object], key: str) -> None:
    (found,) = manifest(tmp_path, json_lines({"audio": "wav/a.wav", "text": "x"} | row))
    assert found.key == key


@pytest.mark.parametrize(("gender", "known"), [("M", "m"), ("female", "f"), ("other", None), ("", None), (None, None)])
def test_gender(tmp_path: Path, gender: str | None, known: str | None) -> None:
    (found,) = manifest(tmp_path, json_lines({"audio": "a.wav", "text": "x", "gender": gender}))
    assert found.gender == known


def test_text_may_be_empty_and_is_taken_as_it_is(tmp_path: Path) -> None:
    rows = [{"audio": "a.wav", "text": text} for text in ("", None, " e\u0301 ")]
    assert [u.text for u in manifest(tmp_path, json_lines(*rows))] == ["", "", " e\u0301 "]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "own.jsonl",
            b'{"audio": "a.wav", "text": "x"}\n{"audio"',
            r"own\.jsonl, line 2: not JSON \(.*one object a line",
        ),
        ("own.jsonl", b'[{"audio": "a.wav"}]', r"line 1: a JSON list; wanted an object with audio and text"),
        ("own.jsonl", b'{"audio": "a.wav"}', r"line 1: no 'text' \(found: audio\)"),
        ("own.jsonl", b'{"audoi": "a.wav", "text": ""}', r"line 1: no 'audio'; did you mean 'audoi'\?"),
        ("own.jsonl", b'{"audio": "", "text": "x"}', r"line 1: audio is empty; wanted a path"),
        ("own.jsonl", b'{"audio": 7.5, "text": "x"}', r"line 1: audio is 7\.5; wanted a string"),
        ("own.jsonl", b'{"audio": "a", "text": 7}', r"line 1: text is 7; wanted a string"),
        ("own.jsonl", b'{"audio": "a", "text": "x", "start_s": "soon"}', r"line 1: start_s is 'soon'; wanted a number"),
        ("own.jsonl", b'{"audio": "a", "text": "x", "end_s": true}', r"line 1: end_s is True; wanted a number"),
        ("own.jsonl", b'{"audio": "a", "text": "x", "end_s": NaN}', r"line 1: not JSON \(NaN is no JSON number\)"),
        ("own.jsonl", b'{"audio": "a", "text": "x", "channel": 0.5}', r"channel is 0\.5; wanted a whole number"),
        ("own.jsonl", b'{"audio": "a", "text": "x", "channel": -1}', r"channel is -1; wanted a whole number"),
        ("own.jsonl", b"[" * 100_000, r"line 1: not JSON"),
        ("own.jsonl", 'ok\n{"text": "é"}'.encode("latin-1"), r"line 1: not JSON"),
        (
            "own.jsonl",
            b'{"audio": "a", "text": "x"}\n' + '{"text": "é"}'.encode("latin-1"),
            r"line 2: byte 0xe9 at column 11 is not UTF-8; save the file as UTF-8",
        ),
        ("own.csv", "audio,text\n".encode("utf-16"), r"own\.csv is UTF-16; save it as UTF-8"),
        ("own.csv", b"", r"line 1: no column 'audio' \(found: nothing\)"),
        ("own.csv", b"audio;text\na.wav;x\n", r"line 1: no column 'audio'.* \(found: audio;text\)"),
        ("own.csv", b"Audio,text\na.wav,x\n", r"line 1: no column 'audio'; did you mean 'Audio'\?"),
        ("own.csv", b"audio,text,text\na.wav,x,y\n", r"line 1: two columns have the same name"),
        ("own.csv", b"audio,text\na.wav,one, two\n", r"line 2: 3 columns; wanted 2, as in the header"),
        ("own.csv", b'audio,text\na.wav,"one\n', r"line 2: not CSV \(unexpected end of data\)"),
        ("own.tsv", b"audio\ttext\n\na.wav\n", r"line 3: 1 columns; wanted 2"),
        ("own.xlsx", b"", r"ends in '\.xlsx'; wanted a manifest in \.jsonl, \.csv or \.tsv"),
        ("own", b"", r"ends in 'nothing'; wanted a manifest"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(AsrkitError, match=message) as caught:
        manifest(tmp_path, content, name)
    assert "\n" not in str(caught.value)


def test_missing_manifest_and_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("missing.jsonl", "folder.csv"):
        with pytest.raises(AsrkitError, match=rf"{name} cannot be read \("):
            list(read_manifest(tmp_path / name))


def test_manifest_is_read_as_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json_lines({"audio": "a", "text": "x"}) + "not JSON\n", encoding="utf-8")
    utterances = read_manifest(path)
    assert next(utterances).key == "a"
    with pytest.raises(AsrkitError, match="line 2"):
        next(utterances)


def test_tables_of_other_corpora(tmp_path: Path) -> None:
    path = tmp_path / "validated.tsv"
    path.write_text("path\tsentence\nc1.mp3\tHi\n", encoding="utf-8")
    assert list(read_table(path)) == [(2, {"path": "c1.mp3", "sentence": "Hi"})]


def test_lines_keep_their_inner_white_space(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbf a\tb \r\n\nc\x0bd\xc2\x85e")
    assert list(read_lines(path)) == [(1, " a\tb "), (2, ""), (3, "c\x0bd\x85e")]


def test_lines_may_be_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("뷁 똠방\r\n\n호호".encode("cp949"))  # 뷁 is in CP949, but not in EUC-KR
    assert list(read_lines(path, encoding="cp949")) == [(1, "뷁 똠방"), (2, ""), (3, "호호")]
    path.write_bytes("하나\n둘 ".encode("cp949") + b"\xff")
    with pytest.raises(AsrkitError, match=r"text, line 2: byte 0xff at column 4 is not CP949; save the file as CP949"):
        list(read_lines(path, encoding="cp949"))
    with pytest.raises(AsrkitError, match=r"text, line 1: byte 0xc7 at column 1 is not UTF-8; save the file as UTF-8"):
        list(read_lines(path))


# --- LibriSpeech's folders


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_split(tmp_path / "LibriSpeech", "dev-clean", DEV)
    return tmp_path / "LibriSpeech"


def read_split(root: Path, split: str = "dev-clean") -> list[Utterance]:
    return list(load_recipe("librispeech").read_corpus(root, split))


def test_librispeech_is_read_in_order(home: Path) -> None:
    found = read_split(home)
    assert {u.key: u.text for u in found} == DEV
    assert [u.key for u in found] == ["14-208-0000", "14-208-0001", "60-121-0000"]
    assert [(u.speaker, u.gender) for u in found] == [("14", "f"), ("14", "f"), ("60", "m")]
    assert found[0] == Utterance(
        key="14-208-0000",
        audio=home / "dev-clean/14/208/14-208-0000.flac",
        text="THE FIRST SENTENCE",
        split="dev-clean",
        speaker="14",
        gender="f",
        language="en",
        extra={"chapter": "208"},
    )
    assert all(u.audio.is_file() for u in found)


def test_librispeech_may_be_given_by_the_folder_that_holds_it(home: Path) -> None:
    assert read_split(home.parent) == read_split(home)


def test_transcript_without_sound_and_sound_without_transcript_do_not_vanish(home: Path) -> None:
    chapter = home / "dev-clean/14/208"
    (chapter / "14-208-0000.flac").unlink()
    lines = (chapter / "14-208.trans.txt").read_text(encoding="utf-8").splitlines()
    (chapter / "14-208.trans.txt").write_text(lines[0] + "\r\n", encoding="utf-8")
    (home / "dev-clean/60/121/60-121.trans.txt").unlink()
    found = [(u.key, u.text, u.audio.is_file()) for u in read_split(home)]
    assert found == [
        ("14-208-0000", "THE FIRST SENTENCE", False),
        ("14-208-0001", "", True),
        ("60-121-0000", "", True),
    ]


def test_repeated_and_empty_transcripts_do_not_vanish(home: Path) -> None:
    with (home / "dev-clean/60/121/60-121.trans.txt").open("a", encoding="utf-8") as file:
        file.write("60-121-0000 SAID AGAIN\n60-121-0001\n\n")
    assert [(u.key, u.text) for u in read_split(home)][2:] == [
        ("60-121-0000", "SAID AGAIN"),
        ("60-121-0000", "SOMEONE ELSE SPEAKS"),
        ("60-121-0001", ""),
    ]


def test_transcript_in_another_encoding_is_named(home: Path) -> None:
    path = home / "dev-clean/60/121/60-121.trans.txt"
    path.write_bytes("60-121-0000 CAFÉ\n".encode("latin-1"))
    with pytest.raises(AsrkitError, match=r"60-121\.trans\.txt, line 1: byte 0xc9 at column 16 is not UTF-8"):
        read_split(home)


def test_gender_is_unknown_without_speakers(home: Path) -> None:
    assert "60   | M" in SPEAKERS
    (home / "SPEAKERS.TXT").unlink()
    assert {u.gender for u in read_split(home)} == {None}


def test_missing_split_is_refused(home: Path) -> None:
    with pytest.raises(
        AsrkitError, match=r"has no folder 'dev-claen'; did you mean 'dev-clean'\? \(found: dev-clean\)"
    ):
        read_split(home, "dev-claen")
    with pytest.raises(AsrkitError, match=r"nowhere has no folder 'dev-clean' \(found: no folders\)"):
        read_split(home.parent / "nowhere")


def test_real_manifests(shared: Path) -> None:
    for name, wanted in (
        ("digits", {"train": 2700, "test": 300}),
        ("english", {"train": 2625, "dev": 260, "test": 1260}),
        ("korean", {"train": 1160, "dev": 92, "test": 76}),
    ):
        utterances = list(read_manifest(shared / f"speech/{name}.jsonl"))
        assert Counter(u.split for u in utterances) == wanted
        assert len({u.key for u in utterances}) == len(utterances)
        assert all(u.audio.is_file() and u.text and u.speaker and u.duration_s for u in utterances)

"""recipes/korean: each corpus in its own layout, with what is odd about it, through prepare: nothing vanishes."""

import json
import struct
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from small_librispeech import tone

from asrkit.errors import AsrkitError
from asrkit.prepare import prepare
from asrkit.recipe import Recipe, load_recipe, with_overrides
from asrkit.settings import SplitsSettings
from asrkit.shards import Index, open_data
from asrkit.utterance import Utterance

RECIPE = with_overrides(load_recipe(Path(__file__).parent.parent / "recipes" / "korean"), ["filters.max_dropped=0.9"])


def of(corpus: str, *settings: str) -> Recipe:
    return with_overrides(RECIPE, [f"corpus={corpus}", *settings])


def without_dev(corpus: str) -> Recipe:
    """So that dev takes nothing from train."""
    return replace(of(corpus), splits=SplitsSettings(train=("train",), dev=("test",), test=()))


def read(recipe: Recipe, root: Path, split: str) -> list[Utterance]:
    assert recipe.read_corpus
    return list(recipe.read_corpus(root, split))


def write_pcm(path: Path, pitch_hz: float, rest: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = (tone(0.3, pitch_hz) * 32767).astype(np.int16)
    path.write_bytes(struct.pack(f"<{len(samples)}h", *samples.tolist()) + rest)


def write_wav(path: Path, pitch_hz: float = 440.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(0.3, pitch_hz), 16_000)


def left_out(meta: dict[str, Any], split: str) -> dict[str, int]:
    return {reason: count for reason, count in meta["counts"][split]["left_out"].items() if count}


def records(index: Index) -> list[dict[str, Any]]:
    return [index.record(row) for row in range(len(index))]


# Zeroth-Korean


def write_zeroth(home: Path, speakers: int = 21) -> Path:
    """So many speakers of train with two sentences each, and two of test; 106 and 107 are odd."""
    people = [("train_data_01", str(106 + number)) for number in range(speakers)]
    people += [("test_data_01", "104"), ("test_data_01", "105")]
    info = ["SPEAKERID|NAME|SEX|SCRIPTID|DATASET"]
    for split, speaker in people:
        folder = home / split / "003" / speaker
        keys = [f"{speaker}_003_{number:04d}" for number in (1, 2)]
        for key in keys:
            write_wav(folder / f"{key}.wav", 200 + int(speaker))
            (folder / f"{key}.wav").rename(folder / f"{key}.flac")
        lines = [f"{keys[0]} 우리는 위기의 진앙이 아니다", f"{keys[1]} 안전지대가 됐다는 말까지 나왔다"]
        (folder / f"{speaker}_003.trans.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        info.append(f" {speaker}|Somebody|{'mf'[int(speaker) % 2]} |003|{split}")
    odd = home / "train_data_01" / "003" / "106"
    (odd / "106_003_0001.flac").unlink()
    (odd / "106_003.trans.txt").write_bytes("\ufeff106_003_0001 사라진 소리\r\n\r\n".encode())
    (home / "AUDIO_INFO").write_text("\n".join(info) + "\n", encoding="utf-8")
    return home


def test_zeroth_through_prepare(tmp_path: Path) -> None:
    home = write_zeroth(tmp_path / "zeroth_korean")
    meta = prepare(RECIPE, data_dir=tmp_path / "data", corpus_dir=home)
    assert meta["dev_from_train"] == "speaker"
    train, dev = meta["counts"]["train_data_01"], meta["counts"]["dev"]
    assert train["in_corpus"] + dev["in_corpus"] == 42
    assert left_out(meta, "train_data_01") == {"unreadable": 1, "empty text": 1}  # dev takes whole ones
    assert dev["speakers"] >= 1 and dev["utterances"] == 2 * dev["speakers"]
    assert train["speakers"] + dev["speakers"] == 20  # 106 has nothing left
    found = records(open_data(tmp_path / "data", "korean").index("test_data_01"))
    assert [(one["key"], one["speaker"], one["gender"], one["script"]) for one in found[::2]] == [
        ("104_003_0001", "104", "m", "003"),
        ("105_003_0001", "105", "f", "003"),
    ]
    assert found[0]["text_raw"] == "우리는 위기의 진앙이 아니다" and "Somebody" not in str(found)


def test_zeroth_columns_go_by_name_and_the_folder_may_be_the_one_above(tmp_path: Path) -> None:
    home = write_zeroth(tmp_path / "zeroth_korean", speakers=3)
    (home / "AUDIO_INFO").write_text("SEX|SPEAKERID\r\nf|104\r\n\r\nx|105\r\n", encoding="utf-8")
    found = read(RECIPE, tmp_path, "test_data_01")
    assert [one.gender for one in found] == ["f", "f", None, None]
    assert [one.key for one in read(RECIPE, home, "train_data_01")][:3] == [
        "106_003_0001",
        "106_003_0002",
        "107_003_0001",
    ]
    (home / "AUDIO_INFO").unlink()
    assert {one.gender for one in read(RECIPE, home, "test_data_01")} == {None}


def test_zeroth_that_cannot_serve(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match=r"nowhere has no folder 'train_data_01' \(found: no folders\)"):
        read(RECIPE, tmp_path / "nowhere", "train_data_01")
    home = write_zeroth(tmp_path / "zeroth_korean", speakers=1)
    with pytest.raises(AsrkitError, match=r"no folder 'train_data'; did you mean 'train_data_01'\?"):
        read(RECIPE, home, "train_data")
    (home / "AUDIO_INFO").write_text("SPEAKER,SEX\n", encoding="utf-8")
    with pytest.raises(AsrkitError, match=r"AUDIO_INFO, line 1: no column 'SPEAKERID' \(found: SPEAKER,SEX\)"):
        read(RECIPE, home, "train_data_01")


# KsponSpeech

KSPON = {  # split: {path of the .pcm: transcript}
    "train": {
        "KsponSpeech_01/KsponSpeech_0001/KsponSpeech_000001.pcm": "b/ 아/ 몬 소리야, 그건 또. b/",
        "KsponSpeech_01/KsponSpeech_0001/KsponSpeech_000002.pcm": "(70%)/(칠십 퍼센트) 확률이라니 (뭐+ 뭔)/(모+ 몬)",
        "KsponSpeech_01/KsponSpeech_0001/KsponSpeech_000003.pcm": "u/ 그랬어",
        "KsponSpeech_01/KsponSpeech_0002/KsponSpeech_001001.pcm": "(뭐) 그래",
        "KsponSpeech_01/KsponSpeech_0002/KsponSpeech_001002.pcm": "진짜 (100%)(백 프로)가 왜 안돼*?",
        "KsponSpeech_01/KsponSpeech_0002/KsponSpeech_001003.pcm": "사라진 소리",
        "KsponSpeech_01/KsponSpeech_0002/KsponSpeech_001004.pcm": "n/ b/",
        "KsponSpeech_05/KsponSpeech_0620/KsponSpeech_620000.pcm": "호호",  # in CP949 it is valid UTF-8, too
    },
    "dev": {
        "KsponSpeech_05/KsponSpeech_0621/KsponSpeech_620001.pcm": "똠방각하",  # CP949, not EUC-KR
        "KsponSpeech_05/KsponSpeech_0623/KsponSpeech_622545.pcm": "너 뭐 강남 자주 가?",
    },
    "eval_clean": {
        "KsponSpeech_eval/eval_clean/KsponSpeech_E00001.pcm": "어/ 일단은 억지로 (뭐)/(모)",
        "KsponSpeech_eval/eval_clean/KsponSpeech_E00002.pcm": "u/ 응",
    },
    "eval_other": {"KsponSpeech_eval/eval_other/KsponSpeech_E03001.pcm": "(가 나/ 다"},
}


def write_kspon(home: Path, scripts: str | None = "KsponSpeech_scripts") -> Path:
    """With the .trn, or with a .txt beside each .pcm."""
    for number, (split, lines) in enumerate(KSPON.items()):
        for index, (name, transcript) in enumerate(lines.items()):
            write_pcm(home / name, 300 + 100 * number + 10 * index, rest=b"\x7f" if split.startswith("eval") else b"")
            if scripts is None:
                (home / name).with_suffix(".txt").write_bytes(f"{transcript}\r\n".encode("cp949"))
        if scripts is not None:
            (home / scripts).mkdir(exist_ok=True)
            listed = "".join(f"{name} :: {transcript}\r\n" for name, transcript in lines.items())
            (home / scripts / f"{split}.trn").write_text(f"{listed}\r\n", encoding="utf-8", newline="")
    next(home.rglob("KsponSpeech_001003.pcm")).unlink()
    return home


@pytest.mark.parametrize("scripts", ["KsponSpeech_scripts", None], ids=["trn", "txt"])
def test_kspon_through_prepare(tmp_path: Path, scripts: str | None) -> None:
    home = write_kspon(tmp_path / "KsponSpeech", scripts)
    meta = prepare(of("ksponspeech"), data_dir=tmp_path / "data", corpus_dir=home)
    assert {split: one["in_corpus"] for split, one in meta["counts"].items()} == {
        split: len(lines) for split, lines in KSPON.items()
    }
    assert left_out(meta, "train") == {
        "unreadable": 1,
        "empty text": 1,
        "unclear speech": 1,
        "malformed transcript": 1,
    }
    assert meta["counts"]["train"]["notes"] == {
        "digits, Latin or symbols: pronunciation taken": 2,
        "pair of spelling and pronunciation mended": 1,
        "words marked with * (unclear, or over noise) kept": 1,
    }
    assert [left_out(meta, split) for split in ("dev", "eval_clean", "eval_other")] == [{}, {}, {}]
    data = open_data(tmp_path / "data", "ksponspeech")
    clean = data.index("eval_clean")
    assert [(one["key"], one.get("unfit"), one["text"]) for one in records(clean)] == [
        ("KsponSpeech_E00001", None, "어 일단은 억지로 뭐"),
        ("KsponSpeech_E00002", "unclear speech", "응"),
    ]
    assert (clean.record(0)["transcript"], clean.record(0)["pronunciation"]) == (
        "어/ 일단은 억지로 (뭐)/(모)",
        "어 일단은 억지로 모",
    )
    np.testing.assert_allclose(clean.audio(0), tone(0.3, 500), atol=1e-4)  # the odd byte is gone
    assert [(one["text"], one["unfit"]) for one in records(data.index("eval_other"))] == [
        ("가 나 다", "malformed transcript")
    ]
    texts = [one["text"] for one in records(data.index("train"))]
    assert texts == ["아 몬 소리야 그건 또", "칠십 퍼센트 확률이라니 뭐 뭔", "진짜 백 프로가 왜 안돼", "호호"]

    spoken = of("ksponspeech", "text.transcription=pronunciation")
    prepare(spoken, data_dir=tmp_path / "data", text_only=True)
    texts = [one["text"] for one in records(open_data(tmp_path / "data", "ksponspeech").index("train"))]
    assert texts[:2] == ["아 몬 소리야 그건 또", "칠십 퍼센트 확률이라니 모 몬"]


@pytest.mark.parametrize("scripts", ["", "scripts", "KsponSpeech_01/KsponSpeech_scripts"])
def test_kspon_may_lie_elsewhere(tmp_path: Path, scripts: str) -> None:
    wanted = read(of("ksponspeech"), write_kspon(tmp_path / "a"), "eval_clean")
    home = write_kspon(tmp_path / "b", scripts)
    (home / "KsponSpeech_eval" / "eval_clean").rename(home / "eval_clean")
    found = read(of("ksponspeech"), home, "eval_clean")
    assert [one.audio for one in found] == [home / "eval_clean" / f"{one.key}.pcm" for one in wanted]
    assert [(one.key, one.text) for one in found] == [(one.key, one.text) for one in wanted]
    assert [one.audio.is_file() for one in read(of("ksponspeech"), home, "dev")] == [True, True]


def test_kspon_one_folder_above_by_its_txt(tmp_path: Path) -> None:
    home = write_kspon(tmp_path / "KsponSpeech", None)
    for split, lines in KSPON.items():
        assert [one.audio for one in read(of("ksponspeech"), tmp_path, split)] == [home / name for name in lines]


def test_kspon_txt_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    home = write_kspon(tmp_path / "KsponSpeech", None)
    first = next(home.rglob("KsponSpeech_000001.txt"))
    first.unlink()
    (first.parent / "KsponSpeech_000002.txt").write_bytes("뭐".encode("cp949") + b"\xff")
    (first.parent / "KsponSpeech_000003.txt").write_text("\ufeff호호 웃었다", encoding="utf-8")
    found = read(of("ksponspeech"), home, "train")
    assert [one.text for one in found[:3]] == ["", "", "호호 웃었다"]
    meta = prepare(of("ksponspeech"), data_dir=tmp_path / "data", corpus_dir=home)
    assert left_out(meta, "train")["empty text"] == 3
    notes = meta["counts"]["train"]["notes"]
    assert (notes["no .txt beside the sound"], notes["its .txt is neither CP949 nor UTF-8"]) == (1, 1)


def test_kspon_that_cannot_serve(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match=r"no split 'eval_claen'; did you mean 'eval_clean'\? \(train, dev, "):
        read(of("ksponspeech"), tmp_path, "eval_claen")
    with pytest.raises(AsrkitError, match=r"holds no KsponSpeech dev; wanted KsponSpeech_scripts/dev\.trn, or Kspon"):
        read(of("ksponspeech"), tmp_path, "dev")
    (tmp_path / "dev.trn").write_text("a/1.pcm :: 네\na/2.pcm 네\n", encoding="utf-8")
    with pytest.raises(AsrkitError, match=r"dev\.trn, line 2: no '::'; wanted <path>\.pcm :: <transcript>"):
        read(of("ksponspeech"), tmp_path, "dev")
    (tmp_path / "dev.trn").write_bytes(b"a/1.pcm :: \xff\n")
    with pytest.raises(AsrkitError, match=r"dev\.trn, line 1: byte 0xff at column 12 is not CP949"):
        read(of("ksponspeech"), tmp_path, "dev")


# AI-Hub


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\ufeff" + json.dumps(content, ensure_ascii=False), encoding="utf-8")


def conversation(stt: str, speaker: str, gender: str = "남", name: str = "") -> dict[str, Any]:
    return {
        "발화정보": {"stt": stt, "fileNm": name, "recrdTime": "0.300", "recrdQuality": "16K"},
        "대화정보": {"recrdEnvrn": "실내", "cityCode": "수도권", "recrdUnit": "휴대폰", "convrsThema": ""},
        "녹음자정보": {"gender": gender, "recorderId": speaker, "age": 37},
    }


def write_conversations(home: Path) -> Path:
    """Training with a man whose sound is in two archives, and Validation with him and a woman."""
    man, woman = "일반남여_일반통합05_M_1455-6_37_수도권_실내", "일반남여_일반통합06_F_1524_25_수도권_실내"
    labels, sound = home / "Training" / "[라벨]1.AI챗봇" / man, home / "Training"
    said = [
        "(FP:음)내일 오후 세시에 예약해 주세요 (SN:)",
        "(NO:) 내일 (SP:세)시에",
        "(뭐) 할까요",
        "(SN:네) 그래요",
        "사라진 소리",
    ]
    for number, text in enumerate(said):
        write_json(labels / f"{man}_{number:05d}.json", conversation(text, "1455-6"))
    (labels / f"{man}_00005.json").write_text("{", encoding="utf-8")
    write_json(labels / f"{man}_00006.json", conversation("다른 이름", "1455-6", name=f"{man}_99999.wav"))
    for number in (0, 1, 5):
        write_wav(sound / "[원천]1.AI챗봇_1" / man / f"{man}_{number:05d}.wav")
    for number in (2, 99999):
        write_wav(sound / "[원천]1.AI챗봇_2" / unicodedata.normalize("NFD", man) / f"{man}_{number:05d}.wav")
    write_pcm(sound / "[원천]3.스튜디오_1" / man / f"{man}_00003.pcm", 500, rest=b"\x01")
    for name, content in ((man, conversation("네", "1455-6")), (woman, conversation("예", "1524", "여"))):
        write_json(home / "Validation/[라벨]1.AI챗봇" / name / f"{name}_07000.json", content)
        write_wav(home / "Validation/[원천]1.AI챗봇" / name / f"{name}_07000.wav")
    return home


def test_free_conversation_through_prepare(tmp_path: Path) -> None:
    home = write_conversations(tmp_path / "자유대화 음성(일반남녀)")
    meta = prepare(without_dev("free-conversation"), data_dir=tmp_path / "data", corpus_dir=home)
    reasons = {"unreadable": 1, "empty text": 1, "unclear speech": 1, "malformed transcript": 1}
    assert left_out(meta, "train") == reasons and meta["counts"]["test"]["utterances"] == 2
    assert meta["counts"]["train"]["notes"] == {"speaker is in test, too": 5, "no transcript in its label": 1}
    found = records(open_data(tmp_path / "data", "free-conversation").index("train"))
    assert [(one["key"][-5:], one["text"]) for one in found] == [
        ("00000", "음 내일 오후 세시에 예약해 주세요"),
        ("00003", "네 그래요"),
        ("00006", "다른 이름"),
    ]
    wanted = {"speaker": "1455-6", "gender": "m", "age": 37, "environment": "실내", "region": "수도권"}
    assert found[0].items() >= (wanted | {"device": "휴대폰"}).items() and "topic" not in found[0]
    assert [one.gender for one in read(of("free-conversation"), home, "test")] == ["m", "f"]
    unclear = read(of("free-conversation"), home, "train")[1]
    assert (unclear.text, unclear.unfit, unclear.duration_s) == ("내일 세시에", "unclear speech", 0.3)


def test_where_ai_hub_splits_are_not_there_speakers_are_split_by_their_hash(tmp_path: Path) -> None:
    for number in range(200):
        for clip in range(2):
            write_json(tmp_path / f"sample/s{number}/s{number}_{clip}.json", conversation("네", f"speaker{number}"))
    recipe = of("free-conversation")
    train, test = (read(recipe, tmp_path, split) for split in ("train", "test"))
    assert len(train) + len(test) == 400 and 8 <= len(test) <= 40
    assert not {one.speaker for one in train} & {one.speaker for one in test}
    assert [one.key for one in read(recipe, tmp_path, "test")] == [one.key for one in test]


COMMAND = {
    "file": {"name": "a1", "length": "0.3", "speechLength": "0.3", "samplingRate": "16kHz"},
    "command": {"text": "불 켜 줘", "category": "가전", "snr": 5},
    "noise": {"level": "70"},
    "speaker": {"id": "S01", "gender": "여", "age": "30대", "recordingDevice": "휴대폰", "mask": "N"},
}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_noisy_speech_through_prepare(tmp_path: Path, form: str) -> None:
    home = tmp_path / "135.commands" / "01.data"
    for folder, distance, name in (
        ("Training", "원거리", "a1"),
        ("Training", "근거리", "a2"),
        ("Training", "근거리", "a3"),
        ("Validation", "원거리", "b1"),
    ):
        place = f"{folder[0]}{{}}_01.다화자_소음_환경_001.식당_01.{distance}"
        labels, sound = (
            home.joinpath(*(unicodedata.normalize(form, part) for part in (folder, kind, place.format(letter))))
            for kind, letter in (("02.라벨링데이터", "L"), ("01.원천데이터", "S"))
        )
        write_json(labels / f"{name}-J.json", COMMAND if name != "a3" else {"file": 1})
        write_wav(sound / f"{name}-N.wav")
        if name != "a2":
            write_wav(sound / f"{name}-S.wav")
    meta = prepare(without_dev("noisy-speech"), data_dir=tmp_path / "data", corpus_dir=tmp_path)
    assert left_out(meta, "train") == {"unreadable": 1, "empty text": 2} and left_out(meta, "test") == {}
    data = open_data(tmp_path / "data", "noisy-speech")
    found = {one["key"]: one for split in ("train", "test") for one in records(data.index(split))}
    assert sorted(found) == ["a1-N", "a1-S", "a2-N", "b1-N", "b1-S"]
    wanted = {"text": "불 켜 줘", "speaker": "S01", "gender": "f", "age": "30대", "condition": "far", "recording": "N"}
    assert found["a1-N"].items() >= (wanted | {"snr": 5, "noise_level": "70", "device": "휴대폰"}).items()
    assert (found["a2-N"]["condition"], found["b1-S"]["condition"], found["b1-S"]["recording"]) == ("near", "far", "S")


def test_ai_hub_that_cannot_serve(tmp_path: Path) -> None:
    for corpus in ("free-conversation", "noisy-speech"):
        with pytest.raises(AsrkitError, match="this corpus has no split 'dev'; wanted train or test"):
            read(of(corpus), tmp_path, "dev")
        with pytest.raises(AsrkitError, match=r"holds no labels \(\.json\); wanted AI-Hub's folders"):
            read(of(corpus), tmp_path, "train")

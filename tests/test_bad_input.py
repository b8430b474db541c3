"""What a user's broken files, full disks and wrong formats lead to, through the command line: one clear line and exit
code 1, or a count by reason, and nothing half-written that looks whole."""

import gzip
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from user import (
    Outcome,
    asrkit,
    keys,
    leftovers,
    prepared,
    room_for,
    unprivileged,
    write_manifest,
)

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.shards import Index

TINY = (
    *("model.layers=1", "model.hidden=12", "model.conv_channels=2,2", "features.mels=8"),
    *("train.epochs=1", "train.batch_seconds=2", "train.workers=0"),
)
NUMBERS = ("one", "two", "three", "four", "five", "six")


def tone(seconds: float = 1.0, rate_hz: int = SAMPLE_RATE_HZ, hz: float = 440.0) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def noise(seconds: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * SAMPLE_RATE_HZ)).astype(np.float32)


@pytest.fixture(scope="session")
def good_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sound, data/good and the run exp/librispeech/base; tests that break something take a copy."""
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("user")
    (home / "wav").mkdir()
    rows = []
    for number in range(16):
        soundfile.write(home / f"wav/{number}.wav", noise(0.8 + number / 20, number), SAMPLE_RATE_HZ)
        split = "train" if number < 10 else "dev" if number < 13 else "test"
        rows.append({"audio": f"wav/{number}.wav", "text": NUMBERS[number % 6], "split": split})
    write_manifest(home / "good.jsonl", rows)
    outcome = asrkit(home, "prepare", "librispeech", "--manifest", "good.jsonl", "--workers", 1)
    assert outcome.code == 0, outcome
    outcome = asrkit(home, "train", "librispeech", "--run", "base", "--device", "cpu", *TINY)
    assert outcome.code == 0, outcome
    return home


@pytest.fixture
def home(good_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(good_home, tmp_path / "home", symlinks=True)
    return tmp_path / "home"


def checkpoint_of(home: Path) -> Path:
    return (home / "exp" / "librispeech" / "base" / "best").resolve()


# Sound ------------------------------------------------------------------------------------------------------------

READABLE: dict[str, Callable[[Path], None]] = {
    "bits8.wav": lambda path: soundfile.write(path, tone(), SAMPLE_RATE_HZ, subtype="PCM_U8"),
    "bits24.wav": lambda path: soundfile.write(path, tone(), SAMPLE_RATE_HZ, subtype="PCM_24"),
    "float.wav": lambda path: soundfile.write(path, tone(), SAMPLE_RATE_HZ, subtype="FLOAT"),
    "rate8000.wav": lambda path: soundfile.write(path, tone(rate_hz=8000), 8000),
    "rate11025.wav": lambda path: soundfile.write(path, tone(rate_hz=11_025), 11_025),
    "rate44100.wav": lambda path: soundfile.write(path, tone(rate_hz=44_100), 44_100),
    "rate48000.flac": lambda path: soundfile.write(path, tone(rate_hz=48_000), 48_000),
    "stereo.wav": lambda path: soundfile.write(path, np.stack([tone(), tone()], axis=1), SAMPLE_RATE_HZ),
    "layer3.mp3": lambda path: soundfile.write(path, tone(rate_hz=44_100), 44_100, format="MP3"),
    "opus.opus": lambda path: soundfile.write(path, tone(rate_hz=48_000), 48_000, format="OGG", subtype="OPUS"),
}


def cut_off(path: Path) -> None:
    kind = path.suffix.removeprefix(".")
    more = {"format": "OGG", "subtype": "OPUS"} if kind == "opus" else {"format": kind.upper()}
    soundfile.write(path, noise(3.0, 0), SAMPLE_RATE_HZ, **more)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


UNREADABLE: dict[str, Callable[[Path], None]] = {
    "missing.wav": lambda path: None,
    "empty.wav": lambda path: path.write_bytes(b"") and None,
    "no_samples.wav": lambda path: soundfile.write(path, tone(0.0), SAMPLE_RATE_HZ),
    "folder.wav": lambda path: path.mkdir(),
    "text.wav": lambda path: path.write_text("no sound", encoding="utf-8") and None,
    "cut_wav.wav": cut_off,
    "cut_flac.flac": cut_off,
    "cut_opus.opus": cut_off,
    "cut_mp3.mp3": cut_off,
}


@pytest.fixture(scope="session")
def mixed(good_home: Path) -> dict[str, object]:
    """prepare.json of a manifest where every second file is strange."""
    files = READABLE | UNREADABLE
    for name, write in files.items():
        write(good_home / "wav" / name)
    rows: list[dict[str, object]] = [
        {"key": name.partition(".")[0], "audio": f"wav/{name}", "text": "one two", "split": "train"} for name in files
    ]
    rows.append({"audio": "wav/12.wav", "text": "three", "split": "dev"})
    write_manifest(good_home / "mixed.jsonl", rows)
    words = ("prepare", "librispeech", "--manifest", "mixed.jsonl", "--workers", 1)
    complaint = asrkit(good_home, *words).complaint()
    assert f"{len(UNREADABLE)} of {len(files)} utterances left out (unreadable {len(UNREADABLE)};" in complaint
    assert "filters.max_dropped=0.05" in complaint
    assert "is not prepared to the end" in asrkit(good_home, "train", "librispeech", "--data", "mixed").complaint()
    outcome = asrkit(good_home, *words, "filters.max_dropped=0.5")
    assert outcome.code == 0, outcome
    assert "missing.wav does not exist" in outcome.out
    return prepared(good_home, "mixed")


@pytest.mark.parametrize("name", READABLE)
def test_sound_of_every_kind_is_prepared(name: str, mixed: dict[str, object], good_home: Path) -> None:
    index = Index.open(good_home / "data" / "mixed" / "train")
    key = name.partition(".")[0]
    (row,) = [row for row in range(len(index)) if index.record(row)["key"] == key]
    samples = index.audio(row)
    assert len(samples) == pytest.approx(SAMPLE_RATE_HZ, abs=2500)  # an MP3 is padded to whole frames
    spectrum = np.abs(np.fft.rfft(samples, n=SAMPLE_RATE_HZ))
    assert int(spectrum.argmax()) == pytest.approx(440, abs=2)
    assert np.abs(samples).max() == pytest.approx(0.4, abs=0.1)


def test_sound_that_cannot_be_read_is_counted(mixed: dict[str, object], good_home: Path) -> None:
    counts = mixed["counts"]["train"]  # type: ignore[index]  # plain JSON
    assert counts["left_out"]["unreadable"] == len(UNREADABLE)
    assert counts["in_corpus"] == len(READABLE) + len(UNREADABLE)
    assert len(counts["examples"]["unreadable"]) == 5
    assert set(keys(good_home, "mixed", "train")) == {name.partition(".")[0] for name in READABLE}
    assert leftovers(good_home) == []


@pytest.mark.parametrize("name", UNREADABLE)
def test_transcribe_refuses_what_cannot_be_read(name: str, mixed: dict[str, object], good_home: Path) -> None:
    outcome = asrkit(good_home, "transcribe", f"wav/{name}", "--device", "cpu")
    assert f"wav/{name} " in outcome.complaint()
    assert outcome.out == ""


def test_transcribe_goes_on_after_a_broken_file(mixed: dict[str, object], good_home: Path) -> None:
    names = ["wav/0.wav", "wav/cut_wav.wav", "wav/stereo.wav"]
    outcome = asrkit(good_home, "transcribe", *names, "--device", "cpu", "--json")
    assert [json.loads(line)["file"] for line in outcome.out.splitlines()] == [names[0], names[2]]
    assert outcome.code == 1
    warning, complaint = outcome.err.splitlines()
    assert warning.startswith("warning: wav/cut_wav.wav is cut off")
    assert complaint == "asrkit: 1 of 3 files could not be transcribed"


# Text and manifests -----------------------------------------------------------------------------------------------


def test_windows_line_ends_a_byte_order_mark_and_nfd(home: Path) -> None:
    lines = ["audio,text,split", 'wav/0.wav,"One, two",train', "wav/1.wav,café,train", "wav/2.wav,THREE,dev"]
    text = "\ufeff" + "\r\n".join(lines) + "\r\n"
    (home / "windows.csv").write_bytes(text.replace("é", "e\u0301").encode("utf-8"))
    outcome = asrkit(home, "prepare", "librispeech", "--manifest", "windows.csv", "--workers", 1)
    assert outcome.code == 0, outcome
    texts = [record["text"] for split in ("train", "dev") for record in keys(home, "windows", split).values()]
    assert texts == ["one two", "cafe", "three"]


BAD_MANIFESTS = {
    "latin.jsonl": ('{"audio": "wav/0.wav", "text": "caf\xe9"}\n'.encode("latin-1"), "line 1.*is not UTF-8"),
    "utf16.jsonl": ('{"audio": "wav/0.wav", "text": "one"}\n'.encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "nothing.jsonl": (b"", "nothing.jsonl has no utterances"),
    "blank.csv": (b"audio,text\r\n", "blank.csv has no utterances"),
    "column.csv": (b"audio,transcript\nwav/0.wav,one\n", "line 1: no column 'text'"),
    "broken.jsonl": (b'{"audio": "wav/0.wav", "text"\n', "line 1: not JSON"),
    "manifest.txt": (b"wav/0.wav one\n", "wanted a manifest in .jsonl, .csv or .tsv"),
    "test_only.csv": (b"audio,text,split\nwav/0.wav,one,test\n", "no utterances of split train|no utterances in train"),
    "other_split.csv": (b"audio,text,split\nwav/0.wav,one,trian\n", "has split 'trian'; wanted one of train"),
    "one.csv": (b"audio,text\nwav/0.wav,one\n", "too few to take a dev split from"),
}


@pytest.mark.parametrize("name", BAD_MANIFESTS)
def test_manifests_that_cannot_serve(name: str, good_home: Path) -> None:
    content, message = BAD_MANIFESTS[name]
    (good_home / name).write_bytes(content)
    complaint = asrkit(good_home, "prepare", "librispeech", "--manifest", name, "--workers", 1).complaint()
    assert name in complaint or name == "one.csv"
    assert re.search(message, complaint)
    data = good_home / "data" / Path(name).stem
    assert not (data / "prepare.json").exists()
    assert leftovers(good_home) == []


def test_a_manifest_that_does_not_exist_in_a_process_of_its_own(good_home: Path) -> None:
    command = [sys.executable, "-m", "asrkit", "prepare", "librispeech", "--manifest", "none.csv"]
    ended = subprocess.run(command, cwd=good_home, capture_output=True, text=True, check=False)
    complaint = Outcome(ended.returncode, ended.stdout, ended.stderr).complaint()
    assert "none.csv" in complaint
    assert not (good_home / "data" / "none").exists()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A LibriSpeech in small: 8 utterances of train, 2 of dev and 2 of test."""
    number = 0
    for split, utterances in (("train-clean-100", 8), ("dev-clean", 2), ("test-clean", 2)):
        chapter = tmp_path / "LibriSpeech" / split / "17" / "3"
        chapter.mkdir(parents=True)
        lines = []
        for _ in range(utterances):
            soundfile.write(chapter / f"17-3-{number:04d}.flac", noise(0.5, number), SAMPLE_RATE_HZ)
            lines.append(f"17-3-{number:04d} {NUMBERS[number % 6].upper()}\n")
            number += 1
        (chapter / "17-3.trans.txt").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "LibriSpeech"


LIBRISPEECH = ("prepare", "librispeech", "--splits", "train-clean-100,dev-clean,test-clean", "--workers", 1)


def test_transcripts_without_audio_and_audio_without_transcripts(corpus: Path, tmp_path: Path) -> None:
    chapter = corpus / "train-clean-100" / "17" / "3"
    (chapter / "17-3-0000.flac").unlink()
    soundfile.write(chapter / "17-3-0099.flac", noise(0.5, 99), SAMPLE_RATE_HZ)
    words = (*LIBRISPEECH, "--corpus-dir", corpus)
    assert "train-clean-100: 2 of 9 utterances left out" in asrkit(tmp_path, *words).complaint()
    outcome = asrkit(tmp_path, *words, "filters.max_dropped=0.3")
    assert outcome.code == 0, outcome
    assert "17-3-0000" in outcome.out
    assert "17-3-0099" in outcome.out
    counts = prepared(tmp_path, "librispeech")["counts"]["train-clean-100"]  # type: ignore[index]  # plain JSON
    assert (counts["left_out"]["unreadable"], counts["left_out"]["empty text"]) == (1, 1)
    assert counts["utterances"] == 7


def test_a_split_without_utterances(corpus: Path, tmp_path: Path) -> None:
    shutil.rmtree(corpus / "dev-clean" / "17")
    complaint = asrkit(tmp_path, *LIBRISPEECH, "--corpus-dir", corpus).complaint()
    assert "no utterances in dev-clean" in complaint
    assert not (tmp_path / "data" / "librispeech" / "prepare.json").exists()
    shutil.rmtree(corpus / "dev-clean")
    assert "has no folder 'dev-clean'" in asrkit(tmp_path, *LIBRISPEECH, "--corpus-dir", corpus).complaint()


# The disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def read_only_home(good_home: Path) -> Iterator[Path]:
    """A copy that everybody can reach and read, and nobody can write to."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "home"
        shutil.copytree(good_home, copy, symlinks=True)
        for path in [Path(folder), copy, *copy.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o555 if path.is_dir() else 0o444)
        yield copy
        for path in [Path(folder), copy, *copy.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


PREPARE_AGAIN = ("prepare", "librispeech", "--manifest", "good.jsonl", "--name", "again", "--workers", 1)
TRAIN_AGAIN = ("train", "librispeech", "--data", "good", "--run", "again", "--device", "cpu", *TINY)
DECODE = ("decode", "base", "--data-dir", "data", "--device", "cpu", "--jobs", 1)


def test_a_full_disk_while_preparing(home: Path) -> None:
    with room_for(60_000):
        complaint = asrkit(home, *PREPARE_AGAIN).complaint()
    assert "no room left" in complaint
    assert not (home / "data" / "again" / "prepare.json").exists()
    assert leftovers(home) == []
    assert asrkit(home, *PREPARE_AGAIN).code == 0
    shard = "train/shard-000000.tar"
    assert (home / "data/again" / shard).read_bytes() == (home / "data/good" / shard).read_bytes()


def test_a_full_disk_while_training(home: Path) -> None:
    with room_for(8_000):
        complaint = asrkit(home, *TRAIN_AGAIN).complaint()
    assert "checkpoint exp/librispeech/again/checkpoints/" in complaint
    assert "cannot be written" in complaint
    assert leftovers(home) == []
    run = home / "exp" / "librispeech" / "again"
    assert not list(run.glob("checkpoints/*"))
    assert not (run / "train.json").exists()
    assert asrkit(home, *TRAIN_AGAIN, "--resume").code == 0
    assert (run / "train.json").exists()


def test_a_full_disk_while_decoding(home: Path) -> None:
    with room_for(1_000):
        complaint = asrkit(home, *DECODE).complaint()
    assert "cannot be kept" in complaint
    assert leftovers(home) == []
    assert not list((home / "exp").rglob("report.json"))
    assert asrkit(home, *DECODE).code == 0
    assert len(list((home / "exp").rglob("report.json"))) == 1


def test_a_read_only_folder(read_only_home: Path, home: Path) -> None:
    for words in (PREPARE_AGAIN, DECODE, TRAIN_AGAIN):
        assert asrkit(home, *words).code == 0  # it is not the command that is wrong
        with unprivileged():
            complaint = asrkit(read_only_home, *words).complaint()
        assert "ermission denied" in complaint
    assert leftovers(read_only_home) == []


# Shards and their index -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("split", "words"), [("train", TRAIN_AGAIN), ("test", DECODE)])
def test_a_truncated_shard(split: str, words: tuple[object, ...], home: Path, good_home: Path) -> None:
    shard = home / "data" / "good" / split / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes()[:50_000])
    assert f"{split}/shard-000000.tar has 50000 bytes, not the " in asrkit(home, *words).complaint()
    assert not (home / "exp/librispeech/again").exists()
    assert not list((home / "exp").rglob("report.json"))
    assert asrkit(home, "prepare", "librispeech", "--manifest", good_home / "good.jsonl", "--workers", 1).code == 0
    assert asrkit(home, *words).code == 0


def test_an_index_that_does_not_match_its_shard(home: Path) -> None:
    folder = home / "data" / "good" / "train"
    rows = np.load(folder / "index.npy")
    rows["offset"] += 1000
    np.save(folder / "index.npy", rows)
    complaint = asrkit(home, *TRAIN_AGAIN).complaint()
    assert "train/shard-000000.tar is cut off or damaged at 'wav_" in complaint
    np.save(folder / "index.npy", rows[:-1])
    assert "index.npy has 9 rows, index.json says 10" in asrkit(home, *TRAIN_AGAIN).complaint()
    (folder / "index.json").unlink()
    assert "has no index.json; run asrkit prepare" in asrkit(home, *TRAIN_AGAIN).complaint()


def test_damage_inside_a_test_shard_is_counted(home: Path) -> None:
    index = Index.open(home / "data" / "good" / "test")
    row, key = index.rows[1], index.record(1)["key"]
    with (home / "data" / "good" / "test" / "shard-000000.tar").open("r+b") as shard:
        shard.seek(int(row["offset"]))
        shard.write(bytes(int(row["size"])))
    outcome = asrkit(home, *DECODE, "--json")
    assert outcome.code == 0, outcome
    (report,) = json.loads(outcome.out)
    assert (report["utterances"], report["utterances_in_corpus"]) == (2, 3)
    assert report["excluded"] == {"unreadable in its shard": 1}
    assert key in outcome.err


def test_an_index_of_another_version(home: Path) -> None:
    path = home / "data" / "good" / "train" / "index.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"schema": 1', '"schema": 99'), encoding="utf-8")
    assert "has schema 99; this asrkit wants 1" in asrkit(home, *TRAIN_AGAIN).complaint()


# Checkpoints and n-grams ------------------------------------------------------------------------------------------

TRANSCRIBE = ("transcribe", "wav/0.wav", "--device", "cpu")


def test_a_checkpoint_of_another_version(home: Path) -> None:
    path = checkpoint_of(home) / "settings.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"format": 2', '"format": 99'), encoding="utf-8")
    for words in (DECODE, TRANSCRIBE):
        assert "has format 99; this version of asrkit reads 2" in asrkit(home, *words).complaint()


@pytest.mark.parametrize("name", ["model.safetensors", "settings.json", "tokenizer/tokenizer.json"])
def test_a_truncated_checkpoint(name: str, home: Path) -> None:
    path = checkpoint_of(home) / name
    path.write_bytes(path.read_bytes()[:100])
    for words in (DECODE, TRANSCRIBE):
        complaint = asrkit(home, *words).complaint()
        assert str(checkpoint_of(home)) in complaint
        assert "cannot be" in complaint or "damaged" in complaint
    assert not list((home / "exp").rglob("report.json"))


def test_resuming_from_a_truncated_state(home: Path) -> None:
    run = home / "exp" / "librispeech" / "base"
    (run / "train.json").unlink()
    for path in run.glob("checkpoints/*/state.pt"):
        path.write_bytes(path.read_bytes()[:100])
    complaint = asrkit(home, "train", "librispeech", "--resume", "--device", "cpu").complaint()
    assert "state.pt cannot be loaded" in complaint


NO_ARPA = {
    "words.arpa": (b"one\ntwo\n", "line 1 is 'one'; wanted .*, for this is no ARPA file"),
    "nothing.arpa": (b"", "ends after line 0; wanted .*, for this is no ARPA file"),
    "binary.arpa": (bytes(range(256)) * 8, "line 1 is .*; wanted .*, for this is no ARPA file"),
    "cut.arpa": (
        b"\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-1\tone\t0\n",
        "ends after line 6; wanted 3 more 1-grams: the file is cut short",
    ),
    "cut.arpa.gz": (
        gzip.compress(b"\\data\\\nngram 1=4\nngram 2=1\n\n", mtime=0)[:30],
        "damaged or truncated gzip file",
    ),
    "missing.arpa": (None, "No such file or directory"),
}


@pytest.mark.parametrize("name", NO_ARPA)
def test_an_arpa_that_is_none(name: str, good_home: Path) -> None:
    content, message = NO_ARPA[name]
    if content is not None:
        (good_home / name).write_bytes(content)
    for words in (DECODE, TRANSCRIBE):
        complaint = asrkit(good_home, *words, "--lm", name).complaint()
        assert name in complaint
        assert re.search(message, complaint)
    assert not list((good_home / "exp").rglob("report.json"))


def test_a_kenlm_binary_without_its_words(good_home: Path) -> None:
    """Said first: that pyctcdecode is taken."""
    (good_home / "old.arpa").write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0")
    for words in (DECODE, TRANSCRIBE):
        outcome = asrkit(good_home, *words, "--lm", "old.arpa")
        said, complaint = outcome.err.splitlines() if words == TRANSCRIBE else (*outcome.out.splitlines(), outcome.err)
        assert outcome.code == 1
        assert said == "old.arpa is a KenLM binary: searching with pyctcdecode"
        assert re.search("^asrkit: old.arpa is a KenLM binary, from which its words cannot be read", complaint)
        assert re.search(
            "^asrkit: old.arpa is a KenLM binary",
            asrkit(good_home, *words, "--lm", "old.arpa", "--engine", "native").complaint(),
        )
    assert not list((good_home / "exp").rglob("report.json"))

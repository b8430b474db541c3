"""Models tested among noises and in rooms: the same for every model, a report for each condition."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from house import House, Told

from asrkit.checkpoint import load_checkpoint
from asrkit.conditions import conditions_of
from asrkit.errors import AsrkitError
from asrkit.prepare_noise import prepare_noise
from asrkit.search import greedy
from asrkit.shards import open_data

RATE_HZ = 16_000


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Three noises of different pitch, in stereo: the first channel counts."""
    (tmp_path / "street").mkdir()
    time = np.arange(RATE_HZ) / RATE_HZ
    for number, hz in enumerate((300, 700, 1900)):
        sound = np.stack([0.2 * np.sin(2 * np.pi * hz * time), np.zeros(RATE_HZ)], axis=1)
        soundfile.write(tmp_path / "street" / f"{number}.wav", sound, RATE_HZ)
    return tmp_path / "street"


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    (tmp_path / "rooms").mkdir()
    response = np.zeros(800)
    response[[10, 400]] = [0.9, 0.5]
    soundfile.write(tmp_path / "rooms" / "hall.wav", response, RATE_HZ)
    return tmp_path / "rooms"


def test_each_ratio_is_a_condition_with_the_same_noises(street: Path) -> None:
    loud, quiet = conditions_of(street, None, [0.0, 20.0])
    assert (loud.name, quiet.name) == ("street 0 dB", "street 20 dB") and loud.fingerprint != quiet.fingerprint
    speech = np.random.default_rng(1).normal(0, 0.1, 2 * RATE_HZ).astype("f4")
    pitches = set()
    for row in range(20):
        added = [condition.heard(speech, row) - speech for condition in (loud, quiet)]
        np.testing.assert_allclose(added[0], 10 * added[1], atol=1e-5)
        np.testing.assert_allclose(10 * np.log10(np.mean(speech**2) / np.mean(added[0] ** 2)), 0.0, atol=0.1)
        pitches.add(int(np.argmax(np.abs(np.fft.rfft(added[0])))) // 2)
        np.testing.assert_array_equal(loud.heard(speech, row), loud.heard(speech, row))
    assert pitches == {300, 700, 1900}
    assert [condition.snr_db for condition in conditions_of(street)] == [20, 10, 5, 0]


def test_rooms_keep_the_length(rooms: Path) -> None:
    (hall,) = conditions_of(rir=rooms)
    click = np.zeros(1000, dtype="f4")
    click[100] = 0.5
    heard = hall.heard(click, 3)
    assert len(heard) == 1000 and np.argmax(np.abs(heard)) == 100
    assert heard[490] / heard[100] == pytest.approx(0.5 / 0.9, rel=1e-3)


def test_prepared_noises_serve_as_well(street: Path, rooms: Path, tmp_path: Path) -> None:
    prepare_noise(noise=[street], data_dir=tmp_path / "data", name="packed")
    (packed,) = conditions_of(tmp_path / "data" / "packed", None, [5.0])
    (plain,) = conditions_of(street, None, [5.0])
    speech = np.random.default_rng(2).normal(0, 0.1, RATE_HZ).astype("f4")
    mixed = packed.heard(speech, 4) - speech  # both channels: half as strong, and made as loud again
    np.testing.assert_allclose(mixed, plain.heard(speech, 4) - speech, atol=1e-3)
    with pytest.raises(AsrkitError, match=r"packed holds no rir; it has noise"):
        conditions_of(rir=tmp_path / "data" / "packed")


def test_a_manifest_takes_pieces_and_channels_of_files(tmp_path: Path) -> None:
    sound = np.zeros((3 * RATE_HZ, 2))
    sound[RATE_HZ : 2 * RATE_HZ, 1] = 0.5  # the second second of the second channel
    soundfile.write(tmp_path / "two.wav", sound, RATE_HZ)
    line = {"audio": "two.wav", "start_s": 1.0, "end_s": 2.0, "channel": 1}
    (tmp_path / "list.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    (heard,) = conditions_of(tmp_path / "list.jsonl", None, [0.0])
    speech = np.full(RATE_HZ // 2, 0.25, dtype="f4")
    np.testing.assert_allclose(heard.heard(speech, 0), 0.5, atol=1e-3)  # as loud as the speech itself, added to it


def test_mistakes(street: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ((None, None, [5.0]), "--snr is given without noises; wanted --noise"),
        ((tmp_path / "empty",), "empty has no sound file; wanted .wav"),
        ((tmp_path / "nowhere",), "nowhere is not there; wanted .* a manifest, or what prepare-noise made"),
        ((street, None, [5.0, -400.0]), "--snr -400 is no level to test at; wanted dB from -20 to 60"),
        ((street, None, [1e9]), r"--snr 1e\+09 is no level to test at"),
    ):
        with pytest.raises(AsrkitError, match=message):
            conditions_of(*arguments)


# Decoded under them ------------------------------------------------------------------------------------------------


def test_decode_reports_every_condition(house: House, street: Path, rooms: Path) -> None:
    told = Told()
    reports = house.decode(noise=street, snrs_db=[10.0, -5.0], rir=rooms, progress=told)
    assert [report["condition"] for report in reports] == [None, "street 10 dB", "street -5 dB", "rooms"]
    ((_, _, rows),) = told.tables
    assert [row[0] for row in rows] == ["test", "test, street 10 dB", "test, street -5 dB", "test, rooms"]
    folders = {path.name for path in (house.run / "decode").iterdir()}
    assert {"test-greedy", "test-street_10_dB-greedy", "test-street_-5_dB-log-probs", "test-rooms-greedy"} <= folders
    texts = [[line["reference"] for line in house.hypotheses(name)] for name in ("test-greedy", "test-rooms-greedy")]
    assert texts[0] == texts[1]
    values = [np.load(house.run / "decode" / f"test-{name}log-probs" / "log_probs.npy") for name in ("", "rooms-")]
    assert values[0].shape == values[1].shape and not np.array_equal(*values)


def test_beside_conditions_test_is_heard_as_it_was_recorded(house: House, street: Path) -> None:
    house.decode(noise=street, snrs_db=[0.0])
    trained, test = load_checkpoint(house.run), open_data(house.root / "data", "mine").index("test")
    said = []
    for row in range(len(test)):
        sound = torch.from_numpy(test.audio(row))[None]
        log_probs, _ = trained.log_probs(sound, torch.tensor([sound.shape[1]]))
        said.append(greedy(log_probs[0].numpy(), trained.tokenizer).text)
    assert [line["hypothesis"] for line in house.hypotheses("test-greedy")] == said
    assert [line["hypothesis"] for line in house.hypotheses("test-street_0_dB-greedy")] != said


def test_log_probs_are_kept_for_each_condition(house: House, street: Path) -> None:
    first = house.decode(noise=street, snrs_db=[10.0])
    again = house.decode(noise=street, snrs_db=[10.0])
    assert [report["acoustic_s"] for report in again] == [None, None]
    assert [report["cer"] for report in again] == [report["cer"] for report in first]
    sound, _ = soundfile.read(street / "1.wav")
    soundfile.write(street / "1.wav", sound[::-1], RATE_HZ)  # as many bytes, but another noise: other conditions
    assert [report["acoustic_s"] is None for report in house.decode(noise=street, snrs_db=[10.0])] == [True, False]
    shutil.copytree(street, street.parent / "other" / "street")  # the same name, and another folder
    other = house.decode(noise=street.parent / "other" / "street", snrs_db=[10.0])
    assert [report["acoustic_s"] is None for report in other] == [True, False]


def test_one_page_has_a_row_for_each_condition(house: House, street: Path, rooms: Path) -> None:
    told = Told()
    reports = house.decode(noise=street, snrs_db=[10.0], rir=rooms, progress=told)
    folder = house.run / "decode" / "test-conditions-greedy"
    compared = json.loads((folder / "conditions.json").read_text(encoding="utf-8"))
    rows = compared["conditions"]
    assert [row["condition"] for row in rows] == [None, "street 10 dB", "rooms"]
    assert [(row["wer"], row["cer"]) for row in rows] == [(report["wer"], report["cer"]) for report in reports]
    assert all((folder / row["report"]).is_file() for row in rows)
    page = (folder / "conditions.html").read_text(encoding="utf-8")
    places = [page.index(name) for name in ("as recorded", "street 10 dB", ">rooms<")]
    assert places == sorted(places)
    assert f"all conditions: {folder / 'conditions.html'}" in told.said


def test_a_noise_that_cannot_be_read_ends_it_and_no_utterance_is_lost(house: House, street: Path) -> None:
    (street / "1.wav").write_bytes(b"RIFF and nothing else")
    with pytest.raises(AsrkitError, match=r"1\.wav.*; take it away, or let asrkit prepare-noise leave it out"):
        house.decode(noise=street, snrs_db=[10.0])
    (street / "1.wav").unlink()
    counts = [report["utterances"] for report in house.decode(noise=street, snrs_db=[10.0])]
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("kind", ["noise", "rir"])
def test_what_is_silent_is_no_condition(house: House, tmp_path: Path, kind: str) -> None:
    (tmp_path / "silence").mkdir()
    soundfile.write(tmp_path / "silence" / "a.wav", np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(AsrkitError, match=r"silence/a\.wav holds nothing but silence; take it away, or let asrkit"):
        house.decode(**{kind: tmp_path / "silence"})


def test_the_folder_that_one_is_in_has_a_name(rooms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(rooms)
    assert [condition.name for condition in conditions_of(rir=".")] == ["rooms"]

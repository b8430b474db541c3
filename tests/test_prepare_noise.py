"""Noises and rooms packed, drawn from by training, the same whatever the worker."""

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from house import Told
from local_server import serving
from tones import make_tones

from asrkit import packing
from asrkit.augment import Augmentation, Noise
from asrkit.batches import load, read_batch
from asrkit.download import unpack
from asrkit.errors import AsrkitError
from asrkit.noise_data import open_noise, surroundings
from asrkit.noise_sources import SOURCES
from asrkit.prepare_noise import prepare_noise
from asrkit.settings import AugmentSettings
from asrkit.shards import Index, JoinedIndex

RATE_HZ = 16_000


def write(path: Path, seconds: float, *, level: float = 0.1, channels: int = 1, rate_hz: int = RATE_HZ) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (int(seconds * rate_hz), channels)
    sound = np.random.default_rng(int(seconds * 100)).normal(0, level, shape)
    soundfile.write(path, sound, rate_hz, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


@pytest.fixture
def noises(tmp_path: Path) -> Path:
    folder = tmp_path / "noises"
    write(folder / "street.wav", 2.0)
    write(folder / "deep" / "hum.flac", 65.2, rate_hz=8_000)
    write(folder / "deep" / "hall.wav", 30.0)
    (folder / "README.txt").write_text("no sound", encoding="utf-8")
    return folder


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """A loud room of two channels, one that hardly fills a bit of 16, and their list."""
    folder = tmp_path / "rooms"
    write(folder / "loud.wav", 0.5, level=3.0, channels=2)
    write(folder / "faint.wav", 0.25, level=1e-5)
    lines = [
        {"audio": "loud.wav", "t60_s": 0.6},
        {"audio": "faint.wav"},
        {"audio": "loud.wav", "channel": 1, "key": "one"},
    ]
    (folder / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def test_folders_are_packed_long_noises_in_pieces(noises: Path, tmp_path: Path) -> None:
    told = Told()
    meta = prepare_noise(noise=[noises], data_dir=tmp_path / "data", progress=told)
    index = open_noise(tmp_path / "data" / "noise").indexes["noise"]
    keys = [index.record(row)["key"] for row in range(len(index))]
    assert keys == ["deep_hall", "deep_hum-000", "deep_hum-001", "deep_hum-002", "street"]
    assert [round(len(index.audio(row)) / RATE_HZ, 3) for row in range(5)] == [30.0, 30.0, 30.0, 5.2, 2.0]
    assert meta["counts"]["noise"]["clips"] == 5 and set(meta["counts"]) == {"noise"}
    assert any("augment.noise=noise" in line for line in told.said)


def test_rooms_come_by_channel_and_as_loud_as_can_be(rooms: Path, tmp_path: Path) -> None:
    prepare_noise(rir=[rooms / "list.jsonl"], data_dir=tmp_path / "data", name="rooms")
    index = open_noise(tmp_path / "data" / "rooms").indexes["rir"]
    records = [index.record(row) for row in range(len(index))]
    assert [record["key"] for record in records] == ["loud-channel0", "loud-channel1", "faint", "one"]
    assert records[0]["t60_s"] == 0.6
    for row in range(4):
        assert np.abs(index.audio(row)).max() == pytest.approx(0.9, abs=1e-3)
    faint, _ = soundfile.read(rooms / "faint.wav", dtype="float32")
    np.testing.assert_allclose(index.audio(2), faint * 0.9 / np.abs(faint).max(), atol=2e-5)
    np.testing.assert_array_equal(index.audio(1), index.audio(3))


def test_again_it_changes_nothing_and_takes_what_is_new(noises: Path, rooms: Path, tmp_path: Path) -> None:
    first = prepare_noise(noise=[noises], data_dir=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "noise").glob("*/shard-*")}
    assert prepare_noise(noise=[noises], data_dir=tmp_path) == first
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "noise").glob("*/shard-*")}
    both = prepare_noise(noise=[noises], rir=[rooms], data_dir=tmp_path)
    assert set(both["counts"]) == {"noise", "rir"} and both["counts"]["noise"] == first["counts"]["noise"]


def test_another_sound_with_as_many_bytes_is_packed_anew(noises: Path, tmp_path: Path) -> None:
    prepare_noise(noise=[noises], data_dir=tmp_path / "data")
    sound, rate_hz = soundfile.read(noises / "street.wav", dtype="float32")
    write(noises / "street.wav", 2.0, level=0.01)
    prepare_noise(noise=[noises], data_dir=tmp_path / "data")
    index = open_noise(tmp_path / "data" / "noise").indexes["noise"]
    assert rate_hz == RATE_HZ and np.std(index.audio(4)) == pytest.approx(np.std(sound) / 10, rel=0.02)


def test_what_cannot_be_read_is_named_and_left_out(noises: Path, tmp_path: Path) -> None:
    (noises / "broken.wav").write_bytes(b"RIFF no sound at all")
    told = Told()
    meta = prepare_noise(noise=[noises], data_dir=tmp_path, progress=told)
    assert meta["counts"]["noise"]["left_out"] == {"unreadable": 1} and meta["counts"]["noise"]["clips"] == 5
    assert any("broken" in line for line in told.warned)


def test_what_is_silent_is_named_and_left_out(noises: Path, tmp_path: Path) -> None:
    soundfile.write(noises / "nothing.wav", np.zeros(RATE_HZ), RATE_HZ)
    told = Told()
    meta = prepare_noise(noise=[noises], rir=[noises], data_dir=tmp_path, progress=told)
    assert [meta["counts"][kind]["left_out"] for kind in ("noise", "rir")] == [{"silent": 1}, {"silent": 1}]
    assert sum("nothing.wav holds nothing but silence" in line for line in told.warned) == 2


def test_a_set_never_loses_what_it_was_made_of(
    noises: Path, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    before = prepare_noise(noise=[noises], rir=[rooms], data_dir=tmp_path / "data")
    other = write(tmp_path / "other" / "bell.wav", 1.0).parent
    (tmp_path / "empty").mkdir()
    lost = f"noise is also made of {noises}, --rir {rooms}; wanted that, too, or another --name"
    for arguments, message in (
        ({"noise": [other]}, lost),
        ({"noise": [noises, tmp_path / "empty"]}, "empty has no sound file"),
        ({"noise": [noises, tmp_path / "data" / "noise"]}, "noise is prepared already; train with augment.noise=noise"),
    ):
        with pytest.raises(AsrkitError, match=message):
            prepare_noise(data_dir=tmp_path / "data", **arguments)
        assert open_noise(tmp_path / "data" / "noise").meta == before
        assert prepare_noise(noise=[noises], rir=[rooms], data_dir=tmp_path / "data") == before
    with pytest.raises(AsrkitError, match="no collection 'musann'"):
        prepare_noise(noise=[noises], rir=[rooms], collections=["musann"], data_dir=tmp_path / "data")
    assert prepare_noise(noise=[noises], rir=[rooms], data_dir=tmp_path / "data") == before  # it has not grown
    with monkeypatch.context() as patched:
        patched.setattr(packing, "pack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare_noise(noise=[other, noises], rir=[rooms], data_dir=tmp_path / "data")
    with pytest.raises(AsrkitError, match=lost):  # though it is not finished now
        prepare_noise(noise=[other], data_dir=tmp_path / "data")
    told = Told()
    more = prepare_noise(noise=[other, noises], rir=[rooms], data_dir=tmp_path / "data", progress=told)
    assert more["counts"]["noise"]["clips"] == before["counts"]["noise"]["clips"] + 1
    assert "1 shards hold other sounds by now: made anew" in told.said
    assert any("noise grows: trainings that began with it cannot go on" in line for line in told.warned)
    with pytest.raises(AsrkitError, match="empty has no sound file"):
        prepare_noise(noise=[tmp_path / "empty"], data_dir=tmp_path / "data", name="new")
    assert not (tmp_path / "data" / "new").exists()


def test_mistakes(noises: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.wav").write_bytes(b"no sound")
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "mine" / "thesis.txt").touch()
    for arguments, message in (
        ({}, "no noises are given; wanted folders or manifests"),
        ({"noise": [tmp_path / "empty"]}, "empty has no sound file; wanted .wav"),
        ({"noise": [tmp_path / "nowhere"]}, "nowhere is not there; wanted a folder"),
        ({"noise": [tmp_path / "bad"]}, "none of the files for .*noise can be read"),
        ({"noise": [noises], "name": "a/b"}, "--name 'a/b' cannot name a folder"),
        ({"noise": [noises], "name": "mine"}, "mine holds 'thesis.txt' and no noises"),
    ):
        with pytest.raises(AsrkitError, match=message):
            prepare_noise(data_dir=tmp_path / "data", **arguments)
    prepare_noise(noise=[noises], data_dir=tmp_path / "data", name="street")
    with pytest.raises(AsrkitError, match=r"data/strete holds no prepared noises; run: .*did you mean 'street'"):
        open_noise(tmp_path / "data" / "strete")


# Drawn from --------------------------------------------------------------------------------------------------------


@pytest.fixture
def heard_in(noises: Path, rooms: Path, tmp_path: Path) -> Augmentation:
    prepare_noise(noise=[noises], rir=[rooms], data_dir=tmp_path / "data")
    settings = AugmentSettings(
        reverb_p=0.5, noise_p=0.5, gain_p=0.5, codec_p=0.5, noise_snr_db=(3.0, 9.0), noise_most=3
    )
    return Augmentation(settings, surroundings([open_noise(tmp_path / "data" / "noise")]), seed=4)


def test_each_is_drawn_as_often_as_its_probability_says(heard_in: Augmentation) -> None:
    draws = [heard_in.draw(epoch=epoch, row=row) for epoch in range(4) for row in range(500)]
    for share in (
        np.mean([draw.response is not None for draw in draws]),
        np.mean([bool(draw.noises) for draw in draws]),
        np.mean([draw.gain_db != 0 for draw in draws]),
        np.mean([draw.codec is not None for draw in draws]),
    ):
        assert share == pytest.approx(0.5, abs=0.05)  # 4.5 standard deviations
    heard = [noise for draw in draws for noise in draw.noises]
    assert {len(draw.noises) for draw in draws} == {0, 1, 2, 3}
    assert {noise.row for noise in heard} == set(range(5)) and {draw.response for draw in draws} == {None, 0, 1, 2}
    assert all(3 <= noise.snr_db <= 9 and 0 <= noise.start < 1 for noise in heard)
    assert {draw.codec for draw in draws} == {None, "ulaw", "gsm", "mp3"}


def test_speeds_and_masks_are_for_the_share_that_is_wanted_and_else_as_before() -> None:
    settings = AugmentSettings(speeds=(0.9, 1.1), speed_p=0.3, masks_p=0.8)
    some, all_ = Augmentation(settings, seed=4), Augmentation(replace(settings, speed_p=1.0, masks_p=1.0), seed=4)
    draws = [(some.draw(epoch=0, row=row), all_.draw(epoch=0, row=row)) for row in range(2000)]
    assert np.mean([one.speed != 1 for one, _ in draws]) == pytest.approx(0.3, abs=0.03)
    assert np.mean([bool(one.masks.any()) for one, _ in draws]) == pytest.approx(0.8, abs=0.03)
    assert all(one.speed in (1, other.speed) for one, other in draws)
    assert all(not one.masks.any() or np.array_equal(one.masks, other.masks) for one, other in draws)
    slow = Augmentation(AugmentSettings(speeds=(0.9,), speed_p=0.5, time_masks=0, mel_masks=0, noise_p=0, reverb_p=0))
    assert {slow.draw(epoch=0, row=row).speed for row in range(50)} == {0.9, 1.0}


def test_one_setting_leaves_the_other_draws_alone(heard_in: Augmentation) -> None:
    plain = Augmentation(AugmentSettings(), seed=4)
    without = Augmentation(AugmentSettings(noise_p=0.0, reverb_p=0.5), heard_in.surroundings, seed=4)
    for row in range(50):
        drawn = heard_in.draw(epoch=1, row=row)
        assert plain.draw(epoch=1, row=row).speed == drawn.speed
        np.testing.assert_array_equal(plain.draw(epoch=1, row=row).masks, drawn.masks)
        assert without.draw(epoch=1, row=row).response == drawn.response
        assert without.draw(epoch=1, row=row).noises == plain.draw(epoch=1, row=row).noises == ()


def test_the_noises_that_are_drawn_are_heard_at_their_level(heard_in: Augmentation) -> None:
    speech = np.random.default_rng(5).normal(0, 0.1, 3 * RATE_HZ).astype("f4")
    draws = replace(heard_in.draw(epoch=0, row=0), speed=1.0, response=None, gain_db=0.0, codec=None)
    noise = heard_in.surroundings.noises.audio(4)  # two seconds: it begins again
    mixed = heard_in.vary(speech, replace(draws, noises=(Noise(4, 0.25, 6.0),)))
    wanted = np.resize(np.roll(noise, -8_000), len(speech))
    added = mixed - speech
    assert np.corrcoef(added, wanted)[0, 1] > 0.999
    assert 10 * np.log10(np.mean(speech**2) / np.mean(added**2)) == pytest.approx(6.0, abs=0.1)


def test_an_utterance_is_the_same_whatever_the_worker(heard_in: Augmentation, tmp_path: Path) -> None:
    folder = make_tones(tmp_path / "tones")
    tones = JoinedIndex([Index.open(folder / "train")])
    batches = [np.array([5, 6]), np.array([7, 1, 2]), np.array([3, 4])]
    here = [read_batch(tones, rows, augmentation=heard_in, epoch=2) for rows in batches]
    for workers in (0, 1, 2):
        for batch, wanted in zip(
            load(tones, [(2, rows) for rows in batches], augmentation=heard_in, workers=workers), here, strict=True
        ):
            assert np.array_equal(batch.waveforms, wanted.waveforms) and np.array_equal(batch.masks, wanted.masks)


def test_off_by_one_switch(heard_in: Augmentation, tmp_path: Path) -> None:
    settings = AugmentSettings(enabled=False, codec_p=1.0, gain_p=1.0).in_force()
    speech = np.random.default_rng(6).normal(0, 0.1, RATE_HZ).astype("f4")
    nothing = Augmentation(settings, heard_in.surroundings)
    np.testing.assert_array_equal(nothing.vary(speech, nothing.draw(epoch=0, row=0)), speech)
    assert nothing.draw(epoch=0, row=0).masks.shape == (0, 2)


# Published collections ---------------------------------------------------------------------------------------------


def test_musan_is_downloaded_without_its_speech(tmp_path: Path, noises: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = (noises / "street.wav").read_bytes()
    names = ("noise/free-sound/noise-free-sound-0000.wav", "music/fma/music-fma-0000.wav", "speech/us-gov/a.wav")
    for members, wanted in (({f"musan/{name}": sound for name in names}, 2), ({"musan2/noise/a.wav": sound}, None)):
        content = tar_of(members)
        with serving({"musan.tar.gz": content}) as server:
            md5 = hashlib.md5(content).hexdigest()  # noqa: S324  # as published
            archive = replace(SOURCES["musan"].archive, url=server.url("musan.tar.gz"), md5=md5, size=len(content))
            monkeypatch.setitem(SOURCES, "musan", replace(SOURCES["musan"], archive=archive))
            if wanted is None:
                with pytest.raises(AsrkitError, match=r"musan unpacked to .* has no noise \(musan/noise/.*by hand"):
                    prepare_noise(collections=["musan"], data_dir=tmp_path, name="changed")
                return
            meta = prepare_noise(collections=["musan"], data_dir=tmp_path, name="musan")
            assert meta["counts"]["noise"]["clips"] == wanted and set(meta["counts"]) == {"noise"}


def tar_of(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def zip_of(members: dict[str, bytes], modes: dict[str, int] | None = None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, 0o100644) << 16
            archive.writestr(info, content)
    return packed.getvalue()


def test_a_collection_is_downloaded_checked_and_packed(
    tmp_path: Path, noises: Path, rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {
        "RIRS_NOISES/pointsource_noises/bell.wav": (noises / "street.wav").read_bytes(),
        "RIRS_NOISES/real_rirs_isotropic_noises/RVB_type1_noise_1.wav": (noises / "street.wav").read_bytes(),
        "RIRS_NOISES/real_rirs_isotropic_noises/RVB_type1_rir_1.wav": (rooms / "faint.wav").read_bytes(),
        "RIRS_NOISES/real_rirs_isotropic_noises/air_booth.wav": (rooms / "faint.wav").read_bytes(),
        "RIRS_NOISES/simulated_rirs/smallroom/Room001/Room001-00001.wav": (rooms / "faint.wav").read_bytes(),
        "RIRS_NOISES/simulated_rirs/README": b"not a room",
    }
    content = zip_of(members)
    with serving({"rirs_noises.zip": content}) as server:
        archive = replace(
            SOURCES["rirs_noises"].archive,
            url=server.url("rirs_noises.zip"),
            md5=hashlib.md5(content).hexdigest(),  # noqa: S324  # as published
            size=len(content),
        )
        monkeypatch.setitem(SOURCES, "rirs_noises", replace(SOURCES["rirs_noises"], archive=archive))
        meta = prepare_noise(collections=["rirs_noises"], data_dir=tmp_path)
        assert prepare_noise(collections=["rirs_noises"], data_dir=tmp_path) == meta
        assert len(server.requests) == 1
    assert (meta["counts"]["noise"]["clips"], meta["counts"]["rir"]["clips"]) == (2, 3)
    with pytest.raises(AsrkitError, match=r"no collection 'musann'; did you mean 'musan'\?"):
        prepare_noise(collections=["musann"], data_dir=tmp_path, name="other")


@pytest.mark.parametrize("name", ["../escaped", "top/../../escaped", "/../escaped"])
def test_members_of_a_zip_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of({"fine": b"fine", name: b"bad"}))
    with pytest.raises(AsrkitError, match="which leads out of its folder; not unpacked"):
        unpack(tmp_path / "a.zip", tmp_path / "a" / "out")
    assert not list(tmp_path.rglob("escaped"))


def test_an_absolute_member_of_a_zip_stays_inside(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "file"
    (tmp_path / "a.zip").write_bytes(zip_of({str(target): b"x"}))
    unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not target.exists()
    assert (tmp_path / "out" / str(target).lstrip("/")).read_bytes() == b"x"


def test_links_in_a_zip_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link.zip").write_bytes(zip_of({"link": b"/etc"}, {"link": 0o120777}))
    with pytest.raises(AsrkitError, match="holds 'link', neither file nor folder; not unpacked"):
        unpack(tmp_path / "link.zip", tmp_path / "out")
    whole = zip_of({"a": bytes(range(256)) * 100})
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    (tmp_path / "hurt.zip").write_bytes(whole[:60] + b"xxxx" + whole[64:])
    for name in ("cut", "hurt"):
        with pytest.raises(AsrkitError, match=rf"{name}\.zip is no whole zip archive"):
            unpack(tmp_path / f"{name}.zip", tmp_path / name)

"""Rooms that are drawn and simulated."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from house import Told

from asrkit.errors import AsrkitError
from asrkit.noise_data import open_noise
from asrkit.prepare_noise import prepare_noise
from asrkit.rooms import draw_room, simulate_rooms

RATE_HZ = 16_000


def responses(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*"))}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rooms")
    simulate_rooms(folder, 12, seed=7, workers=1, progress=Told())
    return folder


def test_mouth_and_microphone_are_inside_and_as_far_apart_as_said() -> None:
    for number in range(200):
        room = draw_room(3, number)
        for point in (room.mouth, room.microphone):
            assert all(0.3 <= at <= side - 0.3 for at, side in zip(point, room.size, strict=True))
        assert np.linalg.norm(np.subtract(room.mouth, room.microphone)) == pytest.approx(room.distance_m, abs=1e-3)
    assert draw_room(3, 1) == draw_room(3, 1) != draw_room(4, 1)


def test_the_first_sound_comes_after_its_flight_and_then_the_room_fades(simulated: Path) -> None:
    lines = [json.loads(line) for line in (simulated / "rooms-7.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 12
    for line in lines:
        response, rate_hz = soundfile.read(simulated / line["audio"])
        assert rate_hz == RATE_HZ and 0.9 < np.abs(response).max() <= 1
        first = np.flatnonzero(np.abs(response) > 0.2)[0]
        # the simulator's fractional delays begin 40 samples early; an image moves by up to 9 cm, 4 samples
        assert first - 40 == pytest.approx(line["distance_m"] / 343 * RATE_HZ, abs=8)
        energy = np.cumsum(response[::-1] ** 2)[::-1]
        down_30_db = np.flatnonzero(energy < energy[0] * 1e-3)[0] - first
        assert 0.1 < down_30_db / RATE_HZ / line["t60_s"] < 1.5  # half of it in a room that fades evenly


def test_rooms_are_the_same_again_in_any_number_of_processes(simulated: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("asrkit.rooms._FOR_A_PROCESS", 3)
    simulate_rooms(tmp_path, 6, seed=7, workers=2, progress=Told())
    few, all_of_them = responses(tmp_path), responses(simulated)
    assert len(few) == 7
    assert all(all_of_them[name] == data for name, data in few.items() if name.endswith(".flac"))
    (tmp_path / "room-7-00002.flac").unlink()
    (tmp_path / "room-7-00003.flac").write_bytes(b"kept")
    simulate_rooms(tmp_path, 6, seed=7, workers=1, progress=Told())
    assert responses(tmp_path) == few | {"room-7-00003.flac": b"kept"}


def test_they_are_packed_with_what_they_are(tmp_path: Path) -> None:
    meta = prepare_noise(rooms=3, seed=5, data_dir=tmp_path, name="halls", workers=1)
    index = open_noise(tmp_path / "halls").indexes["rir"]
    assert meta["counts"]["rir"]["clips"] == len(index) == 3 and meta["rooms"] == 3
    assert index.record(0)["t60_s"] == draw_room(5, 0).t60_s


def test_without_the_simulator_the_error_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(AsrkitError, match=r"wanted pyroomacoustics: python -m pip install 'asrkit\[rooms\]'"):
        prepare_noise(rooms=1, data_dir=tmp_path)

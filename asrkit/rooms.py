"""How many rooms and a seed in; impulse responses of made-up shoebox rooms, as sound files with a manifest, out.

By the image source method (Allen and Berkley 1979), with images shifted at random by a few centimetres against the
sweeping echoes of regular rooms (De Sena et al. 2015), as pyroomacoustics has it.
"""

import importlib
import json
import math
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asrkit.atomic import replacing, write_whole
from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.errors import AsrkitError
from asrkit.progress import Progress
from asrkit.workers import submit, worker_pool

T60_S = (0.15, 0.8)  # reverberation time: a small soft room, a bare one
LEAST_M, MOST_M = (2.5, 2.5, 2.3), (12.0, 10.0, 4.5)  # length, width, height
DISTANCE_M = (0.3, 5.0)  # between mouth and microphone, most of them near
WALL_M = 0.3  # that both keep from every wall
SHIFT_M = 0.05
MOST_IMAGES = 80  # reflections of a sound, at most; those behind are more than 40 dB below it
TAIL = 1.2  # of the reverberation time is kept: 72 dB
_FOR_A_PROCESS = 50  # rooms are less than what starting one costs


@dataclass(frozen=True)
class Room:
    """What was drawn; lengths in metres."""

    t60_s: float
    length_m: float
    width_m: float
    height_m: float
    distance_m: float
    mouth: tuple[float, ...]
    microphone: tuple[float, ...]

    @property
    def size(self) -> tuple[float, float, float]:
        return self.length_m, self.width_m, self.height_m


def draw_room(seed: int, number: int) -> Room:
    """A room that can be: its reverberation time is one that walls can give it (Sabine)."""
    numbers = np.random.default_rng((seed, number))
    while True:
        size = numbers.uniform(LEAST_M, MOST_M)
        t60_s = float(numbers.uniform(*T60_S))
        microphone = numbers.uniform(WALL_M, size - WALL_M)
        distance_m = math.exp(numbers.uniform(*np.log(DISTANCE_M)))
        direction = numbers.normal(size=3)
        mouth = microphone + direction / np.linalg.norm(direction) * distance_m
        inside = bool(((mouth > WALL_M) & (mouth < size - WALL_M)).all())
        if inside and _absorption(size.tolist(), t60_s) < 1:
            t60_s, length_m, width_m, height_m, distance_m = (
                round(float(each), 3) for each in (t60_s, *size, distance_m)
            )
            return Room(
                t60_s, length_m, width_m, height_m, distance_m, tuple(mouth.tolist()), tuple(microphone.tolist())
            )


def _absorption(size: list[float], t60_s: float) -> float:
    """Of the walls' energy, by Sabine's formula at 343 m/s."""
    length, width, height = size
    walls = 2 * (length * width + length * height + width * height)
    return 24 * math.log(10) * length * width * height / (343.0 * walls * t60_s)


def simulate_rooms(folder: Path, count: int, *, seed: int, workers: int, progress: Progress) -> Path:
    """Writes `count` impulse responses and their list into the folder and gives the list; those that are there stay.

    The same seed gives the same first rooms, however many are wanted.

    Raises:
        AsrkitError: pyroomacoustics is not installed.
    """
    _pyroomacoustics()
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"room-{seed}-{number:05d}.flac" for number in range(count)]
    missing = [number for number, name in enumerate(names) if not (folder / name).exists()]
    processes = max(1, min(workers, len(missing) // _FOR_A_PROCESS))
    with progress.bar("simulating rooms", count, "rooms") as bar:
        bar.advance(count - len(missing))
        if processes == 1:
            for number in missing:
                _write_room(folder / names[number], seed, number)
                bar.advance()
        else:
            with worker_pool(processes, _pyroomacoustics) as pool:
                work = [submit(pool, _write_room, folder / names[number], seed, number) for number in missing]
                for done in as_completed(work):
                    done.result()
                    bar.advance()
    rooms = [asdict(draw_room(seed, number)) for number in range(count)]
    lines = [json.dumps({"audio": name} | _told(room)) for name, room in zip(names, rooms, strict=True)]
    manifest = folder / f"rooms-{seed}.jsonl"
    write_whole(manifest, ("\n".join(lines) + "\n").encode("utf-8"))
    return manifest


def _told(room: dict[str, Any]) -> dict[str, Any]:
    """What the list says of it, and the shards then."""
    return {key: value for key, value in room.items() if key.endswith(("_s", "_m"))}


def _pyroomacoustics() -> Any:
    """
    Raises:
        AsrkitError: it is not installed.
    """
    try:
        return importlib.import_module("pyroomacoustics")
    except ImportError as error:
        raise AsrkitError(
            f"rooms cannot be simulated: {error}; wanted pyroomacoustics: python -m pip install 'asrkit[rooms]'"
        ) from error


def _write_room(path: Path, seed: int, number: int) -> None:
    """An impulse response, as loud as 24 bits hold."""
    room = draw_room(seed, number)
    simulator = _pyroomacoustics()
    simulator.random.seed((seed * 1_000_003 + number) % 2**32)
    walls = simulator.Material(_absorption(list(room.size), room.t60_s))
    reach = math.ceil(343.0 * room.t60_s / min(room.size))  # reflections within the reverberation time
    shoebox = simulator.ShoeBox(
        room.size,
        fs=SAMPLE_RATE_HZ,
        materials=walls,
        max_order=min(MOST_IMAGES, reach),
        use_rand_ism=True,
        max_rand_disp=SHIFT_M,
    )
    shoebox.add_source(room.mouth)
    shoebox.add_microphone(room.microphone)
    shoebox.compute_rir()
    response = np.asarray(shoebox.rir[0][0], dtype=np.float32)
    flight = round((room.distance_m / 343.0 + TAIL * room.t60_s) * SAMPLE_RATE_HZ)
    response = response[: max(flight, 1)]
    with replacing(path) as file:
        soundfile.write(file, response / np.abs(response).max() * 0.99, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_24")

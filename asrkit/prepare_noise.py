"""VERB recordings of noises and impulse responses of rooms in; a data set that training draws from, out.

data/NAME/ holds, as prepare's folders do: source.json, written first; plan/, working files; for each kind (noise, rir)
shards and an index without texts; and noise.json, written last (noise_data.py reads it). Killed and started again, it
goes on where it was.

Long noises are cut into pieces, so that reading a few seconds of one does not mean decoding all of it. Every channel of
an impulse response is a room of its own, and is kept as loud as 16 bits hold: only its shape counts.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from asrkit import audio, packing
from asrkit.atomic import replacing, storing_in, write_whole
from asrkit.checksums import file_state
from asrkit.cores import usable_cores
from asrkit.errors import AsrkitError
from asrkit.folder_names import is_plain
from asrkit.lock import only_one
from asrkit.noise_data import KINDS, MARKER, NOISE, RESPONSE
from asrkit.noise_files import SoundFile, sounds_among, sounds_of
from asrkit.noise_sources import SOURCES, fetch_source
from asrkit.plan import Plan, plan_path, safe_key
from asrkit.progress import Progress, Silent
from asrkit.rooms import simulate_rooms
from asrkit.shard_writer import IndexWriter
from asrkit.shards import SCHEMA, read_sidecar

PIECE_S = 30.0  # of a noise, at most
LEAST_S = 0.5  # of what is left at its end, to be a piece of its own
SHARD_CLIPS = 500


def prepare_noise(
    *,
    noise: Sequence[str | Path] = (),
    rir: Sequence[str | Path] = (),
    collections: Sequence[str] = (),
    rooms: int = 0,
    seed: int = 1,
    data_dir: str | Path = "data",
    name: str = "noise",
    workers: int | None = None,
    progress: Progress = Silent(),
) -> dict[str, Any]:
    """Makes data_dir/name of folders (all sound files in them) and manifests, and gives what its noise.json says.

    `collections` are names of noise_sources.SOURCES, which are downloaded; `rooms` are so many simulated ones, drawn
    from the seed.

    A data set that is there may grow; it never loses what it was made of.

    Raises:
        AsrkitError: nothing is given or found in it, a folder that cannot serve or holds something else, a manifest
            with a mistake, or rooms without the simulator.
    """
    sources = {NOISE: [Path(path) for path in noise], RESPONSE: [Path(path) for path in rir]}
    if not any(sources.values()) and not collections and not rooms:
        raise AsrkitError(
            "no noises are given; wanted folders or manifests of noises, of impulse responses with --rir, --rooms N, "
            f"or --fetch with some of: {', '.join(SOURCES)}"
        )
    if not is_plain(name):
        raise AsrkitError(f"--name {name!r} cannot name a folder in {data_dir}; wanted a plain word")
    folder = Path(data_dir) / name
    for path in chain.from_iterable(sources.values()):
        if (path / MARKER).is_file():
            raise AsrkitError(f"{path} is prepared already; train with augment.noise={path.name}, or give its sounds")
    sounds = {kind: [sound for path in given for sound in sounds_of(path)] for kind, given in sources.items()}
    with storing_in(folder), only_one(folder, "prepare", progress.warn):
        paths = {kind: [os.path.abspath(path) for path in given] for kind, given in sources.items()}
        made_of = {"sources": paths, "collections": list(collections), "rooms": rooms, "seed": seed}
        _claim(folder, made_of, progress)
        for collection in collections:
            for kind, found in _collected(collection, folder / "download", progress).items():
                sounds[kind] += found
        workers = workers or usable_cores()
        if rooms:
            simulated = simulate_rooms(folder / "simulated", rooms, seed=seed, workers=workers, progress=progress)
            sounds[RESPONSE] += sounds_of(simulated)
        plan = _plan(folder / "plan", sounds, progress)
        packing.remove_unplanned(plan, folder)
        tasks, stale = packing.unfinished(plan, folder / "plan", folder)
        if stale:
            progress.say(f"{stale} shards hold other sounds by now: made anew")
        if tasks:
            (folder / MARKER).unlink(missing_ok=True)
            packing.pack(tasks, workers=workers, progress=progress)
        meta: dict[str, Any] = {
            "schema": SCHEMA,
            **made_of,
            "counts": {kind: _index(folder / kind, plan.shards(kind)) for kind, _ in plan.roles()},
        }
        write_whole(folder / MARKER, (json.dumps(meta, ensure_ascii=False, indent=1) + "\n").encode("utf-8"))
    _show(folder.name, meta["counts"], progress)
    return meta


def _claim(folder: Path, made_of: dict[str, Any], progress: Progress) -> None:
    """Notes what the folder is to be made of, and what it is made of already, until it is finished again.

    Refuses one that holds something else, or would lose a part of what it holds.
    """
    path = folder / "source.json"
    there = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
    finished = None
    if there:
        try:
            begun, marker = json.loads(path.read_text(encoding="utf-8")), folder / MARKER
            finished = json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else begun.get("finished")
            ours, lost = begun["kind"] == NOISE, _lost(finished, made_of) if finished else []
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            ours = False
        if not ours:
            raise AsrkitError(f"{folder} holds {there[0]!r} and no noises: choose another --name")
        if lost:
            raise AsrkitError(
                f"{folder} is also made of {', '.join(lost)}; wanted that, too, or another --name (or delete {folder})"
            )
    if finished:
        finished = {key: finished[key] for key in made_of}
        if finished != made_of:
            progress.warn(f"{folder} grows: trainings that began with it cannot go on; with another --name they can")
    source = {"schema": SCHEMA, "kind": NOISE} | made_of | {"finished": finished}
    write_whole(path, (json.dumps(source, indent=1) + "\n").encode("utf-8"))


def _lost(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What the first is made of, and the second is not."""
    lost = []
    for kind, option in ((NOISE, ""), (RESPONSE, "--rir ")):
        lost += [f"{option}{path}" for path in before["sources"][kind] if path not in now["sources"][kind]]
    lost += [f"--fetch {name}" for name in before["collections"] if name not in now["collections"]]
    if before["rooms"] > now["rooms"] or (before["rooms"] and before["seed"] != now["seed"]):
        lost.append(f"--rooms {before['rooms']} --seed {before['seed']}")
    return lost


def _collected(name: str, folder: Path, progress: Progress) -> dict[str, list[SoundFile]]:
    """The sounds of a published collection, by kind.

    Raises:
        AsrkitError: there is none of a kind that the collection is known for.
    """
    source, root = fetch_source(name, folder, progress)
    found = {}
    for kind, patterns in ((NOISE, source.noise), (RESPONSE, source.rir)):
        found[kind] = sounds_among(root, [path for pattern in patterns for path in sorted(root.glob(pattern))])
        if patterns and not found[kind]:
            raise AsrkitError(
                f"{name} unpacked to {root} has no {kind} ({', '.join(patterns)}): it is published in another form by "
                "now; wanted its folders by hand: asrkit prepare-noise FOLDER --rir FOLDER"
            )
    return found


def _plan(folder: Path, sounds: dict[str, list[SoundFile]], progress: Progress) -> Plan:
    """One line for each piece or channel, in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    with progress.bar("reading the lists", sum(map(len, sounds.values())), "files") as bar:
        for kind in KINDS:
            keys: Counter[str] = Counter()
            if not sounds[kind]:
                plan_path(folder, kind).unlink(missing_ok=True)
                continue
            counts[kind] = 0
            with replacing(plan_path(folder, kind)) as file:
                for sound in sounds[kind]:
                    for record in _records(sound, kind, keys):
                        file.write((json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8"))
                        counts[kind] += 1
                    bar.advance()
    plan = Plan(
        splits={kind: [kind] for kind in counts},
        utterances=counts,
        audio={"codec": "flac", "shard_utterances": SHARD_CLIPS},
    )
    plan.save(folder)
    return plan


def _records(sound: SoundFile, kind: str, keys: Counter[str]) -> Iterator[dict[str, Any]]:
    """The plan lines of a sound; one that cannot be read has one, and is left out there, by name."""
    try:
        cuts = list(_channels(sound) if kind == RESPONSE else _pieces(sound))
    except AsrkitError as error:
        yield {"key": safe_key(sound.key), "left_out": packing.UNREADABLE, "detail": str(error)}
        return
    for behind, start_s, end_s, channel in cuts:
        key = safe_key(f"{sound.key}{behind}")
        keys[key] += 1
        yield {
            "key": key if keys[key] == 1 else f"{key}-again{keys[key]}",
            "audio": os.path.abspath(sound.path),
            "state": file_state(sound.path),
            "start_s": start_s,
            "end_s": end_s,
            "channel": channel,
            "text_raw": "",
            "text": "",
            "meta": sound.meta,
            "to_peak": kind == RESPONSE,
            "must_sound": True,
        }


def _channels(sound: SoundFile) -> Iterator[tuple[str, float, float | None, int | None]]:
    count = audio.channels(sound.path)
    if sound.channel is not None or count == 1:
        yield "", sound.start_s, sound.end_s, sound.channel
        return
    for channel in range(count):
        yield f"-channel{channel}", sound.start_s, sound.end_s, channel


def _pieces(sound: SoundFile) -> Iterator[tuple[str, float, float | None, int | None]]:
    end_s = audio.duration_s(sound.path) if sound.end_s is None else sound.end_s
    start_s, number = sound.start_s, 0
    if end_s - start_s <= PIECE_S:
        yield "", sound.start_s, sound.end_s, sound.channel
        return
    while end_s - start_s >= LEAST_S or not number:
        yield f"-{number:03d}", start_s, min(end_s, start_s + PIECE_S), sound.channel
        start_s, number = start_s + PIECE_S, number + 1


def _index(folder: Path, shards: int) -> dict[str, Any]:
    """Writes the index of one kind; gives its counts."""
    left_out: Counter[str] = Counter()
    examples: list[dict[str, str]] = []
    samples = clips = 0
    with IndexWriter(folder, "no tokenizer") as writer:
        for shard in range(shards):
            for line in read_sidecar(folder, shard):
                if "left_out" in line:
                    left_out[line["left_out"]] += 1
                    examples.append({"key": line["key"], "detail": line["detail"]})
                    continue
                writer.add(shard, line, "", [])
                samples, clips = samples + line["samples"], clips + 1
        if not clips:
            detail = f": {examples[0]['detail']}" if examples else ""
            raise AsrkitError(f"none of the files for {folder} can be read{detail}")
        fingerprint = writer.finish()
        writer.publish()
    hours = round(samples / audio.SAMPLE_RATE_HZ / 3600, 6)
    found = {"clips": clips, "hours": hours, "left_out": dict(left_out), "examples": examples[:5]}
    return found | {"fingerprint": fingerprint}


def _show(name: str, counts: dict[str, dict[str, Any]], progress: Progress) -> None:
    rows = [[kind, one["clips"], f"{one['hours']:.2f}", sum(one["left_out"].values())] for kind, one in counts.items()]
    progress.table(f"noises {name}", ["kind", "clips", "hours", "left out"], rows)
    for kind, one in counts.items():
        for example in one["examples"]:
            progress.warn(f"{kind}, left out: {example['key']}: {example['detail']}")
    progress.say(f"asrkit train RECIPE augment.noise={name} takes them")

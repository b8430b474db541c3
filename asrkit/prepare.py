"""VERB a recipe's corpus, or a manifest, in; a data set out: shards, tokenizer, index, and counts in prepare.json.

data/<name>/ holds

- source.json, written first: the recipe, and where the corpus is (`corpus_dir`, `manifest`, or neither: downloaded);
- download/: what was fetched, or unpacked from an archive on disk; plan/: working files, needed again by `text_only`
  alone;
- <split>/: shards and index (see shards.py); tokenizer/ (see tokenizer.py);
- prepare.json, written last, which makes the data set whole:
    schema          1
    recipe, language, source
    settings        audio, filters, text, tokenizer and alphabet as they were resolved
    splits          {"train": [names], "dev": [names], "test": [names]}
    dev_from_train  "speaker" or "key" where dev was taken from train by the hash of these, else null
    counts          for each split: role, in_corpus, utterances (used), hours, speakers, left_out (a count for each
                    reason), examples (up to five {key, detail} of each reason), notes (what the corpus's reader did,
                    with counts), characters_outside (the alphabet, with counts), characters_unspelled (within the
                    alphabet, but no label for them; dev and test alone can have such), text_in_train (how many
                    utterances of dev and test have a text that is in train), fingerprint (of the split's index)
    normalizer      fingerprint of the text rules
    tokenizer       kind, labels (how many) and fingerprint
    fingerprint     of all the splits' indexes
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from asrkit import indexing, packing
from asrkit.atomic import PART, storing_in, write_whole
from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.cluster import check_address, pack_on_cluster
from asrkit.cores import usable_cores
from asrkit.corpus import read_manifest
from asrkit.download import fetch_archives, is_archive, unpack_once
from asrkit.errors import AsrkitError
from asrkit.folder_names import is_plain
from asrkit.lock import only_one
from asrkit.plan import (
    Plan,
    corpus_splits,
    corpus_utterances,
    load_plan,
    manifest_splits,
    manifest_utterances,
    write_plan,
)
from asrkit.progress import Progress, Silent
from asrkit.recipe import Recipe

SCHEMA = 1  # of source.json and prepare.json


def prepare(
    recipe: Recipe,
    *,
    data_dir: str | Path = "data",
    name: str | None = None,
    corpus_dir: str | Path | None = None,
    manifest: str | Path | None = None,
    splits: Sequence[str] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    text_only: bool = False,
    progress: Progress = Silent(),
) -> dict[str, Any]:
    """Makes data_dir/name and gives what its prepare.json says.

    The corpus is what the recipe downloads, or lies in `corpus_dir`, or is listed in `manifest` or in the manifest that
    the recipe names. `splits` takes some of the declared splits only. `text_only` writes tokenizer and index anew and
    leaves the shards alone, and with them the texts as they came. `scheduler` is the address of a Dask scheduler whose
    workers make the shards (cluster.py).
    Killed and started again, it goes on where it was and ends with the same files.

    Raises:
        AsrkitError: a corpus or folder that cannot serve, or too much that had to be left out.
    """
    name = name or (Path(manifest).stem if manifest else recipe.corpus or recipe.name)
    if not is_plain(name):
        raise AsrkitError(f"--name {name!r} cannot name a folder in {data_dir}; wanted a plain word")
    folder = Path(data_dir) / name
    if scheduler:
        check_address(scheduler)
        folder = folder.absolute()  # workers are started elsewhere
    manifest = manifest or (None if corpus_dir or text_only else recipe.own_manifest())
    source = _source(recipe, corpus_dir, manifest)
    with storing_in(folder), only_one(folder, "prepare", progress.warn):
        _remove_partial(folder)
        if text_only:
            source = _same_recipe(folder, recipe)
            _warn_of_a_later_manifest(folder, source, progress)
            plan = load_plan(folder / "plan")
        else:
            _claim(folder, source)
            plan = _plan(recipe, folder, source, splits, progress)
            _write_shards(folder, plan, workers or usable_cores(), scheduler, progress)
        return _write_index(recipe, folder, plan, source, progress)


def _source(recipe: Recipe, corpus_dir: str | Path | None, manifest: str | Path | None) -> dict[str, Any]:
    """What source.json says."""
    if corpus_dir and manifest:
        raise AsrkitError("both --corpus-dir and --manifest are given; wanted one of them")
    if corpus_dir and not (Path(corpus_dir).is_dir() or is_archive(Path(corpus_dir))):
        raise AsrkitError(f"--corpus-dir {corpus_dir} is not a folder; wanted the corpus, unpacked or as a .tar.gz")
    if manifest and not Path(manifest).is_file():
        said = f"--manifest {manifest}" if manifest != recipe.own_manifest() else f"{manifest}, named in the recipe,"
        raise AsrkitError(f"{said} is not a file; wanted .jsonl, .csv or .tsv")
    return {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "corpus": recipe.corpus,
        "corpus_dir": os.path.abspath(corpus_dir) if corpus_dir else None,
        "manifest": os.path.abspath(manifest) if manifest else None,
    }


def _remove_partial(folder: Path) -> None:
    """Deletes what a killed prepare left half-written; downloads stay, they are taken up again."""
    for path in [*folder.glob(f".*{PART}"), *folder.glob(f"*/.*{PART}"), *folder.glob("tokenizer/*.tmp")]:
        if path.parent.name != "download":
            path.unlink(missing_ok=True)


def _claim(folder: Path, source: dict[str, Any]) -> None:
    """Notes the source in a new folder; refuses one that was made from another source, or holds something else."""
    path = folder / "source.json"
    there = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
    if there and not path.exists():
        raise AsrkitError(f"{folder} holds {there[0]!r} and no source.json: it is no data set; choose another --name")
    made_from = _read_json(path) if path.exists() else source
    made = any(folder.glob("*/shard-*")) or any(folder.glob("download/*"))  # else a first try failed before it began
    if made and made_from != source:
        raise AsrkitError(
            f"{folder} was made from {_describe(made_from)}; this is {_describe(source)}: choose another --name"
        )
    write_whole(path, (json.dumps(source, indent=1) + "\n").encode("utf-8"))


def _same_recipe(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """The source of a folder whose text is to be done again."""
    path = folder / "source.json"
    if not path.exists():
        raise AsrkitError(f"{folder} is not prepared; run asrkit prepare {recipe.name} without --text-only first")
    source = _read_json(path)
    if source.get("recipe") != recipe.name:
        raise AsrkitError(f"{folder} was made with recipe {source.get('recipe')!r}; this is {recipe.name!r}")
    return source


def _warn_of_a_later_manifest(folder: Path, source: dict[str, Any], progress: Progress) -> None:
    """`text_only` takes the raw texts that the plan holds: who corrected transcripts would not see them change."""
    plan = folder / "plan" / "plan.json"
    manifest = Path(source.get("manifest") or folder / "none")
    if plan.is_file() and manifest.is_file() and manifest.stat().st_mtime > plan.stat().st_mtime:
        progress.warn(
            f"{manifest} was written after {folder} was prepared from it; --text-only takes the texts that it held "
            "then: prepare without --text-only where transcripts were corrected"
        )


def _describe(source: dict[str, Any]) -> str:
    where = source.get("corpus_dir") or source.get("manifest") or "its downloads"
    return f"recipe {source.get('recipe')!r} and {where}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AsrkitError(f"{path} is damaged; delete {path.parent} and prepare anew") from error
    return value if isinstance(value, dict) else {}


def _plan(
    recipe: Recipe, folder: Path, source: dict[str, Any], chosen: Sequence[str] | None, progress: Progress
) -> Plan:
    """Reads the corpus, after fetching it where it has to be, into the plan of each split."""
    if source["manifest"]:
        path = Path(source["manifest"])
        splits = manifest_splits(chosen)
        utterances = manifest_utterances(path, read_manifest(path), chosen)
        origin = str(path)
    else:
        splits = corpus_splits(recipe.splits, chosen)
        names = [name for names in splits.values() for name in names]
        if source["corpus_dir"]:
            root = Path(source["corpus_dir"])
            if is_archive(root):
                root = unpack_once(root, folder / "download", progress)
        elif recipe.archives:
            root = fetch_archives(recipe, folder / "download", names, progress)
        else:
            raise AsrkitError(f"recipe {recipe.name!r} has nothing to download; give --corpus-dir or --manifest")
        if recipe.read_corpus is None:
            raise AsrkitError(f"recipe {recipe.name!r} has no corpus.py that reads a folder; give --manifest")
        utterances = corpus_utterances(recipe.read_corpus, root, splits)
        origin = str(root)
    return write_plan(
        folder / "plan",
        utterances,
        splits=splits,
        origin=origin,
        normalize=recipe.normalize,
        audio=asdict(recipe.audio),
        progress=progress,
    )


def _write_shards(folder: Path, plan: Plan, workers: int, scheduler: str | None, progress: Progress) -> None:
    """Makes the shards that are not there yet."""
    packing.remove_unplanned(plan, folder)
    tasks, stale = packing.unfinished(plan, folder / "plan", folder)
    total = sum(plan.shards(split) for split, _ in plan.roles())
    if stale:
        progress.say(f"{stale} of {total} shards are from another state of the corpus or audio settings: made anew")
    if tasks:
        (folder / "prepare.json").unlink(missing_ok=True)
        if scheduler:
            pack_on_cluster(tasks, scheduler, progress=progress)
        else:
            packing.pack(tasks, workers=workers, progress=progress)
    else:
        progress.say(f"all {total} shards are finished")


def _write_index(
    recipe: Recipe, folder: Path, plan: Plan, source: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """Counts, shows, and, where enough remains, writes everything that depends on text, prepare.json last."""
    counts = indexing.count(folder, plan, recipe, progress)
    _show(folder.name, counts, progress)
    indexing.refuse_thinned(counts, recipe.filters)
    with ExitStack() as stack:
        new = indexing.write_index(folder, plan, recipe, counts, stack, progress)
        _show_unspelled(counts, progress)
        sections = recipe.sections()
        settings = {"audio": plan.audio} | {part: asdict(sections[part]) for part in ("filters", "text", "tokenizer")}
        meta = {
            "schema": SCHEMA,
            "recipe": recipe.name,
            "language": recipe.language,
            "source": source,
            "settings": settings | {"alphabet": recipe.alphabet},
            "splits": plan.splits,
            "dev_from_train": plan.dev_from_train,
            "counts": {split: one.to_json() for split, one in counts.items()},
            "normalizer": recipe.text_fingerprint(),
            "tokenizer": {
                "kind": new.tokenizer.kind,
                "labels": len(new.tokenizer.labels),
                "fingerprint": new.tokenizer.fingerprint(),
            },
            "fingerprint": new.fingerprint,
        }
        (folder / "prepare.json").unlink(missing_ok=True)
        new.publish()
    _remove_partial(folder)  # once more: the workers of one that was killed lived on for a moment
    write_whole(folder / "prepare.json", (json.dumps(meta, ensure_ascii=False, indent=1) + "\n").encode("utf-8"))
    return meta


def _show(name: str, counts: dict[str, indexing.SplitCounts], progress: Progress) -> None:
    """The counts, for people."""
    reasons = list(indexing.most_common(sum((one.left_out for one in counts.values()), Counter())))
    rows = []
    for split, one in counts.items():
        hours = one.samples / SAMPLE_RATE_HZ / 3600
        rows.append(
            [split, one.utterances, f"{hours:.2f}", one.speakers, *(one.left_out[reason] for reason in reasons)]
        )
    progress.table(f"data {name}", ["split", "utterances", "hours", "speakers", *reasons], rows)
    for split, one in counts.items():
        for reason, examples in one.examples.items():
            for example in examples[:3]:
                progress.say(f"{split}, {reason}: {example['key']}: {example['detail']}")
        if one.characters_outside:
            fate = "left out with their utterances" if one.role == "train" else "kept, and counted as errors"
            progress.warn(f"{split}: characters outside the alphabet, {fate}: {_listed(one.characters_outside)}")
        for note, utterances in indexing.most_common(one.notes).items():
            progress.say(f"{split}: {note}: {utterances} utterances")
        if one.text_in_train is not None:
            share = one.text_in_train / max(one.utterances, 1)
            found = f"{one.text_in_train} of {one.utterances} utterances ({share:.1%})"
            said = f"{split}: {found} have a text that is in train"
            (progress.warn if one.text_in_train else progress.say)(said)


def _show_unspelled(counts: dict[str, indexing.SplitCounts], progress: Progress) -> None:
    for split, one in counts.items():
        if one.characters_unspelled:
            listed = _listed(one.characters_unspelled)
            progress.warn(f"{split}: characters without a label, kept, and counted as errors: {listed}")


def _listed(characters: Counter[str]) -> str:
    """The most frequent, with how many there are."""
    common = islice(indexing.most_common(characters).items(), 20)
    return f"{characters.total()} ({', '.join(f'{character!r} {n}' for character, n in common)})"

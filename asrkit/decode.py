"""VERB: a run and the splits of its data (and an n-gram) in, hypotheses and reports out.

Each split's log-probs are computed once and kept in the run's folder; searching always reads what is kept there, so
decoding again gives the same text. A report lies in <run>/decode/<split>-<name>/.
"""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.checkpoint import Checkpoint, find_run, load_checkpoint
from asrkit.cores import usable_cores
from asrkit.errors import AsrkitError
from asrkit.groups import groups_of
from asrkit.log_probs import StoredLogProbs, log_probs_of
from asrkit.ngram import NGram
from asrkit.prefix_search import beam_search
from asrkit.progress import Progress, Silent
from asrkit.report import PAGE, TABLE_COLUMNS, Conditions, Result, remarks, table_row, write_report
from asrkit.search import Hypothesis, LogProbs, Search, Searched, greedy, search_all
from asrkit.settings import DecodeSettings
from asrkit.shards import DataSet, Index, joined_fingerprint, open_data

FEW_SPELLED = 0.9  # share of an n-gram's words that the tokenizer spells, below which the user is warned
NAMED_UNREADABLE = 5
UNREADABLE_SHARD = "unreadable in its shard"  # beside the reasons that prepare counts


@dataclass(frozen=True)
class Engine:
    """A way from log-probs to text, and what it is called."""

    search: Search
    name: str  # in the report
    folder_name: str
    settings: DecodeSettings
    lm: NGram | None
    jobs: int


def decode(
    run: str | Path | None = None,
    *,
    exp_dir: str | Path = "exp",
    data_dir: str | Path | None = None,
    splits: Sequence[str] | None = None,
    lm: str | Path | None = None,
    beam: int | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    n_best: int | None = None,
    jobs: int | None = None,
    device: str = "auto",
    progress: Progress = Silent(),
) -> list[dict[str, Any]]:
    """Decodes the run's best checkpoint on the splits (default: the data's test splits); one report.json for each.

    Without `lm` decoding is greedy; with it, beam search with the recipe's beam, alpha, beta and n_best unless given.
    `run` is a name, a path (of a single checkpoint, too), or None for the newest. `jobs` processes search (default:
    one for each core).

    Raises:
        AsrkitError: no such run, split or n-gram, data prepared with another tokenizer, or nothing that can be read.
    """
    asked = {"beam": beam, "alpha": alpha, "beta": beta, "n_best": n_best}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if lm is None and given:
        raise AsrkitError(f"{', '.join(given)} without an n-gram: greedy decoding has no settings; wanted --lm FILE")
    found = find_run(run, exp_dir)
    checkpoint = load_checkpoint(found, device)
    data = _open_data(checkpoint, data_dir, progress)
    indexes = {split: data.index(split) for split in splits or data.splits["test"]}
    if not indexes:
        raise AsrkitError(f"data {data.name!r} has no test split; wanted --split, one of: {_all_splits(data)}")
    settings = replace(checkpoint.decode_settings, **given)
    engine = _engine(checkpoint, lm, settings, jobs or usable_cores(), progress)
    home = _home(checkpoint)
    of_step = f"step{checkpoint.step}-" if found.resolve() == checkpoint.path else ""
    reports = []
    for split, index in indexes.items():
        stem = home / "decode" / f"{split}-{of_step}"
        log_probs = log_probs_of(checkpoint, index, Path(f"{stem}log-probs"), progress=progress)
        folder = Path(f"{stem}{engine.folder_name}")
        reports.append(_decode_split(checkpoint, data, split, index, log_probs, engine, folder, progress))
        progress.say(f"report: {folder / PAGE}")
    progress.table(f"{_run_name(checkpoint)}, step {checkpoint.step}", TABLE_COLUMNS, list(map(table_row, reports)))
    for remark in chain.from_iterable(map(remarks, reports)):
        progress.say(remark)
    return reports


def _open_data(checkpoint: Checkpoint, data_dir: str | Path | None, progress: Progress) -> DataSet:
    """The data that the run was trained on.

    Raises:
        AsrkitError: it is not known, gone, or was prepared again with another tokenizer.
    """
    recorded = checkpoint.recipe.get("data")
    if not recorded:
        raise AsrkitError(f"checkpoint {checkpoint.path} does not say what data it was trained on; wanted one of a run")
    folder = Path(recorded["folder"])
    data = open_data(Path(data_dir) if data_dir is not None else folder.parent, recorded["name"])
    if data.tokenizer().fingerprint() != checkpoint.tokenizer.fingerprint():
        raise AsrkitError(
            f"data {data.folder} was prepared with another tokenizer than checkpoint {checkpoint.path} has; wanted the "
            f"data as it was in training: train again, or prepare the old data under another --name"
        )
    # prepare.json knows it; opening the train index here would ask for train's shards, which may be elsewhere by now
    now = [data.meta["counts"][split]["fingerprint"] for split in data.splits["train"]]
    if now and joined_fingerprint(now) != recorded["fingerprint"]:
        progress.warn(
            f"data {data.folder} was prepared again since this run was trained on it: its train split changed"
        )
    return data


def _all_splits(data: DataSet) -> str:
    return ", ".join(split for splits in data.splits.values() for split in splits)


def _engine(
    checkpoint: Checkpoint, lm: str | Path | None, settings: DecodeSettings, jobs: int, progress: Progress
) -> Engine:
    """Greedy, or beam search with the n-gram, ready to run."""
    tokenizer = checkpoint.tokenizer
    if lm is None:
        return Engine(lambda log_probs: [greedy(log_probs, tokenizer)], "greedy", "greedy", settings, None, jobs=1)
    ngram = NGram.open(Path(lm), tokenizer, progress=progress)
    share = ngram.spelled_share
    unit = "labels" if ngram.of_labels else "words"
    summary = f"{ngram.path.name}: {ngram.order}-gram, {len(ngram.words):,} {unit}, {100 * share:.1f} % of them spelled"
    (progress.say if share >= FEW_SPELLED else progress.warn)(f"{summary} by the tokenizer")
    beams = beam_search(tokenizer, ngram, settings)
    plain = re.sub(r"(\.(arpa|gz|bin|binary|klm|mmap))+$", "", ngram.path.name)
    conditions = f"beam{settings.beam}-alpha{settings.alpha:g}-beta{settings.beta:g}"
    folder_name = re.sub(r"[^\w.-]+", "_", f"{plain}-{conditions}")
    return Engine(beams.decode, beams.name, folder_name, settings, ngram, jobs)


def _decode_split(
    checkpoint: Checkpoint,
    data: DataSet,
    split: str,
    index: Index,
    log_probs: StoredLogProbs,
    engine: Engine,
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Searches one split and writes its report."""
    excluded = {reason: number for reason, number in data.meta["counts"][split]["left_out"].items() if number}
    if log_probs.unreadable:
        _name_unreadable(split, index, log_probs, progress)
        excluded[UNREADABLE_SHARD] = len(log_probs.unreadable)
    rows = [row for row in range(len(index)) if row not in log_probs.unreadable]
    lengths_s = [round(int(index.rows[row]["samples"]) / SAMPLE_RATE_HZ, 3) for row in rows]
    start = time.perf_counter()
    found = _search(engine, [log_probs.of(row) for row in rows], lengths_s, split, progress)
    decode_s = time.perf_counter() - start
    records = [index.record(row) for row in rows]
    results = [
        _result(record, groups, length_s, searched.hypotheses)
        for record, groups, length_s, searched in zip(records, groups_of(records), lengths_s, found, strict=True)
    ]
    conditions = Conditions(
        run=_run_name(checkpoint),
        checkpoint_step=checkpoint.step,
        data=data.name,
        data_fingerprint=index.fingerprint,
        split=split,
        engine=engine.name,
        utterances_in_corpus=data.meta["counts"][split]["in_corpus"],
        excluded=excluded,
        acoustic_s=log_probs.acoustic_s,
        decode_s=decode_s,
        decode_cpu_s=sum(searched.cpu_s for searched in found),
    )
    if engine.lm is not None:
        settings = engine.settings
        conditions = replace(
            conditions,
            lm=str(engine.lm.path),
            beam=settings.beam,
            alpha=settings.alpha,
            beta=settings.beta,
            oov_rate=None if engine.lm.of_labels else engine.lm.oov_rate(result.reference for result in results),
        )
    return write_report(folder, conditions, results)


def _search(
    engine: Engine, items: Sequence[LogProbs], lengths_s: Sequence[float], split: str, progress: Progress
) -> list[Searched]:
    done: list[Searched] = []
    with (
        closing(search_all(engine.search, items, jobs=engine.jobs)) as searching,
        progress.bar(f"search {split}", sum(lengths_s), "s") as bar,
    ):
        for length_s, searched in zip(lengths_s, searching, strict=True):
            done.append(searched)
            bar.advance(length_s)
    return done


def _result(
    record: Mapping[str, Any], groups: Mapping[str, str], duration_s: float, hypotheses: Sequence[Hypothesis]
) -> Result:
    scores: dict[str, Any] = _scores(hypotheses[0])
    if len(hypotheses) > 1:
        scores["n_best"] = [{"text": each.text} | _scores(each) for each in hypotheses]
    return Result(
        key=record["key"],
        reference=record["text"],
        hypothesis=hypotheses[0].text,
        duration_s=duration_s,
        groups=groups,
        scores=scores,
    )


def _scores(hypothesis: Hypothesis) -> dict[str, float | None]:
    """As hypotheses.jsonl has them; natural logarithms."""
    lm_score = None if hypothesis.lm_score is None else round(hypothesis.lm_score, 4)
    return {"logp": round(hypothesis.logp, 4), "lm_score": lm_score, "score": round(hypothesis.score, 4)}


def _name_unreadable(split: str, index: Index, log_probs: StoredLogProbs, progress: Progress) -> None:
    for why in list(log_probs.unreadable.values())[:NAMED_UNREADABLE]:
        progress.warn(why)
    count = len(log_probs.unreadable)
    progress.warn(f"{count} of {len(index)} utterances of {split} cannot be read and are not scored")


def _home(checkpoint: Checkpoint) -> Path:
    """The run's folder, or the checkpoint's own where it was taken out of its run."""
    folder = checkpoint.path.parent
    return folder.parent if folder.name == "checkpoints" else checkpoint.path


def _run_name(checkpoint: Checkpoint) -> str:
    home = _home(checkpoint)
    return f"{home.parent.name}/{home.name}"

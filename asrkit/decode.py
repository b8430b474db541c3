"""VERB: a run and the splits of its data (and an n-gram) in, hypotheses and reports out.

Each split's log-probs are computed once and kept in the run's folder; searching always reads what is kept there, so
decoding again gives the same text. A report lies in <run>/decode/<split>-<name>/.
"""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.causes import cause_of
from asrkit.checkpoint import Checkpoint, find_run, load_checkpoint
from asrkit.conditions import Condition, conditions_of
from asrkit.cores import usable_cores
from asrkit.decoder import Decoder, Unit, open_decoder, with_options
from asrkit.errors import AsrkitError
from asrkit.groups import groups_of
from asrkit.log_probs import StoredLogProbs, log_probs_of
from asrkit.progress import Progress, Silent
from asrkit.report import (
    PAGE,
    TABLE_COLUMNS,
    Conditions,
    Result,
    remarks,
    table_row,
    write_comparison,
    write_report,
)
from asrkit.search import Hypothesis, LogProbs
from asrkit.search_all import Searched, search_all
from asrkit.settings import DecodeSettings
from asrkit.shards import DataSet, Index
from asrkit.trained_data import data_of
from asrkit.tuned import tuned_options

NAMED_UNREADABLE = 5
UNREADABLE_SHARD = "unreadable in its shard"  # beside the reasons that prepare counts


def decode(
    run: str | Path | None = None,
    *,
    exp_dir: str | Path = "exp",
    data_dir: str | Path | None = None,
    splits: Sequence[str] | None = None,
    lm: str | Path | None = None,
    token_lm: str | Path | None = None,
    unit: Unit | None = None,
    noise: str | Path | None = None,
    snrs_db: Sequence[float] | None = None,
    rir: str | Path | None = None,
    jobs: int | None = None,
    device: str = "auto",
    progress: Progress = Silent(),
    **options: Any,
) -> list[dict[str, Any]]:
    """Decodes the run's best checkpoint on the splits (default: the data's test splits); one report.json for each.

    Greedy without `lm` (an n-gram of words or, as its words look or `unit` says, of labels) and `token_lm` (one of
    labels), else beam search. `options` are those of settings.DecodeSettings; where None or not given, those that
    `asrkit tune` found for the n-grams count, then the recipe's. `run` is a name, a path (of a single checkpoint, too),
    or None for the newest. With `noise` (a folder of sounds, a manifest or prepared noises) every split is decoded once
    more for each of `snrs_db` (default: conditions.SNRS_DB), with `rir` (impulse responses of rooms) once more in them:
    a report for each, and one page that compares them. `jobs` searches go on at once (default: one for each core).

    Raises:
        AsrkitError: no such run, split, n-gram or option, data prepared with another tokenizer, or nothing that can be
            read.
    """
    found = find_run(run, exp_dir)
    checkpoint = load_checkpoint(found, device)
    data = data_of(checkpoint, data_dir, progress=progress)
    indexes = {split: data.index(split) for split in splits or data.splits["test"]}
    if not indexes:
        raise AsrkitError(f"data {data.name!r} has no test split; wanted --split, one of: {_all_splits(data)}")
    decoder = open_decoder(
        checkpoint.tokenizer,
        with_options(checkpoint.decode_settings, tuned_options(checkpoint.home, lm, token_lm)),
        {name: value for name, value in options.items() if value is not None},
        lm=lm,
        token_lm=token_lm,
        unit=unit,
        progress=progress,
    )
    conditions = [None, *conditions_of(noise, rir, snrs_db)]
    of_step = f"step{checkpoint.step}-" if found.resolve() == checkpoint.path else ""
    reports: list[dict[str, Any]] = []
    home, name = checkpoint.home / "decode", _name(decoder)
    for split, index in indexes.items():
        of_split: dict[Path, dict[str, Any]] = {}
        for condition in conditions:
            heard = f"{_file_name(condition.name)}-" if condition else ""
            kept, folder = (home / f"{split}-{heard}{of_step}{what}" for what in ("log-probs", name))
            log_probs = log_probs_of(checkpoint, index, kept, condition=condition, progress=progress)
            work = Work(checkpoint, data, split, condition, index, log_probs, decoder, jobs or usable_cores())
            of_split[folder] = _decode_split(work, folder, progress)
            progress.say(f"report: {folder / PAGE}")
        if len(conditions) > 1:
            page = write_comparison(home / f"{split}-conditions-{of_step}{name}", of_split)
            progress.say(f"all conditions: {page}")
        reports += of_split.values()
    progress.table(f"{checkpoint.run_name}, step {checkpoint.step}", TABLE_COLUMNS, list(map(table_row, reports)))
    for remark in chain.from_iterable(map(remarks, reports)):
        progress.say(remark)
    return reports


@dataclass(frozen=True)
class Work:
    """A split to be searched."""

    checkpoint: Checkpoint
    data: DataSet
    split: str
    condition: Condition | None  # None: as it was recorded
    index: Index
    log_probs: StoredLogProbs
    decoder: Decoder
    jobs: int


def _all_splits(data: DataSet) -> str:
    return ", ".join(split for splits in data.splits.values() for split in splits)


def _name(decoder: Decoder) -> str:
    """Of the folder of a report: the n-grams and whatever was chosen."""
    options = decoder.options
    if options is None:
        return "greedy"
    parts = [*(lm.name for lm in decoder.lms), f"beam{options.beam}"]
    parts += [f"alpha{options.alpha:g}", f"beta{options.beta:g}"] if decoder.lm else []
    parts += [f"token{options.token_alpha:g}", f"{options.token_beta:g}"] if decoder.token_lm else []
    shown = ("beam", "alpha", "beta", "token_alpha", "token_beta", "n_best")
    for name, value in asdict(options).items():
        if name not in shown and value != getattr(DecodeSettings, name):
            parts.append(f"{name}{value:g}" if isinstance(value, float) else f"{name}-{_short(value)}")
    return _file_name("-".join(parts))


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def _short(value: Any) -> str:
    """A value as part of a file's name; a list by its hash."""
    return sha256(repr(value).encode("utf-8")).hexdigest()[:8] if isinstance(value, tuple) else str(value)


def _decode_split(work: Work, folder: Path, progress: Progress) -> dict[str, Any]:
    """Searches one split and writes its report."""
    counts = work.data.meta["counts"][work.split]
    excluded = {reason: number for reason, number in counts["left_out"].items() if number}
    if work.log_probs.unreadable:
        _name_unreadable(work.split, work.index, work.log_probs, progress)
        excluded[UNREADABLE_SHARD] = len(work.log_probs.unreadable)
    rows = [row for row in range(len(work.index)) if row not in work.log_probs.unreadable]
    lengths_s = [round(int(work.index.rows[row]["samples"]) / SAMPLE_RATE_HZ, 3) for row in rows]
    items = [work.log_probs.of(row) for row in rows]
    start = time.perf_counter()
    found = _search(work, items, lengths_s, progress)
    decode_s = time.perf_counter() - start
    records = [work.index.record(row) for row in rows]
    results = [
        _result(work, record, groups, length_s, searched.hypotheses, log_probs)
        for record, groups, length_s, searched, log_probs in zip(
            records, groups_of(records), lengths_s, found, items, strict=True
        )
    ]
    lm = work.decoder.lm
    conditions = Conditions(
        run=work.checkpoint.run_name,
        checkpoint_step=work.checkpoint.step,
        data=work.data.name,
        data_fingerprint=work.index.fingerprint,
        split=work.split,
        condition=work.condition.name if work.condition else None,
        search=work.decoder.conditions(),
        utterances_in_corpus=counts["in_corpus"],
        excluded=excluded,
        acoustic_s=work.log_probs.acoustic_s,
        decode_s=decode_s,
        decode_cpu_s=sum(searched.cpu_s for searched in found),
        oov_rate=lm.oov_rate(result.reference for result in results) if lm else None,
    )
    return write_report(folder, conditions, results)


def _search(work: Work, items: Sequence[LogProbs], lengths_s: Sequence[float], progress: Progress) -> list[Searched]:
    done: list[Searched] = []
    jobs = work.jobs if work.decoder.options else 1  # greedy takes less time than to start a process
    searching = search_all(work.decoder.search, items, jobs=jobs, threads=work.decoder.in_threads)
    with closing(searching), progress.bar(f"search {work.split}", sum(lengths_s), "s") as bar:
        for length_s, searched in zip(lengths_s, searching, strict=True):
            done.append(searched)
            bar.advance(length_s)
    return done


def _result(
    work: Work,
    record: Mapping[str, Any],
    groups: Mapping[str, str],
    duration_s: float,
    hypotheses: Sequence[Hypothesis],
    log_probs: LogProbs,
) -> Result:
    scores: dict[str, Any] = _scores(hypotheses[0])
    if len(hypotheses) > 1:
        scores["n_best"] = [{"text": each.text} | _scores(each) for each in hypotheses]
    tokenizer, lm = work.checkpoint.tokenizer, work.decoder if work.decoder.options else None
    return Result(
        key=record["key"],
        reference=record["text"],
        hypothesis=hypotheses[0].text,
        duration_s=duration_s,
        groups=groups,
        cause=cause_of(record["text"], hypotheses[0], log_probs, tokenizer, lm),
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

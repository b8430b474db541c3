"""References and hypotheses in; error rates with their evidence out: report.json, report.html, hypotheses.jsonl.

Rates are corpus totals, errors / reference units, never means over utterances.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from asrkit import report_html
from asrkit.atomic import write_whole
from asrkit.error_rates import Counts, Step, align, count, total
from asrkit.errors import AsrkitError
from asrkit.groups import ALWAYS, MOST_LISTED
from asrkit.spacing import words_any_spacing
from asrkit.text import hangul_to_jamo

SCHEMA = 1
REPORT, PAGE, HYPOTHESES = "report.json", "report.html", "hypotheses.jsonl"
COMPARISON, COMPARISON_PAGE = "conditions.json", "conditions.html"
BOOTSTRAP_SAMPLES = 1000
BOOTSTRAP_SEED = 1
DURATION_EDGES_S = (2, 5, 10, 20)
NO_VALUE = "none given"  # the group of those whose corpus does not say

_SYLLABLES = re.compile("[가-힣]")
_LONE_JAMO = re.compile("[\u3131-\u318e]")  # compatibility jamo: what decoding could make no syllable of


@dataclass(frozen=True, kw_only=True)
class Result:
    """One decoded utterance; white space at the ends or doubled does not count."""

    key: str
    reference: str
    hypothesis: str
    duration_s: float
    groups: Mapping[str, str] = field(default_factory=dict)  # speaker ...: what rates are broken down by
    scores: Mapping[str, Any] = field(default_factory=dict)  # logp, lm_score, score, n_best: as in hypotheses.jsonl
    cause: str | None = None  # why it is wrong (causes.Cause); None where it is right, or nobody asked

    @cached_property
    def alignment(self) -> list[Step]:
        """Of the words."""
        return align(self.reference.split(), self.hypothesis.split())

    @cached_property
    def char_alignment(self) -> list[Step]:
        """Of the characters, spaces included."""
        return align(" ".join(self.reference.split()), " ".join(self.hypothesis.split()))

    @cached_property
    def words(self) -> Counts:
        return count(self.alignment)

    @cached_property
    def oracle_words(self) -> Counts:
        """Of the hypothesis with the fewest word errors, among the n best if there are more than one."""
        heard = [each["text"] for each in self.scores.get("n_best", ())]
        counts = [self.words, *(count(align(self.reference.split(), text.split())) for text in heard)]
        return min(counts, key=lambda each: each.errors)

    @cached_property
    def chars(self) -> Counts:
        return count(self.char_alignment)

    @cached_property
    def chars_no_space(self) -> Counts:
        return count(align("".join(self.reference.split()), "".join(self.hypothesis.split())))

    @cached_property
    def words_any_spacing(self) -> Counts:
        return words_any_spacing(self.reference, self.hypothesis)

    @cached_property
    def jamo(self) -> Counts:
        """Of the letters of Hangul, and any other characters, without spaces."""
        reference, hypothesis = ("".join(text.split()) for text in (self.reference, self.hypothesis))
        return count(align(hangul_to_jamo(reference), hangul_to_jamo(hypothesis)))


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Under what conditions the hypotheses came about: what report.json says besides the rates."""

    run: str
    checkpoint_step: int
    data: str
    data_fingerprint: str
    split: str
    condition: str | None = None  # noises or rooms that it is heard in
    search: Mapping[str, Any]  # engine, n-grams and options, as Decoder.conditions gives them
    utterances_in_corpus: int
    excluded: Mapping[str, int]  # reason -> utterances of the corpus that were not scored
    acoustic_s: float | None  # wall time of the model; None when its log-probs were cached
    decode_s: float  # wall time of the search
    decode_cpu_s: float
    oov_rate: float | None = None  # of the references' words under the n-gram


def report(conditions: Conditions, results: Sequence[Result]) -> dict[str, Any]:
    """What report.json holds (schema 1): rates are fractions, counts integers, totals over the split."""
    audio_s = sum(result.duration_s for result in results)
    decode_s = conditions.decode_s
    return {
        "schema": SCHEMA,
        "run": conditions.run,
        "checkpoint_step": conditions.checkpoint_step,
        "data": conditions.data,
        "data_fingerprint": conditions.data_fingerprint,
        "split": conditions.split,
        "condition": conditions.condition,
        **conditions.search,
        "utterances": len(results),
        "utterances_in_corpus": conditions.utterances_in_corpus,
        "excluded": dict(conditions.excluded),
        "audio_s": round(audio_s, 3),
        "acoustic_s": None if conditions.acoustic_s is None else round(conditions.acoustic_s, 3),
        "decode_s": round(decode_s, 3),
        "decode_cpu_s": round(conditions.decode_cpu_s, 3),
        "rtfx": round(audio_s / decode_s, 1) if decode_s > 0 else None,
        **_rates(results),
        "wer_any_spacing": _fraction(total(result.words_any_spacing for result in results)),
        **_hangul(results),
        "oov_rate": conditions.oov_rate,
        "causes": _causes(results),
        "oracle_wer": _oracle_wer(results),
        "groups": {
            name: {value: _group(inside) for value, inside in members}
            for name, members in grouped(results).items()
            if name not in ALWAYS or len(members) <= MOST_LISTED
        },
    }


def _rates(results: Sequence[Result]) -> dict[str, Any]:
    words, chars = total(result.words for result in results), total(result.chars for result in results)
    return {
        "words": words.units,
        "wer": _fraction(words),
        "wer_ci95": bootstrap_ci95([result.words for result in results]),
        **words.kinds(),
        "chars": chars.units,
        "cer": _fraction(chars),
        "cer_no_space": _fraction(total(result.chars_no_space for result in results)),
        "char": chars.kinds(),
    }


def _hangul(results: Sequence[Result]) -> dict[str, Any]:
    """Null where the references have no Hangul."""
    if not any(_SYLLABLES.search(result.reference) for result in results):
        return {"jamo": None, "uncomposed": None}
    jamo = total(result.jamo for result in results)
    return {
        "jamo": {"units": jamo.units, "rate": _fraction(jamo), **jamo.kinds()},
        "uncomposed": sum(len(_LONE_JAMO.findall(result.hypothesis)) for result in results),
    }


def _causes(results: Sequence[Result]) -> dict[str, int] | None:
    """Wrong utterances by what made them so; None where that is not known of all."""
    counted = Counter(result.cause for result in results if result.words.errors)
    return None if None in counted else {cause: counted[cause] for cause in report_html.CAUSES}


def _oracle_wer(results: Sequence[Result]) -> float | None:
    """The WER of whoever would choose from the n best; None without such lists."""
    if not any("n_best" in result.scores for result in results):
        return None
    return _fraction(total(result.oracle_words for result in results))


def _group(results: Sequence[Result]) -> dict[str, Any]:
    words = total(result.words for result in results)
    return {
        "utterances": len(results),
        "words": words.units,
        "wer": _fraction(words),
        "cer": _fraction(total(result.chars for result in results)),
        "cer_no_space": _fraction(total(result.chars_no_space for result in results)),
    }


def grouped(results: Sequence[Result]) -> dict[str, list[tuple[str, list[Result]]]]:
    """By each thing that the corpus knows and that is not the same for all: its values, in order, and their results."""
    groups: dict[str, list[tuple[str, list[Result]]]] = {}
    for name in dict.fromkeys(name for result in results for name in result.groups):
        members: dict[str, list[Result]] = {}
        for result in results:
            members.setdefault(result.groups.get(name, NO_VALUE), []).append(result)
        if len(members) > 1:
            groups[name] = sorted(members.items())
    return groups


def _fraction(counts: Counts) -> float | None:
    """The rate as JSON knows numbers."""
    return counts.rate if counts.units else None


def bootstrap_ci95(counts: Sequence[Counts]) -> list[float] | None:
    """The central 95 % of the rate over utterances drawn with replacement (Bisani & Ney 2004); None without a rate."""
    if not sum(each.units for each in counts):
        return None
    errors, units = (np.array(column, float) for column in zip(*((c.errors, c.units) for c in counts), strict=True))
    random = np.random.default_rng(BOOTSTRAP_SEED)
    rates = []
    for _ in range(BOOTSTRAP_SAMPLES):
        drawn = random.integers(0, len(counts), len(counts))
        rates.append(errors[drawn].sum() / max(1.0, units[drawn].sum()))
    low, high = np.percentile(rates, [2.5, 97.5])
    return [float(low), float(high)]


@dataclass(frozen=True)
class Evidence:
    """What stands behind the totals, for people: counted, most frequent first."""

    substitutions: list[tuple[tuple[str, str], int]]
    deletions: list[tuple[str, int]]
    insertions: list[tuple[str, int]]
    characters: list[tuple[tuple[str, str], int]]  # one character for another; "" where inserted or deleted
    groups: dict[str, list[tuple[str, list[Result]]]]  # duration, speaker ...: the results of each


def evidence(results: Sequence[Result]) -> Evidence:
    """What the error rates rest on: the commonest errors, and the results grouped by what the corpus knows."""
    steps = Counter(step for result in results for step in result.alignment if step.kind != "equal")
    char_steps = Counter(step for result in results for step in result.char_alignment if step.kind != "equal")
    by_duration = {"duration": _by_duration(results)} if results else {}
    ordered = _most_common(steps)
    return Evidence(
        substitutions=[((step.reference or "", step.hypothesis or ""), n) for step, n in ordered if step.kind == "sub"],
        deletions=[(step.reference or "", n) for step, n in ordered if step.kind == "del"],
        insertions=[(step.hypothesis or "", n) for step, n in ordered if step.kind == "ins"],
        characters=[((step.reference or "", step.hypothesis or ""), n) for step, n in _most_common(char_steps)],
        groups=by_duration | grouped(results),
    )


def _most_common(steps: Counter[Step]) -> list[tuple[Step, int]]:
    """Ties in a fixed order, so that the same hypotheses give the same page."""
    return sorted(steps.items(), key=lambda item: (-item[1], item[0].reference or "", item[0].hypothesis or ""))


def _by_duration(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    edges = (0, *DURATION_EDGES_S)
    names = [f"{low} to {high} s" for low, high in pairwise(edges)] + [f"over {edges[-1]} s"]
    members: dict[str, list[Result]] = {name: [] for name in names}
    for result in results:
        members[names[int(np.searchsorted(DURATION_EDGES_S, result.duration_s))]].append(result)
    return [(name, inside) for name, inside in members.items() if inside]


def write_report(folder: Path, conditions: Conditions, results: Sequence[Result]) -> dict[str, Any]:
    """Writes hypotheses.jsonl, report.html and, last, report.json into the folder; returns what report.json holds.

    Raises:
        AsrkitError: the folder cannot be written.
    """
    made = report(conditions, results)
    texts = {
        HYPOTHESES: "".join(json.dumps(_line(result), ensure_ascii=False) + "\n" for result in results),
        PAGE: report_html.page(made, results, evidence(results)),
        REPORT: json.dumps(made, indent=1, ensure_ascii=False) + "\n",
    }
    _write_texts(folder, texts, REPORT)
    return made


def write_comparison(folder: Path, reports: Mapping[Path, Mapping[str, Any]]) -> Path:
    """Writes conditions.html and, last, conditions.json: a row for each report.json of a split, which lies in a folder
    beside this one. Returns the page.

    Raises:
        AsrkitError: the folder cannot be written.
    """
    named = ("condition", "utterances", "words", "wer", "wer_ci95", "cer", "cer_no_space")
    rows = [
        {"report": f"../{place.name}/{PAGE}"} | {name: made[name] for name in named} for place, made in reports.items()
    ]
    first = next(iter(reports.values()))
    common = {name: first[name] for name in ("schema", "run", "checkpoint_step", "data", "split", "engine")}
    compared = common | {"conditions": rows}
    texts = {
        COMPARISON_PAGE: report_html.comparison(compared),
        COMPARISON: json.dumps(compared, indent=1, ensure_ascii=False) + "\n",
    }
    _write_texts(folder, texts, COMPARISON)
    return folder / COMPARISON_PAGE


def _write_texts(folder: Path, texts: Mapping[str, str], marker: str) -> None:
    """The last of them is the marker, which is taken away first: what it stands for is about to change."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / marker).unlink(missing_ok=True)
        for name, text in texts.items():
            write_whole(folder / name, text.encode("utf-8"))
    except OSError as error:
        raise AsrkitError(f"the report in {folder} cannot be written: {error.strerror or error}") from error


def _line(result: Result) -> dict[str, Any]:
    return {
        "key": result.key,
        "reference": result.reference,
        "hypothesis": result.hypothesis,
        "errors": result.words.errors,
        "words": result.words.units,
        "duration_s": result.duration_s,
        **result.groups,
        "cause": result.cause,
        **result.scores,
    }


TABLE_COLUMNS = (
    *("split", "engine", "utterances", "words", "WER", "95 %", "ins del sub"),
    *("CER", "no spaces", "OOV", "x real time"),
)


def table_row(made: Mapping[str, Any]) -> tuple[str, ...]:
    """A report.json as one row of a table for the terminal, under TABLE_COLUMNS."""
    return (
        ", ".join(filter(None, (made["split"], made["condition"]))),
        made["engine"],
        f"{made['utterances']:,}",
        f"{made['words']:,}",
        report_html.percent(made["wer"]),
        report_html.interval(made["wer_ci95"]),
        f"{made['ins']} {made['del']} {made['sub']}",
        report_html.percent(made["cer"]),
        report_html.percent(made["cer_no_space"]),
        report_html.percent(made["oov_rate"]),
        f"{made['rtfx']:,.0f}" if made["rtfx"] else "-",
    )


def remarks(made: Mapping[str, Any]) -> list[str]:
    """What a report.json says besides its row, where there is more to say: causes, the n best, Hangul, and texts that
    are in train."""
    percent = report_html.percent
    said = []
    if made["causes"] and (wrong := sum(made["causes"].values())):
        each = (f"{report_html.CAUSES[cause][0]} {number:,}" for cause, number in made["causes"].items())
        said.append(f"{wrong:,} utterances are wrong because of: {', '.join(each)}")
    if made["oracle_wer"] is not None:
        said.append(f"WER {percent(made['oracle_wer'])}, were the best of each n-best list chosen")
    if made["jamo"] is not None:
        jamo, any_spacing = percent(made["jamo"]["rate"]), percent(made["wer_any_spacing"])
        said.append(f"jamo error rate {jamo}, WER in any spacing {any_spacing}")
        if made["uncomposed"]:
            said.append(f"letters of Hangul that could not be composed to syllables: {made['uncomposed']:,}")
    for value, group in made["groups"].get("text_in_train", {}).items():
        which = {"true": "text in train, too", "false": "text not in train"}.get(value, value)
        rates = f"WER {percent(group['wer'])}, CER {percent(group['cer'])}, no spaces {percent(group['cer_no_space'])}"
        said.append(f"{which}: {group['utterances']:,} utterances, {rates}")
    return [f"{made['split']}, {made['engine']}: {each}" for each in said]

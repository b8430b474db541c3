"""A split's index records in, what error rates are broken down by out: for each utterance its group in each field."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

ALWAYS = ("speaker", "gender", "condition")  # whatever the number of their values
MEASURED = ("_m", "_cm", "_s", "_db", "_hz")  # ends of names of what is measured: many values are put into ranges
FEWEST, MOST = 2, 12  # distinct values that any other field must have
MOST_LISTED = 50  # speakers in report.json; the page has the most important ones of more

_OF_THE_INDEX = {"key", "shard", "offset", "size", "samples", "labels", "frames"}
_OF_THE_TEXT = {"text", "text_raw", "pronunciation", "notes"}
# names that the report has given to something else
_OF_THE_REPORT = {"duration", "duration_s", "reference", "hypothesis", "errors", "words"}
_SCORES = {"logp", "lm_score", "score", "n_best"}
_NEVER = _OF_THE_INDEX | _OF_THE_TEXT | _OF_THE_REPORT | _SCORES


def groups_of(records: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """For each record the fields that have a few distinct values over all, as text; having none is a value, too.

    What is measured (distance_m, snr_db) and has many values is put into four ranges with as many records each.
    """
    values: dict[str, set[str | None]] = {}
    for name in dict.fromkeys([*ALWAYS, *(name for record in records for name in record)]):
        if name not in _NEVER:
            values[name] = set()
    for record in records:
        for name, seen in values.items():
            if len(seen) <= MOST:
                seen.add(_text(record.get(name)))
    names = [name for name, seen in values.items() if name in ALWAYS or FEWEST <= len(seen) <= MOST]
    found = [{name: _text(record.get(name)) for name in names} for record in records]
    for name, seen in values.items():
        if len(seen) > MOST and name.endswith(MEASURED):
            for each, within in zip(found, _ranges([record.get(name) for record in records]), strict=True):
                each[name] = within
    return [{name: value for name, value in each.items() if value is not None} for each in found]


def _ranges(values: Sequence[Any]) -> list[str | None]:
    """For each number the quarter of all that it is in; None for anything else."""
    numbers = [value for value in values if _is_number(value)]
    if not numbers:
        return [None] * len(values)
    edges = sorted({float(f"{edge:.3g}") for edge in np.quantile(numbers, (0.25, 0.5, 0.75)).tolist()})
    names = [
        f"below {edges[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(edges)),
        f"{edges[-1]:g} or more",
    ]
    return [names[bisect_right(edges, value)] if _is_number(value) else None for value in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str | None:
    """As JSON writes it, but strings without their quotation marks."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)

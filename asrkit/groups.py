"""A split's index records in, what error rates are broken down by out: for each utterance its group in each field."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

ALWAYS = ("speaker", "gender")  # whatever the number of their values
FEWEST, MOST = 2, 12  # distinct values that any other field must have
SPEAKERS_LISTED = 50  # in report.json; the page has the most important ones of more

_OF_THE_INDEX = {"key", "shard", "offset", "size", "samples", "labels", "frames"}
_OF_THE_TEXT = {"text", "text_raw", "pronunciation", "notes"}
# names that the report has given to something else
_OF_THE_REPORT = {"duration", "duration_s", "reference", "hypothesis", "errors", "words"}
_SCORES = {"logp", "lm_score", "score", "n_best"}
_NEVER = _OF_THE_INDEX | _OF_THE_TEXT | _OF_THE_REPORT | _SCORES


def groups_of(records: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """For each record the fields that have a few distinct values over all, as text; having none is a value, too."""
    values: dict[str, set[str | None]] = {}
    for name in dict.fromkeys([*ALWAYS, *(name for record in records for name in record)]):
        if name not in _NEVER:
            values[name] = set()
    for record in records:
        for name, seen in values.items():
            if len(seen) <= MOST:
                seen.add(_text(record.get(name)))
    names = [name for name, seen in values.items() if name in ALWAYS or FEWEST <= len(seen) <= MOST]
    found = ({name: _text(record.get(name)) for name in names} for record in records)
    return [{name: value for name, value in each.items() if value is not None} for each in found]


def _text(value: Any) -> str | None:
    """As JSON writes it, but strings without their quotation marks."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)

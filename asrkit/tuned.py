"""The options that `asrkit tune` found for a run and an n-gram: kept in the run's folder, as tuned.json.

One entry for each n-gram, or pair of them, known by name and size; see docs/formats.md.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asrkit.atomic import storing_in, write_whole
from asrkit.errors import AsrkitError

TUNED = "tuned.json"
SCHEMA = 1


def tuned_options(home: Path, *lms: str | Path | None) -> dict[str, Any]:
    """What was found for these n-grams; nothing where they were not tuned together.

    Raises:
        AsrkitError: the file is damaged, or there is no such n-gram.
    """
    if not any(lms) or not (entries := _entries(home)):
        return {}
    wanted = [_mark(Path(lm)) for lm in lms if lm is not None]
    return next((dict(entry["options"]) for entry in entries if entry["lms"] == wanted), {})


def keep_tuned(home: Path, lms: Iterable[str | Path | None], found: Mapping[str, Any]) -> Path:
    """Puts what was found for the n-grams, `options` and whatever tells how, in place of what was there for them."""
    marks = [_mark(Path(lm)) for lm in lms if lm is not None]
    entries = [entry for entry in _entries(home) if entry["lms"] != marks]
    text = json.dumps({"schema": SCHEMA, "tuned": [*entries, {"lms": marks, **found}]}, indent=1, ensure_ascii=False)
    with storing_in(home):
        write_whole(home / TUNED, (text + "\n").encode("utf-8"))
    return home / TUNED


def _entries(home: Path) -> list[dict[str, Any]]:
    try:
        entries: list[dict[str, Any]] = json.loads((home / TUNED).read_text(encoding="utf-8"))["tuned"]
        if not all(isinstance(entry["options"], dict) and entry["lms"] for entry in entries):
            raise TypeError
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise AsrkitError(f"{home / TUNED} is damaged ({error!r}); delete it, and tune again") from error
    return entries


def _mark(lm: Path) -> dict[str, Any]:
    """A packed folder is known by what it was made from, and so shares its ARPA's entry."""
    if lm.is_dir():
        try:
            source = json.loads((lm / "pack.json").read_text(encoding="utf-8"))["source"]
            return {"name": source["name"], "bytes": source["bytes"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AsrkitError(f"{lm} is no packed n-gram, or a damaged one ({error!r})") from error
    try:
        return {"name": lm.name, "bytes": lm.stat().st_size}
    except OSError as error:
        raise AsrkitError(f"{lm} cannot be read: {error.strerror}") from error

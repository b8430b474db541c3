"""A manifest (JSON lines, CSV or TSV) in, utterances out; and the checked reading of files that corpora share."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from asrkit.errors import AsrkitError, did_you_mean
from asrkit.utterance import Utterance

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_TABLES = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".json", ".ndjson")
_GENDERS = {"m": "m", "male": "m", "male_masculine": "m", "f": "f", "female": "f", "female_feminine": "f"}


def read_manifest(path: str | Path, *, texts: bool = True) -> Iterator[Utterance]:
    """The utterances that a manifest lists, in its order; `texts` False wants no text, as for noises.

    Each line has audio (a path relative to the manifest) and text, and where known key (or id), speaker, gender,
    language, duration_s, split, start_s, end_s (a piece of the file) and channel (counted from 0). What else it has
    goes into `extra`. A null or an empty cell says nothing. Without a key it is the audio path, with the piece behind
    it where there is one; prepare makes it a legal name.

    Raises:
        AsrkitError: not a manifest; names the line.
    """
    path = Path(path)
    kind = path.suffix.lower()
    required = ("audio", "text") if texts else ("audio",)
    if kind in _TABLES:
        rows: Iterable[tuple[int, Mapping[str, Any]]] = read_table(path, required=required)
    elif kind in _JSON_LINES:
        rows = _read_json_lines(path, required)
    else:
        raise AsrkitError(f"{path} ends in {kind or 'nothing'!r}; wanted a manifest in .jsonl, .csv or .tsv")
    for number, row in rows:
        yield _utterance(dict(row), path.parent, f"{path}, line {number}")


def read_table(path: Path, required: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, {column: cell}) of a CSV or, where the name ends in .tsv, of a tab-separated file, by its header.

    In CSV, cells may be in double quotes; in TSV a quotation mark is a character like any other.

    Raises:
        AsrkitError: a required column is missing, or a row has other columns than the header; names the line.
    """
    rows = _rows(path)
    first, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    for name in required:
        if name not in header:
            found = ", ".join(header) or "nothing"
            raise AsrkitError(f"{path}, line {first}: no column {name!r}{did_you_mean(name, header)} (found: {found})")
    if len(set(header)) < len(header):
        raise AsrkitError(f"{path}, line {first}: two columns have the same name ({', '.join(header)})")
    for number, cells in rows:
        if len(cells) != len(header):
            raise AsrkitError(f"{path}, line {number}: {len(cells)} columns; wanted {len(header)}, as in the header")
        yield number, dict(zip(header, cells, strict=True))


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end) of a text; a byte order mark and CRLF do not matter.

    The encoding is one in which the bytes of a line end are nothing else: UTF-8, CP949, Latin-1, but not UTF-16.

    Raises:
        AsrkitError: the file cannot be read, or a line is not in that encoding.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1 and line.startswith(_UTF16_BOMS) and encoding == "utf-8":
                    raise AsrkitError(f"{path} is UTF-16; save it as UTF-8")
                whole = line.removeprefix(_BOM) if number == 1 else line
                yield number, _decode(whole, encoding, f"{path}, line {number}")
    except OSError as error:
        raise AsrkitError(f"{path} cannot be read ({error.strerror})") from error


def split_folder(root: Path, name: str, split: str) -> Path:
    """The folder of one split; `root` is the corpus, or the folder above, where the corpus is called `name` in it.

    Raises:
        AsrkitError: there is no such split.
    """
    home = root / name if (root / name).is_dir() else root
    if not (home / split).is_dir():
        found = sorted(path.name for path in home.iterdir() if path.is_dir()) if home.is_dir() else []
        there_are = ", ".join(found) or "no folders"
        raise AsrkitError(f"{home} has no folder {split!r}{did_you_mean(split, found)} (found: {there_are})")
    return home / split


def read_transcripts(folder: Path, sound: str = ".flac") -> list[tuple[str, str]]:
    """(key, text), sorted, of a folder whose *.trans.txt hold lines `key text` and whose sound files are named by key.

    A sound file without a line comes too, with no text, so that prepare counts it.
    """
    lines = [line.strip() for path in sorted(folder.glob("*.trans.txt")) for _, line in read_lines(path)]
    transcripts = [(key, text.strip()) for key, _, text in (line.partition(" ") for line in lines if line)]
    silent = {path.stem for path in folder.glob(f"*{sound}")} - {key for key, _ in transcripts}
    return sorted(transcripts + [(key, "") for key in silent])


def _decode(line: bytes, encoding: str, where: str) -> str:
    try:
        return line.decode(encoding).rstrip("\r\n")
    except UnicodeDecodeError as error:
        found = f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
        name = encoding.upper()
        raise AsrkitError(f"{where}: {found} is not {name}; save the file as {name}") from error


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells); blank lines are passed over."""
    if _TABLES.get(path.suffix.lower()) != ",":
        for number, line in read_lines(path):
            if line.strip():
                yield number, line.split("\t")
        return
    reader = csv.reader((line + "\n" for _, line in read_lines(path)), strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise AsrkitError(f"{path}, line {reader.line_num}: not CSV ({error})") from error


def _read_json_lines(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise AsrkitError(f"{where}: not JSON ({error}); wanted one object a line") from error
        if not isinstance(row, dict):
            raise AsrkitError(f"{where}: a JSON {type(row).__name__}; wanted an object with {' and '.join(required)}")
        for name in required:
            if name not in row:
                found = ", ".join(row) or "nothing"
                raise AsrkitError(f"{where}: no {name!r}{did_you_mean(name, row)} (found: {found})")
        yield number, row


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _utterance(row: dict[str, Any], folder: Path, where: str) -> Utterance:
    """Takes what is known out of the row; the rest is extra."""
    audio = _words(row, "audio", where)
    if not audio:
        raise AsrkitError(f"{where}: audio is empty; wanted a path")
    text = row.pop("text", None)
    if not isinstance(text, str | None):
        raise AsrkitError(f"{where}: text is {text!r}; wanted a string")
    start_s, end_s = _number(row, "start_s", where) or 0.0, _number(row, "end_s", where)
    channel = _channel(row, where)
    key = _words(row, "key", where) or _words(row, "id", where)
    gender = _words(row, "gender", where) or ""
    return Utterance(
        key=key or _key(audio, start_s, end_s, channel),
        audio=folder / audio,
        text=text or "",
        split=_words(row, "split", where),
        speaker=_words(row, "speaker", where),
        gender=known_gender(gender),
        language=_words(row, "language", where),
        duration_s=_number(row, "duration_s", where),
        start_s=start_s,
        end_s=end_s,
        channel=channel,
        extra={name: value for name, value in row.items() if value not in (None, "")},
    )


def known_gender(word: str) -> str | None:
    """ "m" or "f" for the ways in which corpora write it, None for all else."""
    return _GENDERS.get(word.strip().lower())


def _key(audio: str, start_s: float, end_s: float | None, channel: int | None) -> str:
    """Tells apart what comes from the same file."""
    parts = [str(Path(audio).parent / Path(audio).stem)]
    if start_s or end_s is not None:
        parts += [f"{start_s:.3f}", "end" if end_s is None else f"{end_s:.3f}"]
    if channel is not None:
        parts.append(f"channel{channel}")
    return "-".join(parts)


def _words(row: dict[str, Any], name: str, where: str) -> str | None:
    """A name; whole numbers serve too (speaker 17)."""
    value = row.pop(name, None)
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise AsrkitError(f"{where}: {name} is {value!r}; wanted a string")
    return None if value is None else str(value).strip() or None


def _number(row: dict[str, Any], name: str, where: str) -> float | None:
    value = row.pop(name, None)
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise AsrkitError(f"{where}: {name} is {value!r}; wanted a number")
    return number


def _channel(row: dict[str, Any], where: str) -> int | None:
    number = _number(row, "channel", where)
    if number is not None and (number < 0 or number != int(number)):
        raise AsrkitError(f"{where}: channel is {number:g}; wanted a whole number, counted from 0")
    return None if number is None else int(number)

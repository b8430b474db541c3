"""VERB: texts in; an n-gram model of their words, or of a tokenizer's labels, as an ARPA file out."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from asrkit.atomic import storing_in
from asrkit.cores import usable_cores
from asrkit.download import fetch_gzip
from asrkit.errors import AsrkitError
from asrkit.kneser_ney import MEMORY_MB, Pruning, build_arpa
from asrkit.language_model import LanguageModel, TextDownload, TrainTranscripts, load_language_model
from asrkit.normalising import normalised
from asrkit.progress import Progress, Silent
from asrkit.recipe import Recipe
from asrkit.shards import DataSet, resolve_data
from asrkit.text_files import read_blocks, read_lines
from asrkit.tokenizer import Tokenizer, written

Unit = Literal["word", "token"]
ORDERS: dict[Unit, int] = {"word": 4, "token": 6}  # where none is given


def build_lm(
    texts: Sequence[str | Path] = (),
    out: str | Path | None = None,
    *,
    order: int | None = None,
    prune: Sequence[int] | None = None,
    vocab: str | Path | None = None,
    recipe: Recipe | None = None,
    unit: Unit | None = None,
    data: str | None = None,
    data_dir: str | Path = "data",
    discount_fallback: bool = False,
    memory_mb: int = MEMORY_MB,
    workers: int | None = None,
    progress: Progress = Silent(),
) -> Path:
    """Builds an interpolated modified Kneser-Ney model, one sentence a line, and gives the path of the ARPA file.

    With a recipe its rules are applied to every line, in `workers` processes (default: one for each core). `prune`
    leaves out n-grams that occur no more often than the threshold of their length; `vocab` (a file of words) those with
    other words. Of tokens it is a model of the labels of the tokenizer that `data` was prepared with (default: the
    recipe's name), for searches over labels.

    Without texts the recipe's LM declares all that is not given (language_model.py). What has to be fetched goes to
    data_dir/lm/<recipe>/, and so does the model: <order>gram.arpa. Train's transcripts are taken as they are in the
    index of `data`, where they are normalised already.

    Raises:
        AsrkitError: texts or words that cannot be read, no sentence, a text too small to estimate from, no room;
            nothing declared, data that is not prepared, a text that cannot be fetched.
    """
    words = frozenset(_words(Path(vocab))) if vocab is not None else None
    if texts:
        making = _given(texts, out, order, prune, unit, recipe, data, Path(data_dir))
    else:
        making = _declared(out, order, prune, unit, recipe, data, Path(data_dir), progress)
    sentences = _Sentences(making, recipe, workers or usable_cores())
    with closing(iter(sentences)) as lines:
        counts = build_arpa(
            lines,
            making.order,
            making.out,
            pruning=Pruning(thresholds=tuple(making.prune), words=words),
            discount_fallback=discount_fallback or making.discount_fallback,
            memory_mb=memory_mb,
            progress=progress,
        )
    if sentences.left_out:
        progress.warn(f"{sentences.left_out:,} lines have characters that the tokenizer cannot spell; left out")
    found = ", ".join(f"{count:,} {n}-grams" for n, count in enumerate(counts, start=1))
    progress.say(f"{making.out}: {found}")
    return making.out


@dataclass(frozen=True, kw_only=True)
class _Making:
    """What is made from what, all settled."""

    files: Sequence[Path]
    transcripts: DataSet | None = None  # whose train split is text, too
    tokenizer: Tokenizer | None  # whose labels are the model's words
    order: int
    prune: Sequence[int]
    discount_fallback: bool = False
    out: Path


def _given(
    texts: Sequence[str | Path],
    out: str | Path | None,
    order: int | None,
    prune: Sequence[int] | None,
    unit: Unit | None,
    recipe: Recipe | None,
    data: str | None,
    data_dir: Path,
) -> _Making:
    """By the words of the command line alone."""
    if out is None:
        raise AsrkitError("nothing says where the model goes; wanted --out (-o), such as -o 4gram.arpa")
    unit, tokenizer = unit or "word", None
    if unit == "token":
        if recipe is None:
            raise AsrkitError("an n-gram of tokens wants the recipe whose tokenizer it is for; give --recipe")
        tokenizer = resolve_data(data_dir, data, recipe.name).tokenizer()
    return _Making(
        files=[Path(text) for text in texts],
        tokenizer=tokenizer,
        order=order or ORDERS[unit],
        prune=(0,) if prune is None else prune,
        discount_fallback=unit == "token",  # every letter of an alphabet is frequent: its discount cannot be estimated
        out=Path(out),
    )


def _declared(
    out: str | Path | None,
    order: int | None,
    prune: Sequence[int] | None,
    unit: Unit | None,
    recipe: Recipe | None,
    data: str | None,
    data_dir: Path,
    progress: Progress,
) -> _Making:
    """By what the recipe's LM declares, where the command line says nothing else; fetches its text."""
    if recipe is None:
        raise AsrkitError("no text to build from; give TEXT, or --recipe with a recipe that declares its text")
    model = load_language_model(recipe)
    if model is None:
        raise AsrkitError(
            f"recipe {recipe.name!r} declares no text for a language model (no lm.py in its folder, no "
            f"lm/{recipe.name}.py); give TEXT"
        )
    same = unit in (None, model.unit)  # else order and pruning were declared for something else
    unit = unit or model.unit
    order = order or (model.order if same else ORDERS[unit])
    transcripts = any(isinstance(text, TrainTranscripts) for text in model.text)
    # before anything large is fetched
    data_set = resolve_data(data_dir, data, recipe.name) if transcripts or unit == "token" else None
    tokenizer = data_set.tokenizer() if data_set and unit == "token" else None
    folder = data_dir / "lm" / recipe.name
    with storing_in(folder):
        folder.mkdir(parents=True, exist_ok=True)
    files = _fetch_texts(model, folder, progress)
    if data_set and transcripts:
        _say_transcripts(data_set, recipe, progress)
    return _Making(
        files=files,
        transcripts=data_set if transcripts else None,
        tokenizer=tokenizer,
        order=order,
        prune=prune if prune is not None else model.prune[:order] if same else (0,),
        discount_fallback=unit == "token" or (model.discount_fallback and same),
        out=Path(out) if out is not None else folder / f"{order}gram.arpa",
    )


def _fetch_texts(model: LanguageModel, folder: Path, progress: Progress) -> list[Path]:
    """The files of the declared texts; one that is there is whole, and reading it checks it again."""
    files = []
    for text in model.text:
        if isinstance(text, TextDownload):
            path = folder / text.file_name
            if not path.exists():
                fetch_gzip(text.url, path, size=text.size, progress=progress)
            progress.say(f"text: {path} ({text.licence})")
            files.append(path)
    return files


def _say_transcripts(data_set: DataSet, recipe: Recipe, progress: Progress) -> None:
    count = sum(len(data_set.index(split)) for split in data_set.splits["train"])
    progress.say(f"text: {count:,} transcripts of {', '.join(data_set.splits['train'])} in {data_set.folder}")
    if data_set.meta.get("normalizer") != recipe.text_fingerprint():
        progress.warn(f"the recipe changed since {data_set.folder} was prepared; --text-only prepares its texts anew")


class _Sentences:
    """The lines of texts as words, or as labels of a tokenizer; without rules as lmplz takes them.

    So without a recipe an empty line is a sentence without words; with one, what its rules leave nothing of is none.
    """

    def __init__(self, making: _Making, recipe: Recipe | None, workers: int) -> None:
        self.making, self.recipe, self.workers = making, recipe, workers
        self.left_out = 0

    def __iter__(self) -> Generator[Sequence[str] | bytes, None, None]:
        if self.recipe is None:
            yield from read_blocks(self.making.files)
            return
        data, tokenizer = self.making.transcripts, self.making.tokenizer
        transcripts: Iterable[str] = data.texts("train") if data else ()
        lines = read_lines(self.making.files)
        with closing(normalised(lines, self.recipe, workers=self.workers)) as read:
            for text in filter(None, chain(read, transcripts)):
                if tokenizer is None:
                    yield text.split()
                elif tokenizer.spells(text):
                    yield [written(tokenizer.labels[label]) for label in tokenizer.encode(text)]
                else:
                    self.left_out += 1


def _words(path: Path) -> Iterator[str]:
    for line in read_lines([path]):
        yield from line.split()

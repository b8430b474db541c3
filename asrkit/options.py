"""Words of the command line in, what commands need of them out: the options that several share, named once."""

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from asrkit.errors import AsrkitError

if TYPE_CHECKING:
    from asrkit.recipe import Recipe
    from asrkit.terminal import Terminal

Device = Literal["auto", "cpu", "cuda", "mps"]
WandbMode = Literal["online", "offline"]


def local_folder(place: str | Path) -> Path:
    """The folder that --data-dir names, for commands that write there; a Path would make s3:/bucket of s3://bucket.

    Raises:
        AsrkitError: it is an address, or a file.
    """
    if "://" in str(place):
        raise AsrkitError(
            f"--data-dir {place} is an address; this command wants a folder of this machine (train, decode, tune and "
            "augment-preview read data far away)"
        )
    if Path(place).is_file():
        raise AsrkitError(f"--data-dir {place} is a file; wanted a folder")
    return Path(place)


RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or path of a recipe folder.")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings of the recipe, such as train.lr=2e-4.", show_default=False),
]
DataName = Annotated[str | None, typer.Option("--data", help="Name of the data set.", show_default="the recipe's")]
DataDir = Annotated[Path, typer.Option(help="Where prepared data lies.", metavar="<dir>", parser=local_folder)]
DataPlace = Annotated[
    str, typer.Option("--data-dir", help="Where prepared data lies: a folder, or s3://... or https://...")
]
ExpDir = Annotated[Path, typer.Option(help="Where runs lie.", file_okay=False)]
TUNED = "tuned, or the recipe's"
LM = Annotated[Path | None, typer.Option("--lm", help="n-gram: .arpa, .arpa.gz, packed folder or KenLM binary.")]
TokenLM = Annotated[
    Path | None, typer.Option("--token-lm", help="n-gram of labels (asrkit lm build --unit token), besides --lm.")
]
UnitName = Annotated[
    Literal["word", "token"] | None, typer.Option("--unit", help="What --lm is of.", show_default="as its words look")
]
Engine = Annotated[
    Literal["native", "pyctcdecode"] | None, typer.Option(help="Our own search, or pyctcdecode.", show_default="native")
]
Beam = Annotated[int | None, typer.Option(min=1, help="Beam width.", show_default=TUNED)]
Alpha = Annotated[float | None, typer.Option(help="Weight of the n-gram of words.", show_default=TUNED)]
Beta = Annotated[float | None, typer.Option(help="Bonus for each word.", show_default=TUNED)]
UnkScore = Annotated[
    float | None,
    typer.Option(
        help="log10 for a word the n-gram does not know, besides its own.", show_default="-6; pyctcdecode -10"
    ),
]
ClosedVocab = Annotated[
    bool | None,
    typer.Option("--closed-vocab/--open-vocab", help="Only words of the n-gram, or any.", show_default="open"),
]
TokenAlpha = Annotated[float | None, typer.Option(help="Weight of the n-gram of labels.", show_default=TUNED)]
TokenBeta = Annotated[float | None, typer.Option(help="Bonus for each label.", show_default=TUNED)]
TokenMinLogp = Annotated[float | None, typer.Option(help="Less likely labels are not tried.", show_default="-5")]
BeamPruneLogp = Annotated[float | None, typer.Option(help="Beams so far behind are dropped.", show_default="-10")]
Hotwords = Annotated[
    Path | None, typer.Option(help="Words and phrases to listen for, one a line: a file.", dir_okay=False)
]
HotwordScore = Annotated[float | None, typer.Option(help="Bonus for each of their words.", show_default="10")]
DeviceName = Annotated[Device, typer.Option(help="What computes.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines.")]


def positive(minutes: float | None) -> float | None:
    """Those of --minutes, where it is given.

    Raises:
        AsrkitError: not above 0, infinite or no number.
    """
    if minutes is not None and not 0 < minutes < math.inf:
        raise AsrkitError(f"--minutes is {minutes:g}; wanted a finite number above 0")
    return minutes


def resolved(name: str, settings: list[str] | None) -> "Recipe":
    """The recipe of that name with these settings."""
    from asrkit.recipe import load_recipe, with_overrides

    return with_overrides(load_recipe(name), settings or [])


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Those that an option lists.

    Raises:
        AsrkitError: something else is among them.
    """
    if text is None:
        return None
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise AsrkitError(f"{option} is {text!r}; wanted numbers, separated by commas") from error
    if not all(map(math.isfinite, found)):
        raise AsrkitError(f"{option} is {text!r}; wanted numbers that are finite")
    return found


def phrases(path: Path | None) -> tuple[str, ...] | None:
    """The lines of a file, without empty ones."""
    if path is None:
        return None
    from asrkit.text_files import read_lines

    found = tuple(line.strip() for line in read_lines([path]) if line.strip())
    if not found:
        raise AsrkitError(f"{path} holds no word; wanted words and phrases, one a line")
    return found


def names(text: str | None) -> list[str] | None:
    """`a,b` -> ["a", "b"]; None means the recipe's own."""
    return [name.strip() for name in text.split(",") if name.strip()] if text is not None else None


def typed(value: Any) -> str:
    """A setting's value as it is written on the command line."""
    if isinstance(value, list | tuple):
        return ",".join(typed(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def json_text(value: Any, indent: int | None = None) -> str:
    """For machines."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def terminal() -> "Terminal":
    """Where everything goes."""
    from asrkit.terminal import Terminal

    return Terminal()


def terminals(machine_output: bool) -> tuple["Terminal", "Terminal"]:
    """Where news go and where results go: apart when results are read by a machine, together on a terminal."""
    from asrkit.terminal import Terminal

    results = Terminal()
    return (Terminal(sys.stderr) if machine_output and not sys.stdout.isatty() else results), results

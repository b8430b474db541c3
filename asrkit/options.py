"""Words of the command line in, what commands need of them out: the options that several share, named once."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from asrkit.recipe import Recipe
    from asrkit.terminal import Terminal

Device = Literal["auto", "cpu", "cuda", "mps"]
WandbMode = Literal["online", "offline"]

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or path of a recipe folder.")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings of the recipe, such as train.lr=2e-4.", show_default=False),
]
DataName = Annotated[str | None, typer.Option("--data", help="Name of the data set.", show_default="the recipe's")]
DataDir = Annotated[Path, typer.Option(help="Where prepared data lies.", file_okay=False)]
ExpDir = Annotated[Path, typer.Option(help="Where runs lie.", file_okay=False)]
LM = Annotated[Path | None, typer.Option("--lm", help="n-gram for beam search: .arpa, .arpa.gz or KenLM binary.")]
Beam = Annotated[int | None, typer.Option(min=1, help="Beam width.", show_default="as in the recipe")]
Alpha = Annotated[float | None, typer.Option(help="Weight of the n-gram.", show_default="as in the recipe")]
Beta = Annotated[float | None, typer.Option(help="Bonus for each word.", show_default="as in the recipe")]
DeviceName = Annotated[Device, typer.Option(help="What computes.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines.")]


def resolved(name: str, settings: list[str] | None) -> "Recipe":
    """The recipe of that name with these settings."""
    from asrkit.recipe import load_recipe, with_overrides

    return with_overrides(load_recipe(name), settings or [])


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

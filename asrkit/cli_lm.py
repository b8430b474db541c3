"""`asrkit lm`: words of the command line in, one call of a verb about language models out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from asrkit.errors import AsrkitError
from asrkit.options import AsJson, DataDir, DataName, RecipeName, json_text, resolved, terminal, terminals

Texts = Annotated[
    list[Path], typer.Argument(metavar="TEXT...", help="One sentence a line, UTF-8; .gz too; - is standard input.")
]
RecipeForText = Annotated[str | None, typer.Option("--recipe", help="Apply this recipe's text rules to every line.")]

lm = typer.Typer(rich_markup_mode=None)


@lm.callback(invoke_without_command=True)
def about(context: typer.Context) -> None:
    """Fetch, build, score and pack n-gram language models.

    \b
    Examples:
      asrkit lm fetch RECIPE
      asrkit lm build text.txt -o 4gram.arpa
      asrkit lm score 4gram.arpa dev.txt
      asrkit lm pack 4gram.arpa
    """
    if context.invoked_subcommand is None:
        terminal().write(context.get_help())


@lm.command()
def fetch(
    recipe: RecipeName,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Of a ready-made model.", show_default="list them")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder, or file.", show_default="lm/RECIPE in --data-dir"),
    ] = None,
    data_dir: DataDir = Path("data"),
) -> None:
    """Download a ready-made model.

    Which there are for a recipe is said without a name. Interrupted, the same command goes on where it was; at the end
    the file is checked.

    \b
    Examples:
      asrkit lm fetch RECIPE
      asrkit lm fetch RECIPE 3-gram
      asrkit lm fetch RECIPE 3-gram -o models/3gram.arpa.gz
    """
    from asrkit.fetch_lm import fetch_lm

    fetch_lm(resolved(recipe, None), name, out=out, data_dir=data_dir, progress=terminal())


@lm.command()
def build(
    texts: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="TEXT...",
            help="One sentence a line, UTF-8; .gz too; - is standard input.",
            show_default="the recipe's own",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The ARPA file to write.",
            dir_okay=False,
            show_default="of a recipe's own: in --data-dir",
        ),
    ] = None,
    order: Annotated[
        int | None, typer.Option(min=1, max=6, help="Words in the longest n-gram.", show_default="4; of tokens 6")
    ] = None,
    prune: Annotated[
        str | None,
        typer.Option(
            metavar="0,0,1,1", help="Leave out n-grams that occur no more often, by length.", show_default="0"
        ),
    ] = None,
    vocab: Annotated[Path | None, typer.Option(help="Keep only these words: a file.", dir_okay=False)] = None,
    recipe: RecipeForText = None,
    unit: Annotated[
        Literal["word", "token"] | None,
        typer.Option(help="Of words, or of the tokenizer's labels.", show_default="word"),
    ] = None,
    discount_fallback: Annotated[
        bool, typer.Option("--discount-fallback", help="Fixed discounts where the text is too small to estimate them.")
    ] = False,
    memory: Annotated[int, typer.Option(min=1, metavar="MB", help="More than this goes to the disk.")] = 2000,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes for the text rules.", show_default="one for each core")
    ] = None,
    data: DataName = None,
    data_dir: DataDir = Path("data"),
) -> None:
    """Build an n-gram model from text.

    Interpolated modified Kneser-Ney, with the probabilities that lmplz gives. Without TEXT everything is as the recipe
    declares it, in lm/RECIPE.py, and the file goes to lm/RECIPE in --data-dir.

    \b
    Examples:
      asrkit lm build text.txt -o 4gram.arpa
      asrkit lm build news.txt.gz books.txt --recipe RECIPE --order 3 --prune 0,0,1 -o 3gram.arpa
      cat text.txt | asrkit lm build - -o 4gram.arpa --vocab words.txt
      asrkit lm build text.txt --recipe RECIPE --unit token -o letters.arpa
      asrkit lm build --recipe RECIPE
    """
    from asrkit.build_lm import build_lm

    build_lm(
        texts or [],
        out,
        order=order,
        prune=_thresholds(prune) if prune is not None else None,
        vocab=vocab,
        recipe=resolved(recipe, None) if recipe else None,
        unit=unit,
        data=data,
        data_dir=data_dir,
        discount_fallback=discount_fallback,
        memory_mb=memory,
        workers=workers,
        progress=terminal(),
    )


@lm.command()
def score(
    model: Annotated[Path, typer.Argument(metavar="LM", help="An .arpa, an .arpa.gz, or a packed folder.")],
    texts: Texts,
    recipe: RecipeForText = None,
    as_json: AsJson = False,
) -> None:
    """Perplexity and unknown words of texts.

    The lower the perplexity, the better the model expects the texts; unknown words are beyond its reach.

    \b
    Examples:
      asrkit lm score 4gram.arpa dev.txt
      asrkit lm score 4gram.lm dev.txt --recipe RECIPE --json
    """
    from asrkit.score_lm import score_lm

    news, machine = terminals(as_json)
    found = score_lm(model, texts, recipe=resolved(recipe, None) if recipe else None, progress=news)
    if as_json:
        machine.write(json_text(found, indent=2))


@lm.command()
def pack(
    model: Annotated[Path, typer.Argument(metavar="ARPA", help="An .arpa or .arpa.gz.", dir_okay=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder to write.", show_default="beside it, .lm")
    ] = None,
) -> None:
    """Pack a model: loads at once.

    Into a folder of arrays that are mapped into memory, and that processes share.

    \b
    Examples:
      asrkit lm pack 4gram.arpa
      asrkit lm pack 3gram.arpa.gz -o models/3gram.lm
    """
    from asrkit.pack_lm import pack_lm

    pack_lm(model, out, progress=terminal())


def _thresholds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise AsrkitError(f"--prune is {text!r}; wanted numbers and commas, one for each order: 0,0,1,1") from error

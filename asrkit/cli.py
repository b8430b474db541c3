"""The `asrkit` command: words of the command line in, one call of a verb out; only parsing lives here.

Heavy imports stand inside the commands, so that `asrkit --help` answers in a blink.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from asrkit.cli_lm import lm
from asrkit.cli_noise import augment_preview, prepare_noise
from asrkit.cli_search import decode, transcribe, tune
from asrkit.errors import AsrkitError, SaidElsewhereError
from asrkit.options import (
    AsJson,
    DataDir,
    DataName,
    DataPlace,
    DeviceName,
    ExpDir,
    RecipeName,
    Settings,
    WandbMode,
    json_text,
    names,
    positive,
    resolved,
    terminal,
    terminals,
    typed,
)

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

# a machine's state, not a bug of ours: said in one line
MACHINE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.EIO)

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,  # plain help starts twice as fast
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(lm, name="lm")


@app.callback(invoke_without_command=True)
def asrkit(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Train and use a speech recogniser for your language.

    \b
    Examples:
      asrkit demo                              the whole road on a small synthetic corpus
      asrkit recipes                           the languages that there are
      asrkit prepare RECIPE                    download and prepare a corpus
      asrkit train RECIPE --minutes 30         train on it
      asrkit lm build text.txt -o 4gram.arpa   a language model
      asrkit tune --lm 4gram.arpa              its best weights, on dev
      asrkit decode --lm 4gram.arpa            word error rate of the newest run
      asrkit transcribe talk.mp3               text of a recording
    """
    if show_version:
        from importlib.metadata import version  # 20 ms that --help can do without

        terminal().say(f"asrkit {version('asrkit')}")
    elif context.invoked_subcommand is None:
        terminal().write(context.get_help())


@app.command()
def prepare(
    recipe: RecipeName,
    settings: Settings = None,
    splits: Annotated[str | None, typer.Option(help="Only these splits, separated by commas.")] = None,
    corpus_dir: Annotated[
        Path | None, typer.Option(help="The corpus, if already on disk: a folder or a .tar.gz.")
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="Your own data: .jsonl, .csv or .tsv.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the data set.", show_default="manifest's or recipe's")
    ] = None,
    text_only: Annotated[bool, typer.Option("--text-only", help="Text rules changed: leave the audio alone.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="one for each core")] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Let a Dask cluster make the shards.", metavar="tcp://HOST:8786", show_default="this machine"
        ),
    ] = None,
    data_dir: DataDir = Path("data"),
) -> None:
    """Make a corpus ready for training.

    Downloads it where need be, checks, counts and shards it. Interrupted or killed, the same command goes on where it
    was.

    \b
    Examples:
      asrkit prepare RECIPE    (asrkit recipes lists them)
      asrkit prepare RECIPE --splits train,test
      asrkit prepare RECIPE --corpus-dir /data/corpus
      asrkit prepare RECIPE --manifest my/clips.jsonl --name clips
      asrkit prepare RECIPE audio.codec=opus filters.max_s=20
      asrkit prepare RECIPE --text-only
      asrkit prepare RECIPE --corpus-dir /shared/corpus --data-dir /shared/data --scheduler tcp://head:8786
    """
    from asrkit.prepare import prepare

    prepare(
        resolved(recipe, settings),
        data_dir=data_dir,
        name=name,
        corpus_dir=corpus_dir,
        manifest=manifest,
        splits=names(splits),
        workers=workers,
        scheduler=scheduler,
        text_only=text_only,
        progress=terminal(),
    )


app.command("prepare-noise")(prepare_noise)
app.command("augment-preview")(augment_preview)


@app.command()
def train(
    recipe: RecipeName,
    settings: Settings = None,
    data: DataName = None,
    minutes: Annotated[
        float | None, typer.Option(help="Train for so long.", show_default="train.epochs", callback=positive)
    ] = None,
    run: Annotated[
        str | None,  # torchrun takes the short name for one of its own options
        typer.Option("--run", "--run-name", help="Name of the run.", show_default="date and time"),
    ] = None,
    init_from: Annotated[
        str | None, typer.Option(help="Begin with the weights of this run, as far as they fit.", metavar="RUN")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the newest run, or with --run.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would take: time, memory, disk, what limits it.")
    ] = False,
    as_json: AsJson = False,
    device: DeviceName = "auto",
    wandb: Annotated[WandbMode | None, typer.Option(help="Also log to Weights & Biases.")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also log to TensorBoard.")] = False,
    data_dir: DataPlace = "data",
    exp_dir: ExpDir = Path("exp"),
) -> None:
    """Train on prepared data.

    Ctrl-C and SIGTERM save and stop; --resume goes on in the middle of an epoch, with the data where it was or where
    --data-dir says that it was moved. Several processes share the work, each with a GPU or a core of its own:
    torchrun --nproc-per-node 4 -m asrkit train RECIPE (there --run-name, not --run).

    model=NAME takes a named architecture: deepspeech2, deepspeech2-small, deepspeech2-streaming, residual, deep or
    lstm-768. `asrkit recipe NAME` lists every setting.

    \b
    Examples:
      asrkit train RECIPE
      asrkit train RECIPE --data clips model=deepspeech2-small --minutes 30
      asrkit train RECIPE model.layers=3 train.lr=2e-4 augment.speeds=1.0
      asrkit train RECIPE --data clips --init-from exp/RECIPE/20261121-093000 --minutes 10
      asrkit train RECIPE --dry-run model=deepspeech2 train.batch_seconds=300
      asrkit train RECIPE --data-dir s3://bucket/data
      asrkit train RECIPE --resume
    """
    if as_json and not dry_run:
        raise AsrkitError("--json goes with --dry-run; a training writes metrics.jsonl into its run")
    if dry_run and resume:
        raise AsrkitError("--dry-run tells of a new training; leave out --resume")
    if dry_run:
        _dry_run(
            resolved(recipe, settings),
            as_json,
            data=data,
            data_dir=data_dir,
            exp_dir=exp_dir,
            minutes=minutes,
            init_from=init_from,
            device=device,
        )
        return
    from asrkit.train import train

    train(
        resolved(recipe, settings),
        data=data,
        data_dir=data_dir,
        exp_dir=exp_dir,
        run=run,
        minutes=minutes,
        init_from=init_from,
        resume=resume,
        device=device,
        wandb=wandb,
        tensorboard=tensorboard,
        progress=terminal(),
    )


def _dry_run(recipe: Any, as_json: bool, **asked: Any) -> None:
    from asrkit.dry_run import dry_run

    news, machine = terminals(as_json)
    found = dry_run(recipe, **asked, progress=news)
    if as_json:
        machine.say(json_text(vars(found)))


app.command()(decode)
app.command()(tune)
app.command()(transcribe)


@app.command("new-language")
def new_language(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the recipe: a to z, 0 to 9, - and _.")],
    manifest: Annotated[Path, typer.Option(help="Your recordings: .jsonl, .csv or .tsv.", dir_okay=False)],
    language: Annotated[str, typer.Option(help="Language tag (BCP 47), if it has one.")] = "und",
    drop_stress: Annotated[
        bool, typer.Option("--drop-stress", help="Acute and grave accents only mark stress.")
    ] = False,
    recipes_dir: Annotated[Path, typer.Option(help="Where recipes lie.", file_okay=False)] = Path("recipes"),
) -> None:
    """Write a recipe for your own recordings.

    Counts the characters of the transcripts, writes rules for them, and lists what a person should look at. Each line
    of the manifest has audio (a path), text, and if known speaker and split.

    \b
    Examples:
      asrkit new-language NAME --manifest my/clips.jsonl
      asrkit new-language NAME --manifest my/clips.csv --language xx --drop-stress
    """
    from asrkit.new_language import new_language

    new_language(
        name,
        manifest=manifest,
        language=language,
        drop_stress=drop_stress,
        recipes_dir=recipes_dir,
        progress=terminal(),
    )


@app.command()
def tokenizers(
    recipe: RecipeName,
    settings: Settings = None,
    data: DataName = None,
    as_json: AsJson = False,
    data_dir: DataDir = Path("data"),
) -> None:
    """Compare tokenizers on prepared data.

    Characters (for Hangul syllables and jamo) and subwords of several sizes: how many labels, how many of them too
    rare to be learned, how many utterances too long for CTC; and which one to take.

    \b
    Examples:
      asrkit tokenizers RECIPE
      asrkit tokenizers RECIPE --data clips augment.speeds=1.0
      asrkit tokenizers RECIPE --json
    """
    from asrkit.compare_tokenizers import compare_tokenizers

    news, machine = terminals(as_json)
    compared = compare_tokenizers(resolved(recipe, settings), data=data, data_dir=data_dir, progress=news)
    if as_json:
        machine.write(json_text(compared, indent=2))


@app.command()
def recipes(as_json: AsJson = False) -> None:
    """List the recipes: those in ./recipes, then our own.

    \b
    Examples:
      asrkit recipes
      asrkit recipes --json
    """
    from asrkit.recipe import load_recipe, recipe_folders

    found = [load_recipe(folder) for folder in recipe_folders().values()]
    columns = ("name", "language", "description", "licence", "folder")
    rows = [[str(getattr(recipe, column)) for column in columns] for recipe in found]
    if as_json:
        terminal().write(json_text([dict(zip(columns, row, strict=True)) for row in rows], indent=2))
    else:
        terminal().table("", columns, rows)


@app.command()
def recipe(
    recipe: RecipeName,
    settings: Settings = None,
    cases: Annotated[bool, typer.Option("--cases", help="Only check text.py against cases.tsv.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show every setting of a recipe.

    \b
    Examples:
      asrkit recipe RECIPE
      asrkit recipe RECIPE model=residual train.lr=2e-4
      asrkit recipe RECIPE --json
      asrkit recipe RECIPE --cases
    """
    found, out = resolved(recipe, settings), terminal()
    if cases:
        from asrkit.cases import check_cases

        check_cases(found, out)
        return
    if as_json:
        out.write(json_text(found.to_json(), indent=2))
        return
    out.say(f"{found.name} ({found.language}): {found.description}")
    out.say(f"licence: {found.licence}\nfolder: {found.folder}")
    for section, values in found.to_json().items():
        if isinstance(values, dict):
            out.say("\n" + "\n".join(f"{section}.{key}={typed(value)}" for key, value in values.items()))


@app.command()
def demo(
    recipe: Annotated[
        str | None, typer.Option(help="A recipe that has a demo.py.", show_default="recipes/DEFAULT")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where everything goes.", file_okay=False, show_default="demo, or demo-RECIPE")
    ] = None,
    minutes: Annotated[float, typer.Option(help="Of training.", callback=positive)] = 3.5,
) -> None:
    """Run the whole road on a small synthetic corpus.

    Speaks sentences with espeak-ng, prepares them, trains, and decodes with and without an n-gram.

    \b
    Examples:
      asrkit demo
      asrkit demo --minutes 10 --folder my-demo
    """
    from asrkit.demo import demo

    demo(recipe, folder=folder, minutes=minutes, progress=terminal())


def main() -> None:
    """Runs the command line and exits: 0 done, 1 a mistake said in one line, 2 wrong usage, 130 or 143 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_run(app))


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def _run(command: Callable[..., Any]) -> int:
    """The exit code of the command, and at most one line on standard error."""
    try:
        code = command(standalone_mode=False, prog_name="asrkit") or 0
        sys.stdout.flush()
    except SaidElsewhereError:
        return 1
    except AsrkitError as error:
        return _complain(str(error), 1)
    except typer.TyperException as error:
        return _complain(_usage(error), error.exit_code)
    except ModuleNotFoundError as error:
        if error.name not in ("kenlm", "pyctcdecode"):
            raise
        return _complain(f"{error.name} is missing; on Python 3.13 `make` installs it, pip alone cannot", 1)
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            raise
        where = f": {error.filename}" if error.filename else ""
        return _complain(f"{os.strerror(error.errno)}{where}", 1)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    if code in (INTERRUPTED, TERMINATED):
        resume = " with --resume" if sys.argv[1:2] == ["train"] and "--dry-run" not in sys.argv else ""
        return _complain(f"interrupted; run the same command again{resume} to go on", code)
    return code


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see: {context.command_path} --help)" if context is not None else ""
    return f"{error.format_message().rstrip('.')}{hint}"


def _complain(message: str, code: int) -> int:
    line = "".join(char if char.isprintable() else " " for char in message)
    sys.stderr.write(f"asrkit: {' '.join(line.split())}\n")
    return code

"""VERB: a recipe and the name of a ready-made language model in; its ARPA file, whole and on disk, out."""

from pathlib import Path

from asrkit.download import fetch_gzip
from asrkit.errors import AsrkitError, did_you_mean
from asrkit.language_model import ReadyMade, load_language_model
from asrkit.progress import Progress, Silent
from asrkit.recipe import Recipe


def fetch_lm(
    recipe: Recipe,
    name: str | None = None,
    *,
    out: str | Path | None = None,
    data_dir: str | Path = "data",
    progress: Progress = Silent(),
) -> Path | None:
    """Downloads a model that the recipe's LM declares, and gives its path; without a name, lists what there is.

    Where to: the file `out` if that ends in .gz, the folder `out`, or data_dir/lm/<recipe>/<name>.arpa.gz. What was
    broken off goes on where it was; a model that is there already is only checked.

    Raises:
        AsrkitError: nothing is declared, no model of that name, too little room, or what `download` raises.
    """
    ready = _ready_made(recipe)
    if name is None:
        rows = [[model.name, _megabytes(model.size), model.order or "", model.licence] for model in ready.values()]
        progress.table(f"ready-made models for {recipe.name}", ("name", "MB", "order", "licence"), rows)
        progress.say(f"to fetch one: asrkit lm fetch {recipe.name} {next(iter(ready))}")
        return None
    if name not in ready:
        raise AsrkitError(
            f"recipe {recipe.name!r} has no ready-made model {name!r}{did_you_mean(name, ready)} "
            f"(there are: {', '.join(ready)})"
        )
    model = ready[name]
    path = _place(model, out, Path(data_dir) / "lm" / recipe.name)
    fetch_gzip(model.url, path, size=model.size, progress=progress)
    progress.say(f"{name} is there; to use it: asrkit decode --lm {path}")
    return path


def _ready_made(recipe: Recipe) -> dict[str, ReadyMade]:
    model = load_language_model(recipe)
    if model is None or not model.ready:
        text = "" if model else " TEXT -o lm.arpa"
        raise AsrkitError(
            f"no ready-made language models are known for recipe {recipe.name!r}; make one: "
            f"asrkit lm build{text} --recipe {recipe.name}"
        )
    return {ready.name: ready for ready in model.ready}


def _place(model: ReadyMade, out: str | Path | None, default: Path) -> Path:
    path = Path(out) if out is not None else default
    if path.suffix == ".arpa":
        raise AsrkitError(f"--out is {path}; wanted .arpa.gz, for the model comes gzipped, or a folder")
    return path if path.suffix == ".gz" and not path.is_dir() else path / f"{model.name}.arpa.gz"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"

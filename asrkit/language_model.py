"""LanguageModel: which text a recipe's n-gram is made from, and how, and where ready-made ones are; found by its name.

A file with imports and one assignment, LM = LanguageModel(...): lm.py in the recipe's own folder, which travels with
the recipe; else lm/<recipe>.py, the one in the working folder before the one that comes with the package.
"""

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from asrkit.errors import AsrkitError
from asrkit.recipe import BROKEN_PYTHON, Recipe, homes, load_sibling

BESIDE = "lm"  # lm.py beside recipe.py


@dataclass(frozen=True, kw_only=True)
class TextDownload:
    """Text to fetch: gzipped, UTF-8, one sentence a line. The recipe's rules are applied to it."""

    url: str
    licence: str
    size: int | None = None  # bytes to download; None where nobody has published it

    @property
    def file_name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class TrainTranscripts:
    """Those of the prepared data's train splits, as its index has them: normalised already. Never dev or test.

    Their licence is that of the corpus that was prepared.
    """


@dataclass(frozen=True, kw_only=True)
class ReadyMade:
    """A gzipped ARPA file that somebody else made."""

    name: str
    url: str
    size: int  # bytes to download
    licence: str
    order: int | None = None  # where it is known


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """What `asrkit lm build --recipe NAME` makes where no text is given, and what `asrkit lm fetch NAME` fetches.

    `order`, `prune` and `discount_fallback` are those of build_lm; `unit` "token" means labels of the tokenizer that
    the data was prepared with.
    """

    text: tuple[TextDownload | TrainTranscripts, ...]
    order: int
    prune: tuple[int, ...] = (0,)
    unit: Literal["word", "token"] = "word"
    discount_fallback: bool = False
    ready: tuple[ReadyMade, ...] = ()
    file: Path | None = None  # where it was loaded from

    def __post_init__(self) -> None:
        _require("text", self.text, TextDownload | TrainTranscripts)
        _require("ready", self.ready, ReadyMade)
        if not self.text:
            raise AsrkitError("LM.text is empty; wanted where the text is: (TrainTranscripts(),)")
        if self.unit not in ("word", "token"):
            raise AsrkitError(f"LM.unit is {self.unit!r}; wanted word or token")
        names = [ready.name for ready in self.ready]
        if len(set(names)) < len(names):
            raise AsrkitError(f"LM.ready has two models of the same name ({', '.join(names)})")


def _require(name: str, found: Any, kind: Any) -> None:
    if not isinstance(found, tuple) or not all(isinstance(item, kind) for item in found):
        wanted = str(kind).replace(f"{__name__}.", "") if not isinstance(kind, type) else kind.__name__
        raise AsrkitError(f"LM.{name} is {found!r}; wanted a tuple of {wanted}")


def load_language_model(recipe: Recipe) -> LanguageModel | None:
    """What is declared for the recipe; None where nothing is.

    Raises:
        AsrkitError: the file does not define LM, or something in it is wrong.
    """
    path = declaration_path(recipe)
    if path is None:
        return None
    try:
        loaded = _load(recipe, path)
    except BROKEN_PYTHON as error:
        raise AsrkitError(f"{path} cannot be loaded: {' '.join(str(error).split())}") from error
    except AsrkitError as error:
        raise AsrkitError(f"{path}: {error}") from error
    model = getattr(loaded, "LM", None)
    if not isinstance(model, LanguageModel):
        raise AsrkitError(f"{path} does not define LM = LanguageModel(...)")
    return replace(model, file=path)


def declaration_path(recipe: Recipe) -> Path | None:
    """The nearest file that declares the recipe's language model."""
    beside = [recipe.folder / f"{BESIDE}.py"] if recipe.folder else []
    return next(
        (path for path in [*beside, *(home / f"{recipe.name}.py" for home in homes("lm"))] if path.is_file()), None
    )


def _load(recipe: Recipe, path: Path) -> Any:
    if recipe.folder and path.parent == recipe.folder:
        return load_sibling(recipe, BESIDE)  # so that it can import other files of the recipe
    spec = importlib.util.spec_from_file_location("_asrkit_lm", path)
    if spec is None or spec.loader is None:
        raise ImportError("no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""Recipe: everything that makes a language, in one frozen value; found by name or path, changed by key=value."""

import importlib
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from asrkit.errors import AsrkitError, did_you_mean
from asrkit.settings import (
    ARCHITECTURE_SETTINGS,
    AudioSettings,
    AugmentSettings,
    DecodeSettings,
    FeaturesSettings,
    FiltersSettings,
    ModelSettings,
    Section,
    SplitsSettings,
    TextSettings,
    TokenizerSettings,
    TrainSettings,
    architecture,
    parse_value,
)
from asrkit.utterance import Utterance

# what a file with a mistake in it raises when it is loaded
BROKEN_PYTHON = (ImportError, SyntaxError, NameError, TypeError, AttributeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One file to download: what it is checked against, and which splits it holds."""

    url: str
    md5: str
    size: int  # bytes to download, for the disk-space check
    splits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Another corpus of a recipe's language, chosen with corpus=NAME; the fields are as in Recipe."""

    name: str
    description: str
    licence: str
    read_corpus: Callable[[Path, str], Iterable[Utterance]]
    archives: tuple[Archive, ...] = ()
    splits: SplitsSettings = field(default_factory=SplitsSettings)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A language: corpus, text rules, tokenizer and settings.

    `read_corpus(root, split)` yields the utterances of one split of the corpus unpacked at `root`, in a fixed order;
    own recordings have a `manifest` instead. Without a dev split, prepare takes one from train.
    `normalize(text)` turns a transcript into what is trained on and scored; doing it twice changes nothing.
    `alphabet` holds every character that a training transcript may contain, the space included.
    """

    name: str
    language: str  # BCP 47
    description: str
    licence: str  # the corpus's
    normalize: Callable[[str], str]
    alphabet: str
    read_corpus: Callable[[Path, str], Iterable[Utterance]] | None = None
    manifest: str | None = None  # relative to the recipe's folder
    archives: tuple[Archive, ...] = ()
    more_corpora: tuple[Corpus, ...] = ()
    corpus: str | None = None  # the one of more_corpora that was chosen
    splits: SplitsSettings = field(default_factory=SplitsSettings)
    text: TextSettings = field(default_factory=TextSettings)
    audio: AudioSettings = field(default_factory=AudioSettings)
    filters: FiltersSettings = field(default_factory=FiltersSettings)
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    features: FeaturesSettings = field(default_factory=FeaturesSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    decode: DecodeSettings = field(default_factory=DecodeSettings)
    folder: Path | None = None  # where it was loaded from
    overridden: tuple[str, ...] = ()  # settings given on the command line, as section.key

    def sections(self) -> dict[str, Section]:
        """The parts that key=value can change, by name."""
        parts = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: part for name, part in parts.items() if isinstance(part, Section)}

    def own_manifest(self) -> Path | None:
        """Where the manifest is that the recipe names."""
        return Path(os.path.normpath((self.folder or Path()) / self.manifest)) if self.manifest else None

    def to_json(self) -> dict[str, Any]:
        """Everything resolved, as plain JSON values; functions are left out."""
        plain = {
            "name": self.name,
            "language": self.language,
            "corpus": self.corpus,
            "licence": self.licence,
            "alphabet": self.alphabet,
        }
        return plain | {name: asdict(part) for name, part in self.sections().items()}

    def text_fingerprint(self) -> str:
        """Changes when a text rule may have: over the alphabet and the source of the recipe and of the shared rules."""
        digest = sha256(self.alphabet.encode("utf-8"))
        own = sorted(path for path in self.folder.glob("*.py") if path.name != "lm.py") if self.folder else []
        for path in [*own, Path(__file__).with_name("text.py")]:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


def with_overrides(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """The recipe with each `section.key=value` applied; `corpus=NAME` takes another of its corpora and `model=NAME` a
    named architecture and what goes with it, before any other key.

    Raises:
        AsrkitError: not an assignment, no such section or key (with the nearest name), or a value of the wrong kind.
    """
    pairs = [_split_assignment(assignment) for assignment in assignments]
    for key, text in pairs:
        if key == "model":
            recipe = _with_architecture(recipe, text)
        elif key == "corpus":
            recipe = _with_corpus(recipe, text)
    changes: dict[str, dict[str, Any]] = {}
    sections = recipe.sections()
    known = [f"{name}.{item.name}" for name, part in sections.items() for item in fields(part)]
    for key, text in pairs:
        if key in _WHOLE:
            continue
        if key not in known or key == "model.name":
            raise AsrkitError(f"no setting {key!r}{did_you_mean(key, known)} (see: asrkit recipe {recipe.name})")
        name, _, item = key.partition(".")
        hint = typing.get_type_hints(type(sections[name]))[item]
        changes.setdefault(name, {})[item] = parse_value(text, hint, key)
    changed: dict[str, Any] = {name: replace(sections[name], **values) for name, values in changes.items()}
    model_keys = [key for key in known if key.startswith("model.")] if ("model" in dict(pairs)) else []
    overridden = dict.fromkeys([*recipe.overridden, *model_keys, *(key for key, _ in pairs if key not in _WHOLE)])
    return replace(recipe, **changed, overridden=tuple(overridden))


_WHOLE = ("model", "corpus")  # take a name, and change many settings


def _with_architecture(recipe: Recipe, name: str) -> Recipe:
    recipe = replace(recipe, model=architecture(name))
    for section, values in ARCHITECTURE_SETTINGS.get(name, {}).items():
        recipe = replace(recipe, **{section: replace(recipe.sections()[section], **values)})  # type: ignore[arg-type]  # a section by its name
    return recipe


def _with_corpus(recipe: Recipe, name: str) -> Recipe:
    corpora = {corpus.name: corpus for corpus in recipe.more_corpora}
    if name not in corpora:
        there_are = ", ".join(corpora) or "none but its own"
        raise AsrkitError(f"recipe {recipe.name!r} has no corpus {name!r}{did_you_mean(name, corpora)} ({there_are})")
    chosen = corpora[name]
    return replace(
        recipe,
        corpus=name,
        licence=chosen.licence,
        read_corpus=chosen.read_corpus,
        manifest=None,
        archives=chosen.archives,
        splits=chosen.splits,
    )


def _split_assignment(assignment: str) -> tuple[str, str]:
    key, equals, text = assignment.partition("=")
    if not equals:
        raise AsrkitError(f"{assignment!r} is not a setting; wanted section.key=value, such as train.lr=2e-4")
    return key.strip(), text


def section_from_json(kind: type[Section], values: Mapping[str, Any]) -> Any:
    """A section read back from a run's recipe.json.

    Raises:
        AsrkitError: a key that this version does not know, or a wrong value.
    """
    known = {item.name for item in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise AsrkitError(f"{kind.section()}.{unknown[0]} is not a setting of this version of asrkit")
    return kind(**values)


def recipe_folders() -> dict[str, Path]:
    """Every recipe that a name finds: those in ./recipes first, then those that come with the package."""
    found: dict[str, Path] = {}
    for home in homes("recipes"):
        for path in sorted(home.glob("*/recipe.py")):
            found.setdefault(path.parent.name, path.parent)
    return found


def default_recipe() -> str:
    """The recipe that is meant where none is named: the word in the file DEFAULT beside the recipes.

    Raises:
        AsrkitError: there is no such file.
    """
    for home in homes("recipes"):
        if (home / "DEFAULT").is_file():
            return (home / "DEFAULT").read_text(encoding="utf-8").strip()
    raise AsrkitError("no recipe is named, and no file recipes/DEFAULT names one")


def homes(kind: str) -> tuple[Path, ...]:
    """Where recipes, or their language models in lm, are looked for, the nearest first."""
    package = Path(__file__).parent
    return Path(kind), package / kind, package.parent / kind


def load_recipe(name_or_path: str | Path) -> Recipe:
    """The recipe of that name or in that folder.

    Raises:
        AsrkitError: there is none, or its recipe.py does not define RECIPE.
    """
    path = Path(name_or_path)
    if (path / "recipe.py").is_file():
        return _load_folder(path.resolve())
    known = recipe_folders()
    if str(name_or_path) not in known:
        names = ", ".join(known) or "none"
        raise AsrkitError(
            f"no recipe {str(name_or_path)!r}{did_you_mean(str(name_or_path), known)} "
            f"(found: {names}; a folder with a recipe.py works too)"
        )
    return _load_folder(known[str(name_or_path)].resolve())


def load_sibling(recipe: Recipe, module: str) -> types.ModuleType:
    """Another file of the recipe's folder, such as its demo.py.

    Raises:
        AsrkitError: the recipe has no such file.
    """
    if recipe.folder is None or not (recipe.folder / f"{module}.py").is_file():
        raise AsrkitError(f"recipe {recipe.name!r} has no {module}.py")
    return importlib.import_module(f"{_package_of(recipe.folder)}.{module}")


def _load_folder(folder: Path) -> Recipe:
    package = _package_of(folder)
    try:
        loaded = importlib.import_module(f"{package}.recipe")
    except BROKEN_PYTHON as error:
        raise AsrkitError(f"{folder / 'recipe.py'} cannot be loaded: {error}") from error
    recipe = getattr(loaded, "RECIPE", None)
    if not is_dataclass(recipe) or not isinstance(recipe, Recipe):
        raise AsrkitError(f"{folder / 'recipe.py'} does not define RECIPE = Recipe(...)")
    return replace(recipe, folder=folder)


def _package_of(folder: Path) -> str:
    """A recipe folder as an importable package, so that its files can import their siblings; no __init__.py needed."""
    plain = re.sub(r"\W", "_", folder.name)
    name = f"_asrkit_recipe_{plain}_{sha256(str(folder).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return name

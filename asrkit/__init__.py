"""asrkit: train and use a speech recogniser for your language.

    import asrkit

    recogniser = asrkit.load()  # the newest run under exp/; or its name, or its folder
    print(recogniser.transcribe("a.wav").text)

What the verbs of the command line do is a function of the same name in a module of the same name:

    from asrkit.prepare import prepare
    from asrkit.train import train
    from asrkit.decode import decode
    from asrkit.transcribe import transcribe

    recipe = asrkit.with_overrides(asrkit.load_recipe("NAME"), ["train.lr=2e-4"])
    prepare(recipe, data_dir="data", manifest="my/clips.jsonl")
    run = train(recipe, data="clips", minutes=30)
    decode(run, lm="4gram.arpa")

Importing asrkit takes no time: PyTorch is imported with the first name that needs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asrkit.errors import AsrkitError
    from asrkit.recipe import Recipe, load_recipe, with_overrides
    from asrkit.recogniser import Recogniser, Segment, Transcript, load
    from asrkit.utterance import Utterance
    from asrkit.word_times import WordTime

    __version__: str

__all__ = [
    "AsrkitError",
    "Recipe",
    "Recogniser",
    "Segment",
    "Transcript",
    "Utterance",
    "WordTime",
    "__version__",
    "load",
    "load_recipe",
    "with_overrides",
]

_HOMES = {
    "AsrkitError": "errors",
    "Recipe": "recipe",
    "Recogniser": "recogniser",
    "Segment": "recogniser",
    "Transcript": "recogniser",
    "Utterance": "utterance",
    "WordTime": "word_times",
    "load": "recogniser",
    "load_recipe": "recipe",
    "with_overrides": "recipe",
}
# modules: asrkit.train.train(...) works as well
_VERBS = ("prepare", "train", "decode", "tune", "transcribe", "new_language", "compare_tokenizers", "demo")


def __getattr__(name: str) -> Any:
    """Imports what is asked for (PEP 562)."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("asrkit")
    if name in _VERBS:
        return importlib.import_module(f"asrkit.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"asrkit.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'asrkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_VERBS])

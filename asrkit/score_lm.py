"""VERB: an n-gram model and texts in; how well it expects them (perplexity, unknown words) out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asrkit.errors import AsrkitError
from asrkit.packed import open_automaton
from asrkit.progress import Progress, Silent
from asrkit.recipe import Recipe
from asrkit.text_files import read_lines


def score_lm(
    lm: str | Path, texts: Sequence[str | Path], *, recipe: Recipe | None = None, progress: Progress = Silent()
) -> dict[str, Any]:
    """Perplexity with and without unknown words, as KenLM's `query` gives them, and the rate of unknown words.

    One sentence a line; the end of each is a word to be expected, too. With a recipe its rules are applied to each.

    Raises:
        AsrkitError: no n-gram model, texts that cannot be read, or no sentence in them.
    """
    model = open_automaton(Path(lm), progress=progress)
    sentences = words = unknown = 0
    total = without_unknown = 0.0
    normalize = recipe.normalize if recipe else str
    with progress.bar("scoring", None, "sentence") as bar:
        for line in read_lines([Path(text) for text in texts]):
            numbers = np.array([model.number(word) for word in normalize(line).split()] + [model.end], dtype=np.int32)
            scores = model.scores(numbers)
            known = numbers != model.unknown
            total += float(scores.sum())
            without_unknown += float(scores[known].sum())
            sentences += 1
            words += len(numbers) - 1
            unknown += int((~known).sum())
            bar.advance()
    if not sentences:
        raise AsrkitError("the texts hold no line; wanted one sentence a line")
    found = {
        "sentences": sentences,
        "words": words,
        "oov": unknown,
        "oov_rate": unknown / words if words else None,
        "log10": total,
        "perplexity": 10 ** (-total / (words + sentences)),
        "perplexity_without_oov": 10 ** (-without_unknown / (words + sentences - unknown)),
    }
    oov = f"{found['oov_rate']:.2%}" if words else "-"
    progress.table(
        f"{lm}: {len(model.counts)}-gram",
        ("sentences", "words", "OOV", "perplexity", "without OOV"),
        [
            [
                f"{sentences:,}",
                f"{words:,}",
                oov,
                f"{found['perplexity']:,.2f}",
                f"{found['perplexity_without_oov']:,.2f}",
            ]
        ],
    )
    return found

"""A trained checkpoint and a new model in; the new model with every weight of the old one that fits it out.

What fits has the same name and shape. Of the output layer each label has a row of its own: the rows of labels that both
tokenizers know are kept, the others stay as they were drawn.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from asrkit.checkpoint import checkpoint_folder, load_checkpoint
from asrkit.errors import AsrkitError
from asrkit.model import DeepSpeech2
from asrkit.tokenizer import Tokenizer

OUTPUT = ("output.weight", "output.bias")


@dataclass(frozen=True)
class WarmStart:
    """Where the weights came from, and which did not."""

    source: str
    fingerprint: str
    weights: int  # tensors that were taken, the output layer aside
    fresh: tuple[str, ...]  # names of those that were not
    labels: int  # of the new tokenizer whose rows were taken
    new_labels: tuple[str, ...]

    def __str__(self) -> str:
        said = [f"from {self.source}: {self.weights} of {self.weights + len(self.fresh)} weights"]
        said.append(f"{self.labels} of {self.labels + len(self.new_labels)} labels")
        if self.fresh:
            said.append(f"new weights: {_some(self.fresh)}")
        if self.new_labels:
            said.append(f"new labels: {_some([repr(label) for label in self.new_labels])}")
        return "; ".join(said)


def start_from(source: Path, model: DeepSpeech2, tokenizer: Tokenizer) -> WarmStart:
    """Copies into the model in place. Features keep their own statistics: those of the new data.

    Raises:
        AsrkitError: no checkpoint there, or nothing of it fits.
    """
    old = load_checkpoint(checkpoint_folder(source))
    theirs, ours = old.model.state_dict(), model.state_dict()
    inside = [name for name in ours if name not in OUTPUT]
    fitting = [name for name in inside if name in theirs and theirs[name].shape == ours[name].shape]
    known: list[tuple[int, int]] = []
    if theirs[OUTPUT[0]].shape[1] == ours[OUTPUT[0]].shape[1]:
        places = {label: place for place, label in enumerate(old.tokenizer.labels)}
        known = [(row, places[label]) for row, label in enumerate(tokenizer.labels) if label in places]
    if not fitting and not known:
        raise AsrkitError(f"nothing of {source} fits this model; wanted the same model=NAME and sizes")
    with torch.no_grad():
        for name in fitting:
            ours[name].copy_(theirs[name])
        for name in OUTPUT:
            _copy_rows(ours[name], theirs[name], known)
    taken = {row for row, _ in known}
    return WarmStart(
        source=old.run_name,
        fingerprint=old.fingerprint,
        weights=len(fitting),
        fresh=tuple(name for name in inside if name not in fitting),
        labels=len(known),
        new_labels=tuple(label for row, label in enumerate(tokenizer.labels) if row not in taken),
    )


def _copy_rows(ours: Tensor, theirs: Tensor, rows: list[tuple[int, int]]) -> None:
    for row, old_row in rows:
        ours[row] = theirs[old_row]


def _some(names: "tuple[str, ...] | list[str]") -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

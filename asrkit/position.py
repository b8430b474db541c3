"""Where a training stands in; the plain values that its checkpoints keep out, and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from asrkit.spikes import NOTHING_YET, Usual


@dataclass(frozen=True)
class Position:
    """Where training stands: `batch` batches of `epoch` are done, `step` updates in all."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    validated: int = -1  # the last step that was
    best_step: int = -1
    best_score: float = float("inf")
    without_gain: int = 0  # validations since the best
    bad_steps: int = 0
    spikes: int = 0
    usual: Usual = NOTHING_YET
    seconds: float = 0.0  # of training so far, all sessions

    def plain(self) -> dict[str, Any]:
        """Lists and numbers alone, as a checkpoint keeps it."""
        return asdict(self) | {"usual": [*self.usual]}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Position":
        """What `plain` gave."""
        return cls(**{**plain, "usual": Usual(*plain["usual"])})

"""Losses and gradient norms of one update after another in; those that stand out from the ones before out."""

import math
from typing import NamedTuple

from asrkit.update import Update

SPIKE = 10.0  # times the usual
MEMORY = 100  # updates that the usual is an average over, more or less
FIRST = 20  # updates in which nothing is usual yet


class Usual(NamedTuple):
    """What updates were like so far: geometric means, which a spike moves little. A run keeps it in its checkpoints."""

    updates: int = 0
    log_loss: float = 0.0
    log_norm: float = 0.0

    def spike(self, update: Update) -> str | None:
        """What is more than SPIKE times the usual, in words."""
        if self.updates < FIRST:
            return None
        for name, value, log in (
            ("loss", update.loss, self.log_loss),
            ("gradient norm", update.grad_norm, self.log_norm),
        ):
            times = value / math.exp(log)
            if times > SPIKE:
                return f"{name} {value:.3g}, {times:.0f} times the usual"
        return None

    def after(self, update: Update) -> "Usual":
        """With an update that was finite."""
        weight = 1 / min(self.updates + 1, MEMORY)

        def moved(log: float, value: float) -> float:
            return log + weight * (math.log(max(value, 1e-9)) - log)

        return Usual(self.updates + 1, moved(self.log_loss, update.loss), moved(self.log_norm, update.grad_norm))


NOTHING_YET = Usual()

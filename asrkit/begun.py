"""Batches in, updates under way; those that are done, read, shown and counted, out."""

from collections import deque
from dataclasses import replace

from asrkit.batches import Batch
from asrkit.distributed import Ranks
from asrkit.errors import AsrkitError, SaidElsewhereError
from asrkit.live import Live
from asrkit.position import Position
from asrkit.progress import Progress
from asrkit.run import Run
from asrkit.update import Started, Update, Updater

NAMED_SPIKES = 20  # of a run; a small set that is nearly learnt by heart has many


class Begun:
    """Updates that were started and not yet read: none on a CPU, some on a GPU, so that it never waits.

    What some process was asked for, to stop or to save, all of them read at the same step.
    """

    def __init__(self, run: Run, updater: Updater, live: Live, progress: Progress) -> None:
        self._run, self._updater, self._live, self._progress = run, updater, live, progress
        self._waiting: deque[tuple[int, float, Started]] = deque()
        self.stop = self.save = False

    def start(self, batch: Batch, position: Position, *, lr: float, stop: bool, save: bool) -> None:
        """One more."""
        started = self._updater.start(batch, lr=lr, step=position.step, stop=stop, save=save)
        self._waiting.append((position.step, lr, started))

    def read(self, position: Position, leave: int = 0) -> Position:
        """Reads, shows and counts all but the last `leave`."""
        while len(self._waiting) > leave:
            step, lr, started = self._waiting.popleft()
            update = self._updater.finish(started)
            if update.bad_rows:
                position = _count_bad(self._run, self._updater.ranks, position, step, update, self._progress)
            else:
                position = self._watch(position, step, update, started.batch)
            self._live.show(step + 1, position.epoch, update, lr=lr)
            self.stop |= update.stop
            self.save |= update.save
        return position

    def _watch(self, position: Position, step: int, update: Update, batch: Batch) -> Position:
        """A spike is named and counted. Its gradient was clipped as any other, so that it did as much as others do."""
        if not update.finite:
            return position
        spike = position.usual.spike(update)
        if spike and position.spikes < NAMED_SPIKES:
            losses = self._updater.own_losses(batch)
            worst = max(losses, key=losses.__getitem__)
            key = self._run.train.record(worst)["key"]
            last = "; others are only counted" if position.spikes == NAMED_SPIKES - 1 else ""
            self._progress.warn(
                f"step {step}: {spike}, clipped; highest loss ({losses[worst]:.3g}): utterance {key}{last}"
            )
        return replace(position, spikes=position.spikes + bool(spike), usual=position.usual.after(update))


def _count_bad(run: Run, ranks: Ranks, position: Position, step: int, update: Update, progress: Progress) -> Position:
    """An update that changed nothing: named and counted; too many of them stop the run."""
    position = replace(position, bad_steps=position.bad_steps + 1)
    keys = [str(run.train.record(row)["key"]) for row in update.bad_rows]
    named = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
    found = f"loss {update.loss:g}, gradient norm {update.grad_norm:g}"
    progress.warn(f"step {step} changed nothing: {found}; utterances {named}")
    if position.bad_steps > run.settings.max_bad_steps:
        line = (
            f"{position.bad_steps} updates were not finite, train.max_bad_steps allows {run.settings.max_bad_steps}; "
            f"look at {named}, lower train.lr ({run.settings.lr:g}) or train.grad_clip ({run.settings.grad_clip:g})"
        )
        raise AsrkitError(line) if ranks.first else SaidElsewhereError(line)
    return position

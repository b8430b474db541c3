"""Updates in; the live line of a training and its metrics.jsonl out: averages over the last steps, and clocks."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext

from asrkit.batches import Batch
from asrkit.metrics import Metrics
from asrkit.progress import Bar
from asrkit.stop import Stop
from asrkit.update import Update

LOG_STEPS = 10  # steps averaged into one line of metrics.jsonl
MUCH_WAITING = 0.1  # of the time, for the loader: worth saying


class Live:
    """The live line and metrics.jsonl: averages over the last steps, and clocks."""

    def __init__(self, bar: Bar, metrics: Metrics, *, saved_seconds: float) -> None:
        self._bar, self._metrics = bar, metrics
        self._start = self._last = self._save = time.monotonic()
        self._saved_seconds = saved_seconds
        self._waited = 0.0  # seconds since the last update was shown
        self._recent: deque[tuple[Update, float, float]] = deque(maxlen=LOG_STEPS)  # seconds of the clock, and waited

    @property
    def seconds(self) -> float:
        """Of training, earlier sessions included."""
        return self._saved_seconds + time.monotonic() - self._start

    @property
    def minutes_since_save(self) -> float:
        return (time.monotonic() - self._save) / 60

    def saved(self) -> None:
        """Saving and validating are no part of the speed."""
        self._save = self._last = time.monotonic()

    def waiting_for(self, batches: Iterable[Batch], stop: Stop | None = None) -> Iterator[Batch]:
        """The same; how long each takes to come is no work.

        Raises:
            StopWaiting: `stop` was set while it was waited for one.
        """
        coming = iter(batches)
        while True:
            before = time.monotonic()
            with stop.while_waiting() if stop else nullcontext():
                batch = next(coming, None)
            self._waited += time.monotonic() - before
            if batch is None:
                return
            yield batch

    def show(self, step: int, epoch: int, update: Update, *, lr: float) -> None:
        """What the update that made it so many steps did."""
        now = time.monotonic()
        if update.finite:
            self._recent.append((update, now - self._last, self._waited))
        self._last, self._waited = now, 0.0
        if not self._recent:
            self._bar.advance()
            return
        updates, clock, waited = zip(*self._recent, strict=True)
        numbers = {
            "loss": sum(each.loss for each in updates) / len(updates),
            "lr": lr,
            "grad_norm": sum(each.grad_norm for each in updates) / len(updates),
            "blank_rate": sum(each.blank_rate for each in updates) / len(updates),
            "audio_s_per_s": sum(each.audio_s for each in updates) / max(1e-9, sum(clock)),
            "waiting": min(1.0, sum(waited) / max(1e-9, sum(clock))),
        }
        line = (
            "loss {loss:.3f}  lr {lr:.1e}  grad {grad_norm:.2f}  blank {blank_rate:.0%}  "
            "{audio_s_per_s:.0f} audio-s/s".format(**numbers)
        )
        if numbers["waiting"] > MUCH_WAITING:
            line += "  {waiting:.0%} of it waiting for the loader".format(**numbers)
        self._bar.advance(1, line)
        if step % LOG_STEPS == 0:
            rounded = {name: round(value, 7) for name, value in numbers.items()}
            audio_s = round(sum(each.audio_s for each in updates), 1)
            self._metrics.write("train", step, epoch, **rounded, audio_s=audio_s, seconds=round(self.seconds, 1))

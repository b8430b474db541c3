"""One batch in, one update of the weights out, or none where the loss or a gradient is not finite.

On a GPU an update is started and not waited for: whether it is finite is decided there, and what it found is read when
later ones are under way.

Shapes: B utterances, T frames, F mel bins, T' output frames, V labels, U target labels.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from asrkit.augment import spec_augment
from asrkit.batches import Batch, Share
from asrkit.device import one_core_threads
from asrkit.distributed import ALONE, Ranks
from asrkit.features import LogMel, length_mask
from asrkit.model import DeepSpeech2, seed_dropout, share_statistics
from asrkit.settings import AugmentSettings, TrainSettings

UPDATES_AHEAD = 8  # on a GPU, which works while the next ones are read and started


@dataclass(frozen=True)
class Update:
    """What one batch did."""

    loss: float  # CTC, nats per label, mean over the utterances
    grad_norm: float  # before clipping
    blank_rate: float  # share of output frames whose best label is blank
    audio_s: float  # of speech, in all processes
    bad_rows: tuple[int, ...]  # rows of the index to blame where nothing was changed; empty for a good update
    stop: bool = False  # some process was asked to stop before it
    save: bool = False  # or to save

    @property
    def finite(self) -> bool:
        """False also while float16 looks for its scale, which is nobody's fault."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def learning_rate(step: int, *, steps: int, peak: float, warmup: float) -> float:
    """Linear warm-up over the share `warmup` of all steps, then half a cosine to a hundredth of the peak."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def ctc_losses(log_probs: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
    """Log-probs (B, T', V), lengths (B,), tokens (B, U) -> float32 CTC losses (B,), nats per label.

    Graves et al. 2006. Lengths are best on the CPU, where the kernel wants them. On MPS, which has no such kernel, it
    runs on the CPU.
    """
    if log_probs.device.type == "mps":
        return ctc_losses(log_probs.cpu(), lengths.cpu(), tokens.cpu(), token_lengths.cpu()).to(log_probs.device)
    losses = nn.functional.ctc_loss(
        log_probs.float().transpose(0, 1), tokens, lengths, token_lengths, blank=0, reduction="none"
    )
    return losses / token_lengths.clamp(min=1).to(losses.device, non_blocking=True)


class Started:
    """An update under way on its device; reading it waits for it, not for what was started behind it."""

    def __init__(self, batch: Batch, numbers: Tensor) -> None:
        self.batch = batch
        self._ready = None
        if numbers.device.type == "cuda":
            self._numbers = torch.empty(numbers.shape, pin_memory=True).copy_(numbers, non_blocking=True)
            self._ready = torch.cuda.Event()
            self._ready.record(torch.cuda.current_stream(numbers.device))
        else:
            self._numbers = numbers

    def read(self) -> list[float]:
        """The numbers."""
        if self._ready is not None:
            self._ready.synchronize()
        found: list[float] = self._numbers.tolist()
        return found


class Updater:
    """Model, optimiser and augmentation; AdamW (Loshchilov and Hutter 2019) with gradient clipping by norm.

    A batch is worked on in `parts`, each with batch norm statistics of its own (ghost batch norm, Hoffer et al. 2017);
    gradients are summed in a fixed order. On a CPU `replicas` of the model share the weights and take the parts in
    threads, with one core each: recurrent networks gain little from many cores at one product, twice the speed on two.
    Elsewhere the parts are worked on in turn, which takes less memory. The number of parts belongs to the run, as it
    changes the numbers; those of replicas and of `ranks` that share each batch do not.
    """

    def __init__(
        self,
        model: DeepSpeech2,
        features: LogMel,
        *,
        settings: TrainSettings,
        augmentation: AugmentSettings,
        device: torch.device,
        precision: torch.dtype,
        replicas: int = 1,
        parts: int | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.model, self.features = model.to(device), features.to(device)
        self.settings, self.augmentation = settings, augmentation
        self.device, self.precision, self.ranks = device, precision, ranks
        self.parts = parts or replicas
        share_statistics(self.model, ranks)
        self.replicas = [_sharing_weights(self.model) for _ in range(replicas)] if replicas > 1 else [self.model]
        # Norms and biases are not decayed: their size carries no complexity.
        groups = [
            {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self._fused = device.type in ("cpu", "cuda")  # one pass over the weights instead of ten
        self.optimizer: Any = torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=self._fused)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)

    @property
    def share(self) -> Share:
        """What this process reads of a batch."""
        return Share(self.ranks.rank, self.ranks.size, self.parts)

    @property
    def ahead(self) -> int:
        """How many updates may be started before the first of them is read."""
        return UPDATES_AHEAD if self.device.type == "cuda" else 0

    def trial(self) -> "Updater":
        """A throw-away copy with the same weights and a fresh optimiser."""
        return Updater(
            copy.deepcopy(self.model),
            self.features,
            settings=self.settings,
            augmentation=self.augmentation,
            device=self.device,
            precision=self.precision,
            replicas=len(self.replicas),
            parts=self.parts,
            ranks=self.ranks,
        )

    def update(self, batch: Batch, *, lr: float, step: int) -> Update:
        """One step of gradient descent; a loss or gradient that is not finite leaves weights and statistics alone."""
        return self.finish(self.start(batch, lr=lr, step=step))

    def start(self, batch: Batch, *, lr: float, step: int, stop: bool = False, save: bool = False) -> Started:
        """As `update`, without waiting for it. `stop` and `save` tell all ranks that this one was asked to."""
        before = [buffer.clone() for buffer in self.model.buffers()]
        scale = self.scaler.scale(torch.ones((), device=self.device))  # 1, but in float16
        done = self._work(batch, before, scale=scale / batch.utterances, step=step)
        told = torch.tensor([batch.audio_s, float(stop), float(save)]).to(self.device, non_blocking=True)
        loss = torch.stack([part.loss for part in done]).sum() / batch.utterances
        numbers = torch.cat([loss[None], torch.stack([part.frames for part in done]).sum(dim=0), told])
        self.ranks.add_up([*(cast(Tensor, weight.grad) for weight in self.model.parameters()), numbers])
        norm, finite = self._step(numbers[0], lr)
        for buffer, old, *moved in zip(self.model.buffers(), before, *(part.statistics for part in done), strict=True):
            mean = sum(each * part.share for each, part in zip(moved, done, strict=True))
            buffer.copy_(torch.where(finite, cast(Tensor, mean), old))
        # In float16 gradients overflow until the scale is found.
        blame = ~finite & (~torch.isfinite(numbers[0]) | (scale <= 1))
        return Started(batch, torch.cat([numbers, norm[None], blame[None]]))

    def _work(self, batch: Batch, before: list[Tensor], *, scale: Tensor, step: int) -> list["_Done"]:
        """Forward and backward of all parts, by all replicas; the model has their gradients."""
        parts = batch.to(self.device).parts(self.parts)
        # Seeding by the step, not carrying a state along, is what makes a resumed run drop the same units.
        seeds = np.random.SeedSequence((self.settings.seed, step)).generate_state(len(parts) * self.ranks.size).tolist()
        work = [
            (part, part.utterances / batch.utterances, seed)
            for part, seed in zip(parts, seeds[self.ranks.rank :: self.ranks.size], strict=True)
        ]
        replicas = self.replicas[: len(parts)]

        def take_turns(number: int) -> list[_Done]:
            replicas[number].zero_grad(set_to_none=True)
            return [
                self._gradients(replicas[number], part, before, scale=scale, share=share, seed=seed)
                for part, share, seed in work[number :: len(replicas)]
            ]

        run = one_core_threads(len(self.replicas)).map if len(replicas) > 1 else map
        done = list(chain.from_iterable(run(take_turns, range(len(replicas)))))
        self._collect_gradients(replicas)
        return done

    def finish(self, started: Started) -> Update:
        """What a started update did, and whom to blame where that was nothing."""
        loss, blanks, frames, audio_s, stop, save, norm, blame = started.read()
        return Update(
            loss=loss,
            grad_norm=norm,
            blank_rate=blanks / max(1.0, frames),
            audio_s=audio_s,
            bad_rows=self._blame(started.batch) if blame else (),
            stop=stop > 0,
            save=save > 0,
        )

    def state(self) -> dict[str, Any]:
        """What a resumed run needs beside the weights."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:  # the device may be another one
            group["fused"] = self._fused
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])

    def _step(self, loss: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        """Moves the weights, where loss and gradients are finite: the norm of the gradients, and whether they are."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        finite = torch.isfinite(loss) & torch.isfinite(norm)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        elif self._fused:  # the kernels leave all alone where this says so, which GradScaler uses, too: nobody waits
            self.optimizer.found_inf = (~finite).float()
            self.optimizer.step()
        elif bool(finite):
            self.optimizer.step()
        return norm, finite

    def _gradients(
        self, replica: DeepSpeech2, part: Batch, before: list[Tensor], *, scale: Tensor, share: float, seed: int
    ) -> "_Done":
        """Forward and backward on one replica, which adds the gradients of `scale` times the sum of the losses.

        `train.middle_loss` of it is the middle layer's (intermediate CTC, Lee and Watanabe 2021, arXiv 2102.03216).
        """
        middle_share = self.settings.middle_loss
        replica.train()
        seed_dropout(replica, seed)
        for buffer, original in zip(replica.buffers(), before, strict=True):
            buffer.copy_(original)
        log_mel, frames = self.features(part.waveforms, part.lengths.to(self.device, non_blocking=True))
        log_mel = spec_augment(log_mel, frames, part.masks, self.augmentation)
        if not len(part.rows):
            frames = torch.zeros_like(frames)  # silence that takes part in the sums over the ranks
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32):
            if middle_share:
                log_probs, middle, valid = replica.forward_twice(log_mel, frames)
            else:
                log_probs, valid = replica(log_mel, frames)  # (B, T', V), (B,)
                middle = log_probs
        loss = reported = log_probs.sum() * 0
        if len(part.rows):
            lengths = replica.output_length(self.features.frame_lengths(part.lengths))  # on the CPU
            loss = reported = ctc_losses(log_probs, lengths, part.tokens, part.token_lengths).sum()
            if middle_share:
                middle_loss = ctc_losses(middle, lengths, part.tokens, part.token_lengths).sum()
                loss = (1 - middle_share) * loss + middle_share * middle_loss
        (loss * scale).backward()
        blank = (log_probs.detach().argmax(dim=2) == 0) & length_mask(valid, log_probs.shape[1])
        return _Done(
            loss=reported.detach(),
            frames=torch.stack([blank.sum(), valid.sum()]).float(),
            statistics=[buffer.clone() for buffer in replica.buffers()],
            share=share,
        )

    def _blame(self, batch: Batch) -> tuple[int, ...]:
        """The rows whose own loss is not finite; where there is none, all."""
        losses = self.own_losses(batch)
        return tuple(row for row, loss in losses.items() if not math.isfinite(loss)) or tuple(losses)

    @torch.no_grad()
    def own_losses(self, batch: Batch) -> dict[int, float]:
        """For each row of the whole batch its loss with fixed statistics, where no utterance can spoil another's."""
        losses: list[float] = []
        if len(batch.rows):
            there = batch.to(self.device)
            log_probs, valid = self.model.eval()(*self.features(there.waveforms, batch.lengths.to(self.device)))
            losses = ctc_losses(log_probs, valid, there.tokens, batch.token_lengths).tolist()
        each = self.ranks.of_all(list(zip(batch.rows.tolist(), losses, strict=True)))
        return {row: loss for found in each for row, loss in found}

    def _collect_gradients(self, replicas: list[DeepSpeech2]) -> None:
        for weight, *shared in zip(self.model.parameters(), *(each.parameters() for each in replicas), strict=True):
            total = shared[0].grad
            for other in shared[1:]:
                total = total + other.grad
            weight.grad = total


@dataclass(frozen=True)
class _Done:
    """What a part of a batch gave."""

    loss: Tensor  # sum over its utterances here
    frames: Tensor  # (2,) here whose best label is blank, and all
    statistics: list[Tensor]  # of the batch norms, moved
    share: float  # of the batch's utterances, in all ranks


def _sharing_weights(model: DeepSpeech2) -> DeepSpeech2:
    """A copy with gradients and batch norm statistics of its own, whose weights are the model's memory."""
    replica = copy.deepcopy(model)
    for weight, original in zip(replica.parameters(), model.parameters(), strict=True):
        weight.data = original.data
    return replica

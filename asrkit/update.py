"""One batch in, one update of the weights out, or none where the loss or a gradient is not finite.

Shapes: B utterances, T frames, F mel bins, T' output frames, V labels, U target labels.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from asrkit.augment import spec_augment
from asrkit.batches import Batch
from asrkit.device import one_core_threads
from asrkit.features import LogMel, length_mask
from asrkit.model import DeepSpeech2, seed_dropout
from asrkit.settings import AugmentSettings, TrainSettings


@dataclass(frozen=True)
class Update:
    """What one batch did."""

    loss: float  # CTC, nats per label, mean over the utterances
    grad_norm: float  # before clipping
    blank_rate: float  # share of output frames whose best label is blank
    bad_rows: tuple[int, ...]  # rows of the index to blame where nothing was changed; empty for a good update


def learning_rate(step: int, *, steps: int, peak: float, warmup: float) -> float:
    """Linear warm-up over the share `warmup` of all steps, then half a cosine to a hundredth of the peak."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def ctc_losses(log_probs: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
    """Log-probs (B, T', V), lengths (B,), tokens (B, U) -> float32 CTC losses (B,), nats per label.

    Graves et al. 2006. On MPS, which has no such kernel, it runs on the CPU.
    """
    if log_probs.device.type == "mps":
        return ctc_losses(log_probs.cpu(), lengths.cpu(), tokens.cpu(), token_lengths.cpu()).to(log_probs.device)
    losses = nn.functional.ctc_loss(
        log_probs.float().transpose(0, 1), tokens, lengths, token_lengths, blank=0, reduction="none"
    )
    return losses / token_lengths.clamp(min=1)


class Updater:
    """Model, optimiser and augmentation; AdamW (Loshchilov and Hutter 2019) with gradient clipping by norm.

    On a CPU a batch is dealt to `replicas` of the model: each shares the weights, works on its part in a thread of its
    own with one core, and has its own batch norm statistics (ghost batch norm, Hoffer et al. 2017); gradients are
    summed in a fixed order. Recurrent networks gain little from many cores at one product: twice the speed on two.
    The number of replicas belongs to the run, as it changes the numbers; the number of cores does not.
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
    ) -> None:
        self.model, self.features = model.to(device), features.to(device)
        self.settings, self.augmentation = settings, augmentation
        self.device, self.precision = device, precision
        self.replicas = [_sharing_weights(self.model) for _ in range(replicas)] if replicas > 1 else [self.model]
        # Norms and biases are not decayed: their size carries no complexity.
        groups = [
            {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
        ]
        fused = device.type in ("cpu", "cuda")  # one pass over the weights instead of ten
        self.optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=fused)

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
        )

    def update(self, batch: Batch, *, lr: float, step: int) -> Update:
        """One step of gradient descent; a loss or gradient that is not finite leaves weights and statistics alone."""
        statistics = [buffer.clone() for buffer in self.model.buffers()]
        parts = batch.to(self.device).parts(len(self.replicas))
        replicas = self.replicas[: len(parts)]
        share = [len(part.rows) / len(batch.rows) for part in parts]
        # Seeding by the step, not carrying a state along, is what makes a resumed run drop the same units.
        seeds = np.random.SeedSequence((self.settings.seed, step)).generate_state(len(parts)).tolist()
        if len(parts) == 1:
            done = [self._gradients(replicas[0], parts[0], 1.0, seeds[0])]
        else:
            done = list(one_core_threads(len(self.replicas)).map(self._gradients, replicas, parts, share, seeds))
        self._collect_gradients(replicas)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        losses = torch.cat([part.losses for part in done])
        finite = bool(torch.isfinite(losses).all() & torch.isfinite(norm))
        if finite:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
            self._collect_statistics(replicas, share)
        else:  # a single replica is the model itself, and its forward pass has moved them
            for buffer, before in zip(self.model.buffers(), statistics, strict=True):
                buffer.copy_(before)
        return Update(
            loss=float(losses.mean()),
            grad_norm=float(norm),
            blank_rate=float(sum(part.blanks for part in done) / sum(part.frames for part in done)),
            bad_rows=() if finite else self._blame(batch),
        )

    def _gradients(self, replica: DeepSpeech2, part: Batch, share: float, seed: int) -> "_Done":
        """Forward and backward on one replica; its gradients are those of the part's share of the mean loss.

        `train.middle_loss` of it is the middle layer's (intermediate CTC, Lee and Watanabe 2021, arXiv 2102.03216).
        """
        middle_share = self.settings.middle_loss
        replica.train()
        seed_dropout(replica, seed)
        for buffer, original in zip(replica.buffers(), self.model.buffers(), strict=True):
            buffer.copy_(original)
        log_mel, frames = self.features(part.waveforms, part.lengths)
        log_mel = spec_augment(log_mel, frames, part.masks, self.augmentation)
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32):
            if middle_share:
                log_probs, middle, lengths = replica.forward_twice(log_mel, frames)
            else:
                log_probs, lengths = replica(log_mel, frames)  # (B, T', V), (B,)
        losses = ctc_losses(log_probs, lengths, part.tokens, part.token_lengths)
        loss = losses.mean()
        if middle_share:
            middle_loss = ctc_losses(middle, lengths, part.tokens, part.token_lengths).mean()
            loss = (1 - middle_share) * loss + middle_share * middle_loss
        replica.zero_grad(set_to_none=True)
        (loss * share).backward()
        blank = (log_probs.detach().argmax(dim=2) == 0) & length_mask(lengths, log_probs.shape[1])
        return _Done(losses=losses.detach(), blanks=blank.sum(), frames=lengths.sum())

    @torch.no_grad()
    def _blame(self, batch: Batch) -> tuple[int, ...]:
        """The rows whose own loss is not finite with fixed statistics, where none can spoil another; else all."""
        batch = batch.to(self.device)
        log_probs, lengths = self.model.eval()(*self.features(batch.waveforms, batch.lengths))
        bad = ~torch.isfinite(ctc_losses(log_probs, lengths, batch.tokens, batch.token_lengths)).cpu().numpy()
        return tuple(int(row) for row in (batch.rows[bad] if bad.any() else batch.rows))

    def _collect_gradients(self, replicas: list[DeepSpeech2]) -> None:
        for weight, *shared in zip(self.model.parameters(), *(each.parameters() for each in replicas), strict=True):
            total = shared[0].grad
            for other in shared[1:]:
                total = total + other.grad
            weight.grad = total

    def _collect_statistics(self, replicas: list[DeepSpeech2], share: list[float]) -> None:
        for buffer, *moved in zip(self.model.buffers(), *(each.buffers() for each in replicas), strict=True):
            buffer.copy_(sum(each * part for each, part in zip(moved, share, strict=True)))


@dataclass(frozen=True)
class _Done:
    """What a replica found: losses (B,), and its frames whose best label is blank, of all."""

    losses: Tensor
    blanks: Tensor
    frames: Tensor


def _sharing_weights(model: DeepSpeech2) -> DeepSpeech2:
    """A copy with gradients and batch norm statistics of its own, whose weights are the model's memory."""
    replica = copy.deepcopy(model)
    for weight, original in zip(replica.parameters(), model.parameters(), strict=True):
        weight.data = original.data
    return replica

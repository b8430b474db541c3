"""One batch in, one update of the weights out, or none where the loss or a gradient is not finite.

Shapes: B utterances, T frames, F mel bins, T' output frames, V labels, U target labels.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from asrkit.augment import spec_augment
from asrkit.batches import Batch
from asrkit.features import LogMel, length_mask
from asrkit.model import DeepSpeech2
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
    """Model, optimiser and augmentation; AdamW (Loshchilov and Hutter 2019) with gradient clipping by norm."""

    def __init__(
        self,
        model: DeepSpeech2,
        features: LogMel,
        *,
        settings: TrainSettings,
        augmentation: AugmentSettings,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        self.model, self.features = model.to(device), features.to(device)
        self.settings, self.augmentation = settings, augmentation
        self.device, self.precision = device, precision
        # Norms and biases are not decayed: their size carries no complexity.
        groups = [
            {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas)

    def update(self, batch: Batch, *, lr: float, step: int) -> Update:
        """One step of gradient descent; a loss or gradient that is not finite leaves weights and statistics alone."""
        self.model.train()
        batch = batch.to(self.device)
        # Seeding by the step, not carrying a state along, is what makes a resumed run drop the same units.
        torch.manual_seed(int(np.random.SeedSequence((self.settings.seed, step)).generate_state(1)[0]))
        statistics = [buffer.clone() for buffer in self.model.buffers()]
        losses, log_probs, lengths = self._losses(batch)
        loss = losses.mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        finite = bool(torch.isfinite(loss) & torch.isfinite(norm))
        if finite:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
        else:
            for buffer, before in zip(self.model.buffers(), statistics, strict=True):
                buffer.copy_(before)
        blank = (log_probs.argmax(dim=2) == 0) & length_mask(lengths, log_probs.shape[1])
        return Update(
            loss=float(loss),
            grad_norm=float(norm),
            blank_rate=float(blank.sum() / lengths.sum()),
            bad_rows=() if finite else self._blame(batch, losses),
        )

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """CTC losses (B,), log-probs (B, T', V) and their lengths (B,)."""
        log_mel, frames = self.features(batch.waveforms, batch.lengths)
        log_mel = spec_augment(log_mel, frames, batch.masks, self.augmentation)
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32):
            log_probs, lengths = self.model(log_mel, frames)
        return ctc_losses(log_probs, lengths, batch.tokens, batch.token_lengths), log_probs.detach(), lengths

    @staticmethod
    def _blame(batch: Batch, losses: Tensor) -> tuple[int, ...]:
        """The utterances whose own loss is not finite; all of the batch where only a gradient is not."""
        bad = ~torch.isfinite(losses.detach()).cpu().numpy()
        return tuple(int(row) for row in (batch.rows[bad] if bad.any() else batch.rows))

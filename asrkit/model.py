"""DeepSpeech2: log-mel (B, T, F) in, log-probs (B, T', V) out.

Amodei et al. 2015, "Deep Speech 2", arXiv 1512.02595. Padding changes nothing: convolutions, batch norm statistics and
the backward recurrent layers see the valid frames only, so an utterance has the same log-probs alone and in a batch.

Shapes: B utterances, T frames, T' = T / stride output frames, F mel bins, C channels, H hidden units, V labels.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from asrkit.distributed import ALONE, Ranks
from asrkit.features import length_mask
from asrkit.frames import output_frames, strided_length, time_strides

CLIP = 20.0  # of the clipped ReLU, min(max(x, 0), 20)


class MaskedBatchNorm(nn.Module):
    """Batch norm over valid frames only; x (B, T, H) or (B, C, T, F) with a mask that broadcasts to it.

    For recurrent layers this is the sequence-wise normalisation of the paper, section 3.2. Where `ranks` share a batch,
    the statistics are those of the whole batch.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, channel_dim: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.channel_dim, self.momentum, self.eps = channel_dim, momentum, eps
        self.ranks = ALONE
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        shape = [1] * x.dim()
        shape[self.channel_dim] = -1
        if self.training:
            mean, variance = self._batch_statistics(x.float(), mask.float(), shape)
        else:
            mean, variance = self.running_mean, self.running_var
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return x * scale.view(shape) + (self.bias - mean * scale).view(shape)

    def _batch_statistics(self, x: Tensor, mask: Tensor, shape: list[int]) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel over the valid frames; moves the running ones."""
        dims = [dim for dim in range(x.dim()) if dim != self.channel_dim % x.dim()]
        count = mask.sum() * (x.shape.numel() // x.shape[self.channel_dim] // mask.numel())
        here = count.clamp(min=1)  # a rank may have no utterance of a small batch
        mean = (x * mask).sum(dim=dims) / here
        variance = ((x - mean.view(shape)).square() * mask).sum(dim=dims) / here
        if self.ranks.size > 1:
            count, mean, variance = self._over_ranks(count, mean, variance)
        with torch.no_grad():
            unbiased = variance * (count / (count - 1).clamp(min=1))
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        return mean, variance

    def _over_ranks(self, count: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Those of all ranks from those of each (Chan, Golub and LeVeque 1979): sums of squares would cancel."""
        gathered = self.ranks.gather(torch.cat([count[None], mean, variance]))  # (W, 1 + 2 C)
        counts, means, variances = gathered.split([1, len(mean), len(mean)], dim=1)
        total = counts.sum()
        mean = (counts * means).sum(dim=0) / total
        variance = (counts * (variances + (means - mean).square())).sum(dim=0) / total
        return total, mean, variance


def share_statistics(model: nn.Module, ranks: Ranks) -> None:
    """Lets the model's batch norms work on batches that these ranks share."""
    for module in model.modules():
        if isinstance(module, MaskedBatchNorm):
            module.ranks = ranks


class Dropout(nn.Module):
    """Dropout that draws from a generator of its own, so that models in several threads repeat their draws."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.generator: torch.Generator | None = None  # torch's own where nobody seeded

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return x
        keep = 1 - self.share
        kept = torch.empty(x.shape, dtype=x.dtype, device=x.device).bernoulli_(keep, generator=self.generator)
        return x * kept.div_(keep)


def seed_dropout(model: nn.Module, seed: int) -> None:
    """Fixes what every dropout layer of the model draws from now on."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = generator


class ConvLayer(nn.Module):
    """Two-dimensional convolution, masked batch norm, clipped ReLU: (B, C, T, F) -> (B, C', T', F')."""

    def __init__(self, channels_in: int, channels: int, *, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride  # (time, mel)
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride=stride, padding=padding, bias=False)
        self.norm = MaskedBatchNorm(channels, channel_dim=1)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(x)
        lengths = strided_length(lengths, self.stride[0])
        mask = length_mask(lengths, x.shape[2])[:, None, :, None]
        return self.norm(x, mask).clamp(0, CLIP) * mask, lengths


class ResidualBlock(nn.Module):
    """x + two times (norm, clipped ReLU, 3x3 convolution): (B, C, T, F) -> the same shape (He et al. 2016)."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList([MaskedBatchNorm(channels, channel_dim=1) for _ in range(2)])
        self.convs = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)])
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        mask = length_mask(lengths, x.shape[2])[:, None, :, None]
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(self.dropout(norm(y, mask).clamp(0, CLIP)) * mask) * mask
        return x + y


class _ReverseRows(torch.autograd.Function):
    """Rows in another order, where the order is its own inverse: the gradient takes the same way back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        return gradients[0].index_select(0, order), None


def reversal(lengths: Tensor, frames: int) -> Tensor:
    """(T * B,) row numbers that reverse each utterance within its own length in a (T, B, H) tensor."""
    time = torch.arange(frames, device=lengths.device)[:, None]  # (T, 1)
    batch = torch.arange(len(lengths), device=lengths.device)[None, :]  # (1, B)
    source = torch.where(time < lengths[None, :], lengths[None, :] - 1 - time, time)
    return (source * len(lengths) + batch).reshape(-1)


def reverse(x: Tensor, order: Tensor) -> Tensor:
    """(T, B, H) with each utterance reversed in place; `order` from `reversal`."""
    return cast(Tensor, _ReverseRows.apply(x.reshape(-1, x.shape[2]), order)).view(x.shape)


class RecurrentLayer(nn.Module):
    """One recurrent layer in one or two directions: (T, B, H) -> (T, B, H'), frames of padding never reach valid ones.

    Packed sequences are slow on a CPU; a forward network never sees the padding that follows, and reversing each
    utterance by its own length makes the backward direction a forward network too.
    """

    def __init__(self, inputs: int, hidden: int, *, kind: str, bidirectional: bool, merge: str) -> None:
        super().__init__()
        network = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[kind]
        self.ahead = network(inputs, hidden)
        self.back = network(inputs, hidden) if bidirectional else None
        self.merge = merge
        if kind == "lstm":  # remember by default (Jozefowicz et al. 2015)
            for part in (self.ahead, self.back):
                if part is not None:
                    nn.init.constant_(cast(Tensor, part.bias_ih_l0)[hidden : 2 * hidden], 1.0)
        self.outputs = hidden * (2 if bidirectional and merge == "concat" else 1)

    def forward(self, x: Tensor, order: Tensor) -> Tensor:
        ahead: Tensor = self.ahead(x)[0]
        if self.back is None:
            return ahead
        back = reverse(self.back(reverse(x, order))[0], order)
        return torch.cat([ahead, back], dim=2) if self.merge == "concat" else ahead + back


class Lookahead(nn.Module):
    """Lookahead convolution (paper, section 3.7): each unit mixes its next `context` frames; (B, T, H) -> (B, T, H)."""

    def __init__(self, units: int, context: int) -> None:
        super().__init__()
        self.context = context
        self.conv = nn.Conv1d(units, units, context + 1, groups=units, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x is zero beyond the lengths, as it is beyond the end of an utterance alone."""
        ahead = nn.functional.pad(x.transpose(1, 2), (0, self.context))
        return cast(Tensor, self.conv(ahead)).transpose(1, 2).clamp(0, CLIP)


class DeepSpeech2(nn.Module):
    """Convolutions, recurrent layers with batch norm between, labels; the keyword arguments are settings.ModelSettings.

    `mels` bins in, `labels` out (blank is 0). `time_stride` 2 or 4: the first convolution halves the frames, the second
    does again for 4. An "rnn" layer is Elman's with tanh, as the paper's clipped ReLU has no fast kernel.
    """

    def __init__(
        self,
        *,
        mels: int,
        labels: int,
        conv_channels: Sequence[int] = (32, 32),
        conv_mel_kernels: Sequence[int] = (41, 21),
        conv_time_kernels: Sequence[int] = (11, 11),
        time_stride: int = 2,
        residual_blocks: int = 0,
        rnn: str = "gru",
        layers: int = 5,
        hidden: int = 800,
        bidirectional: bool = True,
        merge: str = "sum",
        lookahead: int = 0,
        head: int = 0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.time_stride, self.labels = time_stride, labels
        self._strides = time_strides(time_stride, len(conv_channels))
        self.convs = nn.ModuleList()
        channels, bins = 1, mels
        for out, mel_kernel, time_kernel, stride in zip(
            conv_channels, conv_mel_kernels, conv_time_kernels, self._strides, strict=True
        ):
            self.convs.append(ConvLayer(channels, out, kernel=(time_kernel, mel_kernel), stride=(stride, 2)))
            channels, bins = out, strided_length(bins, 2)
        self.residuals = nn.ModuleList([ResidualBlock(channels, dropout) for _ in range(residual_blocks)])

        self.recurrent, self.norms = nn.ModuleList(), nn.ModuleList()
        size = channels * bins
        for number in range(layers):
            if number > 0:
                self.norms.append(MaskedBatchNorm(size, channel_dim=-1))
            layer = RecurrentLayer(size, hidden, kind=rnn, bidirectional=bidirectional, merge=merge)
            self.recurrent.append(layer)
            size = layer.outputs

        self.lookahead = Lookahead(size, lookahead) if lookahead else None
        self.norm = MaskedBatchNorm(size, channel_dim=-1)
        self.head = nn.Linear(size, head) if head else None
        self.output = nn.Linear(head or size, labels)
        self.dropout = Dropout(dropout)

    def output_length(self, frames: Any) -> Any:
        """Output frames for so many log-mel frames; an int or a tensor of ints."""
        return output_frames(frames, self._strides)

    def forward(self, log_mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """log_mel (B, T, F) and frames (B,) -> float32 log-probs (B, T', V) and their lengths (B,)."""
        x, lengths = self.convolve(log_mel, lengths)
        x, _ = self.recur(x, lengths)
        return self.classify(x.transpose(0, 1), lengths), lengths

    def forward_twice(self, log_mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As forward, and before the lengths what the output layer makes of the middle recurrent layer, (B, T', V)."""
        x, lengths = self.convolve(log_mel, lengths)
        x, middle = self.recur(x, lengths)
        return self.classify(x.transpose(0, 1), lengths), self.label(middle.transpose(0, 1)), lengths

    def convolve(self, log_mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The convolutions: (B, T, F) and frames (B,) -> (T', B, C * F') and lengths (B,)."""
        x = log_mel[:, None]  # (B, 1, T, F)
        for conv in self.convs:
            x, lengths = conv(x, lengths)
        for block in self.residuals:
            x = block(x, lengths)
        return x.permute(2, 0, 1, 3).flatten(2), lengths

    def recur(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The recurrent layers: (T', B, C * F') -> (T', B, H), and that of the middle one, normalised.

        The middle is behind two of three layers, three of five; a single layer has none, and comes twice.
        """
        middle = (len(self.recurrent) + 1) // 2
        normalised = None
        order = reversal(lengths, x.shape[0])
        mask = length_mask(lengths, x.shape[0]).T[:, :, None]  # (T', B, 1)
        for number, layer in enumerate(self.recurrent):
            if number > 0:
                x = self.norms[number - 1](self.dropout(x), mask)
            if number == middle:
                normalised = x
            x = layer(x, order)
        return x, x if normalised is None else normalised

    def classify(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T', H) -> log-probs (B, T', V)."""
        mask = length_mask(lengths, x.shape[1])[:, :, None]
        if self.lookahead is not None:
            x = self.lookahead(x * mask)
        return self.label(self.norm(self.dropout(x), mask))

    def label(self, x: Tensor) -> Tensor:
        """The layers behind the last norm: (B, T', H) -> log-probs (B, T', V)."""
        if self.head is not None:
            x = self.head(x).clamp(0, CLIP)
        return torch.log_softmax(self.output(x).float(), dim=2)

"""A forward DeepSpeech2 fed with sound in pieces: the log-probs that come out, joined, are those of the whole.

Every layer keeps the few frames of past that it still needs and waits for the future that it looks at, so the delay is
that of the convolutions and the lookahead alone.

Shapes: S samples, T frames of a piece, F mel bins, C channels, H hidden units, V labels.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from asrkit.errors import AsrkitError
from asrkit.features import LogMel
from asrkit.model import CLIP, ConvLayer, DeepSpeech2, RecurrentLayer


class Stream:
    """One utterance, fed in pieces; needs a forward model and features normalised by train statistics.

    Raises:
        AsrkitError: the model looks at the whole utterance (bidirectional, residual blocks, or its own mean).
    """

    def __init__(self, model: DeepSpeech2, features: LogMel) -> None:
        recurrent = [cast(RecurrentLayer, layer) for layer in model.recurrent]
        if any(layer.back is not None for layer in recurrent) or len(model.residuals):
            raise AsrkitError("a bidirectional or residual model cannot stream; wanted model=deepspeech2-streaming")
        if features.normalize != "train":
            raise AsrkitError(
                f"features.normalize is {features.normalize!r}, the mean of an utterance that has not ended; "
                "wanted a model trained with features.normalize=train"
            )
        self._model, self._features, self._recurrent = model.eval(), features, recurrent
        self._sound = torch.zeros(features.pad_samples)  # not yet framed
        self._framed = 0  # frames so far
        self._convs = [_ConvStream(cast(ConvLayer, layer)) for layer in model.convs]
        self._states: list[Any] = [None] * len(recurrent)
        self._ahead: Tensor | None = None  # (1, T, H) waiting for the lookahead

    @torch.inference_mode()
    def feed(self, samples: Tensor) -> Tensor:
        """More samples (S,) at 16 kHz -> the log-probs (T', V) that they complete, maybe none."""
        return self._push(samples, last=False)

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """The end of the sound -> the remaining log-probs (T', V)."""
        return self._push(torch.zeros(self._features.pad_samples), last=True)

    def _push(self, samples: Tensor, *, last: bool) -> Tensor:
        x = self._log_mel(samples, last=last)[None, None]  # (1, 1, T, F)
        for conv in self._convs:
            x = conv.push(x, last=last)
        x = x.permute(2, 0, 1, 3).flatten(2)  # (T', 1, H)
        everything = torch.ones(1, 1, 1, dtype=torch.bool)
        for number, layer in enumerate(self._recurrent):
            if x.shape[0] == 0:
                break
            if number > 0:
                x = self._model.norms[number - 1](x, everything)
            x, self._states[number] = layer.ahead(x, self._states[number])
        return self._labels(x.transpose(0, 1), last=last)

    def _log_mel(self, samples: Tensor, *, last: bool) -> Tensor:
        """Samples (S,) -> the whole frames that they complete, normalised, (T, F)."""
        features = self._features
        self._sound = torch.cat([self._sound, samples])
        whole = max(0, (len(self._sound) - features.fft_samples) // features.hop_samples + 1)
        if last and self._framed == 0:
            whole = max(1, whole)  # a sound shorter than a window still has a frame
        if whole == 0:
            return torch.zeros(0, features.mels)
        log_mel = features.spectrum(self._sound[None])[0, :whole]
        self._sound = self._sound[whole * features.hop_samples :]
        self._framed += whole
        return (log_mel - features.mean) / features.std

    def _labels(self, x: Tensor, *, last: bool) -> Tensor:
        """(1, T, H) -> log-probs (T', V) of the frames whose future is known."""
        if self._model.lookahead is not None:
            context = self._model.lookahead.context
            x = x if x.shape[1] or self._ahead is None else self._ahead[:, :0]
            waiting = x if self._ahead is None else torch.cat([self._ahead, x], dim=1)
            if last:
                waiting = nn.functional.pad(waiting, (0, 0, 0, context))
            ready = max(0, waiting.shape[1] - context)
            self._ahead = waiting[:, ready:]
            if ready == 0:
                return torch.zeros(0, self._model.labels)
            x = self._model.lookahead.conv(waiting.transpose(1, 2)).transpose(1, 2).clamp(0, CLIP)
        if x.shape[1] == 0:
            return torch.zeros(0, self._model.labels)
        x = self._model.norm(x, torch.ones(1, 1, 1, dtype=torch.bool))
        if self._model.head is not None:
            x = self._model.head(x).clamp(0, CLIP)
        return torch.log_softmax(self._model.output(x), dim=2)[0]


class _ConvStream:
    """A ConvLayer over time in pieces: keeps the input that its next output still needs."""

    def __init__(self, layer: ConvLayer) -> None:
        self.layer = layer
        self._waiting: Tensor | None = None  # (1, C, T, F); begins with the padding before the first frame

    def push(self, x: Tensor, *, last: bool) -> Tensor:
        """(1, C, T, F) more input -> (1, C', T', F') the output that it completes."""
        time_kernel, mel_kernel = self.layer.kernel
        padding = time_kernel // 2
        before = self._waiting if self._waiting is not None else x.new_zeros(1, x.shape[1], padding, x.shape[3])
        x = torch.cat([before, x], dim=2)
        if last:
            x = nn.functional.pad(x, (0, 0, 0, padding))
        stride = self.layer.stride[0]
        ready = max(0, (x.shape[2] - time_kernel) // stride + 1)
        self._waiting = x[:, :, ready * stride :]
        if ready == 0:
            bins = (x.shape[3] - 1) // 2 + 1
            return x.new_zeros(1, self.layer.conv.out_channels, 0, bins)
        used = x[:, :, : (ready - 1) * stride + time_kernel]
        y = nn.functional.conv2d(used, self.layer.conv.weight, stride=self.layer.stride, padding=(0, mel_kernel // 2))
        return cast(Tensor, self.layer.norm(y, torch.ones(1, 1, 1, 1, dtype=torch.bool))).clamp(0, CLIP)

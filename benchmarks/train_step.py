"""A step of training, from waveforms to new weights: audio-seconds per CPU-second of asrkit's network, and of the same
one written the usual way: packed sequences, bidirectional recurrent layers, plain batch norm, float32.

    python benchmarks/train_step.py [--models deepspeech2,deepspeech2-small] [--batch-seconds 60] [--threads 1]
                                    [--device cpu] [--seconds 20] [--quick] [--json FILE]

Both get the same batches: utterances of 2 to 10 s, of similar lengths within a batch, 12 labels a second, as noise, for
the time does not depend on what is said. Log-mel, SpecAugment, forward, CTC, backward, clipping and AdamW are in the
time; the loss of the middle layer, which others do not have, is not. On CUDA the clock counts in place of CPU time, and
the usual network also runs in bfloat16: there packed sequences have fast kernels, and who wins is not known.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import Figures
from torch import Tensor, nn

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.augment import spec_augment
from asrkit.batches import Batch
from asrkit.device import has_bfloat16
from asrkit.features import LogMel
from asrkit.model import DeepSpeech2
from asrkit.settings import AugmentSettings, FeaturesSettings, ModelSettings, TrainSettings, architecture
from asrkit.update import Updater, ctc_losses

LABELS, LABELS_A_SECOND = 29, 12
DURATIONS_S = (2.0, 10.0)
JITTER = 0.08  # how far lengths within a batch are apart
BATCHES = 6
CLIP = 2.0
AUGMENT = AugmentSettings()
WANTED = {"float32": 1.1, "bfloat16": 1.5}  # times the usual network
USUAL, USUAL_BFLOAT16 = "usual", "usual bfloat16"
Step = Callable[[Batch], None]


def make_batches(batch_seconds: float, device: torch.device) -> list[Batch]:
    """Batches of utterances around lengths spread evenly over DURATIONS_S."""
    random = np.random.default_rng(1)
    return [_batch(float(mean_s), batch_seconds, random).to(device) for mean_s in np.linspace(*DURATIONS_S, BATCHES)]


def _batch(mean_s: float, batch_seconds: float, random: np.random.Generator) -> Batch:
    count = max(1, int(batch_seconds / mean_s))
    seconds = mean_s * random.uniform(1 - JITTER, 1 + JITTER, count)
    lengths = torch.from_numpy((seconds * SAMPLE_RATE_HZ).astype(np.int64))
    token_lengths = torch.from_numpy((seconds * LABELS_A_SECOND).astype(np.int64)).clamp(min=1)
    waveforms = torch.zeros(count, int(lengths.max()))
    for row, length in enumerate(lengths.tolist()):
        waveforms[row, :length] = torch.from_numpy(random.normal(0, 0.1, length).astype(np.float32))
    tokens = torch.from_numpy(random.integers(1, LABELS, (count, int(token_lengths.max()))))
    masks = torch.from_numpy(random.random((count, AUGMENT.time_masks + AUGMENT.mel_masks, 2)).astype(np.float32))
    return Batch(waveforms, lengths, tokens, token_lengths, masks, np.arange(count))


def ours(settings: ModelSettings, device: torch.device, precision: torch.dtype) -> Step:
    """asrkit's step, one replica."""
    torch.manual_seed(1)
    shape = {key: value for key, value in vars(settings).items() if key != "name"}
    features = LogMel(**vars(FeaturesSettings()))
    updater = Updater(
        DeepSpeech2(mels=features.mels, labels=LABELS, **shape),
        features,
        settings=TrainSettings(middle_loss=0.0, grad_clip=CLIP),
        augmentation=AUGMENT,
        device=device,
        precision=precision,
    )

    def step(batch: Batch) -> None:
        updater.start(batch, lr=1e-4, step=0)  # on CUDA not waited for, as in training

    return step


class UsualNetwork(nn.Module):
    """DeepSpeech2 as it is commonly written; lengths of its output only roughly respect the padding of its input."""

    def __init__(self, settings: ModelSettings, mels: int) -> None:
        super().__init__()
        self.settings = settings
        strides = [2 if place < (2 if settings.time_stride == 4 else 1) else 1 for place in range(9)]
        layers: list[nn.Module] = []
        channels, bins = 1, mels
        for out, mel, frames, stride in zip(
            settings.conv_channels, settings.conv_mel_kernels, settings.conv_time_kernels, strides, strict=False
        ):
            padding = (frames // 2, mel // 2)
            layers.append(nn.Conv2d(channels, out, (frames, mel), stride=(stride, 2), padding=padding, bias=False))
            layers += [nn.BatchNorm2d(out), nn.Hardtanh(0, 20, inplace=True)]
            channels, bins = out, (bins + 1) // 2
        self.convs = nn.Sequential(*layers)
        network = {"gru": nn.GRU, "lstm": nn.LSTM}[settings.rnn]
        sizes = [channels * bins, *[settings.hidden] * (settings.layers - 1)]
        self.recurrent = nn.ModuleList([network(size, settings.hidden, bidirectional=True) for size in sizes])
        self.norms = nn.ModuleList([nn.BatchNorm1d(settings.hidden) for _ in sizes])
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(settings.hidden, LABELS)

    def forward(self, log_mel: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F), (B,) -> log-probs (B, T', V), (B,)."""
        x = self.convs(log_mel[:, None])  # (B, C, T', F')
        lengths = frames
        for _ in range(2 if self.settings.time_stride == 4 else 1):
            lengths = (lengths + 1) // 2
        x = x.permute(2, 0, 1, 3).flatten(2)  # (T', B, C * F')
        for recurrent, norm in zip(self.recurrent, self.norms, strict=True):
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
            x, _ = nn.utils.rnn.pad_packed_sequence(recurrent(packed)[0])
            x = x.unflatten(2, (2, -1)).sum(dim=2)
            x = norm(self.dropout(x).flatten(0, 1)).view_as(x)
        return torch.log_softmax(self.output(x.transpose(0, 1)), dim=2), lengths


def usual(settings: ModelSettings, device: torch.device, precision: torch.dtype = torch.float32) -> Step:
    """The same step around the usual network: no masks of padding."""
    torch.manual_seed(1)
    features = LogMel(**vars(FeaturesSettings())).to(device)
    model = UsualNetwork(settings, features.mels).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), fused=True)

    def step(batch: Batch) -> None:
        log_mel, frames = features(batch.waveforms, batch.lengths.to(device))
        with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
            log_probs, lengths = model(spec_augment(log_mel, frames, batch.masks, AUGMENT), frames)
        loss = ctc_losses(log_probs, lengths, batch.tokens, batch.token_lengths).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()

    return step


def speeds(steps: dict[str, Step], batches: Sequence[Batch], seconds: float) -> dict[str, float]:
    """Audio-seconds per second of the fastest passes over the batches; the ways take turns, as machines change."""
    audio_s = sum(batch.audio_s for batch in batches)
    took: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        _pass(step, batches)  # kernels are made ready
    while sum(map(sum, took.values())) < seconds * len(steps) or len(next(iter(took.values()))) < 2:
        for name, step in steps.items():
            took[name].append(_pass(step, batches))
    return {name: audio_s / min(times) for name, times in took.items()}


def _pass(step: Step, batches: Sequence[Batch]) -> float:
    on_cuda = batches[0].waveforms.device.type == "cuda"
    clock = time.perf_counter if on_cuda else time.process_time
    before = clock()
    for batch in batches:
        step(batch)
    if on_cuda:
        torch.cuda.synchronize()
    return clock() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="deepspeech2,deepspeech2-small")
    parser.add_argument("--batch-seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each way, at least")
    parser.add_argument("--quick", action="store_true", help="tiny networks, to see that it runs")
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    figures = Figures()
    figures.head()
    figures.say(f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {options.threads} threads")
    batches = make_batches(10.0 if options.quick else options.batch_seconds, device)
    precisions = [torch.float32]
    if device.type == "cuda" or has_bfloat16(device):
        precisions.append(torch.bfloat16)
    else:
        figures.leave_out("bfloat16", "this CPU has no instructions for it")
    rows: list[dict[str, Any]] = []
    for name in options.models.split(","):
        for kind in ("gru", "lstm"):
            settings = replace(architecture(name), rnn=kind)
            if options.quick:
                settings = replace(settings, hidden=16, layers=2)
            steps = {USUAL: usual(settings, device)}
            if device.type == "cuda":
                steps[USUAL_BFLOAT16] = usual(settings, device, torch.bfloat16)
            for precision in precisions:
                steps[str(precision).removeprefix("torch.")] = ours(settings, device, precision)
            found = speeds(steps, batches, 0.0 if options.quick else options.seconds)
            rows.append({"model": name, "rnn": kind} | found)
            for which, least in WANTED.items():
                if which in found:
                    what = f"{name}, {kind}, {which}, times the usual network"
                    figures.want(what, found[which] / found[USUAL], at_least=least)
            if USUAL_BFLOAT16 in found:
                what = f"{name}, {kind}, bfloat16, times the usual network in bfloat16"
                figures.want(what, found["bfloat16"] / found[USUAL_BFLOAT16], at_least=1.0)
    figures.table(f"training step, batches of {options.batch_seconds:g} s, audio-s per second", rows)
    figures.end()
    if options.json:
        figures.write(options.json)


if __name__ == "__main__":
    main()

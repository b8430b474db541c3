"""A model in training in, a self-describing folder out; the folder in, something that turns waveforms to log-probs out.

A checkpoint folder holds model.safetensors (weights, and the features' statistics), tokenizer/, settings.json (the
resolved recipe, the data, the step) and, for resuming, state.pt. It is written under a temporary name and renamed.
"""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from asrkit.device import choose_device
from asrkit.errors import AsrkitError, did_you_mean
from asrkit.features import LogMel
from asrkit.model import DeepSpeech2
from asrkit.recipe import section_from_json
from asrkit.settings import DecodeSettings, FeaturesSettings, ModelSettings
from asrkit.tokenizer import Tokenizer, load_tokenizer

FORMAT = 2
WEIGHTS, SETTINGS, STATE, TOKENIZER = "model.safetensors", "settings.json", "state.pt", "tokenizer"


@dataclass(frozen=True)
class Checkpoint:
    """A trained model and what it needs: waveforms in, log-probs out, on its device."""

    path: Path
    step: int
    recipe: dict[str, Any]  # the resolved recipe, the data and the splits it was trained on
    model: DeepSpeech2
    features: LogMel
    tokenizer: Tokenizer
    fingerprint: str  # of the weights and the tokenizer
    device: torch.device

    @property
    def home(self) -> Path:
        """The run's folder, or the checkpoint's own where it was taken out of its run."""
        folder = self.path.parent
        return folder.parent if folder.name == "checkpoints" else self.path

    @property
    def run_name(self) -> str:
        """The recipe and the run."""
        return f"{self.home.parent.name}/{self.home.name}"

    @property
    def frame_s(self) -> float:
        """Seconds from one output frame to the next."""
        return self.features.hop_s * self.model.time_stride

    @property
    def pad_s(self) -> float:
        """Silence that the features put before the sound: output frame n stands at n * frame_s - pad_s."""
        return self.features.pad_samples / 16_000

    @property
    def decode_settings(self) -> DecodeSettings:
        """The recipe's defaults for beam search."""
        settings: DecodeSettings = section_from_json(DecodeSettings, self.recipe["decode"])
        return settings

    @torch.inference_mode()
    def log_probs(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) at 16 kHz and sample counts (B,) -> log-probs (B, T', V) and lengths (B,), on the CPU."""
        log_mel, frames = self.features(waveforms.to(self.device), lengths.to(self.device))
        log_probs, out = self.model(log_mel, frames)
        return log_probs.cpu(), out.cpu()


def build(recipe: Mapping[str, Any], labels: int) -> tuple[DeepSpeech2, LogMel]:
    """A fresh model and its features from the sections `model` and `features` of a resolved recipe."""
    features: FeaturesSettings = section_from_json(FeaturesSettings, recipe["features"])
    model: ModelSettings = section_from_json(ModelSettings, recipe["model"])
    arguments = {key: value for key, value in asdict(model).items() if key != "name"}
    return DeepSpeech2(mels=features.mels, labels=labels, **arguments), LogMel(**asdict(features))


def save_checkpoint(
    folder: Path,
    *,
    model: DeepSpeech2,
    features: LogMel,
    tokenizer: Tokenizer,
    recipe: Mapping[str, Any],
    step: int,
    state: Mapping[str, Any] | None = None,
) -> None:
    """Writes the folder, whole or not at all.

    Raises:
        AsrkitError: it cannot be written (full disk, read-only); what was there before is untouched.
    """
    temporary = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        named = {"model": model.state_dict(), "features": features.state_dict()}
        tensors = {
            f"{part}.{key}": value.detach().cpu().contiguous()
            for part, each in named.items()
            for key, value in each.items()
        }
        save_file(tensors, temporary / WEIGHTS)
        tokenizer.save(temporary / TOKENIZER)
        settings = {"format": FORMAT, "step": step, "recipe": dict(recipe)}
        (temporary / SETTINGS).write_text(json.dumps(settings, indent=1, ensure_ascii=False), encoding="utf-8")
        if state is not None:
            torch.save(dict(state), temporary / STATE)
        for path in (temporary / WEIGHTS, temporary / SETTINGS, temporary / STATE):
            if path.exists():
                _flush_to_disk(path)
        if folder.exists():
            old = folder.with_name(f".{folder.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        temporary.rename(folder)
        _mend(folder.parent)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors wrap the system's error
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            _mend(folder.parent)
        raise AsrkitError(f"checkpoint {folder} cannot be written ({error}); earlier checkpoints are whole") from error


def _mend(folder: Path) -> None:
    """Each checkpoint that was saved twice is there once, also behind a kill in between."""
    for old in folder.glob(".*.old"):
        new = folder / old.name.removeprefix(".").removesuffix(".old")
        if new.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(new)


def _flush_to_disk(path: Path) -> None:
    """So that a power cut after the rename does not leave an empty file behind a good name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def load_checkpoint(path: str | Path, device: str = "cpu") -> Checkpoint:
    """The checkpoint in a folder, or a run's best one, ready to use.

    Raises:
        AsrkitError: there is none, it is broken, or it was written by another version.
    """
    folder = checkpoint_folder(Path(path))
    settings = read_settings(folder)
    tokenizer = load_tokenizer(folder / TOKENIZER)
    recipe = settings["recipe"]
    model, features = build(recipe, len(tokenizer.labels))
    load_weights(folder, model, features)
    target = choose_device(device)
    digest = sha256((folder / WEIGHTS).read_bytes())
    digest.update(tokenizer.fingerprint().encode())
    return Checkpoint(
        path=folder,
        step=settings["step"],
        recipe=recipe,
        model=model.eval().to(target),
        features=features.to(target),
        tokenizer=tokenizer,
        fingerprint=digest.hexdigest()[:16],
        device=target,
    )


def checkpoint_folder(path: Path) -> Path:
    """The checkpoint that a path means: itself, or the best (else the last) of a run.

    Raises:
        AsrkitError: no checkpoint there.
    """
    if (path / SETTINGS).is_file():
        return path.resolve()
    if (path / "best" / SETTINGS).is_file():
        return (path / "best").resolve()
    last = last_checkpoint(path)
    if last is None:
        raise AsrkitError(f"no checkpoint in {path}; wanted a run or a checkpoint folder, made by: asrkit train RECIPE")
    return last.resolve()


def last_checkpoint(run: Path) -> Path | None:
    """The checkpoint of a run with the most steps."""
    steps = [path for path in (run / "checkpoints").glob("*") if path.name.isdigit() and (path / SETTINGS).is_file()]
    return max(steps, key=lambda path: int(path.name), default=None)


def has_checkpoint(run: Path) -> bool:
    """Whether a run can go on."""
    _mend(run / "checkpoints")
    return last_checkpoint(run) is not None


def read_settings(folder: Path) -> dict[str, Any]:
    """A checkpoint's settings.json.

    Raises:
        AsrkitError: it cannot be read, or was written by another version.
    """
    try:
        settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AsrkitError(f"checkpoint {folder} cannot be read: {error}") from error
    if settings.get("format") != FORMAT:
        found = settings.get("format")
        raise AsrkitError(
            f"checkpoint {folder} has format {found}; this version of asrkit reads {FORMAT}: use the version that "
            "trained it, or train again"
        )
    return settings


def load_weights(folder: Path, model: DeepSpeech2, features: LogMel) -> None:
    """Weights and feature statistics of a checkpoint into modules of the same shape.

    Raises:
        AsrkitError: the file is broken or its tensors are not the model's.
    """
    try:
        tensors = load_file(folder / WEIGHTS)
        for part, module in (("model.", model), ("features.", features)):
            own = {key.removeprefix(part): value for key, value in tensors.items() if key.startswith(part)}
            module.load_state_dict(own)
    except (OSError, SafetensorError, RuntimeError) as error:
        first_line = str(error).splitlines()[0]
        raise AsrkitError(f"weights {folder / WEIGHTS} cannot be loaded: {first_line}") from error


def load_state(folder: Path) -> dict[str, Any]:
    """What resuming needs, from state.pt; tensors and plain values only, no pickled code is run.

    Raises:
        AsrkitError: the file is missing or broken.
    """
    try:
        state: dict[str, Any] = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise AsrkitError(f"training state {folder / STATE} cannot be loaded: {error}") from error
    return state


def run_folders(exp_dir: Path) -> list[Path]:
    """Every run under exp/, oldest first by the time in its recipe.json."""
    runs = [path.parent for path in exp_dir.glob("*/*/recipe.json")]
    return sorted(runs, key=lambda run: (_started(run), run.name))


def _started(run: Path) -> float:
    try:
        return float(json.loads((run / "recipe.json").read_text(encoding="utf-8")).get("started", 0))
    except (OSError, ValueError):
        return 0.0


def find_run(run: str | Path | None, exp_dir: str | Path) -> Path:
    """The run of that name or path; None is the newest under `exp_dir`.

    Raises:
        AsrkitError: there is no such run.
    """
    runs = run_folders(Path(exp_dir))
    if run is None:
        if not runs:
            raise AsrkitError(f"no run in {exp_dir}/; train one first: asrkit train RECIPE")
        return runs[-1]
    if (Path(run) / "recipe.json").is_file() or (Path(run) / SETTINGS).is_file():
        return Path(run)
    names = {name: path for path in runs for name in (path.name, f"{path.parent.name}/{path.name}")}
    if str(run) not in names:
        known = ", ".join(path.name for path in runs[-5:]) or "none"
        raise AsrkitError(f"no run {str(run)!r} in {exp_dir}/{did_you_mean(str(run), names)} (newest: {known})")
    return names[str(run)]

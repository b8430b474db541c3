"""A run folder with a fresh, very small model, for tests that need one but not what it recognises."""

import json
from pathlib import Path

import torch

from asrkit.checkpoint import build, save_checkpoint
from asrkit.recipe import Recipe
from asrkit.settings import FeaturesSettings, ModelSettings
from asrkit.tokenizer import CharacterTokenizer

LETTERS = " 'abcdefghijklmnopqrstuvwxyz"

TINY = Recipe(
    name="tiny",
    language="en",
    description="for tests",
    licence="none",
    read_corpus=lambda root, split: [],
    normalize=str.lower,
    alphabet=LETTERS,
    features=FeaturesSettings(mels=16),
    model=ModelSettings(
        conv_channels=(4,), conv_mel_kernels=(5,), conv_time_kernels=(5,), layers=1, hidden=24, dropout=0.0
    ),
)


def save_tiny_run(exp_dir: Path, name: str = "first", *, seed: int = 0, started: float = 0.0) -> Path:
    """exp_dir/tiny/<name>, whose model writes nonsense, but plenty of it, and always the same."""
    run = exp_dir / "tiny" / name
    record = TINY.to_json() | {"started": started}
    torch.manual_seed(seed)
    tokenizer = CharacterTokenizer(LETTERS)
    model, features = build(record, len(tokenizer.labels))
    with torch.no_grad():
        model.output.weight *= 30
        model.output.bias[:2] += 8.0  # blanks and spaces: words of a few letters
    save_checkpoint(
        run / "checkpoints" / "00000007",
        model=model,
        features=features,
        tokenizer=tokenizer,
        recipe=record,
        step=7,
    )
    (run / "recipe.json").write_text(json.dumps(record), encoding="utf-8")
    (run / "best").symlink_to("checkpoints/00000007")
    return run

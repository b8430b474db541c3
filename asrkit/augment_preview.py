"""VERB a recipe and prepared data in; a page to hear and see what training makes of a few utterances out."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asrkit.atomic import storing_in, write_whole
from asrkit.audio import SAMPLE_RATE_HZ, Samples, encode
from asrkit.augment import Augmentation, Draws, spec_augment
from asrkit.device import one_core_here
from asrkit.epochs import EpochPlan, window_shards
from asrkit.errors import AsrkitError
from asrkit.features import LogMel
from asrkit.mel_statistics import take_statistics
from asrkit.noise_data import noise_dir, open_noise, surroundings
from asrkit.preview_page import Heard, Utterance, preview_page
from asrkit.progress import Progress, Silent
from asrkit.recipe import Recipe
from asrkit.settings import AugmentSettings
from asrkit.shards import JoinedIndex, resolve_data

VARIANTS = 3  # of each utterance: what three epochs would hear


@dataclass(frozen=True)
class _Preview:
    index: JoinedIndex
    augmentation: Augmentation
    features: LogMel

    def utterance(self, row: int) -> Utterance:
        """As it was recorded, and as the first epochs hear it."""
        record, sound = self.index.record(row), self.index.audio(row)
        variants = [self._heard(sound, self.augmentation.draw(epoch=epoch, row=row)) for epoch in range(VARIANTS)]
        plain = Heard("as recorded", _file(sound), self._picture(sound, None))
        return Utterance(str(record["key"]), str(record["text"]), [plain, *variants])

    def _heard(self, sound: Samples, draws: Draws) -> Heard:
        varied = self.augmentation.vary(sound, draws)
        return Heard(self._said(draws), _file(varied), self._picture(varied, draws))

    def _said(self, draws: Draws) -> str:
        """What was drawn, in words."""
        noises, responses = self.augmentation.surroundings.noises, self.augmentation.surroundings.responses
        said = [f"speed {draws.speed:g}"] if draws.speed != 1 else []
        if draws.response is not None and responses is not None:
            said.append(f"room {responses.name(draws.response)}")
        if noises is not None:
            said += [f"{noises.name(noise.row)} at {noise.snr_db:.0f} dB" for noise in draws.noises]
        if draws.gain_db:
            said.append(f"{draws.gain_db:+.0f} dB")
        if draws.codec:
            said.append(draws.codec)
        return ", ".join(said) or ("nothing but masks" if draws.masks.any() else "as recorded")

    def _picture(self, sound: Samples, draws: Draws | None) -> NDArray[np.float32]:
        """The features (F, T) that the model gets, from 0 to 1, high pitches first."""
        log_mel, frames = self.features(torch.from_numpy(sound)[None], torch.tensor([len(sound)]))
        if draws is not None:
            log_mel = spec_augment(log_mel, frames, torch.from_numpy(draws.masks)[None], self.augmentation.settings)
        picture: NDArray[np.float32] = (log_mel[0, : int(frames[0])].T.flip(0).numpy() + 2) / 5  # standard deviations
        return np.clip(picture, 0.0, 1.0)


def augment_preview(
    recipe: Recipe,
    *,
    data: str | None = None,
    data_dir: str | Path = "data",
    out: str | Path = "augment-preview.html",
    utterances: int = 6,
    progress: Progress = Silent(),
) -> Path:
    """Writes the page and gives its path. Utterances are spread evenly over train.

    Raises:
        AsrkitError: no data, noises that are not prepared, or a page that cannot be written.
    """
    data_set = resolve_data(data_dir, data, recipe.name)
    index = JoinedIndex([data_set.index(split) for split in data_set.splits["train"]])
    if not len(index):
        raise AsrkitError(f"the train split of data set {data_set.name} has no utterances")
    settings: AugmentSettings = recipe.augment.in_force()
    found = surroundings([open_noise(noise_dir(data_dir) / name) for name in settings.noise])
    augmentation = Augmentation(settings, found, recipe.train.seed)
    for line in augmentation.unheard(recipe.overridden):
        progress.warn(line)
    features = LogMel(**asdict(recipe.features))
    plan = EpochPlan(recipe.train.seed, recipe.train.batch_seconds, window_shards(index))
    preview = _Preview(index, augmentation, features)
    rows = np.unique(np.linspace(0, len(index) - 1, utterances).round().astype(int)).tolist()
    path = Path(out)
    # One core: several threads wait for each other at each small product, where something else wants the cores.
    with one_core_here(torch.device("cpu")), progress.bar("augmenting", len(rows), "utterances") as bar:
        take_statistics(features, index, plan)  # as a training does
        shown = []
        for row in rows:
            shown.append(preview.utterance(row))
            bar.advance()
    title = f"{recipe.name} on {data_set.name}: what training hears"
    with storing_in(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, preview_page(title, settings, shown).encode("utf-8"))
    progress.say(f"{path}: {len(rows)} utterances, before and after")
    return path


def _file(sound: Samples) -> bytes:
    """At most half a minute of it, no louder than a file can hold."""
    some = sound[: 30 * SAMPLE_RATE_HZ]
    return encode(some / max(1.0, float(np.abs(some).max())), "flac")

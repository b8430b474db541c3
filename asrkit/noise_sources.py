"""Published collections of noises and rooms: where they are, their checksums, and what in them is which."""

from dataclasses import dataclass
from pathlib import Path

from asrkit.download import fetch_all
from asrkit.errors import AsrkitError, did_you_mean
from asrkit.progress import Progress
from asrkit.recipe import Archive


@dataclass(frozen=True, kw_only=True)
class NoiseSource:
    """Patterns (of Path.glob) are seen from where the archive unpacks to."""

    archive: Archive
    noise: tuple[str, ...] = ()
    rir: tuple[str, ...] = ()
    licence: str


SOURCES = {
    # Snyder, Chen and Povey 2015, arXiv 1510.08484; its speech is left alone: a second voice is no noise to ignore
    "musan": NoiseSource(
        archive=Archive(
            url="http://www.openslr.org/resources/17/musan.tar.gz",
            md5="0c472d4fc0c5141eca47ad1ffeb2a7df",
            size=11_086_114_085,
            splits=(),
        ),
        noise=("musan/noise/**/*.wav", "musan/music/**/*.wav"),
        licence="CC BY 4.0",
    ),
    # Ko et al. 2017: responses of real rooms (with the noises that were recorded there) and simulated ones
    "rirs_noises": NoiseSource(
        archive=Archive(
            url="http://www.openslr.org/resources/28/rirs_noises.zip",
            md5="e6f48e257286e05de56413b4779d8ffb",
            size=1_311_166_223,
            splits=(),
        ),
        noise=("RIRS_NOISES/pointsource_noises/*.wav", "RIRS_NOISES/real_rirs_isotropic_noises/*_noise_*.wav"),
        rir=(
            "RIRS_NOISES/real_rirs_isotropic_noises/*_rir_*.wav",
            "RIRS_NOISES/real_rirs_isotropic_noises/air_*.wav",
            "RIRS_NOISES/simulated_rirs/*room/**/*.wav",
        ),
        licence="Apache 2.0",
    ),
}


def fetch_source(name: str, folder: Path, progress: Progress) -> tuple[NoiseSource, Path]:
    """The source of that name, downloaded and unpacked, and where.

    Raises:
        AsrkitError: no such source, and what download.fetch_all raises.
    """
    if name not in SOURCES:
        raise AsrkitError(f"no collection {name!r}{did_you_mean(name, SOURCES)} (there are: {', '.join(SOURCES)})")
    source = SOURCES[name]
    progress.say(f"{name}: {source.licence}")
    return source, fetch_all([source.archive], folder, progress)

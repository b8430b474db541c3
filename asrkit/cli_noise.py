"""`asrkit prepare-noise`, `augment-preview`: words of the command line in, one call of a verb about noise out."""

from pathlib import Path
from typing import Annotated

import typer

from asrkit.options import DataDir, DataName, DataPlace, RecipeName, Settings, names, resolved, terminal


def prepare_noise(
    noise: Annotated[
        list[Path] | None,
        typer.Argument(metavar="NOISE", help="Folders of sound files, or manifests.", show_default=False),
    ] = None,
    rir: Annotated[
        list[Path] | None, typer.Option(help="Impulse responses of rooms: folders or manifests.", show_default=False)
    ] = None,
    fetch: Annotated[
        str | None, typer.Option(help="Collections to download, separated by commas: musan, rirs_noises.")
    ] = None,
    rooms: Annotated[int, typer.Option(min=0, help="Simulate so many rooms; with the extra asrkit[rooms].")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="What the simulated rooms are drawn from.")] = 1,
    name: Annotated[str, typer.Option(help="Name of the data set.")] = "noise",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="one for each core")] = None,
    data_dir: DataDir = Path("data"),
) -> None:
    """Pack noises and rooms for training.

    With augment.noise=NAME training lets utterances be heard among them, other ones in every epoch.

    \b
    Examples:
      asrkit prepare-noise recordings/street recordings/office --rir responses
      asrkit prepare-noise --fetch musan,rirs_noises
      asrkit prepare-noise street.jsonl --rooms 500 --name street
    """
    from asrkit.prepare_noise import prepare_noise

    prepare_noise(
        noise=noise or (),
        rir=rir or (),
        collections=names(fetch) or (),
        rooms=rooms,
        seed=seed,
        name=name,
        workers=workers,
        data_dir=data_dir,
        progress=terminal(),
    )


def augment_preview(
    recipe: RecipeName,
    settings: Settings = None,
    data: DataName = None,
    data_dir: DataPlace = "data",
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.", dir_okay=False)] = Path("augment-preview.html"),
    utterances: Annotated[int, typer.Option(min=1, max=100, help="How many, spread over train.")] = 6,
) -> None:
    """Write a page to hear and see what training hears.

    \b
    Examples:
      asrkit augment-preview RECIPE
      asrkit augment-preview RECIPE augment.noise=noise augment.noise_snr_db=0,10 augment.codec_p=0.3
    """
    from asrkit.augment_preview import augment_preview

    augment_preview(
        resolved(recipe, settings),
        data=data,
        data_dir=data_dir,
        out=out,
        utterances=utterances,
        progress=terminal(),
    )

"""A checkpoint in; the prepared data that it was trained on out."""

from pathlib import Path

from asrkit.checkpoint import Checkpoint
from asrkit.errors import AsrkitError
from asrkit.progress import Progress, Silent
from asrkit.remote import parent
from asrkit.shards import DataSet, joined_fingerprint, open_data


def data_of(checkpoint: Checkpoint, data_dir: str | Path | None = None, *, progress: Progress = Silent()) -> DataSet:
    """The data that the checkpoint was trained on, in `data_dir`, or where it was then.

    Raises:
        AsrkitError: it is not known, gone, or was prepared again with another tokenizer.
    """
    recorded = checkpoint.recipe.get("data")
    if not recorded:
        raise AsrkitError(f"checkpoint {checkpoint.path} does not say what data it was trained on; wanted one of a run")
    data = open_data(data_dir if data_dir is not None else parent(recorded["folder"]), recorded["name"])
    if data.tokenizer().fingerprint() != checkpoint.tokenizer.fingerprint():
        raise AsrkitError(
            f"data {data.folder} was prepared with another tokenizer than checkpoint {checkpoint.path} has; wanted the "
            f"data as it was in training: train again, or prepare the old data under another --name"
        )
    # prepare.json knows it; opening the train index here would ask for train's shards, which may be elsewhere by now
    now = [data.meta["counts"][split]["fingerprint"] for split in data.splits["train"]]
    if now and joined_fingerprint(now) != recorded["fingerprint"]:
        progress.warn(
            f"data {data.folder} was prepared again since this run was trained on it: its train split changed"
        )
    return data

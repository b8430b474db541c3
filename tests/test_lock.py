"""One process at a time in a folder."""

import os
import platform
import re
from pathlib import Path

import pytest
from house import at_work_in

from asrkit.errors import AsrkitError
from asrkit.lock import only_one


def test_a_second_process_is_told_who_is_at_work_until_that_one_ends(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with at_work_in(folder, "training") as other:
        who = re.escape(f"another training (process {other.pid} of {platform.node()}) is at work in {folder}; wait for")
        for _ in range(2):
            with pytest.raises(AsrkitError, match=who), only_one(folder, "training"):
                pass
    with only_one(folder, "training"):
        assert (folder / ".lock").read_text(encoding="utf-8") == f"process {os.getpid()} of {platform.node()}\n"


def test_a_killed_process_lets_go_at_once_though_its_children_live(tmp_path: Path) -> None:
    with at_work_in(tmp_path, "training") as other:
        other.kill()
        other.wait()
        with only_one(tmp_path, "training"):
            pass


def test_a_folder_that_nothing_was_put_into_goes_again(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match="no data"), only_one(tmp_path / "exp" / "empty", "training"):
        raise AsrkitError("no data")
    assert os.listdir(tmp_path / "exp") == []
    with only_one(tmp_path / "exp" / "full", "training"):
        (tmp_path / "exp" / "full" / "recipe.json").touch()
    assert (tmp_path / "exp" / "full" / "recipe.json").exists()

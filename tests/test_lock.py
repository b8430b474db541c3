"""One process at a time in a folder."""

import errno
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
            with pytest.raises(AsrkitError, match=who), only_one(folder, "training", warn=print):
                pass
    with only_one(folder, "training", warn=print):
        assert (folder / ".lock").read_text(encoding="utf-8") == f"process {os.getpid()} of {platform.node()}\n"


def test_a_killed_process_lets_go_at_once_though_its_children_live(tmp_path: Path) -> None:
    with at_work_in(tmp_path, "training") as other:
        other.kill()
        other.wait()
        with only_one(tmp_path, "training", warn=print):
            pass


def test_a_folder_that_nothing_was_put_into_goes_again(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match="no data"), only_one(tmp_path / "exp" / "empty", "training", warn=print):
        raise AsrkitError("no data")
    assert os.listdir(tmp_path / "exp") == []
    with only_one(tmp_path / "exp" / "full", "training", warn=print):
        (tmp_path / "exp" / "full" / "recipe.json").touch()
    assert (tmp_path / "exp" / "full" / "recipe.json").exists()


def test_where_the_file_system_has_no_locks_the_user_is_warned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("asrkit.lock.fcntl.lockf", refuse)
    warned: list[str] = []
    with only_one(tmp_path, "training", warn=warned.append):
        pass
    assert warned == [f"{tmp_path} cannot be locked (No locks available); see to it that no other training works there"]

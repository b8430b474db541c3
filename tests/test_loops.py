"""loops.py: machine code on disk is as new as all the files it is made of."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import asrkit

INNER = "from asrkit.loops import lean\n@lean\ndef inner(x):\n    return x + {}\n"
OUTER = """
from asrkit.inner import inner
from asrkit.loops import compiled
@compiled
def outer(x):
    return inner(x)
"""
CALL = "from asrkit.outer import outer; print(outer(1), sum(outer.stats.cache_hits.values()))"


def test_a_loop_of_another_file_that_has_changed_is_compiled_anew(tmp_path: Path) -> None:
    package = tmp_path / "asrkit"
    package.mkdir()
    for name in ("__init__.py", "loops.py"):
        shutil.copy(Path(asrkit.__file__).parent / name, package)
    (package / "outer.py").write_text(OUTER, encoding="utf-8")
    said = []
    for added in (1, 1, 2):
        (package / "inner.py").write_text(INNER.format(added), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
        command = [sys.executable, "-c", CALL]
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
        said.append(tuple(map(int, run.stdout.split())))
    assert said == [(2, 0), (2, 1), (3, 0)]

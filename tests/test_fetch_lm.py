"""`asrkit lm fetch` from a server on this machine: listed, whole, broken off and resumed, wrong, damaged, unknown."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from local_server import LocalServer, serving

from asrkit import download as downloading
from asrkit.errors import AsrkitError
from asrkit.fetch_lm import fetch_lm
from asrkit.recipe import Recipe, load_recipe

PACKED = gzip.compress(b"\\data\\\nngram 1=3\n", mtime=0)
LONG = gzip.compress(bytes(range(256)) * 1000 + bytes(range(255, -1, -1)) * 1000, compresslevel=0, mtime=0)
DECLARED = """
from asrkit.language_model import LanguageModel, ReadyMade, TrainTranscripts

LM = LanguageModel(
    text=(TrainTranscripts(),),
    order=3,
    ready=(
        ReadyMade(name="3-gram", url={url!r}, size={size}, licence="public domain", order=3),
        ReadyMade(name="4-gram.pruned.1e-7", url={url!r}, size={size}, licence="public domain"),
    ),
)
"""
Asrkit = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(downloading, "FIRST_WAIT_S", 0.001)


def declared(server: LocalServer, size: int) -> Recipe:
    """A recipe whose language models come from this machine."""
    Path("lm").mkdir(exist_ok=True)
    Path("lm/librispeech.py").write_text(DECLARED.format(url=server.url("a.gz"), size=size), encoding="utf-8")
    return load_recipe("librispeech")


def test_from_the_command_line(asrkit: Asrkit) -> None:
    with serving({"a.gz": PACKED}) as server:
        declared(server, len(PACKED))
        code, out, error = asrkit("lm", "fetch", "librispeech", "3-gram")
        assert (code, error) == (0, "")
        assert out.splitlines()[-1].endswith("--lm data/lm/librispeech/3-gram.arpa.gz")
        assert Path("data/lm/librispeech/3-gram.arpa.gz").read_bytes() == PACKED
        assert asrkit("lm", "fetch", "librispeech", "3-gram")[0] == 0
    assert len(server.requests) == 1  # what is there is only checked
    assert [path.name for path in Path("data/lm/librispeech").iterdir()] == ["3-gram.arpa.gz"]


def test_without_a_name_they_are_listed(asrkit: Asrkit) -> None:
    with serving({}) as server:
        declared(server, 34_094_057)
        code, out, _ = asrkit("lm", "fetch", "librispeech")
    rows = [line.split() for line in out.splitlines()]
    assert code == 0 and server.requests == []
    assert rows[2][:3] == ["3-gram", "34.1", "3"] and rows[3][:2] == ["4-gram.pruned.1e-7", "34.1"]


def test_broken_off_it_goes_on_where_it_was() -> None:
    with serving({"a.gz": LONG}, break_after=100_000) as server:
        path = fetch_lm(declared(server, len(LONG)), "3-gram")
    assert path is not None and path.read_bytes() == LONG
    assert server.requests == ["", "bytes=100000-"] and server.bytes_sent == len(LONG)


def test_a_second_start_goes_on_where_the_first_was_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({"a.gz": LONG}, break_after=100_000) as server:
        recipe = declared(server, len(LONG))
        with monkeypatch.context() as patch:
            patch.setattr(downloading.time, "sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                fetch_lm(recipe, "3-gram")
        assert Path("data/lm/librispeech/3-gram.arpa.gz.part").stat().st_size == 100_000
        fetch_lm(recipe, "3-gram")
    assert server.requests == ["", "bytes=100000-"] and server.bytes_sent == len(LONG)


@pytest.mark.parametrize(
    ("out", "path"),
    [
        ("models", "models/3-gram.arpa.gz"),
        ("models/deep/3gram.arpa.gz", "models/deep/3gram.arpa.gz"),
        ("folder.gz", "folder.gz/3-gram.arpa.gz"),
    ],
)
def test_out_is_a_folder_or_a_file(out: str, path: str) -> None:
    Path("folder.gz").mkdir()
    with serving({"a.gz": PACKED}) as server:
        assert fetch_lm(declared(server, len(PACKED)), "3-gram", out=out) == Path(path)
    assert Path(path).read_bytes() == PACKED


def test_a_file_of_another_size_is_refused_before_it_comes() -> None:
    with serving({"a.gz": PACKED}) as server:
        recipe = declared(server, len(PACKED) + 1)
        wanted = f"a.gz has {len(PACKED)} bytes; wanted {len(PACKED) + 1}: the file on the server is another one"
        with pytest.raises(AsrkitError, match=wanted):
            fetch_lm(recipe, "3-gram")
    assert not list(Path("data/lm/librispeech").glob("*.gz"))


def test_a_damaged_file_is_refused_and_leaves_nothing() -> None:
    damaged = bytearray(LONG)
    damaged[300_000] ^= 1
    with serving({"a.gz": bytes(damaged)}) as server:
        recipe = declared(server, len(LONG))
        with pytest.raises(
            AsrkitError, match=r"is no sound gzip file \(.*incorrect data check\): it is damaged and was"
        ):
            fetch_lm(recipe, "3-gram")
    assert list(Path("data/lm/librispeech").iterdir()) == []


def test_a_file_that_is_there_and_wrong_is_refused() -> None:
    path = Path("data/lm/librispeech/3-gram.arpa.gz")
    path.parent.mkdir(parents=True)
    path.write_bytes(PACKED[:-1])
    with serving({"a.gz": PACKED}) as server:
        recipe = declared(server, len(PACKED))
        with pytest.raises(
            AsrkitError, match=rf"has {len(PACKED) - 1} bytes; wanted {len(PACKED)}: it is damaged; dele"
        ):
            fetch_lm(recipe, "3-gram")
    assert server.requests == []


def test_too_little_room_is_found_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=0, used=0, free=20_000_000))
    with serving({}) as server:
        recipe = declared(server, 34_094_057)
        with pytest.raises(
            AsrkitError, match=r"has 20\.0 MB free; downloading 3-gram\.arpa\.gz needs 34\.1 MB: free som"
        ):
            fetch_lm(recipe, "3-gram")
    assert server.requests == []


def test_mistakes_are_one_clear_line(asrkit: Asrkit) -> None:
    with serving({}) as server:
        declared(server, 10)
    Path("recipes/own").mkdir(parents=True)
    for name in ("recipe", "text"):
        source = (Path(__file__).parents[1] / "recipes" / "ukrainian" / f"{name}.py").read_text(encoding="utf-8")
        Path(f"recipes/own/{name}.py").write_text(source, encoding="utf-8")
    own = 'from asrkit.recipe import Recipe\nRECIPE = Recipe(name="own", language="und", description="",'
    own += ' licence="", normalize=str.lower, alphabet=" ab", manifest="a.csv")\n'
    Path("recipes/own/recipe.py").write_text(own, encoding="utf-8")
    for arguments, message in (
        (("librispeech", "4gram.pruned.1e-7"), "has no ready-made model '4gram.pruned.1e-7'; did you mean '4-gram.pr"),
        (("librispeech", "x"), "has no ready-made model 'x' (there are: 3-gram, 4-gram.pruned.1e-7)"),
        (("librispeech", "3-gram", "-o", "a.arpa"), "--out is a.arpa; wanted .arpa.gz"),
        (("librispeech", "3-gram"), "cannot be fetched"),
        (("korean",), "are known for recipe 'korean'; make one: asrkit lm build --recipe korean"),
        (("own", "3-gram"), "are known for recipe 'own'; make one: asrkit lm build TEXT -o lm.arpa --recipe own"),
    ):
        code, _, error = asrkit("lm", "fetch", *arguments)
        assert code == 1 and message in error and error.count("\n") == 1, error

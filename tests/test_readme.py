"""The README is run: every command of its `sh` blocks has an entry in HOW, and does what it says on a small scale."""

import gzip
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from hashlib import md5
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
import torch
from local_server import LocalServer, serving
from small_librispeech import archive_of, tone, write_split

from asrkit import cli
from asrkit.kneser_ney import build_arpa
from asrkit.model import DeepSpeech2
from asrkit.noise_sources import SOURCES
from asrkit.settings import ARCHITECTURES, architecture

HOUSE = Path(__file__).parents[1]
README = (HOUSE / "README.md").read_text(encoding="utf-8")
WORDS = ["the cat", "a dog", "the dog", "a cat ran", "the end"]
TINY = (
    *("model.conv_channels=4", "model.conv_mel_kernels=5", "model.conv_time_kernels=5", "model.time_stride=2"),
    *("model.rnn=gru", "model.layers=1", "model.hidden=16", "features.mels=16"),
    *("train.epochs=1", "train.workers=0", "train.batch_seconds=4"),
)


@dataclass(frozen=True)
class Run:
    """The command itself, with some words replaced and some added to make it small; what it must have written."""

    leaves: str = ""  # a pattern of files
    swap: tuple[tuple[str, str], ...] = ()
    more: tuple[str, ...] = ()
    says: str = ""


@dataclass(frozen=True)
class Make:
    """`make --dry-run`: what it would run last."""

    last: str


SHORT = (("--minutes 600", "--minutes 0.05"), ("--minutes 30", "--minutes 0.05"), ("--minutes 60", "--minutes 0.05"))
HOW: dict[str, Run | Make] = {
    "make demo": Make("asrkit demo"),
    "make test": Make("pytest"),
    "asrkit prepare librispeech --splits train-clean-100,dev-clean,test-clean": Run("data/librispeech/prepare.json"),
    "asrkit train librispeech --dry-run": Run(more=TINY, says="dry run: nothing was trained"),
    "asrkit train librispeech --minutes 600": Run("exp/librispeech/*/best/model.safetensors", SHORT, TINY),
    "asrkit decode": Run("exp/librispeech/*/decode/test-clean-greedy/report.json", says="WER"),
    "asrkit transcribe talk.wav": Run(),
    "asrkit lm fetch librispeech": Run(says="3-gram.pruned.1e-7"),
    "asrkit lm fetch librispeech 3-gram.pruned.1e-7": Run(
        "data/lm/librispeech/3-gram.pruned.1e-7.arpa.gz", says="--lm data/lm/librispeech/3-gram.pruned.1e-7.arpa.gz"
    ),
    "asrkit lm build --recipe librispeech": Run("data/lm/librispeech/4gram.arpa", more=("--discount-fallback",)),
    "asrkit lm build text.txt --recipe librispeech -o 4gram.arpa": Run("4gram.arpa", more=("--discount-fallback",)),
    "asrkit lm score 4gram.arpa more.txt": Run(says="perplexity"),
    "asrkit lm pack 4gram.arpa": Run("4gram.lm/pack.json"),
    "asrkit tune --lm 4gram.arpa": Run("exp/librispeech/*/tune/4gram.html", says="best on dev-clean: alpha "),
    "asrkit decode --lm 4gram.lm": Run("exp/librispeech/*/decode/test-clean-4gram-beam*/report.html", says="WER"),
    "asrkit decode --lm 4gram.arpa --beam 100 --alpha 0.5 --beta 1.0": Run(
        "exp/librispeech/*/decode/test-clean-4gram-beam100-alpha0.5-beta1/report.html", says="WER"
    ),
    "asrkit decode --lm 4gram.arpa --closed-vocab --n-best 10": Run(
        "exp/librispeech/*/decode/test-clean-4gram-*-closed_vocab-True/report.json", says="WER"
    ),
    "asrkit decode --lm 4gram.arpa --hotwords names.txt": Run(
        "exp/librispeech/*/decode/test-clean-4gram-*-hotwords-*/report.json", says="WER"
    ),
    "asrkit transcribe talk.wav --lm 4gram.arpa": Run(),
    "asrkit lm build text.txt --recipe librispeech --unit token -o letters.arpa": Run(
        "letters.arpa", more=("--discount-fallback",)
    ),
    "asrkit tune --lm 4gram.arpa --token-lm letters.arpa": Run(
        "exp/librispeech/*/tune/4gram-letters.html", says="token_alpha "
    ),
    "asrkit decode --lm 4gram.arpa --token-lm letters.arpa": Run(
        "exp/librispeech/*/decode/test-clean-4gram-letters-*/report.html", says="WER"
    ),
    "asrkit prepare librispeech --manifest my/english.jsonl": Run("data/english/prepare.json"),
    "asrkit train librispeech --data english model=deepspeech2-small --minutes 30": Run(
        "exp/librispeech/*/recipe.json", SHORT, TINY
    ),
    "asrkit train librispeech --data english model.layers=3 train.lr=2e-4 --run deeper": Run(
        "exp/librispeech/deeper/best/model.safetensors", (("model.layers=3", ""),), TINY
    ),
    "asrkit decode deeper --split dev --json": Run(
        "exp/librispeech/deeper/decode/dev-greedy/report.json", says='"wer"'
    ),
    "asrkit transcribe a.wav b.flac c.mp3 --run deeper --json": Run(says='"c.mp3"'),
    "asrkit recipes": Run(says="librispeech"),
    "asrkit recipe librispeech model=residual": Run(says="model.residual_blocks=3"),
    "asrkit prepare librispeech --name english --text-only": Run("data/english/prepare.json"),
    "asrkit prepare-noise my/street --rir my/rooms": Run("data/noise/noise.json", says="noises noise"),
    "asrkit prepare-noise --fetch musan,rirs_noises --name openslr": Run("data/openslr/noise.json"),
    "asrkit prepare-noise my/street --rooms 500 --name street": Run("data/street/noise.json", (("500", "2"),)),
    "asrkit augment-preview librispeech augment.noise=noise": Run("augment-preview.html"),
    "asrkit train librispeech augment.noise=noise augment.codec_p=0.2": Run(
        "exp/librispeech/*/best/model.safetensors", more=TINY
    ),
    "asrkit decode --noise my/street --snr 20,10,5,0 --rir my/rooms": Run(
        "exp/librispeech/*/decode/test-clean-rooms-greedy/report.html", says="test-clean, street 20 dB"
    ),
    "asrkit train librispeech --data english model=deepspeech2-small train.patience=0 --minutes 60": Run(
        "exp/librispeech/*/best/model.safetensors", SHORT, TINY
    ),
}


def fenced(language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
    return [content for name, content in blocks if name == language]


def commands() -> list[str]:
    """The lines of all `sh` blocks, without their comments."""
    lines = re.sub(r"\\\n\s*", "", "\n".join(fenced("sh"))).splitlines()
    return [command for line in lines if (command := re.split(r"\s+#\s", line)[0].strip())]


def test_every_command_has_an_entry() -> None:
    assert commands() == list(HOW)


@pytest.mark.parametrize("command", [command for command, how in HOW.items() if isinstance(how, Make)])
def test_make_would(command: str) -> None:
    words = [*command.split(), "--dry-run", "--no-print-directory"]
    done = subprocess.run(words, cwd=HOUSE, capture_output=True, text=True, check=True)
    how = HOW[command]
    assert isinstance(how, Make) and how.last in done.stdout.splitlines()[-1]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the README's reader is said to have: sound files, a manifest, an n-gram."""
    monkeypatch.chdir(tmp_path)
    for name in ("talk.wav", "a.wav", "b.flac", "c.mp3"):
        soundfile.write(name, tone(1.0), 16_000)
    manifest = []
    Path("my").mkdir()
    for number in range(30):
        name, split = f"{number}.wav", ("train", "train", "train", "dev", "test")[number % 5]
        soundfile.write(Path("my") / name, tone(0.8, 200.0 + 10 * number), 16_000)
        manifest.append(
            f'{{"audio": "{name}", "text": "{WORDS[number // 5 % 5]} {number % 5 * "x"}", "split": "{split}"}}'
        )
    Path("my/english.jsonl").write_text("\n".join(manifest), encoding="utf-8")
    for folder in ("street", "rooms"):
        (Path("my") / folder).mkdir()
        soundfile.write(Path("my") / folder / "one.wav", tone(0.3), 16_000)
    build_arpa((line.split() for line in WORDS), 3, Path("4gram.arpa"), discount_fallback=True)
    for name in ("text.txt", "more.txt", "names.txt"):
        Path(name).write_text("\n".join(WORDS), encoding="utf-8")
    return tmp_path


def serve_librispeech(place: Path, server: LocalServer) -> None:
    """A recipe and language models of the same name, nearer than ours, whose files come from this machine."""
    recipe = place / "recipes" / "librispeech"
    shutil.copytree(HOUSE / "recipes" / "librispeech", recipe, ignore=shutil.ignore_patterns("__pycache__"))
    archives = []
    for split, speaker in (("train-clean-100", 7), ("dev-clean", 14), ("test-clean", 60)):
        home = place / "made" / split / "LibriSpeech"
        write_split(home, split, {f"{speaker}-1-{number:04d}": text.upper() for number, text in enumerate(WORDS)})
        content = server.files[f"{split}.tar.gz"] = archive_of(home)
        keywords = f"url={server.url(f'{split}.tar.gz')!r}, md5={md5(content).hexdigest()!r}, size={len(content)}"  # noqa: S324
        archives.append(f"Archive({keywords}, splits=({split!r},)),")
    with (recipe / "corpus.py").open("a", encoding="utf-8") as file:
        file.write("\nARCHIVES = (\n" + "\n".join(archives) + "\n)\n")
    (place / "lm").mkdir()
    models = (HOUSE / "lm" / "librispeech.py").read_text(encoding="utf-8")
    models = models.replace("http://www.openslr.org/resources/11", server.address)
    packed = server.files["3-gram.pruned.1e-7.arpa.gz"] = gzip.compress(Path("4gram.arpa").read_bytes())
    server.files["librispeech-lm-norm.txt.gz"] = gzip.compress("\n".join(WORDS).upper().encode())
    models = models.replace("34_094_057", str(len(packed)))
    (place / "lm" / "librispeech.py").write_text(models, encoding="utf-8")


def serve_noises(place: Path, server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published collections, tiny ones, from this machine."""
    musan, rooms = place / "made" / "musan", place / "made" / "RIRS_NOISES"
    for path in (
        musan / "noise" / "1.wav",
        musan / "music" / "2.wav",
        rooms / "simulated_rirs" / "smallroom" / "3.wav",
        rooms / "pointsource_noises" / "4.wav",
    ):
        path.parent.mkdir(parents=True)
        soundfile.write(path, tone(0.2), 16_000)
    zipped = shutil.make_archive(str(place / "made" / "rooms"), "zip", rooms.parent, rooms.name)
    for name, content in (("musan", archive_of(musan)), ("rirs_noises", Path(zipped).read_bytes())):
        source = SOURCES[name]
        file_name = source.archive.url.rsplit("/", 1)[-1]
        server.files[file_name] = content
        checked = {"md5": md5(content).hexdigest(), "size": len(content)}  # noqa: S324
        monkeypatch.setitem(
            SOURCES, name, replace(source, archive=replace(source.archive, url=server.url(file_name), **checked))
        )


@pytest.mark.slow
def test_every_command_works(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with serving({}) as server:
        serve_librispeech(place, server)
        serve_noises(place, server, monkeypatch)
        for command, how in HOW.items():
            if isinstance(how, Make):
                continue
            for old, new in how.swap:
                command = command.replace(old, new)
            monkeypatch.setattr(sys, "argv", [*shlex.split(command), *how.more])
            code = cli._run(cli.app)
            out, err = capsys.readouterr()
            assert code == 0, f"{command}: {err}"
            assert how.says in out, command
            assert not how.leaves or list(place.glob(how.leaves)), f"{command} left no {how.leaves}"
    monkeypatch.setattr(sys, "argv", ["python"])
    for program in fenced("python"):
        exec(compile(program, "README.md", "exec"), {})  # noqa: S102 our own words


@pytest.mark.parametrize(
    "page",
    [path for pattern in ("*.md", "docs/*.md", "recipes/*/*.md", "lm/*.md") for path in HOUSE.glob(pattern)],
    ids=lambda page: page.name,
)
def test_commands_in_the_documents_exist(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verbs are stood in for: only that the command line takes these words."""
    verbs = (
        "prepare",
        "prepare_noise",
        "augment_preview",
        "train",
        "dry_run",
        "decode",
        "tune",
        "transcribe",
        "new_language",
        "compare_tokenizers",
        "demo",
    )
    for verb in (*verbs, "fetch_lm", "build_lm", "score_lm", "pack_lm"):
        stand_in: dict[str, Any] = {verb: lambda *args, **kwargs: []}
        monkeypatch.setitem(sys.modules, f"asrkit.{verb}", SimpleNamespace(**stand_in))
    text = page.read_text(encoding="utf-8")
    inline = re.findall(r"`(asrkit [^`]+)`", text)
    indented = re.findall(r"^(?:    |\t)(asrkit .*)$", text, re.M)
    for line in [*inline, *indented]:
        command = re.split(r"\s+#\s|\s+>", line)[0].replace("\n", " ")
        for placeholder, word in (("COMMAND", "train"), ("NAME", "librispeech"), ("RECIPE", "librispeech")):
            command = command.replace(placeholder, word)
        if "[" in command or "..." in command:
            continue  # a pattern, not a command
        words = shlex.split(command)
        monkeypatch.setattr(sys, "argv", words if len(words) > 2 else [*words, "--help"])
        code, error = cli._run(cli.app), capsys.readouterr().err
        assert code == 0 or "Missing argument" in error, f"{command}: {error}"


def test_the_tree_is_there() -> None:
    tree = next(block for block in fenced("") if "asrkit/" in block)
    for name in re.findall(r"\b([a-z_]+\.py)\b", tree):
        assert (HOUSE / "asrkit" / name).is_file(), name
    for folder in re.findall(r"^([a-z]+)/ ", tree, re.M):
        assert (HOUSE / folder).is_dir(), folder


@pytest.mark.parametrize("page", [HOUSE / "README.md", *HOUSE.glob("docs/*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_models_have_as_many_parameters_as_the_readme_says() -> None:
    said = dict(re.findall(r"^\| `([\w-]+)` \| .* \| ([\d.]+) M \|$", README, re.M))
    assert list(said) == list(ARCHITECTURES)
    for name, millions in said.items():
        settings = asdict(architecture(name))
        with torch.device("meta"):
            model = DeepSpeech2(mels=80, labels=29, **{key: value for key, value in settings.items() if key != "name"})
        assert f"{sum(weights.numel() for weights in model.parameters()) / 1e6:.1f}" == millions, name

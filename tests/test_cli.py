import errno
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asrkit.errors import AsrkitError
from asrkit.settings import DecodeSettings
from asrkit.terminal import Terminal

VERBS = {  # command: the function that it calls, in the module of that name
    "prepare": "prepare",
    "prepare-noise": "prepare_noise",
    "augment-preview": "augment_preview",
    "train": "train",
    "decode": "decode",
    "tune": "tune",
    "transcribe": "transcribe",
    "new-language": "new_language",
    "tokenizers": "compare_tokenizers",
    "demo": "demo",
}
COMMANDS = (*VERBS, "recipes", "recipe")
Asrkit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Verbs that note how they were called and do nothing."""
    noted: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def stand_in(verb: str) -> Callable[..., list[Any]]:
        def call(*args: Any, progress: Terminal, **kwargs: Any) -> list[Any]:
            noted.append((verb, args, kwargs))
            return []

        return call

    for verb in VERBS.values():
        monkeypatch.setitem(sys.modules, f"asrkit.{verb}", SimpleNamespace(**{verb: stand_in(verb)}))

    def dry_run(*args: Any, progress: Terminal, **kwargs: Any) -> SimpleNamespace:
        noted.append(("dry_run", args, kwargs))
        return SimpleNamespace(steps=3)

    monkeypatch.setitem(sys.modules, "asrkit.dry_run", SimpleNamespace(dry_run=dry_run))
    return noted


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def decode(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setitem(sys.modules, "asrkit.decode", SimpleNamespace(decode=decode))


def examples(help_text: str) -> list[str]:
    _, _, rest = help_text.partition("Examples:\n")
    block = re.split(r"\n\s*\n", rest)[0]
    return [re.split(r"\s{3,}", line.strip())[0] for line in block.splitlines()]


def test_the_bare_command_explains_itself(asrkit: Asrkit) -> None:
    code, out, err = asrkit()
    assert (code, err) == (0, "")
    assert all(re.search(rf"^  {command} ", out, re.M) for command in COMMANDS)
    assert asrkit("--help")[1] == out
    assert "..." not in out.partition("Commands:")[2]  # no summary is cut off


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_examples_that_parse(
    command: str, asrkit: Asrkit, calls: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "names.txt").write_text("Ada Lovelace\n", encoding="utf-8")  # of --hotwords
    monkeypatch.chdir(tmp_path)
    code, out, _ = asrkit(command, "--help")
    lines = examples(out)
    assert code == 0 and lines
    for line in lines:
        words = shlex.split(line.partition(">")[0].replace("RECIPE", "librispeech"))
        assert words[:2] == ["asrkit", command]
        assert asrkit(*words[1:])[0] == 0, line
    wanted = ["dry_run" if "--dry-run" in line else VERBS[command] for line in lines] if command in VERBS else []
    assert [call[0] for call in calls] == wanted


def test_help_imports_nothing_heavy() -> None:
    program = """
import sys
from asrkit.cli import main
sys.argv = ["asrkit", "--help"]
try:
    main()
except SystemExit as leaving:
    heavy = {"torch", "torchaudio", "numpy", "soundfile", "rich.progress", "sentencepiece"} & set(sys.modules)
    print(leaving.code, sorted(heavy - {"rich.progress"}), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "0 []\n"
    assert "Usage: asrkit" in done.stdout


def test_version_and_module() -> None:
    done = subprocess.run([sys.executable, "-m", "asrkit", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"asrkit \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("command", ["prepare", "prepare-noise", "tokenizers", "lm fetch", "lm build"])
def test_what_writes_refuses_an_address(command: str, asrkit: Asrkit, calls: list[Any]) -> None:
    """Else it would lie in ./s3:/bucket/data."""
    where = [] if command in ("prepare-noise", "lm build") else ["librispeech"]
    code, _, err = asrkit(*command.split(), *where, "--data-dir", "s3://bucket/data")
    assert (code, calls) == (1, [])
    assert err.startswith(
        "asrkit: --data-dir s3://bucket/data is an address; this command wants a folder of this machine ("
    )


def test_a_preview_of_data_far_away(asrkit: Asrkit, calls: list[Any]) -> None:
    assert asrkit("augment-preview", "librispeech", "--data-dir", "http://host/data")[0] == 0
    assert calls[0][2]["data_dir"] == "http://host/data"


@pytest.mark.parametrize("minutes", ["inf", "nan", "0", "-1"])
@pytest.mark.parametrize("command", [["train", "librispeech"], ["train", "librispeech", "--dry-run"], ["demo"]])
def test_minutes_are_finite(command: list[str], minutes: str, asrkit: Asrkit, calls: list[Any]) -> None:
    code, _, err = asrkit(*command, "--minutes", minutes)
    assert (code, err, calls) == (1, f"asrkit: --minutes is {minutes}; wanted a finite number above 0\n", [])


def test_options_reach_the_verb(asrkit: Asrkit, calls: list[Any]) -> None:
    asrkit(
        "train", "librispeech", "--data", "english", "model.layers=3", "--minutes", "30", "train.lr=2e-4", "--resume"
    )
    _, (recipe,), options = calls.pop()
    assert (recipe.name, recipe.model.layers, recipe.train.lr) == ("librispeech", 3, 2e-4)
    assert options == {
        "data": "english",
        "data_dir": "data",
        "exp_dir": Path("exp"),
        "run": None,
        "minutes": 30.0,
        "init_from": None,
        "resume": True,
        "device": "auto",
        "wandb": None,
        "tensorboard": False,
    }
    asrkit("decode", "--split", "test-clean,dev-clean", "--lm", "4gram.arpa", "--beam", "50", "--alpha", "0.5")
    _, args, options = calls.pop()
    assert args == (None,)
    assert (options["splits"], options["lm"]) == (["test-clean", "dev-clean"], Path("4gram.arpa"))
    assert (options["beam"], options["alpha"], options["beta"], options["n_best"]) == (50, 0.5, None, None)
    asrkit("decode", "--noise", "street", "--snr", "20,5.5,-3", "--rir", "rooms")
    _, _, options = calls.pop()
    assert (options["noise"], options["snrs_db"]) == (Path("street"), (20.0, 5.5, -3.0))
    assert options["rir"] == Path("rooms")
    asrkit("train", "librispeech", "--init-from", "first", "--run-name", "second")
    assert [calls[-1][2][name] for name in ("init_from", "run")] == ["first", "second"]
    calls.pop()
    code, out, _ = asrkit("train", "librispeech", "--dry-run", "--json", "--minutes", "5")
    verb, _, options = calls.pop()
    assert (code, json.loads(out), verb, options["minutes"]) == (0, {"steps": 3}, "dry_run", 5.0)
    asrkit("prepare-noise", "street", "office", "--rir", "rooms", "--fetch", "musan", "--rooms", "20")
    _, _, options = calls.pop()
    assert (options["rooms"], options["seed"]) == (20, 1)
    assert (options["noise"], options["rir"]) == ([Path("street"), Path("office")], [Path("rooms")])
    assert (options["collections"], options["name"]) == (["musan"], "noise")


SEARCH = {  # what the command line says, and what the verb is given
    "lm": ("--lm 4gram.arpa", Path("4gram.arpa")),
    "token_lm": ("--token-lm letters.arpa", Path("letters.arpa")),
    "unit": ("--unit word", "word"),
    "engine": ("--engine pyctcdecode", "pyctcdecode"),
    "beam": ("--beam 50", 50),
    "alpha": ("--alpha 0.5", 0.5),
    "beta": ("--beta -1", -1.0),
    "unk_score": ("--unk-score -4", -4.0),
    "closed_vocab": ("--closed-vocab", True),
    "token_alpha": ("--token-alpha 0.25", 0.25),
    "token_beta": ("--token-beta 0", 0.0),
    "token_min_logp": ("--token-min-logp -6", -6.0),
    "beam_prune_logp": ("--beam-prune-logp -12", -12.0),
    "hotwords": ("--hotwords names.txt", ("Ada Lovelace", "안녕")),
    "hotword_score": ("--hotword-score 3", 3.0),
}


@pytest.fixture
def names_txt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "names.txt"
    path.write_text("\ufeff Ada Lovelace\r\n\n  \n안녕 \n", encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["decode", "tune", "transcribe"])
def test_options_of_a_search(command: str, asrkit: Asrkit, calls: list[Any], names_txt: Path) -> None:
    help_text = asrkit(command, "--help")[1]
    taken = {name: each for name, each in SEARCH.items() if each[0].split()[0] in help_text}
    assert command == "tune" or taken == SEARCH
    assert {"lm", "token_lm", "unit", "beam", "unk_score", "closed_vocab"} <= set(taken)
    words = [word for line, _ in taken.values() for word in line.split()]
    assert asrkit(command, *(["a.wav"] if command == "transcribe" else []), *words)[0] == 0
    _, _, options = calls.pop()
    assert {name: options[name] for name in taken} == {name: value for name, (_, value) in taken.items()}
    asrkit(command, *(["a.wav"] if command == "transcribe" else []))
    _, _, options = calls.pop()
    assert {options[name] for name in taken} == {None}  # as tuned, or as the recipe has it


def test_every_setting_of_a_search_has_an_option() -> None:
    assert {item.name for item in fields(DecodeSettings)} == set(SEARCH) - {"lm", "token_lm", "unit"} | {"n_best"}


def test_the_vocabulary_may_be_opened_again(asrkit: Asrkit, calls: list[Any]) -> None:
    asrkit("decode", "--lm", "4gram.arpa", "--open-vocab", "--n-best", "3")
    assert (calls[0][2]["closed_vocab"], calls[0][2]["n_best"]) == (False, 3)


def test_what_tuning_makes_small(asrkit: Asrkit, calls: list[Any]) -> None:
    for by in ("both", "wer", "cer"):
        assert asrkit("tune", "--lm", "4gram.arpa", "--by", by)[0] == 0
        assert calls.pop()[2]["by"] == by
    asrkit("tune", "--lm", "4gram.arpa")
    assert calls.pop()[2]["by"] == "both"


def test_hotwords_that_cannot_be_read(asrkit: Asrkit, calls: list[Any], names_txt: Path) -> None:
    names_txt.write_bytes("Ada\nZoë\n".encode("latin-1"))
    for name in ("none.txt", "names.txt", "."):
        code, _, err = asrkit("decode", "--lm", "4gram.arpa", "--hotwords", name)
        assert code in (1, 2) and err.startswith("asrkit: ") and err.count("\n") == 1
        assert name in err
    assert calls == []


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["decod"], 2, "asrkit: No such command 'decod'. Did you mean 'decode'"),
        (["decode", "--splits", "x"], 2, "asrkit: No such option: --splits"),
        (["decode", "--beam", "0"], 2, "asrkit: Invalid value for '--beam'"),
        (["decode", "--engine", "kenlm"], 2, "asrkit: Invalid value for '--engine'"),
        (["decode", "--unit", "words"], 2, "asrkit: Invalid value for '--unit'"),
        (["tune", "--by", "per"], 2, "asrkit: Invalid value for '--by'"),
        (["transcribe", "a.wav", "--n-best", "3"], 2, "asrkit: No such option: --n-best"),
        (["train"], 2, "asrkit: Missing argument 'RECIPE'"),
        (["train", "librispeech", "--json"], 1, "asrkit: --json goes with --dry-run; a training writes"),
        (["train", "librispeech", "--dry-run", "--resume"], 1, "asrkit: --dry-run tells of a new training; leave out"),
        (["recipe", "librispeach"], 1, "asrkit: no recipe 'librispeach'; did you mean 'librispeech'?"),
        (["recipe", "librispeech", "train.lrr=1"], 1, "asrkit: no setting 'train.lrr'; did you mean 'train.lr'?"),
        (["recipe", "librispeech", "train.lr=fast"], 1, "asrkit: train.lr is 'fast'; wanted a number"),
        (["recipe", "librispeech", "model=deepspeach2"], 1, "asrkit: no model named 'deepspeach2'; did you mean"),
        (["recipe", "librispeech", "fast"], 1, "asrkit: 'fast' is not a setting; wanted section.key=value"),
    ],
)
def test_mistakes_are_answered_in_one_line(arguments: Sequence[str], code: int, line: str, asrkit: Asrkit) -> None:
    found, out, err = asrkit(*arguments)
    assert (found, out) == (code, "")
    assert err.startswith(line) and err.count("\n") == 1


def test_a_recipe_s_cases_are_run(asrkit: Asrkit, tmp_path: Path) -> None:
    assert re.fullmatch(r"all \d\d rows of \S+cases\.tsv hold\n", asrkit("recipe", "librispeech", "--cases")[1])
    shutil.copytree(Path(__file__).parents[1] / "recipes" / "librispeech", tmp_path / "own")
    (tmp_path / "own" / "cases.tsv").write_text("A b\ta b\nC\\u00ad D\tc d.\n", encoding="utf-8")
    code, out, err = asrkit("recipe", str(tmp_path / "own"), "--cases")
    assert (code, out.split()) == (1, ["raw", "wanted", "found", "C", "D", "c", "d.", "c", "d"])
    assert err.startswith("asrkit: 1 of 2 rows of ") and err.endswith("do not hold; mend text.py, or the rows\n")
    (tmp_path / "own" / "cases.tsv").write_text("A b\n", encoding="utf-8")
    assert "cases.tsv, line 1: 0 TABs; wanted a raw text" in asrkit("recipe", str(tmp_path / "own"), "--cases")[2]


def test_usage_errors_say_where_help_is(asrkit: Asrkit) -> None:
    assert asrkit("decode", "--splits", "x")[2].endswith("(see: asrkit decode --help)\n")


def test_an_error_of_many_lines_becomes_one(asrkit: Asrkit, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, AsrkitError("bad\x1b[2J name\nand more"))
    assert asrkit("decode") == (1, "", "asrkit: bad [2J name and more\n")


def test_a_full_disk_is_no_bug_but_a_bug_is(asrkit: Asrkit, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, OSError(errno.ENOSPC, "x", "exp/run/best"))
    assert asrkit("decode") == (1, "", "asrkit: No space left on device: exp/run/best\n")
    failing(monkeypatch, FileNotFoundError(errno.ENOENT, "x", "y"))
    with pytest.raises(FileNotFoundError):
        asrkit("decode")


def test_recipe_shows_what_can_be_typed_back(asrkit: Asrkit) -> None:
    code, out, _ = asrkit("recipe", "librispeech", "train.lr=2e-4", "augment.speeds=1.0,1.2", "model=residual")
    settings = [line for line in out.splitlines() if re.match(r"\w+\.\w+=", line)]
    assert code == 0
    assert {"train.lr=0.0002", "augment.speeds=1.0,1.2", "model.residual_blocks=3"} <= set(settings)
    typed = [line for line in settings if not line.startswith("model.name=")]
    again = asrkit("recipe", "librispeech", "model=residual", *typed)[1]
    assert again == out


def test_json_is_all_there_is_on_standard_output(asrkit: Asrkit, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(asrkit("recipe", "librispeech", "train.lr=2e-4", "--json")[1])["train"]["lr"] == 2e-4
    assert "librispeech" in [entry["name"] for entry in json.loads(asrkit("recipes", "--json")[1])]

    def decode(run: None, *, progress: Terminal, **options: Any) -> list[dict[str, Any]]:
        progress.say("news")
        return [{"wer": 0.25}]

    monkeypatch.setitem(sys.modules, "asrkit.decode", SimpleNamespace(decode=decode))
    code, out, err = asrkit("decode", "--json")
    assert (code, json.loads(out), err) == (0, [{"wer": 0.25}], "news\n")
    assert asrkit("decode") == (0, "news\n", "")


def test_transcripts(asrkit: Asrkit, monkeypatch: pytest.MonkeyPatch) -> None:
    def transcribe(paths: Sequence[Path], *, progress: Terminal, channels: str, **options: Any) -> Any:
        progress.warn("slow")
        for path in paths:
            for channel in (0, 1) if channels == "each" else (None,):
                yield {"file": str(path), "channel": channel, "text": "안녕 [b]"}

    monkeypatch.setitem(sys.modules, "asrkit.transcribe", SimpleNamespace(transcribe=transcribe))
    assert asrkit("transcribe", "a.wav") == (0, "안녕 [b]\n", "warning: slow\n")
    assert asrkit("transcribe", "a.wav", "b.wav")[1] == "a.wav: 안녕 [b]\nb.wav: 안녕 [b]\n"
    assert asrkit("transcribe", "a.wav", "--channels", "each")[1].startswith("a.wav channel 0: 안녕 [b]\n")
    lines = asrkit("transcribe", "a.wav", "b.wav", "--json")[1].splitlines()
    assert [json.loads(line)["file"] for line in lines] == ["a.wav", "b.wav"] and "안녕" in lines[0]


SLEEPER = """
import sys, time, types
def wait(*args, **kwargs):
    print("started", flush=True)
    try:
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
for verb in ("decode", "train"):
    sys.modules[f"asrkit.{verb}"] = types.SimpleNamespace(**{verb: wait})
sys.argv = ["asrkit", *sys.argv[1:]]
from asrkit.cli import main
main()
"""


@pytest.mark.parametrize(
    ("arguments", "sent", "code", "line"),
    [
        (["decode"], signal.SIGINT, 130, "asrkit: interrupted; run the same command again to go on\n"),
        (["decode"], signal.SIGTERM, 143, "asrkit: interrupted; run the same command again to go on\n"),
        (
            ["train", "librispeech"],
            signal.SIGTERM,
            143,
            "asrkit: interrupted; run the same command again with --resume to go on\n",
        ),
    ],
)
def test_interrupted(arguments: Sequence[str], sent: signal.Signals, code: int, line: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(0.05)
        process.send_signal(sent)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (code, "cleaned up\n", line)


@pytest.mark.parametrize("arguments", [["--help"], ["recipe", "librispeech"], ["recipe", "librispeech", "--json"]])
def test_a_closed_pipe_is_no_error(arguments: Sequence[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "asrkit", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""

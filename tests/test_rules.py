"""The rules of the house, as tests; those of recipes are in test_recipes.py, layers in pyproject.toml."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
MAX_LINES = 450
SOURCES = sorted(path for home in ("asrkit", "recipes", "lm") for path in (HOUSE / home).rglob("*.py"))
ALL_PYTHON = sorted([*SOURCES, *(HOUSE / "tests").rglob("*.py"), *(HOUSE / "benchmarks").rglob("*.py")])
TORCH_FREE = (
    "align",
    "audio",
    "causes",
    "cli",
    "corpus",
    "fetch_lm",
    "language_model",
    "ngram",
    "normalising",
    "recipe",
    "report",
    "search",
    "shards",
    "terminal",
    "text",
    "tokenizer",
)
MAY_PRINT = {"terminal.py"}
MAY_WRITE_STREAMS = {"terminal.py", "cli.py"}
RECIPES_MAY_IMPORT = {f"asrkit.{name}" for name in ("recipe", "settings", "utterance", "corpus", "text", "errors")}


def name_of(path: Path) -> str:
    return path.relative_to(HOUSE).as_posix()


each_source = pytest.mark.parametrize("path", SOURCES, ids=name_of)


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with its dotted name: `open`, `torch.load`, `path.read_text`; `?` stands for an expression."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts: list[str] = []
            target = node.func
            while isinstance(target, ast.Attribute):
                parts.append(target.attr)
                target = target.value
            parts.append(target.id if isinstance(target, ast.Name) else "?")
            yield ".".join(reversed(parts)), node


def keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}


def is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def imported_modules(tree: ast.AST) -> set[str]:
    """Absolute imports; a relative one begins with a dot."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def committed_files() -> list[Path]:
    command = ["git", "-C", str(HOUSE), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True) if shutil.which("git") else None
    if listed is None or listed.returncode:
        pytest.skip("not a git checkout")
    paths = [HOUSE / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_files_hold_one_concept() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in ALL_PYTHON}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


@each_source
def test_what_is_public_says_what_it_is(path: Path) -> None:
    tree = parse(path)
    assert ast.get_docstring(tree), "the module"
    public = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    named = [node for node in tree.body if isinstance(node, public) and not node.name.startswith("_")]
    assert [node.name for node in named if not ast.get_docstring(node)] == []


@each_source
def test_only_the_terminal_prints(path: Path) -> None:
    printed = [name for name, _ in calls(parse(path)) if name in ("print", "pprint.pprint")]
    written = [name for name, _ in calls(parse(path)) if re.match(r"sys\.(stdout|stderr)\.write", name)]
    assert not printed or path.name in MAY_PRINT
    assert not written or path.name in MAY_WRITE_STREAMS


@each_source
def test_only_the_command_line_exits(path: Path) -> None:
    leaving = [name for name, _ in calls(parse(path)) if name in ("sys.exit", "exit", "SystemExit")]
    assert not leaving or path.name == "cli.py"


@each_source
def test_files_from_elsewhere_run_no_code(path: Path) -> None:
    tree = parse(path)
    assert imported_modules(tree).isdisjoint({"pickle", "cPickle", "dill", "shelve", "marshal", "yaml", "joblib"})
    for name, call in calls(tree):
        assert name not in ("eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "os.system"), call.lineno
        if name in ("torch.load", "torch.hub.load"):
            assert is_true(keywords(call).get("weights_only")), f"torch.load in line {call.lineno}"
        assert not is_true(keywords(call).get("allow_pickle")), f"line {call.lineno}"
        assert not is_true(keywords(call).get("shell")), f"line {call.lineno}"
        if name.endswith((".extractall", ".extract")):
            assert "filter" in keywords(call), f"unpacking in line {call.lineno} is not filtered"


@each_source
def test_text_is_utf8(path: Path) -> None:
    """Every text file is opened with encoding="utf-8", whatever the machine's locale."""
    for name, call in calls(parse(path)):
        last = name.rpartition(".")[2]
        if last in ("read_text", "write_text") or (
            last == "open" and name != "tarfile.open" and opens_text(call, name)
        ):
            assert "encoding" in keywords(call), f"{name} in line {call.lineno} names no encoding"


def opens_text(call: ast.Call, name: str) -> bool:
    """Whether an open(path, mode) or path.open(mode) is in text mode; what is no file has another kind of argument."""
    values = [*call.args, keywords(call).get("mode")]
    words = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    mode = next((word for word in words if re.fullmatch(r"[rwaxbt+]{1,3}", word)), None)
    return "b" not in mode if mode else name == "open"


def test_asrkit_knows_no_recipe() -> None:
    for path in (HOUSE / "asrkit").rglob("*.py"):
        roots = {module.split(".")[0] for module in imported_modules(parse(path))}
        assert roots.isdisjoint({"recipes", "lm", "tests", "benchmarks"}), path.name


# Names of scripts (Latin, Arabic, Hangul ...) are not here: what works on characters may know those.
LANGUAGES = """
    afrikaans albanian amharic azerbaijani basque belarusian bosnian breton bulgarian burmese cantonese catalan chinese
    corsican croatian czech danish dutch english esperanto estonian farsi finnish french galician german guarani hausa
    hawaiian hindi hungarian icelandic igbo indonesian irish italian japanese kazakh korean kurdish kyrgyz latvian
    lithuanian macedonian malagasy malay maltese mandarin maori marathi nahuatl nepali norwegian pashto persian polish
    portuguese punjabi quechua romanian russian samoan serbian slovak slovene slovenian somali spanish swahili swedish
    tatar turkish turkmen ukrainian urdu uzbek vietnamese welsh wolof xhosa yiddish yoruba zulu"""
ISO_639 = """
    aa ab af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es
    et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki
    kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no
    nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te
    tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    afr alb amh ara arm aze baq bel ben bod bos bre bul bur cat ces chi cmn cym cze dan deu dut ell eng epo est eus fas
    fin fra fre gal geo ger gla gle glg gre grn guj hat hau haw heb hin hrv hun hye ibo ice ind isl ita jav jpn kan kat
    kaz khm kin kir kor kur lao lat lav lit ltz mac mal mao mar mkd mlg mlt mon mri msa mya nep nld nno nob nor ori pan
    per pol por pus que ron rum rus sin slk slo slv smo sna snd som spa sqi srp sun swa swe tam tat tel tgk tha tib tir
    ton tsn tuk tur uig ukr urd uzb vie wel wol xho yid yor yue zho zul"""
COUNTRIES = """
    ar at au be br ca ch cn cz de dk eg es fi fr gb gr hk ie il in ir it jp kr mx nl no nz ph pl pt ru sa se th tr tw
    ua us vn za"""
# A column of manifests, a way to say false, what some letters become, and numpy's letters for numbers.
NO_LANGUAGE = {"id", "no", "th", "ss", "fi"}


def languages_in(source: str) -> list[str]:
    """Names of recipes and languages anywhere in a Python source, voices such as en-us, and codes that are strings."""
    codes = sorted(set(ISO_639.split()) - NO_LANGUAGE)
    recipes = [path.parent.name for path in (HOUSE / "recipes").glob("*/recipe.py")]
    names = rf"(?<![a-z])(?:{'|'.join([*recipes, *LANGUAGES.split()])})(?![a-z])"
    voices = rf"(?<![\w-])(?:{'|'.join(codes)})[-_](?:{'|'.join(COUNTRIES.split())})(?![\w-])"
    named = re.findall(f"{names}|{voices}", source, re.IGNORECASE)
    words = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return named + [word for word in words if isinstance(word, str) and word in codes]


@pytest.mark.parametrize("path", sorted((HOUSE / "asrkit").rglob("*.py")), ids=name_of)
def test_asrkit_names_no_recipe_and_no_language(path: Path) -> None:
    """Neither in code nor in a comment, a help text or an error: what knows a language belongs into its recipe."""
    assert languages_in(path.read_text(encoding="utf-8")) == []


def test_a_language_is_found_wherever_it_stands() -> None:
    source = """
'''Such as my/english.jsonl and LibriSpeech.'''
voice = "en-us+f3"  # or pt_BR, said for Zulu
code = {"cy": 1}, "ukr"
free = "Latin, Hangul, Cyrillic", "in-line", "cysts", "my-data", re
"""
    assert sorted(languages_in(source)) == ["LibriSpeech", "Zulu", "cy", "en-us", "english", "pt_BR", "ukr"]


@pytest.mark.parametrize("path", sorted((HOUSE / "recipes").glob("*/*.py")), ids=name_of)
def test_recipes_know_little(path: Path) -> None:
    siblings = {f".{sibling.stem}" for sibling in path.parent.glob("*.py")}
    for module in imported_modules(parse(path)):
        standard = module.split(".")[0] in sys.stdlib_module_names
        assert standard or module in RECIPES_MAY_IMPORT | siblings, f"{name_of(path)} imports {module}"


def test_the_architecture_has_the_layers_that_are_enforced() -> None:
    contracts = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    enforced = [set(re.split(r"\s*[|:]\s*", line)) for line in contracts["contracts"][0]["layers"]]
    text = (HOUSE / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("| layer | files |") :].split("\n\n")[0].splitlines()[2:]
    told = [set(line.split("|")[2].replace("`", "").replace(" ", "").split(",")) for line in table]
    assert told == enforced
    named = set(re.findall(r"^- ([\w`, ]+?)(?:, a verb of its own|, a verb each| of .*)?: ", text, re.MULTILINE))
    explained = {name for line in named for name in line.replace("`", "").replace(" ", "").split(",")}
    assert set().union(*enforced) - explained == set()


def test_light_modules_import_no_torch() -> None:
    present = [name for name in TORCH_FREE if importlib.util.find_spec(f"asrkit.{name}")]
    assert present == list(TORCH_FREE)
    program = "import sys, importlib\nfor name in sys.argv[1:]: importlib.import_module(f'asrkit.{name}')\n"
    program += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program, *TORCH_FREE]).returncode == 0


def test_nothing_of_a_workplace_is_committed() -> None:
    """Paths of a machine and addresses of package registries; put together here, so that this file is clean too."""
    pieces = [("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/fa", "rm/"), ("/opt/wh", "eels"), ("/opt/py", "pi")]
    pieces += [("pythonhos", "ted"), ("py", "pi.org"), ("registry.npm", "js"), ("deb.deb", "ian.org"), ("/tm", "p/")]
    forbidden = re.compile("|".join(re.escape(first + second) for first, second in pieces))
    found = []
    for path in committed_files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        lines = [number for number, line in enumerate(text.splitlines(), 1) if forbidden.search(line)]
        found += [f"{name_of(path)}:{number}" for number in lines]
    assert found == []


def test_nothing_is_left_half_done() -> None:
    words = "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "raise NotImplemented" + "Error"])
    marks = [path for path in ALL_PYTHON if re.search(rf"\b({words})\b", path.read_text(encoding="utf-8"))]
    assert [name_of(path) for path in marks] == []
    bare = re.compile(r"#\s*type:\s*ignore(?!\[[a-z, -]+\]\s+#)")  # a silenced check names the check and the reason
    silenced = [path for path in SOURCES if bare.search(path.read_text(encoding="utf-8"))]
    assert [name_of(path) for path in silenced] == []


def test_committed_files_are_small() -> None:
    assert [name_of(path) for path in committed_files() if path.stat().st_size > 200_000] == []


def test_constraints_hold_names_and_versions_only() -> None:
    lines = (HOUSE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    pin = re.compile(r"[a-z0-9-]+==[0-9][\w.]*( ; [\w.<>=!' ()]+)?")
    assert [line for line in lines[1:] if not pin.fullmatch(line)] == []


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(need for extra in project["optional-dependencies"].values() for need in extra),
    ]
    pinned = {re.split("==", line)[0] for line in (HOUSE / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    names = {re.split(r"[<>=;\[ ]", need)[0].lower() for need in wanted}
    assert names - pinned == set()


@pytest.mark.slow
def test_the_wheel_holds_code_and_recipes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=HOUSE, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("asrkit-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith("asrkit-")}
    homes = ("recipes", "lm")
    carried = {f"asrkit/{name_of(path)}" for path in committed_files() if name_of(path).split("/")[0] in homes}
    code = {name_of(path) for path in committed_files() if path.is_relative_to(HOUSE / "asrkit")}
    files = ("recipe.py", "text.py", "cases.tsv", "README.md")
    assert {f"asrkit/recipes/librispeech/{name}" for name in files} <= held
    assert {"asrkit/recipes/DEFAULT", "asrkit/lm/README.md", "asrkit/lm/librispeech.py"} <= held
    assert held == carried | code

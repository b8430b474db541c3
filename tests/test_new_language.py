"""new_language.py and what it stands on: texts in many scripts become recipes that prepare takes as they are."""

import ast
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asrkit.advice import advise
from asrkit.cases import read_cases
from asrkit.characters import main_scripts, script, strangers
from asrkit.errors import AsrkitError
from asrkit.new_language import new_language
from asrkit.normaliser import quoted
from asrkit.prepare import prepare
from asrkit.progress import Silent
from asrkit.recipe import Recipe, load_recipe

TURKISH = [
    "İstanbul'da ılık bir İlkbahar günüydü.",
    "IŞIK söndü, kapı açıldı!",
    "AĞAÇLARIN gölgesinde çay içtik; kâğıt, kalem.",
    "Yarın saat 5'te gel.",
]
VIETNAMESE = ["Hôm nay trời đẹp quá.", "Tôi ĐANG học tiếng Việt.", "Mẹ nấu cơm ở nhà.", "Con mèo ngủ trên ghế."]
GEORGIAN = ["გამარჯობა, როგორ ხარ?", "ᲓᲔᲓᲐᲥᲐᲚᲐᲥᲘ თბილისია.", "წყალი ცივია"]
SWAHILI = ["Ng'ombe wanakula nyasi.", "Ng’ambo ya mto kuna nyumba!", "‘Karibu,’ alisema mama.", "Chai ni moto — sana"]
BULGARIAN = ["Днес е хубав ден.", "Mлякото е топло.", "Купих си radio вчера.", "Той чакà дълго и после си тръгна."]
KOREAN = [
    "안녕하세요, 반갑습니다.",
    "오늘은 날씨가 참 좋네요 ㅋㅋ",
    "물이 ＴＶ 차갑다",
    "아이들이 마당에서 놀고 있습니다",
]
HINDI = ["मेरा नाम सीता है।", "यह किताब अच्छी है।", "हम कल १२ बजे मिलेंगे।"]
ALL = {
    "turkish": TURKISH,
    "vietnamese": VIETNAMESE,
    "georgian": GEORGIAN,
    "swahili": SWAHILI,
    "bulgarian": BULGARIAN,
    "korean-speech": KOREAN,
    "hindi": HINDI,
}
Made = Callable[..., Recipe]


class Listener(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    warn = say

    def table(self, title: str, columns: object, rows: list[list[object]]) -> None:
        self.lines += [title, *(" | ".join(map(str, row)) for row in rows)]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def write_manifest(texts: list[str], *, splits: str | None = None, seconds: float | None = 3.0) -> Path:
    """clips.jsonl in the working folder; split letters: t train, d dev, e test."""
    names = {"t": "train", "d": "dev", "e": "test"}
    rows = [{"key": f"k{number}", "audio": "a.wav", "text": text} for number, text in enumerate(texts)]
    for row, letter in zip(rows, splits or "", strict=False):
        row["split"] = names[letter]
    if seconds is not None:
        rows = [row | {"duration_s": seconds} for row in rows]
    Path("clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Path("clips.jsonl")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """The recipe that new_language writes for these texts."""
    monkeypatch.chdir(tmp_path)

    def make(texts: list[str], name: str = "own", **options: object) -> Recipe:
        return load_recipe(new_language(name, manifest=write_manifest(texts), **options))  # type: ignore[arg-type]

    return make


def test_dotted_and_dotless_i_stay_apart(made: Made) -> None:
    normalize = made(TURKISH).normalize
    assert normalize(TURKISH[0]) == "istanbul'da ılık bir ilkbahar günüydü"
    assert normalize(TURKISH[1]) == "ışık söndü kapı açıldı"
    assert normalize(unicodedata.normalize("NFD", TURKISH[2])) == "ağaçların gölgesinde çay içtik kâğıt kalem"


def test_a_dotted_capital_in_a_foreign_name_changes_no_other_word(made: Made) -> None:
    normalize = made(["I saw İstanbul.", "It was ISI, I think."] + ["this is it"] * 30).normalize
    assert normalize("I saw İstanbul") == "i saw istanbul"


def test_tone_marks_stay(made: Made) -> None:
    recipe = made(VIETNAMESE)
    assert recipe.normalize(unicodedata.normalize("NFD", VIETNAMESE[1])) == "tôi đang học tiếng việt"
    assert {"ế", "ệ", "ờ", "đ"} <= set(recipe.alphabet)


def test_capitals_that_ordinary_text_has_not(made: Made) -> None:
    assert made(GEORGIAN).normalize(GEORGIAN[1]) == "დედაქალაქი თბილისია"


def test_apostrophes_inside_words_and_quotation_marks(made: Made) -> None:
    recipe = made(SWAHILI)
    assert [recipe.normalize(text) for text in SWAHILI] == [
        "ng'ombe wanakula nyasi",
        "ng'ambo ya mto kuna nyumba",
        "karibu alisema mama",
        "chai ni moto sana",
    ]
    assert "'" in recipe.alphabet


def test_without_apostrophes_in_words_they_are_punctuation(made: Made) -> None:
    recipe = made(["'alpha' beta", "gamma ’delta’"])
    assert recipe.normalize("'alpha' b’eta") == "alpha b eta"
    assert "'" not in recipe.alphabet


def test_look_alikes_are_mended_and_foreign_words_counted_out(made: Made) -> None:
    recipe = made(BULGARIAN)
    assert recipe.normalize(BULGARIAN[1]) == "млякото е топло"
    assert recipe.normalize(BULGARIAN[2]) == "купих си radio вчера"
    assert set("radio").isdisjoint(recipe.alphabet)
    readme = (recipe.folder / "README.md").read_text(encoding="utf-8")
    assert "| M | U+004D LATIN CAPITAL LETTER M | letter that looks like another | 1 | 1 | becomes" in readme
    assert "| r | U+0072 LATIN SMALL LETTER R | letter of another script | 1 | 1 | outside" in readme


def test_stress_marks_go_only_when_asked(made: Made) -> None:
    assert made(BULGARIAN).normalize("чака\u0300") == "чака\u0300"
    assert made(BULGARIAN, "asked", drop_stress=True).normalize("чака\u0300 й") == "чака й"


def test_hangul_is_all_its_syllables_and_no_lone_jamo(made: Made) -> None:
    recipe = made(KOREAN)
    assert recipe.alphabet[:3] == " 가각" and len(recipe.alphabet) == 11_173
    assert recipe.normalize(KOREAN[2]) == "물이 tv 차갑다"
    assert recipe.tokenizer.kind == "jamo"


def test_signs_of_a_script_belong_to_it_and_digits_do_not(made: Made) -> None:
    recipe = made(HINDI)
    assert recipe.normalize(HINDI[0]) == "मेरा नाम सीता है"
    assert {"ा", "ी", "है"[1]} <= set(recipe.alphabet)
    assert "१" not in recipe.alphabet and "१" in recipe.normalize(HINDI[2])


@pytest.mark.parametrize("name", ALL)
def test_the_folder_is_a_recipe_as_ours_are(made: Made, name: str) -> None:
    recipe = made(ALL[name] * 20, name)
    assert recipe.folder is not None and sorted(path.name for path in recipe.folder.iterdir() if path.is_file()) == [
        *("README.md", "cases.tsv", "recipe.py", "text.py"),
    ]
    assert recipe.name == name and recipe.language == "und" and recipe.description and recipe.licence
    body = ast.parse((recipe.folder / "recipe.py").read_text(encoding="utf-8")).body[1:]
    assert [type(node) for node in body if not isinstance(node, ast.ImportFrom)] == [ast.Assign]
    known = set(recipe.alphabet)
    assert len(known) == len(recipe.alphabet) and recipe.alphabet[0] == " "
    rows = read_cases(recipe.folder / "cases.tsv")
    assert {raw for raw, _ in rows} == set(ALL[name])
    assert all(recipe.normalize(raw) == text for raw, text in rows)
    own = "".join(recipe.alphabet[:40]) + "".join(ALL[name])

    @given(text=st.text() | st.text(own + own.upper() + " '’‘´`\"“”.,;:!?-—_&@%09\t\n\u0301\u0308\u00ad\u200bİıΣ"))
    def twice_is_once(text: str) -> None:
        once = recipe.normalize(text)
        assert recipe.normalize(once) == once == " ".join(once.split())

    twice_is_once()

    @given(text=st.text(sorted(set(own) & known | set('.,;:!?()"-—…\t\n'))))
    def stays_within(text: str) -> None:
        assert set(recipe.normalize(text)) <= known

    stays_within()


def test_oddities_of_files_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows line ends, a byte order mark, decomposed letters, capitals, and a path that is not beside the recipe."""
    monkeypatch.chdir(tmp_path)
    rows = ["audio,text,speaker,duration_s,split"]
    rows += [
        f"{n}.wav,{unicodedata.normalize('NFD', text.upper())},s{n},4,train" for n, text in enumerate(["mŵg", "tŷ"])
    ]
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "clips.csv").write_bytes(("\ufeff" + "\r\n".join(rows)).encode("utf-8"))
    folder = new_language("own", manifest="far/clips.csv", language="cy", recipes_dir="languages")
    recipe = load_recipe(folder)
    assert recipe.alphabet == " gmtŵŷ"
    assert recipe.language == "cy"
    assert recipe.manifest == "../../far/clips.csv" and recipe.own_manifest() == tmp_path / "far" / "clips.csv"
    assert "asrkit prepare languages/own" in (folder / "README.md").read_text(encoding="utf-8")


def test_every_doubtful_character_is_listed_with_what_becomes_of_it(made: Made) -> None:
    lines = ["plain words here"] * 8
    lines += [
        "room 7",
        "five € more",
        "a\u200bb zero",
        "col·legi nou",
        "nаme is mixed",
        "word привет",
        "ﬁrst",
        "ẑ once",
    ]
    lines += ["m\u0303 marked", "<noise> yes"]
    heard = Listener()
    recipe = made(lines, progress=heard)
    wanted = {
        "7 | U+0037 DIGIT SEVEN | digit | 1 | 1 | outside the alphabet: left out of train | room 7",
        "€ | U+20AC EURO SIGN | symbol | 1 | 1 | outside",
        "\\u200b | U+200B ZERO WIDTH SPACE | invisible | 1 | 1 | is dropped",
        "· | U+00B7 MIDDLE DOT | punctuation inside words | 1 | 1 | becomes a space",
        "а | U+0430 CYRILLIC SMALL LETTER A | letter that looks like another | 1 | 1 | outside",
        "п | U+043F CYRILLIC SMALL LETTER PE | letter of another script | 1 | 1 | outside",
        "ﬁ | U+FB01 LATIN SMALL LIGATURE FI | other form | 1 | 1 | becomes fi | ﬁrst",
        "ẑ | U+1E91 LATIN SMALL LETTER Z WITH CIRCUMFLEX | rare | 1 | 1 | in the alphabet | ẑ once",
        "\\u0303 | U+0303 COMBINING TILDE | accent on its own | 1 | 1 | in the alphabet",
        "< | U+003C LESS-THAN SIGN | symbol | 1 | 1 | outside",
    }
    assert {line for line in wanted if line not in heard.text} == set()
    assert " p | " not in heard.text, "a letter that is met often enough"
    assert "5 of 18 utterances of train hold characters outside the alphabet: left out" in heard.text
    assert recipe.filters.max_dropped == 0.3  # 5 of the 17 that remain beside a dev split
    assert "no test split" in heard.text and "asrkit prepare own" in heard.text
    readme = (recipe.folder / "README.md").read_text(encoding="utf-8")
    assert "| < | U+003C LESS-THAN SIGN |" not in readme and "| \\< | U+003C LESS-THAN SIGN |" in readme
    raws = {raw for raw, _ in read_cases(recipe.folder / "cases.tsv")}
    assert set(lines) == raws


def test_what_is_met_only_outside_train_is_no_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    heard = Listener()
    folder = new_language("own", manifest=write_manifest(["ab"] * 6 + ["aż"], splits="tttttte"), progress=heard)
    assert load_recipe(folder).alphabet == " ab"
    assert "ż | U+017C LATIN SMALL LETTER Z WITH DOT ABOVE | only in dev or test | 1 | 0 |" in heard.text


def test_prepare_takes_the_recipe_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No --manifest, durations measured, a fifth of the texts with digits."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", 0.1 * np.ones(12_000, np.float32), 8_000)
    manifest = write_manifest([f"bore da {'5' * (n % 5 == 0)} {'abc'[n % 3]}" for n in range(30)], seconds=None)
    new_language("own", manifest=manifest)
    meta = prepare(load_recipe("own"), workers=1)
    assert Path("data/own/prepare.json").exists()
    assert meta["counts"]["train"]["left_out"]["characters outside the alphabet"] == 6
    assert meta["source"]["manifest"] == str(tmp_path / "clips.jsonl")
    assert prepare(load_recipe("own"), text_only=True)["counts"] == meta["counts"]
    assert "| train | 0.01 | 30 | 0 |" in Path("recipes/own/README.md").read_text(encoding="utf-8")
    with pytest.raises(AsrkitError, match=r"recipe 'own' has no corpus\.py that reads a folder; give --manifest"):
        prepare(load_recipe("own"), name="again", corpus_dir=".")
    Path("clips.jsonl").unlink()
    with pytest.raises(AsrkitError, match=r"clips\.jsonl, named in the recipe, is not a file"):
        prepare(load_recipe("own"), name="again")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My Language", r"'My Language' cannot name a recipe; .*; did you mean 'my-language'\?"),
        ("../up", r"did you mean 'up'\?"),
        ("日本", r"cannot name a recipe; wanted up to 40 of a to z, 0 to 9, - and _$"),
        ("", "cannot name a recipe"),
        ("librispeech", r"there is a recipe 'librispeech' already, in .*; choose another name"),
    ],
)
def test_a_name_that_cannot_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AsrkitError, match=message):
        new_language(name, manifest=write_manifest(["ab"]))
    assert not Path("recipes").exists()


def test_nothing_is_overwritten_and_nothing_half_written(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = made(["ab"])
    before = (recipe.folder / "text.py").read_bytes()
    with pytest.raises(AsrkitError, match="is there already; choose another name"):
        made(["cd"])
    assert (recipe.folder / "text.py").read_bytes() == before

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("os.rename", full)
    with pytest.raises(AsrkitError, match="no room left"):
        made(["cd"], "other")
    assert [path.name for path in Path("recipes").iterdir()] == ["own"]


@pytest.mark.parametrize(
    ("texts", "splits", "message"),
    [
        (["12", "?"], None, "no text of train has a letter"),
        (["ab"], "e", "no utterances of split train"),
        (["a\ud800b"], None, "'k0' is not valid Unicode"),
    ],
)
def test_data_that_cannot_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str], splits: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AsrkitError, match=message):
        new_language("own", manifest=write_manifest(texts, splits=splits))
    with pytest.raises(AsrkitError, match=r"no recording of train can be read; the first: .*a\.wav"):
        new_language("own", manifest=write_manifest(["ab"], seconds=None))
    with pytest.raises(AsrkitError, match=r"--language 'Klingon!' is no language tag"):
        new_language("own", manifest=write_manifest(["ab"]), language="Klingon!")
    with pytest.raises(AsrkitError, match=r"--manifest no\.csv is not a file"):
        new_language("own", manifest="no.csv")


def test_scripts() -> None:
    assert [script(char) for char in "aжガの漢한ा’5ʼ"] == [
        *("LATIN", "CYRILLIC", "KANA", "KANA", "CJK", "HANGUL", "DEVANAGARI", None, None, None)
    ]
    from asrkit.characters import count

    assert main_scripts(count(["жжжжжжжжжжжжжжжжжжжж" * 2 + "a"])) == {"CYRILLIC"}
    assert main_scripts(count(["a"])) == {"LATIN"}
    assert main_scripts(count(["5 ?"])) == frozenset()
    assert strangers("nаme") == "а" and strangers("name") == "" and strangers("мoлoко") == "oo"


def test_strings_are_written_so_that_no_editor_changes_them() -> None:
    written = quoted('a"\\\u0301\u200bक़ \U000e0020')
    assert written == '"a\\"\\\\\\u0301\\u200bक\\u093c \\U000e0020"'
    assert ast.literal_eval(written) == unicodedata.normalize("NFC", 'a"\\\u0301\u200bक़ \U000e0020')


def test_advice_goes_by_the_hours() -> None:
    small, large = advise(2.0, hangul=False), advise(50.0, hangul=True)
    assert (small.tokenizer, small.model, small.minutes) == ("characters", "deepspeech2-small", 48)  # 2 h x 40 / 100
    assert (large.tokenizer, large.model, large.minutes) == ("jamo", "deepspeech2", None)
    assert advise(0.1, hangul=False).minutes == 10

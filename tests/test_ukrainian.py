"""recipes/ukrainian: Common Voice and M-AILABS in their own layouts, text to the code point, the demo's sentences."""

import random
import shutil
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import Listener
from hypothesis import given
from hypothesis import strategies as st
from small_librispeech import archive_of, tone

from asrkit.errors import AsrkitError
from asrkit.prepare import prepare
from asrkit.recipe import load_recipe, load_sibling, with_overrides
from asrkit.sentences import draw_sentences
from asrkit.shards import open_data
from asrkit.utterance import Utterance

RECIPE = load_recipe(Path(__file__).parent.parent / "recipes" / "ukrainian")
DEMO = load_sibling(RECIPE, "demo")
LETTERS = "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя"
VOWELS = "аеєиіїоуюя"
LENIENT = with_overrides(RECIPE, ["filters.max_dropped=0.9"])

# The header of release 17 and that of release 3, shortened client_ids
NEW = (
    *("client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes", "age", "gender"),
    *("accents", "variant", "locale", "segment"),
)
OLD = ("client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent")
Row = dict[str, str]


def clip(speaker: str, number: int, sentence: str, **more: str) -> Row:
    return {
        "client_id": speaker,
        "path": f"common_voice_uk_{number}.mp3",
        "sentence": sentence,
        "locale": "uk",
        "up_votes": "2",
        "down_votes": "0",
    } | more


SPLITS = {
    "train": [
        clip("anna", 1, "«Сім’я» — це п'ять слів.", gender="female_feminine", age="twenties", accents="Полтавська"),
        clip("anna", 2, '"Ні, — сказав він', gender="female", sentence_id="ab12"),
        clip("ivan", 3, "Їжак їсть яблуко", gender="male_masculine", sentence_domain="general"),
        clip("ivan", 4, "Цього кліпу немає", gender="male"),
        clip("ivan", 5, "мы пришли"),
        clip("ivan", 6, "У кімнаті 12 тихо"),
        clip("ivan", 7, " "),
        clip("ivan", 3, "Їжак їсть яблуко"),
        clip("olha", 8, "Ґанок і ґудзик", gender="do_not_wish_to_say"),
    ],
    "dev": [clip("dmytro", 20, "Перше речення"), clip("dmytro", 21, "Друге речення")],
    "test": [clip("solomia", 30, "Третє речення"), clip("solomia", 31, "Було 7 речень")],
}
SPLITS["validated"] = [
    *(row for rows in SPLITS.values() for row in rows[:3]),
    clip("dmytro", 40, "Четверте речення"),
    clip("petro", 41, "ТРЕТЄ речення!"),
    clip("petro", 42, "П'яте речення"),
]


def write_release(home: Path, columns: Iterable[str] = NEW, missing: Iterable[int] = (4,)) -> Path:
    """The folder uk of a release; gives the folder above it."""
    (home / "uk" / "clips").mkdir(parents=True)
    for split, rows in SPLITS.items():
        lines = ["\t".join(columns), *("\t".join(row.get(name, "") for name in columns) for row in rows)]
        (home / "uk" / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for row in rows:
            path = home / "uk" / "clips" / row["path"]
            number = int(path.stem.rpartition("_")[2])
            if number not in missing and not path.exists():
                soundfile.write(path, tone(0.3, 200 + 10 * number), 16_000, format="MP3")
    return home


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("voice") / "mcv" / "cv-corpus-17.0-2024-03-15")


def read(root: Path, split: str) -> list[Utterance]:
    return list(RECIPE.read_corpus(root, split))


# Common Voice


def test_columns_are_taken_by_their_names(release: Path) -> None:
    found = read(release / "uk", "train")
    assert len(found) == 9
    assert found[0] == Utterance(
        key="common_voice_uk_1",
        audio=release / "uk/clips/common_voice_uk_1.mp3",
        text="«Сім’я» — це п'ять слів.",
        split="train",
        speaker="anna",
        gender="f",
        language="uk",
        extra={"up_votes": "2", "down_votes": "0", "age": "twenties", "accents": "Полтавська"},
    )
    assert found[1].text == '"Ні, — сказав він'  # a quotation mark opens nothing
    assert found[1].extra["sentence_id"] == "ab12" and found[2].extra["sentence_domain"] == "general"
    assert [one.gender for one in found] == ["f", "f", "m", "m", None, None, None, None, None]


@pytest.mark.parametrize("columns", [OLD, tuple(reversed(NEW)), ("sentence", "path", "client_id", "new_column")])
def test_other_releases_have_other_columns(tmp_path: Path, columns: tuple[str, ...]) -> None:
    root = write_release(tmp_path / "release", columns)
    found = read(root, "train")
    assert [(one.key, one.text, one.speaker) for one in found] == [
        (row["path"].removesuffix(".mp3"), row["sentence"], row["client_id"]) for row in SPLITS["train"]
    ]


def test_the_first_releases_leave_the_ending_of_clips_out(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("path\tclient_id\tsentence\n0abc\tx\tтак\n", encoding="utf-8")
    (found,) = read(tmp_path, "train")
    assert (found.key, found.audio) == ("0abc", tmp_path / "clips" / "0abc.mp3")


def test_a_release_is_found_in_the_folders_around_it(release: Path) -> None:
    for root in (release / "uk", release, release.parent, release.parent.parent):
        assert [one.key for one in read(root, "dev")] == ["common_voice_uk_20", "common_voice_uk_21"]


def test_what_is_no_release_is_refused(release: Path, tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match=r"holds no Ukrainian Common Voice; wanted clips/ and train\.tsv"):
        read(tmp_path, "train")
    with pytest.raises(AsrkitError, match=r"no table validate\.tsv; did you mean 'validated'\? \(found: dev, test, "):
        read(release, "validate")
    for name in ("cv-corpus-1", "cv-corpus-2"):
        (tmp_path / name / "uk").mkdir(parents=True)
        (tmp_path / name / "uk" / "train.tsv").touch()
    with pytest.raises(AsrkitError, match=r"holds 2 releases \(.*cv-corpus-1/uk, .*\); give one of them"):
        read(tmp_path, "train")
    with pytest.raises(AsrkitError, match=r"train\.tsv, line 1: no column 'client_id'"):
        read(tmp_path / "cv-corpus-1", "train")


def test_what_is_left_out_is_counted_by_reason(release: Path, tmp_path: Path) -> None:
    meta = prepare(LENIENT, data_dir=tmp_path, corpus_dir=release)
    train, test = meta["counts"]["train"], meta["counts"]["test"]
    assert {reason: count for reason, count in train["left_out"].items() if count} == {
        "unreadable": 1,
        "characters outside the alphabet": 2,
        "empty text": 1,
        "duplicate key": 1,
    }
    assert train["examples"]["unreadable"][0]["detail"].endswith("_uk_4.mp3 does not exist; wanted a sound file")
    assert train["characters_outside"] == {"1": 1, "2": 1, "ы": 1}
    assert (train["utterances"], train["speakers"], test["utterances"]) == (4, 3, 2)
    data = open_data(tmp_path, "ukrainian")
    index = data.index("train")
    assert [index.record(i)["text"] for i in range(2)] == ["сім'я це п'ять слів", "ні сказав він"]
    assert index.record(0)["gender"] == "f" and index.record(0)["age"] == "twenties"
    assert abs(len(index.audio(0)) - 0.3 * 16_000) < 1600 and np.abs(index.audio(0)).max() > 0.1
    assert data.index("test").record(1)["text"] == "було 7 речень"  # kept, and an error


def test_the_tarball_is_prepared_as_it_is(release: Path, tmp_path: Path) -> None:
    (tmp_path / "uk.tar.gz").write_bytes(archive_of(release))
    meta = prepare(LENIENT, data_dir=tmp_path / "data", corpus_dir=tmp_path / "uk.tar.gz")
    assert meta["counts"]["train"]["utterances"] == 4
    unpacked = tmp_path / "data/ukrainian/download/corpus" / release.name / "uk/clips"
    assert len(list(unpacked.iterdir())) == len(list((release / "uk/clips").iterdir()))


def test_validated_is_without_the_clips_speakers_and_sentences_of_dev_and_test(release: Path) -> None:
    found = read(release, "validated")
    assert [one.key.rpartition("_")[2] for one in found] == ["1", "2", "3", "42"]
    said = "4 clips of dev and test, 1 other clips of their speakers, 1 of their sentences"
    assert [one.notes for one in found] == [(), (), (), (f"last of validated; passed over before it: {said}",)]


def test_validated_can_take_the_place_of_train(release: Path, tmp_path: Path) -> None:
    listener = Listener()
    chosen = with_overrides(RECIPE, ["splits.train=validated"])
    meta = prepare(chosen, data_dir=tmp_path, corpus_dir=release, progress=listener)
    assert meta["splits"] == {"train": ["validated"], "dev": ["dev"], "test": ["test"]}
    assert {split: counts["utterances"] for split, counts in meta["counts"].items()} == {
        "validated": 4,
        "dev": 2,
        "test": 2,
    }
    assert any("passed over before it: 4 clips of dev and test" in said for said in listener.said)


# M-AILABS


def write_books(home: Path) -> None:
    texts = {
        "female/obruchov/kaidash": [("k_01", "Було 5 днів.", "Було п'ять днів."), ("k_02", "Сім’я", "Сім'я")],
        "male/loboda/chorna_rada": [("c_01", 'Каже: "так"|', ""), ("c_02", "Так", "Так")],
        "mix/kobzar": [("z_01", "Реве та стогне", "Реве та стогне")],
    }
    for book, lines in texts.items():
        (home / "by_book" / book / "wavs").mkdir(parents=True)
        table = "".join(f"{name}|{printed}|{cleaned}\n" for name, printed, cleaned in lines)
        (home / "by_book" / book / "metadata.csv").write_text(table, encoding="utf-8")
        for name, _, _ in lines:
            if name != "z_01":
                soundfile.write(home / "by_book" / book / "wavs" / f"{name}.wav", tone(0.3), 16_000)


@pytest.mark.parametrize("home", ["uk_UK", "uk_UA", ""])
def test_audiobooks(tmp_path: Path, home: str) -> None:
    write_books(tmp_path / home)
    books = with_overrides(RECIPE, ["corpus=m-ailabs"])
    found = list(books.read_corpus(tmp_path, "train"))
    assert [(one.key, one.text, one.speaker, one.gender) for one in found] == [
        ("obruchov-kaidash-k_01", "Було п'ять днів.", "obruchov", "f"),
        ("obruchov-kaidash-k_02", "Сім'я", "obruchov", "f"),
        ("loboda-chorna_rada-c_01", 'Каже: "так"', "loboda", "m"),
        ("loboda-chorna_rada-c_02", "Так", "loboda", "m"),
        ("kobzar-z_01", "Реве та стогне", None, None),
    ]
    assert found[0].extra == {"book": "kaidash", "text_printed": "Було 5 днів."}
    books = with_overrides(books, ["filters.max_dropped=0.5"])
    meta = prepare(books, data_dir=tmp_path / "data", corpus_dir=tmp_path)
    counts = meta["counts"]["train"]
    assert (meta["source"]["corpus"], counts["left_out"]["unreadable"]) == ("m-ailabs", 1)
    assert counts["utterances"] + meta["counts"]["dev"]["utterances"] == 4  # 5 % of train, one at least, become dev


def test_what_are_no_audiobooks_is_refused(tmp_path: Path) -> None:
    read_books = with_overrides(RECIPE, ["corpus=m-ailabs"]).read_corpus
    with pytest.raises(AsrkitError, match="holds no M-AILABS books; wanted by_book/"):
        list(read_books(tmp_path, "train"))
    with pytest.raises(AsrkitError, match="has no split 'test'; wanted train"):
        list(read_books(tmp_path, "test"))
    write_books(tmp_path)
    (tmp_path / "by_book/mix/kobzar/metadata.csv").write_text("z_01;Реве\n", encoding="utf-8")
    with pytest.raises(AsrkitError, match=r"metadata\.csv, line 1: no '\|'"):
        list(read_books(tmp_path, "train"))
    shutil.rmtree(tmp_path / "by_book")


# Text


def test_the_alphabet_is_33_letters_and_what_is_in_words() -> None:
    assert len(LETTERS) == 33
    assert sorted(RECIPE.alphabet) == sorted(LETTERS + " '-")


@pytest.mark.parametrize("apostrophe", "'’ʼ`´‘′＇‛ʹʻʽ‵")
@given(left=st.text(LETTERS, min_size=1), right=st.text(LETTERS, min_size=1))
def test_every_apostrophe_between_letters_becomes_one(apostrophe: str, left: str, right: str) -> None:
    for form in ("NFC", "NFD"):
        assert RECIPE.normalize(unicodedata.normalize(form, f"{left}{apostrophe}{right}")) == f"{left}'{right}"


MARKED = st.tuples(st.sampled_from(LETTERS + LETTERS.upper() + " '-"), st.sampled_from(["", "\u0301", "\u0300"]))


@given(st.lists(MARKED))
def test_stress_marks_on_vowels_vanish_and_nothing_else_does(letters: list[tuple[str, str]]) -> None:
    plain = "".join(letter for letter, _ in letters)
    marked = "".join(letter + mark if letter.lower() in VOWELS else letter for letter, mark in letters)
    for form in ("NFC", "NFD"):
        assert RECIPE.normalize(unicodedata.normalize(form, marked)) == RECIPE.normalize(plain)


@given(st.text(LETTERS + LETTERS.upper(), min_size=1))
def test_words_only_change_their_case(word: str) -> None:
    assert RECIPE.normalize(word) == word.lower()


PIECES = """
    5 12 21 100 1000 1991 2000 2-й 3-го 90-х 2,5 007 № $ € ₴ % § + рік року році роки років р. тис. млн грн грн. км
    тисяч мільйонів серпня січня до на у в від близько майже цих нових депутатів годину годин сесії Т. Я. О. м. ст.
    н. е. т. д. ім. та слово слова' 'й - – -5 ( ) . … ... , : " '' xата raта ХІІ XІ Xі İ ы ' ’ м'яч за́мок \u0301"""


@given(
    pieces=st.lists(st.sampled_from(PIECES.split()), max_size=8),
    spaces=st.lists(st.sampled_from(["", " ", " ", "\u00a0"])),
)
def test_normalising_twice_changes_nothing_whatever_stands_together(pieces: list[str], spaces: list[str]) -> None:
    spaces = (spaces + [" "] * 8)[:8]
    text = "".join(piece + space for piece, space in zip(pieces, spaces, strict=False))
    once = RECIPE.normalize(text)
    assert RECIPE.normalize(once) == once


def counted(number: int, one: str, few: str, many: str) -> str:
    """The form of the noun, by the rule of grammar books."""
    if number % 100 in (11, 12, 13, 14):
        return many
    return {1: one, 2: few, 3: few, 4: few}.get(number % 10, many)


def test_every_number_goes_with_the_right_form_of_its_noun_and_with_no_other() -> None:
    for number in range(0, 3000, 7):
        right = counted(number, "долар", "долари", "доларів")
        spelled = RECIPE.normalize(f"{number} {right}")
        assert spelled.endswith(f" {right}") and set(spelled) <= set(RECIPE.alphabet)
        for wrong in {"долар", "долари", "доларів", "доларам"} - {right}:
            assert RECIPE.normalize(f"{number} {wrong}") == f"{number} {wrong}"


def test_every_year_is_an_ordinal_in_each_case() -> None:
    for year in range(1000, 2100):
        ordinals = [RECIPE.normalize(f"{year} {noun}").split() for noun in ("рік", "року", "році", "роком")]
        assert {len(words) for words in ordinals} == {len(ordinals[0])}
        endings = ("ий ій", "ого ього", "ому ьому", "им ім")
        for words, ending in zip(ordinals, endings, strict=True):
            assert words[-2].endswith(tuple(ending.split())) and set("".join(words)) <= set(RECIPE.alphabet)


def test_words_of_the_letters_survive(shared: Path) -> None:
    """Every word of letters, apostrophes and inner hyphens alone, but for case and the apostrophe's code point."""
    text = (shared / "speech/text/uk_brown.txt").read_text(encoding="utf-8")
    inside = set(LETTERS + "'-")
    words = {}
    for word in text.split():
        raw = word.strip(".,;:!?()«»“”„\"'‘’…–—-[]*•")
        plain = raw.lower().replace("’", "'").replace("ʼ", "'")
        if set(plain) <= inside and all(plain.replace("'", "-").split("-")):
            words[raw] = plain
    assert len(words) > 80_000
    for raw in (" ".join(words), " ".join(words).upper()):
        assert RECIPE.normalize(raw).split() == list(words.values())


@pytest.mark.parametrize("name", ["uk_common_voice_10_test", "uk_tts_sentences"])
def test_sentences_that_were_read_aloud_come_within_the_alphabet(shared: Path, name: str) -> None:
    text = (shared / f"speech/text/{name}.txt").read_text(encoding="utf-8")
    lines = [RECIPE.normalize(line) for line in text.splitlines()]
    assert all(lines) and set("".join(lines)) <= set(RECIPE.alphabet)
    letters = [character for character in text.lower() if character in LETTERS]
    assert [character for character in "".join(lines) if character in LETTERS] == letters  # nothing was lost


# The demo


def test_the_demo_speaks_every_letter() -> None:
    sentences = draw_sentences(DEMO.GRAMMAR, random.Random(1), 3_000)
    assert set("".join(sentences)) == set(RECIPE.alphabet) - {"-"}
    words = {word for sentence in sentences for word in sentence.split()}
    assert {"п'ять", "м'яч", "об'їзді", "ґанку", "їжак", "є", "сіль"} <= words

"""Word lists and scores of small ARPA files, and what is said of files that are none."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import kenlm
import pytest

from asrkit import ngram
from asrkit.errors import AsrkitError
from asrkit.ngram import NGram, case_of, read_words
from asrkit.tokenizer import CharacterTokenizer

LOWER = CharacterTokenizer(" 'abcdefghijklmnopqrstuvwxyz")
UPPER = CharacterTokenizer(" 'ABCDEFGHIJKLMNOPQRSTUVWXYZ")
MIXED = CharacterTokenizer(" abcABC")
KOREAN = CharacterTokenizer(" 가나다")

UNIGRAMS = ("-1.5\t<unk>", "-99\t<s>\t-0.4", "-0.9\t</s>", "-0.6\tcat\t-0.2", "-0.8\tsat")


def arpa(
    unigrams: Sequence[str] = UNIGRAMS, bigrams: Sequence[str] = ("-0.3\t<s> cat",), count: int | None = None
) -> str:
    return "\n".join(
        [
            "\\data\\",
            f"ngram 1={len(unigrams) if count is None else count}",
            f"ngram 2={len(bigrams)}",
            "",
            "\\1-grams:",
            *unigrams,
            "",
            "\\2-grams:",
            *bigrams,
            "",
            "\\end\\",
            "",
        ]
    )


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.fixture
def lm(tmp_path: Path) -> Path:
    return write(tmp_path / "lm.arpa", arpa())


def test_words_of_two_and_three_columns(lm: Path) -> None:
    assert read_words(lm) == ["cat", "sat"]


def test_words_of_a_gzipped_arpa(tmp_path: Path) -> None:
    assert read_words(write(tmp_path / "lm.arpa.gz", gzip.compress(arpa().encode()))) == ["cat", "sat"]


def test_gzip_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    assert read_words(write(tmp_path / "lm.arpa", gzip.compress(arpa().encode()))) == ["cat", "sat"]


@pytest.mark.parametrize(
    "text",
    [
        arpa().replace("\n", "\r\n"),
        "# made by hand\n\n" + arpa(),
        arpa().replace("ngram 1=", "ngram  1 = "),
        arpa([line.replace("\t", " ") for line in UNIGRAMS]),
        arpa([line.replace("<unk>", "<UNK>") for line in UNIGRAMS]),
    ],
    ids=["crlf", "comment", "spaced head", "spaces", "UNK"],
)
def test_words_of_what_tools_write(tmp_path: Path, text: str) -> None:
    assert read_words(write(tmp_path / "lm.arpa", text)) == ["cat", "sat"]


def test_words_keep_characters_that_python_takes_for_white_space(tmp_path: Path) -> None:
    odd = ["-1\tno\u00a0break", "-1\tnext\u0085line", "-1\tideographic\u3000space", "-1\tйод"]
    words = read_words(write(tmp_path / "lm.arpa", arpa([*UNIGRAMS, *odd])))
    assert words[2:] == ["no\u00a0break", "next\u0085line", "ideographic\u3000space", "йод"]


def test_words_are_utf8_whatever_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    assert read_words(write(tmp_path / "lm.arpa", arpa([*UNIGRAMS, "-1\tкіт"])))[-1] == "кіт"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello\n", r"lm is not an ARPA file: line 1 is 'hello'; wanted '\\data\\'"),
        (b"", r"lm is not an ARPA file: it ends before its unigrams"),
        (b"\x00\x01\xff\xfe" * 40, r"lm is not an ARPA file: line 1 is"),
        (arpa().partition("\n\n")[0], r"lm is not an ARPA file: it ends before its unigrams"),
        ("\ufeff" + arpa(), r"lm starts with a byte order mark, which KenLM refuses; save it without"),
        (arpa(count=9), r"lm holds 5 unigrams where its head says 9; the file is damaged"),
        (arpa(count=2), r"lm holds 5 unigrams where its head says 2"),
        (arpa([*UNIGRAMS, "-1\tcafé"]).encode("latin-1"), r"lm line 11 is not UTF-8 .* 'café'\); convert it.*iconv"),
        (arpa([*UNIGRAMS, "word"]), r"lm line 11 is 'word'; wanted a log10, a word and perhaps a back-off"),
        (arpa([*UNIGRAMS, "x\tword"]), r"lm line 11 is 'x\\tword'; wanted a log10"),
        (arpa([*UNIGRAMS, "-1\ttwo words\t-1"]), r"lm line 11 .*; wanted a log10"),
        (arpa().replace("ngram 2=", "2-grams "), r"lm line 3 is '2-grams 1'; wanted 'ngram N=COUNT'"),
        (gzip.compress(arpa().encode(), mtime=0)[:60], r"lm is a damaged or truncated gzip file"),
        (gzip.compress(arpa().encode(), mtime=0)[:12] + b"\xff" * 30, r"lm is a damaged or truncated gzip file"),
        (b"BZh91AY&SY", r"lm is packed with bzip2; unpack it first"),
        (
            "\\data\\\nngram 1=1\n\n\\1-grams:\n-1\ta\n\n\\end\\\n",
            r"lm is a unigram model; KenLM wants at least bigrams",
        ),
    ],
)
def test_words_of_what_is_no_arpa(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(AsrkitError, match=message) as refused:
        read_words(write(tmp_path / "lm", content))
    assert "\n" not in str(refused.value)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match=r"none\.arpa cannot be read: No such file"):
        read_words(tmp_path / "none.arpa")
    with pytest.raises(
        AsrkitError, match=r"is a folder and no packed n-gram; wanted an \.arpa, an \.arpa\.gz or a packed one"
    ):
        NGram.open(tmp_path, LOWER)


def test_scores_are_those_of_the_file(lm: Path) -> None:
    opened = NGram.open(lm, LOWER, with_kenlm=True)
    assert (opened.order, opened.words, opened.spelled) == (2, {"cat", "sat"}, ("cat", "sat"))
    # P(cat | <s>), then back-off of cat and P(sat), then back-off of sat (none) and P(</s>)
    assert opened.text_score("cat sat") == pytest.approx(-0.3 + (-0.2 - 0.8) - 0.9, abs=1e-5)
    assert opened.text_score("dog") == pytest.approx((-0.4 - 1.5) - 0.9, abs=1e-5)
    automaton = NGram.open(lm, LOWER).automaton
    assert automaton is not None
    assert automaton.sentence_score(["cat", "sat"]) == pytest.approx(-0.3 + (-0.2 - 0.8) - 0.9, abs=1e-5)
    assert automaton.sentence_score(["dog"]) == pytest.approx((-0.4 - 1.5) - 0.9, abs=1e-5)


def test_oov_rate_counts_running_words(lm: Path) -> None:
    opened = NGram.open(lm, LOWER)
    assert opened.oov_rate(["cat dog cat", "sat", ""]) == 0.25
    assert opened.oov_rate([""]) is None


@pytest.mark.parametrize(("tokenizer", "words"), [(LOWER, {"cat", "sat"}), (UPPER, {"CAT", "SAT"})])
@pytest.mark.parametrize("file_case", [str.lower, str.upper])
def test_case_of_file_and_tokenizer_is_reconciled(tmp_path: Path, tokenizer, words, file_case) -> None:  # type: ignore[no-untyped-def]
    text = arpa().replace("cat", file_case("cat")).replace("sat", file_case("sat"))
    opened = NGram.open(write(tmp_path / "lm.arpa", text), tokenizer, with_kenlm=True)
    assert opened.words == words == NGram.open(tmp_path / "lm.arpa", tokenizer).words
    cat = next(word for word in words if word.lower() == "cat")
    assert opened.text_score(cat) == pytest.approx(-0.3 - 0.2 - 0.9, abs=1e-5)
    assert opened.oov_rate([f"{cat} {cat.swapcase()}"]) == 0.5


def test_mixed_case_is_refused_where_the_tokenizer_has_one_case(tmp_path: Path) -> None:
    path = write(tmp_path / "lm.arpa", arpa([*UNIGRAMS, "-1\tCat", "-1\tSAT"]))
    with pytest.raises(
        AsrkitError, match=r"words in upper and in lower case, and .* lower case; wanted an n-gram made from"
    ):
        NGram.open(path, LOWER)
    spoken = write(tmp_path / "cab.arpa", arpa([*UNIGRAMS, "-1\tCab", "-1\tcab"]))
    assert NGram.open(spoken, MIXED).spelled == ("Cab", "cab")


@pytest.mark.parametrize(
    ("words", "case"),
    [
        (["a", "b"], "lower"),
        (["A", "B'", "1"], "upper"),
        (["Ab"], "mixed"),
        (["a", "B"], "mixed"),
        (["가", "1"], "none"),
        (["a"] * 99 + ["Paris"], "lower"),
    ],
)
def test_case_of_words(words: list[str], case: str) -> None:
    assert case_of(words) == case


def test_ngram_of_another_script_is_refused(lm: Path) -> None:
    with pytest.raises(
        AsrkitError, match=r"can spell none of the 2 words of .*lm\.arpa \(such as 'cat', 'sat'\); .*'가'"
    ):
        NGram.open(lm, KOREAN)


def test_words_that_the_tokenizer_cannot_spell_are_counted(tmp_path: Path) -> None:
    opened = NGram.open(write(tmp_path / "lm.arpa", arpa([*UNIGRAMS, "-1\tcafé", "-1\tnaïve"])), LOWER)
    assert opened.spelled_share == 0.5
    assert opened.oov_rate(["café"]) == 0.0


@pytest.mark.parametrize(
    ("name", "content", "with_kenlm", "ours"),
    [
        ("cut.arpa", arpa().removesuffix("\\end\\\n").encode(), "End of file", r"ends after line 14; .* is cut short"),
        ("cut.arpa.gz", gzip.compress(arpa().encode(), mtime=0)[:-12], "", "is a damaged or truncated gzip file"),
        (
            "unknown.arpa",
            arpa(bigrams=["-0.3\t<s> dog"]).encode(),
            "Word dog was not seen in the unigrams",
            "line 13 is '-0.3.*<s> dog'; wanted words that are among the 1-grams",
        ),
    ],
)
def test_broken_higher_orders_are_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, with_kenlm: str, ours: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(AsrkitError, match=rf"^KenLM cannot read .*{name}: {with_kenlm}") as refused:
        NGram.open(path, LOWER, with_kenlm=True)
    assert "\n" not in str(refused.value)
    with pytest.raises(AsrkitError, match=rf"{name}.* {ours}") as refused:
        NGram.open(path, LOWER)
    assert "\n" not in str(refused.value)


def test_binary_wants_its_word_list(tmp_path: Path) -> None:
    binary = write(tmp_path / "lm.bin", ngram.KENLM_MAGIC + b" format version 5\n\0" + bytes(100))
    with pytest.raises(AsrkitError, match=r"^.*lm\.bin is a KenLM binary; wanted the \.arpa .*, or pyctcdecode$"):
        NGram.open(binary, LOWER)
    with pytest.raises(
        AsrkitError, match=r"lm\.bin is a KenLM binary, .* one a line into .*lm\.bin\.words, or give the \.arpa"
    ):
        NGram.open(binary, LOWER, with_kenlm=True)
    write(tmp_path / "lm.bin.words", "cat\nsat\n".encode("utf-16"))
    with pytest.raises(AsrkitError, match=r"lm\.bin\.words is not UTF-8"):
        NGram.open(binary, LOWER, with_kenlm=True)
    write(tmp_path / "lm.bin.words", "cat sat\n")
    with pytest.raises(AsrkitError, match=r"lm\.bin\.words is no word list"):
        NGram.open(binary, LOWER, with_kenlm=True)
    write(tmp_path / "lm.bin.words", "\ufeff<s>\r\ncat\r\nsat\r\n\r\n")
    with pytest.raises(
        AsrkitError, match=r"^KenLM cannot read .*lm\.bin: "
    ):  # the word list is taken; this binary is none
        NGram.open(binary, LOWER, with_kenlm=True)


def test_binary_with_its_word_list_is_read(tmp_path: Path, lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kenlm for Python writes no binaries, so the model that is loaded is the ARPA beside it."""
    binary = write(tmp_path / "lm.bin", ngram.KENLM_MAGIC + b" format version 5\n\0")
    write(tmp_path / "lm.bin.words", "<s>\n</s>\n<unk>\ncat\nsat\n")
    load = kenlm.Model
    monkeypatch.setattr(kenlm, "Model", lambda path, config: load(path.replace("lm.bin", "lm.arpa"), config))
    opened = NGram.open(binary, LOWER, with_kenlm=True)
    assert opened.words == {"cat", "sat"}
    assert opened.text_score("cat") == pytest.approx(-1.4, abs=1e-5)


def test_gzip_is_unpacked_where_kenlm_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = kenlm.Model

    def without_gzip(path: str, config: object) -> object:
        if Path(path).read_bytes().startswith(ngram.GZIP_MAGIC):
            raise OSError("Cannot read model (This looks like a gzip file but gzip support was not compiled in.)")
        return load(path, config)

    monkeypatch.setattr(kenlm, "Model", without_gzip)
    opened = NGram.open(write(tmp_path / "lm.arpa.gz", gzip.compress(arpa().encode())), LOWER, with_kenlm=True)
    assert opened.text_score("cat") == pytest.approx(-1.4, abs=1e-5)


@pytest.mark.shared
def test_reference_ngrams_are_read(shared: Path) -> None:
    path = shared / "reference" / "posteriors" / "english.o3.arpa.gz"
    opened = NGram.open(path, LOWER)
    assert len(opened.words) == 18_876 - 3
    assert len(opened.words) - len(opened.spelled) == 7
    ukrainian = shared / "reference" / "lm" / "uk_tts.o3.arpa.gz"
    assert all(word for word in read_words(ukrainian))
    with pytest.raises(AsrkitError, match="can spell none"):
        NGram.open(ukrainian, LOWER)

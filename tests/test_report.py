"""Error rates: by hand, and against jiwer."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.decoder import Decoder
from asrkit.error_rates import Counts, Step, align, count, error_rate
from asrkit.errors import AsrkitError
from asrkit.report import (
    TABLE_COLUMNS,
    Conditions,
    Result,
    bootstrap_ci95,
    evidence,
    remarks,
    report,
    table_row,
    write_report,
)


def result(reference: str, hypothesis: str, key: str = "u", **known: object) -> Result:
    return Result(key=key, reference=reference, hypothesis=hypothesis, duration_s=2.0, **known)  # type: ignore[arg-type]


GREEDY = Decoder(lambda _: [], "greedy", None).conditions()


def conditions(**changed: object) -> Conditions:
    values: dict[str, object] = dict(
        run="librispeech/one",
        checkpoint_step=7,
        data="english",
        data_fingerprint="0123456789abcdef",
        split="test",
        search=GREEDY,
        utterances_in_corpus=4,
        excluded={"unreadable": 1},
        acoustic_s=None,
        decode_s=0.5,
        decode_cpu_s=0.75,
    )
    return Conditions(**(values | changed))  # type: ignore[arg-type]


# "the cat sat" / "the bat sat on": 1 sub, 1 ins. "a b c" / "a c": 1 del. "hello" / "": 1 del.
THREE = [
    result("the cat sat", "the bat sat on", "u1", groups={"speaker": "ann"}),
    result("a b c", "a c", "u2", groups={"speaker": "bob"}),
    result("hello", "", "u3", groups={"speaker": "ann"}),
]


def test_totals_are_counted_over_the_corpus_not_averaged() -> None:
    made = report(conditions(), THREE)
    assert (made["words"], made["ins"], made["del"], made["sub"]) == (7, 1, 2, 1)
    assert made["wer"] == pytest.approx(4 / 7)
    # characters: c/b and " on" (3 ins); " b" or "b " (2 del); 5 del; of 11 + 5 + 5
    assert (made["chars"], made["char"]) == (21, {"ins": 3, "del": 7, "sub": 1})
    assert made["cer"] == pytest.approx(11 / 21)
    # without spaces: 1 sub + 2 ins; 1 del; 5 del; of 9 + 3 + 5
    assert made["cer_no_space"] == pytest.approx(9 / 17)


def test_report_has_the_fields_of_schema_1() -> None:
    made = report(conditions(), THREE)
    fields = (
        "schema run checkpoint_step data data_fingerprint split condition engine lm token_lm beam alpha beta "
        "unk_score closed_vocab token_alpha token_beta token_min_logp beam_prune_logp n_best hotwords "
        "hotword_score utterances utterances_in_corpus excluded audio_s acoustic_s decode_s decode_cpu_s rtfx "
        "words wer wer_ci95 ins del sub chars cer cer_no_space char wer_any_spacing jamo uncomposed oov_rate "
        "causes oracle_wer groups"
    )
    assert list(made) == fields.split()
    assert (made["schema"], made["lm"], made["acoustic_s"]) == (1, None, None)
    assert (made["utterances"], made["utterances_in_corpus"], made["excluded"]) == (3, 4, {"unreadable": 1})
    assert (made["audio_s"], made["decode_s"], made["decode_cpu_s"], made["rtfx"]) == (6.0, 0.5, 0.75, 12.0)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("", "", Counts(0, 0, 0, 0)),
        ("", "a b", Counts(0, 2, 0, 0)),
        ("a b", "", Counts(2, 0, 2, 0)),
        ("  a   b ", "a b", Counts(2, 0, 0, 0)),
        ("가 나", "가나", Counts(2, 0, 1, 1)),
    ],
)
def test_word_counts(reference: str, hypothesis: str, counts: Counts) -> None:
    assert result(reference, hypothesis).words == counts


def test_white_space_at_the_ends_is_no_character() -> None:
    assert result(" a  b ", "a b").chars == Counts(3, 0, 0, 0)
    assert result("a b", "ab").chars_no_space == Counts(2, 0, 0, 0)


def test_without_a_reference_word_there_is_no_rate() -> None:
    assert math.isnan(Counts(0, 2, 0, 0).rate)
    made = report(conditions(), [result("", "a")])
    assert (made["wer"], made["wer_ci95"], made["cer"], made["ins"]) == (None, None, None, 1)
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_alignment_shows_what_was_heard_for_what() -> None:
    assert align(["the", "cat", "sat"], ["the", "bat", "sat", "on"]) == [
        Step("the", "the"),
        Step("cat", "bat"),
        Step("sat", "sat"),
        Step(None, "on"),
    ]
    assert [step.kind for step in align(["a", "b"], ["b"])] == ["del", "equal"]


def test_error_rate_takes_words_or_characters() -> None:
    assert error_rate([(["a", "b"], ["a"]), (["c"], ["d"])]) == Counts(3, 0, 1, 1)
    assert error_rate([("ab c", "abc")]) == Counts(4, 0, 1, 0)


words = st.lists(st.sampled_from(["a", "b", "ab", "나", "'"]), max_size=8).map(" ".join)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(words.filter(bool), words), min_size=1, max_size=6))
def test_totals_equal_jiwers(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    by_word, by_char = jiwer.process_words(references, hypotheses), jiwer.process_characters(references, hypotheses)
    made = report(conditions(), [result(*pair) for pair in pairs])
    assert made["wer"] == pytest.approx(by_word.wer)
    assert made["cer"] == pytest.approx(by_char.cer)
    assert (made["ins"], made["del"], made["sub"]) == (by_word.insertions, by_word.deletions, by_word.substitutions)
    assert made["char"] == {"ins": by_char.insertions, "del": by_char.deletions, "sub": by_char.substitutions}


@given(words, words)
def test_alignment_holds_both_texts(reference: str, hypothesis: str) -> None:
    steps = align(reference.split(), hypothesis.split())
    assert [step.reference for step in steps if step.reference is not None] == reference.split()
    assert [step.hypothesis for step in steps if step.hypothesis is not None] == hypothesis.split()
    assert count(steps).units == len(reference.split())


def test_spaces_cost_nothing_where_any_spacing_will_do() -> None:
    # eojeol: 1 del and 1 sub, and 1 sub; in any spacing only 갔다/간다
    made = report(conditions(), [result("나는 집에 갔다", "나는집에 갔다"), result("집에 갔다", "집에 간다")])
    assert (made["wer"], made["wer_any_spacing"]) == (3 / 5, 1 / 5)


def test_jamo_are_counted_without_spaces() -> None:
    # ᄀ ᅡ ᄂ ᅡ; heard with ᆫ after the first ᅡ, then with ㄱ alone: another unit than ᄀ, and ᅡ is missing
    made = report(conditions(), [result("가 나", "간나"), result("가나", "ㄱ 나"), result("가나", "가 나")])
    assert made["jamo"] == {"units": 12, "rate": 3 / 12, "ins": 1, "del": 1, "sub": 1}
    assert made["uncomposed"] == 1


def test_without_hangul_in_the_references_there_are_no_jamo() -> None:
    made = report(conditions(), [result("a", "ㄱ")])
    assert (made["jamo"], made["uncomposed"]) == (None, None)


def test_totals_of_each_group() -> None:
    four = [*THREE, result("one two", "onetwo", "u4", groups={"gender": "f"})]
    assert report(conditions(), four)["groups"] == {
        "speaker": {
            "ann": {"utterances": 2, "words": 4, "wer": 3 / 4, "cer": 9 / 16, "cer_no_space": 8 / 14},
            "bob": {"utterances": 1, "words": 3, "wer": 1 / 3, "cer": 2 / 5, "cer_no_space": 1 / 3},
            "none given": {"utterances": 1, "words": 2, "wer": 1.0, "cer": 1 / 7, "cer_no_space": 0.0},
        },
        "gender": {
            "f": {"utterances": 1, "words": 2, "wer": 1.0, "cer": 1 / 7, "cer_no_space": 0.0},
            "none given": {"utterances": 3, "words": 7, "wer": 4 / 7, "cer": 11 / 21, "cer_no_space": 9 / 17},
        },
    }


@pytest.mark.parametrize(("speakers", "listed"), [(50, True), (51, False)])
def test_report_json_does_not_list_many_speakers(speakers: int, listed: bool) -> None:
    results = [result("a", "a", groups={"speaker": f"{n}"}) for n in range(speakers)]
    assert ("speaker" in report(conditions(), results)["groups"]) is listed
    assert len(evidence(results).groups["speaker"]) == speakers


def test_confidence_interval_is_the_same_each_time_and_holds_the_rate() -> None:
    counts = [Counts(10, 0, 0, errors) for errors in [1, 2, 3, 0, 4] * 20]
    low, high = bootstrap_ci95(counts) or (0, 0)
    assert bootstrap_ci95(counts) == [low, high]
    # 100 utterances of 10 words: rate 0.2, standard error sqrt(2 / 100) / 10 = 0.0141, so about 0.2 -+ 0.028
    assert low == pytest.approx(0.172, abs=0.004)
    assert high == pytest.approx(0.228, abs=0.004)


def test_confidence_interval_of_equal_utterances_is_a_point() -> None:
    assert bootstrap_ci95([Counts(4, 0, 1, 0)] * 9) == [0.25, 0.25]


EXPLAINED = [
    result("the cat", "the bat", "u1", cause="lm"),
    result("a b", "a", "u2", cause="acoustic"),
    result("c", "d", "u3", cause="acoustic"),
    result("e", "e", "u4"),
]


def test_causes_are_counted_where_all_are_known() -> None:
    assert report(conditions(), EXPLAINED)["causes"] == {"oov": 0, "search": 0, "lm": 1, "acoustic": 2}
    assert report(conditions(), [*EXPLAINED, *THREE])["causes"] is None
    assert report(conditions(), EXPLAINED[3:])["causes"] == {"oov": 0, "search": 0, "lm": 0, "acoustic": 0}


def n_best(reference: str, *texts: str) -> Result:
    return result(reference, texts[0], scores={"n_best": [{"text": text} for text in texts]})


def test_oracle_wer_takes_the_best_of_each_list() -> None:
    # 1 of 3 instead of 2; 1 of 2, the first; 0 of 1, the only hypothesis, which makes no list
    results = [n_best("a b c", "a x x", "a b x", "x x x"), n_best("a b", "a", "x b"), result("a", "a")]
    made = report(conditions(), results)
    assert (made["wer"], made["oracle_wer"]) == (3 / 6, 2 / 6)
    assert report(conditions(), THREE)["oracle_wer"] is None


def test_evidence_counts_errors_and_groups() -> None:
    found = evidence([*THREE, result("cat", "bat", "u4", groups={"speaker": "bob"})])
    assert found.substitutions == [(("cat", "bat"), 2)]
    assert found.deletions == [("b", 1), ("hello", 1)]
    assert found.insertions == [("on", 1)]
    assert found.characters[0] == (("c", "b"), 2)
    assert [(name, len(members)) for name, members in found.groups["speaker"]] == [("ann", 2), ("bob", 2)]
    assert [(name, len(members)) for name, members in found.groups["duration"]] == [("0 to 2 s", 4)]


def test_group_that_all_share_is_not_listed() -> None:
    assert list(evidence([result("a", "a", groups={"gender": "f"})]).groups) == ["duration"]


def test_files_of_a_report(tmp_path: Path) -> None:
    scored = result(
        "a b", "a c", "u1", groups={"speaker": "ann"}, scores={"logp": -1.5, "lm_score": None, "score": -1.5}
    )
    made = write_report(tmp_path / "decode" / "test-greedy", conditions(), [scored])
    folder = tmp_path / "decode" / "test-greedy"
    assert sorted(path.name for path in folder.iterdir()) == ["hypotheses.jsonl", "report.html", "report.json"]
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == made
    assert json.loads((folder / "hypotheses.jsonl").read_text(encoding="utf-8")) == {
        "key": "u1",
        "reference": "a b",
        "hypothesis": "a c",
        "errors": 1,
        "words": 2,
        "duration_s": 2.0,
        "speaker": "ann",
        "cause": None,
        "logp": -1.5,
        "lm_score": None,
        "score": -1.5,
    }


def test_report_json_goes_before_the_others_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted rewrite must not leave the old marker beside new hypotheses."""
    write_report(tmp_path, conditions(), THREE)

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asrkit.report.write_whole", full)
    with pytest.raises(AsrkitError, match=r"cannot be written: No space left"):
        write_report(tmp_path, conditions(), THREE[:1])
    assert not (tmp_path / "report.json").exists()


class Page(HTMLParser):
    """Collects what a page loads, its tags and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_self_contained_and_escaped(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script> & \"x'"
    results = [
        result(nasty, "<img src=x>", nasty, groups={"speaker": nasty}),
        result("a", "a", groups={"speaker": "b"}),
    ]
    searched = GREEDY | {"engine": "native", "lm": nasty, "beam": 5, "alpha": 0.5, "beta": 1.0}
    write_report(tmp_path, conditions(run=nasty, search=searched), results)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.loaded == []
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert re.search(r"url\(|@import|https?:", text) is None
    assert nasty in page.text


def test_page_says_how_it_was_searched(tmp_path: Path) -> None:
    chosen = {"engine": "native", "lm": "4gram.arpa", "beam": 7, "alpha": 0.75, "beta": 0.0, "closed_vocab": True}
    searched = GREEDY | chosen | {"n_best": 1, "hotwords": ["ada & eve", "bob"], "hotword_score": 2.5}
    write_report(tmp_path, conditions(search=searched), THREE)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    (how,) = re.findall("<p class=soft>(.*?)</p>", text)[:1]
    assert how == "native: lm 4gram.arpa, alpha 0.75, beta 0.0, beam 7, closed_vocab True"
    assert "ada &amp; eve" in text and "bob" in text
    write_report(tmp_path, conditions(search=searched | {"hotwords": [], "closed_vocab": False}), THREE)
    assert "closed_vocab True" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    write_report(tmp_path, conditions(), THREE)
    assert "<p class=soft>greedy</p>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_page_shows_totals_alignment_and_groups(tmp_path: Path) -> None:
    write_report(tmp_path, conditions(), THREE)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for shown in ("57.14 %", "1 ins, 2 del, 1 sub", "By speaker", "By duration", "1 left out"):
        assert shown in text
    assert "<span class='pair sub'><i>cat</i><i>bat</i></span>" in text
    assert "<span class='pair ins'><i></i><i>on</i></span>" in text
    assert "<span class='pair del'><i>hello</i><i></i></span>" in text


def test_page_shows_hangul_and_every_group(tmp_path: Path) -> None:
    results = [
        result("가나 다", "가나다", "u1", groups={"text_in_train": "true"}),
        result("가나", "ㄱ나", "u2", groups={"text_in_train": "false"}),
    ]
    write_report(tmp_path, conditions(), results)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    # 2 of 10 jamo, 1 of 3 words when 다 may stand anywhere, 1 lone letter
    for shown in ("Jamo error rate", "20.00 %", "in any spacing 33.33 %", "Uncomposed", "By text_in_train"):
        assert shown in text
    write_report(tmp_path, conditions(), [result("가", "가")])
    assert "Uncomposed" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_page_says_why_utterances_are_wrong_and_what_to_do(tmp_path: Path) -> None:
    write_report(tmp_path, conditions(), [*EXPLAINED, n_best("a b", "a b", "a")])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<tr><td>acoustic model</td><td class=n>2</td><td>" in text
    assert "Tune alpha and beta" in text
    assert "<b>1 error in 2 words</b> · because of: n-gram · u1" in text
    assert "Oracle WER" in text
    write_report(tmp_path, conditions(), THREE)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Why utterances are wrong" not in text
    assert "Oracle WER" not in text


def test_page_of_a_perfect_result_and_of_none(tmp_path: Path) -> None:
    for results in ([result("a", "a")], []):
        write_report(tmp_path, conditions(), results)
        assert "without a word error" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_table_row_fits_its_columns() -> None:
    row = table_row(report(conditions(oov_rate=0.25), THREE))
    assert len(row) == len(TABLE_COLUMNS)
    shown = dict(zip(TABLE_COLUMNS, row, strict=True))
    assert (shown["WER"], shown["OOV"], shown["ins del sub"]) == ("57.14 %", "25.00 %", "1 2 1")
    assert table_row(report(conditions(decode_s=0.0), [result("", "")]))[TABLE_COLUMNS.index("WER")] == "-"


def test_remarks_say_what_the_row_has_no_room_for() -> None:
    assert remarks(report(conditions(), THREE)) == []
    assert remarks(report(conditions(), EXPLAINED[3:])) == []
    assert remarks(report(conditions(), [*EXPLAINED, n_best("a b", "a b", "a")])) == [
        "test, greedy: 3 utterances are wrong because of: words out of reach 0, search 0, n-gram 1, acoustic model 2",
        "test, greedy: WER 37.50 %, were the best of each n-best list chosen",
    ]
    results = [
        result("가나 다", "가나다", "u1", groups={"text_in_train": "true"}),
        result("가나", "ㄱ나", "u2", groups={"text_in_train": "false"}),
    ]
    assert remarks(report(conditions(), results)) == [
        "test, greedy: jamo error rate 20.00 %, WER in any spacing 33.33 %",
        "test, greedy: letters of Hangul that could not be composed to syllables: 1",
        "test, greedy: text not in train: 1 utterances, WER 100.00 %, CER 50.00 %, no spaces 50.00 %",
        "test, greedy: text in train, too: 1 utterances, WER 100.00 %, CER 25.00 %, no spaces 0.00 %",
    ]

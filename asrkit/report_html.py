"""A report and its evidence in, one self-contained HTML page out: no scripts, nothing loaded from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from asrkit.error_rates import Step, total

if TYPE_CHECKING:
    from asrkit.report import Evidence, Result

MOST_FREQUENT = 20  # rows of each list of errors
WORST_UTTERANCES = 100
AS_RECORDED = "as recorded"
LARGEST_GROUPS = 100  # rows of a table such as that of the speakers
# causes.Cause -> in a few words, and what to do
CAUSES = {
    "oov": (
        "words out of reach",
        "Add words to the n-gram, from text that is like what is said; letters that no label spells want to be in the "
        "texts of train.",
    ),
    "search": (
        "search",
        "The search lost what would have won. Take a wider --beam; greedy decoding wants an n-gram (--lm).",
    ),
    "lm": (
        "n-gram",
        "By sound alone what was said would have won. Tune alpha and beta on dev, or build the n-gram from more text, "
        "or from text that is more like what is said.",
    ),
    "acoustic": (
        "acoustic model",
        "The model heard something else. Train it longer, or on more data that is like this.",
    ),
}

_STYLE = """
:root { --ink: #1c2330; --soft: #667085; --line: #e3e7ee; --paper: #ffffff; --page: #f5f6f9; --bar: #8aa4d6;
  --sub: #fff0c2; --sub-ink: #7a5200; --del: #ffdcdc; --del-ink: #a01d1d; --ins: #d9ecff; --ins-ink: #0d4f94; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #303848; --paper: #1b212c;
  --page: #131821; --bar: #4b69a8; --sub: #4a3a10; --sub-ink: #ffd978; --del: #4f2025; --del-ink: #ffabab;
  --ins: #173a5e; --ins-ink: #a8d4ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans",
  "Noto Sans KR", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 22px; margin: 0; } h2 { font-size: 16px; margin: 36px 0 10px; } h3 { font-size: 14px; margin: 0 0 6px; }
p { margin: 4px 0 12px; } .soft, th, dt { color: var(--soft); }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0; }
.tile, .card { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.tile { min-width: 132px; flex: 1; } .tile b { display: block; font-size: 25px; line-height: 1.25; }
.tile span { color: var(--soft); font-size: 13px; } td, .tile b { font-variant-numeric: tabular-nums; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(245px, 1fr)); gap: 12px; align-items: start; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 500; font-size: 13px; } th, td { padding: 2px 10px 2px 0; vertical-align: top; }
td.n, th.n { text-align: right; } tr + tr td { border-top: 1px solid var(--line); }
.scroll { max-height: 430px; overflow-y: auto; }
.bar { display: inline-block; height: 9px; border-radius: 3px; background: var(--bar); vertical-align: baseline; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 0; font-size: 14px; }
dd { margin: 0; overflow-wrap: anywhere; }
.utterance { margin-bottom: 10px; } .head { font-size: 13px; color: var(--soft); overflow-wrap: anywhere; }
.head b { color: var(--ink); }
.aligned { display: flex; flex-wrap: wrap; gap: 4px 5px; margin-top: 6px; }
.pair { display: inline-grid; grid-template-rows: auto auto; border-radius: 4px; padding: 0 4px; text-align: center; }
.pair i { font-style: normal; min-height: 1.5em; white-space: pre; } .pair i + i { min-width: 0.7em; }
.sub { background: var(--sub); color: var(--sub-ink); } .ins { background: var(--ins); color: var(--ins-ink); }
.del { background: var(--del); color: var(--del-ink); } .del i:first-child { text-decoration: line-through; }
.ins i:last-child { text-decoration: underline; } .legend .pair { font-size: 13px; padding: 1px 8px; }
"""


def percent(rate: float | None) -> str:
    """A fraction as people read it; "-" where there is none."""
    return "-" if rate is None else f"{100 * rate:.2f} %"


def page(report: Mapping[str, Any], results: Sequence["Result"], evidence: "Evidence") -> str:
    """The whole page of one report.json, its results and their evidence."""
    title = f"{report['run']} on {', '.join(filter(None, (report['split'], report['condition'])))}"
    how = report["engine"]
    if report.get("beam") is not None:
        chosen = ("lm", "alpha", "beta", "token_lm", "token_alpha", "token_beta", "beam", "closed_vocab")
        how += ": " + ", ".join(
            f"{name} {report[name]}" for name in chosen if f"{report[name]}" not in ("None", "False")
        )
    sections = [
        f"<h1>{escape(title)}</h1><p class=soft>{escape(how)}</p>",
        _tiles(report),
        "<h2>Most frequent errors</h2><div class=cards>",
        _errors("Taken for another word", ("said", "heard"), evidence.substitutions),
        _errors("Missed words", ("said",), [((word,), n) for word, n in evidence.deletions]),
        _errors("Words nobody said", ("heard",), [((word,), n) for word, n in evidence.insertions]),
        _errors("Characters", ("said", "heard"), [(_visible(pair), n) for pair, n in evidence.characters]),
        "</div>",
        _causes(report["causes"]),
        *(_group(name, members) for name, members in evidence.groups.items()),
        _worst(results),
        "<h2>Conditions</h2>" + _conditions(report),
    ]
    return _whole(title, sections)


def _whole(title: str, sections: Iterable[str]) -> str:
    return (
        "<!doctype html>\n<html><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def comparison(compared: Mapping[str, Any]) -> str:
    """The page of one conditions.json: a row for each condition that a split was heard in, and a link to its report."""
    title = f"{compared['run']}, step {compared['checkpoint_step']}, on {compared['split']}: conditions"
    widest = max((row["wer"] or 0.0 for row in compared["conditions"]), default=0.0) or 1.0
    body = "".join(
        f"<tr><td dir=auto><a href='{escape(quote(row['report']))}'>{escape(row['condition'] or AS_RECORDED)}</a></td>"
        f"<td class=n>{row['utterances']:,}</td><td class=n>{row['words']:,}</td><td class=n>{percent(row['wer'])}</td>"
        f"<td style='width:30%'><span class=bar style='width:{100 * (row['wer'] or 0.0) / widest:.1f}%'></span></td>"
        f"<td class=n>{interval(row['wer_ci95'])}</td><td class=n>{percent(row['cer'])}</td>"
        f"<td class=n>{percent(row['cer_no_space'])}</td></tr>"
        for row in compared["conditions"]
    )
    table = (
        "<div class=card><table><tr><th>heard<th class=n>utterances<th class=n>words<th class=n>WER<th>"
        f"<th class=n>95 %<th class=n>CER<th class=n>no spaces</tr>{body}</table></div>"
    )
    return _whole(title, [f"<h1>{escape(title)}</h1><p class=soft>{escape(compared['engine'])}</p>", table])


def interval(ends: Sequence[float] | None) -> str:
    """Two fractions as people read them; "-" where there are none."""
    return f"{100 * ends[0]:.2f} to {100 * ends[1]:.2f}" if ends else "-"


def _tiles(report: Mapping[str, Any]) -> str:
    spread = f"95 %: {interval(report['wer_ci95'])}" if report["wer_ci95"] else ""
    counts = f"{report['ins']:,} ins, {report['del']:,} del, {report['sub']:,} sub"
    errors = report["ins"] + report["del"] + report["sub"]
    respaced = f"in any spacing {percent(report['wer_any_spacing'])}"
    left_out = sum(report["excluded"].values())
    tiles = [
        ("Word error rate", percent(report["wer"]), "; ".join(filter(None, (spread, respaced)))),
        ("Character error rate", percent(report["cer"]), f"without spaces {percent(report['cer_no_space'])}"),
        ("Word errors", f"{errors:,} / {report['words']:,}", counts),
        *_hangul(report),
        ("Utterances", f"{report['utterances']:,}", f"{left_out:,} left out" if left_out else "none left out"),
        ("Speech", _duration(report["audio_s"]), f"{report['rtfx']:,.0f} x real time" if report["rtfx"] else ""),
    ]
    if report["oov_rate"] is not None:
        tiles.append(("Unknown to the n-gram", percent(report["oov_rate"]), "of the words said"))
    if report["oracle_wer"] is not None:
        tiles.append(("Oracle WER", percent(report["oracle_wer"]), "were the best of each n-best list chosen"))
    body = "".join(
        f"<div class=tile><span>{escape(name)}</span><b>{escape(value)}</b><span>{escape(note)}</span></div>"
        for name, value, note in tiles
    )
    return f"<div class=tiles>{body}</div>"


def _hangul(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    if report["jamo"] is None:
        return []
    jamo = report["jamo"]
    counts = f"{jamo['ins']:,} ins, {jamo['del']:,} del, {jamo['sub']:,} sub of {jamo['units']:,}"
    tiles = [("Jamo error rate", percent(jamo["rate"]), counts)]
    if report["uncomposed"]:
        tiles.append(("Uncomposed", f"{report['uncomposed']:,}", "letters of Hangul alone"))
    return tiles


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.2f} h"


def _errors(title: str, columns: Sequence[str], counted: Sequence[tuple[Sequence[str], int]]) -> str:
    """One list of errors, the most frequent ones."""
    if not counted:
        return f"<div class=card><h3>{escape(title)}</h3><p class=soft>none</p></div>"
    head = "".join(f"<th>{name}" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td dir=auto>{escape(unit)}</td>" for unit in units) + f"<td class=n>{n:,}</td></tr>"
        for units, n in counted[:MOST_FREQUENT]
    )
    more = len(counted) - MOST_FREQUENT
    note = f"<p class=soft>and {more:,} others</p>" if more > 0 else ""
    return f"<div class=card><h3>{escape(title)}</h3><table><tr>{head}<th class=n>times</tr>{body}</table>{note}</div>"


def _causes(counted: Mapping[str, int] | None) -> str:
    """Why utterances are wrong, and what to do; nothing where that is not known or none is."""
    if not counted or not any(counted.values()):
        return ""
    rows = "".join(
        f"<tr><td>{escape(why)}</td><td class=n>{counted[cause]:,}</td><td>{escape(what_to_do)}</td></tr>"
        for cause, (why, what_to_do) in CAUSES.items()
    )
    head = "<tr><th>because of<th class=n>utterances<th>what to do</tr>"
    return f"<h2>Why utterances are wrong</h2><div class=card><table>{head}{rows}</table></div>"


def _visible(pair: tuple[str, str]) -> tuple[str, str]:
    said, heard = ({" ": "space", "": "nothing"}.get(character, character) for character in pair)
    return said, heard


def _group(name: str, members: Sequence[tuple[str, Sequence["Result"]]]) -> str:
    """Error rates broken down; where there are many groups, those with the most errors."""
    rows: list[tuple[str, int, int, int, float, float, float]] = []
    for label, results in members:
        counts = [(result.words, result.chars, result.chars_no_space) for result in results]
        words, chars, no_space = (total(column) for column in zip(*counts, strict=True))
        wer, cer, cer_no_space = (each.errors / max(1, each.units) for each in (words, chars, no_space))
        rows.append((label, len(results), words.units, words.errors, wer, cer, cer_no_space))
    note = ""
    if len(rows) > LARGEST_GROUPS:
        note = f"<p class=soft>the {LARGEST_GROUPS} of {len(rows):,} with the most errors</p>"
        rows = sorted(rows, key=lambda row: (-row[3], row[0]))[:LARGEST_GROUPS]
    if name != "duration":
        rows.sort(key=lambda row: (-row[4], row[0]))
    widest = max(row[4] for row in rows) or 1.0
    body = "".join(
        f"<tr><td dir=auto>{escape(label)}</td><td class=n>{utterances:,}</td><td class=n>{words:,}</td>"
        f"<td class=n>{percent(wer)}</td>"
        f"<td style='width:40%'><span class=bar style='width:{100 * wer / widest:.1f}%'></span></td>"
        f"<td class=n>{percent(cer)}</td><td class=n>{percent(cer_no_space)}</td></tr>"
        for label, utterances, words, _, wer, cer, cer_no_space in rows
    )
    return (
        f"<h2>By {escape(name)}</h2>{note}<div class='card scroll'><table><tr><th>{escape(name)}<th class=n>utterances"
        f"<th class=n>words<th class=n>WER<th><th class=n>CER<th class=n>no spaces</tr>{body}</table></div>"
    )


def _worst(results: Sequence["Result"]) -> str:
    """The utterances with the most word errors, each with its alignment."""
    wrong = [result for result in results if result.words.errors]
    wrong.sort(key=lambda result: (-result.words.errors, result.words.units, result.key))
    legend = (
        "<p class='soft legend'>what was said above, what was heard below: "
        "<span class='pair sub'>another word</span> <span class='pair del'>missed</span> "
        "<span class='pair ins'>nobody said it</span></p>"
    )
    shown = "".join(_utterance(result) for result in wrong[:WORST_UTTERANCES])
    right = len(results) - len(wrong)
    summary = f"<p>{right:,} of {len(results):,} utterances are without a word error.</p>"
    which = f" ({WORST_UTTERANCES} of {len(wrong):,})" if len(wrong) > WORST_UTTERANCES else ""
    return f"<h2>Worst utterances{which}</h2>{summary}" + (legend + shown if wrong else "")


def _utterance(result: "Result") -> str:
    groups = "".join(f" · {escape(name)} {escape(value)}" for name, value in result.groups.items())
    errors = f"{result.words.errors} error{'s' if result.words.errors != 1 else ''} in {result.words.units} words"
    why = f" · because of: {escape(CAUSES[result.cause][0])}" if result.cause else ""
    return (
        f"<div class='card utterance'><div class=head><b>{errors}</b>{why} · {escape(result.key)} · "
        f"{result.duration_s:.1f} s{groups}</div><div class=aligned dir=auto>{_pairs(result.alignment)}</div></div>"
    )


def _pairs(alignment: Iterable[Step]) -> str:
    cells = ((step.kind, escape(step.reference or ""), escape(step.hypothesis or "")) for step in alignment)
    return "".join(f"<span class='pair {kind}'><i>{said}</i><i>{heard}</i></span>" for kind, said, heard in cells)


def _conditions(report: Mapping[str, Any]) -> str:
    rows = []
    for name, value in report.items():
        if name == "groups":
            continue  # they have their own tables
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {_number(each)}" for key, each in value.items()) or "none"
        elif isinstance(value, tuple | list):
            between = " to " if name.endswith("ci95") else ", "
            value = between.join(f"{each:.4f}" if isinstance(each, float) else str(each) for each in value) or "none"
        rows.append(f"<dt>{escape(name)}</dt><dd>{escape('-' if value is None else _number(value))}</dd>")
    return f"<div class=card><dl>{''.join(rows)}</dl></div>"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)

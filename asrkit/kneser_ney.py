"""Sentences of words in, an n-gram model as an ARPA file out: interpolated modified Kneser-Ney.

Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (TR-10-98, 1998), as KenLM's lmplz
computes it: Heafield et al., "Scalable Modified Kneser-Ney Language Model Estimation" (ACL 2013).
"""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb

from asrkit.atomic import replacing, storing_in
from asrkit.errors import AsrkitError
from asrkit.ngram_counts import BEGIN, BEGIN_ID, END, UNKNOWN, UNKNOWN_ID, columns, count_ngrams, open_database
from asrkit.progress import Progress, Silent

MAX_ORDER = 6
MEMORY_MB = 2000
MIN_MEMORY_MB = 300
OUTSIDE_MB = 150  # what Python, the word list and a chunk of text take beside the database
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # lmplz's, for adjusted counts of 1, 2, and 3 or more

NEVER = 1e-30  # a back-off of 0, where a discount is 0, has no logarithm

Discounts = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Which n-grams stay: those that occur more often than `thresholds[n - 1]`, all of whose words are in `words`.

    All take part in the counts; what is left out falls back to shorter n-grams. Thresholds that are not given are the
    last one's; `words` None means all.
    """

    thresholds: tuple[int, ...] = (0,)
    words: frozenset[str] | None = None

    def __post_init__(self) -> None:
        found = ",".join(map(str, self.thresholds))
        if not self.thresholds or self.thresholds[0] != 0:
            raise AsrkitError(f"prune is {found!r}; wanted one threshold for each order, 0 for words: 0,0,1,1")
        if any(longer < shorter for shorter, longer in pairwise(self.thresholds)):
            raise AsrkitError(
                f"prune is {found!r}; a longer n-gram cannot stay without the shorter ones in it: wanted rising thresholds"
            )
        if self.words is not None and not self.words:
            raise AsrkitError("the word list that the n-gram is limited to is empty")

    def threshold(self, n: int) -> int:
        return self.thresholds[min(n, len(self.thresholds)) - 1]


def build_arpa(
    sentences: Iterable[Sequence[str]],
    order: int,
    out_path: Path,
    *,
    pruning: Pruning = Pruning(),
    discount_fallback: bool = False,
    memory_mb: int = MEMORY_MB,
    progress: Progress = Silent(),
) -> list[int]:
    """Writes the n-gram model of the sentences and gives its number of n-grams of each length.

    Unknown words share what smoothing leaves to a uniform distribution. Needs about `memory_mb`; what is more goes to
    files beside `out_path` for the time being. The same sentences give the same bytes, in whatever order they come.

    Raises:
        AsrkitError: no sentences, a word that an ARPA cannot hold, a full disk, or a text too small or too artificial
            to estimate the discounts from (discount_fallback=True takes fixed ones then, as `lmplz --discount_fallback`).
    """
    if not 1 <= order <= MAX_ORDER:
        raise AsrkitError(f"the order of an n-gram model is {order}; wanted 1 to {MAX_ORDER}")
    if len(pruning.thresholds) > order:
        raise AsrkitError(f"{len(pruning.thresholds)} thresholds to prune {order} orders; wanted {order} at most")
    if memory_mb < MIN_MEMORY_MB:
        raise AsrkitError(f"memory is {memory_mb} MB; wanted {MIN_MEMORY_MB} MB or more")
    if not out_path.parent.is_dir():
        raise AsrkitError(f"{out_path} cannot be written: there is no folder {out_path.parent}")
    with storing_in(out_path.parent):
        folder = Path(tempfile.mkdtemp(prefix=f".{out_path.name}.", dir=out_path.parent))
        try:
            return _build(sentences, order, out_path, folder, pruning, discount_fallback, memory_mb, progress)
        except duckdb.Error as error:
            raise AsrkitError(f"the n-grams cannot be counted in {memory_mb} MB: {_first_line(error)}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _build(
    sentences: Iterable[Sequence[str]],
    order: int,
    out_path: Path,
    folder: Path,
    pruning: Pruning,
    discount_fallback: bool,
    memory_mb: int,
    progress: Progress,
) -> list[int]:
    with open_database(folder / "spilled", memory_mb - OUTSIDE_MB) as database:
        count_ngrams(database, sentences, order, progress)
        discounts = [_discounts(database, n, discount_fallback) for n in range(1, order + 1)]
        _mark_kept(database, order, pruning)
        counts: list[int] = []
        with progress.bar("estimating", order, "orders") as bar:
            for n in range(1, order + 1):
                _sum_contexts(database, n, discounts[n - 1])
                if n > 1:
                    _write_order(database, n - 1, order, folder)
                counts.append(_interpolate(database, n, discounts[n - 1]))
                bar.advance()
            _write_order(database, order, order, folder)
    with replacing(out_path) as out:
        out.write("\n".join(["\\data\\", *(f"ngram {n}={count}" for n, count in enumerate(counts, 1)), ""]).encode())
        for n in range(1, order + 1):
            out.write(f"\n\\{n}-grams:\n".encode())
            with (folder / f"{n}.tsv").open("rb") as lines:
                shutil.copyfileobj(lines, out, 1 << 20)
        out.write(b"\n\\end\\\n")
    return counts


def _discounts(database: duckdb.DuckDBPyConnection, n: int, fallback: bool) -> Discounts:
    """What is taken from an adjusted count of 1, of 2, and of 3 or more (Chen and Goodman, equation 26)."""
    query = f"SELECT adjusted, count(*) FROM ngrams_{n} WHERE adjusted <= 4 GROUP BY adjusted"
    seen = {1: 0, 2: 0, 3: 0, 4: 0, **dict(database.execute(query).fetchall())}
    missing = [count for count in (1, 2, 3) if not seen[count]]
    if not missing:
        share = seen[1] / (seen[1] + 2 * seen[2])
        one, two, three = (count - (count + 1) * share * seen[count + 1] / seen[count] for count in (1, 2, 3))
        if 0 <= one <= 1 and 0 <= two <= 2 and 0 <= three <= 3:
            return one, two, three
    if fallback:
        return FALLBACK_DISCOUNTS
    found = f"no {n}-gram has an adjusted count of {missing[0]}" if missing else f"{n}-gram discounts are out of range"
    raise AsrkitError(
        f"the text is too small or too artificial for Kneser-Ney discounts: {found}; "
        "take more text, or fixed discounts with discount_fallback=True"
    )


def _mark_kept(database: duckdb.DuckDBPyConnection, order: int, pruning: Pruning) -> None:
    """The views marked_1 ... marked_<order>: the n-grams, and whether they stay (`kept`)."""
    if pruning.words is not None:
        database.register("allowed", {"word": sorted(pruning.words | {BEGIN, END, UNKNOWN})})
        database.execute("CREATE TABLE allowed_ids AS SELECT id FROM words WHERE word IN (SELECT word FROM allowed)")
    for n in range(1, order + 1):
        kept = [f"occurrences > {pruning.threshold(n)}"]
        if pruning.words is not None:
            kept += [f"w{place} IN (SELECT id FROM allowed_ids)" for place in range(1, n + 1)]
        database.execute(f"CREATE VIEW marked_{n} AS SELECT *, {' AND '.join(kept)} AS kept FROM ngrams_{n}")


def _sum_contexts(database: duckdb.DuckDBPyConnection, n: int, discounts: Discounts) -> None:
    """contexts_<n>: w1 ... w<n-1>, their total, and back_off, the share that goes to shorter n-grams (section 3.3).

    All of what is pruned goes there, too.
    """
    by_count = [
        f"count(*) FILTER (kept AND adjusted {which}) * {discount!r}::DOUBLE"
        for which, discount in zip(("= 1", "= 2", ">= 3"), discounts, strict=True)
    ]
    taken = " + ".join([*by_count, "coalesce(sum(adjusted) FILTER (NOT kept), 0)::DOUBLE"])
    names = columns(n - 1)
    database.execute(f"""
        CREATE TABLE contexts_{n} AS
        SELECT {names + "," if names else ""} sum(adjusted)::DOUBLE AS total, ({taken}) / sum(adjusted)::DOUBLE AS back_off
        FROM marked_{n} {"GROUP BY " + names if names else ""}""")


def _interpolate(database: duckdb.DuckDBPyConnection, n: int, discounts: Discounts) -> int:
    """estimated_<n>: w1 ... wn and p(w | context) = (count - discount) / total + back_off(context) * p(w | shorter).

    Gives their number. What is not needed any more is dropped.
    """
    one, two, three = (f"{discount!r}::DOUBLE" for discount in discounts)
    seen = f"(adjusted - CASE adjusted WHEN 1 THEN {one} WHEN 2 THEN {two} ELSE {three} END) / total"
    if n == 1:
        # uniform over every word that stays, </s> and <unk>; <s> is never predicted, and lmplz writes log10 1
        uniform = "back_off / (SELECT count(*) + 1 FROM marked_1 WHERE kept)"
        database.execute(f"""
            CREATE TABLE estimated_1 AS
            SELECT w1, {seen} + {uniform} AS p FROM marked_1, contexts_1 WHERE kept
            UNION ALL SELECT {UNKNOWN_ID}, {uniform} FROM contexts_1
            UNION ALL SELECT {BEGIN_ID}, 1.0""")
    else:
        suffix = " AND ".join(f"long.w{place + 1} = short.w{place}" for place in range(1, n))
        database.execute(f"""
            CREATE TABLE estimated_{n} AS
            SELECT {columns(n, "long.")}, {seen} + back_off * short.p AS p
            FROM marked_{n} AS long JOIN contexts_{n} USING ({columns(n - 1)}) JOIN estimated_{n - 1} AS short ON {suffix}
            WHERE kept""")
        database.execute(f"DROP TABLE estimated_{n - 1}; DROP TABLE contexts_{n}")
    database.execute(f"DROP VIEW marked_{n}; DROP TABLE ngrams_{n}")
    count: int = database.execute(f"SELECT count(*) FROM estimated_{n}").fetchall()[0][0]
    return count


def _write_order(database: duckdb.DuckDBPyConnection, n: int, order: int, folder: Path) -> None:
    """The lines of one order, sorted by words, the marks before them."""
    words = " || ' ' || ".join(f"word_{place}.word" for place in range(1, n + 1))
    joins = " ".join(f"JOIN words AS word_{place} ON word_{place}.id = ngram.w{place}" for place in range(1, n + 1))
    sort = ", ".join(f"word_{place}.place" for place in range(1, n + 1))
    back_off, contexts = "", ""
    if n < order:
        back_off = ", log10(greatest(coalesce(back_off, 1), {NEVER}))::FLOAT"
        contexts = f"LEFT JOIN contexts_{n + 1} USING ({columns(n)})"
    database.execute(f"""
        COPY (SELECT log10(p)::FLOAT, {words}{back_off} FROM estimated_{n} AS ngram {joins} {contexts} ORDER BY {sort})
        TO '{_quoted(folder / f"{n}.tsv")}' (FORMAT csv, DELIMITER '\t', HEADER false, QUOTE '', ESCAPE '')""")


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]

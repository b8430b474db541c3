"""Sentences of words in; how often each n-gram occurs, and the adjusted counts of Kneser-Ney, in a database out.

The database (DuckDB) counts and joins within a given memory and spills to disk what is more. All counts are integers,
so that its threads change nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from asrkit.cores import usable_cores
from asrkit.errors import AsrkitError
from asrkit.progress import Progress

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
UNKNOWN_ID, BEGIN_ID, END_ID = range(3)
CHUNK_WORDS = 2_000_000  # counted at once; 80 bytes each on the way


class Vocabulary(dict[str, int]):
    """word -> id: the marks, then words in the order in which they are first met.

    Raises:
        AsrkitError: a word that an ARPA file cannot hold.
    """

    def __init__(self) -> None:
        super().__init__({UNKNOWN: UNKNOWN_ID, BEGIN: BEGIN_ID, END: END_ID})

    def __missing__(self, word: str) -> int:
        if word.split() != [word] or "\0" in word:
            raise AsrkitError(f"the text has {word!r} as a word, which an ARPA file cannot hold; remove it")
        self[word] = number = len(self)
        return number

    def numbers(self, sentence: Sequence[str]) -> list[int]:
        """<s>, the words, </s>."""
        found = [BEGIN_ID, *map(self.__getitem__, sentence), END_ID]
        if min(found[1:-1], default=len(self)) <= END_ID:
            mark = next(word for word in sentence if word in (UNKNOWN, BEGIN, END))
            raise AsrkitError(f"the text has {mark!r} as a word, which an ARPA file cannot hold; remove it")
        return found


def columns(count: int, table: str = "", *, first: int = 1) -> str:
    """w1, w2 ... of a table, for SQL."""
    return ", ".join(f"{table}w{place}" for place in range(first, first + count))


def open_database(folder: Path, memory_mb: int) -> duckdb.DuckDBPyConnection:
    """An empty database in memory that spills into the folder."""
    settings = {
        "memory_limit": f"{memory_mb}MB",
        "temp_directory": str(folder),
        "threads": str(usable_cores()),
        "preserve_insertion_order": "false",
    }
    return duckdb.connect(":memory:", config=settings)


def count_ngrams(
    database: duckdb.DuckDBPyConnection, sentences: Iterable[Sequence[str]], order: int, progress: Progress
) -> Vocabulary:
    """Fills the tables ngrams_1 ... ngrams_<order>: w1 ... wn (ids), occurrences, adjusted.

    `adjusted` is the number of occurrences at the highest order and of what begins with <s>, and else how many
    different words come before (Heafield et al. 2013, section 3.2). Also fills `words`: id, word, place (its place
    among the words in the order of code points, the marks first).

    Raises:
        AsrkitError: no sentence, or a word that an ARPA file cannot hold.
    """
    vocabulary = Vocabulary()
    names = columns(order)
    database.execute(f"CREATE TABLE counted ({names.replace(',', ' INTEGER,')} INTEGER, occurrences BIGINT)")
    with progress.bar("counting n-grams", None, "word") as bar:
        for numbers in _chunks(sentences, vocabulary):
            database.register("chunk", _windows(numbers, order))
            database.execute(f"INSERT INTO counted SELECT {names}, count(*) FROM chunk GROUP BY {names}")
            bar.advance(int((numbers > END_ID).sum()))
    if len(vocabulary) == END_ID + 1 and not database.execute("SELECT count(*) FROM counted").fetchall()[0][0]:
        raise AsrkitError("the text for the n-gram model is empty; wanted at least one sentence")
    _adjust(database, order)
    _store_words(database, vocabulary)
    return vocabulary


def _chunks(sentences: Iterable[Sequence[str]], vocabulary: Vocabulary) -> Iterator[NDArray[np.int32]]:
    numbers: list[int] = []
    for sentence in sentences:
        numbers += vocabulary.numbers(sentence)
        if len(numbers) >= CHUNK_WORDS:
            yield np.array(numbers, dtype=np.int32)
            numbers.clear()
    if numbers:
        yield np.array(numbers, dtype=np.int32)


def _windows(numbers: NDArray[np.int32], order: int) -> dict[str, NDArray[np.int32]]:
    """For each word and </s> the `order` words that end there; before a sentence's start there is <s> again and again.

    So the shorter n-grams at the start of a sentence are counted along with the long ones: they begin with two or
    more <s>.
    """
    here = np.arange(len(numbers))
    starts = numbers == BEGIN_ID
    start = np.maximum.accumulate(np.where(starts, here, 0))  # of the sentence
    here, start = here[~starts], start[~starts]
    return {f"w{place}": numbers[np.maximum(here - (order - place), start)] for place in range(1, order + 1)}


def _adjust(database: duckdb.DuckDBPyConnection, order: int) -> None:
    """From the longest to the shortest: every n-gram's counts from those that are one word longer at its front."""
    names = columns(order)
    database.execute(f"""
        CREATE TABLE padded_{order} AS
        SELECT {names}, sum(occurrences)::BIGINT AS occurrences, sum(occurrences)::BIGINT AS adjusted
        FROM counted GROUP BY {names}""")
    database.execute("DROP TABLE counted")
    for n in range(order, 0, -1):
        if n > 1:
            shorter = ", ".join(f"w{place} AS w{place - 1}" for place in range(2, n + 1))
            database.execute(f"""
                CREATE TABLE padded_{n - 1} AS
                SELECT {shorter}, sum(occurrences)::BIGINT AS occurrences,
                    (CASE WHEN w2 = {BEGIN_ID} THEN sum(occurrences) ELSE count(*) END)::BIGINT AS adjusted
                FROM padded_{n} GROUP BY {columns(n - 1, first=2)}""")
        inside = "w1" if n == 1 else "w2"  # <s> is never predicted, and alone it is only a context
        database.execute(f"CREATE TABLE ngrams_{n} AS SELECT * FROM padded_{n} WHERE {inside} <> {BEGIN_ID}")
        database.execute(f"DROP TABLE padded_{n}")


def _store_words(database: duckdb.DuckDBPyConnection, vocabulary: Vocabulary) -> None:
    words = list(vocabulary)
    places = np.empty(len(words), dtype=np.int32)
    ranked = sorted(range(len(words)), key=lambda number: (number > END_ID, words[number]))
    places[ranked] = np.arange(len(words), dtype=np.int32)
    ids = np.arange(len(words), dtype=np.int32)
    database.register("listed", {"id": ids, "word": np.array(words, dtype=object), "place": places})
    database.execute("CREATE TABLE words AS SELECT * FROM listed")

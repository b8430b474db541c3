"""An n-gram's file and a tokenizer in; the model for a search, its words in the tokenizer's case, out."""

import importlib
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from asrkit.automaton import Automaton
from asrkit.errors import AsrkitError
from asrkit.lexicon import Lexicon, build_alphabet, build_lexicon
from asrkit.packed import is_pack, open_automaton
from asrkit.progress import Progress, Silent
from asrkit.text_files import BOM, GZIP_MAGIC, OTHER_MAGICS, reading, starts_with
from asrkit.tokenizer import Tokenizer, written

KENLM_MAGIC = b"mmap lm http://kheafield.com/code"
MARKS = frozenset({"<s>", "</s>", "<unk>", "<UNK>"})  # entries of an ARPA that are no words
LARGE_MB = 50  # loading takes long enough to say so
ONE_CASE = 0.95  # share of the cased words that must agree before a word list counts as upper or lower case

Case = Literal["upper", "lower", "mixed", "none"]
_COUNT = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)\s*")


@dataclass(frozen=True, kw_only=True)
class NGram:
    """An n-gram of words, or of labels. Words come and go in the tokenizer's case, whatever the case of the file.

    Held by an automaton for our own search, or by KenLM for pyctcdecode, which asks for words one by one.
    """

    path: Path
    order: int
    of_labels: bool  # its words are the tokenizer's labels, the space written as "▁"
    words: frozenset[str]  # the file's words, without its sentence marks, in the tokenizer's case
    spelled: tuple[str, ...]  # those that the tokenizer can spell, as it spells them, sorted
    automaton: Automaton | None = field(repr=False)
    lexicon: Lexicon | None = field(repr=False)  # of an automaton of words
    _to_file: Callable[[str], str] = field(repr=False)
    _model: Any = field(repr=False)  # kenlm.Model

    @classmethod
    def open(
        cls,
        path: Path,
        tokenizer: Tokenizer,
        *,
        with_kenlm: bool = False,
        of_labels: bool | None = None,
        progress: Progress = Silent(),
    ) -> "NGram":
        """Loads an .arpa, an .arpa.gz or a packed folder; with KenLM an .arpa, an .arpa.gz, or a KenLM binary with its
        word list beside it (its name and `.words`). `of_labels` None: as its words look.

        Raises:
            AsrkitError: no n-gram, a broken one, a binary without its word list or without KenLM, one that mixes upper
                and lower case where the tokenizer has one of them, or one without a word that the tokenizer can spell.
        """
        if path.is_dir() and not is_pack(path):
            raise AsrkitError(f"{path} is a folder and no packed n-gram; wanted an .arpa, an .arpa.gz or a packed one")
        automaton = None
        if not with_kenlm:
            if is_kenlm_binary(path):
                raise AsrkitError(f"{path} is a KenLM binary; wanted the .arpa it was made from, or pyctcdecode")
            automaton = open_automaton(path, progress=progress)
            file_words = automaton.word_list()
        elif is_pack(path):
            raise AsrkitError(f"{path} is a packed n-gram, which KenLM cannot read; wanted the .arpa it was made from")
        else:
            file_words = _words_beside(path) if is_kenlm_binary(path) else read_words(path, progress=progress)
        numbers = {word: number for number, word in enumerate(file_words) if word not in MARKS}
        if of_labels is None:
            of_labels = looks_like_labels(numbers, tokenizer)
        to_file, from_file = (str, str) if of_labels else reconcile_case(path, numbers, tokenizer)
        words = {word: number for found, number in numbers.items() if to_file(word := from_file(found)) == found}
        labels = _written(tokenizer)
        spelled = {
            tokenizer.spell(word): number
            for word, number in words.items()
            if (word in labels if of_labels else tokenizer.spells(word))
        }
        if not spelled:
            raise AsrkitError(
                f"the tokenizer can spell none of the {len(numbers)} words of {path} (such as {_some(numbers)}); "
                f"its labels are {_some(tokenizer.labels[1:], 40)}; wanted an n-gram of its language and text rules"
            )
        lexicon = None
        if automaton and not of_labels:
            unigrams = np.ascontiguousarray(automaton.tables.unigrams["log10"])
            lexicon = build_lexicon(build_alphabet(tokenizer), list(spelled), list(spelled.values()), unigrams)
        model: Any = None if automaton else _load_model(path, progress)
        return cls(
            path=path,
            order=automaton.order if automaton else model.order,
            of_labels=of_labels,
            words=frozenset(words),
            spelled=tuple(sorted(spelled)),
            automaton=automaton,
            lexicon=lexicon,
            _to_file=to_file,
            _model=model,
        )

    @property
    def name(self) -> str:
        """Of the file, without what says its format."""
        return re.sub(r"(\.(arpa|gz|bin|binary|klm|mmap|lm))+$", "", self.path.name)

    @property
    def spelled_share(self) -> float:
        """Share of the n-gram's words that the tokenizer can spell; beam search can find no others."""
        return len(self.spelled) / len(self.words)

    def reaches(self, text: str) -> bool:
        """Whether it knows every word of the text; of labels it knows what the tokenizer spells."""
        return self.of_labels or all(word in self.words for word in text.split())

    def oov_rate(self, texts: Iterable[str]) -> float | None:
        """Share of the running words that the n-gram does not know; None where there is no word."""
        known = total = 0
        for text in texts:
            words = text.split()
            total += len(words)
            known += sum(word in self.words for word in words)
        return (total - known) / total if total else None

    # With KenLM

    def start(self) -> Any:
        """The state at the start of a sentence."""
        state = kenlm().State()
        self._model.BeginSentenceWrite(state)
        return state

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """log10 P(word | state) and the state after it; an unknown word gets the file's <unk>."""
        after = kenlm().State()
        return self._model.BaseScore(state, self._to_file(word), after), after

    def end_score(self, state: Any) -> float:
        """log10 P(end of sentence | state)."""
        score: float = self._model.BaseScore(state, "</s>", kenlm().State())
        return score

    def text_score(self, text: str) -> float:
        """log10 P of a whole sentence, its end included."""
        state, total = self.start(), 0.0
        for word in text.split():
            score, state = self.score(state, word)
            total += score
        return total + self.end_score(state)


def kenlm() -> Any:
    """The module, which only pyctcdecode and KenLM's own files need."""
    return importlib.import_module("kenlm")


def is_kenlm_binary(path: Path) -> bool:
    """Whether the file begins as KenLM's binary files do."""
    return not path.is_dir() and starts_with(path, KENLM_MAGIC)


def looks_like_labels(words: Collection[str], tokenizer: Tokenizer) -> bool:
    """Whether these are labels: all of them are, and some hold the word boundary, which no word holds and every model
    of labels knows."""
    boundary = written(tokenizer.word_boundary)
    return _written(tokenizer).issuperset(words) and any(boundary in word for word in words)


def _written(tokenizer: Tokenizer) -> set[str]:
    return set(map(written, tokenizer.labels[1:]))


def read_words(path: Path, *, progress: Progress = Silent()) -> list[str]:
    """The words of the unigrams of an .arpa or .arpa.gz, in its order, without <s>, </s> and <unk>.

    Lines are `log10 <tab> word [<tab> back-off]`; the words are read as UTF-8, whatever the machine's locale.

    Raises:
        AsrkitError: no such file, no ARPA, not UTF-8, or another number of unigrams than its head says.
    """
    for magic, name in OTHER_MAGICS.items():
        if starts_with(path, magic):
            raise AsrkitError(f"{path} is packed with {name}; unpack it first (.arpa and .arpa.gz are read)")
    with reading(path) as file, progress.bar(f"words of {path.name}", None, "word") as bar:
        lines = enumerate(file, start=1)
        counts = _read_counts(path, lines)
        words: list[str] = []
        for number, line in lines:
            line = line.strip(b" \t\r\n")
            if not line:
                continue
            if line.startswith(b"\\") and b"\t" not in line and b" " not in line:
                break
            words.append(_read_unigram(path, number, line))
            if len(words) % 10_000 == 0:
                bar.advance(10_000)
    if len(words) != counts[1]:
        raise AsrkitError(f"{path} holds {len(words)} unigrams where its head says {counts[1]}; the file is damaged")
    if max(counts) == 1:
        raise AsrkitError(f"{path} is a unigram model; KenLM wants at least bigrams")
    return [word for word in words if word not in MARKS]


def _read_counts(path: Path, lines: Iterator[tuple[int, bytes]]) -> dict[int, int]:
    r"""The head of an ARPA, from \data\ up to and with \1-grams:, as {order: number of n-grams}."""
    counts: dict[int, int] = {}
    in_head = False
    for number, line in lines:
        line = line.strip()
        if not line or (not in_head and line.startswith(b"#")):
            continue
        if not in_head:
            if line.removeprefix(BOM) == b"\\data\\" and line != b"\\data\\":
                raise AsrkitError(f"{path} starts with a byte order mark, which KenLM refuses; save it without (UTF-8)")
            if line != b"\\data\\":
                found = line[:40].decode("utf-8", "replace")
                raise AsrkitError(f"{path} is not an ARPA file: line {number} is {found!r}; wanted '\\data\\'")
            in_head = True
        elif match := _COUNT.fullmatch(line):
            counts[int(match[1])] = int(match[2])
        elif line == b"\\1-grams:" and 1 in counts:
            return counts
        else:
            found = line[:40].decode("utf-8", "replace")
            raise AsrkitError(f"{path} line {number} is {found!r}; wanted 'ngram N=COUNT' or '\\1-grams:'")
    raise AsrkitError(f"{path} is not an ARPA file: it ends before its unigrams")


def _read_unigram(path: Path, number: int, line: bytes) -> str:
    columns = line.replace(b"\t", b" ").split(b" ")  # never str.split(): a word may hold a no-break space
    columns = [column for column in columns if column]
    if len(columns) not in (2, 3) or not _is_number(columns[0]) or not all(map(_is_number, columns[2:])):
        found = line[:60].decode("utf-8", "replace")
        raise AsrkitError(f"{path} line {number} is {found!r}; wanted a log10, a word and perhaps a back-off")
    try:
        return columns[1].decode("utf-8")
    except UnicodeDecodeError as error:
        found = columns[1].decode("latin-1")
        raise AsrkitError(
            f"{path} line {number} is not UTF-8 (as Latin-1 the word would be {found!r}); convert it, for example "
            f"with: iconv -f LATIN1 -t UTF-8"
        ) from error


def _is_number(column: bytes) -> bool:
    try:
        float(column)
    except ValueError:
        return False
    return True


def _words_beside(path: Path) -> list[str]:
    """The word list of a KenLM binary, which does not hold one that can be read."""
    beside = path.with_name(path.name + ".words")
    if not beside.is_file():
        raise AsrkitError(
            f"{path} is a KenLM binary, from which its words cannot be read, and without them beam search glues words "
            f"together; put them one a line into {beside}, or give the .arpa or .arpa.gz that it was made from"
        )
    try:
        lines = beside.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise AsrkitError(f"{beside} is not UTF-8: {error}") from error
    words = dict.fromkeys(line.strip() for line in lines)  # each once, in their order
    found = [word for word in words if word and word not in MARKS]
    if not found or any(" " in word for word in found[:1000]):
        raise AsrkitError(f"{beside} is no word list; wanted the n-gram's words, one a line")
    return found


def reconcile_case(
    path: Path, words: Iterable[str], tokenizer: Tokenizer
) -> tuple[Callable[[str], str], Callable[[str], str]]:
    """How a word goes from the tokenizer's case to the file's, and back.

    Raises:
        AsrkitError: the tokenizer's letters have one case, and the words have both.
    """
    letters, found = case_of(tokenizer.labels[1:]), case_of(words)
    if found == letters or letters in ("mixed", "none") or found == "none":
        return str, str
    if found == "mixed":
        raise AsrkitError(
            f"{path} has words in upper and in lower case, and the tokenizer's letters are {letters} case; "
            f"wanted an n-gram made from {letters}-case text"
        )
    return (str.upper, str.lower) if found == "upper" else (str.lower, str.upper)


def case_of(words: Iterable[str]) -> Case:
    """The case of nearly all words that have letters with case; "mixed" where neither has 95 %."""
    upper = lower = cased = 0
    for word in words:
        has_upper, has_lower = word != word.lower(), word != word.upper()
        cased += has_upper or has_lower
        upper += has_upper and not has_lower
        lower += has_lower and not has_upper
    if not cased:
        return "none"
    if max(upper, lower) < ONE_CASE * cased:
        return "mixed"
    return "upper" if upper > lower else "lower"


def _load_model(path: Path, progress: Progress) -> Any:
    config = kenlm().Config()
    config.show_progress = False
    config.arpa_complain = kenlm().ARPALoadComplain.NONE
    size_mb = path.stat().st_size / 1e6
    if size_mb > LARGE_MB:
        progress.say(f"loading {path.name} ({size_mb:,.0f} MB)")
    try:
        return kenlm().Model(str(path), config)
    except OSError as error:
        if not (starts_with(path, GZIP_MAGIC) and "gzip" in str(error)):
            raise AsrkitError(f"KenLM cannot read {path}: {_reason(error)}") from error
    progress.say(f"unpacking {path.name}: this KenLM was built without gzip")
    with tempfile.TemporaryDirectory(prefix="asrkit-ngram-") as folder:
        unpacked = Path(folder) / "lm.arpa"
        with reading(path) as packed, unpacked.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
        try:
            return kenlm().Model(str(unpacked), config)
        except OSError as error:
            raise AsrkitError(f"KenLM cannot read {path}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    """What KenLM says, without the C++ around it."""
    text = " ".join(str(error).split())
    text = re.sub(r"^Cannot read model '.*?' \(", "", text).removesuffix(")")
    return re.sub(r"^\S+:\d+ in .*? threw \w+(?: because `.*?')?\. ", "", text)


def _some(items: Iterable[str], count: int = 5) -> str:
    """The first few, quoted."""
    listed = [item for item, _ in zip(items, range(count + 1), strict=False)]
    return ", ".join(map(repr, listed[:count])) + (" ..." if len(listed) > count else "")

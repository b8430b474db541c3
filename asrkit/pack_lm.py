"""VERB: an ARPA file in; a folder of arrays that is mapped into memory, and loads at once, out."""

from pathlib import Path

from asrkit.arpa import read_arpa
from asrkit.automaton import build_automaton
from asrkit.packed import write_pack
from asrkit.progress import Progress, Silent

SUFFIXES = (".gz", ".arpa")


def pack_lm(lm: str | Path, out: str | Path | None = None, *, progress: Progress = Silent()) -> Path:
    """Packs an .arpa or .arpa.gz, by default into a folder beside it with its name and `.lm`; gives the folder.

    Raises:
        AsrkitError: no ARPA file or a damaged one; or something else is where the folder should go.
    """
    source = Path(lm)
    name = source.name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    folder = Path(out) if out is not None else source.with_name(f"{name}.lm")
    automaton = build_automaton(read_arpa(source, progress=progress), source)
    write_pack(automaton, folder, source=source)
    if automaton.unreachable:
        progress.warn(f"{automaton.unreachable:,} n-grams follow contexts that the file does not have; left out")
    progress.say(f"{folder}: {sum(automaton.counts):,} n-grams")
    return folder

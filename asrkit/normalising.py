"""Lines of text in, what a recipe's rules make of them out, in their order, made by several processes."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from pathlib import Path

from asrkit.errors import AsrkitError
from asrkit.recipe import Recipe, load_recipe
from asrkit.workers import submit, worker_pool

CHUNK_CHARACTERS = 100_000  # normalised at once; a tenth of a second or so
CHUNKS_AT_HOME = 5  # are done before other processes have started; of a text no longer than that, all
_CHUNKS_AHEAD = 2  # for each process: so many chunks wait in memory


def normalised(lines: Iterable[str], recipe: Recipe, *, workers: int = 1) -> Generator[str, None, None]:
    """Each line by the recipe's rules: the same, in the same order, whatever the number of processes.

    Close the iterator (contextlib.closing) to end the processes before the text is at its end.

    Raises:
        AsrkitError: a worker process was killed; and what reading the lines raises.
    """
    chunks = _chunks(lines)
    here = chunks if workers == 1 or not _loads_again(recipe) else islice(chunks, CHUNKS_AT_HOME)
    for chunk in here:
        yield from map(recipe.normalize, chunk)
    first = next(chunks, None)
    if first is not None and recipe.folder:
        yield from _in_processes(chain([first], chunks), recipe.folder, workers)


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    chunk, characters = [], 0
    for line in lines:
        chunk.append(line)
        characters += len(line) + 1
        if characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _loads_again(recipe: Recipe) -> bool:
    """Whether another process gets the same rules from the recipe's folder; functions do not travel."""
    return recipe.folder is not None and load_recipe(recipe.folder).normalize is recipe.normalize


def _in_processes(chunks: Iterator[list[str]], folder: Path, workers: int) -> Iterator[str]:
    waiting: deque[Future[list[str]]] = deque()
    try:
        with worker_pool(workers, _start_worker, folder) as pool:
            while True:
                for chunk in islice(chunks, _CHUNKS_AHEAD * workers - len(waiting)):
                    waiting.append(submit(pool, _normalise_in_worker, chunk))
                if not waiting:
                    return
                yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise AsrkitError(
            "a worker process was killed, perhaps because memory ran out: start again, with fewer --workers"
        ) from error


_normalize: Callable[[str], str]  # in a worker process


def _start_worker(folder: Path) -> None:
    global _normalize
    _normalize = load_recipe(folder).normalize


def _normalise_in_worker(chunk: list[str]) -> list[str]:
    return list(map(_normalize, chunk))

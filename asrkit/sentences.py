"""A grammar of slots in, different sentences out: what demos say, and what their n-gram is made from.

A grammar names slots. Each holds its choices, separated by "|"; a choice may hold further {slots}, and one that stands
twice is likelier. Line breaks and indentation count as one space.
"""

import random
import re
from collections.abc import Callable, Mapping

from asrkit.errors import AsrkitError

START = "sentence"  # the slot that a sentence begins with
_SLOT = re.compile(r"\{(\w+)\}")
_PATIENCE = 100  # draws for each sentence before a grammar counts as exhausted


def draw_sentences(
    grammar: Mapping[str, str], rng: random.Random, count: int, finish: Callable[[str], str] = str
) -> list[str]:
    """`count` different sentences; the first ones do not depend on how many are asked for.

    `finish` makes a sentence of the filled slots where words change with their neighbours.

    Raises:
        AsrkitError: a slot that the grammar does not hold, or a grammar with fewer sentences.
    """
    choices = {slot: [" ".join(choice.split()) for choice in text.split("|")] for slot, text in grammar.items()}

    def expand(slot: str) -> str:
        if slot not in choices:
            raise AsrkitError(f"the grammar has no slot {slot!r} (there are: {', '.join(choices)})")
        return _SLOT.sub(lambda match: expand(match[1]), rng.choice(choices[slot]))

    found: dict[str, None] = {}
    for _ in range(count * _PATIENCE):
        if len(found) == count:
            break
        found[finish(expand(START))] = None
    if len(found) < count:
        raise AsrkitError(f"the grammar gave only {len(found):,} different sentences; wanted {count:,}: widen it")
    return list(found)

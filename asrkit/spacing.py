"""A reference and a hypothesis in, word errors out that do not depend on where the hypothesis has its spaces.

Where writers are free to join or part words, a space too many or too few is no error of recognition. The texts are
aligned by characters, without spaces, and each character of the hypothesis goes to the reference word where it stands.
"""

from itertools import accumulate

from rapidfuzz.distance import Levenshtein

from asrkit.error_rates import Counts


def words_any_spacing(reference: str, hypothesis: str) -> Counts:
    """Word errors of the hypothesis when it is spaced as the reference is.

    A word is right when exactly its characters stand there, deleted when none stands there, else substituted.
    Characters inserted between two words belong to one that is wrong anyway; where both are right, they are one
    insertion, however many they are.
    """
    words = reference.split()
    said, heard = "".join(words), "".join(hypothesis.split())
    word_at = [number for number, word in enumerate(words) for _ in word]
    boundaries = {0, *accumulate(map(len, words))}
    missing = [0] * len(words)  # characters of each word
    wrong: set[int] = set()
    inserted_at: list[int] = []  # boundaries
    for block in Levenshtein.opcodes(said, heard):
        start, end = block.src_start, block.src_end
        if block.tag == "insert" and start in boundaries:
            inserted_at.append(start)
        elif block.tag == "insert":
            wrong.add(word_at[start])
        elif block.tag != "equal":
            wrong.update(word_at[start:end])
        if block.tag == "delete":
            for word in word_at[start:end]:
                missing[word] += 1
    deletions = sum(gone == len(word) for gone, word in zip(missing, words, strict=True))
    insertions = sum(wrong.isdisjoint(word_at[max(start - 1, 0) : start + 1]) for start in inserted_at)
    return Counts(len(words), insertions, deletions, len(wrong) - deletions)

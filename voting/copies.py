"""Several fine-tuned copies of one task: which of them have a say."""

from collections.abc import Iterable

from voting.candidates import Pool

OUTGROWN = 3


def merged(copies: Iterable[Pool]) -> Pool:
    """One pool of the pools of a test input, one per copy, in order; they stay as they were.

    A copy that took less than 1 / OUTGROWN of the steps of the longest one of its weights and zoom is left out, unless
    it had settled: it was a quick first answer, and its views would only add noise to those of a copy that was given
    time. ValueError without any copy.
    """
    copies = list(copies)
    if not copies:
        raise ValueError("there is no pool to merge")
    longest: dict[tuple[str, int], int] = {}
    for pool in copies:
        longest[pool.weights, pool.zoom] = max(pool.steps, longest.get((pool.weights, pool.zoom), 0))
    standing = [pool for pool in copies if pool.settled or OUTGROWN * pool.steps >= longest[pool.weights, pool.zoom]]
    if len(standing) == 1:
        return standing[0]
    whole = Pool(standing[0].steps, standing[0].settled, standing[0].zoom, standing[0].weights)
    whole.copies = 0
    for pool in standing:
        whole.merge(pool)
    return whole

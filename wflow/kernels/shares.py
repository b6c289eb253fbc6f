"""Work on many rows shared out over threads, in pieces whose borders depend on the number of rows alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from numba import get_num_threads

SHARE = 16384  # rows at a time: a few arrays of them stay in the second-level cache, and a call costs 2 % of the work


Work = Callable[[int, int], None]


def share_out(prepare: Callable[[int], Work], count: int) -> None:
    """Call `work(low, high)` for shares that cover range(count), on as many threads as Numba may use.

    Each thread has a `work = prepare(rows)` of its own, made before its first share, with room for so many rows.

    `work` must touch its own rows only and spend its time in compiled code without the interpreter lock; then the
    result does not depend on the number of threads. Its exceptions come through. Fewer rows than two shares, or one
    thread, start no threads; else starting them costs about 0.1 ms.

    >>> seen = []
    >>> share_out(lambda rows: lambda low, high: seen.append((low, high, rows)), 3)
    >>> seen
    [(0, 3, 3)]
    """
    # Shares of at least SHARE rows each, but for a single one.
    pieces = max(1, count // SHARE)
    borders = [count * k // pieces for k in range(pieces + 1)]
    shares = list(pairwise(borders))
    largest, todo = max(high - low for low, high in shares), iter(shares)

    def worker(_: int) -> None:
        # Each thread takes the next share: next() on a list's iterator is one step under the interpreter lock.
        work = prepare(largest)
        for low, high in todo:
            work(low, high)

    threads = min(get_num_threads(), pieces)
    if threads == 1:
        worker(0)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(worker, range(threads)):
            pass

"""Work on many rows shared out over threads, in pieces whose borders depend on the number of rows alone; and small
work kept on one."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

from numba import get_num_threads, set_num_threads

from wflow.kernels.noise import BLOCK

SHARE = (
    32 * BLOCK
)  # rows at a time: a few arrays of them stay in the second-level cache, and a call costs 2 % of the work

WORTH = 1e5  # terms of a sum, a nanosecond or two each: to wake a thread takes 0.03 ms, and 20 where it has no core


@contextmanager
def threads_for(terms: float) -> Iterator[None]:
    """Let kernels of so many terms use all threads where they are worth it, else one.

    >>> with threads_for(8.0):
    ...     get_num_threads()
    1
    """
    before = get_num_threads()
    if terms >= WORTH or before == 1:
        yield
        return
    set_num_threads(1)
    try:
        yield
    finally:
        set_num_threads(before)


def share_out(work: Callable[[int, int], None], count: int) -> None:
    """Call `work(low, high)` for shares that cover range(count), on as many threads as Numba may use.

    `work` must touch its own rows only and spend its time in compiled code without the interpreter lock; then the
    result does not depend on the number of threads. Its exceptions come through. Shares begin at multiples of `BLOCK`.
    Fewer rows than two shares, or one thread, start no threads; else starting them costs about 0.1 ms.

    >>> seen = []
    >>> share_out(lambda low, high: seen.append((low, high)), 3)
    >>> seen
    [(0, 3)]
    """
    # Shares of at least SHARE rows each, but for a single one.
    pieces = max(1, count // SHARE)
    blocks = -(-count // BLOCK)
    borders = [min(count, blocks * k // pieces * BLOCK) for k in range(pieces + 1)]
    todo = iter(list(pairwise(borders)))

    def worker(_: int) -> None:
        # Each thread takes the next share: next() on a list's iterator is one step under the interpreter lock.
        for low, high in todo:
            work(low, high)

    threads = min(get_num_threads(), pieces)
    if threads == 1:
        worker(0)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(worker, range(threads)):
            pass

"""The grid kernels against the machine: nanoseconds and bytes per cell, and the share of its bandwidth they reach.

The bandwidth is that of a triad a = b + s c over arrays far beyond the cache, as written here, on one thread. Bytes
are those a kernel must move if nothing stays in a cache: one read of every input and one write of every output a
stage, or a sweep of stages. A kernel well above the bandwidth works from the cache; one far below is limited by its
arithmetic.
"""

import time
from collections.abc import Callable

import numpy as np
import typer
from numba import njit

from wflow.kernels import stabilised, stencil, wavefront
from wflow.linalg.multigrid import Operator, build, cycle


@njit
def triad(a, b, c):
    for i in range(a.size):
        a[i] = b[i] + 0.5 * c[i]


def best(work: Callable[[], object], repeats: int = 7) -> float:
    """The least wall time of a few calls, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def main(sizes: str = "128,256,512,1024") -> list[tuple[str, int, float, float]]:
    """Print kernel, cells, ns a cell and stage, GB/s."""
    a, b, c = (np.ones(1 << 24) for _ in range(3))
    triad_seconds = best(lambda: triad(a, b, c))
    print(f"triad: {24 * a.size / triad_seconds / 1e9:.1f} GB/s")
    rows = []
    for n in (int(s) for s in sizes.split(",")):
        for name, stages, arrays, work in cases(n):
            seconds = best(work)
            nanoseconds = 1e9 * seconds / (n * n * stages)
            rows.append((name, n, nanoseconds, 8 * arrays * n * n / seconds / 1e9))
            print(f"{name:>28}  {n:>5}²  {nanoseconds:6.2f} ns a cell and stage  {rows[-1][3]:6.1f} GB/s")
    return rows


def cases(n: int) -> list[tuple[str, int, int, Callable[[], object]]]:
    """Name, stages a call, arrays moved a call, and the call, on n² cells."""
    rng, flat, slabs = np.random.default_rng(0), (1, n, n), (n, 1, n)
    kx, ky, kz = np.zeros((2, n, n)), rng.random((1, n + 1, n)), rng.random((1, n, n + 1))
    ky[:, [0, -1]], kz[:, :, [0, -1]] = 0.0, 0.0
    prev, before, start, slope, inverse, out = (rng.random(flat) for _ in range(6))
    wrap, weights = (False, False, False), (1.0, 0.1, 0.01, 0.1)
    rows = np.tile(weights, (8, 1))
    framed = [np.zeros((n + 1, 2, n + 2)) for _ in range(4)]
    args = (*framed[:2], start.reshape(slabs), inverse.reshape(slabs))
    faces = (ky.reshape(n + 1, 1, n), np.zeros((n, 2, n)), kz.reshape(n, 1, n + 1), wrap, rows)
    hierarchy = build(Operator(np.ones(flat), kx, 100.0 * ky, 100.0 * kz, wrap))
    staged = (prev, kx, ky, kz, wrap, inverse, prev, before, start, slope, weights, out)
    return [
        ("stage, one at a time", 1, 8, lambda: stabilised.stage_serial(*staged)),
        ("sweep of 8 stages", 8, 8, lambda: wavefront.sweep_serial(*args, *faces, 1, *framed[2:])),
        ("sweep of 8, two threads", 8, 8, lambda: wavefront.sweep_parallel(*args, *faces, 2, *framed[2:])),
        ("rate (stencil)", 1, 5, lambda: stencil.apply(start, kx, ky, kz, wrap, prev, out)),
        ("multigrid cycle", 1, 20, lambda: cycle(hierarchy, prev, out)),
    ]  # fmt: skip


if __name__ == "__main__":
    typer.run(main)

"""Anderson's acceleration of a fixed-point iteration."""

import numpy as np

from wflow.arrays import Array

DEPTH = 5  # iterates that are mixed


class Mixing:
    """The mixing of the last few iterates of one fixed point, which makes the residual least in the mean square.

    `masses` weigh the entries of that mean.

    Source: Walker & Ni, SIAM J. Numer. Anal. 49 (2011) 1715. Where the residual doubles, it starts afresh.
    """

    def __init__(self, masses: Array) -> None:
        self.weights = np.sqrt(masses)
        self.size = np.inf
        self.last: tuple[Array, Array] | None = None
        self.changes: list[tuple[Array, Array]] = []

    def mixed(self, old: Array, new: Array) -> Array:
        """The next iterate, from the last and where the iteration takes it."""
        residual = (new - old) * self.weights
        size = dot(residual, residual)
        if size > 4.0 * self.size:
            self.changes, self.last = [], None
        if self.last is not None:
            self.changes = [*self.changes[1 - DEPTH :], (residual - self.last[0], new - self.last[1])]
        self.last, self.size = (residual, new), size
        if not self.changes:
            return new
        slopes = [slope for slope, _ in self.changes]
        gram = np.array([[dot(p, q) for q in slopes] for p in slopes])
        shares = np.linalg.lstsq(gram, np.array([dot(p, residual) for p in slopes]), rcond=1e-12)[0]
        return new - sum(share * change for share, (_, change) in zip(shares, self.changes, strict=True))


def dot(x: Array, y: Array) -> float:
    """By NumPy's own loop: BLAS takes threads to it."""
    return float(np.sum(x * y))

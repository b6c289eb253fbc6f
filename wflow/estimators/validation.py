"""Cross-validation of scores: Hyvärinen's objective on samples that were held out.

A score s errs by E|s - ∇log q|² = E[|s|² + 2∇·s] + const (Hyvärinen, JMLR 6 (2005) 695), which needs no density. On the
samples that s was made from it would always prefer the richer s.
"""

import numpy as np
from numpy.typing import NDArray

from wflow.estimators.cloud import ROUNDING, Array
from wflow.estimators.features import Features

FOLDS = 5
FEWEST = 20  # samples: of fewer, what is held out says nothing


def order_of(n: int) -> NDArray[np.int64]:
    """How to sort n samples so that each fold, a random fifth, is a run of neighbours."""
    return np.random.default_rng(0).permutation(n)


def held_out(each: Features, weights: Array, keep: float) -> Array:
    """½|s|² + ∇·s (n,) of each sample, in sorted order, for the series made of the other folds."""
    n = len(weights)
    runs = [slice(n * k // FOLDS, n * (k + 1) // FOLDS) for k in range(FOLDS)]
    products = [each.products(weights, run) for run in runs]
    pulls = [each.pulls(weights, run) for run in runs]
    all_products, all_pulls, losses = sum(products), sum(pulls), np.zeros(n)
    for run, own, pull in zip(runs, products, pulls, strict=True):
        rest = 1.0 - float(weights[run].sum())
        if rest <= ROUNDING:  # all weight is held out
            continue
        along, through = each.series((all_products - own) / rest, (all_pulls - pull) / rest, keep)
        losses[run] = 0.5 * np.sum((each.rows[:, run].T @ along) ** 2, axis=1) + each.divergence(through, run)
    return losses


def simplest(losses: Array, weights: Array) -> int:
    """The first of some models, the simplest first, that is not worse than the best by more than one standard error.

    losses (models, n) of each sample. The error is that of the difference to the best, which scatters by as much as
    models differ: the least mean alone follows chance (Breiman, Friedman, Olshen & Stone 1984, section 3.4.3).
    """
    means = np.where(np.isfinite(losses).all(axis=1), losses @ weights, np.inf)
    best = int(np.argmin(means))
    with np.errstate(invalid="ignore"):
        excess = losses - losses[best]
        error = np.sqrt((excess - (excess @ weights)[:, None]) ** 2 @ weights**2)
        return int(np.flatnonzero(means - means[best] <= error)[0])

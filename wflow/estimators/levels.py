"""Adaptive kernel widths by a few levels, between which every sample's mass is split."""

from collections.abc import Iterator

import numpy as np

from wflow.estimators.cloud import Array

STEP = np.sqrt(2.0)  # from level to level
WIDEST = 8.0  # factor, and its inverse


def abramson(density: Array, weights: Array) -> Array:
    """Factors (n,) of the widths, (density/g)^(-1/2) with g its geometric mean, kept within 1/8 and 8.

    Source: Abramson, Annals of Statistics 10 (1982) 1217; Silverman (1986), section 5.3.
    """
    logs = np.log(density)
    mean = np.einsum("i,i->", weights, logs)
    return np.clip(np.exp(-0.5 * (logs - mean)), 1.0 / WIDEST, WIDEST)


def levels(factors: Array, weights: Array) -> Iterator[tuple[float, Array]]:
    """Levels √2 apart, each with its masses (n,): every sample on the two levels around its factor, so that mass and
    variance of its kernel are right."""
    place = np.floor(np.log(factors) / np.log(STEP)).astype(np.int64)
    upper = (factors**2 / STEP ** (2.0 * place) - 1.0) / (STEP**2 - 1.0)
    for level in range(int(place.min()), int(place.max()) + 2):
        share = np.where(place == level, 1.0 - upper, 0.0) + np.where(place == level - 1, upper, 0.0)
        masses = weights * share
        if masses.any():
            yield float(STEP**level), masses

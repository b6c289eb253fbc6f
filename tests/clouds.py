"""Clouds that the tests of estimators share."""

import numpy as np

from wflow.estimators import Box, direct_log_density, mesh_estimate

BOXES = [None, Box([-4, -4], [4, 4], ("no-flux", "periodic")), Box([-4, -4], [4, 4], ("periodic", "no-flux"))]


def cloud(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.uniform(0.2, 1.0, n)


def errors(positions, weights, width, box=None, **options):
    """Largest relative error of the mesh density and rms error of its score times the bandwidth, against direct."""
    density, gradient = mesh_estimate(positions, weights, width, box, **options)
    log_density, score = direct_log_density(positions, positions, weights, width, box)
    off = (gradient / density[:, None] - score) * width
    return np.max(np.abs(density / np.exp(log_density) - 1)), np.sqrt(np.mean(np.sum(off**2, axis=1)))

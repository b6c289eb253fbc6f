"""What the tests of expressions share: a double well, and points."""

import numpy as np

WELL = "(x**2 - 1)**2 + 2*y**2"


def cloud(n, d, low=-2.0, high=2.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, (n, d))

"""The table of divergences typed in by hand, generators, and differences: shared by the tests of functionals."""

import numpy as np

import wflow as wf
from wflow.flows import make_flow

ALPHAS = (-1.0, 0.5, 2.0, 3.0)
U = np.concatenate([np.logspace(-3, 3, 41), [1.0]])
NEAR = U[(U > 0.05) & (U < 20)]  # where second differences keep six digits

# The table of contract.md: f(r), f''(1) and the pressure Φ(u), typed in again by hand.
TABLE = {
    "reverse-kl": (lambda r: -np.log(r), 1.0, lambda u: u),
    "kl": (lambda r: r * np.log(r), 1.0, np.log),
    "chi2": (lambda r: (r - 1) ** 2, 2.0, lambda u: -2 / u),
    "reverse-chi2": (lambda r: (1 - r) ** 2 / r, 2.0, lambda u: u**2),
    "hellinger": (lambda r: (np.sqrt(r) - 1) ** 2, 0.5, np.sqrt),
    "jensen-shannon": (
        lambda r: 0.5 * (r * np.log(r) - (r + 1) * np.log((r + 1) / 2)),
        0.25,
        lambda u: 0.5 * np.log(1 + u),
    ),
    "jeffreys": (lambda r: (r - 1) * np.log(r), 2.0, lambda u: u + np.log(u)),
    "triangular": (lambda r: (r - 1) ** 2 / (r + 1), 1.0, lambda u: 4 * u**2 / (1 + u) ** 2),
}
GAUSS = wf.Gaussian([0.3], 0.7)


def divergence(name, target=GAUSS):
    return wf.FDivergence("alpha", target, alpha=name) if isinstance(name, float) else wf.FDivergence(name, target)


def dual(name):
    """f, f''(1), Φ of a name or an alpha."""
    if not isinstance(name, float):
        return TABLE[name]
    a = name
    pressure = np.log if a == 1 else lambda u: u ** (1 - a) / (1 - a)
    return lambda r: (r**a - a * r - (1 - a)) / (a * (a - 1)), 1.0, pressure


SMOOTH = (*TABLE, *ALPHAS)
GENERATORS = {
    **{str(name): divergence(name).generator for name in SMOOTH},
    "m=2": wf.PowerEntropy(2).generator,
    "m=1/2": wf.PowerEntropy(0.5).generator,
    "U=q**3": wf.InternalEnergy("q**3").generator,
    "U=q*log(q)": wf.InternalEnergy("q*log(q)").generator,
    "U=-sqrt(q)": wf.InternalEnergy("-sqrt(q)").generator,
    "0.5 kl + 2 chi2": make_flow(
        0.5 * divergence("kl") + 2 * divergence("chi2"), wf.Density(wf.Grid(-3, 3, 16), GAUSS)
    ).diffusion.form.generator,
}


def slope(function, x, h=1e-5):
    """Fourth-order central difference with a relative step."""
    s = h * x
    return (8 * (function(x + s) - function(x - s)) - (function(x + 2 * s) - function(x - 2 * s))) / (12 * s)

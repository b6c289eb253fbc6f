"""Optimizers on L = |y|^2 with y(x) = (x0, x1^2), that is x0^2 + x1^4: iterates and flow in closed form.

The problem of Thuerey et al., Physics-based Deep Learning (2021), "Simple Example comparing Different
Optimizers", which starts at (3, 3). Points are (2,), x1 > 0; `k` is the number of steps.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def pbdl_flow(x: ArrayLike, t: float) -> Array:
    """Gradient flow dx/dt = -grad L: x0 e^(-2t), x1/sqrt(1 + 8 x1^2 t).

    >>> pbdl_flow([3.0, 3.0], t=0.1).round(10)
    array([2.45619226, 1.04764544])
    """
    a, b = np.asarray(x, float)
    return np.array([a * np.exp(-2 * t), b / np.sqrt(1 + 8 * b * b * t)])


def pbdl_gradient_descent(x0: float, rate: float, k: int) -> float:
    """First coordinate of gradient descent, x0 (1 - 2 rate)^k; there is no closed form for the second.

    >>> round(pbdl_gradient_descent(3.0, rate=0.01, k=10), 7)
    2.4512184
    """
    return x0 * (1 - 2 * rate) ** k


def pbdl_newton(x: ArrayLike, rate: float, k: int) -> Array:
    """Newton's method: x0 (1 - rate)^k, x1 (1 - rate/3)^k.

    >>> pbdl_newton([3.0, 3.0], rate=1 / 3, k=10).round(8)
    array([0.05202459, 0.92383844])
    """
    return np.asarray(x, float) * np.array([1 - rate, 1 - rate / 3]) ** k


def pbdl_inverse(x: ArrayLike, rate: float, k: int) -> Array:
    """The inverse-simulator update y <- (1 - rate) y, x = y^-1: x0 (1 - rate)^k, x1 (1 - rate)^(k/2).

    >>> pbdl_inverse([3.0, 3.0], rate=0.3, k=10).round(8)
    array([0.08474257, 0.50421   ])
    """
    return np.asarray(x, float) * (1 - rate) ** np.array([k, k / 2])


def pbdl_proximal(x: ArrayLike, tau: float) -> Array:
    """One proximal (implicit Euler) step: x0/(1 + 2 tau) and the root of 4 tau z^3 + z = x1, by Cardano's
    formula.

    >>> pbdl_proximal([3.0, 3.0], tau=0.1).round(7)
    array([2.5      , 1.5397645])
    """
    a, b = np.asarray(x, float)
    # z = 2 s sinh(u) with s = 1/sqrt(12 tau) turns the cubic into sinh(3u): no cancellation for small tau.
    scale = 1 / np.sqrt(12 * tau)
    return np.array([a / (1 + 2 * tau), 2 * scale * np.sinh(np.arcsinh(1.5 * b / scale) / 3)])

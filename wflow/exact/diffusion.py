"""Densities that diffuse: closed-form solutions in space and time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gamma

from wflow.errors import InputError

Array = NDArray[np.float64]


def ornstein_uhlenbeck(
    mean: ArrayLike, cov: ArrayLike, t: float, stiffness: float = 1.0, temperature: float = 1.0
) -> tuple[Array, Array]:
    """Mean and covariance at time t of dx = -k x dt + sqrt(2 T) dW from N(mean, cov).

    Mean (d,) and covariance (a number, (d,) or (d, d)) keep their shapes: mean e^(-kt), cov e^(-2kt) +
    (T/k)(1 - e^(-2kt)); k = 0 is the heat equation, k < 0 a hilltop. Source: Gardiner, Stochastic Methods
    (2009), eqs. (3.8.73)-(3.8.76); it solves the flow of reverse KL to N(0, T/k) at speed T.

    >>> mean, cov = ornstein_uhlenbeck([1.0], 4.0, t=0.1)
    >>> round(float(mean[0]), 10), round(float(cov) ** 0.5, 10)
    (0.904837418, 1.859083715)
    """
    mean, cov = np.asarray(mean, float), np.asarray(cov, float)
    spread = 2 * t if stiffness == 0 else -np.expm1(-2 * stiffness * t) / stiffness
    noise = np.eye(cov.shape[0]) if cov.ndim == 2 else 1.0
    return mean * np.exp(-stiffness * t), np.asarray(cov * np.exp(-2 * stiffness * t) + temperature * spread * noise)


def barenblatt(x: Array, t: float, m: float, mass: float = 1.0) -> Array:
    """Density (n,) of the self-similar solution of dq/dt = Laplace(q^m) from a point mass at 0; x is (n, d),
    t > 0.

    t^-a (C - b |x|^2 t^(-2a/d))_+^(1/(m-1)) with a = d/(d(m-1) + 2), b = a(m-1)/(2md) and C set by the mass.
    For m > 1 zero outside `barenblatt_radius`; for 1 - 2/d < m < 1 positive with an algebraic tail. Source:
    Vazquez, The Porous Medium Equation (2007), eqs. (1.8)-(1.9), and sec. 2 of his Smoothing and Decay
    Estimates (2006).

    >>> barenblatt(np.zeros((1, 1)), t=1.0, m=2.0).round(10)  # (sqrt(3)/8)^(2/3)
    array([0.36056239])
    """
    x = np.asarray(x, float)
    dim = x.shape[1]
    a, b, level = _barenblatt_constants(m, mass, dim)
    inside = level - b * np.sum(x * x, axis=1) * t ** (-2 * a / dim)
    values = np.where(inside > 0, inside, 1.0) ** (1 / (m - 1))
    return np.where(inside > 0, t**-a * values, 0.0)


def barenblatt_radius(t: float, m: float, dim: int = 1, mass: float = 1.0) -> float:
    """Radius at time t of the ball that holds `barenblatt`; inf for m < 1.

    >>> round(barenblatt_radius(1.0, m=2.0), 10)  # the cube root of 9
    2.0800838231
    """
    a, b, level = _barenblatt_constants(m, mass, dim)
    return float(np.sqrt(level / b) * t ** (a / dim)) if m > 1 else float("inf")


def _barenblatt_constants(m: float, mass: float, dim: int) -> tuple[float, float, float]:
    if m == 1:
        raise InputError("barenblatt needs m != 1, got 1; use ornstein_uhlenbeck with stiffness=0")
    if m <= 1 - 2 / dim:
        raise InputError(f"barenblatt needs m > 1 - 2/d = {1 - 2 / dim:.6g}, got {m}; take a larger m")
    a = dim / (dim * (m - 1) + 2)
    b = a * (m - 1) / (2 * m * dim)
    power = 1 / (m - 1)
    if m > 1:
        shape = gamma(power + 1) / gamma(power + 1 + dim / 2)
    else:
        shape = gamma(-power - dim / 2) / gamma(-power)
    level = (mass / (shape * (np.pi / abs(b)) ** (dim / 2))) ** (1 / (power + dim / 2))
    return a, b, float(level)


def thin_film(x: Array, t: float, mass: float = 1.0) -> Array:
    """Density (n,) of the self-similar solution of dq/dt = -(q q_xxx)_x from a point mass at 0; x is (n, 1), t > 0.

    t^(-1/5) (w^2 - eta^2)_+^2/120 with eta = x t^(-1/5) and w^5 = 225 mass/2. Source: Smyth & Hill, IMA J. Appl.
    Math. 40 (1988) 73.

    >>> thin_film(np.array([[0.0]]), t=1.0).round(10)
    array([0.36453629])
    """
    width = (112.5 * mass) ** 0.2
    eta = np.asarray(x, float)[:, 0] * t**-0.2
    return np.asarray(np.maximum(width**2 - eta**2, 0.0) ** 2 / (120 * t**0.2))


def quantum_variance(variance: float, t: float) -> float:
    """Variance at time t of the flow of the Fisher information on the line from a Gaussian, which it stays.

    C' = 4/C, so sqrt(C^2 + 8 t). Source: the velocity of N(m, C) is -grad(2/C - (x - m)^2/C^2) = 2 (x - m)/C^2.

    >>> quantum_variance(1.0, 1.0)
    3.0
    """
    return float(np.sqrt(variance**2 + 8 * t))


def drift_diffusion(x: ArrayLike, t: float, g: float = 1.0) -> Array:
    """Solution of dq/dt = q'' - g q' on [0, 1] without flux through the ends (V = -g x), same shape as `x`.

    e^(-st + gx/2) (pi cos(pi x) + (g/2) sin(pi x)) + pi e^(g(x - 1/2)) with s = pi^2 + g^2/4. Mass 2 pi
    sinh(g/2)/g; not negative, zero at x = 1, t = 0. Source: Cances, Gallouet, Todeschi, Numer. Math. 146
    (2020) 437, sec. 5.

    >>> drift_diffusion([0.0], t=0.0).round(10)  # pi (1 + e^(-1/2))
    array([5.04706492])
    """
    x = np.asarray(x, float)
    wave = np.pi * np.cos(np.pi * x) + 0.5 * g * np.sin(np.pi * x)
    decay = np.exp(-(np.pi**2 + g**2 / 4) * t)
    return np.asarray(decay * np.exp(0.5 * g * x) * wave + np.pi * np.exp(g * (x - 0.5)))


def drift_diffusion_cells(edges: ArrayLike, t: float, g: float = 1.0) -> Array:
    """Averages (n,) of `drift_diffusion` over cells with edges (n + 1,), by its antiderivative.

    >>> float(drift_diffusion_cells([0.0, 1.0], t=0.3).round(10)[0])  # 2 pi sinh(1/2)
    3.2741383671
    """
    edges = np.asarray(edges, float)
    width = np.diff(edges)
    decay = np.exp(-(np.pi**2 + g**2 / 4) * t)
    wave = np.diff(decay * np.exp(0.5 * g * edges) * np.sin(np.pi * edges))
    growth = np.expm1(g * width) / g if g else width
    return np.asarray((wave + np.pi * np.exp(g * (edges[:-1] - 0.5)) * growth) / width)


def heat_mode(
    x: Array, t: float, modes: Sequence[int], lower: ArrayLike, upper: ArrayLike, amplitude: float = 0.5
) -> Array:
    """Density (n,) of mass 1 that solves the heat equation on a box without flux through its sides.

    (1 + A e^(-rt) prod cos(k_a pi (x_a - l_a)/L_a))/volume with r = sum (k_a pi/L_a)^2 and one mode k_a for
    each axis. Source: Strauss, Partial Differential Equations (2008), sec. 4.2.

    >>> heat_mode(np.zeros((1, 1)), t=0.1, modes=[1], lower=0.0, upper=1.0).round(10)  # 1 + e^(-pi^2/10)/2
    array([1.18635392])
    """
    low, high, rate, scale = _heat_mode_constants(modes, lower, upper)
    wave = np.prod(np.cos(scale * (np.asarray(x, float) - low)), axis=1)
    return np.asarray((1 + amplitude * np.exp(-rate * t) * wave) / np.prod(high - low))


def heat_mode_cells(
    edges: Sequence[Array],
    t: float,
    modes: Sequence[int],
    lower: ArrayLike,
    upper: ArrayLike,
    amplitude: float = 0.5,
) -> Array:
    """Averages of `heat_mode` over the cells of a grid: one array of edges (n_a + 1,) for each axis, result
    (n_1, ...).

    >>> heat_mode_cells([np.array([0.0, 0.5, 1.0])], 0.0, [1], 0.0, 1.0).round(10)  # 1 +- 1/pi
    array([1.31830989, 0.68169011])
    """
    low, high, rate, scale = _heat_mode_constants(modes, lower, upper)
    wave = np.ones(())
    for axis, line in enumerate(edges):
        centre, half = 0.5 * (line[1:] + line[:-1]), 0.5 * np.diff(line)
        means = np.cos(scale[axis] * (centre - low[axis])) * np.sinc(scale[axis] * half / np.pi)
        wave = np.multiply.outer(wave, means)
    return np.asarray((1 + amplitude * np.exp(-rate * t) * wave) / np.prod(high - low))


def _heat_mode_constants(modes: Sequence[int], lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array, float, Array]:
    """Both corners, the decay rate and the wave numbers, one for each axis."""
    count = np.asarray(modes, float)
    low, high = (np.broadcast_to(np.asarray(v, float), count.shape) for v in (lower, upper))
    scale = count * np.pi / (high - low)
    return low, high, float(np.sum(scale**2)), scale

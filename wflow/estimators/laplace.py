"""Kernel density estimate with the two-sided exponential in one dimension: exact in O(n log n)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from wflow.errors import InputError, choose
from wflow.estimators.bandwidth import RULES, given_bandwidth, rule_bandwidth
from wflow.estimators.box import Box
from wflow.estimators.cloud import Array, Estimate, check_positions, check_weights
from wflow.kernels.line import exponential_sums


def laplace_sums(x: Array, masses: Array, scale: float) -> tuple[Array, Array]:
    """Σⱼ mⱼ exp(-|xᵢ - xⱼ|/scale) (n,) and its derivative (n,), the mean of both sides where samples lie, for any
    masses.

    Two sums run along the sorted samples, x_{i+1} from x_i with one exponential: exact to rounding, O(n log n).

    >>> laplace_sums(np.array([0.0, 1.0]), np.array([1.0, 1.0]), 1.0)[0].round(6)
    array([1.367879, 1.367879])
    """
    order = np.argsort(x, kind="stable")
    value, slope = np.empty_like(x), np.empty_like(x)
    value[order], slope[order] = exponential_sums(x[order] / scale, masses[order])
    return value, slope / scale


@dataclass(frozen=True)
class Laplace:
    """Density and score with the kernel exp(-|x|/s)/(2s), s = bandwidth/√2, in one dimension, exact in O(n log n).

    `bandwidth` is the standard deviation of the kernel, a number or a rule, as for `Kernel`. Tails are those of an
    exponential: the score is bounded by 1/s. A box is not felt. Raises `InputError` beyond one dimension.

    >>> Laplace(1.0)([[0.0], [1.0]]).score.round(6).ravel().tolist()
    [0.276578, -0.276578]
    """

    bandwidth: str | float = "score"

    gives_density: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.bandwidth, str):
            choose(self.bandwidth, RULES, "bandwidth rule")
        else:
            object.__setattr__(self, "bandwidth", float(given_bandwidth(self.bandwidth, 1)[0]))

    @property
    def text(self) -> str:
        return repr(self)

    def __call__(self, positions: ArrayLike, weights: ArrayLike | None = None, box: Box | None = None) -> Estimate:
        positions, _ = check_positions(positions, box)
        if positions.shape[1] != 1:
            raise InputError(f"Laplace serves one dimension, got {positions.shape[1]}; take Kernel()")
        weights = check_weights(weights, len(positions))
        rule = self.bandwidth
        width = rule_bandwidth(positions, weights, rule)[0] if isinstance(rule, str) else rule
        scale = float(width) / np.sqrt(2.0)
        value, slope = laplace_sums(positions[:, 0], weights, scale)
        return Estimate(value / (2.0 * scale), (slope / value)[:, None])

"""What a difference is worth: held against that of a sample of the reference itself."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from wflow.distances import l1, wasserstein2_with_method
from wflow.states import Density, Gaussian, Particles

# Samples of the reference in one dimension, where a distance takes a millisecond, and beyond, where it takes seconds;
# and how many standard deviations above their mean still agree. W2 is skewed: in 1-D some 1 % of samples are beyond
# three. A deviation from four draws is itself so uncertain that it takes five (Student's t).
DRAWS, AGREES = (64, 4), (3.0, 5.0)


@dataclass(frozen=True)
class Verdict:
    """The difference of one result from the reference at the last common time.

    `dim`: of the space. `w2`, `l1`: the distances. For a cloud held against a reference that can be sampled,
    `expected_w2` and `expected_l1` are (mean, standard deviation) of the same distance over a few samples of the
    reference of the same size and weights, found in the same way, so that the errors of the estimate itself are in
    them; else None.
    """

    name: str
    time: float
    dim: int
    w2: float
    l1: float
    expected_w2: tuple[float, float] | None
    expected_l1: tuple[float, float] | None

    @property
    def agrees(self) -> bool | None:
        """Whether W2 is no more than sampling explains; None where there is nothing to hold it against."""
        if self.expected_w2 is None:
            return None
        mean, spread = self.expected_w2
        # A tenth of the mean is the least spread that is believed.
        return self.w2 <= mean + AGREES[self.dim > 1] * max(spread, 0.1 * mean)

    def __str__(self) -> str:
        head = f"{self.name} at t = {self.time:g}: W2 {self.w2:.3g}"
        if self.expected_w2 is None:
            return head + ("" if np.isnan(self.l1) else f", L1 {self.l1:.3g}")
        mean, spread = self.expected_w2
        if self.agrees:
            return f"{head}, a sample of its size has {mean:.2g} ± {spread:.1g}: agrees within the sampling error"
        return f"{head}, {self.w2 / mean:.2g} times the {mean:.2g} ± {spread:.1g} of a sample of its size: differs"


def judge(name: str, time: float, reference: Any, state: Any, found: dict[str, Any], seed: int) -> Verdict:
    """The verdict on a state; `found` holds its distances already."""
    expected: dict[str, tuple[float, float] | None] = {"w2": None, "l1": None}
    if isinstance(state, Particles) and isinstance(reference, Density | Gaussian) and np.isfinite(found["w2"]):
        clouds = [
            Particles(reference.sample(len(state), rng=seed + 1 + k), state.weights)
            for k in range(DRAWS[state.dim > 1])
        ]
        expected["w2"] = _spread([wasserstein2_with_method(reference, cloud, seed)[0] for cloud in clouds])
        if np.isfinite(found["l1"]):
            expected["l1"] = _spread([l1(reference, cloud) for cloud in clouds])
    return Verdict(name, time, state.dim, found["w2"], found["l1"], expected["w2"], expected["l1"])


def _spread(values: list[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1))

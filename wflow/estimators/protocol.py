"""What an estimator is.

A frozen dataclass with one method, `__call__(positions (n, d), weights (n,) | None, box=None)`, that gives an
`Estimate`; its `text` stands in files. A new one is a class in a file of its own, and its name in `ESTIMATORS`.
"""

from typing import Protocol

from numpy.typing import ArrayLike

from wflow.estimators.box import Box
from wflow.estimators.cloud import Estimate


class Estimator(Protocol):
    """Density and score at the particles themselves."""

    @property
    def gives_density(self) -> bool:
        """Whether `Estimate.density` is a density; else it is nan."""

    @property
    def text(self) -> str:
        """How to write this estimator in Python."""

    def __call__(self, positions: ArrayLike, weights: ArrayLike | None = None, box: Box | None = None) -> Estimate:
        """Estimate at positions (n, d) with weights (n,) or None; `InputError` where that cannot be done."""

"""What the questions of this package share: a functional on a grid without a state, and what is refused."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.reference import Reference, Weights, reference
from wflow.flows.terms import Terms, sort_terms
from wflow.flows.variation import Variation
from wflow.functionals import Functional
from wflow.grid import Grid

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Problem:
    """The sorted terms, the filtration form where there is one, and F with its derivatives."""

    grid: Grid
    terms: Terms
    form: Reference | None
    variation: Variation
    mass: float

    @property
    def absorbing(self) -> bool:
        """Whether some side lets mass out."""
        return any("absorbing" in pair for pair in self.grid.boundary)


def as_problem(functional: Functional, grid: Grid, mass: float = 1.0) -> Problem:
    """Check and sort."""
    if not isinstance(grid, Grid):
        raise InputError(f"grid must be a wf.Grid, got {type(grid).__name__}")
    if not isinstance(functional, Functional):
        raise InputError(f"a functional is wf.Entropy, wf.Potential, ... or a sum, got {type(functional).__name__}")
    if not (np.isfinite(mass) and mass > 0.0):
        raise InputError(f"mass must be a positive number, got {mass}")
    terms = sort_terms(functional, grid.dim)
    if terms.potential.timed:
        raise InputError("a potential that changes in time has no equilibrium and no rates; freeze its t")
    return Problem(grid, terms, reference(grid, terms, mass), Variation(grid, terms, mass), mass)


def fokker_planck(functional: Functional, grid: Grid) -> tuple[Weights, float]:
    """p and the temperature T of a linear flow ∂q = T ∇·(p∇(q/p)); everything else is refused."""
    problem = as_problem(functional, grid)
    if problem.form is None or not problem.form.linear or problem.form.fixed is None:
        raise InputError(
            f"committors and first-passage times belong to a linear flow, got {functional!r}; "
            "take reverse-kl, or Entropy + Potential"
        )
    return without_floor(problem.form.fixed), problem.terms.temperature


def without_floor(weights: Weights) -> Weights:
    """The weights with walls where they are held at their floor.

    The flow holds p there, so that mass has no slope to follow: its rates and passage times would be those of a
    plain.
    """
    p = weights.cells
    sunk = (p > 0.0) & (p <= (1.0 + 1e-9) * weights.floor)
    if not sunk.any():
        return weights
    faces = [closed(weights, sunk, axis) for axis in range(3)]
    return Weights(np.where(sunk, 0.0, p), (faces[0], faces[1], faces[2]), weights.wraps)


def sides(mask: Mask, axis: int, wrap: bool) -> tuple[Mask, Mask]:
    """The mask in the cell below and above each face of an axis; False outside a wall."""
    ends = np.take(mask, [-1], axis) & wrap, np.take(mask, [0], axis) & wrap
    return np.concatenate([ends[0], mask], axis), np.concatenate([mask, ends[1]], axis)


def closed(weights: Weights, mask: Mask, axis: int) -> Array:
    """The faces of an axis, 0 where a cell of the mask is on either side."""
    below, above = sides(mask, axis, weights.wraps[axis])
    return np.where(below | above, 0.0, weights.faces[axis])


def flat_rest(values: Array, weights: Array) -> float:
    """Σ w |v - mean v| / Σ w: how far from constant v is where there is weight."""
    share = weights / weights.sum()
    held = np.where(share > 0.0, values, 0.0)
    return float((share * np.abs(held - (share * held).sum())).sum())

"""The flow of a functional linearised at rest: ∂δq/∂t = -L K δq.

L = -∇·(q*∇ ·) with q* on the faces is the Wasserstein metric at the equilibrium q*, K = S + W* the second variation
of F, with S = Σ cₖ φₖ''(q*/pₖ)/pₖ in each cell. For flows of a filtration form this is the derivative of the discrete
flow itself; the upwind flux of the others has none where its velocity is 0, and here q* on a face is the mean.
"""

from dataclasses import dataclass

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.boxes import kernel_faces, mean_on_faces, padded, wraps
from wflow.flows.convolution import Convolution, convolution
from wflow.flows.reference import Weights
from wflow.linalg.multigrid import Operator
from wflow.spectra.problem import Problem, without_floor
from wflow.states import Density


@dataclass(frozen=True, eq=False)
class Linearisation:
    """`weights` hold q* in the cells and q*/h² on the faces; `give` is 1/S, 0 off the support. Kernel form."""

    weights: Weights
    give: Array
    fields: tuple[tuple[float, Convolution], ...]

    @property
    def leaks(self) -> bool:
        """Whether some side is absorbing."""
        return self.weights.leaks

    def operator(self, shift: float) -> Operator:
        """L + shift/S, acting on w = S δq."""
        return Operator(shift * self.give, *self.weights.faces, self.weights.wraps)

    def mean_field(self, delta: Array) -> Array:
        """W * δq on the support."""
        shape = next(conv.shape for _, conv in self.fields)
        total = sum(weight * conv(delta.reshape(shape)) for weight, conv in self.fields)
        return np.where(self.give > 0.0, np.reshape(total, self.give.shape), 0.0)


def linearise(problem: Problem, at: Density) -> Linearisation:
    """The linearised flow at `at`; with absorbing sides, where the flow must be linear, p in place of q*."""
    grid, form, q = problem.grid, problem.form, at.values
    if problem.absorbing and (form is None or not form.linear):
        raise InputError("absorbing sides have rates for linear flows only: reverse-kl, or Entropy + Potential")
    fields = tuple((weight, convolution(grid, term.field)) for weight, term in problem.terms.interactions)
    if form is None:
        return Linearisation(*_mobility(problem, q), fields)
    weights = without_floor(form.weights(0.0, q))
    ratio = float(q.sum()) / float(weights.cells.sum())
    here = Weights(ratio * weights.cells, _scaled(weights, ratio), weights.wraps)
    if problem.terms.logarithmic:
        slope = problem.terms.temperature
    else:
        slope = float(form.generator.diffusivity(np.array([ratio]))[0])
    return Linearisation(here, here.cells / slope, fields)


def _scaled(weights: Weights, factor: float) -> tuple[Array, Array, Array]:
    first, second, third = (factor * face for face in weights.faces)
    return first, second, third


def _mobility(problem: Problem, q: Array) -> tuple[Weights, Array]:
    """Means on the faces between cells of the support."""
    grid, support = problem.grid, q > 0.0
    faces = []
    for axis in range(grid.dim):
        both = mean_on_faces(grid, support.astype(np.float64), axis) * grid.spacing[axis] ** 2 == 1.0
        faces.append(np.where(both, mean_on_faces(grid, q, axis), 0.0))
    with np.errstate(all="ignore"):
        give = np.where(support, 1.0 / problem.variation.stiffness(q), 0.0)
    if not np.all(np.isfinite(give)):
        raise InputError("the second variation vanishes where there is mass: the linearised flow does not move there")
    return Weights(padded(grid, q), kernel_faces(grid, faces), wraps(grid)), padded(grid, give)

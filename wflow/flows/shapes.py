"""Energies on a grid that depend on more than the value in each cell: of gradients, and plain functions of all cells.

For gradients F = h c/2 Σ_faces p_f (ψ_j - ψ_i)²/dx² with h the volume of a cell: ξ = c ψ'(u)/p · A_p ψ(u), where A_p =
-∇·(p ∇) on the cells. Their flux is the upwind flux of -∇ξ; the implicit stage is solved by Newton and GMRES with
the sparse matrix 1 + s A_q B, B = δξ/δq, factored (SuperLU): fast in 1-D and up to about 128² cells.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix, csc_matrix, diags, identity
from scipy.sparse.linalg import splu

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.filtration import stiffness_product
from wflow.flows.reference import Weights, exponentiate, target_logs
from wflow.functionals import GradientTerm, ValueFunctional
from wflow.grid import Grid
from wflow.linalg.multigrid import Operator
from wflow.linalg.network import edges

TINY = 1e-300


@dataclass(frozen=True, eq=False)
class GradientPart:
    """A gradient energy with the weights of its target."""

    term: GradientTerm
    weights: Weights

    def _ratio(self, q: Array) -> Array:
        return np.maximum(q, TINY).reshape(self.weights.cells.shape) * self.weights.inverse

    def energy(self, q: Array) -> float:
        """F over the volume of a cell."""
        psi = self.term.profile(self._ratio(q))
        return 0.5 * self.term.factor * float(np.sum(psi * stiffness_product(self.weights, psi)))

    def slope(self, q: Array) -> Array:
        """ξ at the cells."""
        u = self._ratio(q)
        pull = stiffness_product(self.weights, self.term.profile(u))
        return (self.term.factor * self.term.profile_slope(u) * self.weights.inverse * pull).reshape(q.shape)

    def matrix(self, q: Array) -> csc_matrix:
        """δξ/δq."""
        u, inverse = self._ratio(q), self.weights.inverse
        outer = diags((self.term.profile_slope(u) * inverse).ravel())
        pull = stiffness_product(self.weights, self.term.profile(u))
        own = diags((self.term.profile_curvature(u) * inverse**2 * pull).ravel())
        return csc_matrix(self.term.factor * (outer @ sparse(self.weights) @ outer + own))


@dataclass(frozen=True, eq=False)
class ValuePart:
    """A plain function of the cell averages."""

    term: ValueFunctional
    volume: float

    def energy(self, q: Array) -> float:
        """F over the volume of a cell."""
        value = self.term.value(q)
        if np.size(value) != 1:
            raise InputError(f"{self.term!r} must give one number, got shape {np.shape(value)}")
        return float(np.reshape(value, ())) / self.volume

    def slope(self, q: Array) -> Array:
        """ξ at the cells."""
        return self.term.gradient(q) / self.volume

    def matrix(self, q: Array) -> csc_matrix:
        """Nothing is known of δξ/δq: zero, which leaves the work to GMRES."""
        return csc_matrix((q.size, q.size))


def make_shape(grid: Grid, term: Any, mass: float) -> GradientPart | ValuePart:
    """The term on the cells of a grid."""
    if isinstance(term, ValueFunctional):
        return ValuePart(term, grid.volume)
    cells, faces = np.zeros(grid.cells), [np.zeros(grid.face_shape(axis)) for axis in range(grid.dim)]
    if term.target is not None:
        cells, faces = target_logs(grid, term.target, mass)
        if np.any(cells == -np.inf):
            raise InputError(f"{term!r} needs a target that is positive in every cell: shrink the box to its support")
    scale = np.exp(float(cells.max()))
    found = exponentiate(grid, cells, faces)
    return GradientPart(term, Weights(found.cells * scale, tuple(k * scale for k in found.faces), found.wraps))


def sparse(weights: Weights) -> csc_matrix:
    """A = -∇·(p ∇) as a matrix of the cells."""
    empty = np.zeros(weights.cells.shape)
    first, second, value = edges(Operator(empty, *weights.faces, weights.wraps))
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    off = coo_matrix((np.concatenate([value, value]), (rows, columns)), shape=(empty.size, empty.size)).tocsc()
    return csc_matrix(diags(np.asarray(off.sum(axis=1)).ravel()) - off)


def spread(mobility: Weights, curvature: csc_matrix) -> csc_matrix:
    """A_q B: minus the Jacobian of the rate, the mobility held."""
    return csc_matrix(sparse(mobility) @ curvature)


def inverse_of(matrix: csc_matrix, scale: float) -> Callable[[Array], Array]:
    """r ↦ (1 + s M)⁻¹ r; `LinAlgError` where the matrix is singular or not finite, as out of a vacuum."""
    try:
        factors = splu(csc_matrix(identity(matrix.shape[0]) + scale * matrix))
    except RuntimeError as error:  # SciPy's word for both
        raise np.linalg.LinAlgError(str(error)) from None

    def apply(r: Array) -> Array:
        return factors.solve(np.ascontiguousarray(r).ravel()).reshape(r.shape)

    return apply

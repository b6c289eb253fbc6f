"""A steep divergence beside other terms on a grid: ∂q/∂t = ∇·(q ∇(φ'(q/p) + η)) - ∇·(q b).

η is the first variation of the other terms, b a prescribed drift. φ' is infinite at vacuum, and -∇φ' no velocity that
cells of finite width could follow: thin tails, q/p = 1e-20, would fill at once, and no implicit step of that rate was
solved. So the filtration keeps its own flux ∇·(p ∇Φ(u)), and the implicit step its unknown w = Φ(u); what stands beside
it is a bounded drift (`kernels/mobility.py`). Mass is kept, dF/dt ≤ 0, and q is at rest exactly where ξ is constant.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array
from wflow.flows.diffusion import Diffusion
from wflow.flows.filtration import Beside, Filtered, newton_step
from wflow.flows.reference import reference
from wflow.flows.terms import Fields, Terms
from wflow.flows.transport import Drift
from wflow.flows.variation import TINY, Variation
from wflow.kernels import mobility


@dataclass(frozen=True)
class Driven:
    """`diffusion` is that of the steep terms, `rest` the variation of all others."""

    diffusion: Diffusion
    rest: Variation
    extra: Drift | None

    frozen: ClassVar[bool] = True

    def rate(self, time: float, q: Array) -> Array:
        """∂q/∂t."""
        return self.diffusion.rate(time, q) + self._beside(time, q)

    def implicit(self, time: float, q: Array, base: Array, scale: float, rtol: float) -> Filtered:
        """y - scale · rate(y) = base from the guess q."""
        weights, cells = self.diffusion.form.weights(time, q), self.rest.grid.cells
        beside = Beside(
            lambda y: self._beside(time, y.reshape(cells)).reshape(y.shape),
            lambda y: self._along(time, y.reshape(cells)),
        )
        shape = weights.cells.shape
        generator = self.diffusion.form.generator
        return newton_step(generator, weights, base.reshape(shape), scale, q.reshape(shape), rtol, beside=beside)

    def _fields(self, time: float, q: Array) -> Array:
        """q, u, S, P and η of `kernels/mobility.py`, (5, *cells)."""
        form = self.diffusion.form
        u = np.maximum(np.maximum(q, TINY) * form.weights(time, q).inverse.reshape(q.shape), TINY)
        with np.errstate(all="ignore"):
            return np.stack([q, u, form.generator.slope(u), form.generator.pressure(u), self.rest.slope(time, q)])

    def _beside(self, time: float, q: Array) -> Array:
        fields, out = self._fields(time, q), np.zeros(q.shape)
        for shape, faces, drift, spacing, wrapped in self._axes(time, q):
            mobility.add_flux(fields.reshape(5, *shape), faces, drift, spacing, wrapped, out.reshape(shape))
        return out

    def _along(self, time: float, q: Array) -> Callable[[Array], Array]:
        """δw ↦ the derivative of what stands beside the filtration, w = Φ(u), both in the kernels' form."""
        fields = self._fields(time, q)
        u = fields[1]
        with np.errstate(all="ignore"):
            steepness = self.diffusion.form.generator.diffusivity(u)

        def product(direction: Array) -> Array:
            out, pressed = np.zeros(q.shape), direction.reshape(q.shape)
            with np.errstate(all="ignore"):
                share = pressed / (u * steepness)  # δq/q
                pushed = self.rest.along(q, q * share)
                changes = np.stack([q * share, u * share, steepness * share, pressed, pushed])
            for shape, faces, drift, spacing, wrapped in self._axes(time, q):
                here, there = fields.reshape(5, *shape), changes.reshape(5, *shape)
                relative = share.reshape(shape)
                mobility.add_change(here, there, relative, faces, drift, spacing, wrapped, out.reshape(shape))
            return out.reshape(direction.shape)

        return product

    def _axes(self, time: float, q: Array) -> Iterator[tuple[Any, ...]]:
        """Of each axis the shape (pre, n, post), then p/h² and the drift at its faces, spacing, whether periodic."""
        grid, weights = self.rest.grid, self.diffusion.form.weights(time, q)
        drifts = None if self.extra is None else self.extra.velocities(time)
        for axis in range(grid.dim):
            shape = int(np.prod(grid.cells[:axis])), grid.cells[axis], int(np.prod(grid.cells[axis + 1 :]))
            faces = weights.faces[3 - grid.dim + axis].reshape(shape[0], shape[1] + 1, shape[2])
            drift = np.zeros(faces.shape) if drifts is None else np.ascontiguousarray(drifts[axis])
            yield shape, faces, drift.reshape(faces.shape), grid.spacing[axis], grid.periodic[axis]


def make_driven(terms: Terms, variation: Variation, extra: Drift | None) -> Driven | None:
    """The steep divergences with all others of their target as one filtration, what is left beside it; None where
    nothing is steep or nothing left."""
    steep = [term for _, term in terms.densities if term.generator.steep]
    if not steep or terms.shapes:
        return None
    target = steep[0].target
    own = tuple(pair for pair in terms.densities if pair[1].target is target or pair[1].target == target)
    rest = replace(terms, densities=tuple(pair for pair in terms.densities if pair not in own))
    form = reference(variation.grid, Terms(own, Fields(()), ()), variation.mass)
    if form is None or not (rest or extra is not None):
        return None
    return Driven(Diffusion(form, 1.0), replace(variation, terms=rest), extra)

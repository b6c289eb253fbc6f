"""The drift of a cloud, and the log of its invariant law, as machine code, where every term is known to Numba."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wflow.arrays import Array
from wflow.expression import Components, Expression
from wflow.flows.terms import Terms
from wflow.kernels import mixtures
from wflow.targets import Gaussian, GaussianMixture, Gibbs


@dataclass(frozen=True, eq=False)
class Part:
    """A summand: the machine code of its value and its gradient, its factor, and the numbers it reads."""

    value: int
    gradient: int
    factor: float
    table: Array


@dataclass(frozen=True, eq=False)
class Parts:
    """A sum of factors times fields, as `kernels.langevin` takes it: addresses, factors and axes, (p,) each, -1 for a
    gradient, and the tables."""

    addresses: NDArray[np.int64]
    factors: Array
    axes: NDArray[np.int64]
    tables: tuple[Array, ...]

    @property
    def arrays(self) -> tuple[Any, ...]:
        return self.addresses, self.factors, self.axes, np.array([t.ctypes.data for t in self.tables], np.int64)


@dataclass(frozen=True, eq=False)
class Pointwise:
    """Σ -c ∇V + c ∇log p + b, and if that is a gradient its law, (Σ -c V + c log p)/T up to a constant."""

    drift: Parts
    law: Parts | None


def pointwise(terms: Terms, extra: Any) -> Pointwise | None:
    """The drift and the law; None where a term is not known to the compiler or ties particles together."""
    components = [] if extra is None else _components(extra)
    gradients = None if terms.interactions or terms.blobs else _gradients(terms)
    if gradients is None or components is None:
        return None
    drift = _parts(gradients, components)
    if extra is not None or not terms.logarithmic:
        return Pointwise(drift, None)
    law = [Part(part.value, part.gradient, part.factor / terms.temperature, part.table) for part in gradients]
    return Pointwise(drift, _parts([], law, [0] * len(law)))


def _parts(gradients: Sequence[Part], values: Sequence[Part], axes: Sequence[int] | None = None) -> Parts:
    """Gradients, and values that each are one component, the first of the first axis."""
    every = (*gradients, *values)
    where = [*[-1] * len(gradients), *(range(len(values)) if axes is None else axes)]
    return Parts(
        np.array([*(part.gradient for part in gradients), *(part.value for part in values)], np.int64),
        np.array([part.factor for part in every], dtype=float),
        np.array(where, np.int64),
        tuple(part.table for part in every),
    )


def _gradients(terms: Terms) -> list[Part] | None:
    """What is descended, its gradients times their factors being the drift; None where one is not known."""
    found = [_field(field, -weight) for weight, field in terms.potential.parts]
    for weight, term in terms.densities:
        if isinstance(term.target, Gibbs):
            found.append(_field(term.target.field, -weight / term.target.temperature))
        elif isinstance(term.target, Gaussian | GaussianMixture):
            value, gradient = mixtures.addresses()
            found.append(Part(value, gradient, weight, _table(term.target)))
        elif term.target is not None:
            return None
    known = [part for part in found if part is not None]
    return known if len(known) == len(found) else None


def _field(field: Any, factor: float) -> Part | None:
    if not isinstance(field, Expression):
        return None
    blocks = field.blocks()
    return Part(blocks.add_value, blocks.add_gradient, factor, np.empty(1))


def _components(extra: Any) -> list[Part] | None:
    fields = extra.fields if isinstance(extra, Components) else [None]
    found = [_field(field, 1.0) for field in fields]
    return None if None in found else [part for part in found if part is not None]


def _table(target: Gaussian | GaussianMixture) -> Array:
    """The numbers of a mixture as `kernels.mixtures` reads them; components of weight 0 are left out."""
    parts, weights = (target.components, target.weights) if isinstance(target, GaussianMixture) else ((target,), [1.0])
    rows = [np.array([target.dim, np.count_nonzero(weights)], dtype=float)]
    for part, weight in zip(parts, weights, strict=True):
        if weight > 0.0:
            scale = np.log(weight) - 0.5 * (part.dim * np.log(2.0 * np.pi) + np.linalg.slogdet(part.cov)[1])
            rows += [np.array([scale]), part.mean, np.linalg.inv(part.cov).ravel()]
    return np.concatenate(rows)

"""The drift of a cloud, and the log of its invariant law, as machine code, where every term is known to Numba."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wflow.arrays import Array
from wflow.expression import Components, Expression
from wflow.flows.terms import Terms
from wflow.targets import Gibbs

Part = tuple[Expression, float, int]  # a field, its factor, and the component that it is, or -1 for its gradient


@dataclass(frozen=True, eq=False)
class Parts:
    """A sum of factors times fields, as `kernels.langevin` takes it: addresses, factors, axes, each (p,)."""

    addresses: NDArray[np.int64]
    factors: Array
    axes: NDArray[np.int64]

    @property
    def arrays(self) -> tuple[Any, ...]:
        return self.addresses, self.factors, self.axes


@dataclass(frozen=True, eq=False)
class Pointwise:
    """Σ -c ∇V + c ∇log p + b, and if that is a gradient its law, (Σ -c V + c log p)/T up to a constant."""

    drift: Parts
    law: Parts | None


def pointwise(terms: Terms, extra: Any) -> Pointwise | None:
    """The drift and the law; None where a term is not an expression or ties particles together."""
    components = [] if extra is None else _components(extra)
    gradients = None if terms.interactions or terms.blobs else _gradients(terms)
    if gradients is None or components is None:
        return None
    drift = _parts([*gradients, *components], [field.blocks().add_gradient for field, _, _ in gradients])
    if extra is not None or not terms.logarithmic:
        return Pointwise(drift, None)
    return Pointwise(drift, _parts([(field, factor / terms.temperature, 0) for field, factor, _ in gradients], []))


def _parts(found: list[Part], gradients: list[int]) -> Parts:
    """The first as gradients at the given addresses, the rest as values."""
    values = [field.blocks().add_value for field, _, _ in found[len(gradients) :]]
    factors, axes = np.array([factor for _, factor, _ in found]), np.array([axis for _, _, axis in found], np.int64)
    return Parts(np.array([*gradients, *values], np.int64), factors.reshape(-1), axes)


def _gradients(terms: Terms) -> list[Part] | None:
    """The fields whose gradients, times their factors, are the drift; None where one is not an expression."""
    pairs = [(field, -weight) for weight, field in terms.potential.parts]
    for weight, term in terms.densities:
        if isinstance(term.target, Gibbs):
            pairs.append((term.target.field, -weight / term.target.temperature))
        elif term.target is not None:
            return None
    found = [(field, factor, -1) for field, factor in pairs if isinstance(field, Expression)]
    return found if len(found) == len(pairs) else None


def _components(extra: Any) -> list[Part] | None:
    if not (isinstance(extra, Components) and all(isinstance(field, Expression) for field in extra.fields)):
        return None
    return [(field, 1.0, axis) for axis, field in enumerate(extra.fields)]  # type: ignore[misc]

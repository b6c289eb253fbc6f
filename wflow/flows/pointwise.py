"""The drift of a cloud as compiled loops over any share of its particles, where every term is known to Numba."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.expression import Compiled, Components, Expression
from wflow.flows.terms import Terms
from wflow.targets import Gibbs

Share = Callable[[Array, Array], None]


@dataclass(frozen=True)
class Piece:
    """A part of the drift: factor · (∇V / divisor), or with `axis` one component b."""

    compiled: Compiled
    factor: float
    divisor: float = 1.0
    axis: int | None = None

    def fill(self, x: Array, time: float, out: Array) -> None:
        """The part at positions (m, d), into out (m, d); a component into out (m,)."""
        if self.axis is not None:
            self.compiled.values(x, time, out)
        elif self.divisor == 1.0:
            self.compiled.multiples(x, time, self.factor, out)
        else:
            self.compiled.gradients(x, time, out)
            out /= self.divisor
            out *= self.factor


def pieces(terms: Terms, extra: Any) -> tuple[Piece, ...] | None:
    """The drift as a sum, in the order in which `ParticleFlow.drift` adds; None where a term is not an expression."""
    if terms.interactions or terms.blobs:
        return None
    found = []
    for weight, field in terms.potential.parts:
        if not isinstance(field, Expression):
            return None
        found.append(Piece(field.compiled(), -weight))
    if extra is not None:
        if not (isinstance(extra, Components) and all(isinstance(f, Expression) for f in extra.fields)):
            return None
        found += [Piece(f.compiled(), 1.0, axis=axis) for axis, f in enumerate(extra.fields)]  # type: ignore
    for weight, term in terms.densities:
        if term.target is None:
            continue
        if not (isinstance(term.target, Gibbs) and isinstance(term.target.field, Expression)):
            return None
        found.append(Piece(term.target.field.compiled(), -weight, term.target.temperature))
    return tuple(found)


def pointwise(parts: tuple[Piece, ...], time: float) -> Share:
    """`share(x, out)` writes the drift at positions x `(m, d)`; it spends its time outside the interpreter lock."""

    def share(x: Array, out: Array) -> None:
        if not parts or parts[0].axis is not None:
            out[:] = 0.0
        for number, part in enumerate(parts):
            if part.axis is not None:
                column = np.empty(len(x))
                part.fill(x, time, column)
                out[:, part.axis] += column
            elif number == 0:
                part.fill(x, time, out)
            else:
                more = np.empty_like(out)
                part.fill(x, time, more)
                out += more

    return share

"""The cell operator as a network: its edges, its pieces, and elimination that keeps relative accuracy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from wflow.kernels import network, stencil
from wflow.linalg.multigrid import Operator

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Multiplications an elimination may cost (about 2 s): 256² cells fit, and 24³.
LARGEST = 5e9


@dataclass(frozen=True, eq=False)
class Factors:
    """An eliminated network; `order` is the place of each cell in the elimination."""

    order: Indices
    band: Array
    pivot: Array

    def solve(self, rhs: Array) -> Array:
        """w with M w = rhs, in the shape of `rhs`; cost 2 · cells · width."""
        load = np.empty(rhs.size)
        load[self.order] = rhs.ravel()
        network.substitute(self.band, self.pivot, load)
        return load[self.order].reshape(rhs.shape)


def edges(operator: Operator) -> tuple[Indices, Indices, Array]:
    """The two cells of every inner face, flat in C order, and its coefficient; faces with 0 are left out."""
    ids = np.arange(operator.diag.size).reshape(operator.diag.shape)
    found = []
    for axis, face in enumerate(operator.faces):
        n = int(ids.shape[axis])
        inner = np.take(face, np.arange(1, n), axis)
        found.append((np.take(ids, np.arange(n - 1), axis), np.take(ids, np.arange(1, n), axis), inner))
        if operator.periodic[axis] and n > 1:
            found.append((np.take(ids, [0], axis), np.take(ids, [n - 1], axis), np.take(face, [0], axis)))
    first, second, value = (np.concatenate([part[c].ravel() for part in found]) for c in range(3))
    live = value > 0.0
    return first[live], second[live], value[live]


def pieces(operator: Operator) -> tuple[int, Indices]:
    """How many pieces the cells fall into when only faces join them, and the piece of each cell, in its shape."""
    first, second, _ = edges(operator)
    n = int(operator.diag.size)
    graph = coo_matrix((np.ones(first.size), (first, second)), shape=(n, n))
    count, labels = connected_components(graph, directed=False)
    return int(count), labels.reshape(operator.diag.shape)


def width(operator: Operator) -> int:
    """How many later cells one cell is tied to at most, the longest axis taken last."""
    shape, longest = operator.diag.shape, int(np.argmax(operator.diag.shape))
    fold = 2 if operator.periodic[longest] and shape[longest] > 2 else 1
    return fold * int(np.prod(shape)) // shape[longest]


def fits(operator: Operator) -> bool:
    """Whether `factorise` is allowed."""
    return float(operator.diag.size) * width(operator) ** 2 <= LARGEST


def factorise(operator: Operator) -> Factors:
    """Eliminate plane by plane along the longest axis, a periodic one folded.

    Every entry of a solution for rhs ≥ 0 is right to about (cells · width) roundings, whatever the weights.
    Cost: cells · width² multiplications (0.15 s at 128², 1.6 s at 256²), memory cells · width.
    """
    shape, longest = operator.diag.shape, int(np.argmax(operator.diag.shape))
    n, span = operator.diag.size, width(operator)
    line = np.arange(shape[longest])
    if operator.periodic[longest]:  # 0, n - 1, 1, n - 2, ...: neighbours on the ring stay two places apart
        line = np.where(line < (line.size + 1) // 2, 2 * line, 2 * (line.size - line) - 1)
    rest = int(np.prod(shape)) // shape[longest]
    places = np.expand_dims(np.arange(rest).reshape([m for a, m in enumerate(shape) if a != longest]), longest)
    order = rest * line.reshape([-1 if a == longest else 1 for a in range(3)]) + places
    order = np.ascontiguousarray(order).ravel()
    first, second, value = edges(operator)
    a, b = order[first], order[second]
    band, pivot, ground = np.zeros((n, span)), np.empty(n), np.empty(operator.diag.shape)
    network.fill_band(np.minimum(a, b), np.maximum(a, b), value, band)
    stencil.grounds(operator.diag, *operator.faces, operator.periodic, ground)
    flat = np.empty(n)
    flat[order] = ground.ravel()
    network.eliminate(band, flat, pivot)
    return Factors(order, band, pivot)

"""How a state stands in a file: named arrays with named dimensions, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import FileError
from wflow.grid import Grid
from wflow.states import Density, Gaussian, Particles, Point
from wflow.store import Reader, Variable

AXES = ("x", "y", "z")
# Names of the arrays of states that change from frame to frame.
STATE_ARRAYS = ("density", "position", "weight", "mean", "covariance")


@dataclass(frozen=True)
class Form:
    """What of a state changes from frame to frame, what is static, and the coordinates of its dimensions."""

    framed: tuple[Variable, ...]
    static: dict[str, tuple[tuple[str, ...], Array]]
    coordinates: dict[str, Array]


def form(state: Any, weighted: bool = False) -> Form:
    """The form in a file of all states like this one; `weighted` clouds change their weights."""
    if isinstance(state, Density):
        names = AXES[: state.dim]
        axes = dict(zip(names, state.grid.centers, strict=True))
        return Form((Variable("density", ("time", *names), state.grid.cells),), {}, axes)
    if isinstance(state, Particles):
        position = Variable("position", ("time", "particle", "axis"), state.positions.shape)
        if weighted:
            return Form((position, Variable("weight", ("time", "particle"), state.weights.shape)), {}, {})
        return Form((position,), {"weight": (("particle",), state.weights)}, {})
    if isinstance(state, Point):
        return Form((Variable("position", ("time", "axis"), (state.dim,)),), {}, {})
    mean = Variable("mean", ("time", "axis"), (state.dim,))
    return Form((mean, Variable("covariance", ("time", "axis", "axis_2"), (state.dim, state.dim))), {}, {})


def row(state: Any, weighted: bool = False) -> dict[str, Array]:
    """The arrays of one frame; of a `weighted` cloud with its weights."""
    if isinstance(state, Density):
        return {"density": state.values}
    if isinstance(state, Particles):
        return {"position": state.positions} | ({"weight": state.weights} if weighted else {})
    if isinstance(state, Point):
        return {"position": state.x}
    return {"mean": state.mean, "covariance": state.cov}


def weights_change(states: Sequence[Any]) -> bool:
    """Whether the last of some states is a cloud of other weights than the first."""
    first, last = states[0], states[-1]
    return isinstance(first, Particles) and not np.array_equal(first.weights, last.weights, equal_nan=True)


def box(state: Any) -> Grid | None:
    """The grid that belongs to a state: its own, or the domain of a cloud."""
    return state.grid if isinstance(state, Density) else state.domain if isinstance(state, Particles) else None


def describe_grid(grid: Grid | None) -> dict[str, Any] | None:
    """A grid as plain data."""
    if grid is None:
        return None
    sides = [list(pair) for pair in grid.boundary]
    return {
        "lower": grid.lower.tolist(),
        "upper": grid.upper.tolist(),
        "cells": list(grid.cells),
        "boundary": sides,
    }


def rebuild_grid(data: dict[str, Any] | None) -> Grid | None:
    """The grid that `describe_grid` described."""
    if data is None:
        return None
    return Grid(data["lower"], data["upper"], tuple(data["cells"]), [tuple(pair) for pair in data["boundary"]])


def check_datasets(reader: Reader, word: str, grid: Grid | None) -> tuple[str, ...]:
    """The dimensions of the coordinates of the states in a file, after looking whether it holds states of that kind.

    Raises `FileError` for datasets that are missing, have other dimensions, or do not fit the grid.
    """
    if word == "density" and grid is None:
        raise FileError("a density file without a grid")
    dim = 0 if grid is None else grid.dim
    kinds: dict[str, dict[str, tuple[str, ...]]] = {
        "density": {"density": ("time", *AXES[:dim])},
        "particles": {"position": ("time", "particle", "axis"), "weight": ("particle",)},
        "point": {"position": ("time", "axis")},
        "gaussian": {"mean": ("time", "axis"), "covariance": ("time", "axis", "axis_2")},
    }
    if word not in kinds:
        raise FileError(f"unknown kind of state {word!r} in the file")
    wanted, there = kinds[word], {*reader.names, *reader.static_names}
    first, *_ = wanted.values()
    if "weight" in wanted and "weight" in reader.names:
        wanted["weight"] = ("time", "particle")
    if "target" in there:
        wanted["target"] = first[1:]
    for name, dims in wanted.items():
        if name not in there or reader.dims(name) != dims:
            found = f"over {', '.join(reader.dims(name))}" if name in there else "missing"
            raise FileError(f"the {name!r} of its {word} is {found}, not over {', '.join(dims)}")
    axes = first[1:] if word == "density" else ("axis",)
    sizes = tuple(len(reader.static(axis)) for axis in axes)
    if grid is not None and sizes != (grid.cells if word == "density" else (dim,)):
        raise FileError(
            f"its {word} of sizes {sizes} along {', '.join(axes)} does not fit the grid of {grid.cells} cells"
        )
    return first


def read_state(reader: Reader, index: int, word: str, grid: Grid | None) -> Any:
    """The state of one frame of a file that `check_datasets` has let through, as it was: nothing is rescaled."""
    if word == "density":
        assert grid is not None
        return Density(grid, np.ones(grid.cells)).at(reader.frame("density", index))
    if word == "particles":
        positions = reader.frame("position", index)
        weights = reader.frame("weight", index) if "weight" in reader.names else reader.static("weight")
        return Particles(np.zeros((1, positions.shape[1]))).with_parts(positions, weights, grid)
    if word == "point":
        x = reader.frame("position", index)
        return Point(np.zeros(x.size)).at(x)
    mean, cov = reader.frame("mean", index), reader.frame("covariance", index)
    # A covariance that has lost its definiteness to rounding is kept as it was.
    values, vectors = np.linalg.eigh(cov) if np.all(np.isfinite(cov)) else (np.ones(len(mean)), np.eye(len(mean)))
    return Gaussian(np.zeros(len(mean)), 1.0).with_moments(mean, cov, vectors * np.sqrt(np.maximum(values, 0.0)))

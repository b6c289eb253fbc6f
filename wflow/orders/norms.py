"""Differences between solutions of every kind, in the norms that apply."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.distances import values_on, wasserstein2
from wflow.errors import InputError, choose
from wflow.states import STATES, Density, Gaussian, Particles, Point
from wflow.targets import Target


def differences(one: Any, other: Any, norms: Sequence[str] | None) -> dict[str, float]:
    """The norms asked for, and the scale of the solution."""
    found, scale = _by_value(one, other)
    if isinstance(one, STATES) and (norms is None or "w2" in norms):
        if not isinstance(other, (*STATES, Target)):
            raise InputError(f"the reference of a state is a state or a target, got {type(other).__name__}")
        found["w2"] = wasserstein2(one, other)
    for name in norms or ():
        choose(name, found, "norm for these solutions")
    return {name: found[name] for name in norms or found} | {"scale": scale}


def _by_value(one: Any, other: Any) -> tuple[dict[str, float], float]:
    """L1, L2 and Linf where they are defined, and the size of the solution."""
    if isinstance(one, Density):
        other = Density(one.grid, other) if isinstance(other, Target) else other
        if not isinstance(other, STATES) or isinstance(other, Point):
            raise InputError(f"the reference of a density is a density or a target, got {type(other).__name__}")
        gap, share = np.abs(one.values - values_on(other, one.grid)), one.grid.volume
        return _norms(gap, np.full(gap.shape, share)), float(np.abs(one.values).max())
    if isinstance(one, Particles):
        scale = float(np.abs(one.positions).max())
        if not isinstance(other, Particles) or other.positions.shape != one.positions.shape:
            return {}, scale
        return _norms(np.linalg.norm(one.positions - other.positions, axis=1), one.weights), scale
    if isinstance(one, Point | Gaussian):
        return {}, float(np.abs(one.coordinates).max())
    if np.shape(other) != np.shape(one):
        raise InputError(f"solutions must keep their shape, got {np.shape(one)} and {np.shape(other)}")
    gap, scale = np.abs(one - other), float(np.abs(one).max())
    return _norms(gap, np.full(gap.shape, 1.0 / gap.size)) if gap.ndim else {"linf": float(gap)}, scale


def _norms(gap: Array, share: Array) -> dict[str, float]:
    return {"l1": float((share * gap).sum()), "l2": float((share * gap**2).sum()) ** 0.5, "linf": float(gap.max())}
